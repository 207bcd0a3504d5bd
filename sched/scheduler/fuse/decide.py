"""The choices of one form of a network: what the search finds, where addresses are found, and the estimator agrees."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from functools import cached_property
from operator import attrgetter
from typing import NamedTuple

from estimator import estimate
from scheduler.code.draft import Draft
from scheduler.errors import PlanError
from scheduler.fuse.addresses import Addresses
from scheduler.fuse.cuts import fewest_launches, how_to_get_more, joined, staying_behind
from scheduler.fuse.form import Alone, Form
from scheduler.fuse.launches import LaunchWriter
from scheduler.fuse.search import LAUNCH_CYCLES, Choice, Search, best_of
from scheduler.plan.program import Plan

__all__ = ["Decider"]

CLEAR = 1.25
"""A launch whose layers would cost so much more one by one, as predicted, needs no estimate."""
NEARBY = 4
"""Borders are tried so many operations to either side."""
LIKELY = 1.01
"""Choices with a border elsewhere that are predicted to cost so much more need no estimate."""


class _Spent(NamedTuple):
    """Cycles, and cost: these, and what bytes count for beside."""

    cycles: float
    cost: float


_CYCLES: Callable[[Alone | _Spent], float] = attrgetter("cycles")
_COST: Callable[[Alone | _Spent], float] = attrgetter("cost")


class Decider:
    """Decides how every operation of a form is done, and which share a launch.

    Attributes
    ----------
    writer : LaunchWriter
        What makes programs of that.
    """

    def __init__(self, form: Form) -> None:
        self.form, self.writer = form, LaunchWriter(form)
        self._known: dict[tuple[int, tuple[Choice, ...]], _Spent] = {}

    @cached_property
    def plan(self) -> Plan:
        """By the best choices."""
        return self.writer.plan(*self.decided())

    def decided(self) -> tuple[dict[int, Choice], list[list[int]]]:
        """The best choices, and the operations of every launch, in as many launches as are wanted.

        Raises
        ------
        PlanError
            If there cannot be so many, or so few.
        """
        choices = self._settled
        launches = self.launches(choices)
        wanted = self.form.terms.launches
        return (choices, launches) if wanted is None else self._in_launches(choices, launches, wanted)

    @cached_property
    def _settled(self) -> dict[int, Choice]:
        """The best choices, of a batch with its borders where the estimator finds them cheapest.

        A border is where the number of pictures at once changes. What a launch loses there, as it begins with an empty
        chip and ends with its last STOREs, no search sees.
        """
        best = self.choices
        while others := list(self._with_moved_borders(best)):
            moved = min([best, *others], key=self._total)
            if moved is best:
                break
            best = moved  # it costs less, so this ends
        return best

    def _with_moved_borders(self, choices: dict[int, Choice]) -> Iterator[dict[int, Choice]]:
        """The same with one border at another place nearby, where that is not predicted to cost much more."""
        limit = LIKELY * _predicted(choices)
        for begin, border, behind in self._borders(choices):
            before, after = (self.form.searches[choices[number].pictures] for number in (begin, border))
            nearby = range(max(begin + 1, border - NEARBY), min(behind, border + NEARBY + 1))
            for place in (place for place in nearby if place != border):
                with suppress(PlanError):  # an operation may not fit with so many pictures at once
                    found = [*self._fitting(begin, place, [before]), *self._fitting(place, behind, [after])]
                    other = choices | dict(zip(range(begin, behind), found, strict=True))
                    if _predicted(other) <= limit:
                        yield self._confirmed(other)

    def _borders(self, choices: dict[int, Choice]) -> Iterator[tuple[int, int, int]]:
        """(begin, border, end): operations on either side of a border, with one number of pictures at once each."""
        for first, end in self.form.stretches():
            changes = [n for n in range(first + 1, end) if choices[n].pictures != choices[n - 1].pictures]
            places = [first, *changes, end]
            yield from zip(places, changes, places[2:], strict=False)

    @cached_property
    def total(self) -> float:
        """Estimated cost of the best choices."""
        return self._total(self.choices)

    @cached_property
    def cycles(self) -> float:
        """Estimated cycles of the best choices."""
        return self._total(self.choices, _CYCLES)

    @cached_property
    def predicted(self) -> float:
        """Cost of what the search finds, as it predicts it."""
        return _predicted(self._found)

    @cached_property
    def _found(self) -> dict[int, Choice]:
        """What the search finds, of every operation of the chip."""
        return self._choices(list(self.form.searches.values()))

    @cached_property
    def choices(self) -> dict[int, Choice]:
        """The best that the search finds and the estimator confirms, of every operation of the chip."""
        searches = list(self.form.searches.values())
        best = self._confirmed(self._found)
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
            search = self.form.searches[choices[numbers[0]].pictures]
            alone = numbers if len(numbers) == 1 else ()
            try:
                found |= search.priced({number: choices[number] for number in numbers}, alone)
            except PlanError as error:
                raise PlanError(f"launch {place}, {error}") from error
        return found

    def launches(self, choices: dict[int, Choice], numbers: Iterable[int] | None = None) -> list[list[int]]:
        """Numbers of the operations of every launch, and of the host between them: cut where nothing goes on.

        Parameters
        ----------
        numbers : iterable of int, optional
            Of which operations; of all.
        """
        launches: list[list[int]] = []
        goes_on = False
        for number in range(len(self.form.steps)) if numbers is None else numbers:
            if not goes_on:
                launches.append([])
            launches[-1].append(number)
            goes_on = not self.form.on_host(number) and self.alive_behind(number, choices)
        return launches

    def alive_behind(self, number: int, choices: dict[int, Choice]) -> bool:
        """Whether something stays behind an operation, or it is one of several that complete a node together."""
        steps = self.form.steps
        return not steps[number].done or bool(staying_behind(number, self.form.tensors, steps, choices))

    # --- what the search finds ----------------------------------------------------------------------------------

    def _choices(self, searches: Sequence[Search]) -> dict[int, Choice]:
        """Of every operation of the chip."""
        choices: dict[int, Choice] = {}
        for first, end in self.form.stretches():
            choices.update(zip(range(first, end), self._fitting(first, end, searches), strict=True))
        return choices

    def _fitting(self, first: int, end: int, searches: Sequence[Search]) -> list[Choice]:
        """The best choices for which addresses are found: scratchpads may be too scattered to be filled whole."""
        capacity = self.form.stays.core.act_bytes
        while True:
            choices = best_of(searches, first, end, capacity)
            if Addresses.found(self.form, dict(zip(range(first, end), choices, strict=True))) is not None:
                return choices
            capacity -= capacity // 16

    # --- what the estimator says of it --------------------------------------------------------------------------

    def _confirmed(self, choices: dict[int, Choice]) -> dict[int, Choice]:
        """The same, but launches that the estimator finds dearer than their layers one by one are taken apart."""
        confirmed = dict(choices)
        for numbers in self.launches(choices):
            if len(numbers) == 1:
                if len(self.form.searches) > 1 and numbers[0] in choices:
                    confirmed[numbers[0]] = self._alone(numbers[0]).choice
                continue
            together = sum(choices[number].cost for number in numbers)
            if sum(map(self._predicted_alone, numbers)) > CLEAR * together:
                continue
            spent = self._spent(numbers, choices)
            if self._more_than_apart(numbers, spent.cost, _COST):
                confirmed |= self._apart_from(numbers)
            elif self._more_than_apart(numbers, spent.cycles, _CYCLES):
                confirmed |= self._quicker(numbers, choices[numbers[0]].pictures)
        return confirmed

    def _quicker(self, numbers: Sequence[int], pictures: int) -> dict[int, Choice]:
        """Choices for a launch that saves bytes and takes longer for it: nobody who fuses wants to wait for that."""
        search = self.form.searches[pictures].for_cycles
        try:
            found = self._fitting(numbers[0], numbers[-1] + 1, [search])
        except PlanError:
            return self._apart_from(numbers)
        choices = dict(zip(numbers, found, strict=True))
        launches = self.launches(choices, numbers)
        cycles = sum(
            self._spent(some, choices).cycles if len(some) > 1 else self._alone(some[0]).cycles for some in launches
        )
        return choices if cycles <= sum(self._alone(number).cycles for number in numbers) else self._apart_from(numbers)

    def _apart_from(self, numbers: Sequence[int]) -> dict[int, Choice]:
        """Operations with nothing that stays; several that complete a node together still share a launch."""
        steps = self.form.steps
        return {
            number: self._alone(number).choice
            if steps[number].done and not (number and not steps[number - 1].done)
            else self.form.search.streamed(number)
            for number in numbers
        }

    def _more_than_apart(self, numbers: Sequence[int], together: float, measure: Callable[[Alone], float]) -> bool:
        """Whether a launch takes more than its layers one by one, in cycles or in cost.

        Layers whose turn has not come count as their multiply-accumulates at least, so that few need be estimated.
        """
        steps, batch, pes = self.form.steps, self.form.batch, self.form.chip.pes
        apart = batch * sum(steps[number].macs for number in numbers) / pes
        for number in numbers:
            apart += measure(self._alone(number))
            apart -= batch * steps[number].macs / pes
            if apart >= together:
                return False
        return True

    def _predicted_alone(self, number: int) -> float:
        """Predicted cost of an operation with all its tensors in DRAM, of all rounds."""
        return min(search.rounds * LAUNCH_CYCLES + search.least(number) for search in self.form.searches.values())

    def _alone(self, number: int) -> Alone:
        """An operation with a launch of its own, with as many pictures at once as the estimator finds cheapest."""
        known, kind = self.form.findings.alone, self.form.kind(number)
        if kind not in known:
            searches = self.form.searches
            found: list[Alone] = []
            for count, search in searches.items():
                of = search.stays.placements.__getitem__
                try:
                    draft = self.form.findings.chooser.choose_among(search.stays.works(number, of), 0)
                except PlanError:
                    if not found and count == max(searches):
                        raise
                    continue
                spent = self._of_draft(draft, search.rounds)
                found.append(Alone(Choice((1, 1), None, spent.cost, 0, pictures=count), spent.cycles))
            known[kind] = min(found, key=_COST)
        return known[kind]

    def _total(self, choices: dict[int, Choice], measure: Callable[[Alone | _Spent], float] = _COST) -> float:
        """Estimated cost of everything, or its cycles."""
        return sum(
            measure(self._spent(numbers, choices) if len(numbers) > 1 else self._alone(numbers[0]))
            for numbers in self.launches(choices)
            if numbers[0] in choices
        )

    def _spent(self, numbers: Sequence[int], choices: dict[int, Choice]) -> _Spent:
        """On a launch, estimated once, in all rounds."""
        key = numbers[0], tuple([choices[number] for number in numbers])
        if key not in self._known:
            rounds = self.form.searches[choices[numbers[0]].pictures].rounds
            self._known[key] = self._of_draft(self.writer.draft(numbers, choices).draft, rounds)
        return self._known[key]

    def _of_draft(self, draft: Draft, rounds: int) -> _Spent:
        estimated = estimate(draft, self.form.chip, self.form.memory)
        nbytes = sum(estimated.dram_bytes.values())
        return _Spent(rounds * estimated.cycles, rounds * (estimated.cycles + self.form.search.byte_cost * nbytes))

    # --- as many launches as are wanted -------------------------------------------------------------------------

    def _in_launches(
        self, choices: dict[int, Choice], pieces: list[list[int]], count: int
    ) -> tuple[dict[int, Choice], list[list[int]]]:
        """The same in so many launches: neighbours share one, and weights are loaded ahead across the border."""
        hosts = [self.form.on_host(piece[0]) for piece in pieces]
        most, fewest = hosts.count(False), fewest_launches(pieces, hosts)
        if count > most:
            remedy = how_to_get_more(pieces, self.form.tensors, self.form.steps, choices, self._fit)
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
        streamed = {number: self.form.search.streamed(number) for number in sorted(singles & shared)}
        return choices | streamed, launches

    def _fit(self, choices: dict[int, Choice], launches: Sequence[Sequence[int]]) -> bool:
        """Whether the scratchpads have room for these choices."""
        try:
            priced = self.form.search.priced(choices, {launch[0] for launch in launches if len(launch) == 1})
        except PlanError:
            return False
        own = [{number: priced[number] for number in launch if number in priced} for launch in launches]
        return all(Addresses.found(self.form, chosen) is not None for chosen in own)


def _predicted(choices: dict[int, Choice]) -> float:
    """Cost of choices as searches predict it."""
    return sum(choice.cost for choice in choices.values())
