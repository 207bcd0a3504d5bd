"""Where a tensor may stay: in DRAM, whole on every core, or in rows, on each core those that its readers take."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import cache

from golden.int8.qnodes import QHost
from rtl.contract.params import ChipParams
from scheduler.engines import bids
from scheduler.errors import PlanError
from scheduler.fuse.operations import Operation, Tensors
from scheduler.map.mapping import Tiling
from scheduler.map.search import grids
from scheduler.plan.layout import Blocked
from scheduler.plan.program import Placement
from scheduler.plan.residence import Residence
from scheduler.work.sink import sink_of
from scheduler.work.task import Task
from scheduler.work.work import Work

__all__ = ["WHOLE", "Grid", "Stay", "Stays", "require_equal_cores", "row_parts"]

Grid = tuple[int, int]
"""(channel parts, row parts)."""
Stay = Grid | None
"""The split of the readers, of which each core keeps its rows; `WHOLE`; None for DRAM."""
WHOLE: Grid = (1, 1)
"""All rows on every core."""


def row_parts(grid: Grid) -> Grid:
    """The rows that readers of such a split take."""
    return WHOLE if grid[1] == 1 else grid


class Stays:
    """The tensors of a network, wherever each is.

    Parameters
    ----------
    placements : dict of str to Placement
        Of all tensors, were they all in DRAM.
    pictures : int
        That are computed together, each by cores of its own; splits are over those.
    """

    def __init__(
        self,
        chip: ChipParams,
        steps: list[Operation],
        tensors: Tensors,
        placements: Mapping[str, Placement],
        pictures: int = 1,
    ) -> None:
        self.chip, self.steps, self.tensors, self.pictures = chip, steps, tensors, pictures
        self.placements = {name: placement.some(pictures) for name, placement in placements.items()}
        self.team = chip.n_cores // pictures
        self.core = chip.cores[0]
        self.groups = self.core.act_groups(chip.link_bytes)
        self.rows = cache(self._rows)
        self.grids = cache(self._grids)
        self.nbytes = cache(self._nbytes)
        self.options = cache(self._options)

    # --- works --------------------------------------------------------------------------------------------------

    def works(self, number: int, of: Callable[[str], Placement | Residence]) -> list[Work]:
        """Bids for an operation whose tensors are where `of` says.

        Raises
        ------
        PlanError
            If no engine takes it.
        """
        step = self.steps[number]
        task = Task(
            node=step.node,  # pyright: ignore[reportArgumentType]  # the host's are not asked for
            inputs=tuple(of(name) for name in step.inputs),
            residual=None if step.residual is None else of(step.residual),
            pool=step.pool,
            sink=sink_of(of(step.output)),
        )
        return bids(task, self.core)

    def tensor(self, name: str, stay: Stay, addr: int = 0) -> Placement | Residence:
        """A tensor whose root stays so, at an address of the scratchpads."""
        if stay is None:
            return self.placements[name]
        root, channel = self.tensors.roots[name]
        layout = Blocked(self.tensors.shape(root), self.chip.link_bytes)
        team = self.team if self.pictures > 1 else None
        whole = Residence(layout, addr, self.groups, self.rows(root, stay), team)
        return whole.channels(channel, self.tensors.shape(name)[0])

    # --- what may be --------------------------------------------------------------------------------------------

    def _grids(self, number: int) -> list[Grid]:
        """Splits of an operation over the cores."""
        (work, *_) = self.works(number, self.placements.__getitem__)
        return list(grids(work, self.team))

    def _options(self, root: str) -> list[Stay]:
        """Where a tensor may stay: rows only if all readers can be split alike."""
        readers, layout = self.tensors.readers.get(root, []), self.placements[root].layout
        outside = self.tensors.first[root] < 0 or self.tensors.last[root] >= len(self.steps)
        parts = self.core.drain_groups(self.chip.link_bytes)
        outside = outside or any(isinstance(self.steps[number].node, QHost) for number in readers)
        if outside or not readers or not isinstance(layout, Blocked) or (self.groups > 1 and parts > self.groups):
            return [None]
        common = set.intersection(*(set(map(row_parts, self.grids(number))) for number in readers))
        return [None, *sorted({WHOLE} | common)]

    def _rows(self, root: str, stay: Grid) -> tuple[tuple[int, int, int], ...]:
        """(core, first, end): what each core keeps of a tensor."""
        return tuple(
            (picture * self.team + core, first, end)
            for picture in range(self.pictures)
            for core, first, end in self._rows_of_picture(root, stay)
        )

    def _rows_of_picture(self, root: str, stay: Grid) -> tuple[tuple[int, int, int], ...]:
        """The same of the first picture."""
        height = self.tensors.shape(root)[1]
        if stay == WHOLE:
            return tuple((core, 0, height) for core in range(self.team))
        lows, highs = [height] * stay[1], [0] * stay[1]
        for number in self.tensors.readers[root]:
            for part, (low, high) in enumerate(self._read(number, root, stay)):
                lows[part], highs[part] = min(lows[part], low), max(highs[part], high)
        return tuple((part * stay[0] + o, lows[part], highs[part]) for part in range(stay[1]) for o in range(stay[0]))

    def _read(self, number: int, root: str, grid: Grid) -> list[tuple[int, int]]:
        """Rows of a tensor that each row part of an operation reads."""
        step = self.steps[number]
        (work, *_) = self.works(number, self.placements.__getitem__)
        parts = Tiling(work.source, work.rows, work.out_hw[1], grid[1], 1, 1, work.pool).parts
        found = []
        for (tile,) in parts:
            spans = [tile.iy] if any(self.tensors.root(name) == root for name in step.inputs) else []
            if step.residual is not None and self.tensors.root(step.residual) == root:
                spans.append(tile.y)
            found.append((min(low for low, _ in spans), max(high for _, high in spans)))
        return found

    def _nbytes(self, root: str, stay: Stay) -> int:
        """Scratchpad that a tensor takes on every core."""
        tensor = self.tensor(root, stay)
        return tensor.nbytes if isinstance(tensor, Residence) else 0

    def in_place(self, number: int, stays: Mapping[str, Stay]) -> str | None:
        """The residual in whose place an operation puts its output.

        It dies there, and every core keeps the same of both: an element is read by the core that then writes it. All
        of it has arrived everywhere, which is certain of what was stored before the operation in front.
        """
        step, tensors = self.steps[number], self.tensors
        if step.residual is None or tensors.roots[step.residual] != (step.residual, 0):
            return None
        output, stay = tensors.root(step.output), stays.get(tensors.root(step.output))
        alike = stay is not None and stays.get(step.residual) == stay and tensors.first[output] == number
        dies = tensors.last[step.residual] == number and output == step.output and step.residual not in step.inputs
        arrived = tensors.written[step.residual] < number - 1
        if not (alike and dies and arrived and stay is not None):
            return None
        return step.residual if self.rows(step.residual, stay) == self.rows(output, stay) else None


def require_equal_cores(chip: ChipParams) -> None:
    """Refuse a chip of unlike cores."""
    if len(set(chip.cores)) > 1:
        raise PlanError("fused schedules need cores that are all alike; use SCHEDULE=layers for this chip")
