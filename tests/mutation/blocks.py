"""The blocks that are mutated, and the benches that must notice it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from amaranth.hdl import Module, Mux, Signal, Value

from rtl.contract.isa import Unit
from rtl.control import Control
from rtl.core.accumulator import Accumulator
from rtl.core.compute import ComputeUnit
from rtl.core.drain import Drain
from rtl.core.fetch import Fetch
from rtl.core.interface import Inbound, Outbound
from rtl.core.issue import Issue
from rtl.core.load import Load
from rtl.core.postproc import PostProcessor
from rtl.core.scratchpad import Scratchpad
from rtl.core.signals import SignalRouter, SignalSender
from rtl.core.store import Packets, Store
from rtl.core.streamer import PixelStreamer
from rtl.core.tokens import TokenFile
from rtl.core.trace import TraceMemory
from rtl.core.weight_loader import WeightLoader
from rtl.dram.memory_node import MemoryNode
from rtl.dram.memory_read import ReadEngine
from rtl.dram.memory_write import WriteEngine
from rtl.engines.array import SystolicArray
from rtl.engines.grid import PeGrid
from rtl.engines.pe import PeRow
from rtl.engines.sparse import SparseEngine
from rtl.engines.sparse_collector import SparseCollector
from rtl.engines.sparse_grid import SparseGrid
from rtl.engines.sparse_weights import SparseWeights
from rtl.engines.tap import TapUnit
from rtl.lib.fifo import Fifo
from rtl.lib.ram import Ram
from rtl.noc.allocator import Allocator
from rtl.noc.buffer import InputBuffer
from rtl.noc.mesh import Mesh
from rtl.noc.port import NetworkPort
from rtl.noc.router import Router
from tests.mutation.netlist import Contract

__all__ = ["BLOCKS", "Block", "bench_path", "blocks_below"]

_BENCHES = Path(__file__).resolve().parents[1] / "unit" / "rtl"


@dataclass(frozen=True)
class Block:
    """A component, the bench that judges it, and which of the bench's configurations of it is mutated."""

    name: str
    cls: type
    bench: str
    """File beside the component's other benches, in the room of `tests/unit/rtl` that is named like its own; or any
    path."""
    where: Callable[[dict[str, Any]], bool] = lambda arguments: True
    """Of the arguments that the bench makes the component with: those that may be mutated. Of these, the ones that
    most tests use are taken."""
    contract: Contract | None = None
    """Only for mutants that differ without it."""
    body: str | None = None
    """File of `rtl/verilog` that takes the component's place on a chip: mutants are of that."""
    most: int | None = None
    """Mutants at most, of a block so small that yosys would look for more of them for ever."""


def _behind_a_read(m: Module, dut: Accumulator) -> dict[str, Value]:
    accepted = Signal()
    m.d.sync += accepted.eq(dut.read.valid & dut.read.ready)
    return {"read__data": accepted}


def _rows_at_once(m: Module, dut: SystolicArray) -> Value:
    row = Signal(range(dut.core.rows))
    with m.If(dut.weights.valid & dut.weights.ready):
        m.d.sync += row.eq(row + 1)
    return (row == 0) | dut.weights.valid


def _items_that_fit(m: Module, dut: SparseWeights) -> Value:
    most = dut.core.sparse_items
    before = Signal(range(most))
    with m.If(dut.accept):
        m.d.sync += before.eq(Mux(dut.last, 0, before + 1))
    return ~dut.accept | dut.last | (before < most - 1)


def _while_instructions_stay(m: Module, dut: Load) -> dict[str, Value]:
    held, waits, stay, stayed = Signal.like(dut.instruction.payload), Signal(), Signal(), Signal(init=1)
    m.d.comb += stay.eq(stayed & (~waits | (dut.instruction.valid & (dut.instruction.payload == held))))
    m.d.sync += [held.eq(dut.instruction.payload), waits.eq(dut.instruction.valid & ~dut.instruction.ready)]
    m.d.sync += stayed.eq(stay)
    outputs = ("instruction__ready", "o__valid", "busy", "error")
    return dict.fromkeys(outputs, stay) | {"o__payload": stay & dut.o.valid}


def _of_waiting_flits(m: Module, dut: InputBuffer) -> dict[str, Value]:
    return {f"front__{channel}": waits for channel, waits in enumerate(dut.present)}


def _link(size: int) -> Callable[[dict[str, Any]], bool]:
    return lambda arguments: arguments["chip"].link_bytes == size


def _channels(vcs_per_class: int) -> Callable[[dict[str, Any]], bool]:
    return lambda arguments: arguments["chip"].vcs_per_class == vcs_per_class


def _pes(lanes: int, columns: int) -> Callable[[dict[str, Any]], bool]:
    return lambda arguments: (arguments["core"].sparse_lanes, arguments["core"].sparse_columns) == (lanes, columns)


def _packets(*, multicast: bool) -> Callable[[dict[str, Any]], bool]:
    """Of a chip of cores that differ."""
    return lambda arguments: len(set(arguments["chip"].cores)) > 1 and bool(arguments.get("multicast")) == multicast


BLOCKS = {
    block.name: block
    for block in (
        Block(
            "ram",
            Ram,
            "test_ram.py",
            lambda a: a.get("granularity") not in (None, a["width"]),
            body="systomesh_ram.v",
        ),
        Block("fifo", Fifo, "test_fifo.py", lambda a: a["depth"] == 5),
        Block("fifo_1", Fifo, "test_fifo.py", lambda a: a["depth"] == 1),
        Block("fifo_8", Fifo, "test_fifo.py", lambda a: a["depth"] == 8),
        Block("scratchpad", Scratchpad, "test_scratchpad.py", lambda a: (a["write_bytes"], a["read_bytes"]) == (16, 8)),
        Block(
            "accumulator",
            Accumulator,
            "test_accumulator.py",
            lambda a: a["cols"] == 4,
            Contract("the data of a read are there in the next cycle, and only then", means=_behind_a_read),
        ),
        Block(
            "grid",
            PeGrid,
            "test_grid.py",
            lambda a: (a["rows"], a["cols"]) == (4, 4),
            Contract("`enable` is high with `accept`", allows=lambda m, dut: ~dut.accept | dut.enable),
            body="systomesh_pe_grid.v",
        ),
        Block("pe", PeRow, "test_pe.py", lambda a: a["cols"] == 4),
        Block(
            "array",
            SystolicArray,
            "test_array.py",
            lambda a: (a["core"].rows, a["core"].cols) == (4, 8),
            Contract("behind the first row of a pass's weights the others come at once", allows=_rows_at_once),
        ),
        Block("tap", TapUnit, "test_tap.py"),
        Block("sparse", SparseEngine, "test_sparse.py", _pes(4, 4)),
        Block("sparse_grid", SparseGrid, "test_sparse.py", _pes(2, 2), body="systomesh_sparse_grid.v"),
        Block(
            "sparse_weights",
            SparseWeights,
            "test_sparse_weights.py",
            _pes(8, 2),
            Contract("a pixel has no more items than the engine holds: the SETUP is illegal", allows=_items_that_fit),
        ),
        Block("sparse_collector", SparseCollector, "test_sparse_collector.py", _pes(4, 2)),
        Block("streamer", PixelStreamer, "test_streamer.py"),
        Block("weight_loader", WeightLoader, "test_weight_loader.py"),
        Block("compute", ComputeUnit, "test_compute.py"),
        Block("tokens", TokenFile, "test_tokens.py", lambda a: a["chip"].tokens == 16),
        Block("signal_sender", SignalSender, "test_tokens.py"),
        Block("signal_router", SignalRouter, "test_tokens.py"),
        Block("fetch", Fetch, "test_fetch.py", _link(8)),
        Block("issue", Issue, "test_issue.py", lambda a: not a.get("marks")),
        Block("issue_marks", Issue, "test_issue.py", lambda a: bool(a.get("marks")) and a["unit"] == Unit.COMPUTE),
        Block("trace", TraceMemory, "test_trace.py", lambda a: a["marks"] == 16, most=14),
        Block(
            "load",
            Load,
            "test_load.py",
            _link(16),
            Contract("an instruction stays until its packet is sent", means=_while_instructions_stay),
        ),
        Block("inbound", Inbound, "test_interface.py", _link(16)),
        Block("outbound", Outbound, "test_interface.py"),
        Block("drain", Drain, "test_drain.py"),
        Block("packets", Packets, "test_packets.py", _packets(multicast=False)),
        Block("packets_multicast", Packets, "test_packets.py", _packets(multicast=True)),
        Block("store", Store, "test_store.py", lambda a: not a["core"].multicast),
        Block("store_multicast", Store, "test_store.py", lambda a: a["core"].multicast),
        Block("postproc", PostProcessor, "test_postproc.py", lambda a: (a["lanes"], a["link_bytes"]) == (4, 4)),
        Block("memory_read", ReadEngine, "test_memory_node.py", _link(16)),
        Block("memory_write", WriteEngine, "test_memory_node.py", _link(16)),
        Block("memory_node", MemoryNode, "test_memory_node.py", _link(16)),
        Block("control", Control, "test_control.py"),
        Block(
            "noc_buffer",
            InputBuffer,
            "test_buffer.py",
            lambda a: a["own"] is not None,
            Contract("`front` is what `present` queues hold; allocation looks at no other", means=_of_waiting_flits),
        ),
        Block("noc_allocator", Allocator, "test_allocator.py"),
        Block("noc_router", Router, "test_router.py", lambda a: not a["chip"].counters),
        Block("noc_router_counters", Router, "test_router.py", lambda a: a["chip"].counters),
        Block("noc_port", NetworkPort, "test_port.py", _channels(1)),
        Block("noc_port_2", NetworkPort, "test_port.py", _channels(2)),
        Block("noc_mesh", Mesh, "test_mesh.py", lambda a: a["chip"].n_cores == 4 and a["chip"].vc_depth == 8),
    )
}


def bench_path(block: Block) -> Path:
    """The bench's file."""
    return _BENCHES.joinpath(*block.cls.__module__.split(".")[1:-1], block.bench)


def blocks_below(block: Block) -> tuple[type, ...]:
    """Classes that are mutated under a name of their own, and hence left alone inside this block."""
    return tuple(dict.fromkeys(other.cls for other in BLOCKS.values() if other.cls is not block.cls))
