"""Runs against kept figures: what changed, by network and layer, and whether anything got worse."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from rich import box
from rich.console import Console
from rich.table import Table

from tb.bench.records import ASKED, Figures, KeptRun
from tb.errors import BenchError
from tb.report.layers import by_name

__all__ = ["Change", "RunChange", "compare", "describe_verdict", "parse_tolerance", "print_changes", "require_alike"]


@dataclass(frozen=True)
class Change:
    """A layer, or a whole run, before and after.

    Attributes
    ----------
    before, after : Figures, optional
        None where there was none, or is none any more.
    """

    before: Figures | None
    after: Figures | None

    @property
    def name(self) -> str:
        figures = self.after or self.before
        assert figures is not None
        return figures.name

    @property
    def alone(self) -> str:
        """'new' or 'gone' where there is nothing to compare with; '' otherwise."""
        return "new" if self.before is None else "gone" if self.after is None else ""

    @property
    def lost_cycles(self) -> int:
        """More cycles than before; negative where it got faster, 0 where there is nothing to compare with."""
        return self.after.cycles - self.before.cycles if self.before and self.after else 0

    @property
    def lost_bytes(self) -> int:
        """More bytes of DRAM traffic than before."""
        return self.after.moved - self.before.moved if self.before and self.after else 0

    @property
    def loss(self) -> float:
        """More cycles, as a share of those before."""
        return self.lost_cycles / self.before.cycles if self.before and self.before.cycles else 0.0

    @property
    def differs(self) -> bool:
        return self.before != self.after

    @property
    def _measured(self) -> Iterator[tuple[int, int]]:
        """Cycles, and DRAM bytes, before and after; none where there is nothing to compare with."""
        if self.before and self.after:
            yield self.before.cycles, self.after.cycles
            yield self.before.moved, self.after.moved

    def worse(self, tolerance: float) -> bool:
        """Whether it takes more cycles or DRAM bytes than before by more than so many percent, or lost its bits."""
        if self.before is None or self.after is None:
            return False
        slower = any(after > before * (1 + tolerance / 100) for before, after in self._measured)
        return slower or (self.before.bit_exact and not self.after.bit_exact)

    def shifted(self, tolerance: float) -> bool:
        """Whether cycles, DRAM bytes or bits are not as before, or there is nothing before or after."""
        if self.before is None or self.after is None:
            return True
        far = any(abs(after - before) > before * tolerance / 100 for before, after in self._measured)
        return far or self.before.bit_exact != self.after.bit_exact


@dataclass(frozen=True)
class RunChange:
    """A run before and after, and those of its layers that changed, greatest loss first."""

    total: Change
    layers: tuple[Change, ...]

    @property
    def differs(self) -> bool:
        return self.total.differs or bool(self.layers)

    def worse(self, tolerance: float) -> bool:
        """Whether it or one of its layers got worse."""
        return any(change.worse(tolerance) for change in (self.total, *self.layers))

    def shifted(self, tolerance: float) -> bool:
        """Whether it or one of its layers has shifted."""
        return any(change.shifted(tolerance) for change in (self.total, *self.layers))


def parse_tolerance(text: str) -> float:
    """The percentage that TOLERANCE= gives.

    Raises
    ------
    BenchError
        If it is none.
    """
    try:
        percent = float(text)
    except ValueError:
        percent = -1.0
    if not 0 <= percent < float("inf"):
        raise BenchError(f"TOLERANCE={text}: give percent from 0 on, such as 0.5")
    return percent


def require_alike(before: KeptRun, asked: Mapping[str, Any], what: str, remedy: str) -> None:
    """Refuse to compare a run with one of another schedule, chip or memory.

    Parameters
    ----------
    asked : dict of str
        Of the run, as `asked_of` has it.
    what, remedy : str
        How the user called the file with the earlier run, and what to do.

    Raises
    ------
    BenchError
        That names the first difference.
    """
    for name, words in ASKED.items():
        there, here = before.asked[name], asked[name]
        if there != here:
            if isinstance(there, dict) and isinstance(here, dict):
                place, there, here = next(_differences(there, here, words))
            else:
                place = words
            raise BenchError(f"{what}: {before.name} is of another {words} ({place} {there}, here {here}); {remedy}")


def _differences(there: dict[str, Any], here: dict[str, Any], words: str) -> Iterator[tuple[str, Any, Any]]:
    """Names and values that differ, in tables within tables too."""
    for name in dict.fromkeys([*there, *here]):
        first, second = there.get(name), here.get(name)
        if isinstance(first, dict) and isinstance(second, dict):
            yield from _differences(first, second, name)
        elif first != second:
            yield (name if words in ASKED.values() else f"{words}.{name}"), first, second


def compare(before: Sequence[KeptRun], after: Sequence[KeptRun]) -> list[RunChange]:
    """What changed, by name of the run; the greatest loss of cycles, as a share, comes first."""
    old, new = ({run.name: run for run in runs} for runs in (before, after))
    found = [_of_run(old.get(name), new.get(name)) for name in dict.fromkeys([*old, *new])]
    return sorted(
        (change for change in found if change.differs),
        key=lambda change: (-change.total.loss, -change.total.lost_bytes, change.total.name),
    )


def _of_run(before: KeptRun | None, after: KeptRun | None) -> RunChange:
    if before is None or after is None:
        return RunChange(Change(before and before.total, after and after.total), ())
    old, new = (by_name(run.layers, lambda layer: layer.name) for run in (before, after))
    layers = [Change(old.get(key), new.get(key)) for key in dict.fromkeys([*old, *new])]
    changed = [change for change in layers if change.differs]
    changed.sort(key=lambda change: (-change.lost_cycles, -change.lost_bytes))
    return RunChange(Change(before.total, after.total), tuple(changed))


def print_changes(changes: Sequence[RunChange], console: Console) -> None:
    """A line for each run and each of its layers that changed; figures that did not are left out."""
    if not changes:
        return
    table = Table(box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0))
    table.add_column("run, layer", overflow="fold")
    for name in ("cycles", "DRAM bytes", "estimate"):
        table.add_column(name, justify="right")
    table.add_column("bits", no_wrap=True)
    for change in changes:
        table.add_row(_named(change.total), *_cells(change.total), style="bold")
        for layer in change.layers:
            table.add_row(f"  {_named(layer)}", *_cells(layer))
    console.print(table, highlight=False)


def _named(change: Change) -> str:
    return ", ".join(filter(None, (change.name, change.alone)))


def _cells(change: Change) -> list[str]:
    before, after = change.before, change.after
    if before is None or after is None:
        only = after or before
        assert only is not None
        return [f"{only.cycles:,}", f"{only.moved:,}", f"{only.estimated_cycles:,}", ""]
    bits = {(True, True): "", (True, False): "DIFFER", (False, True): "equal again", (False, False): "differ still"}
    return [
        _cell(before.cycles, after.cycles),
        _cell(before.moved, after.moved, same=before.dram_bytes == after.dram_bytes),
        _cell(before.estimated_cycles, after.estimated_cycles),
        bits[before.bit_exact, after.bit_exact],
    ]


def _cell(before: int, after: int, *, same: bool = True) -> str:
    """'1,000 -> 1,010 +1.0 %'; nothing where nothing changed, and a word where only the classes did."""
    if before == after:
        return "" if same else "other classes"
    share = f" {100 * (after / before - 1):+.2f} %" if before else ""
    return f"{before:,} -> {after:,}{share}"


def describe_verdict(changes: Sequence[RunChange], count: int, tolerance: float, what: str) -> str:
    """How many of so many runs changed against `what`, and how many of these got worse."""
    worse = [change.total.name for change in changes if change.worse(tolerance)]
    past = f" by more than {tolerance:g} %" if tolerance else ""
    runs = f"{count} run{'s' * (count != 1)}"
    if not changes:
        return f"{runs} as in {what}: no cycle, byte, estimate or bit changed"
    new, gone = (sum(change.total.alone == word for change in changes) for word in ("new", "gone"))
    told = f"{len(changes) - new - gone} of {runs} changed against {what}"
    told += "".join(f", {number} {word}" for number, word in ((new, "new"), (gone, "gone")) if number)
    if worse:
        return f"{told}; worse{past}, or a layer of it: {', '.join(worse)}"
    return f"{told}; nothing got worse{past}"
