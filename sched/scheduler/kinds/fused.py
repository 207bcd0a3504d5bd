"""Fused: one launch holds many layers, and tensors between them stay in the scratchpads where that is cheaper."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from functools import cached_property, partial

from estimator import MemoryTiming, estimate
from golden.int8.batch import batched, of_picture
from golden.int8.qgraph import QGraph
from golden.int8.qnodes import QGate, QHost, QPool
from rtl.contract.params import ChipParams
from scheduler.choose import Chooser, Policy
from scheduler.code.draft import Draft
from scheduler.errors import PlanError
from scheduler.fuse.cuts import fewest_launches, how_to_get_more, joined, staying_behind
from scheduler.fuse.operations import Tensors, operations, word_channels
from scheduler.fuse.pack import Item, largest_gap, pack
from scheduler.fuse.search import LAUNCH_CYCLES, RECOMPUTED, Choice, Memo, Search, best_of, part_budget
from scheduler.fuse.stay import Stay, Stays, require_equal_cores
from scheduler.fuse.strips import Chain
from scheduler.group import Pools, pool_candidates
from scheduler.kinds.layers import FETCH_SLACK
from scheduler.map.budget import Range
from scheduler.map.mapping import Mapping
from scheduler.map.search import best_mappings
from scheduler.place import aliases, input_layouts, likely_layout, place_tensors
from scheduler.plan.bump import Bump
from scheduler.plan.program import Part, Placement, Plan, Segment, Step
from scheduler.plan.residence import Residence, Resident
from scheduler.rounds import (
    host_steps,
    name_of,
    nodes_of,
    pictures_at_once,
    require_batch,
    require_own_launches,
    rounds,
    tensors_of,
)
from scheduler.work.work import Work

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
    overlap : bool
        Whether the units of a core work at the same time (`scheduler.code.serial`); choices and mappings are the same.
    launches : int, optional
        Starts of the chip; otherwise as many as there can be, which costs next to nothing, and loses least when a run
        is interrupted. Of a single picture alone.
    """

    byte_cost: float = 0.5
    recomputed: float = RECOMPUTED
    policy: Policy = field(default_factory=Policy)
    overlap: bool = True
    launches: int | None = None

    def plan(self, graph: QGraph, chip: ChipParams, memory: MemoryTiming, batch: int = 1) -> Plan:
        """As `ScheduleKind.plan`; of a batch, as many pictures at once as is cheapest, launch by launch."""
        require_own_launches(self.launches, batch)
        return Planner(self, graph, chip, memory, batch=batch).settled().plan()


class Planner:
    """Plans of one network.

    Parameters
    ----------
    pools : dict of str to QPool, optional
        By the name of a convolution, the maximum pool that its part computes too; those with which it costs less than
        before the pool, if they are not given.
    batch : int
        Number of pictures.
    input_layout : str, optional
        How the network's input is stored (`scheduler.place.input_layouts`); as seems best, if it is not given.
    memos : dict of int to Memo, optional
        By the number of pictures that are computed together, what planners of other forms of the network have found.

    Attributes
    ----------
    searches : dict of int to Search
        By the number of pictures that are computed together.
    stays, search : Stays, Search
        Of one picture at a time.
    """

    def __init__(
        self,
        kind: Fused,
        graph: QGraph,
        chip: ChipParams,
        memory: MemoryTiming,
        pools: Pools | None = None,
        batch: int = 1,
        input_layout: str | None = None,
        memos: dict[int, Memo] | None = None,
    ) -> None:
        require_batch(batch)
        require_equal_cores(chip)
        self.kind, self.graph, self.chip, self.memory, self.batch = kind, graph, chip, memory, batch
        self.byte_cycles = 1 / (len(chip.memory_nodes) * memory.rate(chip.link_bytes))
        self.input_layout = input_layout or likely_layout(graph, chip, self.byte_cycles)
        self.memos = {} if memos is None else memos
        self.pools = self._joined() if pools is None else pools
        self.parents = aliases(graph, word_channels(chip))
        self.steps = operations(graph, self.pools, self.parents)
        self.tensors = Tensors(graph, self.steps, self.parents)
        in_memory, _ = place_tensors(graph, chip, self.pools, self.parents, batch=batch, input_layout=self.input_layout)
        byte_cost = kind.byte_cost * self.byte_cycles
        self.searches: dict[int, Search] = {}
        gates = any(isinstance(node, QGate) for node in graph.nodes)  # each picture has its own, and weights are shared
        for count in [1] if gates else pictures_at_once(batch, chip):
            stays = Stays(chip, self.steps, self.tensors, in_memory, count)
            self.searches[count] = Search(
                stays, memory, byte_cost, kind.recomputed, batch // count, self.memos.setdefault(count, Memo())
            )
        self.search = self.searches[1]
        self.stays = self.search.stays
        self.chooser = Chooser(chip, memory, kind.policy)
        self._apart: dict[int, Choice] = {}
        """Operations with launches of their own, as far as these were asked for."""

    def _joined(self) -> Pools:
        """Pools that cost less with the convolution in front: rows of several cores are computed twice there."""
        candidates = {node.name: pool for node, pool in pool_candidates(self.graph)}
        if not candidates:
            return {}
        together, apart = (self._variant(pools, self.input_layout) for pools in (candidates, dict[str, QPool]()))
        return {
            name: pool
            for name, pool in candidates.items()
            if together.least(together.numbered(name))
            <= apart.least_of_two(apart.numbered(name), apart.numbered(pool.name))
        }

    def least(self, number: int) -> float:
        """As `Search.least`, with as many pictures at once as is cheapest."""
        return min(search.least(number) for search in self.searches.values())

    def least_of_two(self, number: int, reader: int) -> float:
        """As `Search.least_of_two`, with as many pictures at once as is cheapest."""
        return min(search.least_of_two(number, reader) for search in self.searches.values())

    def numbered(self, name: str) -> int:
        """Number of the operation of a node."""
        return next(number for number, step in enumerate(self.steps) if step.name == name)

    def _variant(self, pools: Pools, input_layout: str) -> Planner:
        """The planner of the network in another form."""
        return Planner(self.kind, self.graph, self.chip, self.memory, pools, self.batch, input_layout, self.memos)

    def settled(self) -> Planner:
        """This planner, or one of another form of the network, if its whole plan is estimated cheaper.

        What a pool costs, and what a layout of the input, depends on what stays on the chip around it and on how many
        pictures go together, which is not known when these are chosen.
        """
        best = self
        for pools, layout in self._other_forms():
            other = self._variant(pools, layout)
            with suppress(PlanError):  # a convolution with its pool may not fit
                if other.total < best.total:
                    best = other
        return best

    def _other_forms(self) -> Iterator[tuple[Pools, str]]:
        """Other ways to store the input, with or without the first pool in its convolution; of batches all pools."""
        candidates = {node.name: pool for node, pool in pool_candidates(self.graph)}
        first = next((node.name for node in self.graph.nodes if self.graph.input in node.inputs), None)
        forms: list[Pools] = [self.pools]
        if first in candidates:
            forms.append({name: pool for name, pool in candidates.items() if (name in self.pools) != (name == first)})
        if self.batch > 1 and candidates not in forms:
            forms.append(candidates)
        layouts = list(input_layouts(self.graph, self.chip))
        for layout in layouts[1:] or layouts:  # dense rows are fewer bytes and fewer passes than blocks
            yield from ((pools, layout) for pools in forms if (pools, layout) != (self.pools, self.input_layout))

    def plan(self) -> Plan:
        """By the best choices."""
        return self.finish(*self.decided())

    def decided(self) -> tuple[dict[int, Choice], list[list[int]]]:
        """The best choices, and the operations of every launch, in as many launches as are wanted.

        Raises
        ------
        PlanError
            If there cannot be so many, or so few.
        """
        choices = self.choices
        launches = self.launches(choices)
        wanted = self.kind.launches
        return (choices, launches) if wanted is None else self._in_launches(choices, launches, wanted)

    @cached_property
    def total(self) -> float:
        """Estimated cost of the best choices."""
        return self._total(self.choices)

    @cached_property
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

    def priced(self, choices: dict[int, Choice], launches: Sequence[Sequence[int]]) -> dict[int, Choice]:
        """Choices that somebody else made, launch by launch; as `Search.priced`."""
        found: dict[int, Choice] = {}
        for place, numbers in enumerate(launches, 1):
            search = self.searches[choices[numbers[0]].pictures]
            alone = numbers if len(numbers) == 1 else ()
            try:
                found |= search.priced({number: choices[number] for number in numbers}, alone)
            except PlanError as error:
                raise PlanError(f"launch {place}, {error}") from error
        return found

    def mappings(self, choices: dict[int, Choice], launches: Sequence[Sequence[int]]) -> dict[int, Mapping]:
        """How every operation of the chip is done, of strips the first."""
        found: dict[int, Mapping] = {}
        for numbers in launches:
            if numbers[0] in choices:
                search = self.searches[choices[numbers[0]].pictures]
                draft = self._draft(numbers, choices, search.stays.placements, 0)
                pieces = self._pieces({number: choices[number] for number in numbers})
                for (number, _), (mapping,) in zip(pieces, draft.parts, strict=True):
                    found.setdefault(number, mapping)
        return found

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
        kept = {self._output(number) for number, choice in choices.items() if choice.stay}
        together = [[node.name for n in numbers for node in self.steps[n].done] for numbers in launches]
        shared = filter(None, together)
        placements, end = place_tensors(
            self.graph, self.chip, self.pools, self.parents, kept, shared, self.batch, self.input_layout
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
            chosen = {number: choices[number] for number in numbers}
            for pictures in rounds(self.batch, choices[numbers[0]].pictures):
                of_round = draft if pictures.start == 1 else draft.moved(pictures.start - 1, self.chip, bump.top)
                of_round = of_round if self.kind.overlap else of_round.serial(self.chip, bump.top)
                name = name_of(self._name(numbers), pictures, self.batch)
                launch, needed = of_round.place(name, self._parts(chosen, draft, pictures), bump)
                steps.append(replace(launch, residents=tuple(self._residents(chosen, pictures))))
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
            if self._dearer_than_apart(numbers, self._launch_cost(numbers, choices)):
                confirmed |= {number: self._apart_from(number) for number in numbers}
        return confirmed

    def _dearer_than_apart(self, numbers: Sequence[int], together: float) -> bool:
        """Whether a launch of such a cost is dearer than its layers one by one.

        Layers whose turn has not come count as their multiply-accumulates at least, so that few need be estimated.
        """
        apart = self.batch * sum(self.steps[number].macs for number in numbers) / self.chip.pes
        for number in numbers:
            apart += self._alone(number).cost
            apart -= self.batch * self.steps[number].macs / self.chip.pes
            if apart >= together:
                return False
        return True

    def _predicted_alone(self, number: int) -> float:
        """Predicted cost of an operation with all its tensors in DRAM, of all rounds."""
        return min(search.rounds * LAUNCH_CYCLES + search.least(number) for search in self.searches.values())

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
                found.append(Choice((1, 1), None, search.rounds * self._cost(draft), 0, pictures=count))
            self._apart[number] = min(found, key=lambda choice: choice.cost)
        return self._apart[number]

    def _apart_from(self, number: int) -> Choice:
        """An operation with nothing that stays; several that complete a node together still share a launch."""
        joined = number and not self.steps[number - 1].done
        return self._alone(number) if self.steps[number].done and not joined else self.search.streamed(number)

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
        return not self.steps[number].done or bool(staying_behind(number, self.tensors, self.steps, choices))

    def _output(self, number: int) -> str:
        """The tensor inside which an operation's output lies."""
        return self.tensors.root(self.steps[number].output)

    def _in_launches(
        self, choices: dict[int, Choice], pieces: list[list[int]], count: int
    ) -> tuple[dict[int, Choice], list[list[int]]]:
        """The same in so many launches: neighbours share one, and weights are loaded ahead across the border."""
        hosts = [isinstance(self.steps[piece[0]].node, QHost) for piece in pieces]
        most, fewest = hosts.count(False), fewest_launches(pieces, hosts)
        if count > most:
            remedy = how_to_get_more(pieces, self.tensors, self.steps, choices, self._fit)
            raise PlanError(f"LAUNCHES={count}: {most} at most can be; {remedy}")
        if count < fewest:
            raise PlanError(f"LAUNCHES={count}: the host computes in between; give {fewest} or more")
        alone = [len(piece) == 1 and not host for piece, host in zip(pieces, hosts, strict=True)]
        costs = [
            0.0
            if host
            else self._predicted_alone(piece[0])
            if single
            else sum(choices[number].cost for number in piece)
            for piece, host, single in zip(pieces, hosts, alone, strict=True)
        ]
        launches = joined(pieces, hosts, costs, count)
        shared = {number for launch in launches if len(launch) > 1 for number in launch}
        singles = {piece[0] for piece, single in zip(pieces, alone, strict=True) if single}
        return choices | {number: self.search.streamed(number) for number in sorted(singles & shared)}, launches

    def _fit(self, choices: dict[int, Choice], launches: Sequence[Sequence[int]]) -> bool:
        """Whether the scratchpads have room for these choices."""
        try:
            priced = self.search.priced(choices, {launch[0] for launch in launches if len(launch) == 1})
        except PlanError:
            return False
        own = [{number: priced[number] for number in launch if number in priced} for launch in launches]
        return all(self._packed(chosen) is not None for chosen in own)

    # --- addresses ----------------------------------------------------------------------------------------------

    def _items(self, choices: dict[int, Choice]) -> tuple[dict[str, Item], dict[str, str]]:
        """What stays between these operations; of outputs in the place of a residual, which."""
        items: dict[str, Item] = {}
        places: dict[str, str] = {}
        stays = self._stays(choices)
        for number, choice in choices.items():
            root, search = self._output(number), self.searches[choice.pictures]
            stay = stays[root]
            if stay is None or self.tensors.first[root] != number:
                continue
            last = self._until(self.tensors.last[root], choices)
            if choice.chain is not None:  # what a chain takes or puts out is there while all of it runs
                first, end = choice.chain.first, choice.chain.end
                inside = number < end - 1
                nbytes = search.strips(choice.chain).nbytes(number) if inside else search.stays.nbytes(root, stay)
                items[root] = Item(first, last, nbytes)
                continue
            residual = search.stays.in_place(number, stays)
            if residual is not None:
                place = places.get(residual, residual)
                places[root] = place
                items[place] = items[place]._replace(last=last)
            else:
                items[root] = Item(number, last, search.stays.nbytes(root, stay))
        return items, places

    def _until(self, last: int, choices: dict[int, Choice]) -> int:
        """The last operation during which something is there that is read last by such a one."""
        choice = choices.get(last)
        return last if choice is None or choice.chain is None else choice.chain.end - 1

    def _stays(self, choices: dict[int, Choice]) -> dict[str, Stay]:
        return {self._output(number): choice.stay for number, choice in choices.items()}

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
            return self._draft_alone(search.stays.works(numbers[0], of), choices[numbers[0]], top)
        mappings: list[list[Mapping]] = []
        for place, (number, strip) in enumerate(self._pieces(chosen)):
            choice = choices[number]
            act = self._ring(number, choice, items, packed, number > numbers[0])
            budget = part_budget(self.chip, place, act, choice.all_weights)
            if choice.chain is None:
                works = search.stays.works(number, of)
            else:
                at = {root: place.first for root, place in packed.items()}
                works = search.strip_works(search.strips(choice.chain), number, strip, of, at)
            mappings.append([search.mapping(number, works, choice.grid, budget, choice.tiles)])
        return Draft.of(mappings, self.chip, top)

    def _draft_alone(self, works: list[Work], choice: Choice, top: int) -> Draft:
        """A launch of one operation: as the estimator finds it fastest, or as somebody wrote it."""
        draft = self.chooser.choose_among(works, top)
        ((mapping,),) = draft.parts
        grid, tiles = (mapping.g_oc, len(mapping.tiling.row_parts)), mapping.tiling.tiles_y
        if not choice.written or (grid == choice.grid and choice.tiles in (None, tiles)):
            return draft
        search = partial(best_mappings, grid=choice.grid, tiles=choice.tiles)
        return Chooser(self.chip, self.memory, self.kind.policy, search).choose_among(works, top)

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

    def _parts(self, choices: dict[int, Choice], draft: Draft, pictures: range) -> tuple[Part, ...]:
        return tuple(
            self._part(number, strip, choices[number].chain, draft, place, pictures)
            for place, (number, strip) in enumerate(self._pieces(choices))
        )

    def _residents(self, choices: dict[int, Choice], pictures: range) -> Iterator[Resident]:
        """What stays between the parts of a launch, of each picture."""
        for resident in self._residents_together(choices):
            for picture, residence in zip(pictures, resident.residence.each(), strict=True):
                name = of_picture(resident.tensor, picture, self.batch)
                yield replace(resident, tensor=name, residence=residence)

    def _residents_together(self, choices: dict[int, Choice]) -> Iterator[Resident]:
        """The same, of all pictures together, by their names in the network."""
        packed = self._packed(choices) or {}
        places: dict[int, list[int]] = {}
        for place, (number, _) in enumerate(self._pieces(choices)):
            places.setdefault(number, []).append(place)
        for number, choice in choices.items():
            root, search = self._output(number), self.searches[choice.pictures]
            if choice.chain is not None and number < choice.chain.end - 1:
                strips = search.strips(choice.chain)
                for strip in range(choice.chain.strips):
                    first = max(0, strip - strips.slots(number) + 1)  # rows that this strip shares with the one before
                    held = strips.tensor(number, strip, packed[root].first)
                    yield Resident(root, held, places[number][first], places[number + 1][strip])
            elif choice.stay is not None and self.tensors.first[root] == number:
                residence = search.stays.tensor(root, choice.stay, packed[root].first)
                assert isinstance(residence, Residence)
                yield Resident(root, residence, places[number][0], places[self.tensors.last[root]][-1])

    def _part(self, number: int, strip: int, chain: Chain | None, draft: Draft, place: int, pictures: range) -> Part:
        step, op, described = self.steps[number], draft.parts[place][0].work.op, draft.described(place)
        done, total = nodes_of(step.done, pictures, self.batch), step.macs * len(pictures)
        if chain is None:
            return Part(done, op, described, total)
        count = chain.strips
        macs = total * (strip + 1) // count - total * strip // count
        described = f"strip {strip + 1} of {count}: {described}"
        return Part(done if strip == count - 1 else (), op, described, macs, strip_of=done)

    def _name(self, numbers: Sequence[int]) -> str:
        last = self.steps[numbers[-1]].label
        return last if len(numbers) == 1 else f"{self.steps[numbers[0]].name}..{last}"
