"""A block and one of its mutants, side by side: the same inputs, and the outputs that must be equal."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from tests.mutation.circuit import Circuit, Word, word
from tests.mutation.graph import TRUE, Graph
from tests.mutation.netlist import ALLOWED, MutatedNetlist

__all__ = ["Pair", "Shown"]


@dataclass(frozen=True)
class Shown:
    """An output of the circuit."""

    port: str
    bits: Word
    valid: str | None
    """Port that says whether it means something: the `valid` of its interface, or what a contract watches."""
    means: int
    """The literal of ``valid``."""


@dataclass(frozen=True)
class Pair:
    """The circuit, the mutant's number, and what is compared."""

    circuit: Circuit
    number: int
    shown: tuple[Shown, ...]

    allowed: int = TRUE
    """Literal of the circuit: whether the inputs are to be looked at."""

    @classmethod
    def of(cls, circuit: Circuit, number: int, netlist: MutatedNetlist, *, contract: bool = False) -> Pair:
        """With the netlist's contract or without."""
        outputs = {port.member: port.name for port in netlist.ports if not port.is_input and port.bits}
        watched = {port.member: port.name for port in netlist.watched} if contract else {}
        shown = []
        for member, port in outputs.items():
            valid = outputs.get(f"{member.rpartition('__')[0]}__valid", port)
            valid = watched.get(member, None if valid == port else valid)
            shown.append(Shown(port, circuit.outputs[port], valid, circuit.outputs[valid][0] if valid else TRUE))
        allowed = circuit.outputs[ALLOWED][0] if ALLOWED in watched else TRUE
        return cls(circuit, number, tuple(shown), allowed)

    def law(self, block: Sequence[int]) -> int:
        """A literal of a graph: whether the inputs of a cycle are to be looked at."""
        return word(block, (self.allowed,))[0]

    def differences(self, graph: Graph, block: Sequence[int], mutant: Sequence[int]) -> list[int]:
        """Literals of a graph, given the values of all nodes in both: bits of outputs differ."""
        found = []
        for shown in self.shown:
            (means,) = word(block, (shown.means,))
            for one, other in zip(word(block, shown.bits), word(mutant, shown.bits), strict=True):
                if one != other:
                    found.append(graph.conj(means, graph.differ(one, other)))
        return found
