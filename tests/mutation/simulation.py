"""A block and its mutant under random inputs, 64 pairs of them in each machine word.

What random inputs tell apart needs no search, and what they do not tell apart a proof can hope to keep equal.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from tests.mutation.circuit import Gate, Product, Read
from tests.mutation.pair import Pair

__all__ = ["Lanes", "Simulation", "apart", "literals", "values_of"]

Lanes = NDArray[np.uint64]
"""By node or literal, and machine word: a bit for each pair."""

_NONE, _ALL = np.uint64(0), np.uint64(2**64 - 1)
_LANES = 64


class Simulation:
    """The first half of the machine words is the block, the second half the mutant, under the same inputs."""

    def __init__(self, pair: Pair, *, words: int, seed: int) -> None:
        self._pair, self._words = pair, words
        self._circuit = circuit = pair.circuit
        self.allowed: Lanes = np.full(words, _ALL)
        """Pairs whose inputs were allowed in all cycles so far."""
        self._rng = np.random.default_rng(seed)
        self._values: Lanes = np.zeros((circuit.nodes, 2 * words), np.uint64)
        for node, bit in circuit.initial.items():
            self._values[node] = _ALL if bit else _NONE
        for node, bit in circuit.mutant(pair.number).items():
            self._values[node, words:] = _ALL if bit else _NONE
        copies = 2 * words * _LANES
        self._contents = []
        for memory in circuit.memories:
            rows = [[value >> bit & 1 for bit in range(memory.width)] for value in memory.initial]
            self._contents.append(np.tile(np.array(rows, np.uint8), (copies, 1, 1)))
        self._lanes = np.arange(copies)
        self._levels = list(self._levelled())
        self._registers = np.array(list(circuit.registers), np.intp)
        self._following = literals(circuit.registers.values())
        nodes = [node for port in circuit.data_inputs().values() for node in port]
        self._inputs = np.array(nodes, np.intp)
        self._habits = self._drawn_habits()

    def run(self, cycles: int) -> Iterator[Lanes]:
        """The values of all nodes in each cycle; the array is used again for the next one."""
        for _ in range(cycles):
            self._drive()
            for level in self._levels:
                level()
            self.allowed &= values_of(self._values, literals([self._pair.allowed]))[0, : self._words]
            yield self._values
            following = values_of(self._values, self._following)
            self._write()
            self._values[self._registers] = following

    def driven(self) -> Lanes:
        """This cycle's inputs, for `inputs_of`."""
        return self._values[self._inputs, : self._words].copy()

    def inputs_of(self, lane: int, driven: Lanes) -> dict[str, int]:
        """What the ports of one pair got."""
        at, bit = divmod(lane, _LANES)
        bits = iter(int(word) >> bit & 1 for word in driven[:, at])
        return {
            port: sum(next(bits) << place for place in range(len(nodes)))
            for port, nodes in self._circuit.data_inputs().items()
        }

    def memories_differ(self) -> list[bool]:
        half = len(self._lanes) // 2
        counts = np.unpackbits(self.allowed.view(np.uint8), bitorder="little").astype(bool)
        return [bool((content[:half] != content[half:])[counts].any()) for content in self._contents]

    def _drawn_habits(self) -> tuple[Lanes, Lanes, Lanes]:
        """How each port behaves in each pair: which lanes keep their inputs mostly, hold them low, hold them high."""
        rng, ports = self._rng, [len(nodes) for nodes in self._circuit.data_inputs().values()]
        habits = [rng.integers(0, 2**64, (len(ports), self._words), np.uint64) for _ in range(6)]
        keeping = habits[0] & habits[1]
        low, high = habits[2] & habits[3] & ~keeping, habits[4] & habits[5] & ~keeping
        keeping, low, high = (np.repeat(habit, ports, axis=0) for habit in (keeping, low, high))
        return keeping, low, high & ~low

    def _drive(self) -> None:
        shape = (len(self._inputs), self._words)

        def some() -> Lanes:
            return self._rng.integers(0, 2**64, shape, np.uint64)

        keeping, low, high = self._habits
        rare = some() & some() & some()
        fresh = (some() & ~low & ~high) | (rare & low) | (~rare & high)
        keep = keeping & ~rare
        old = self._values[self._inputs, : self._words]
        self._values[self._inputs] = np.tile((old & keep) | (fresh & ~keep), (1, 2))

    def _levelled(self) -> Iterator[Callable[[], None]]:
        """Gates that need nothing from each other together, after what they need."""
        depth = [0] * self._circuit.nodes
        gates: dict[int, list[Gate]] = {}
        others: dict[int, list[Product | Read]] = {}
        for step in self._circuit.steps:
            if isinstance(step, Gate):
                here = 1 + max(depth[step.a >> 1], depth[step.b >> 1])
                depth[step.node] = here
                gates.setdefault(here, []).append(step)
            else:
                needed = step.address if isinstance(step, Read) else step.a + step.b
                here = 1 + max((depth[one >> 1] for one in needed), default=0)
                for node in step.nodes:
                    depth[node] = here
                others.setdefault(here, []).append(step)
        for here in sorted({*gates, *others}):
            if here in gates:
                yield self._gates(gates[here])
            for step in others.get(here, []):
                yield self._read(step) if isinstance(step, Read) else self._multiply(step)

    def _gates(self, gates: Sequence[Gate]) -> Callable[[], None]:
        nodes = np.array([gate.node for gate in gates], np.intp)
        a, b = literals(gate.a for gate in gates), literals(gate.b for gate in gates)

        def work() -> None:
            self._values[nodes] = values_of(self._values, a) & values_of(self._values, b)

        return work

    def _multiply(self, step: Product) -> Callable[[], None]:
        nodes, a, b = np.array(step.nodes, np.intp), literals(step.a), literals(step.b)

        def work() -> None:
            product = self._numbers(a) * self._numbers(b)
            self._values[nodes] = _packed([product >> place & 1 for place in range(len(nodes))])

        return work

    def _read(self, step: Read) -> Callable[[], None]:
        nodes, address = np.array(step.nodes, np.intp), literals(step.address)
        content = self._contents[step.memory]

        def work() -> None:
            where = self._numbers(address).astype(np.intp)
            inside = where < content.shape[1]
            self._values[nodes] = _packed(list((content[self._lanes, where * inside] * inside[:, None]).T))

        return work

    def _write(self) -> None:
        for memory, content in zip(self._circuit.memories, self._contents, strict=True):
            for write in memory.writes:
                enable, data = (self._bits(literals(one)) for one in (write.enable, write.data))
                where = self._numbers(literals(write.address)).astype(np.intp)
                inside = where < content.shape[1]
                where *= inside
                allowed = (enable & inside).astype(bool).T
                content[self._lanes, where] = np.where(allowed, data.T, content[self._lanes, where])

    def _bits(self, chosen: tuple[NDArray[np.intp], Lanes]) -> NDArray[np.uint8]:
        """By literal and copy."""
        raw = np.ascontiguousarray(values_of(self._values, chosen)).view(np.uint8)
        return np.unpackbits(raw, axis=1, bitorder="little")

    def _numbers(self, chosen: tuple[NDArray[np.intp], Lanes]) -> NDArray:
        """The word that these literals are, in each copy; Python's integers where a machine word is too short."""
        kind = object if len(chosen[0]) > _LANES else np.uint64
        total = np.zeros(len(self._lanes), kind)
        for place, row in enumerate(self._bits(chosen)):
            total = total + (row.astype(kind) << kind(place) if kind is not object else row.astype(object) << place)
        return total


def apart(values: Lanes) -> Lanes:
    """In which pairs the block and the mutant differ."""
    half = values.shape[1] // 2
    return values[:, :half] ^ values[:, half:]


def literals(wanted: Iterable[int]) -> tuple[NDArray[np.intp], Lanes]:
    """Nodes and inversions."""
    row = np.array(list(wanted), np.int64)
    return row >> 1, np.where(row & 1, _ALL, _NONE)[:, None]


def values_of(values: Lanes, chosen: tuple[NDArray[np.intp], Lanes]) -> Lanes:
    return values[chosen[0]] ^ chosen[1]


def _packed(rows: Sequence[NDArray]) -> Lanes:
    return np.packbits(np.array(rows).astype(np.uint8), axis=1, bitorder="little").view(np.uint64)
