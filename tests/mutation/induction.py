"""Proof that a mutant equals the block for ever, by what stays equal from cycle to cycle (van Eijk).

Candidates: a register of the mutant equals the block's; or it does whenever some bit of the block's state is high
(the `valid` that stands beside held data, say); a large memory holds the same words in both. What random inputs
refute is dropped. Then all candidates are assumed in one cycle, whatever the state and the inputs, and those that
SAT can break in the next one are dropped, until none breaks. All hold at the start, where both copies are the same,
so those that are left hold for ever; the mutant is equal if they make all outputs equal.

Products of equal numbers are equal and so are words read from equal memories: the solver is told so, and is not
bothered with what the words are. That makes more states possible than there are, which can only lose a proof.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Container, Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from tests.mutation.circuit import Circuit, Word, Write, word
from tests.mutation.graph import FALSE, Graph, Oracle
from tests.mutation.pair import Pair
from tests.mutation.simulation import Simulation, apart, literals, values_of

__all__ = ["Candidates", "candidates", "proved"]

_CYCLES, _WORDS, _SEED = 60, 2, 1
Multiply = Callable[[Word, Word], Sequence[int]]


@dataclass
class Candidates:
    """What may be equal in both copies for ever."""

    equal: set[int]
    """Nodes of the state."""
    guarded: dict[int, set[int]]
    """Other registers: literals of the block's state while which they may be equal."""
    conditions: list[int]
    """For registers that only the proof finds different."""
    memories: set[int]


def candidates(pair: Pair, conditions: int) -> Candidates:
    """All that random inputs do not refute, with at most so many conditions for each register: those that are true
    most often."""
    circuit = pair.circuit
    nodes = np.array(circuit.state_nodes, np.intp)
    differed = np.zeros(len(nodes), bool)
    simulation = Simulation(circuit, pair.number, words=_WORDS, seed=_SEED)
    for values in simulation.run(_CYCLES):
        differed |= apart(values[nodes]).any(axis=1)
    same = {index for index, differs in enumerate(simulation.memories_differ()) if not differs}
    differing = np.array([node for node in nodes[differed].tolist() if node in circuit.registers], np.intp)
    known = np.concatenate([2 * nodes, 2 * nodes + 1])
    broken = np.zeros((len(differing), len(known)), bool)
    high = np.zeros(len(known), np.int64)
    wanted = literals(known)
    for values in Simulation(circuit, pair.number, words=_WORDS, seed=_SEED).run(_CYCLES):
        states = values_of(values, wanted)[:, :_WORDS]
        high += np.bitwise_count(states).sum(axis=1, dtype=np.int64)
        for row, differs in zip(broken, apart(values[differing]), strict=True):
            if differs.any():
                row |= (states & differs).any(axis=1)
    order = np.argsort(-high, kind="stable")
    order = order[high[order] > 0]
    guarded = {
        register: set(known[order[~row[order]]][:conditions].tolist())
        for register, row in zip(differing.tolist(), broken, strict=True)
    }
    return Candidates(set(nodes[~differed].tolist()), guarded, known[order][:conditions].tolist(), same)


def proved(pair: Pair, kept: Candidates, *, outlook: int, deadline: float) -> bool:
    """Whether the outputs are equal for ever, given that they are in the first ``outlook`` cycles.

    Of the candidates in ``kept`` those stay that hold for ever.
    """
    while time.monotonic() < deadline:
        step = _Step(pair, kept, outlook)
        with Oracle(step.graph, deadline) as oracle:
            dropped = step.drop_broken(oracle)
            if dropped is None:
                return False
            if not dropped:
                return oracle.possible(step.told_apart_after(outlook)) is False
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
    """One cycle from any state in which the candidates hold, and if ``outlook`` those outputs are equal."""

    def __init__(self, pair: Pair, kept: Candidates, outlook: int) -> None:
        circuit = pair.circuit
        self.graph = graph = Graph()
        self._pair, self._kept = pair, kept
        self._product = _Unknown(graph)
        state = {node: graph.free() for node in circuit.registers}
        other = {node: state[node] if node in kept.equal else graph.free() for node in state}
        self._block, self._mutant = _Copy(circuit, graph, 0, state), _Copy(circuit, graph, pair.number, other)
        self._share_memories()
        self._cycle()
        block, mutant = self._block.values, self._mutant.values
        graph.laws += [graph.differ(block[node], mutant[node]) ^ 1 for node in kept.equal]
        for node, conditions in kept.guarded.items():
            differ = graph.differ(block[node], mutant[node])
            graph.laws += [graph.conj(word(block, (one,))[0], differ) ^ 1 for one in conditions]
        self._apart = pair.told_apart(graph, block, mutant)
        if outlook:
            graph.laws.append(self._apart ^ 1)
        self._breaks = {candidate: literal for candidate, literal in self._broken() if literal != FALSE}

    def _share_memories(self) -> None:
        for memory in self._kept.memories:
            self._mutant.words[memory] = self._block.words[memory]

    def _cycle(self) -> None:
        inputs = {node: self.graph.free() for nodes in self._pair.circuit.data_inputs().values() for node in nodes}
        self._block.cycle(inputs, self._multiply, None)
        self._mutant.cycle(inputs, self._multiply, self._block.values)

    def _multiply(self, a: Word, b: Word) -> Sequence[int]:
        if max(a) < 2 or max(b) < 2:  # by a constant
            return self.graph.product(a, b)
        return self._product(min(a, b) + max(a, b), len(a))

    def _broken(self) -> Iterator[tuple[tuple[str, int, int], int]]:
        """Candidates, and whether the cycle breaks them."""
        graph, kept, circuit = self.graph, self._kept, self._pair.circuit
        block, mutant = (circuit.state(graph, copy.state) for copy in (self._block, self._mutant))
        for node in kept.equal:
            yield ("equal", node, 0), graph.differ(block[node], mutant[node])
        for node, conditions in kept.guarded.items():
            differ = graph.differ(block[node], mutant[node])
            for condition in conditions:
                yield ("guarded", node, condition), graph.conj(word(block, (condition,))[0], differ)
        for memory in kept.memories:
            differences = [
                literal
                for write in circuit.memories[memory].writes
                for literal in self._write_differs(write, self._block.values, self._mutant.values)
            ]
            yield ("memory", memory, 0), graph.any(differences)

    def told_apart_after(self, cycles: int) -> int:
        """Whether outputs differ after so many cycles in which they do not; the candidates hold all the time."""
        graph, circuit = self.graph, self._pair.circuit
        for cycle in range(cycles):
            if cycle:
                graph.laws.append(self._apart ^ 1)
            self._mutant.state |= {
                node: self._block.state[node] for node in circuit.registers if node in self._kept.equal
            }
            for copy in (self._block, self._mutant):
                copy.words = [_Unknown(graph) for _ in circuit.memories]
            self._share_memories()
            self._cycle()
            self._apart = self._pair.told_apart(graph, self._block.values, self._mutant.values)
        return self._apart

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
        dropped = False
        left = dict(self._breaks)
        while left:
            found = oracle.possible_one_of(left.values())
            if found is None:
                return None
            if not found:
                break
            for (kind, index, condition), literal in list(left.items()):
                if oracle.value(literal):
                    del left[kind, index, condition]
                    _drop(self._kept, self._pair.circuit.registers, kind, index, condition)
            dropped = True
        return dropped


def _drop(kept: Candidates, registers: Container[int], kind: str, index: int, condition: int) -> None:
    match kind:
        case "equal":
            kept.equal.remove(index)
            if index in registers:
                kept.guarded[index] = set(kept.conditions)
        case "memory":
            kept.memories.remove(index)
        case _:
            kept.guarded[index].remove(condition)
