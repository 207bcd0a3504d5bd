"""The best choice of what stays on the chip, and of every operation's split: exact for the predicted cost.

A state is where the tensors that are alive between two operations stay. The cheapest way to every state is kept, state
by state in the order of the operations, so nothing is missed; a state that does not fit the scratchpads is none.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from math import inf

from estimator import MemoryTiming
from estimator.coefficients import Coefficients
from rtl.contract.params import ChipParams
from scheduler.errors import PlanError
from scheduler.fuse.stay import WHOLE, Grid, Stay, Stays, row_parts
from scheduler.map.budget import BOTH_BANKS, Barriers, Budget, Range
from scheduler.map.mapping import Mapping
from scheduler.map.search import best_mappings, predict, program_bytes
from scheduler.plan.layout import round_up
from scheduler.plan.program import Placement
from scheduler.plan.residence import Residence
from scheduler.work.sink import Sink, sink_of
from scheduler.work.work import Work

__all__ = ["LAUNCH_CYCLES", "Choice", "Search", "best_of", "part_budget"]

State = tuple[tuple[str, Stay], ...]
"""Roots that are alive, and where."""
Point = tuple[int | None, State]
"""Pictures that are computed together, and where their tensors are; None where nothing stays: any number may go on."""

LEVELS = (1, 2, 4, 8, 16, 32)
"""Fractions of the activation scratchpad that an operation may get for what it loads."""
LAUNCH_CYCLES = 600
"""What it costs to begin anew where nothing stays: no weights are there, no instructions, and all wait for the last."""
CANDIDATES = 3
"""Mappings of an operation that are kept, whatever becomes of its output."""


def part_budget(chip: ChipParams, number: int, act: Range) -> Budget:
    """What a part of a launch may use: half of everything that the part behind it fills meanwhile, and `act`."""
    core = chip.cores[0]
    tokens = Range(BOTH_BANKS.tokens.end, Barriers.of(chip).first)
    weights, params = Range(0, core.weight_bytes), Range(0, core.param_blocks)
    return Budget(_half(tokens, number), act, _half(weights, number), _half(params, number))


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
    pictures : int
        That are computed together, each by cores of its own.
    """

    grid: Grid
    stay: Stay
    cost: float
    ring: int
    pictures: int = 1


@dataclass(frozen=True)
class _Way:
    """The cheapest way to a point."""

    cost: float
    before: Point
    choice: Choice


def best_of(searches: Sequence[Search], first: int, end: int, capacity: int) -> list[Choice]:
    """As `Search.best`, with as many pictures at once as any of several searches says; they change where nothing stays.

    Raises
    ------
    PlanError
        If an operation fits in no way; that of the first such one.
    """
    of = {search.stays.pictures: search for search in searches}
    ways: list[dict[Point, _Way]] = []
    points: dict[Point, float] = {(None, ()): 0.0}
    for number in range(first, end):
        found: dict[Point, _Way] = {}
        errors: list[PlanError] = []
        for point, cost in points.items():
            pictures, state = point
            for search in of.values() if pictures is None else (of[pictures],):
                for choice, left in search.ways(number, dict(state), capacity, end, errors):
                    total, after = cost + choice.cost, (choice.pictures if left else None, left)
                    if after not in found or total < found[after].cost:
                        found[after] = _Way(total, point, choice)
        if not found:
            raise errors[0]
        ways.append(found)
        points = {point: way.cost for point, way in found.items()}
    choices: list[Choice] = []
    point: Point = (None, ())
    for found in reversed(ways):
        choices.append(found[point].choice)
        point = found[point].before
    return choices[::-1]


class Search:
    """Choices for a range of operations that the chip does.

    Parameters
    ----------
    byte_cost : float
        Cycles that a byte of DRAM traffic counts for, beside those that it takes.
    rounds : int
        How often everything is done, each time for as many pictures as are computed together.
    """

    def __init__(self, stays: Stays, memory: MemoryTiming, byte_cost: float, rounds: int = 1) -> None:
        self.stays, self.memory, self.byte_cost, self.rounds = stays, memory, byte_cost, rounds
        self.chip, self.core, self.tensors = stays.chip, stays.core, stays.tensors
        self.coefficients = Coefficients.load()
        self.cores = tuple(range(self.chip.n_cores))
        self._found: dict[object, list[Mapping]] = {}
        self._errors: dict[int, PlanError] = {}
        """Of an operation, why it did not fit when that was tried last."""
        self._prices: dict[object, tuple[float, int]] = {}

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

    def priced(self, choices: dict[int, Choice]) -> dict[int, Choice]:
        """Choices that somebody else made, with their costs and rings.

        Raises
        ------
        PlanError
            If one does not fit.
        """
        stays: dict[str, Stay] = {}
        found: dict[int, Choice] = {}
        for number, choice in choices.items():
            step, before = self.stays.steps[number], {**stays}
            stays[self.tensors.root(step.output)] = choice.stay
            alive: dict[str, Stay] = {
                root: stay for root, stay in stays.items() if stay and self.tensors.last[root] >= number
            }
            where = {name: before.get(self.tensors.root(name)) for name in step.reads}
            left = self.core.act_bytes - self._used(number, alive)
            cost, ring = self.price(number, choice.grid, where, choice.stay, left if alive else None)
            found[number] = replace(choice, cost=cost, ring=ring)
        return found

    def ways(
        self, number: int, stays: dict[str, Stay], capacity: int, end: int, errors: list[PlanError]
    ) -> Iterator[tuple[Choice, State]]:
        """What can be chosen for an operation, and the state behind it."""
        step, tensors = self.stays.steps[number], self.tensors
        output = tensors.root(step.output)
        where = {name: stays.get(tensors.root(name)) for name in step.reads}
        begun = tensors.first[output] < number
        options = [stays.get(output)] if begun else self.stays.options(output)
        if tensors.last[output] >= end:
            options = [None]
        for grid in self.stays.grids(number):
            if any(stay not in (None, WHOLE, row_parts(grid)) for stay in where.values()):
                continue
            for stay in options:
                alive = {**stays, output: stay}
                left = capacity - self._used(number, alive)
                if left < 0:
                    continue
                alone = not any(alive.values())
                try:
                    cost, ring = self.price(number, grid, where, stay, None if alone else left)
                except PlanError as error:
                    errors.append(error)
                    continue
                after = tuple(sorted(item for item in alive.items() if tensors.last[item[0]] > number and item[1]))
                if not any(stays.values()):
                    cost += LAUNCH_CYCLES * self.rounds
                yield Choice(grid, stay, cost, ring, self.stays.pictures), after

    def _used(self, number: int, alive: dict[str, Stay]) -> int:
        """Bytes of what stays on the chip while an operation runs."""
        once = self.stays.in_place(number, alive)
        return sum(self.stays.nbytes(root, stay) for root, stay in alive.items() if stay and root != once)

    # --- prices -------------------------------------------------------------------------------------------------

    def price(self, number: int, grid: Grid, where: dict[str, Stay], stay: Stay, left: int | None) -> tuple[float, int]:
        """Cost of an operation, and bytes of scratchpad for what it loads.

        Parameters
        ----------
        where : dict of str to Stay
            Of what it reads.
        stay : Stay
            Of its output.
        left : int, optional
            Bytes of scratchpad that nothing stays in; None for an operation with a launch of its own, which has all of
            the core.

        Raises
        ------
        PlanError
            If it does not fit.
        """
        loads = any(place is None for place in where.values())
        level = None if left is None else self._level(left) if loads else 0
        key = number, grid, tuple(place is None for place in where.values()), stay, level
        if key not in self._prices:
            self._prices[key] = self._price(number, grid, where, stay, level)
        cost, ring = self._prices[key]
        if cost == inf:
            raise self._error(number)
        return cost, ring

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
        self, number: int, grid: Grid, where: dict[str, Stay], stay: Stay, level: int | None
    ) -> tuple[float, int]:
        output = self.stays.steps[number].output
        sink = sink_of(self.stays.tensor(output, stay))
        best, ring = inf, 0
        for mapping in self._mappings(number, grid, where, level):
            cost = self.cost(_with_sink(mapping, sink))
            if cost < best:
                best, ring = cost, _ring(mapping)
        return best, ring

    def cost(self, mapping: Mapping) -> float:
        """Cycles, and what bytes count for beside, of all rounds."""
        once = predict(mapping, self.chip, self.memory, self.coefficients) + self.byte_cost * _dram_bytes(mapping)
        return self.rounds * once

    def _mappings(self, number: int, grid: Grid, where: dict[str, Stay], level: int | None) -> list[Mapping]:
        """The best few, with the output in DRAM; none if it does not fit."""

        def of(name: str) -> Placement | Residence:
            return self.stays.tensor(name, where.get(name))

        act = Range(0, level or self.core.act_word_bytes(self.chip.link_bytes))
        budget = Budget.whole(self.core, self.chip) if level is None else part_budget(self.chip, 0, act)
        return self._of_works(number, self.stays.works(number, of), grid, budget)

    def _of_works(self, number: int, works: list[Work], grid: Grid, budget: Budget) -> list[Mapping]:
        """The best few of every bid; searched once for works of a kind and budgets of a size."""
        found: list[Mapping] = []
        for work in works:
            key = work.kind, grid, budget.act.size, budget.tokens.size
            if key not in self._found:
                self._found[key] = self._fitting(number, work, grid, budget)
            found += [replace(mapping.of(work), budget=budget) for mapping in self._found[key]]
        return found

    def _fitting(self, number: int, work: Work, grid: Grid, budget: Budget) -> list[Mapping]:
        """The best few that load beside computing: a ring of one slot is not what the closed form takes it for."""
        try:
            found = best_mappings(work, self.cores, self.chip, self.memory, 4 * CANDIDATES, budget, grid)
        except PlanError as error:
            self._errors[number] = error
            return []
        self._errors.setdefault(number, PlanError(f"layer {work.name!r} cannot load beside computing"))
        return [mapping for mapping in found if work.source.resident or mapping.act_slots > 1][:CANDIDATES]

    def mapping(self, number: int, works: list[Work], grid: Grid, budget: Budget) -> Mapping:
        """The best mapping of several bids.

        Raises
        ------
        PlanError
            If none fits.
        """
        found = self._of_works(number, works, grid, budget)
        if not found:
            raise self._error(number)
        return min(found, key=self.cost)


def _with_sink(mapping: Mapping, sink: Sink) -> Mapping:
    return mapping.of(replace(mapping.work, sink=sink))


def _ring(mapping: Mapping) -> int:
    """Bytes of its rings of activations, with those behind that a read may touch."""
    used = mapping.act_slots * mapping.slot_bytes + mapping.residual_slots * mapping.residual_slot_bytes
    if not used:
        return 0
    word = mapping.work.core.act_word_bytes(mapping.work.block)
    return round_up(used + max(mapping.work.core.rows, mapping.work.block), word)


def _dram_bytes(mapping: Mapping) -> float:
    """Bytes that cross the memory nodes."""
    work, tiles = mapping.work, mapping.tiles
    repeats = 1 if mapping.act_resident else mapping.blocks_per_core
    groups = 1 if work.shared_input else mapping.g_oc
    words = work.source.words if work.shared_input else len({b.words for b in mapping.channel_parts[0]})
    acts = sum(mapping.tiling.in_pixels) * work.source.pixel_flits(words) * repeats * groups
    out = work.height * work.out_hw[1] * sum(b.groups for item in work.items for b in item) * work.sink.in_memory
    residual = 0
    if work.residual is not None:
        residual = work.residual.source.pixel_flits(work.residual.source.words) * work.height * work.out_hw[1]
    weights = sum(
        work.passes.count(block, work.taps) * work.pass_bytes for part in mapping.channel_parts for block in part
    )
    if not (mapping.weights_resident or mapping.blocks_first):
        weights *= tiles
    return (acts + (out + residual) * work.pictures) * work.block + weights + program_bytes(mapping)
