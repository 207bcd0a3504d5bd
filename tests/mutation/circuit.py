"""A block with all its mutants as gates, registers, memories and multipliers, taken apart by yosys.

Large memories and multipliers stay whole: who evaluates a cycle says what is read and what a product is. Small
memories become registers. Everything starts with its initial value, and what has none with zero, as in simulation.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from tb.errors import ToolError
from tb.model.yosys import run_yosys
from tests.mutation.graph import FALSE, TRUE, Graph
from tests.mutation.netlist import CLOCK, MUTSEL, TOP, MutatedNetlist

__all__ = ["Circuit", "Gate", "Memory", "Product", "Read", "Word", "Write", "load_circuit", "word"]

_SMALL_MEMORY_BITS = 1024
"""Up to here a memory is taken as registers, so that each of its words can be compared by itself."""

Bit = int | str
"""Of a net in yosys' JSON: its number, or a constant."""

Word = tuple[int, ...]
"""Literals, the lowest bit first: twice the node of a circuit, plus one if inverted. Node 0 is false."""


@dataclass(frozen=True)
class Gate:
    """The AND of two literals."""

    node: int
    a: int
    b: int


@dataclass(frozen=True)
class Product:
    """Of two words that are as wide as their product, which wraps."""

    nodes: tuple[int, ...]
    a: Word
    b: Word


@dataclass(frozen=True)
class Read:
    """The word at an address, in the same cycle."""

    nodes: tuple[int, ...]
    memory: int
    address: Word


@dataclass(frozen=True)
class Write:
    """At the end of the cycle; one literal of ``enable`` for each bit of ``data``."""

    enable: Word
    address: Word
    data: Word


@dataclass(frozen=True)
class Memory:
    width: int
    initial: list[int]
    """By address."""
    writes: list[Write]
    """The last one wins."""


@dataclass(frozen=True)
class Circuit:
    nodes: int
    inputs: dict[str, tuple[int, ...]]
    """Nodes by port; among them `MUTSEL`."""
    outputs: dict[str, Word]
    registers: dict[int, int]
    """Node of the value: literal of the next one."""
    initial: dict[int, int]
    width: dict[int, int]
    """Of the words of the design that registers belong to."""
    words: list[Word]
    """Registers that are one word of the design."""
    memories: list[Memory]
    steps: list[Gate | Product | Read]
    """Whatever is computed, after what it needs."""
    falling: list[int]
    """Literals of mutants that make something follow the falling edge of the clock: of that nothing is known here."""

    def mutant(self, number: int) -> dict[int, int]:
        """Values of the inputs that choose a mutant."""
        return {node: number >> place & 1 for place, node in enumerate(self.inputs[MUTSEL])}

    def judgeable(self, number: int) -> bool:
        """Whether a mutant leaves everything on the rising edge of the clock."""
        gates = {step.node: step for step in self.steps if isinstance(step, Gate)} if self.falling else {}
        chosen = self.mutant(number)

        def value(literal: int) -> int:
            gate = gates.get(literal >> 1)
            plain = value(gate.a) & value(gate.b) if gate else chosen.get(literal >> 1, 0)
            return plain ^ literal & 1

        return not any(map(value, self.falling))

    def data_inputs(self) -> dict[str, tuple[int, ...]]:
        return {port: nodes for port, nodes in self.inputs.items() if port not in (MUTSEL, CLOCK)}

    def evaluate(
        self,
        graph: Graph,
        given: dict[int, int],
        *,
        read: Callable[[int, Word], Sequence[int]],
        multiply: Callable[[Word, Word], Sequence[int]],
        like: list[int] | None = None,
    ) -> list[int]:
        """Literals of a graph by node, for those of registers and inputs.

        ``like`` is another cycle, or the same one without the mutant: what has the same operands as there has the
        same value.
        """
        values = list(like) if like else [FALSE] * self.nodes
        for node, literal in given.items():
            values[node] = literal
        before = like or []
        for step in self.steps:
            if isinstance(step, Gate):
                a, b = step.a >> 1, step.b >> 1
                if like and values[a] == before[a] and values[b] == before[b]:
                    continue
                values[step.node] = graph.conj(values[a] ^ step.a & 1, values[b] ^ step.b & 1)
                continue
            if isinstance(step, Read):
                result = read(step.memory, word(values, step.address))
            else:
                result = multiply(word(values, step.a), word(values, step.b))
            for node, literal in zip(step.nodes, result, strict=True):
                values[node] = literal
        return values

    @cached_property
    def state_nodes(self) -> list[int]:
        """Registers, and gates behind nothing but registers."""
        return [*self.registers, *(gate.node for gate in self._state_gates)]

    @cached_property
    def _state_gates(self) -> list[Gate]:
        of_state, found = set(self.registers), []
        for step in self.steps:
            if isinstance(step, Gate) and step.a >> 1 in of_state and step.b >> 1 in of_state:
                of_state.add(step.node)
                found.append(step)
        return found

    def state(self, graph: Graph, registers: dict[int, int]) -> list[int]:
        """Like `evaluate`, of what depends on registers alone."""
        values = [FALSE] * self.nodes
        for node, literal in registers.items():
            values[node] = literal
        for gate in self._state_gates:
            values[gate.node] = graph.conj(*word(values, (gate.a, gate.b)))
        return values


def word(values: Sequence[int], literals: Word) -> Word:
    return tuple(values[one >> 1] ^ one & 1 for one in literals)


def load_circuit(netlist: MutatedNetlist, directory: Path) -> Circuit:
    """Take a netlist apart, once for all its mutants.

    Raises
    ------
    ToolError
        If yosys fails, or the block is of a kind that cannot be judged.
    """
    directory.mkdir(parents=True, exist_ok=True)
    design = json.loads(netlist.design.read_text())
    for cell in design["modules"][TOP]["cells"].values():
        if cell["type"] == "$mem_v2" and _number(cell, "SIZE") * _number(cell, "WIDTH") <= _SMALL_MEMORY_BITS:
            cell["attributes"]["small"] = "1"
    (directory / "mutants.json").write_text(json.dumps(design))
    script = ["read_json mutants.json", "memory_map a:small", "memory_nordff", "opt_clean", "write_json whole.json"]
    run_yosys(script, directory, name="memories")
    design = json.loads((directory / "whole.json").read_text())
    module = design["modules"][TOP]
    kept = {name: cell for name, cell in module["cells"].items() if cell["type"] in ("$mem_v2", "$mul")}
    for name in kept:
        del module["cells"][name]
    for index, cell in enumerate(kept.values()):
        for port, bits in cell["connections"].items():
            direction = "output" if cell["port_directions"][port] == "input" else "input"
            module["ports"][_wire(index, port)] = {"direction": direction, "bits": bits}
            module["netnames"][_wire(index, port)] = {"hide_name": 0, "bits": bits, "attributes": {}}
    (directory / "cut.json").write_text(json.dumps(design))
    script = [
        "read_json cut.json",
        "setundef -init -zero",
        "opt_expr",
        "techmap",
        "simplemap",
        "dfflegalize -cell $_DFF_P_ 01",
        "simplemap",
        "setundef -undriven -zero",
        "opt_expr",
        "opt_merge",
        "opt_clean",
        "aigmap",
        "opt_clean",
        "write_json gates.json",
    ]
    run_yosys(script, directory, name="gates")
    module = json.loads((directory / "gates.json").read_text())["modules"][TOP]
    return _Builder(module, list(kept.values())).circuit()


def _wire(index: int, port: str) -> str:
    """Port of the module in the place of a cell's."""
    return f"cell{index}_{port}"


def _number(cell: dict[str, Any], parameter: str) -> int:
    return int(cell["parameters"][parameter].replace("x", "0"), 2)


class _Builder:
    """Numbers the nodes of yosys' gates, and puts what computes them in order."""

    def __init__(self, module: dict[str, Any], kept: Sequence[dict[str, Any]]) -> None:
        self._ports, self._nets = module["ports"], module["netnames"]
        self._cells = list(module["cells"].values())
        self._kept = kept
        self._literals: dict[Bit, int] = {"0": FALSE, "1": TRUE, "x": FALSE, "z": FALSE}
        self._nodes = 1
        self._makers: dict[Bit, tuple[list[Bit], Callable[[], None]]] = {}
        """By bit: the bits that it needs, and what gives it a literal once they have theirs."""
        self._steps: list[Gate | Product | Read] = []
        self._clocks: dict[tuple[Bit, int], int] = {}
        self._falling: list[int] = []

    def circuit(self) -> Circuit:
        wires = {_wire(index, port) for index, cell in enumerate(self._kept) for port in cell["connections"]}
        own = {name: port for name, port in self._ports.items() if name not in wires}
        inputs = {name: self._new(port["bits"]) for name, port in own.items() if port["direction"] == "input"}
        flops = [cell["connections"] for cell in self._cells if cell["type"] == "$_DFF_P_"]
        registers = self._new([flop["Q"][0] for flop in flops])
        for cell in self._cells:
            if cell["type"] in ("$_AND_", "$_NOT_"):
                self._announce_gate(cell["connections"])
            elif cell["type"] != "$_DFF_P_":
                raise ToolError(f"yosys left a cell {cell['type']} in the gates")
        large = [(index, cell) for index, cell in enumerate(self._kept) if cell["type"] == "$mem_v2"]
        for index, cell in enumerate(self._kept):
            if cell["type"] == "$mul":
                self._announce_product(index, cell)
        for memory, (index, cell) in enumerate(large):
            self._announce_reads(index, cell, memory)
        following = [
            self._if(self._rises(flop["C"][0]), self._literal(flop["D"][0]), 2 * node)
            for node, flop in zip(registers, flops, strict=True)
        ]
        outputs = {name: self._word(port["bits"]) for name, port in own.items() if port["direction"] == "output"}
        memories = [self._memory(index, cell) for index, cell in large]
        initial = self._initial()
        named = sorted((net["bits"] for name, net in self._nets.items() if name[0] != "$"), key=len, reverse=True)
        widths = {bit: len(bits) for bits in named for bit in bits}
        of_bit = {flop["Q"][0]: 2 * node for node, flop in zip(registers, flops, strict=True)}
        words = {tuple(of_bit[bit] for bit in bits if bit in of_bit) for bits in named}
        return Circuit(
            nodes=self._nodes,
            inputs=inputs,
            outputs=outputs,
            registers=dict(zip(registers, following, strict=True)),
            initial={node: initial.get(flop["Q"][0], 0) for node, flop in zip(registers, flops, strict=True)},
            width={
                node: widths[flop["Q"][0]]
                for node, flop in zip(registers, flops, strict=True)
                if flop["Q"][0] in widths
            },
            words=sorted(one for one in words if len(one) > 1),
            memories=memories,
            steps=self._steps,
            falling=self._falling,
        )

    def _and(self, a: int, b: int) -> int:
        if FALSE in (a, b):
            return FALSE
        if TRUE in (a, b):
            return a if b == TRUE else b
        self._steps.append(Gate(self._nodes, a, b))
        self._nodes += 1
        return 2 * self._nodes - 2

    def _if(self, condition: int, one: int, zero: int) -> int:
        if condition == TRUE:
            return one
        return self._and(self._and(condition, one) ^ 1, self._and(condition ^ 1, zero) ^ 1) ^ 1

    def _rises(self, clock: Bit) -> int:
        """Whether a clock, which a mutant may have stopped, rises with the block's."""
        low, high = (self._clock(clock, level) for level in (FALSE, TRUE))
        falls = self._and(low, high ^ 1)
        if falls != FALSE:
            self._falling.append(falls)
        return self._and(low ^ 1, high)

    def _clock(self, bit: Bit, level: int) -> int:
        """The literal of a bit while the block's clock has a level."""
        if [bit] == self._ports[CLOCK]["bits"]:
            return level
        if (bit, level) not in self._clocks:
            operands = self._makers[bit][0] if bit in self._makers else []
            if len(operands) == 1:
                found = self._clock(operands[0], level) ^ 1
            elif operands:
                found = self._and(*(self._clock(one, level) for one in operands))
            else:
                found = self._literals[bit]
            self._clocks[bit, level] = found
        return self._clocks[bit, level]

    def _initial(self) -> dict[Bit, int]:
        found = {}
        for net in self._nets.values():
            for bit, value in zip(net["bits"], reversed(net["attributes"].get("init", "")), strict=False):
                if value in "01":
                    found[bit] = int(value)
        return found

    def _new(self, bits: Sequence[Bit]) -> tuple[int, ...]:
        """Nodes of their own for these bits."""
        nodes = tuple(range(self._nodes, self._nodes + len(bits)))
        self._nodes += len(bits)
        self._literals |= {bit: 2 * node for bit, node in zip(bits, nodes, strict=True)}
        return nodes

    def _announce_gate(self, ends: dict[str, list[Bit]]) -> None:
        (result,) = ends["Y"]
        operands = [bit for port in ("A", "B") for bit in ends.get(port, [])]

        def make() -> None:
            literals = [self._literals[bit] for bit in operands]
            if len(literals) == 1:
                self._literals[result] = literals[0] ^ 1
            else:
                (node,) = self._new([result])
                self._steps.append(Gate(node, *literals))

        self._makers[result] = (operands, make)

    def _announce_product(self, index: int, cell: dict[str, Any]) -> None:
        bits = self._ports[_wire(index, "Y")]["bits"]
        operands = []
        for port in ("A", "B"):
            operand = self._ports[_wire(index, port)]["bits"]
            sign = operand[-1] if _number(cell, f"{port}_SIGNED") else "0"
            operands.append((operand + [sign] * len(bits))[: len(bits)])

        def make() -> None:
            a, b = (tuple(self._literals[bit] for bit in operand) for operand in operands)
            self._steps.append(Product(self._new(bits), a, b))

        self._makers |= dict.fromkeys(bits, (operands[0] + operands[1], make))

    def _announce_reads(self, index: int, cell: dict[str, Any], memory: int) -> None:
        """Those of all ports of a memory."""
        data, address = (self._ports[_wire(index, port)]["bits"] for port in ("RD_DATA", "RD_ADDR"))
        width, bits = _number(cell, "WIDTH"), _number(cell, "ABITS")
        for port in range(_number(cell, "RD_PORTS")):
            results, needed = data[port * width :][:width], address[port * bits :][:bits]

            def make(results: list[Bit] = results, needed: list[Bit] = needed) -> None:
                where = tuple(self._literals[bit] for bit in needed)
                self._steps.append(Read(self._new(results), memory, where))

            self._makers |= dict.fromkeys(results, (needed, make))

    def _memory(self, index: int, cell: dict[str, Any]) -> Memory:
        width, words, bits = (_number(cell, name) for name in ("WIDTH", "SIZE", "ABITS"))
        initial = cell["parameters"]["INIT"].replace("x", "0").zfill(width * words)
        ends = {port: self._word(self._ports[_wire(index, port)]["bits"]) for port in ("WR_EN", "WR_ADDR", "WR_DATA")}
        rises = [self._rises(bit) for bit in self._ports[_wire(index, "WR_CLK")]["bits"]]
        return Memory(
            width,
            [int(initial[len(initial) - width * (at + 1) : len(initial) - width * at], 2) for at in range(words)],
            [
                Write(
                    tuple(self._and(rises[port], one) for one in ends["WR_EN"][port * width :][:width]),
                    ends["WR_ADDR"][port * bits :][:bits],
                    ends["WR_DATA"][port * width :][:width],
                )
                for port in range(_number(cell, "WR_PORTS"))
            ],
        )

    def _word(self, bits: Sequence[Bit]) -> Word:
        return tuple(self._literal(bit) for bit in bits)

    def _literal(self, wanted: Bit) -> int:
        """Of a bit, after everything that it needs."""
        waiting = [wanted]
        while waiting:
            bit = waiting[-1]
            if bit in self._literals:
                waiting.pop()
                continue
            needed, make = self._makers[bit]
            missing = [one for one in needed if one not in self._literals]
            if missing:
                waiting += missing
            else:
                make()
        return self._literals[wanted]
