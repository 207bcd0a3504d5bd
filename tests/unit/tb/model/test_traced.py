"""The Verilog of models with waves."""

from __future__ import annotations

from tb.model.traced import traced

ATTRIBUTES = """\
  (* enum_base_type = "Kind" *)
  (* enum_value_00 = "READ" *)
  (* enum_value_01 = "WRITE" *)
"""


def test_enumerations_become_types_and_nameless_signals_are_hidden() -> None:
    other = ATTRIBUTES.replace("WRITE", "DATA")
    text = (
        "module a;\n  reg [1:0] _phase = 2'h0;\n  wire _busy;\n  assign busy = _busy | _phase[0];\nendmodule\n"
        f"{ATTRIBUTES}  output [1:0] kind;\n  reg [1:0] kind = 2'h0;\n"
        f"{ATTRIBUTES}  wire [1:0] \\flit.kind ;\n"
        f"{other}  wire [1:0] another;\n"
        "  wire [3:0] \\opcode$7 ;\n  wire [4:0] opcode;\n"
        "  wire [7:0] \\$12 ;\n  assign \\$12  = \\a$1  + \\$auto$x.cc:1:f$3 ;\n"
    )
    types, (found,) = traced([text])
    kind, opcode, end = types.split("endpackage\n")
    assert kind == "package Kind_2;\n  typedef enum logic [1:0] {READ = 2'b00, WRITE = 2'b01} Kind;\n"
    assert opcode.startswith("package Opcode_4;\n  typedef enum logic [3:0] {ILLEGAL = 4'b0000, END = 4'b0001,")
    assert end == ""
    assert found == (
        "module a;\n  reg [1:0] phase = 2'h0;\n  wire _busy;\n  assign busy = _busy | phase[0];\nendmodule\n"
        "  output kind;\n  Kind_2::Kind kind = Kind_2::Kind'(2'h0);\n"
        "  Kind_2::Kind \\flit.kind ;\n"
        f"{other}  wire [1:0] another;\n"
        "  Opcode_4::Opcode \\opcode$7 ;\n  wire [4:0] opcode;\n"
        "  wire [7:0] _nameless_12 ;\n  assign _nameless_12  = \\a$1  + _nameless_auto_x_cc_1_f_3 ;\n"
    )
