"""What an experiment is: groups of points, those that matter most first, and what is written about them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from typing import Any

from tb.errors import BenchError
from tb.experiment.point import Point
from tb.experiment.records import Book

__all__ = ["Experiment"]


def _nothing_more(summary: Mapping[str, Any]) -> Mapping[str, Any]:
    return {}


@dataclass(frozen=True)
class Experiment:
    """A question, and the runs that answer it.

    Attributes
    ----------
    name : str
        Of its folder here, and of its files.
    question : str
        In one line.
    groups : dict of str to sequence of Point
        By name, in the order in which they are run. Groups may share points.
    page : callable
        From the records to the page, in Markdown; `<name>.svg` beside it is its picture.
    picture : callable
        From the records to the picture, an SVG. It may raise ModuleNotFoundError without the extra `plot`.
    more : callable
        From a summary, or a check, to facts that records keep beside those of all experiments.
    studies : dict of str to callable
        What is computed beside the runs, by name: figures by what they are of.
    """

    name: str
    question: str
    groups: Mapping[str, Sequence[Point]]
    page: Callable[[Book], str]
    picture: Callable[[Book], str]
    more: Callable[[Mapping[str, Any]], Mapping[str, Any]] = _nothing_more
    studies: Mapping[str, Callable[[], Mapping[str, float]]] = field(default_factory=dict)

    @property
    def points(self) -> list[Point]:
        """All points once, in the order of the groups."""
        return list(dict.fromkeys(point for group in self.groups.values() for point in group))

    def select(self, only: str | None = None, nets: str | None = None) -> list[Point]:
        """The points of groups, or of names with * and ?, of networks.

        Parameters
        ----------
        only : str, optional
            Groups or names, with commas between; all otherwise.
        nets : str, optional
            Networks, with commas between; all otherwise.

        Raises
        ------
        BenchError
            If a word names nothing.
        """
        chosen = self.points
        if only is not None:
            wanted = {point for word in only.split(",") for point in self._named(word.strip())}
            chosen = [point for point in chosen if point in wanted]
        if nets is not None:
            names = [net.strip() for net in nets.split(",")]
            known = sorted({point.net for point in self.points})
            for name in names:
                if name not in known:
                    raise BenchError(f"NETS: {self.name} has no network {name!r}; it has {', '.join(known)}")
            chosen = [point for point in chosen if point.net in names]
        if not chosen:
            raise BenchError(f"ONLY={only} NETS={nets}: no point is both; leave one of them out")
        return chosen

    def _named(self, word: str) -> Sequence[Point]:
        if word in self.groups:
            return self.groups[word]
        found = [point for point in self.points if fnmatchcase(point.name, word)]
        if not found:
            raise BenchError(
                f"ONLY: {self.name} has nothing called {word!r}; give groups ({', '.join(self.groups)}) or names of "
                f"points such as {self.points[0].name}, where * stands for anything"
            )
        return found
