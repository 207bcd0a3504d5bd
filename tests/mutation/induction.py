"""Proof that a mutant equals the block for ever, by what stays equal from cycle to cycle (van Eijk).

Candidates: registers, and gates behind nothing but registers, are equal in both copies; or a register is whenever some
bit of the block's state is high (the `valid` that stands beside held data, say); a large memory holds the same words;
and, of the block by itself, some bit of a word is high while a register is (a flag that says that there is work).
What random inputs refute is dropped. Then all candidates are assumed in one cycle, whatever the state and the inputs,
and those that SAT can break in the next one are dropped, until none breaks. All hold at the start, where both copies
are the same, so those that are left hold for ever. If they do not yet make all outputs equal, the states in which
outputs differ are traced back to the start (`tests.mutation.reach`).

Products of equal numbers are equal and so are words read from equal memories: the solver is told so, and is not
bothered with what the words are. That makes more states possible than there are, which can only lose a proof.

C. A. J. van Eijk, "Sequential Equivalence Checking Based on Structural Similarities", IEEE TCAD 19(7), 2000.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Container, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np

from tests.mutation.circuit import Circuit, Word, Write, word
from tests.mutation.graph import FALSE, Graph, Oracle
from tests.mutation.pair import Pair
from tests.mutation.reach import Bit, never
from tests.mutation.simulation import Simulation, apart, literals, values_of

__all__ = ["Candidates", "candidates", "proved"]

_CYCLES, _WORDS, _SEED = 60, 2, 1
_CONTROL = 16
"""Registers of which conditions are combined."""
_FLAGGED = 32
"""Bits of a word that may have a flag; sums and data need none."""
Multiply = Callable[[Word, Word], Sequence[int]]


@dataclass
class Candidates:
    """What may be equal in both copies for ever."""

    equal: set[int]
    """Nodes of the state."""
    guarded: dict[int, set[Word]]
    """Other registers: conditions, each some literals of the block's state, while which they may be equal."""
    conditions: list[Word]
    """For registers that only the proof finds different."""
    memories: set[int]
    flags: set[Word]
    """Literals of the block's state that are never high together: a register, and all bits of a word inverted."""


def candidates(pair: Pair, conditions: int, *, flags: bool = False) -> Candidates:
    """All that random inputs do not refute, with at most so many conditions for each register: those that are true
    most often. Flags only if they are asked for."""
    circuit = pair.circuit
    nodes = np.array(circuit.state_nodes, np.intp)
    differed = np.zeros(len(nodes), bool)
    simulation = Simulation(pair, words=_WORDS, seed=_SEED)
    for values in simulation.run(_CYCLES):
        differed |= (apart(values[nodes]) & simulation.allowed).any(axis=1)
    same = {index for index, differs in enumerate(simulation.memories_differ()) if not differs}
    equal = set(nodes[~differed].tolist())
    differing = np.array([node for node in circuit.registers if node not in equal], np.intp)
    known = _conditions(circuit, equal) if conditions else []
    broken = np.zeros((len(differing), len(known)), bool)
    high = np.zeros(len(known), np.int64)
    wanted = [literals(column) for column in zip(*known, strict=True)]
    again = Simulation(pair, words=_WORDS, seed=_SEED)
    for values in again.run(_CYCLES) if known else ():
        states = np.bitwise_and.reduce([values_of(values, column)[:, :_WORDS] for column in wanted]) & again.allowed
        high += np.bitwise_count(states).sum(axis=1, dtype=np.int64)
        for row, differs in zip(broken, apart(values[differing]), strict=True):
            if differs.any():
                row |= (states & differs).any(axis=1)
    order = np.argsort(-high, kind="stable")
    order = order[high[order] > 0]
    guarded = {
        register: set(_weakest((known[index] for index in order[~row[order]]), conditions))
        for register, row in zip(differing.tolist(), broken, strict=True)
    }
    weakest = _weakest((known[index] for index in order), conditions)
    return Candidates(equal, guarded, weakest, same, _flags(pair) if flags else set())


def _flags(pair: Pair) -> set[Word]:
    """Registers that random inputs made high, and words of at most so many bits that they made zero, never at once."""
    words = [one for one in pair.circuit.words if len(one) <= _FLAGGED]
    registers = np.array(list(pair.circuit.registers), np.intp)
    wanted = [literals(one) for one in words]
    high, zero = np.zeros(len(registers), bool), np.zeros(len(words), bool)
    both = np.zeros((len(registers), len(words)), bool)
    simulation = Simulation(pair, words=_WORDS, seed=_SEED)
    for values in simulation.run(_CYCLES):
        flags = values[registers, :_WORDS] & simulation.allowed
        high |= flags.any(axis=1)
        for column, word_bits in enumerate(wanted):
            none = ~np.bitwise_or.reduce(values_of(values, word_bits)[:, :_WORDS]) & simulation.allowed
            zero[column] |= none.any()
            both[:, column] |= (flags & none).any(axis=1)
    rows, columns = np.nonzero(high[:, None] & zero & ~both)
    return {
        (2 * int(registers[row]), *(one ^ 1 for one in words[column]))
        for row, column in zip(rows, columns, strict=True)
    }


def _weakest(conditions: Iterable[Word], count: int) -> list[Word]:
    """The first ones, without those that only add to another."""
    found: list[set[int]] = []
    for condition in conditions:
        if len(found) == count:
            break
        if not any(other <= {*condition} for other in found):
            found.append({*condition})
    return [tuple(sorted(condition)) for condition in found]


def _conditions(circuit: Circuit, equal: set[int]) -> list[Word]:
    """Each node of the state, high or low; and combinations of two or three bits of narrow registers."""
    narrow = sorted(equal & circuit.width.keys(), key=circuit.width.__getitem__)[:_CONTROL]
    both = sorted(2 * node + sign for node in narrow for sign in (0, 1))
    single = [(2 * node + sign,) * 3 for node in circuit.state_nodes for sign in (0, 1)]
    several = [(a, b, b) for a, b in combinations(both, 2)] + list(combinations(both, 3))
    return single + [some for some in several if not any(one ^ 1 in some for one in some)]


def proved(pair: Pair, kept: Candidates, deadline: float) -> bool:
    """Whether the outputs are equal for ever. If in time, of the candidates those stay that hold for ever."""
    while time.process_time() < deadline:
        step = _Step(pair, kept)
        with Oracle(step.graph, deadline) as oracle:
            dropped = step.drop_broken(oracle)
            if dropped is None:
                return False
            if not dropped and step.all_equal(oracle):
                return True
        if not dropped:
            return never(step.graph, step.bits, step.told_apart, deadline)
    return False


class _Unknown:
    """A function of which is known only that it gives equal results for equal arguments."""

    def __init__(self, graph: Graph) -> None:
        self._graph = graph
        self._known: dict[Word, Word] = {}

    def __call__(self, arguments: Word, bits: int) -> Word:
        graph = self._graph
        if arguments not in self._known:
            fresh = tuple(graph.free() for _ in range(bits))
            for others, result in self._known.items():
                if len(result) == bits and len(others) == len(arguments):
                    same = graph.words_differ(arguments, others) ^ 1
                    graph.laws.append(graph.conj(same, graph.words_differ(fresh, result)) ^ 1)
            self._known[arguments] = fresh
        return self._known[arguments]


class _Copy:
    """The block or the mutant in a state of which only the candidates are known."""

    def __init__(self, circuit: Circuit, graph: Graph, number: int, state: dict[int, int]) -> None:
        self._circuit, self._graph, self._number = circuit, graph, number
        self.words = [_Unknown(graph) for _ in circuit.memories]
        self.state = state
        self.values: list[int] = []

    def cycle(self, inputs: dict[int, int], multiply: Multiply, like: list[int] | None) -> None:
        """Values of all nodes; and the next state."""
        circuit = self._circuit

        def read(memory: int, address: Word) -> Sequence[int]:
            return self.words[memory](address, circuit.memories[memory].width)

        chosen = {node: FALSE ^ bit for node, bit in circuit.mutant(self._number).items()}
        given = inputs | self.state | chosen
        self.values = circuit.evaluate(self._graph, given, read=read, multiply=multiply, like=like)
        self.state = {node: word(self.values, (after,))[0] for node, after in circuit.registers.items()}


class _Step:
    """One cycle from any state in which the candidates hold."""

    def __init__(self, pair: Pair, kept: Candidates) -> None:
        circuit = pair.circuit
        self.graph = graph = Graph()
        self._pair, self._kept = pair, kept
        self._product = _Unknown(graph)
        state = {node: graph.free() for node in circuit.registers}
        other = {node: state[node] if node in kept.equal else graph.free() for node in state}
        self._block, self._mutant = _Copy(circuit, graph, 0, state), _Copy(circuit, graph, pair.number, other)
        self._share_memories()
        self._cycle()
        after, initial = (self._block.state, self._mutant.state), circuit.initial
        self.bits = [Bit(now, after[0][node], initial[node]) for node, now in state.items()]
        """The state of both copies; only once what is equal."""
        self.bits += [Bit(other[node], after[1][node], initial[node]) for node in state if node not in kept.equal]
        block, mutant = self._block.values, self._mutant.values
        graph.laws += [graph.differ(block[node], mutant[node]) ^ 1 for node in kept.equal]
        for node, conditions in kept.guarded.items():
            differ = graph.differ(block[node], mutant[node])
            graph.laws += [graph.all([differ, *word(block, condition)]) ^ 1 for condition in conditions]
        graph.laws += [graph.all(word(block, flag)) ^ 1 for flag in kept.flags]
        self._differences = pair.differences(graph, block, mutant)
        self.told_apart = graph.any(self._differences)
        self._breaks = {candidate: literal for candidate, literal in self._broken() if literal != FALSE}

    def _share_memories(self) -> None:
        for memory in self._kept.memories:
            self._mutant.words[memory] = self._block.words[memory]

    def _cycle(self) -> None:
        inputs = {node: self.graph.free() for nodes in self._pair.circuit.data_inputs().values() for node in nodes}
        self._block.cycle(inputs, self._multiply, None)
        self._mutant.cycle(inputs, self._multiply, self._block.values)
        self.graph.laws.append(self._pair.law(self._block.values))

    def _multiply(self, a: Word, b: Word) -> Sequence[int]:
        if max(a) < 2 or max(b) < 2:  # by a constant
            return self.graph.product(a, b)
        return self._product(a + b, len(a))

    def _broken(self) -> Iterator[tuple[tuple[str, int, Word], int]]:
        """Candidates, and whether the cycle breaks them."""
        graph, kept, circuit = self.graph, self._kept, self._pair.circuit
        block, mutant = (circuit.state(graph, copy.state) for copy in (self._block, self._mutant))
        for node in kept.equal:
            yield ("equal", node, ()), graph.differ(block[node], mutant[node])
        for node, conditions in kept.guarded.items():
            differ = graph.differ(block[node], mutant[node])
            for condition in conditions:
                yield ("guarded", node, condition), graph.all([differ, *word(block, condition)])
        for flag in kept.flags:
            yield ("flag", flag[0] >> 1, flag), graph.all(word(block, flag))
        for memory in kept.memories:
            differences = [
                literal
                for write in circuit.memories[memory].writes
                for literal in self._write_differs(write, self._block.values, self._mutant.values)
            ]
            yield ("memory", memory, ()), graph.any(differences)

    def _write_differs(self, write: Write, block: list[int], mutant: list[int]) -> Iterator[int]:
        graph = self.graph
        enables, others = word(block, write.enable), word(mutant, write.enable)
        yield graph.words_differ(enables, others)
        yield graph.conj(
            graph.any(enables), graph.words_differ(word(block, write.address), word(mutant, write.address))
        )
        for enable, literal in zip(enables, write.data, strict=True):
            differs = graph.differ(word(block, (literal,))[0], word(mutant, (literal,))[0])
            yield graph.conj(enable, differs)

    def drop_broken(self, oracle: Oracle) -> bool | None:
        """Whether candidates had to be dropped; None: not known in time."""
        dropped = set()
        oracle.know(self._breaks.values())
        for candidate, literal in self._breaks.items():
            if candidate in dropped:
                continue
            found = oracle.possible(literal)
            if found is None:
                return None
            if found:
                dropped |= {other for other, broken in self._breaks.items() if oracle.value(broken)}
            else:
                oracle.demand(literal ^ 1)
        for candidate in dropped:
            _drop(self._kept, self._pair.circuit.registers, *candidate)
        return bool(dropped)

    def all_equal(self, oracle: Oracle) -> bool:
        """Whether the candidates make all outputs equal."""
        return all(oracle.possible(one) is False for one in self._differences)


def _drop(kept: Candidates, registers: Container[int], kind: str, index: int, condition: Word) -> None:
    match kind:
        case "equal":
            kept.equal.remove(index)
            if index in registers:
                kept.guarded[index] = set(kept.conditions)
        case "memory":
            kept.memories.remove(index)
        case "flag":
            kept.flags.remove(condition)
        case _:
            kept.guarded[index].remove(condition)
