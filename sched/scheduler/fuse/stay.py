"""Where a tensor may stay: in DRAM, whole on every core, or in rows, on each core those that its readers take."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import cache

from rtl.contract.params import ChipParams
from scheduler.engines import bids
from scheduler.errors import PlanError
from scheduler.fuse.operations import Operation, Tensors
from scheduler.map.mapping import Tiling
from scheduler.map.search import grids
from scheduler.plan.layout import Blocked, ceil_div
from scheduler.plan.program import Placement
from scheduler.plan.residence import Residence
from scheduler.work.sink import sink_of
from scheduler.work.task import Task
from scheduler.work.work import Work

__all__ = ["WHOLE", "Grid", "Stay", "Stays", "row_parts"]

Grid = tuple[int, int]
"""(channel parts, row parts)."""
Stay = Grid | None
"""The split of the readers, of which each core keeps its rows; `WHOLE`; None for DRAM."""
WHOLE: Grid = (1, 1)
"""All rows on every core."""
UNEVEN = 4 / 3
"""Of splits, what the busiest core may have to do in relation to that of the best one."""


def row_parts(grid: Grid) -> Grid:
    """The rows that readers of such a split take."""
    return WHOLE if grid[1] == 1 else grid


class Stays:
    """The tensors of a network, wherever each is.

    Parameters
    ----------
    placements : dict of str to Placement
        Of all tensors, were they all in DRAM.
    """

    def __init__(
        self, chip: ChipParams, steps: list[Operation], tensors: Tensors, placements: Mapping[str, Placement]
    ) -> None:
        self.chip, self.steps, self.tensors, self.placements = chip, steps, tensors, placements
        self.core = chip.cores[0]
        self.groups = self.core.act_groups(chip.link_bytes)
        self.rows = cache(self._rows)
        self.grids = cache(self._grids)
        self.nbytes = cache(self._nbytes)
        self.options = cache(self._options)
        self.likely_grids = cache(self._likely_grids)
        self.likely_options = cache(self._likely_options)

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
        whole = Residence(layout, addr, self.groups, self.rows(root, stay))
        return whole.channels(channel, self.tensors.shape(name)[0])

    # --- what may be --------------------------------------------------------------------------------------------

    def _grids(self, number: int) -> list[Grid]:
        """Splits of an operation over the cores."""
        (work, *_) = self.works(number, self.placements.__getitem__)
        return list(grids(work, self.chip.n_cores))

    def _likely_grids(self, number: int) -> list[Grid]:
        """Those among which the best is looked for: none that leaves the busiest core much more than another does.

        Of splits that differ in one direction alone and leave it as much, the one with fewer parts.
        """
        (work, *_) = self.works(number, self.placements.__getitem__)
        splits = [grid for grid in self.grids(number) if grid != WHOLE]
        load = {grid: ceil_div(len(work.items), grid[0]) * ceil_div(work.height, grid[1]) for grid in splits}
        fewest: dict[tuple[int, int, int], Grid] = {}
        for grid in splits:
            for axis in (0, 1):
                fewest.setdefault((axis, grid[axis], load[grid]), grid)
        least = min(load.values(), default=0)
        likely = [
            grid
            for grid in splits
            if load[grid] <= UNEVEN * least and all(fewest[axis, grid[axis], load[grid]] == grid for axis in (0, 1))
        ]
        return [*([WHOLE] if WHOLE in self.grids(number) else []), *likely]

    def _options(self, root: str) -> list[Stay]:
        """Where a tensor may stay: rows only if all readers can be split alike."""
        return self._stays_of(root, self.grids)

    def _likely_options(self, root: str) -> list[Stay]:
        """The same, for the likely splits of its readers."""
        return self._stays_of(root, self.likely_grids)

    def _stays_of(self, root: str, splits: Callable[[int], list[Grid]]) -> list[Stay]:
        readers, layout = self.tensors.readers.get(root, []), self.placements[root].layout
        outside = self.tensors.first[root] < 0 or self.tensors.last[root] >= len(self.steps)
        parts = self.core.drain_groups(self.chip.link_bytes)
        if outside or not readers or not isinstance(layout, Blocked) or (self.groups > 1 and parts > self.groups):
            return [None]
        common = set.intersection(*(set(map(row_parts, splits(number))) for number in readers))
        return [None, *sorted({WHOLE} | common)]

    def _rows(self, root: str, stay: Grid) -> tuple[tuple[int, int, int], ...]:
        """(core, first, end): what each core keeps of a tensor."""
        height = self.tensors.shape(root)[1]
        if stay == WHOLE:
            return tuple((core, 0, height) for core in range(self.chip.n_cores))
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

    def require_equal_cores(self) -> None:
        """Refuse a chip of unlike cores."""
        if len(set(self.chip.cores)) > 1:
            raise PlanError("fused schedules need cores that are all alike; use SCHEDULE=layers for this chip")
