"""Launches from choices: their programs, what is said of their parts, and the plan that they are in."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property, partial

from golden.int8.batch import batched, of_picture
from golden.int8.qnodes import QHost
from scheduler.choose import Chooser
from scheduler.code.draft import Draft
from scheduler.errors import PlanError
from scheduler.fuse.addresses import Addresses
from scheduler.fuse.form import Form
from scheduler.fuse.search import Choice, part_budget
from scheduler.map.mapping import Mapping
from scheduler.map.search import best_mappings
from scheduler.place import place_tensors
from scheduler.plan.bump import Bump
from scheduler.plan.program import FETCH_SLACK, Part, Placement, Plan, Segment, Step
from scheduler.plan.residence import Residence, Resident
from scheduler.rounds import host_steps, name_of, nodes_of, rounds, tensors_of
from scheduler.work.work import Work

__all__ = ["Drafted", "LaunchWriter"]


@dataclass(frozen=True, eq=False)
class Drafted:
    """The draft of a launch, and what it was made of.

    Attributes
    ----------
    choices : dict of int to Choice
        Of its operations.
    addresses : Addresses
    draft : Draft
        For the pictures of the first round.
    """

    choices: dict[int, Choice]
    addresses: Addresses
    draft: Draft

    @cached_property
    def pieces(self) -> list[tuple[int, int]]:
        """(operation, strip) of every part."""
        return _pieces(self.choices)


def _pieces(choices: dict[int, Choice]) -> list[tuple[int, int]]:
    """(operation, strip) of every part of a launch, in order; a chain goes strip by strip."""
    pieces: list[tuple[int, int]] = []
    for number, choice in choices.items():
        chain = choice.chain
        if chain is None:
            pieces.append((number, 0))
        elif chain.first == number:
            pieces += [(n, strip) for strip in range(chain.strips) for n in range(chain.first, chain.end)]
    return pieces


class LaunchWriter:
    """Drafts of launches of a form, and plans."""

    def __init__(self, form: Form) -> None:
        self.form = form

    def plan(self, choices: dict[int, Choice], launches: Sequence[Sequence[int]]) -> Plan:
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
        form, batch, overlap = self.form, self.form.batch, self.form.terms.overlap
        kept = {form.output(number) for number, choice in choices.items() if choice.stay}
        together = [[node.name for n in numbers for node in form.steps[n].done] for numbers in launches]
        shared = filter(None, together)
        placements, end = place_tensors(
            form.graph, form.chip, form.pools, form.parents, kept, shared, batch, form.input_layout
        )
        whole = batched(form.graph, batch)
        bump = Bump(end)
        steps: list[Step] = []
        segments: list[Segment] = []
        for numbers in launches:
            first = form.steps[numbers[0]]
            if isinstance(first.node, QHost):
                steps += host_steps(first.node, first.done, whole)
                continue
            drafted = self.draft(numbers, choices, placements, bump.top)
            for pictures in rounds(batch, choices[numbers[0]].pictures):
                of_round = drafted.draft
                if pictures.start > 1:
                    of_round = of_round.moved(pictures.start - 1, form.chip, bump.top)
                if not overlap:
                    of_round = of_round.serial(form.chip, bump.top)
                name = name_of(self._name(numbers), pictures, batch)
                launch, needed = of_round.place(name, self._parts(drafted, pictures), bump)
                steps.append(replace(launch, residents=tuple(self._residents(drafted, pictures))))
                segments += needed
        tensors = tensors_of(placements, batch)
        return Plan(form.chip, whole, tuple(steps), tuple(segments), tensors, bump.top + FETCH_SLACK)

    def mappings(self, choices: dict[int, Choice], launches: Sequence[Sequence[int]]) -> dict[int, Mapping]:
        """How every operation of the chip is done, of strips the first."""
        found: dict[int, Mapping] = {}
        for numbers in launches:
            if numbers[0] in choices:
                drafted = self.draft(numbers, choices)
                for (number, _), (mapping,) in zip(drafted.pieces, drafted.draft.parts, strict=True):
                    found.setdefault(number, mapping)
        return found

    # --- programs -----------------------------------------------------------------------------------------------

    def draft(
        self,
        numbers: Sequence[int],
        choices: dict[int, Choice],
        placements: dict[str, Placement] | None = None,
        top: int = 0,
    ) -> Drafted:
        """The launch of these operations.

        Parameters
        ----------
        placements : dict of str to Placement, optional
            Where tensors in DRAM lie; each at a place of its own, if that is not given.
        top : int
            Where constants lie in DRAM.

        Raises
        ------
        PlanError
            If it does not fit.
        """
        form = self.form
        search = form.searches[choices[numbers[0]].pictures]
        in_memory = search.stays.placements if placements is None else placements
        chosen = {number: choices[number] for number in numbers}
        addresses = Addresses.found(form, chosen)
        if addresses is None:
            first, last = (form.steps[numbers[place]].label for place in (0, -1))
            raise PlanError(
                f"launch {first!r}..{last!r}: what stays leaves no room in one piece for what is loaded; put a tensor "
                "into DRAM, or raise core.act_bytes"
            )
        stays = form.staying(chosen)

        def of(name: str) -> Placement | Residence:
            root = form.tensors.root(name)
            stay = stays.get(root)
            if stay is None:
                return in_memory[name].some(search.stays.pictures)
            return search.stays.tensor(name, stay, addresses.of[root].first)

        if len(numbers) == 1:
            draft = self._alone(search.stays.works(numbers[0], of), choices[numbers[0]], top)
            return Drafted(chosen, addresses, draft)
        mappings: list[list[Mapping]] = []
        for place, (number, strip) in enumerate(_pieces(chosen)):
            choice = choices[number]
            act = addresses.ring(number, choice, follows=number > numbers[0])
            budget = part_budget(form.chip, place, act, choice.all_weights)
            if choice.chain is None:
                works = search.stays.works(number, of)
            else:
                at = {root: where.first for root, where in addresses.of.items()}
                works = search.strip_works(search.strips(choice.chain), number, strip, of, at)
            mappings.append([search.mapping(number, works, choice.grid, budget, choice.tiles)])
        return Drafted(chosen, addresses, Draft.of(mappings, form.chip, top))

    def _alone(self, works: list[Work], choice: Choice, top: int) -> Draft:
        """A launch of one operation: as the estimator finds it fastest, or as somebody wrote it."""
        form = self.form
        draft = form.findings.chooser.choose_among(works, top)
        ((mapping,),) = draft.parts
        grid, tiles = (mapping.g_oc, len(mapping.tiling.row_parts)), mapping.tiling.tiles_y
        if not choice.written or (grid == choice.grid and choice.tiles in (None, tiles)):
            return draft
        search = partial(best_mappings, grid=choice.grid, tiles=choice.tiles)
        return Chooser(form.chip, form.memory, form.terms.policy, search).choose_among(works, top)

    # --- what is said of them -----------------------------------------------------------------------------------

    def _name(self, numbers: Sequence[int]) -> str:
        steps = self.form.steps
        last = steps[numbers[-1]].label
        return last if len(numbers) == 1 else f"{steps[numbers[0]].name}..{last}"

    def _parts(self, drafted: Drafted, pictures: range) -> tuple[Part, ...]:
        return tuple(self._part(drafted, place, pictures) for place in range(len(drafted.draft.parts)))

    def _part(self, drafted: Drafted, place: int, pictures: range) -> Part:
        (number, strip), draft = drafted.pieces[place], drafted.draft
        step, op, described = self.form.steps[number], draft.parts[place][0].work.op, draft.described(place)
        done, total = nodes_of(step.done, pictures, self.form.batch), step.macs * len(pictures)
        chain = drafted.choices[number].chain
        if chain is None:
            return Part(done, op, described, total)
        count = chain.strips
        macs = total * (strip + 1) // count - total * strip // count
        described = f"strip {strip + 1} of {count}: {described}"
        return Part(done if strip == count - 1 else (), op, described, macs, strip_of=done)

    def _residents(self, drafted: Drafted, pictures: range) -> Iterator[Resident]:
        """What stays between the parts of a launch, of each picture."""
        for resident in self._residents_together(drafted):
            for picture, residence in zip(pictures, resident.residence.each(), strict=True):
                name = of_picture(resident.tensor, picture, self.form.batch)
                yield replace(resident, tensor=name, residence=residence)

    def _residents_together(self, drafted: Drafted) -> Iterator[Resident]:
        """The same, of all pictures together, by their names in the network."""
        tensors, at = self.form.tensors, drafted.addresses.of
        places: dict[int, list[int]] = {}
        for place, (number, _) in enumerate(drafted.pieces):
            places.setdefault(number, []).append(place)
        for number, choice in drafted.choices.items():
            root, search = self.form.output(number), self.form.searches[choice.pictures]
            if choice.chain is not None and number < choice.chain.end - 1:
                strips = search.strips(choice.chain)
                for strip in range(choice.chain.strips):
                    first = max(0, strip - strips.slots(number) + 1)  # rows that this strip shares with the one before
                    held = strips.tensor(number, strip, at[root].first)
                    yield Resident(root, held, places[number][first], places[number + 1][strip])
            elif choice.stay is not None and tensors.first[root] == number:
                residence = search.stays.tensor(root, choice.stay, at[root].first)
                assert isinstance(residence, Residence)
                yield Resident(root, residence, places[number][0], places[tensors.last[root]][-1])
