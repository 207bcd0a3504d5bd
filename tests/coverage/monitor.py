"""A Verilog monitor of each router, bound into coverage models: which turn was taken at which occupancy.

Every bin is an `if` of its own, so that Verilator's branch coverage counts it.
"""

from __future__ import annotations

from itertools import product

from amaranth.utils import ceil_log2

from rtl.contract.params import ChipParams, Direction
from rtl.contract.routing import CLAIM_ORDER, OPPOSITE, node_port, path

__all__ = ["MONITOR", "OCCUPANCY", "bin_lines", "legal_turns", "monitor_verilog"]

MONITOR = "systomesh_turns"
OCCUPANCY = ("empty", "some", "half")
"""Flits behind the one that leaves, in the fullest queue of its input: none, fewer than half its depth, more."""
_HEAD = 11
"""Lines of the monitor before its first bin."""


def bin_lines() -> dict[int, tuple[str, str, str]]:
    """Input, output and occupancy of the bin in each line of the monitor's text."""
    names = [port.name.lower() for port in CLAIM_ORDER]
    return {_HEAD + 1 + n: bin_ for n, bin_ in enumerate(product(names, names, OCCUPANCY))}


def legal_turns(chip: ChipParams) -> set[tuple[str, str]]:
    """Input and output of every turn that some packet of the chip takes; memory nodes send nothing to each other."""
    turns = set()
    for source in range(chip.n_nodes):
        for dest in range(chip.n_nodes):
            if source >= chip.n_cores and dest >= chip.n_cores:
                continue
            came = node_port(chip, source).port
            for link in path(chip, source, dest):
                turns.add((came.name.lower(), link.port.name.lower()))
                came = OPPOSITE.get(link.port, Direction.LOCAL)
    return turns


def monitor_verilog(chip: ChipParams) -> str:
    """The monitor's module, and what binds it to the routers of a chip."""
    width = ceil_log2(chip.vc_depth) + 1
    names = [port.name.lower() for port in CLAIM_ORDER]
    levels = ", ".join(f"[{width - 1}:0] level_{name}_{v}" for name in names for v in range(chip.n_vcs))
    bins = []
    for name in names:
        some = " || ".join(f"level_{name}_{v} != 0" for v in range(chip.n_vcs))
        half = " || ".join(f"level_{name}_{v} >= {chip.vc_depth // 2}" for v in range(chip.n_vcs))
        bins.append(f"  wire [2:0] bins_{name} = {{({half}), ({some}) && !({half}), !({some})}};")
    lines = [
        "`timescale 1ns / 1ps",
        "// Bins of turn and occupancy, one a line.",
        f"module {MONITOR} (input clk, input [24:0] crossing, input {levels});",
        *bins,
        "  // crossing: bit 5 * input + output, of the flits that were popped in the last cycle.",
        "  reg seen;",
        "  always @(posedge clk) begin",
    ]
    assert len(lines) == _HEAD
    for (i, _), (o, _), (b, _) in product(enumerate(names), enumerate(names), enumerate(OCCUPANCY)):
        lines.append(f"    if (crossing[{5 * i + o}] && bins_{names[i]}[{b}]) seen <= 1'b1;")
    lines += ["  end", "endmodule"]
    pins = [".clk(clk)", ".crossing(crossing)"]
    pins += [
        f".level_{name}_{v}(buffer_{name}.write_at_{v} - buffer_{name}.read_at_{v})"
        for name in names
        for v in range(chip.n_vcs)
    ]
    lines += [f"bind systomesh_router {MONITOR} turns ({', '.join(pins)});", ""]
    return "\n".join(lines)
