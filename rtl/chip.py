"""The chip: a mesh of cores, memory nodes at its edge, control."""

from __future__ import annotations

from typing import Any

from amaranth.hdl import Cat, Module, Value
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out, connect, flipped

from rtl.contract.params import ChipParams
from rtl.contract.regs import BlockKind, block_index
from rtl.control import Control
from rtl.core.core import Core
from rtl.dram.axi import Axi4, Axi4Lite
from rtl.dram.memory_node import MemoryNode
from rtl.lib.blackbox import place
from rtl.noc.mesh import Mesh

__all__ = ["Chip", "core_modules"]


def core_modules(chip: ChipParams) -> tuple[str, ...]:
    """For each core, the name of its Verilog module: one for each distinct `CoreParams`."""
    kinds = list(dict.fromkeys(chip.cores))
    return tuple(f"systomesh_core_{kinds.index(core)}" for core in chip.cores)


class Chip(wiring.Component):
    """Everything, wired: cores and memory nodes on the mesh, control beside it.

    Members
    -------
    irq
        A run has ended.
    s_axil
        AXI4-Lite slave of `rtl.control.Control`.
    m_axi
        AXI4 masters, one for each memory node.
    """

    def __init__(self, *, chip: ChipParams) -> None:
        self._chip = chip
        super().__init__(
            {
                "irq": Out(1),
                "s_axil": In(Axi4Lite()),
                "m_axi": Out(Axi4(data_bits=8 * chip.link_bytes)).array(len(chip.memory_nodes)),
            }
        )

    def elaborate(self, platform: Any) -> Module:
        m = Module()
        chip = self._chip
        m.submodules.control = control = Control(chip=chip)
        m.submodules.mesh = mesh = Mesh(chip=chip)
        connect(m, flipped(self.s_axil), control.bus)
        m.d.comb += self.irq.eq(control.irq)
        progress: list[Value] = [mesh.progress]

        def common(block: Any, kind: BlockKind, index: int) -> None:
            m.d.comb += [
                block.clear.eq(control.clear),
                block.running.eq(control.running),
                block.halt.eq(control.halt),
                block.counter_index.eq(control.counter_index),
                control.counter_value[block_index(kind, index, chip.n_cores)].eq(block.counter_value),
            ]
            progress.append(block.progress)

        for i, (params, module) in enumerate(zip(chip.cores, core_modules(chip), strict=True)):
            core = Core(core=params, chip=chip)
            m.submodules[f"core_{i}"] = place(core, platform, module)
            common(core, BlockKind.CORE, i)
            connect(m, core.request_out, mesh.send_request[i])
            connect(m, mesh.receive_request[i], core.request_in)
            connect(m, mesh.receive_response[i], core.response_in)
            m.d.comb += [
                core.node.eq(i),
                core.home.eq(chip.home_memory[i]),
                core.start.eq(control.start[i]),
                core.program_base.eq(control.program_base),
                core.program_stride.eq(control.program_stride),
                control.core_done[i].eq(core.done),
                control.core_error[i].eq(core.error),
                control.core_error_unit[i].eq(core.error_unit),
            ]
            if params.marks:
                m.d.comb += core.trace_entry.eq(control.trace_entry)

        for i in range(len(chip.memory_nodes)):
            node = chip.memory_node_id(i)
            memory = MemoryNode(chip=chip)
            m.submodules[f"memory_{i}"] = place(memory, platform, "systomesh_memory_node")
            common(memory, BlockKind.MEMORY, i)
            connect(m, memory.axi, flipped(self.m_axi[i]))
            connect(m, mesh.receive_request[node], memory.request_in)
            connect(m, memory.response_out, mesh.send_response[node])
            m.d.comb += [
                mesh.receive_response[node].ready.eq(1),  # nobody sends one
                memory.node.eq(node),
                control.memory_idle[i].eq(memory.idle),
                control.memory_error[i].eq(memory.error),
            ]

        m.d.comb += [mesh.clear.eq(control.clear), mesh.running.eq(control.running)]
        m.d.comb += mesh.counter_index.eq(control.counter_index)
        m.d.comb += [
            control.counter_value[block_index(BlockKind.ROUTER, i, chip.n_cores)].eq(value)
            for i, value in enumerate(mesh.counter_value)
        ]
        m.d.sync += control.progress.eq(Cat(progress).any())
        return m
