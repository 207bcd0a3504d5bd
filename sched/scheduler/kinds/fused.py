"""Fused: one launch holds many layers, and tensors between them stay in the scratchpads where that is cheaper."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from math import inf

from estimator import MemoryTiming, estimate
from golden.int8.batch import batched
from golden.int8.qgraph import QGraph
from golden.int8.qnodes import QHost
from rtl.contract.params import ChipParams
from scheduler.choose import Chooser, Policy
from scheduler.code.draft import Draft
from scheduler.errors import PlanError
from scheduler.fuse.operations import Tensors, operations, word_channels
from scheduler.fuse.pack import Item, largest_gap, pack
from scheduler.fuse.search import LAUNCH_CYCLES, Choice, Search, best_of, part_budget
from scheduler.fuse.stay import Stay, Stays, require_equal_cores
from scheduler.group import pool_candidates
from scheduler.kinds.layers import FETCH_SLACK
from scheduler.map.budget import Range
from scheduler.map.mapping import Mapping
from scheduler.place import aliases, place_tensors
from scheduler.plan.bump import Bump
from scheduler.plan.program import Part, Placement, Plan, Segment, Step
from scheduler.plan.residence import Residence
from scheduler.rounds import host_steps, name_of, nodes_of, pictures_at_once, require_batch, rounds, tensors_of

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
    policy : Policy
        How many mappings are compared where a layer has a launch of its own.
    """

    byte_cost: float = 0.5
    policy: Policy = field(default_factory=Policy)

    def plan(self, graph: QGraph, chip: ChipParams, memory: MemoryTiming, batch: int = 1) -> Plan:
        """As `ScheduleKind.plan`; of a batch, as many pictures at once as is cheapest, launch by launch."""
        return Planner(self, graph, chip, memory, batch).plan()


class Planner:
    """The plan of one network.

    Attributes
    ----------
    searches : dict of int to Search
        By the number of pictures that are computed together.
    stays, search : Stays, Search
        Of one picture at a time.
    """

    def __init__(self, kind: Fused, graph: QGraph, chip: ChipParams, memory: MemoryTiming, batch: int = 1) -> None:
        require_batch(batch)
        self.batch = batch
        self.graph, self.chip, self.memory = graph, chip, memory
        self.pools = {node.name: pool for node, pool in pool_candidates(graph)}
        self.parents = aliases(graph, word_channels(chip))
        self.steps = operations(graph, self.pools, self.parents)
        self.tensors = Tensors(graph, self.steps, self.parents)
        self.byte_cycles = 1 / (len(chip.memory_nodes) * memory.rate(chip.link_bytes))
        in_memory, _ = place_tensors(
            graph, chip, self.pools, self.parents, byte_cycles=self.byte_cycles, batch=batch
        )
        require_equal_cores(chip)
        self.searches: dict[int, Search] = {}
        for count in pictures_at_once(batch, chip):
            stays = Stays(chip, self.steps, self.tensors, in_memory, count)
            self.searches[count] = Search(stays, memory, kind.byte_cost * self.byte_cycles, batch // count)
        self.search = self.searches[1]
        self.stays = self.search.stays
        self.chooser = Chooser(chip, memory, kind.policy)
        self._apart: dict[int, Choice] = {}
        """Operations with launches of their own, as far as these were asked for."""

    def plan(self) -> Plan:
        """By the best choices."""
        choices = self.choices()
        return self.finish(choices, self.launches(choices))

    def choices(self) -> dict[int, Choice]:
        """The best that the search finds and the estimator confirms, of every operation of the chip."""
        searches = list(self.searches.values())
        best = self._confirmed(self._choices(searches))
        if len(searches) == 1:
            return best
        found = [best]
        for search in searches:
            try:
                found.append(self._confirmed(self._choices([search])))
            except PlanError:  # so many pictures at once do not fit everywhere
                continue
        return min(found, key=self._total)

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
        placements, end = place_tensors(
            self.graph, self.chip, self.pools, self.parents, kept, shared, self.byte_cycles, self.batch
        )
        whole = batched(self.graph, self.batch)
        bump = Bump(end)
        steps: list[Step] = []
        segments: list[Segment] = []
        for numbers in launches:
            first = self.steps[numbers[0]]
            if isinstance(first.node, QHost):
                steps += host_steps(first.node, first.done, whole)
                continue
            draft = self._draft(numbers, choices, placements, bump.top)
            for pictures in rounds(self.batch, choices[numbers[0]].pictures):
                of_round = draft if pictures.start == 1 else draft.moved(pictures.start - 1, self.chip, bump.top)
                name, parts = name_of(self._name(numbers), pictures, self.batch), self._parts(numbers, draft, pictures)
                launch, needed = of_round.place(name, parts, bump)
                steps.append(launch)
                segments += needed
        tensors = tensors_of(placements, self.batch)
        return Plan(self.chip, whole, tuple(steps), tuple(segments), tensors, bump.top + FETCH_SLACK)

    # --- what stays ---------------------------------------------------------------------------------------------

    def _choices(self, searches: Sequence[Search]) -> dict[int, Choice]:
        """Of every operation of the chip."""
        choices: dict[int, Choice] = {}
        for first, end in self._stretches():
            choices.update(zip(range(first, end), self._fitting(first, end, searches), strict=True))
        return choices

    def _confirmed(self, choices: dict[int, Choice]) -> dict[int, Choice]:
        """The same, but launches that the estimator finds dearer than their layers one by one are taken apart."""
        confirmed = dict(choices)
        for numbers in self.launches(choices):
            if len(numbers) == 1:
                if len(self.searches) > 1 and numbers[0] in choices:
                    confirmed[numbers[0]] = self._alone(numbers[0])
                continue
            together = sum(choices[number].cost for number in numbers)
            if sum(map(self._predicted_alone, numbers)) > CLEAR * together:
                continue
            apart = {number: self._alone(number) for number in numbers}
            if sum(choice.cost for choice in apart.values()) < self._launch_cost(numbers, choices):
                confirmed |= apart
        return confirmed

    def _predicted_alone(self, number: int) -> float:
        """Predicted cost of an operation with all its tensors in DRAM, of all rounds."""
        where, found = dict.fromkeys(self.steps[number].reads), []
        for search in self.searches.values():
            for grid in search.stays.grids(number):
                try:
                    cost, _ = search.price(number, grid, where, None, None)
                except PlanError:
                    continue
                found.append(search.rounds * LAUNCH_CYCLES + cost)
        return min(found, default=inf)

    def _alone(self, number: int) -> Choice:
        """An operation with a launch of its own, with as many pictures at once as the estimator finds cheapest."""
        if number not in self._apart:
            found: list[Choice] = []
            for count, search in self.searches.items():
                of = search.stays.placements.__getitem__
                try:
                    draft = self.chooser.choose_among(search.stays.works(number, of), 0)
                except PlanError:
                    if not found and count == max(self.searches):
                        raise
                    continue
                found.append(Choice((1, 1), None, search.rounds * self._cost(draft), 0, count))
            self._apart[number] = min(found, key=lambda choice: choice.cost)
        return self._apart[number]

    def _total(self, choices: dict[int, Choice]) -> float:
        """Estimated cost of everything."""
        return sum(
            self._launch_cost(numbers, choices) if len(numbers) > 1 else self._alone(numbers[0]).cost
            for numbers in self.launches(choices)
            if numbers[0] in choices
        )

    def _launch_cost(self, numbers: Sequence[int], choices: dict[int, Choice]) -> float:
        """Estimated, of all rounds."""
        search = self.searches[choices[numbers[0]].pictures]
        return search.rounds * self._cost(self._draft(numbers, choices, search.stays.placements, 0))

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

    def _fitting(self, first: int, end: int, searches: Sequence[Search]) -> list[Choice]:
        """The best choices for which addresses are found: scratchpads may be too scattered to be filled whole."""
        capacity = self.stays.core.act_bytes
        while True:
            choices = best_of(searches, first, end, capacity)
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
            root, of = self.tensors.root(self.steps[number].output), self.searches[choice.pictures].stays
            stay = stays[root]
            if stay is None or self.tensors.first[root] != number:
                continue
            last = self.tensors.last[root]
            residual = of.in_place(number, stays)
            if residual is not None:
                place = places.get(residual, residual)
                places[root] = place
                items[place] = items[place]._replace(last=last)
            else:
                items[root] = Item(number, last, of.nbytes(root, stay))
        return items, places

    def _stays(self, choices: dict[int, Choice]) -> dict[str, Stay]:
        return {self.tensors.root(self.steps[number].output): choice.stay for number, choice in choices.items()}

    def _packed(self, choices: dict[int, Choice]) -> dict[str, Range] | None:
        """Scratchpad bytes of every root that stays; None if they do not fit, or leave no room for what is loaded."""
        capacity = self.stays.core.act_bytes
        items, places = self._items(choices)
        placed = pack(items, capacity)
        if placed is None:
            return None
        for number, choice in choices.items():
            if largest_gap(items, placed, number, number, capacity).size < choice.ring:
                return None
        return {**placed, **{root: placed[place] for root, place in places.items()}}

    # --- programs -----------------------------------------------------------------------------------------------

    def _draft(
        self, numbers: Sequence[int], choices: dict[int, Choice], placements: dict[str, Placement], top: int
    ) -> Draft:
        """The launch of these operations, for the pictures of the first round."""
        search = self.searches[choices[numbers[0]].pictures]
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
            if stay is None:
                return placements[name].some(search.stays.pictures)
            return search.stays.tensor(name, stay, packed[root].first)

        if len(numbers) == 1:
            return self.chooser.choose_among(search.stays.works(numbers[0], of), top)
        mappings: list[list[Mapping]] = []
        for place, number in enumerate(numbers):
            act = self._ring(number, choices[number], items, packed, number > numbers[0])
            budget = part_budget(self.chip, place, act)
            mappings.append([search.mapping(number, search.stays.works(number, of), choices[number].grid, budget)])
        return Draft.of(mappings, self.chip, top)

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

    def _parts(self, numbers: Sequence[int], draft: Draft, pictures: range) -> tuple[Part, ...]:
        return tuple(
            Part(
                nodes_of(step.done, pictures, self.batch),
                draft.parts[place][0].work.op,
                draft.described(place),
                step.macs * len(pictures),
            )
            for place, step in enumerate(self.steps[number] for number in numbers)
        )

    def _name(self, numbers: Sequence[int]) -> str:
        last = self.steps[numbers[-1]].label
        return last if len(numbers) == 1 else f"{self.steps[numbers[0]].name}..{last}"
