"""Units of a chip by the names that users know."""

from __future__ import annotations

from pathlib import Path

import pytest

from tb.errors import BenchError
from tb.model.units import Units

VERILOG = """\
module systomesh_chip(clk);
  input clk;
  core core_0 (
    .clk(clk)
  );
  core core_1 (
    .clk(clk)
  );
  \\systomesh_chip.mesh  mesh (
    .clk(clk)
  );
endmodule
module \\systomesh_chip.mesh (clk);
  router router_0_1 (
  );
endmodule
module core(clk);
  \\core.logic  \\logic  (
  );
endmodule
module \\core.logic (clk);
  \\core.logic.compute  compute (
  );
  \\core.logic.load  load (
  );
endmodule
module \\core.logic.compute (clk);
  systomesh_pe_grid #(
    .COLS(32'd16)
  ) grid (
    .clk(clk)
  );
endmodule
"""


@pytest.fixture
def units(tmp_path: Path) -> Units:
    (tmp_path / "chip.v").write_text(VERILOG)
    return Units([tmp_path / "chip.v"])


def test_names_of_users_and_scopes(units: Units) -> None:
    assert units.scopes["core1"] == "systomesh_tb.chip.core_1"
    assert units.scopes["core1.compute.grid"] == "systomesh_tb.chip.core_1.logic.compute.grid"
    assert list(units.scopes) == [
        "core0", "core0.compute", "core0.compute.grid", "core0.load",
        "core1", "core1.compute", "core1.compute.grid", "core1.load", "mesh", "mesh.router_0_1",
    ]  # fmt: skip


def test_a_unit_may_be_named_by_its_end(units: Units) -> None:
    assert units.find("core0.load") == units.find("core_0.load") == ["systomesh_tb.chip.core_0.logic.load"]
    assert units.find("load") == [f"systomesh_tb.chip.core_{core}.logic.load" for core in range(2)]
    assert units.find("router_0_1") == ["systomesh_tb.chip.mesh.router_0_1"]


@pytest.mark.parametrize(
    ("name", "line"),
    [
        ("core2.load", "SCOPE=core2.load: the chip has no unit core2; give one of core0, core1"),
        ("core0.comput", "SCOPE=core0.comput: core0 has no unit comput; give one of compute"),
        ("core0.zzz", "SCOPE=core0.zzz: core0 has no unit zzz; give one of compute, load"),
        ("core0.load.x", "SCOPE=core0.load.x: core0.load has no units inside; give SCOPE=core0.load"),
    ],
)
def test_unknown_units_are_refused_with_what_is_near(units: Units, name: str, line: str) -> None:
    with pytest.raises(BenchError) as raised:
        units.find(name)
    assert str(raised.value) == line
