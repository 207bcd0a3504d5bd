"""Choice among the ways to do a task: every engine bids, and the estimator compares the bids' best mappings."""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass
from typing import Protocol

from estimator import Coefficients, MemoryTiming, fastest
from rtl.contract.params import ChipParams, CoreParams
from scheduler.code.draft import Draft
from scheduler.engines import bids
from scheduler.errors import PlanError
from scheduler.map.mapping import Mapping
from scheduler.map.predict import predict
from scheduler.map.search import best_mappings
from scheduler.map.split import split_channels, split_rows
from scheduler.work.task import Task
from scheduler.work.work import Work

__all__ = ["Chooser", "Policy", "Search"]


@dataclass(frozen=True)
class Policy:
    """How many mappings of a task the estimator compares, and which of them count as equally fast.

    Attributes
    ----------
    candidates : int
        Of most tasks.
    slow_candidates : int
        Where the memory is slow: bytes decide there, and the closed form counts them.
    many_instructions : int
        Of a launch; with more, the closed form decides alone.
    pooled_candidates, pooled_per_split, pooled_instructions : int
        With a fused pool, tiles of many shapes promise nearly the same: the first few of every split are compared, up
        to so many instructions of all together.
    alike : float
        Mappings that are estimated to take up to this share of cycles more than the fastest one are as fast, as far as
        an estimate tells: the one that moves fewest bytes is taken.
    """

    candidates: int = 16
    slow_candidates: int = 6
    many_instructions: int = 6000
    pooled_candidates: int = 100
    pooled_per_split: int = 4
    pooled_instructions: int = 12_000
    alike: float = 0.002


class Search(Protocol):
    """Mappings of a work that fit, best first."""

    def __call__(
        self, work: Work, cores: tuple[int, ...], chip: ChipParams, memory: MemoryTiming, count: int = 1
    ) -> list[Mapping]:
        """At most `count`, at least one.

        Raises
        ------
        PlanError
            If none fits.
        """
        ...


@dataclass(frozen=True)
class _Found:
    """A mapping of a work on all cores of a kind, and its predicted cycles."""

    cycles: float
    core: CoreParams
    mapping: Mapping


class Chooser:
    """Drafts of tasks on one chip; on equal cores, works of a kind that was met before are mapped as then.

    Parameters
    ----------
    search : Search
        Where mappings come from.
    """

    def __init__(
        self, chip: ChipParams, memory: MemoryTiming, policy: Policy | None = None, search: Search = best_mappings
    ) -> None:
        self.chip, self.memory, self.search = chip, memory, search
        self.policy = policy or Policy()
        self.kinds: dict[CoreParams, tuple[int, ...]] = {}
        for index, core in enumerate(chip.cores):
            self.kinds[core] = (*self.kinds.get(core, ()), index)
        self._known: dict[Hashable, tuple[int, Mapping]] = {}
        self._coefficients = Coefficients.load()

    def choose(self, task: Task, top: int) -> Draft:
        """The best draft, its constants from `top` on.

        Raises
        ------
        PlanError
            If the task fits in no way; names it, what is too big, and the parameter to raise.
        """
        if len(self.kinds) > 1:
            return self._compare({core: bids(task, core) for core in self.kinds}, top)
        return self.choose_among(bids(task, self.chip.cores[0]), top)

    def choose_among(self, works: list[Work], top: int) -> Draft:
        """The best draft of several bids for equal cores.

        Raises
        ------
        PlanError
            As `choose`.
        """
        core = self.chip.cores[0]
        kind = tuple(work.kind for work in works)
        if kind in self._known:
            number, mapping = self._known[kind]
            return self._draft(mapping.of(works[number]), top=top)
        draft = self._compare({core: works}, top)
        ((mapping,),) = draft.parts
        self._known[kind] = works.index(mapping.work), mapping
        return draft

    def _compare(self, works: dict[CoreParams, list[Work]], top: int) -> Draft:
        """The closed form's best mappings, compared by the estimator; equal cores alone, or all cores together."""
        found = self._search(works)
        drafts = [self._draft(found[0].mapping, top=top)]
        if drafts[0].instructions > self.policy.many_instructions:
            return drafts[0]
        drafts += self._others(found, drafts[0], top) + self._shared(found, top)
        if len(drafts) == 1:
            return drafts[0]
        return drafts[fastest(drafts, self.chip, self.memory, self._coefficients, self.policy.alike)]

    def _search(self, works: dict[CoreParams, list[Work]]) -> list[_Found]:
        """Mappings of all bids, best prediction first."""
        found: list[_Found] = []
        errors: list[PlanError] = []
        for core, work in ((core, work) for core, of_core in works.items() for work in of_core):
            count = self._candidates if work.pool is None else self.policy.pooled_candidates
            try:
                mappings = self.search(work, self.kinds[core], self.chip, self.memory, count)
            except PlanError as error:
                errors.append(error)
                continue
            if work.pool is not None:
                mappings = self._of_every_split(mappings)
            found += [_Found(self._predict(mapping), core, mapping) for mapping in mappings]
        if not found:
            raise errors[0]
        return sorted(found, key=lambda item: item.cycles)

    def _of_every_split(self, mappings: list[Mapping]) -> list[Mapping]:
        """The first few mappings of every split over the cores."""
        splits: dict[int, list[Mapping]] = {}
        for mapping in mappings:
            splits.setdefault(mapping.g_oc, []).append(mapping)
        chosen = {id(mapping) for group in splits.values() for mapping in group[: self.policy.pooled_per_split]}
        return [mapping for mapping in mappings if id(mapping) in chosen]

    def _others(self, found: list[_Found], first: Draft, top: int) -> list[Draft]:
        """Drafts that are worth comparing with the first one."""
        if found[0].mapping.work.pool is None:
            return [self._draft(item.mapping, top=top) for item in found[1 : self._candidates]]
        instructions = first.instructions
        drafts: list[Draft] = []
        for item in found[1:]:
            if instructions > self.policy.pooled_instructions:
                break
            drafts.append(self._draft(item.mapping, top=top))
            instructions += drafts[-1].instructions
        return drafts

    @property
    def _candidates(self) -> int:
        """Mappings of a task without a fused pool that are compared."""
        slow = self.memory.one_way(self.chip.link_bytes) < self.chip.link_bytes
        return self.policy.slow_candidates if slow else self.policy.candidates

    def _shared(self, found: list[_Found], top: int) -> list[Draft]:
        """Drafts in which unequal cores share the task in proportion to their speed, each by its best bid."""
        best: dict[CoreParams, _Found] = {}
        for item in found:
            best.setdefault(item.core, item)
        if len(best) < 2:
            return []
        order = [core for core in self.kinds if core in best]
        works = {core: best[core].mapping.work for core in order}
        speeds = {core: 1 / best[core].cycles for core in order}
        drafts = []
        for shares in (split_rows(works, speeds), split_channels(works, speeds)):
            try:
                mappings = [
                    self.search(share, self.kinds[core], self.chip, self.memory)[0] for core, share in shares.items()
                ]
            except PlanError:
                continue
            if len(mappings) > 1:
                drafts.append(self._draft(*mappings, top=top))
        return drafts

    def _predict(self, mapping: Mapping) -> float:
        return predict(mapping, self.chip, self.memory, self._coefficients)

    def _draft(self, *mappings: Mapping, top: int) -> Draft:
        return Draft.of([mappings], self.chip, top)
