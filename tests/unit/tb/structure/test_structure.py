"""The Verilog read back is what the parameters say; and each check can fail."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace
from io import StringIO
from pathlib import Path

import pytest
from rich.console import Console

from rtl.contract.params import ChipParams, CoreParams, Direction, MemoryNodeParams
from rtl.emit import emit
from tb.structure.block import Block
from tb.structure.expected import expected_chip
from tb.structure.inventory import Inventory, compare, print_inventory, take_inventory
from tb.structure.netlist import Netlist, read_netlist
from tb.structure.waivers import all_waivers

SMALL = CoreParams(rows=4, cols=4, act_bytes=1024, weight_bytes=1024, acc_entries=32, param_blocks=2, queue_depth=4)
WEST, EAST = MemoryNodeParams(0, 0, Direction.WEST), MemoryNodeParams(1, 0, Direction.EAST)
TINY = {"max_packet_flits": 8, "memory_queue_depth": 2, "outstanding_bursts": 4, "tokens": 16}
CHIPS = {
    "one core, narrow links": ChipParams(
        1, 1, (replace(SMALL, engines=("array",)),), (WEST,), link_bytes=4, vc_depth=8, **TINY
    ),
    "two equal cores": ChipParams(2, 1, (SMALL,) * 2, (WEST, EAST), link_bytes=32, vc_depth=16, **TINY),
    "cores that differ, two channels a class": ChipParams(
        2,
        1,
        (
            CoreParams(4, 8, 2048, 1024, 64, 2, queue_depth=8, tap_columns=1, marks=4),
            CoreParams(8, 4, 1024, 2048, 32, 4, queue_depth=4, tap_columns=4, multicast=True),
        ),
        (MemoryNodeParams(0, 0, Direction.NORTH),),
        link_bytes=4,
        vcs_per_class=2,
        vc_depth=12,
        **TINY,
    ),
    "a sparse core": ChipParams(
        1,
        1,
        (
            replace(
                SMALL, rows=16, cols=8, engines=("sparse",), sparse_lanes=4, sparse_columns=4, sparse_items=3,
                sparse_depth=5, sparse_slots=3,
            ),
        ),
        (WEST,),
        link_bytes=8,
        vc_depth=16,
        **TINY,
    ),
}  # fmt: skip


@pytest.fixture(scope="module")
def inventories() -> dict[str, Inventory]:
    return {name: take_inventory(chip) for name, chip in CHIPS.items()}


def test_the_verilog_has_what_the_parameters_say_and_nothing_unexplained(inventories: dict[str, Inventory]) -> None:
    for name, inventory in inventories.items():
        assert inventory.differences == [], name
        assert inventory.faults == [], name
        assert all(row.agrees for row in inventory.rows.values()), name
        assert sum(row.flipflops for row in inventory.rows.values()) == expected_chip(CHIPS[name]).total[0] > 0
        for engine, body in (("array", "systomesh_pe_grid"), ("sparse", "systomesh_sparse_grid")):
            grids = [row.instances for (_, kind), row in inventory.rows.items() if kind == body]
            assert sum(grids) == sum(engine in core.engines for core in CHIPS[name].cores), name


def test_every_waiver_is_still_needed(inventories: dict[str, Inventory]) -> None:
    """Of the engines that these chips have."""
    engines = {engine for name in inventories for core in CHIPS[name].cores for engine in core.engines}
    explained = {fault for inventory in inventories.values() for fault in inventory.explained}
    stale = [waiver.reason for waiver in all_waivers(engines) if not any(waiver.covers(fault) for fault in explained)]
    assert stale == []


def test_the_table_names_every_module(inventories: dict[str, Inventory]) -> None:
    shown = StringIO()
    print_inventory(inventories["one core, narrow links"], Console(file=shown, width=140))
    for text in ("chip", "router", "port", "core_0", "memory_node", "PeGrid", "with a reason"):
        assert text in shown.getvalue()


PORT = expected_chip(CHIPS["one core, narrow links"]).inside["mesh"].inside["port_0"]
ANOTHER_CREDIT = r"  assign \\\$\d+  = \| credits_0;\n"


@pytest.fixture(scope="module")
def port_text(tmp_path_factory: pytest.TempPathFactory) -> str:
    folder = tmp_path_factory.mktemp("chip")
    emit(CHIPS["one core, narrow links"], folder)
    return (folder / "systomesh_port.v").read_text()


def read_port(text: str, folder: Path) -> Netlist:
    file = folder / "systomesh_port.v"
    file.write_text(text)
    return read_netlist([file], "systomesh_port", folder)


def edit(pattern: str, replacement: str) -> Callable[[str], str]:
    """A change of the Verilog, which must apply."""

    def change(text: str) -> str:
        changed, count = re.subn(pattern, replacement, text, count=1, flags=re.DOTALL)
        assert count == 1, pattern
        return changed

    return change


FIRST_CLOCKED = r"(  always @\(posedge clk\))"
FAULTS = {
    "nothing": (edit(r"\Z", "\n"), []),
    "a port widened": (
        edit(r"input \[6:0\] source;\n  wire \[6:0\] source;", "input [7:0] source;\n  wire [7:0] source;"),
        ["port source of systomesh_port: 8 bits input; the parameters say 7 bits input"],
    ),
    "a counter too narrow": (
        edit(r"reg \[3:0\] credits_0 = 4'h8", "reg [2:0] credits_0 = 3'h0"),
        ["systomesh_port: {less} flip-flops and 0 memory bits; the parameters say {ff} and 0"],
    ),
    "an instance missing": (
        edit(r"  \\systomesh_port\.queue_1  queue_1 \(.*?\);\n", ""),
        ["systomesh_port.queue_1 is missing"],
    ),
    "an instance too many": (
        edit(r"(  \\systomesh_port\.queue_1  )queue_1( \(\n    \.clear\(clear\))", r"\1queue_9 (); \1queue_1\2"),
        ["systomesh_port.queue_9: an instance too many, of systomesh_port.queue_1"],
    ),
    "a latch": (
        edit(FIRST_CLOCKED, r"  reg latched;\n  always @* if (clear) latched = leader;\n\1"),
        ["latch: latched in systomesh_port"],
    ),
    "a register that nothing reads": (
        edit(FIRST_CLOCKED, r"  reg dead = 0;\n  always @(posedge clk) dead <= ~dead;\n\1"),
        ["unused: dead in systomesh_port"],
    ),
    "a wire that nothing drives": (edit(ANOTHER_CREDIT, ""), ["undriven: "]),
    "a combinational loop": (edit(r"= \| credits_0;", "= | credits_0 ^ able[0];"), ["loop: "]),
}


@pytest.mark.parametrize(("change", "complaints"), FAULTS.values(), ids=FAULTS)
def test_a_seeded_fault_is_found(
    change: Callable[[str], str], complaints: list[str], port_text: str, tmp_path: Path
) -> None:
    assert isinstance(PORT, Block)
    inventory = compare(PORT, read_port(change(port_text), tmp_path))
    found = [*inventory.differences, *map(str, inventory.faults)]
    assert inventory.good == (not complaints)
    for complaint in complaints:
        wanted = complaint.format(ff=PORT.flipflops, less=PORT.flipflops - 1)
        assert any(text.startswith(wanted) for text in found), found
