"""A block and one of its mutants, side by side: the same inputs, and the outputs that must be equal."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from tests.mutation.circuit import Circuit, Word, word
from tests.mutation.graph import TRUE, Graph
from tests.mutation.netlist import PortOf

__all__ = ["Pair", "Shown"]


@dataclass(frozen=True)
class Shown:
    """An output of the circuit."""

    port: str
    bits: Word
    valid: str | None
    """Port that says whether it means something: the `valid` of its interface."""
    means: int
    """The literal of ``valid``."""


@dataclass(frozen=True)
class Pair:
    """The circuit, the mutant's number, and what is compared."""

    circuit: Circuit
    number: int
    shown: tuple[Shown, ...]

    @classmethod
    def of(cls, circuit: Circuit, number: int, ports: Sequence[PortOf]) -> Pair:
        outputs = {port.member: port for port in ports if not port.is_input and port.bits}
        shown = []
        for member, port in outputs.items():
            valid = outputs.get(f"{member.rpartition('__')[0]}__valid", port).name
            if valid == port.name:
                shown.append(Shown(port.name, circuit.outputs[port.name], None, TRUE))
            else:
                shown.append(Shown(port.name, circuit.outputs[port.name], valid, circuit.outputs[valid][0]))
        return cls(circuit, number, tuple(shown))

    def told_apart(self, graph: Graph, block: Sequence[int], mutant: Sequence[int]) -> int:
        """A literal of a graph: whether outputs differ, given the values of all nodes in both."""
        return graph.any(
            graph.conj(
                word(block, (shown.means,))[0],
                graph.words_differ(word(block, shown.bits), word(mutant, shown.bits)),
            )
            for shown in self.shown
        )
