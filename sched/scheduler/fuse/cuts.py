"""Where launches are cut: at places where nothing stays, so that an interruption loses as little as it can."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from itertools import accumulate, pairwise
from math import inf

from scheduler.fuse.operations import Operation, Tensors
from scheduler.fuse.search import Choice

__all__ = ["fewest_launches", "how_to_get_more", "joined", "staying_behind"]


def fewest_launches(pieces: Sequence[Sequence[int]], hosts: Sequence[bool]) -> int:
    """Launches that are left when all neighbours share one: the host's steps lie between them.

    Parameters
    ----------
    pieces : sequence of sequence of int
        Operations of the shortest launches, and each of the host by itself.
    hosts : sequence of bool
        Of each piece, whether it is the host's.
    """
    return len([run for run in _runs(hosts) if not hosts[run.start]])


def joined(
    pieces: Sequence[Sequence[int]], hosts: Sequence[bool], costs: Sequence[float], count: int
) -> list[list[int]]:
    """The pieces in so many launches; those of the host stay between them.

    Of all ways, the one with the least sum of squared lengths: a run that is interrupted at any moment has then the
    least to do again, on average. So cuts are near those of launches of one length.

    Parameters
    ----------
    pieces, hosts
        As of `fewest_launches`.
    costs : sequence of float
        Cycles of each piece.
    count : int
        Launches of the chip, from `fewest_launches` to as many as there are pieces of the chip.
    """
    begins = [run.start for run in _runs(hosts)]
    total = count + sum(hosts)
    before = list(accumulate(costs, initial=0.0))
    # best[n]: of pieces in front of `end`, as n launches and steps: the least sum, and where the last one begins.
    best: list[list[tuple[float, int]]] = [[(inf, 0)] * (total + 1) for _ in range(len(pieces) + 1)]
    best[0][0] = (0.0, 0)
    for end in range(1, len(pieces) + 1):
        earliest = max(begin for begin in begins if begin < end)
        for first in range(earliest, end):
            square = (before[end] - before[first]) ** 2
            for number in range(1, total + 1):
                best[end][number] = min(best[end][number], (best[first][number - 1][0] + square, first))
    cuts = [len(pieces)]
    for number in range(total, 0, -1):
        cuts.append(best[cuts[-1]][number][1])
    return [[number for piece in pieces[first:end] for number in piece] for first, end in pairwise(cuts[::-1])]


def _runs(hosts: Sequence[bool]) -> list[range]:
    """Neighbours that may share a launch; a step of the host is one by itself."""
    begins = [place for place, host in enumerate(hosts) if not place or host or hosts[place - 1]]
    return [range(first, end) for first, end in pairwise([*begins, len(hosts)])]


def staying_behind(
    number: int, tensors: Tensors, steps: Sequence[Operation], choices: Mapping[int, Choice]
) -> list[int]:
    """Operations whose outputs stay on the chip behind one."""
    return [
        before
        for before, choice in choices.items()
        if choice.stay and before <= number < tensors.last[tensors.root(steps[before].output)]
    ]


def how_to_get_more(
    pieces: Sequence[Sequence[int]],
    tensors: Tensors,
    steps: Sequence[Operation],
    choices: Mapping[int, Choice],
    fit: Callable[[dict[int, Choice], list[list[int]]], bool],
) -> str:
    """How to cut the longest launch that can be cut, as near to its middle as that fits, in words.

    Parameters
    ----------
    pieces : sequence of sequence of int
        Operations of every launch.
    fit : callable
        Whether choices fit the scratchpads, in such launches.
    """

    def cost(piece: Sequence[int]) -> float:
        return sum(choices[number].cost for number in piece)

    for piece in sorted((piece for piece in pieces if len(piece) > 1), key=cost, reverse=True):
        inside = [place for place in range(1, len(piece)) if steps[piece[place - 1]].done]
        for place in sorted(inside, key=lambda place: abs(cost(piece[:place]) - cost(piece) / 2)):
            behind = piece[place - 1]
            staying = {tensors.root(steps[number].output) for number in staying_behind(behind, tensors, steps, choices)}
            moved = [number for number in choices if tensors.root(steps[number].output) in staying]
            loose = {**choices, **{number: replace(choices[number], stay=None) for number in moved}}
            cut = [part for other in pieces for part in ([other[:place], other[place:]] if other is piece else [other])]
            if fit(loose, [list(launch) for launch in cut]):
                kept = ", ".join(repr(steps[number].label) for number in moved)
                return (
                    "tensors stay elsewhere: for one more, write a plan file (make schedule OUT=plan.toml), "
                    f'make output = "dram" of {kept}, and begin a [[launch]] behind {steps[behind].label!r}'
                )
    return "give fewer"
