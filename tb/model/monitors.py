"""Generates what binds the monitors of tb/hdl/trace.v into the modules of a chip, without a change to these.

Names are those that the chip's Verilog has for instances, ports and members of structures. One that is gone is an error
of the build. Monitors of cores sit within them, so that cores may be compiled as blocks of their own.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from rtl.contract.isa import Space
from rtl.contract.params import ChipParams
from rtl.contract.regs import RouterCounter
from tb.model.wrapper import connections

__all__ = ["monitors"]

_UNITS = ("load", "compute", "store")
_SIGNALS = range(7)
"""Sources of signals: three of the compute unit, that of the store unit, and SYNCs of the three units."""
_OUTPUTS = [counter.name.lower() for counter in RouterCounter if counter.name.startswith("FLITS_")]


def monitors(chip: ChipParams, core_modules: Sequence[str]) -> str:
    """The Verilog text.

    Parameters
    ----------
    core_modules : sequence of str
        Modules of the distinct cores.
    """
    routers = [f"router_{x}_{y}" for y in range(chip.mesh_height) for x in range(chip.mesh_width)]
    flits = _joined(f"{router}.{name}" for router in routers for name in _OUTPUTS)
    lines = ["// Generated: the monitors in their places."]
    lines += [_bind(rf"\{module}.logic ", "systomesh_monitor_core", _core()) for module in core_modules]
    lines += [_bind("systomesh_memory_node", "systomesh_monitor_memory", _memory())]
    mesh = {"clk": "clk", "running": "running", "flits": flits}
    lines += [_bind(r"\systomesh_chip.mesh ", f"systomesh_monitor_mesh #(.ROUTERS({len(routers)}))", mesh), ""]
    return "\n".join(lines)


def _core() -> dict[str, str]:
    issues = [f"issue_{unit}" for unit in _UNITS]
    load, _, store = issues
    pixels = "compute.streamer"
    return {
        "clk": "core_clk",
        "node": "node",
        "running": "counters.running & ~core_rst",
        "causes": "counters.events[7:0]",
        "load_waits": rf"{load}.\events.wait ",
        "store_waits": rf"{store}.\events.wait ",
        "empty": _joined(rf"{issue}.\events.empty " for issue in (load, store)),
        "ended": _joined(f"{issue}.ended" for issue in (load, store)),
        "issued": _joined(rf"{issue}.\events.issued " for issue in issues),
        "last_pixel": rf"{pixels}.pixels__valid & {pixels}.pixels__ready & {pixels}.\pixels__payload.tag.last ",
        "load_sent": "load.instruction__valid & load.instruction__ready",
        "store_drained": "store.sender.fire",
        "signalled": _joined(f"signals.i__{k}__valid & signals.i__{k}__ready" for k in _SIGNALS),
        "signals": _joined(f"signals.i__{k}__payload" for k in _SIGNALS),
        "increments": _joined(f"tokens.increments__{k}__valid" for k in range(3)),
        "tokens": _joined(f"tokens.increments__{k}__token" for k in range(3)),
        "response_first": r"inbound.response__valid & inbound.\response__payload.first ",
        "response_source": r"inbound.\response__payload.header.src ",
        "request_first": r"inbound.request__valid & inbound.\request__payload.first ",
        "request_source": r"inbound.\request__payload.header.src ",
        "request_kind": r"inbound.\request__payload.header.kind ",
    }


def _memory() -> dict[str, str]:
    return {
        "clk": "clk",
        "node": "node",
        "running": "running",
        "request_first": r"request_in__valid & \request_in__payload.first ",
        "request_source": r"\request_in__payload.header.src ",
        "load_taken": "read.load__valid & read.load__ready",
        "load_program": rf"read.\load__payload.space  == 3'd{int(Space.PROGRAM)}",
        "load_flits": r"28'(read.\load__payload.runs ) * read.\load__payload.run_flits ",
        "read": "read.axi__rvalid & read.axi__rready",
        "read_first": "read.first",
        "read_last": "read.axi__rlast",
        "read_program": rf"read.notes.\o__payload.space  == 3'd{int(Space.PROGRAM)}",
        "read_traffic": r"read.\events.traffic ",
        "read_beats": r"read.\events.beats ",
        "write": r"write.\events.flit ",
        "write_first": r"write.\packet__payload.first ",
        "write_last": r"write.\packet__payload.last ",
        "write_source": r"write.\packet__payload.header.src ",
        "write_traffic": r"write.\events.traffic ",
        "write_lanes": r"write.\events.lanes ",
    }


def _joined(signals: Iterable[str]) -> str:
    """One vector, the first signal in its low bits."""
    return f"{{{', '.join(reversed([*signals]))}}}"


def _bind(module: str, monitor: str, pins: Mapping[str, str]) -> str:
    return f"bind {module} {monitor} monitor (\n{connections(pins)}\n);"
