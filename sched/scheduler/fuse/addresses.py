"""Where in the scratchpads everything lies that stays in a launch, and what is loaded."""

from __future__ import annotations

from dataclasses import dataclass

from scheduler.fuse.form import Form
from scheduler.fuse.pack import Item, largest_gap, pack
from scheduler.fuse.search import Choice
from scheduler.map.budget import Range

__all__ = ["Addresses"]


@dataclass(frozen=True, eq=False)
class Addresses:
    """Scratchpad bytes, the same on every core.

    Attributes
    ----------
    of : dict of str to Range
        By the tensor inside which it lies, what stays.
    """

    of: dict[str, Range]
    _form: Form
    _items: dict[str, Item]

    @staticmethod
    def found(form: Form, choices: dict[int, Choice]) -> Addresses | None:
        """Of what stays between these operations; None if it does not fit, or leaves no room for what is loaded."""
        rings = {number: Item(number, number, choice.ring) for number, choice in choices.items() if choice.ring}
        for own_rows in (True, False):  # what is shared takes less room, but is harder to place
            items, places = _items(form, choices, own_rows)
            packed = pack({**items, **rings}, form.stays.core.act_bytes)
            if packed is not None:
                own = {root: packed[root] for root in items}
                return Addresses({**own, **{root: own[place] for root, place in places.items()}}, form, items)
        return None

    def ring(self, number: int, choice: Choice, *, follows: bool) -> Range:
        """Room for what an operation loads: if possible free already during the part in front, if it follows one.

        At either end of the gap in turn, so that two parts behind each other can both load.
        """
        core = self._form.stays.core
        if not choice.ring:
            return Range(0, core.act_word_bytes(self._form.chip.link_bytes))
        own = {root: self.of[root] for root in self._items}
        gap = largest_gap(self._items, own, number - follows, number, core.act_bytes)
        if gap.size < choice.ring:
            gap = largest_gap(self._items, own, number, number, core.act_bytes)
        return Range(gap.end - choice.ring, gap.end) if number % 2 else Range(gap.first, gap.first + choice.ring)


def _items(form: Form, choices: dict[int, Choice], own_rows: bool) -> tuple[dict[str, Item], dict[str, str]]:
    """What stays between these operations; of outputs in the place of a residual, which.

    Parameters
    ----------
    own_rows : bool
        Outputs of cores that write to themselves alone take the place of what the operation in front has stored, too.
    """
    items: dict[str, Item] = {}
    places: dict[str, str] = {}
    stays = form.staying(choices)
    for number, choice in choices.items():
        root, search = form.output(number), form.searches[choice.pictures]
        stay = stays[root]
        if stay is None or form.tensors.first[root] != number:
            continue
        last = _until(form.tensors.last[root], choices)
        if choice.chain is not None:  # what a chain takes or puts out is there while all of it runs
            first, end = choice.chain.first, choice.chain.end
            inside = number < end - 1
            nbytes = search.strips(choice.chain).nbytes(number) if inside else search.stays.nbytes(root, stay)
            items[root] = Item(first, last, nbytes)
            continue
        residual = search.stays.in_place(number, stays, choice.grid if own_rows else None)
        if residual is not None:
            place = places.get(residual, residual)
            places[root] = place
            items[place] = items[place]._replace(last=last)
        else:
            items[root] = Item(number, last, search.stays.nbytes(root, stay))
    return items, places


def _until(last: int, choices: dict[int, Choice]) -> int:
    """The last operation during which something is there that is read last by such a one."""
    choice = choices.get(last)
    return last if choice is None or choice.chain is None else choice.chain.end - 1
