"""A network in one of its forms: which pools are joined, how the input is stored, and what searches find of it."""

from __future__ import annotations

from collections.abc import Hashable, Iterator
from dataclasses import dataclass, field
from functools import partial
from typing import NamedTuple

from estimator import MemoryTiming
from golden.int8.qgraph import QGraph
from golden.int8.qnodes import QGate, QHost
from rtl.contract.params import ChipParams
from scheduler.choose import Chooser, Policy
from scheduler.fuse.operations import Tensors, operations, word_channels
from scheduler.fuse.search import RECOMPUTED, Choice, Memo, Search
from scheduler.fuse.stay import Stay, Stays
from scheduler.group import Pools
from scheduler.place import aliases, place_tensors
from scheduler.rounds import pictures_at_once
from scheduler.work.options import SparseOptions

__all__ = ["Alone", "Findings", "Form", "Terms", "byte_cycles"]


@dataclass(frozen=True)
class Terms:
    """What a fused schedule is to be like.

    Attributes
    ----------
    byte_cost : float
        What a byte of DRAM traffic counts for beside the cycles that are predicted, as a share of the cycles that it
        takes the memory: traffic that hides behind computing costs energy all the same.
    recomputed : float
        Share of the network's multiply-accumulates that a chain of layers done strip by strip may do again.
    repeated : float
        Share of them that the whole plan may do again, unless others cost more than that share of it.
    policy : Policy
        How many mappings are compared where a layer has a launch of its own; few, as most of these only show what a
        launch of several must beat.
    overlap : bool
        Whether the units of a core work at the same time (`scheduler.code.serial`); choices and mappings are the same.
    launches : int, optional
        Starts of the chip; otherwise as many as there can be, which costs next to nothing, and loses least when a run
        is interrupted. Of a single picture alone.
    sparse : SparseOptions
        For sparse engines.
    """

    byte_cost: float = 0.5
    recomputed: float = RECOMPUTED
    repeated: float = 0.01
    policy: Policy = field(default_factory=partial(Policy, candidates=6))
    overlap: bool = True
    launches: int | None = None
    sparse: SparseOptions = field(default_factory=SparseOptions)


def byte_cycles(chip: ChipParams, memory: MemoryTiming) -> float:
    """What a byte of DRAM traffic takes, if all memory nodes share it."""
    return 1 / (len(chip.memory_nodes) * memory.rate(chip.link_bytes))


class Alone(NamedTuple):
    """An operation with a launch of its own, and the cycles that it takes."""

    choice: Choice
    cycles: float

    @property
    def cost(self) -> float:
        return self.choice.cost


@dataclass(frozen=True)
class Findings:
    """What forms of one network find of their operations, and share: most are the same in all forms.

    Attributes
    ----------
    chooser : Chooser
        Of operations with launches of their own.
    memos : dict of int to Memo
        What searches have found, by the number of pictures that are computed together.
    alone : dict of Hashable to Alone
        By what `Form.kind` says of an operation.
    """

    chooser: Chooser
    memos: dict[int, Memo] = field(default_factory=dict)
    alone: dict[Hashable, Alone] = field(default_factory=dict)


class Form:
    """A network in one form, on a chip of equal cores.

    Parameters
    ----------
    batch : int
        Number of pictures.
    pools : dict of str to QPool
        By the name of a convolution, the maximum pool that its part computes too.
    input_layout : str
        How the network's input is stored (`scheduler.place.input_layouts`).
    findings : Findings
        Of the other forms of the network, and for them.

    Attributes
    ----------
    steps : list of Operation
    tensors : Tensors
    parents : dict of str to (tensor, channel)
        Of tensors that lie inside others (`scheduler.place.aliases`).
    searches : dict of int to Search
        By the number of pictures that are computed together.
    search, stays : Search, Stays
        Of one picture at a time.
    """

    def __init__(
        self,
        terms: Terms,
        graph: QGraph,
        chip: ChipParams,
        memory: MemoryTiming,
        batch: int,
        pools: Pools,
        input_layout: str,
        findings: Findings,
    ) -> None:
        self.terms, self.graph, self.chip, self.memory, self.batch = terms, graph, chip, memory, batch
        self.pools, self.input_layout, self.findings = pools, input_layout, findings
        self.parents = aliases(graph, word_channels(chip))
        self.steps = operations(graph, pools, self.parents)
        self.tensors = Tensors(graph, self.steps, self.parents)
        in_memory, _ = place_tensors(graph, chip, pools, self.parents, batch=batch, input_layout=input_layout)
        byte_cost = terms.byte_cost * byte_cycles(chip, memory)
        self.searches: dict[int, Search] = {}
        gates = any(isinstance(node, QGate) for node in graph.nodes)  # each picture has its own, and weights are shared
        for count in [1] if gates else pictures_at_once(batch, chip):
            stays = Stays(chip, self.steps, self.tensors, in_memory, count, terms.sparse)
            memo = findings.memos.setdefault(count, Memo())
            self.searches[count] = Search(stays, memory, byte_cost, terms.recomputed, batch // count, memo)
        self.search = self.searches[1]
        self.stays = self.search.stays

    def numbered(self, name: str) -> int:
        """Number of the operation of a node."""
        return next(number for number, step in enumerate(self.steps) if step.name == name)

    def kind(self, number: int) -> Hashable:
        """Equal for operations that cost the same, in any form."""
        return tuple(search.alike(number) for search in self.searches.values())

    def output(self, number: int) -> str:
        """The tensor inside which an operation's output lies."""
        return self.tensors.root(self.steps[number].output)

    def on_host(self, number: int) -> bool:
        """Whether an operation is one of the host."""
        return isinstance(self.steps[number].node, QHost)

    def stretches(self) -> Iterator[tuple[int, int]]:
        """Operations [first, end) between two of the host."""
        first = 0
        for number in range(len(self.steps)):
            if self.on_host(number):
                if first < number:
                    yield first, number
                first = number + 1
        if first < len(self.steps):
            yield first, len(self.steps)

    def staying(self, choices: dict[int, Choice]) -> dict[str, Stay]:
        """Where the outputs of some operations stay, by the tensors inside which they lie."""
        return {self.output(number): choice.stay for number, choice in choices.items()}

    def least(self, number: int) -> float:
        """As `Search.least`, with as many pictures at once as is cheapest."""
        return min(search.least(number) for search in self.searches.values())

    def least_of_two(self, number: int, reader: int) -> float:
        """As `Search.least_of_two`, with as many pictures at once as is cheapest."""
        return min(search.least_of_two(number, reader) for search in self.searches.values())
