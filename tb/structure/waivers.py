"""Bits of the netlist that nothing uses, each with the reason why they are there.

They cost nothing: synthesis removes them. Each waiver must match something in at least one of the chips of the
tests, so that none outlives its reason.
"""

from __future__ import annotations

from collections.abc import Iterable

from tb.structure.engines import STRUCTURE
from tb.structure.netlist import Fault
from tb.structure.waiver import Waiver

__all__ = ["all_waivers", "unexplained"]


_WAIVERS = (
    Waiver(
        "systomesh_chip",
        r"s_axil_a[rw]addr\[[01]\]|control\.\$signal\$\d+\[[01]\]",
        "registers are 32-bit words: the low two address bits name bytes, for which there are strobes",
    ),
    Waiver(
        r"systomesh_core_\d+",
        r"logic\.compute\.operands\.(o__payload\.signal2\..*|read__data)",
        "one record holds the three signals of a job; the third waits in the queue of results",
    ),
    Waiver(
        r"systomesh_core_\d+",
        r"logic\.compute\.streamer\.pixel\.act",
        "the register has the layout of a pixel, but activations come straight from the scratchpad's read",
    ),
    Waiver(
        r"systomesh_core_\d+",
        r"logic\.(fetch\.queue\d\.(read__data|o__payload)|(load|compute|store)\.instruction__payload)",
        "instructions of all units are 32 bytes; the unit behind the queue has no field there, or issue used it up",
    ),
    Waiver(
        r"systomesh_core_\d+",
        r"logic\.(issue_\w+|store)\.sender\.held\.signal\d_valid",
        "the record of an instruction's signals is held whole; its valid bits are counted down elsewhere",
    ),
    Waiver(
        r"systomesh_core_\d+",
        r"(logic\.)?(request|response)_in(__payload|\.o__payload\.header\.(dest|flits|src|traffic)|\.read__data)",
        "header fields that steer routers and memory nodes; a core takes every flit that reaches it",
    ),
    Waiver(
        r"systomesh_core_\d+",
        r"logic\.(request_in\.o__payload\.header|response_in\.o__payload\.header|inbound\.\w+_held)"
        r"\.(lane_offset|lanes|planar|token)",
        "header fields fit the widest link, the deepest scratchpad word and the most tokens a chip may have",
    ),
    Waiver(
        r"systomesh_core_\d+",
        r"logic\.store\.drain\.\$signal\$\d+\.(corner|pad_top)",
        "the geometry of the running job is held whole; where its first window is was used up as it started",
    ),
    Waiver(
        r"systomesh_core_\d+",
        r"logic\.store\.drain\.pool\.(opcode|reserved|wait\d_(first|count))",
        "instructions of all units are 32 bytes; what a POOL does not use of them",
    ),
    Waiver(
        r"systomesh_core_\d+",
        r"logic\.store\.packets\.offset",
        "the lane offset fits the widest link a chip may have",
    ),
    Waiver(
        r"systomesh_core_\d+",
        r"logic\.store\.drain\.(arriving_)?group",
        "counts the storage blocks of an accumulator entry, of which there is one where C is not above link_bytes",
    ),
    Waiver(
        "systomesh_memory_node",
        r"axi__[br]id",
        "all transactions have identifier 0",
    ),
    Waiver(
        "systomesh_memory_node",
        r"collected",
        "the register is as long as an instruction, whose last flit never enters it",
    ),
    Waiver(
        "systomesh_memory_node",
        r"read\.current\.(dram_addr|dst|runs)",
        "the record of a LOAD is held whole; these fields live on in the counters of the walk over it",
    ),
    Waiver(
        "systomesh_memory_node",
        r"read\.(program|program_queue\.o__payload)\.(dram_stride|dst_stride|runs)",
        "programs are read by the same record as data, but in one run",
    ),
    Waiver(
        "systomesh_memory_node",
        r"read\.load__payload\.(opcode|wait\d_(first|count))",
        "a core's issue stage has used up these fields of the LOAD that it sends",
    ),
    Waiver(
        "systomesh_memory_node",
        r"request_in__payload",
        "header fields of a request for cores and routers only",
    ),
    Waiver(
        "systomesh_port",
        r"source",
        "its lowest bit chooses one of two channels of a class, where there are two",
    ),
)


def all_waivers(engines: Iterable[str] | None = None) -> tuple[Waiver, ...]:
    """Those of all cores, and those of the engines; of all engines, or of some."""
    names = STRUCTURE if engines is None else engines
    return (*_WAIVERS, *(waiver for name in names for waiver in STRUCTURE[name].waivers))


def unexplained(faults: Iterable[Fault]) -> list[Fault]:
    """Faults that no waiver covers."""
    waivers = all_waivers()
    return [fault for fault in faults if not any(waiver.covers(fault) for waiver in waivers)]
