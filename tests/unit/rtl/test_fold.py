"""`fold_registers` on small texts: what becomes one clocked process, and what stays as it is."""

from __future__ import annotations

import re

import pytest

from rtl.contract.params import default_chip
from rtl.fold import fold_registers
from tests.formal.equality import emitted_texts

GUARD = r"\$auto$verilog_backend.cc:2355:dump_module$1 "


def module(*processes: str, register: str = "q") -> str:
    """A module whose register ``register`` follows ``\\$1``, with these processes in front of that."""
    body = "".join(f"  always @* begin\n{process}  end\n" for process in processes)
    return (
        "module small(clk, a, b, q);\n"
        f"  reg {GUARD} = 0;\n"
        "  reg [7:0] \\$1 ;\n"
        f"  reg [7:0] {register} = 8'h12;\n"
        f"{body}"
        "  always @(posedge clk)\n"
        f"    {register} <= \\$1 ;\n"
        "endmodule\n"
    )


def folded(process: str, register: str = "q") -> str:
    """What `module` is to become."""
    return (
        f"module small(clk, a, b, q);\n  reg [7:0] {register} = 8'h12;\n"
        f"  always @(posedge clk) begin\n{process}  end\nendmodule\n"
    )


def guarded(process: str) -> str:
    return f"    if ({GUARD}) begin end\n{process}"


ENABLED = "    \\$1  = q;\n    if (a) begin\n      \\$1  = b;\n    end\n"
FOLDED = {
    "an enabled register": (ENABLED, "    if (a) begin\n      q <= b;\n    end\n"),
    "what simulators run at time 0": (guarded(ENABLED), "    if (a) begin\n      q <= b;\n    end\n"),
    "a first value that does not hold": ("    \\$1  = 8'h00;\n", "    q <= 8'h00;\n"),
    "a hold behind something else": (
        "    \\$1  = b;\n    if (a) begin\n      \\$1  = q;\n    end\n",
        "    q <= b;\n    if (a) begin\n      q <= q;\n    end\n",
    ),
    "parts": ("    \\$1  = q;\n    \\$1 [3:0] = b;\n    \\$1 [7] = a;\n", "    q [3:0] <= b;\n    q [7] <= a;\n"),
    "cases": (
        "    \\$1  = q;\n    (* full_case = 32'd1 *)\n    casez (a)\n      1'h1:\n          \\$1  = b;\n"
        "      default:\n          /* empty */;\n    endcase\n",
        "    (* full_case = 32'd1 *)\n    casez (a)\n      1'h1:\n          q <= b;\n"
        "      default:\n          /* empty */;\n    endcase\n",
    ),
    "branches": (
        "    \\$1  = q;\n    if (a) begin\n    end else if (\\$7 ) begin\n      \\$1  = b;\n    end else begin\n"
        "      \\$1  = 8'h01;\n    end\n",
        "    if (a) begin\n    end else if (\\$7 ) begin\n      q <= b;\n    end else begin\n"
        "      q <= 8'h01;\n    end\n",
    ),
}  # fmt: skip


@pytest.mark.parametrize(("process", "expected"), FOLDED.values(), ids=FOLDED)
def test_one_clocked_process_takes_the_place_of_both(process: str, expected: str) -> None:
    assert fold_registers(module(process)) == folded(expected)


def test_a_register_keeps_its_escaped_name_and_its_initial_value() -> None:
    name = "\\q$1 "
    assert fold_registers(module(ENABLED.replace("= q;", f"= {name};"), register=name)) == folded(
        f"    if (a) begin\n      {name} <= b;\n    end\n", register=name
    )


LEFT_ALONE = {
    "the temporary is read by another process": module(ENABLED, "    q2 = \\$1 ;\n"),
    "the temporary is read by an expression": module(ENABLED).replace("endm", "  assign y = \\$1  & a;\nendm"),
    "two registers follow it": module(ENABLED).replace("endm", "  always @(posedge clk)\n    p <= \\$1 ;\nendm"),
    "the process reads what it assigns": module(ENABLED + "    \\$1  = \\$1  + 8'h01;\n"),
    "the process assigns another temporary, too": module(ENABLED + "    \\$2  = a;\n"),
    "the process assigns a wire, too": module(ENABLED + "    y = a;\n"),
    "a statement of another kind": module(ENABLED + "    $display(\\$3 );\n"),
    "a wire's process": module("    y = a;\n"),
    "another edge": module(ENABLED).replace("posedge", "negedge"),
}


@pytest.mark.parametrize("text", LEFT_ALONE.values(), ids=LEFT_ALONE)
def test_what_does_not_match_wholly_is_left_alone(text: str) -> None:
    assert fold_registers(text) == text.replace(f"  reg {GUARD} = 0;\n", "")


def test_the_guard_stays_where_a_process_needs_it() -> None:
    text = module(guarded(ENABLED), guarded("    y = a;\n"))
    assert f"  reg {GUARD} = 0;\n" in fold_registers(text)
    assert fold_registers(text).count(GUARD) == 2


def test_names_count_within_their_module_only() -> None:
    other = module("    y = \\$1 ;\n").replace("small", "other")
    assert fold_registers(module(ENABLED) + other).startswith(folded(FOLDED["an enabled register"][1]))


def test_no_register_of_the_default_chip_has_a_process_for_its_next_state() -> None:
    before, behind = emitted_texts(default_chip(4))
    copies = re.compile(r"always @\(posedge \S+ ?\)\n\s+\S+ <= \\\$\d+ ;")
    assert len(copies.findall(before)) > 500
    assert copies.findall(behind) == []
