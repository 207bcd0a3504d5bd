"""The best choice of what stays on the chip, and of every operation's split: exact for the predicted cost.

A state is where the tensors that are alive between two operations stay. The cheapest way to every state is kept, state
by state in the order of the operations, so nothing is missed; a state that does not fit the scratchpads is none.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Hashable, Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from functools import cache, cached_property, partial
from math import inf
from typing import NamedTuple

from estimator import MemoryTiming
from estimator.coefficients import Coefficients
from rtl.contract.params import ChipParams
from scheduler.alike import kind_of
from scheduler.errors import PlanError
from scheduler.fuse.stay import Grid, Rows, Stay, Stays
from scheduler.fuse.strips import Chain, Strips, strip_kind
from scheduler.map.budget import BOTH_BANKS, Barriers, Budget, Range
from scheduler.map.mapping import Mapping
from scheduler.map.predict import Prediction
from scheduler.map.search import best_mappings
from scheduler.plan.layout import round_up
from scheduler.plan.program import Placement
from scheduler.plan.residence import Residence
from scheduler.work.sink import Sink, sink_of
from scheduler.work.work import Work

__all__ = ["LAUNCH_CYCLES", "RECOMPUTED", "Choice", "Memo", "Search", "best_of", "part_budget"]

State = tuple[tuple[str, Stay], ...]
"""Roots that are alive, and where."""
Point = tuple[int | None, State]
"""Pictures that are computed together, and where their tensors are; None where a launch ends: any number may go on."""

LEVELS = (1, 2, 4, 8, 16, 32, 64)
"""Fractions of the activation scratchpad that an operation may get for what it loads."""
LAUNCH_CYCLES = 600
"""What it costs to begin anew where nothing stays: no weights are there, no instructions, and all wait for the last."""
RECOMPUTED = 0.005
"""Share of the network's multiply-accumulates that a chain of operations may do again, if nothing else is said."""
STRIP_COUNTS = 2
"""Numbers of strips of a chain that are tried, from the smallest that fits on."""
CANDIDATES = 4
"""Mappings of an operation that are kept, whatever becomes of its output."""


def part_budget(chip: ChipParams, number: int, act: Range, all_weights: bool = False) -> Budget:
    """What a part of a launch may use: half of everything that the part behind it fills meanwhile, and `act`.

    Parameters
    ----------
    all_weights : bool
        The whole weight scratchpad: then its own weights come only behind the part in front, and those of the part
        behind it only behind this one.
    """
    core = chip.cores[0]
    tokens = Range(BOTH_BANKS.tokens.end, Barriers.of(chip).first)
    weights, params = Range(0, core.weight_bytes), Range(0, core.param_blocks)
    return Budget(_half(tokens, number), act, weights if all_weights else _half(weights, number), _half(params, number))


def _half(whole: Range, number: int) -> Range:
    middle = (whole.first + whole.end) // 2
    return Range(middle, whole.end) if number % 2 else Range(whole.first, middle)


@dataclass(frozen=True)
class Choice:
    """What was chosen for an operation.

    Attributes
    ----------
    grid : (channel parts, row parts)
    stay : (channel parts, row parts) or None
        Of its output.
    cost : float
        Of the operation.
    ring : int
        Bytes of the activation scratchpad that it wants for what it loads.
    all_weights : bool
        It takes the whole weight scratchpad.
    chain : Chain, optional
        In which it is, if it is done strip by strip. The output then stays only by strips, but for the last one's.
    pictures : int
        That are computed together, each by cores of its own.
    tiles : int, optional
        Row tiles of every core, or of every strip of it; otherwise as many as are cheapest.
    written : bool
        Somebody wrote it: with a launch of its own, the operation has this split too.
    """

    grid: Grid
    stay: Stay
    cost: float
    ring: int
    all_weights: bool = False
    chain: Chain | None = None
    pictures: int = 1
    tiles: int | None = None
    written: bool = False


class Price(NamedTuple):
    """What an operation costs, and needs for that; as in `Choice`."""

    cost: float
    ring: int = 0
    all_weights: bool = False


@dataclass
class Memo:
    """What searches have found so far for every kind of operation; those of one chip, memory and cost may share it.

    Attributes
    ----------
    found : dict
        What the best few mappings cost, by kind of work, split and size of budget.
    kinds : dict
        Numbers of kinds of operations, by which the others are known.
    mapped : dict
        Mappings of an operation, whatever becomes of its output, and what they cost.
    prices : dict
    """

    found: dict[object, list[Prediction]] = field(default_factory=dict)
    kinds: dict[Hashable, int] = field(default_factory=dict)
    mapped: dict[object, list[Prediction]] = field(default_factory=dict)
    prices: dict[object, Price] = field(default_factory=dict)


@dataclass(frozen=True)
class _Way:
    """The cheapest way to a point."""

    cost: float
    before: Point
    choices: tuple[Choice, ...]


def best_of(searches: Sequence[Search], first: int, end: int, capacity: int) -> list[Choice]:
    """As `Search.best`, with as many pictures at once as any of several searches says; they change between launches.

    Raises
    ------
    PlanError
        If an operation fits in no way; that of the first such one.
    """
    of = {search.stays.pictures: search for search in searches}
    begin: Point = (None, ())
    ways: dict[int, dict[Point, _Way]] = {number: {} for number in range(first, end + 1)}
    ways[first][begin] = _Way(0.0, begin, ())
    for number in range(first, end):
        errors: list[PlanError] = []
        for point, way in ways[number].items():
            pictures, state = point
            for search in of.values() if pictures is None else (of[pictures],):
                for choices, after in search.ways(number, dict(state), capacity, end, errors):
                    total = way.cost + sum(choice.cost for choice in choices)
                    found = ways[number + len(choices)]
                    if after not in found or total < found[after].cost:
                        found[after] = _Way(total, point, choices)
        if not any(ways[behind] for behind in range(number + 1, end + 1)):
            raise errors[0]
    chosen: list[Choice] = []
    point = begin
    while len(chosen) < end - first:
        way = ways[end - len(chosen)][point]
        chosen = [*way.choices, *chosen]
        point = way.before
    return chosen


class Search:
    """Choices for a range of operations that the chip does.

    Parameters
    ----------
    byte_cost : float
        Cycles that a byte of DRAM traffic counts for, beside those that it takes.
    recomputed : float
        Share of the network's multiply-accumulates that a chain may do again.
    rounds : int
        How often everything is done, each time for as many pictures as are computed together.
    memo : Memo, optional
        Of searches with the same chip, memory and costs, in the same or another form of the network.

    Attributes
    ----------
    alike : callable
        Of an operation's number, the number of its kind: operations of a kind cost the same, wherever their tensors
        are.
    """

    def __init__(
        self,
        stays: Stays,
        memory: MemoryTiming,
        byte_cost: float,
        recomputed: float = RECOMPUTED,
        rounds: int = 1,
        memo: Memo | None = None,
    ) -> None:
        self.memo = memo or Memo()
        self.stays, self.memory, self.byte_cost = stays, memory, byte_cost
        self.recomputed, self.rounds = recomputed, rounds
        self.chip, self.core, self.tensors = stays.chip, stays.core, stays.tensors
        self.coefficients = Coefficients.load()
        self.cores = tuple(range(self.chip.n_cores))
        self.strips = cache(partial(Strips, stays))
        self.macs = sum(step.macs for step in stays.steps)
        self._errors: dict[int, PlanError] = {}
        """Of an operation, why it did not fit when that was tried last."""
        self.alike = cache(self._kind)
        self._worth = cache(self._is_worth)

    @cached_property
    def for_cycles(self) -> Search:
        """The same if bytes of DRAM traffic counted for no more than the cycles that they take."""
        memo = replace(self.memo, prices={})
        return Search(self.stays, self.memory, 0.0, self.recomputed, self.rounds, memo)

    def best(self, first: int, end: int, capacity: int) -> list[Choice]:
        """Of operations [first, end); tensors that are alive at either end are in DRAM there.

        Parameters
        ----------
        capacity : int
            Bytes of an activation scratchpad.

        Raises
        ------
        PlanError
            If an operation fits in no way; that of the first such one.
        """
        return best_of([self], first, end, capacity)

    def streamed(self, number: int) -> Choice:
        """The best for an operation with all its tensors in DRAM that shares a launch, and so has half of the weights.

        Raises
        ------
        PlanError
            If it does not fit.
        """
        where = dict.fromkeys(self.stays.steps[number].reads)
        found: list[Choice] = []
        errors: list[PlanError] = []
        for grid in self.stays.grids(number):
            try:
                found.append(self._choice(grid, None, self.price(number, grid, where, None, self.core.act_bytes)))
            except PlanError as error:
                errors.append(error)
        if not found:
            raise PlanError(f"{errors[0]}, or give it a launch of its own by a larger LAUNCHES")
        return min(found, key=lambda choice: choice.cost)

    def priced(self, choices: dict[int, Choice], alone: Collection[int]) -> dict[int, Choice]:
        """Choices that somebody else made, with their costs and rings.

        Parameters
        ----------
        alone : collection of int
            Operations with a launch of their own, which have all of the core.

        Raises
        ------
        PlanError
            If one does not fit.
        """
        stays: dict[str, Stay] = {}
        found: dict[int, Choice] = {}
        for number, choice in choices.items():
            if number in found:
                continue
            chain = choice.chain
            last = number if chain is None else chain.end - 1
            output = self.tensors.root(self.stays.steps[last].output)
            alive: dict[str, Stay] = {**stays, output: choices[last].stay}
            left = self.core.act_bytes - self._used(number, alive, choice.grid, chain)
            if chain is None:
                where = {name: stays.get(self.tensors.root(name)) for name in self.stays.steps[number].reads}
                room = None if number in alone else left
                price = self.price(number, choice.grid, where, choice.stay, room, choice.tiles)
                priced = [self._choice(choice.grid, choice.stay, price)]
            else:
                tiles = [choices[n].tiles for n in range(chain.first, chain.end)]
                priced = self._chain(chain, stays, choices[last].stay, left, tiles)
            for n, one in enumerate(priced, number):
                found[n] = replace(one, tiles=choices[n].tiles, written=choices[n].written)
            stays = {root: stay for root, stay in alive.items() if stay and self.tensors.last[root] > last}
        return found

    def least(self, number: int) -> float:
        """Cost of an operation with all its tensors in DRAM; infinite if it does not fit."""
        where: dict[str, Stay] = dict.fromkeys(self.stays.steps[number].reads)
        return self._least_of_grids(number, self.stays.likely_grids(number), where, None, None)

    def _least_of_grids(
        self, number: int, grids: Iterable[Grid], where: dict[str, Stay], stay: Stay, left: int | None
    ) -> float:
        """Cost of an operation with the grid that suits it best; infinite if it fits with none."""
        found = [inf]
        for grid in grids:
            with suppress(PlanError):
                found.append(self.price(number, grid, where, stay, left).cost)
        return min(found)

    def least_of_two(self, number: int, reader: int) -> float:
        """Cost of an operation and of another that reads its output alone, if all other tensors are in DRAM.

        Operations that no launch holds together, as its parts have half of the weight scratchpad each, have one each.
        """
        root = self.tensors.root(self.stays.steps[number].output)
        where: dict[str, Stay] = dict.fromkeys(self.stays.steps[number].reads)
        found = [inf]
        for stay in self.stays.likely_options(root):
            left = self.core.act_bytes - self.stays.nbytes(root, stay)
            read = dict.fromkeys(self.stays.steps[reader].reads, stay)
            readers = [grid for grid in self.stays.likely_grids(reader) if self.stays.suits(reader, stay, grid)]
            if left >= 0:
                cost = self._least_of_grids(number, self.stays.likely_grids(number), where, stay, left)
                found.append(cost + self._least_of_grids(reader, readers, read, None, left))
        cost = min(found)
        return cost if cost < inf else self.least(number) + self.least(reader)

    def ways(
        self, number: int, stays: dict[str, Stay], capacity: int, end: int, errors: list[PlanError]
    ) -> Iterator[tuple[tuple[Choice, ...], Point]]:
        """What can be chosen for an operation or a chain that begins with it, and the point behind."""
        where = {name: stays.get(self.tensors.root(name)) for name in self.stays.steps[number].reads}
        start = 0 if any(stays.values()) else LAUNCH_CYCLES * self.rounds
        for grid in self.stays.likely_grids(number):
            if not all(self.stays.suits(number, stay, grid) for stay in where.values()):
                continue
            for stay in self._outputs(number, number, stays, end):
                alive = {**stays, self.tensors.root(self.stays.steps[number].output): stay}
                left = capacity - self._used(number, alive, grid)
                if left < 0:
                    continue
                try:
                    price = self.price(number, grid, where, stay, left if any(alive.values()) else None)
                except PlanError as error:
                    errors.append(error)
                    continue
                price = price._replace(cost=price.cost + start)
                yield (self._choice(grid, stay, price),), self._behind(number, alive)
        for parts in sorted({grid[1] for grid in self.stays.likely_grids(number) if grid[0] == 1}):
            for behind in self.stays.large_chains(number, parts):
                if behind <= end and self.stays.chain_can_read(number, behind, parts, stays.get) is None:
                    yield from self._chains(number, behind, parts, stays, capacity, end)

    def _outputs(self, first: int, last: int, stays: dict[str, Stay], end: int) -> list[Stay]:
        """Where the output of the last of some operations may stay."""
        output = self.tensors.root(self.stays.steps[last].output)
        if self.tensors.last[output] >= end:
            return [None]
        return [stays.get(output)] if self.tensors.first[output] < first else self.stays.likely_options(output)

    def _choice(self, grid: Grid, stay: Stay, price: Price, chain: Chain | None = None) -> Choice:
        return Choice(grid, stay, *price, chain, self.stays.pictures)

    def _behind(self, number: int, alive: dict[str, Stay]) -> Point:
        """The point behind an operation; of several that complete a node together, the next is in the same launch."""
        state = tuple(sorted(item for item in alive.items() if self.tensors.last[item[0]] > number and item[1]))
        return (self.stays.pictures if state or not self.stays.steps[number].done else None), state

    def _used(self, number: int, alive: dict[str, Stay], grid: Grid, chain: Chain | None = None) -> int:
        """Bytes of what stays on the chip while an operation of such a split runs, or the chain that begins with it."""
        once = None if chain else self.stays.in_place(number, alive, grid)
        used = sum(self.stays.nbytes(root, stay) for root, stay in alive.items() if stay and root != once)
        return used + (sum(map(self.strips(chain).nbytes, range(chain.first, chain.end - 1))) if chain else 0)

    # --- chains -------------------------------------------------------------------------------------------------

    def _chains(
        self, first: int, behind: int, parts: int, stays: dict[str, Stay], capacity: int, end: int
    ) -> Iterator[tuple[tuple[Choice, ...], Point]]:
        """Choices of a chain, and the point behind it: in as few strips as fit, or somewhat more."""
        output = self.tensors.root(self.stays.steps[behind - 1].output)
        rows = self.tensors.shape(self.stays.steps[behind - 1].output)[1] // parts
        for stay in self._outputs(first, behind - 1, stays, end):
            alive = {**stays, output: stay}
            found: list[tuple[Choice, ...]] = []
            for strips in range(2, rows + 1):
                chain = Chain(first, behind, parts, strips)
                if not self._worth(chain):
                    break
                left = capacity - self._used(first, alive, (1, parts), chain)
                if left < 0:
                    continue
                with suppress(PlanError):
                    found.append(self._chain(chain, stays, stay, left))
                if len(found) == STRIP_COUNTS:
                    break
            if found:
                best = min(found, key=lambda choices: sum(choice.cost for choice in choices))
                start = 0 if any(stays.values()) else LAUNCH_CYCLES * self.rounds
                yield (replace(best[0], cost=best[0].cost + start), *best[1:]), self._behind(behind - 1, alive)

    def _is_worth(self, chain: Chain) -> bool:
        """Whether a chain is possible and computes little twice."""
        strips = self.strips(chain)
        with suppress(PlanError):
            strips.require_possible()
            return strips.recomputed <= self.recomputed * self.macs
        return False

    def _chain(
        self, chain: Chain, stays: dict[str, Stay], stay: Stay, left: int, tiles: Sequence[int | None] = ()
    ) -> tuple[Choice, ...]:
        """Choices of a chain, in so many row tiles where that is said.

        Raises
        ------
        PlanError
            If it does not fit.
        """
        strips, grid = self.strips(chain), (1, chain.row_parts)
        choices: list[Choice] = []
        for number in range(chain.first, chain.end):
            where = {
                name: grid if strips.inside(name) is not None else stays.get(self.tensors.root(name))
                for name in self.stays.steps[number].reads
            }
            last = number == chain.end - 1
            count = tiles[number - chain.first] if tiles else None
            price = self._strip_price(strips, number, where, stay if last else grid, self._level(left), count)
            choices.append(self._choice(grid, stay if last else grid, price, chain))
        return tuple(choices)

    def _strip_price(
        self, strips: Strips, number: int, where: dict[str, Stay], stay: Stay, level: int, tiles: int | None
    ) -> Price:
        """Of all strips of an operation."""
        loads = tuple(place is None for place in where.values())
        level = level if any(loads) else 0
        chain = strips.chain
        kinds = tuple(map(self.alike, range(chain.first, chain.end)))
        key = kinds, number - chain.first, chain.row_parts, chain.strips, loads, stay, level, tiles
        if key not in self.memo.prices:
            prices = [self._of_strip(strips, number, n, where, stay, level, tiles) for n in range(chain.strips)]
            self.memo.prices[key] = Price(
                sum(price.cost for price in prices),
                max(price.ring for price in prices),
                any(price.all_weights for price in prices),
            )
        return self._affordable(number, self.memo.prices[key], tiles)

    def _of_strip(
        self,
        strips: Strips,
        number: int,
        strip: int,
        where: dict[str, Stay],
        stay: Stay,
        level: int,
        tiles: int | None,
    ) -> Price:
        works = self.strip_works(strips, number, strip, lambda name: self.stays.tensor(name, where.get(name)), {})
        output = self.stays.steps[number].output
        sink = works[0].sink if number in strips.held else sink_of(self.stays.tensor(output, stay))
        found = self._of_budgets(number, works, (1, strips.chain.row_parts), level, tiles)
        return self._cheapest(found, sink, works[0].row_parts)

    def strip_works(
        self, strips: Strips, number: int, strip: int, of: Callable[[str], Placement | Residence], at: dict[str, int]
    ) -> list[Work]:
        """Bids for a strip of an operation.

        Parameters
        ----------
        of : callable
            Where tensors are of which more than a strip is there.
        at : dict of str to int
            Scratchpad byte of each of the others; 0 without.
        """

        def tensor(name: str) -> Placement | Residence:
            inside = strips.inside(name)
            if inside is None:
                return of(name)
            return self.stays.placements[name] if inside == number else strips.tensor(inside, strip, at.get(name, 0))

        return strips.works(number, strip, tensor, at.get(self.stays.steps[number].output, 0))

    # --- prices -------------------------------------------------------------------------------------------------

    def price(
        self,
        number: int,
        grid: Grid,
        where: dict[str, Stay],
        stay: Stay,
        left: int | None,
        tiles: int | None = None,
    ) -> Price:
        """Of an operation.

        Parameters
        ----------
        where : dict of str to Stay
            Of what it reads.
        stay : Stay
            Of its output.
        left : int, optional
            Bytes of scratchpad that nothing stays in; None for an operation with a launch of its own, which has all of
            the core.
        tiles : int, optional
            Row tiles of every core; otherwise as many as are cheapest.

        Raises
        ------
        PlanError
            If it does not fit.
        """
        loads = any(place is None for place in where.values())
        level = None if left is None else self._level(left) if loads else 0
        key = self.alike(number), grid, tuple(place is None for place in where.values()), stay, level, tiles
        if key not in self.memo.prices:
            self.memo.prices[key] = self._price(number, grid, where, stay, level, tiles)
        return self._affordable(number, self.memo.prices[key], tiles)

    def _affordable(self, number: int, price: Price, tiles: int | None) -> Price:
        """The same price; raises a PlanError if it is infinite."""
        if price.cost == inf and tiles is not None:
            raise self._misfit(number, tiles)
        if price.cost == inf:
            raise self._error(number)
        return price

    def _misfit(self, number: int, tiles: int) -> PlanError:
        name = self.stays.steps[number].label
        count = "tile" if tiles == 1 else "tiles"
        return PlanError(f"layer {name!r} does not fit in {tiles} {count}; give more tiles, or leave tiles out")

    def _kind(self, number: int) -> int:
        """Of operations that cost the same, wherever their tensors are: networks repeat themselves."""
        step, stays = self.stays.steps[number], self.stays
        options = {name: stays.options(self.tensors.root(name)) for name in step.reads}

        def kinds(place: Stay) -> tuple[Hashable, ...]:
            """Of its works, with the output in DRAM and what can be there in a place; none if no engine takes it."""

            def of(name: str) -> Placement | Residence:
                return stays.tensor(name, place if place in options.get(name, ()) else None)

            try:
                return tuple(work.kind for work in stays.works(number, of))
            except PlanError:
                return ()

        places = dict.fromkeys((None, *(place for some in options.values() for place in some)))
        read = tuple((place, kinds(place)) for place in places)
        outputs = stays.options(self.tensors.root(step.output))
        written = tuple((stay, kind_of(stays.tensor(step.output, stay))) for stay in outputs)
        return self.memo.kinds.setdefault((read, written), len(self.memo.kinds))

    def _error(self, number: int) -> PlanError:
        """Why an operation does not fit: as was found for it, or for one of its kind."""
        name = self.stays.steps[number].name
        return self._errors.get(
            number, PlanError(f"layer {name!r} does not fit beside what stays; raise core.act_bytes")
        )

    def _level(self, left: int) -> int:
        """Bytes for what is loaded: a fraction of the scratchpad, so that few sizes need be tried."""
        fits = (self.core.act_bytes // level for level in LEVELS if self.core.act_bytes // level <= left)
        return next(fits, 0)

    def _price(
        self, number: int, grid: Grid, where: dict[str, Stay], stay: Stay, level: int | None, tiles: int | None
    ) -> Price:
        sink = sink_of(self.stays.tensor(self.stays.steps[number].output, stay))
        key = self.alike(number), grid, tuple(place is None for place in where.values()), level, tiles
        if key not in self.memo.mapped:
            self.memo.mapped[key] = self._mapped(number, grid, where, level, tiles)
        return self._cheapest(self.memo.mapped[key], sink)

    def _cheapest(self, predictions: list[Prediction], sink: Sink, row_parts: tuple[Rows, ...] | None = None) -> Price:
        """Of the cheapest mapping with such a sink, and those rows; infinite if there is none."""
        best = Price(inf)
        for prediction in predictions:
            cost = self._cost(prediction, sink, row_parts)
            if cost < best.cost:
                mapping = prediction.mapping
                best = Price(cost, _ring(mapping), self._takes_all_weights(mapping))
        return best

    def _cost(self, prediction: Prediction, sink: Sink, row_parts: tuple[Rows, ...] | None = None) -> float:
        """Cycles, and what bytes count for beside, of all rounds."""
        mapping, cycles = prediction.mapping, prediction.cycles(sink, row_parts)
        if self._takes_all_weights(mapping):  # they hide behind no other part, nor do those of the part behind
            slots = min(mapping.weight_slots, mapping.steps_per_block)
            filled = mapping.weight_slot_bytes * slots * mapping.g_oc / len(self.chip.memory_nodes)
            cycles += 2 * (filled / self.memory.one_way(self.chip.link_bytes) + self.memory.latency_cycles)
        return self.rounds * (cycles + self.byte_cost * prediction.dram_bytes(sink))

    def _takes_all_weights(self, mapping: Mapping) -> bool:
        """Whether it does beside other parts."""
        budget, whole = mapping.budget, Budget.whole(self.core, self.chip)
        return budget.weight == whole.weight and budget.tokens != whole.tokens

    def _mapped(
        self, number: int, grid: Grid, where: dict[str, Stay], level: int | None, tiles: int | None
    ) -> list[Prediction]:
        """The best few, with the output in DRAM; none if it does not fit."""
        works = self.stays.works(number, lambda name: self.stays.tensor(name, where.get(name)))
        if level is None:
            whole = Budget.whole(self.core, self.chip)
            return _in_tiles(tiles, lambda count: self._of_works(number, works, grid, whole, count))
        return self._of_budgets(number, works, grid, level, tiles)

    def _of_budgets(
        self, number: int, works: list[Work], grid: Grid, level: int, tiles: int | None
    ) -> list[Prediction]:
        """The best few; with all of the weight scratchpad too, if half is too small or has weights loaded anew."""
        act = Range(0, level or self.core.act_word_bytes(self.chip.link_bytes))

        def search(count: int | None) -> list[Prediction]:
            found = self._of_works(number, works, grid, part_budget(self.chip, 0, act), count)
            if found and all(prediction.mapping.weights_once for prediction in found):
                return found
            budget = part_budget(self.chip, 0, act, all_weights=True)
            return found + self._of_works(number, works, grid, budget, count)

        return _in_tiles(tiles, search)

    def _of_works(
        self, number: int, works: list[Work], grid: Grid, budget: Budget, tiles: int | None
    ) -> list[Prediction]:
        """The best few of every bid, perhaps for another work of its kind; searched once for budgets of a size."""
        found: list[Prediction] = []
        for work in works:
            kind = work.kind if work.row_parts is None else strip_kind(work)
            key = kind, grid, budget.act.size, budget.weight.size, budget.tokens.size, tiles
            if key not in self.memo.found:
                fitting = self._fitting(number, work, grid, budget, tiles)
                self.memo.found[key] = [self._predicted(mapping) for mapping in fitting]
            found += self.memo.found[key]
        return found

    def _fitting(self, number: int, work: Work, grid: Grid, budget: Budget, tiles: int | None) -> list[Mapping]:
        """The best few that load beside computing: a ring of one slot is not what the closed form takes it for."""
        try:
            found = best_mappings(work, self.cores, self.chip, self.memory, 4 * CANDIDATES, budget, grid, tiles)
        except PlanError as error:
            self._errors[number] = error
            return []
        self._errors.setdefault(number, PlanError(f"layer {work.name!r} cannot load beside computing"))
        beside = [mapping for mapping in found if mapping.loads_beside]
        alone = budget == Budget.whole(self.core, self.chip)
        return (beside or (found if alone else []))[:CANDIDATES]

    def mapping(self, number: int, works: list[Work], grid: Grid, budget: Budget, tiles: int | None = None) -> Mapping:
        """The best mapping of several bids, in so many row tiles if that is said.

        Raises
        ------
        PlanError
            If none fits.
        """

        def search(count: int | None) -> list[Prediction]:
            return [
                self._predicted(replace(found.mapping.of(work), budget=budget))
                for work in works
                for found in self._of_works(number, [work], grid, budget, count)
            ]

        found = _in_tiles(tiles, search)
        if not found:
            raise self._error(number) if tiles is None else self._misfit(number, tiles)
        return min(found, key=lambda prediction: self._cost(prediction, prediction.mapping.work.sink)).mapping

    def _predicted(self, mapping: Mapping) -> Prediction:
        return Prediction(mapping, self.chip, self.memory, self.coefficients)


def _in_tiles(tiles: int | None, search: Callable[[int | None], list[Prediction]]) -> list[Prediction]:
    """What a search finds; of that, the mappings in so many row tiles, or what it finds if it looks for those alone.

    So the number that the best one has anyway changes nothing.
    """
    found = search(None)
    if tiles is None:
        return found
    return [prediction for prediction in found if prediction.mapping.tiling.tiles_y == tiles] or search(tiles)


def _ring(mapping: Mapping) -> int:
    """Bytes of its rings of activations, with those behind that a read may touch."""
    used = mapping.ring_bytes
    if not used:
        return 0
    word = mapping.work.core.act_word_bytes(mapping.work.block)
    return round_up(used + max(mapping.work.core.rows, mapping.work.block), word)
