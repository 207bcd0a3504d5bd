"""Generates `systomesh_tb`, the top level of every simulation: the chip, checkers of its buses, external memory.

The chip's AXI4-Lite slave and interrupt come out as top-level signals of the same names; each of its
AXI4 masters meets a port of the memory model, or comes out, too. Settings of the memory are top-level
signals, so that another latency or bandwidth needs no rebuild.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

__all__ = ["AXIL_SIGNALS", "TOP", "Wrapper", "connections"]

TOP = "systomesh_tb"

AXIL_SIGNALS: tuple[tuple[str, int, str], ...] = (
    ("awaddr", 16, "input"),
    ("awvalid", 1, "input"),
    ("awready", 1, "output"),
    ("wdata", 32, "input"),
    ("wstrb", 4, "input"),
    ("wvalid", 1, "input"),
    ("wready", 1, "output"),
    ("bresp", 2, "output"),
    ("bvalid", 1, "output"),
    ("bready", 1, "input"),
    ("araddr", 16, "input"),
    ("arvalid", 1, "input"),
    ("arready", 1, "output"),
    ("rdata", 32, "output"),
    ("rresp", 2, "output"),
    ("rvalid", 1, "output"),
    ("rready", 1, "input"),
)
"""Name, width and direction (seen from the chip) of the control port."""


def _axi_signals(link_bytes: int) -> list[tuple[str, int]]:
    """Name and width of one AXI4 master's signals."""
    return [
        ("arid", 1), ("araddr", 32), ("arlen", 8), ("arsize", 3), ("arburst", 2), ("arvalid", 1), ("arready", 1),
        ("rid", 1), ("rdata", 8 * link_bytes), ("rresp", 2), ("rlast", 1), ("rvalid", 1), ("rready", 1),
        ("awid", 1), ("awaddr", 32), ("awlen", 8), ("awsize", 3), ("awburst", 2), ("awvalid", 1), ("awready", 1),
        ("wdata", 8 * link_bytes), ("wstrb", link_bytes), ("wlast", 1), ("wvalid", 1), ("wready", 1),
        ("bid", 1), ("bresp", 2), ("bvalid", 1), ("bready", 1),
    ]  # fmt: skip


def _from_chip(name: str) -> bool:
    """Whether the chip drives that signal of an AXI4 master."""
    response = name.startswith(("r", "b"))
    return name.endswith("ready") == response


def _range(width: int) -> str:
    return f"[{width - 1}:0] " if width > 1 else ""


@dataclass(frozen=True)
class Wrapper:
    """The top level around a chip with `nodes` AXI4 masters of `link_bytes` wide data buses."""

    nodes: int
    link_bytes: int
    file_memory_bytes: int = 0
    """Size of the array that is the memory on a simulator without DPI-C; 0: memory.cpp is."""
    chip_module: str = "systomesh_chip"
    burst_beats: int = 256
    """Longest burst that the chip may ask for."""
    bursts: int = 64
    """The most bursts that the chip may have under way, each way and node."""
    open_buses: bool = False
    """The AXI4 masters are top-level signals, for a memory of the bench; there is no memory model."""

    def _masters(self) -> list[str]:
        return [f"m{node}_axi" for node in range(self.nodes)]

    def ports(self) -> list[tuple[str, int, str]]:
        """Name, width and direction of the top-level signals, all visible to the bench."""
        ports = [("clk", 1, "input"), ("rst", 1, "input"), ("irq", 1, "output")]
        ports += [(f"s_axil_{name}", width, direction) for name, width, direction in AXIL_SIGNALS]
        ports += [(f"{bus}_violation", 40, "output") for bus in ("s_axil", *self._masters())]
        ports += [(f"{bus}_unanswered", 1, "output") for bus in self._masters()]
        if self.open_buses:
            return ports + [
                (f"{bus}_{name}", width, "output" if _from_chip(name) else "input")
                for bus in self._masters()
                for name, width in _axi_signals(self.link_bytes)
            ]
        ports += [
            ("memory_limit", 33, "input"),
            ("memory_latency", 16 * self.nodes, "input"),
            ("memory_rate", 16 * self.nodes, "input"),
            ("memory_stall", 8, "input"),
            ("memory_seed", 32, "input"),
        ]
        if self.file_memory_bytes:
            ports += [
                ("memory_load", 1, "input"),
                ("memory_dump", 1, "input"),
                ("memory_first", 32, "input"),
                ("memory_count", 32, "input"),
                ("memory_done", 1, "output"),
            ]
        return ports

    def verilog(self) -> str:
        """The Verilog text."""
        signals = _axi_signals(self.link_bytes)
        lines = ["// Generated: the chip and its external memory.", "`timescale 1ns / 1ps", "", f"module {TOP} ("]
        lines.append(",\n".join(f"    {kind} wire {_range(width)}{name}" for name, width, kind in self.ports()))
        lines.append(");")
        if not self.open_buses:
            lines += [f"    wire {_range(width)}{bus}_{name};" for bus in self._masters() for name, width in signals]
        # What hangs on an input of the top is evaluated at both clock edges; behind a register, at one.
        settings = ("rst", "memory_limit", "memory_latency", "memory_rate", "memory_stall", "memory_seed")
        held = {name: width for name, width, _ in self.ports() if name in settings}
        lines += [f"    reg {_range(width)}{name}_q{' = 1' if name == 'rst' else ''};" for name, width in held.items()]
        lines += ["    reg [31:0] cycle;", "    always @(posedge clk) begin"]
        lines += [*(f"        {name}_q <= {name};" for name in held)]
        lines += ["        cycle <= rst_q ? 0 : cycle + 1;", "    end"]
        own = ["clk", "rst", "irq", *(f"s_axil_{name}" for name, _, _ in AXIL_SIGNALS)]
        buses = [f"{bus}_{name}" for bus in self._masters() for name, _ in signals]
        pins = {name: f"{name}_q" if name in held else name for name in [*own, *buses]}
        lines += ["", f"    {self.chip_module} chip (", connections(pins), "    );"]
        lines += self._checkers()
        for node in range(0 if self.open_buses else self.nodes):
            pins = {"clk": "clk", "rst": "rst_q", "now": "cycle", "limit": "memory_limit_q"}
            pins |= {name: f"memory_{name}_q[{16 * node} +: 16]" for name in ("latency", "rate")}
            pins |= {"stall": "memory_stall_q", "seed": f"memory_seed_q + 32'd{node}"}
            pins |= {name: f"m{node}_axi_{name}" for name, _ in signals}
            lines += ["", f"    systomesh_memory #(.BYTES({self.link_bytes})) memory{node} ("]
            lines += [connections(pins), "    );"]
        if self.file_memory_bytes:
            words = -(-self.file_memory_bytes // self.link_bytes)
            pins = {name: f"memory_{name}" for name in ("load", "dump", "first", "count", "done")}
            lines += ["", f"    systomesh_store #(.BYTES({self.link_bytes}), .WORDS({words})) store ("]
            lines += [connections(pins), "    );"]
        return "\n".join([*lines, "endmodule", ""])

    def _checkers(self) -> list[str]:
        clocks = {"clk": "clk", "rst": "rst_q", "cycle": "cycle"}
        pins = clocks | {name: f"s_axil_{name}" for name in ("violation", *(name for name, _, _ in AXIL_SIGNALS))}
        lines = ["", "    systomesh_axil_check control_check (", connections(pins), "    );"]
        sizes = f".BYTES({self.link_bytes}), .BEATS({self.burst_beats}), .BURSTS({self.bursts})"
        names = ["violation", "unanswered", *(name for name, _ in _axi_signals(self.link_bytes))]
        for node, bus in enumerate(self._masters()):
            pins = clocks | {"irq": "irq"} | {name: f"{bus}_{name}" for name in names}
            lines += ["", f"    systomesh_axi_check #({sizes}) check{node} (", connections(pins), "    );"]
        return lines

    def visibility(
        self, hier_modules: tuple[str, ...] = (), *, inside: bool = False, state: Sequence[tuple[str, str]] = ()
    ) -> str:
        """Verilator control file: only top-level ports are public; each of `hier_modules` is compiled once.

        With `inside` the words of all RAMs are public, too (tb/sim/inside.py); with `state` these variables,
        (module, name).
        """
        lines = ["`verilator_config"]
        lines += [f'public_flat_rw -module "{TOP}" -var "{name}"' for name, _, _ in self.ports()]
        lines += ['public_flat_rw -module "systomesh_ram" -var "mem"'] if inside else []
        lines += [f'public_flat_rw -module "{module}" -var "{name}"' for module, name in state]
        lines += [f'hier_block -module "{module}"' for module in hier_modules]
        return "\n".join([*lines, ""])


def connections(pins: Mapping[str, str]) -> str:
    """The connections of an instance, by the names of its ports."""
    return ",\n".join(f"        .{pin}({signal})" for pin, signal in pins.items())
