"""Fused: one launch holds many layers, and tensors between them stay in the scratchpads where that is cheaper."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from estimator import MemoryTiming, estimate
from golden.int8.qgraph import QGraph
from golden.int8.qnodes import QHost
from rtl.contract.params import ChipParams
from scheduler.choose import Chooser, Policy
from scheduler.code.draft import Draft
from scheduler.errors import PlanError
from scheduler.fuse.operations import Tensors, operations, word_channels
from scheduler.fuse.pack import Item, largest_gap, pack
from scheduler.fuse.search import LAUNCH_CYCLES, RECOMPUTED, Choice, Search, part_budget
from scheduler.fuse.stay import Stay, Stays
from scheduler.fuse.strips import Chain
from scheduler.group import pool_candidates
from scheduler.kinds.layers import FETCH_SLACK
from scheduler.map.budget import Range
from scheduler.map.mapping import Mapping
from scheduler.place import aliases, place_tensors
from scheduler.plan.bump import Bump
from scheduler.plan.program import HostStep, Part, Placement, Plan, Segment, Step
from scheduler.plan.residence import Residence

__all__ = ["Fused", "Planner"]

CLEAR = 1.25
"""A launch whose layers would cost so much more one by one, as predicted, needs no estimate."""


@dataclass(frozen=True)
class Fused:
    """The kind of schedule.

    Attributes
    ----------
    byte_cost : float
        What a byte of DRAM traffic counts for beside the cycles that are predicted, as a share of the cycles that it
        takes the memory: traffic that hides behind computing costs energy all the same.
    recomputed : float
        Share of the network's multiply-accumulates that a chain of layers done strip by strip may do again.
    policy : Policy
        How many mappings are compared where a layer has a launch of its own.
    """

    byte_cost: float = 0.5
    recomputed: float = RECOMPUTED
    policy: Policy = field(default_factory=Policy)

    def plan(self, graph: QGraph, chip: ChipParams, memory: MemoryTiming) -> Plan:
        """As `ScheduleKind.plan`."""
        return Planner(self, graph, chip, memory).plan()


class Planner:
    def __init__(self, kind: Fused, graph: QGraph, chip: ChipParams, memory: MemoryTiming) -> None:
        self.graph, self.chip, self.memory = graph, chip, memory
        self.pools = {node.name: pool for node, pool in pool_candidates(graph)}
        self.parents = aliases(graph, word_channels(chip))
        self.steps = operations(graph, self.pools, self.parents)
        self.tensors = Tensors(graph, self.steps, self.parents)
        self.byte_cycles = 1 / (len(chip.memory_nodes) * memory.rate(chip.link_bytes))
        in_memory, _ = place_tensors(graph, chip, self.pools, self.parents, byte_cycles=self.byte_cycles)
        self.stays = Stays(chip, self.steps, self.tensors, in_memory)
        self.stays.require_equal_cores()
        self.search = Search(self.stays, memory, kind.byte_cost * self.byte_cycles, kind.recomputed)
        self.chooser = Chooser(chip, memory, kind.policy)

    def plan(self) -> Plan:
        """By the best choices."""
        choices = self.choices()
        return self.finish(choices, self.launches(choices))

    def choices(self) -> dict[int, Choice]:
        """The best that the search finds and the estimator confirms, of every operation of the chip."""
        return self._confirmed(self._choices())

    def finish(self, choices: dict[int, Choice], launches: Sequence[Sequence[int]]) -> Plan:
        """The plan of these choices.

        Parameters
        ----------
        launches : sequence of sequence of int
            Operations of every launch, and each of the host by itself.

        Raises
        ------
        PlanError
            If they do not fit.
        """
        kept = {self.tensors.root(self.steps[number].output) for number, choice in choices.items() if choice.stay}
        together = [[node.name for n in numbers for node in self.steps[n].done] for numbers in launches]
        shared = filter(None, together)
        placements, end = place_tensors(self.graph, self.chip, self.pools, self.parents, kept, shared, self.byte_cycles)
        bump = Bump(end)
        steps: list[Step] = []
        segments: list[Segment] = []
        for numbers in launches:
            first = self.steps[numbers[0]]
            if isinstance(first.node, QHost):
                steps.append(HostStep(first.name, tuple(node.name for node in first.done), first.node))
                continue
            draft = self._draft(numbers, choices, placements, bump.top)
            launch, needed = draft.place(
                self._name(numbers), self._parts({number: choices[number] for number in numbers}, draft), bump
            )
            steps.append(launch)
            segments += needed
        return Plan(self.chip, self.graph, tuple(steps), tuple(segments), placements, bump.top + FETCH_SLACK)

    # --- what stays ---------------------------------------------------------------------------------------------

    def _choices(self) -> dict[int, Choice]:
        """Of every operation of the chip."""
        choices: dict[int, Choice] = {}
        for first, end in self._stretches():
            choices.update(zip(range(first, end), self._fitting(first, end), strict=True))
        return choices

    def _confirmed(self, choices: dict[int, Choice]) -> dict[int, Choice]:
        """The same, but launches that the estimator finds dearer than their layers one by one are taken apart."""
        confirmed = dict(choices)
        for numbers in self.launches(choices):
            if len(numbers) == 1:
                continue
            together = sum(choices[number].cost for number in numbers)
            if sum(map(self._alone, numbers)) > CLEAR * together:
                continue
            of = self.stays.placements.__getitem__
            apart = sum(self._cost(self.chooser.choose_among(self.stays.works(number, of), 0)) for number in numbers)
            if apart < self._cost(self._draft(numbers, choices, dict(self.stays.placements), 0)):
                confirmed |= {number: Choice((1, 1), None, 0.0, 0) for number in numbers}
        return confirmed

    def _alone(self, number: int) -> float:
        """Predicted cost of an operation with all its tensors in DRAM."""
        where = dict.fromkeys(self.steps[number].reads)
        found = (self.search.price(number, grid, where, None, None).cost for grid in self.stays.grids(number))
        return LAUNCH_CYCLES + min(found)

    def _cost(self, draft: Draft) -> float:
        """Estimated cycles, and what bytes count for beside."""
        estimated = estimate(draft, self.chip, self.memory)
        return estimated.cycles + self.search.byte_cost * sum(estimated.dram_bytes.values())

    def _stretches(self) -> Iterator[tuple[int, int]]:
        """Operations [first, end) between two of the host."""
        first = 0
        for number, step in enumerate(self.steps):
            if isinstance(step.node, QHost):
                if first < number:
                    yield first, number
                first = number + 1
        if first < len(self.steps):
            yield first, len(self.steps)

    def _fitting(self, first: int, end: int) -> list[Choice]:
        """The best choices for which addresses are found: scratchpads may be too scattered to be filled whole."""
        capacity = self.stays.core.act_bytes
        while True:
            choices = self.search.best(first, end, capacity)
            if self._packed(dict(zip(range(first, end), choices, strict=True))) is not None:
                return choices
            capacity -= capacity // 16

    def launches(self, choices: dict[int, Choice]) -> list[list[int]]:
        """Numbers of the operations of every launch, and of the host between them: cut where nothing goes on."""
        launches: list[list[int]] = []
        goes_on = False
        for number, step in enumerate(self.steps):
            if not goes_on:
                launches.append([])
            launches[-1].append(number)
            goes_on = not isinstance(step.node, QHost) and self.alive_behind(number, choices)
        return launches

    def alive_behind(self, number: int, choices: dict[int, Choice]) -> bool:
        """Whether something stays behind an operation, or it is one of several that complete a node together."""
        return not self.steps[number].done or any(
            choice.stay and before <= number < self.tensors.last[self.tensors.root(self.steps[before].output)]
            for before, choice in choices.items()
        )

    # --- addresses ----------------------------------------------------------------------------------------------

    def _items(self, choices: dict[int, Choice]) -> tuple[dict[str, Item], dict[str, str]]:
        """What stays between these operations; of outputs in the place of a residual, which."""
        items: dict[str, Item] = {}
        places: dict[str, str] = {}
        stays = self._stays(choices)
        for number, choice in choices.items():
            root = self.tensors.root(self.steps[number].output)
            stay = stays[root]
            if stay is None or self.tensors.first[root] != number:
                continue
            last = self._until(self.tensors.last[root], choices)
            if choice.chain is not None:  # what a chain takes or puts out is there while all of it runs
                first, end = choice.chain.first, choice.chain.end
                inside = number < end - 1
                nbytes = self.search.strips(choice.chain).nbytes(number) if inside else self.stays.nbytes(root, stay)
                items[root] = Item(first, last, nbytes)
                continue
            residual = self.stays.in_place(number, stays)
            if residual is not None:
                place = places.get(residual, residual)
                places[root] = place
                items[place] = items[place]._replace(last=last)
            else:
                items[root] = Item(number, last, self.stays.nbytes(root, stay))
        return items, places

    def _until(self, last: int, choices: dict[int, Choice]) -> int:
        """The last operation during which something is there that is read last by such a one."""
        choice = choices.get(last)
        return last if choice is None or choice.chain is None else choice.chain.end - 1

    def _stays(self, choices: dict[int, Choice]) -> dict[str, Stay]:
        return {self.tensors.root(self.steps[number].output): choice.stay for number, choice in choices.items()}

    def _packed(self, choices: dict[int, Choice]) -> dict[str, Range] | None:
        """Scratchpad bytes of every root that stays; None if they do not fit, or leave no room for what is loaded."""
        items, places = self._items(choices)
        rings = {number: Item(number, number, choice.ring) for number, choice in choices.items() if choice.ring}
        found = pack({**items, **rings}, self.stays.core.act_bytes)
        if found is None:
            return None
        placed = {root: found[root] for root in items}
        return {**placed, **{root: placed[place] for root, place in places.items()}}

    # --- programs -----------------------------------------------------------------------------------------------

    def _draft(
        self, numbers: Sequence[int], choices: dict[int, Choice], placements: dict[str, Placement], top: int
    ) -> Draft:
        chosen = {number: choices[number] for number in numbers}
        stays, packed = self._stays(chosen), self._packed(chosen)
        if packed is None:
            first, last = (self.steps[numbers[place]].label for place in (0, -1))
            raise PlanError(
                f"launch {first!r}..{last!r}: what stays leaves no room in one piece for what is loaded; put a tensor "
                "into DRAM, or raise core.act_bytes"
            )
        items, _ = self._items(chosen)

        def of(name: str) -> Placement | Residence:
            root = self.tensors.root(name)
            stay = stays.get(root)
            return placements[name] if stay is None else self.stays.tensor(name, stay, packed[root].first)

        if len(numbers) == 1:
            return self.chooser.choose_among(self.stays.works(numbers[0], of), top)
        mappings: list[list[Mapping]] = []
        for place, (number, strip) in enumerate(self._pieces(chosen)):
            choice = choices[number]
            act = self._ring(number, choice, items, packed, number > numbers[0])
            budget = part_budget(self.chip, place, act, choice.all_weights)
            if choice.chain is None:
                works = self.stays.works(number, of)
            else:
                at = {root: place.first for root, place in packed.items()}
                works = self.search.strip_works(self.search.strips(choice.chain), number, strip, of, at)
            mappings.append([self.search.mapping(number, works, choice.grid, budget)])
        return Draft.of(mappings, self.chip, top)

    @staticmethod
    def _pieces(choices: dict[int, Choice]) -> Iterator[tuple[int, int]]:
        """(operation, strip) of every part of a launch, in order; a chain goes strip by strip."""
        for number, choice in choices.items():
            chain = choice.chain
            if chain is None:
                yield number, 0
            elif chain.first == number:
                yield from ((n, strip) for strip in range(chain.strips) for n in range(chain.first, chain.end))

    def _ring(
        self, number: int, choice: Choice, items: dict[str, Item], packed: dict[str, Range], follows: bool
    ) -> Range:
        """Scratchpad for what an operation loads: if possible free already during the part in front.

        At either end of the gap in turn, so that two parts behind each other can both load.
        """
        capacity = self.stays.core.act_bytes
        if not choice.ring:
            return Range(0, self.stays.core.act_word_bytes(self.chip.link_bytes))
        own = {root: packed[root] for root in items}
        gap = largest_gap(items, own, number - follows, number, capacity)
        if gap.size < choice.ring:
            gap = largest_gap(items, own, number, number, capacity)
        return Range(gap.end - choice.ring, gap.end) if number % 2 else Range(gap.first, gap.first + choice.ring)

    def _parts(self, choices: dict[int, Choice], draft: Draft) -> tuple[Part, ...]:
        return tuple(
            self._part(number, strip, choices[number].chain, draft, place)
            for place, (number, strip) in enumerate(self._pieces(choices))
        )

    def _part(self, number: int, strip: int, chain: Chain | None, draft: Draft, place: int) -> Part:
        step, op, described = self.steps[number], draft.parts[place][0].work.op, draft.described(place)
        done = tuple(node.name for node in step.done)
        if chain is None:
            return Part(done, op, described, step.macs)
        count = chain.strips
        macs = step.macs * (strip + 1) // count - step.macs * strip // count
        described = f"strip {strip + 1} of {count}: {described}"
        return Part(done if strip == count - 1 else (), op, described, macs)

    def _name(self, numbers: Sequence[int]) -> str:
        last = self.steps[numbers[-1]].label
        return last if len(numbers) == 1 else f"{self.steps[numbers[0]].name}..{last}"
