"""The chips of the coverage campaign, and their models with the counters in."""

from __future__ import annotations

from dataclasses import replace
from functools import cache
from pathlib import Path

from rtl.contract.params import ChipParams
from tb.fuzz.chips import FUZZ_CHIPS
from tb.model.build import Design, Model, build_model, emit_chip
from tb.model.cache import Cache, content_key
from tests.coverage.monitor import MONITOR, monitor_verilog
from tests.coverage.sparse import SPARSE_MONITOR, has_sparse, sparse_monitor_verilog

__all__ = [
    "BUS_CHIP", "CAMPAIGN_CHIPS", "covered_bus_model", "covered_core", "covered_files", "covered_model",
    "monitors",
]  # fmt: skip

CAMPAIGN_CHIPS: dict[str, tuple[str, ...]] = {
    "3x1_unlike": ("systomesh_core_1", "systomesh_memory_node"),
    "3x2_4x4": ("systomesh_router", "systomesh_port", "systomesh_memory_node"),
    "1x1_sparse": ("systomesh_core_0", "systomesh_sparse_grid"),
    "1x1_8x8": (
        *("systomesh_chip", "systomesh_core_0", "systomesh_pe_grid", "systomesh_memory_node", "systomesh_port"),
    ),
}
"""Names of `FUZZ_CHIPS`, each with the source files that are covered on it: a core whose rows are several storage
blocks, among unlike others; the network of a mesh; a core with sparse engine; one core and its chip. Files that tell
nothing new are left out, since the counters make models several times slower to build and to run."""

BUS_CHIP = "1x1_8x8"
"""The chip that runs tests/cosim/bus_bench.py, too."""
_BUS_FILES = ("systomesh_chip.v", "systomesh_memory_node.v")


def covered_files(name: str) -> tuple[str, ...]:
    """Names of the files with counters, the monitors among them."""
    return (*(f"{stem}.v" for stem in CAMPAIGN_CHIPS[name]), *monitors(FUZZ_CHIPS[name]))


def monitors(chip: ChipParams) -> dict[str, str]:
    """Files of the monitors of a chip's routers and of its sparse engine, with their Verilog."""
    found = {f"{MONITOR}.v": monitor_verilog(chip)}
    return found | ({f"{SPARSE_MONITOR}.v": sparse_monitor_verilog(chip)} if has_sparse(chip) else {})


def covered_core(name: str) -> int | None:
    """The core of the chip whose files are covered, if there is one."""
    cores = [int(stem.rpartition("_")[2]) for stem in CAMPAIGN_CHIPS[name] if "_core_" in stem]
    return cores[0] if cores else None


@cache
def covered_model(name: str) -> tuple[Design, Model]:
    """A chip's Verilog, and its model with the counters in."""
    design = _monitored(FUZZ_CHIPS[name])
    return design, build_model(design, "verilator", optimise=False, covered=covered_files(name))


@cache
def covered_bus_model() -> Model:
    """`BUS_CHIP` for the models of cocotbext-axi, with counters in what touches its buses."""
    design = emit_chip(FUZZ_CHIPS[BUS_CHIP])
    return build_model(design, "verilator", optimise=False, open_buses=True, covered=_BUS_FILES)


def _monitored(chip: ChipParams) -> Design:
    design, texts = emit_chip(chip), monitors(chip)

    def write(directory: Path) -> None:
        for name, text in texts.items():
            (directory / name).write_text(text)

    entry, _ = Cache().get("rtl", content_key(["monitor", *texts.values()]), write)
    return replace(design, sources=(*design.sources, *(entry / name for name in texts)))
