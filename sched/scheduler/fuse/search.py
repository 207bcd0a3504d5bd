"""The best choice of what stays on the chip, and of every operation's split: exact for the predicted cost.

A state is where the tensors that are alive between two operations stay. The cheapest way to every state is kept, state
by state in the order of the operations, so nothing is missed; a state that does not fit the scratchpads is none.
"""

from __future__ import annotations

from collections.abc import Collection, Hashable, Iterator
from dataclasses import dataclass, replace
from functools import cache
from math import inf

from estimator import MemoryTiming
from estimator.coefficients import Coefficients
from rtl.contract.params import ChipParams
from scheduler.alike import kind_of
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

__all__ = ["LAUNCH_CYCLES", "Choice", "Search", "part_budget"]

State = tuple[tuple[str, Stay], ...]
"""Roots that are alive, and where."""

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
    """

    grid: Grid
    stay: Stay
    cost: float
    ring: int


@dataclass(frozen=True)
class _Way:
    """The cheapest way to a state."""

    cost: float
    before: State
    choice: Choice


class Search:
    """Choices for a range of operations that the chip does.

    Parameters
    ----------
    byte_cost : float
        Cycles that a byte of DRAM traffic counts for, beside those that it takes.
    """

    def __init__(self, stays: Stays, memory: MemoryTiming, byte_cost: float) -> None:
        self.stays, self.memory, self.byte_cost = stays, memory, byte_cost
        self.chip, self.core, self.tensors = stays.chip, stays.core, stays.tensors
        self.coefficients = Coefficients.load()
        self.cores = tuple(range(self.chip.n_cores))
        self._found: dict[object, list[Mapping]] = {}
        self._errors: dict[int, PlanError] = {}
        """Of an operation, why it did not fit when that was tried last."""
        self._prices: dict[object, tuple[float, int]] = {}
        self._mapped: dict[object, list[Mapping]] = {}
        self._first: dict[Hashable, int] = {}
        """Of every kind of operation, the first that was met."""
        self._alike = cache(self._first_alike)

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
        ways: list[dict[State, _Way]] = []
        states: dict[State, float] = {(): 0.0}
        for number in range(first, end):
            found: dict[State, _Way] = {}
            errors: list[PlanError] = []
            for state, cost in states.items():
                for choice, after in self._steps(number, dict(state), capacity, end, errors):
                    total = cost + choice.cost
                    if after not in found or total < found[after].cost:
                        found[after] = _Way(total, state, choice)
            if not found:
                raise errors[0]
            ways.append(found)
            states = {state: way.cost for state, way in found.items()}
        choices: list[Choice] = []
        state: State = ()
        for found in reversed(ways):
            choices.append(found[state].choice)
            state = found[state].before
        return choices[::-1]

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
                cost, ring = self.price(number, grid, where, None, self.core.act_bytes)
                found.append(Choice(grid, None, cost, ring))
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
            step, before = self.stays.steps[number], {**stays}
            stays[self.tensors.root(step.output)] = choice.stay
            alive: dict[str, Stay] = {
                root: stay for root, stay in stays.items() if stay and self.tensors.last[root] >= number
            }
            where = {name: before.get(self.tensors.root(name)) for name in step.reads}
            left = self.core.act_bytes - self._used(number, alive)
            cost, ring = self.price(number, choice.grid, where, choice.stay, None if number in alone else left)
            found[number] = replace(choice, cost=cost, ring=ring)
        return found

    def least(self, number: int) -> float:
        """Cost of an operation with all its tensors in DRAM."""
        where: dict[str, Stay] = dict.fromkeys(self.stays.steps[number].reads)
        return min(self.price(number, grid, where, None, None)[0] for grid in self.stays.likely_grids(number))

    def least_of_two(self, number: int, reader: int) -> float:
        """Cost of an operation and of another that reads its output alone, if all other tensors are in DRAM."""
        root = self.tensors.root(self.stays.steps[number].output)
        where: dict[str, Stay] = dict.fromkeys(self.stays.steps[number].reads)
        found = [inf]
        for stay in self.stays.likely_options(root):
            left = self.core.act_bytes - self.stays.nbytes(root, stay)
            if left < 0:
                continue
            read = dict.fromkeys(self.stays.steps[reader].reads, stay)
            readers = [grid for grid in self.stays.likely_grids(reader) if stay in (None, WHOLE, row_parts(grid))]
            try:
                cost = min(self.price(number, grid, where, stay, left)[0] for grid in self.stays.likely_grids(number))
                found.append(cost + min(self.price(reader, grid, read, None, left)[0] for grid in readers))
            except PlanError:
                continue
        return min(found)

    def _steps(
        self, number: int, stays: dict[str, Stay], capacity: int, end: int, errors: list[PlanError]
    ) -> Iterator[tuple[Choice, State]]:
        """What can be chosen for an operation, and the state behind it."""
        step, tensors = self.stays.steps[number], self.tensors
        output = tensors.root(step.output)
        where = {name: stays.get(tensors.root(name)) for name in step.reads}
        begun = tensors.first[output] < number
        options = [stays.get(output)] if begun else self.stays.likely_options(output)
        if tensors.last[output] >= end:
            options = [None]
        for grid in self.stays.likely_grids(number):
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
                    cost += LAUNCH_CYCLES
                yield Choice(grid, stay, cost, ring), after

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
        key = self._alike(number), grid, tuple(place is None for place in where.values()), stay, level
        if key not in self._prices:
            self._prices[key] = self._price(number, grid, where, stay, level)
        cost, ring = self._prices[key]
        if cost == inf:
            raise self._error(number)
        return cost, ring

    def _first_alike(self, number: int) -> int:
        """The first operation that costs the same, wherever its tensors are: networks repeat themselves."""
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
        return self._first.setdefault((read, written), number)

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
        key = self._alike(number), grid, tuple(place is None for place in where.values()), level
        if key not in self._mapped:
            self._mapped[key] = self._mappings(number, grid, where, level)
        for mapping in self._mapped[key]:
            cost = self.cost(_with_sink(mapping, sink))
            if cost < best:
                best, ring = cost, _ring(mapping)
        return best, ring

    def cost(self, mapping: Mapping) -> float:
        """Cycles, and what bytes count for beside."""
        return predict(mapping, self.chip, self.memory, self.coefficients) + self.byte_cost * _dram_bytes(mapping)

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
    used = mapping.ring_bytes
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
    return (acts + out + residual) * work.block + weights + program_bytes(mapping)
