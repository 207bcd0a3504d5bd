"""Inputs that tell a mutant from the block, searched cycle by cycle from the start by SAT."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass

from tests.mutation.circuit import Circuit, Memory, Word, word
from tests.mutation.graph import FALSE, TRUE, Graph, Oracle
from tests.mutation.pair import Pair

__all__ = ["Inputs", "Searched", "search"]

Inputs = list[dict[str, int]]
"""For each cycle the value of each input port."""


@dataclass(frozen=True)
class Searched:
    """In the first ``cycles`` cycles outputs are equal for all inputs; in the next one ``inputs`` make them differ."""

    cycles: int
    inputs: Inputs | None


class _Copy:
    """A circuit from its start on."""

    def __init__(self, circuit: Circuit, graph: Graph, number: int) -> None:
        self._circuit, self._graph = circuit, graph
        self._chosen = {node: FALSE ^ bit for node, bit in circuit.mutant(number).items()}
        self._registers = {node: FALSE ^ value for node, value in circuit.initial.items()}
        self._written: list[list[tuple[Word, Word, Word]]] = [[] for _ in circuit.memories]

    def cycle(self, inputs: dict[int, int], like: list[int] | None) -> list[int]:
        circuit = self._circuit
        given = inputs | self._chosen | self._registers
        values = circuit.evaluate(self._graph, given, read=self._read, multiply=self._graph.product, like=like)
        self._registers = {node: word(values, (after,))[0] for node, after in circuit.registers.items()}
        for written, memory in zip(self._written, circuit.memories, strict=True):
            for write in memory.writes:
                enable = word(values, write.enable)
                if any(enable):
                    written.append((enable, word(values, write.address), word(values, write.data)))
        return values

    def _read(self, memory: int, address: Word) -> list[int]:
        """What was last written there; nothing behind the last word."""
        graph = self._graph
        inside = _below(graph, address, len(self._circuit.memories[memory].initial))
        data = _initial(graph, self._circuit.memories[memory], address)
        for enable, where, written in self._written[memory]:
            here = graph.words_differ(where, address) ^ 1
            data = [
                graph.choose(graph.conj(here, allowed), new, old)
                for allowed, new, old in zip(enable, written, data, strict=True)
            ]
        return [graph.conj(inside, bit) for bit in data]


def _below(graph: Graph, number: Word, bound: int) -> int:
    if bound >> len(number):
        return TRUE
    below = FALSE
    for place, bit in enumerate(number):
        below = graph.disj(bit ^ 1, below) if bound >> place & 1 else graph.conj(bit ^ 1, below)
    return below


def _initial(graph: Graph, memory: Memory, address: Word) -> list[int]:
    if not any(memory.initial):
        return [FALSE] * memory.width
    row = [[FALSE ^ (value >> bit & 1) for bit in range(memory.width)] for value in memory.initial]
    nothing = [FALSE] * memory.width
    for select in address:
        row += [nothing] * (len(row) & 1)
        row = [
            [graph.choose(select, one, zero) for one, zero in zip(odd, even, strict=True)]
            for even, odd in zip(row[::2], row[1::2], strict=True)
        ]
    return row[0]


def search(pair: Pair, *, cycles: int, deadline: float) -> Searched:
    """Look at one more cycle after the other, up to ``cycles`` or the deadline (of `time.process_time`)."""
    circuit, graph = pair.circuit, Graph()
    block, mutant = _Copy(circuit, graph, 0), _Copy(circuit, graph, pair.number)
    driven: list[dict[str, list[int]]] = []
    with Oracle(graph, deadline) as oracle:
        for cycle in range(cycles):
            driven.append({port: [graph.free() for _ in nodes] for port, nodes in circuit.data_inputs().items()})
            inputs = {
                node: literal
                for port, nodes in circuit.data_inputs().items()
                for node, literal in zip(nodes, driven[-1][port], strict=True)
            }
            values = block.cycle(inputs, None)
            graph.laws.append(pair.law(values))
            apart = graph.any(pair.differences(graph, values, mutant.cycle(inputs, values)))
            found = oracle.possible(apart) if apart != FALSE else False
            if found is None or time.process_time() > deadline:
                return Searched(cycle + (found is False), None)
            if found:
                return Searched(cycle, [_read_out(oracle, ports) for ports in driven])
            if apart != FALSE:
                oracle.demand(apart ^ TRUE)
    return Searched(cycles, None)


def _read_out(oracle: Oracle, ports: dict[str, Sequence[int]]) -> dict[str, int]:
    return {
        port: sum(oracle.value(literal) << place for place, literal in enumerate(literals))
        for port, literals in ports.items()
    }
