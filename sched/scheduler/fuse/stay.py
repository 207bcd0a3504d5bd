"""Where a tensor may stay: in DRAM, whole on every core, or in rows, on each core those that its readers take."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import cache

from golden.int8.qnodes import QConv, QPool
from rtl.contract.params import ChipParams
from scheduler.engines import bids
from scheduler.errors import PlanError
from scheduler.fuse.operations import Operation, Tensors
from scheduler.map.mapping import Tiling
from scheduler.map.search import grids
from scheduler.plan.layout import Blocked, ceil_div, even_split
from scheduler.plan.program import Placement
from scheduler.plan.residence import Residence
from scheduler.work.options import SparseOptions
from scheduler.work.sink import sink_of
from scheduler.work.task import Task
from scheduler.work.work import Work

__all__ = ["WHOLE", "Grid", "Rows", "Stay", "Stays", "require_equal_cores", "row_parts"]

Grid = tuple[int, int]
"""(channel parts, row parts)."""
Stay = Grid | tuple[int, int, int] | None
"""The split of the readers, of which each core keeps its rows; `WHOLE`; None for DRAM.

With a third number, its readers begin a chain of operations (`scheduler.fuse.strips`) that ends in front of that one:
each core keeps the rows that the whole chain takes.
"""
Rows = tuple[int, int]
"""[first, end)."""
CHAIN_OPERATIONS = 3
"""Most of a chain."""
CHAIN_SHARE = 4
"""Chains are worth a look where the last tensor between their operations takes such a part of the scratchpads."""
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
        sparse: SparseOptions | None = None,
    ) -> None:
        self.chip, self.steps, self.tensors, self.pictures = chip, steps, tensors, pictures
        self.sparse = sparse or SparseOptions()
        self.placements = {name: placement.some(pictures) for name, placement in placements.items()}
        self.team = chip.n_cores // pictures
        self.core = chip.cores[0]
        self.in_memory = {tensors.root(name) for step in steps for name in step.in_memory}
        self.groups = self.core.act_groups(chip.link_bytes)
        self.plain = cache(self._plain)
        self.rows = cache(self._rows)
        self.grids = cache(self._grids)
        self.nbytes = cache(self._nbytes)
        self.options = cache(self._options)
        self.likely_grids = cache(self._likely_grids)
        self.likely_options = cache(self._likely_options)
        self.chains = cache(self._chains)

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
            sparse=self.sparse,
        )
        return bids(task, self.core)

    def _plain(self, number: int) -> Work:
        """An operation with all its tensors in DRAM."""
        return self.works(number, self.placements.__getitem__)[0]

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
        return list(grids(self.plain(number), self.team))

    def _likely_grids(self, number: int) -> list[Grid]:
        """Those among which the best is looked for: none that leaves the busiest core much more than another does.

        Of splits that differ in one direction alone and leave it as much, the one with fewer parts.
        """
        work = self.plain(number)
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
        common = self._common(root, splits)
        readers = self.tensors.readers.get(root, [])
        grids = [grid for grid in common if grid[0] == 1]
        chains = {(*grid, end) for grid in grids for n in readers for end in self.large_chains(n, grid[1])}
        return [None, *sorted(common), *sorted(chains)]

    def _common(self, root: str, splits: Callable[[int], list[Grid]]) -> set[Grid]:
        """Splits whose rows of a tensor all its readers can take; none if it must be in DRAM."""
        readers, layout = self.tensors.readers.get(root, []), self.placements[root].layout
        outside = self.tensors.first[root] < 0 or self.tensors.last[root] >= len(self.steps)
        parts = self.core.drain_groups(self.chip.link_bytes)
        outside = outside or root in self.in_memory
        if outside or not readers or not isinstance(layout, Blocked) or (self.groups > 1 and parts > self.groups):
            return set()
        return {WHOLE} | set.intersection(*(set(map(row_parts, splits(number))) for number in readers))

    def suits(self, number: int, stay: Stay, grid: Grid) -> bool:
        """Whether an operation of such a split, in no chain, can read a tensor that stays so."""
        if stay in (None, WHOLE):
            return True
        begins = any(end in self.chains(number, stay[1]) for end in stay[2:])
        return stay[:2] == row_parts(grid) and not begins

    def _chains(self, number: int, parts: int) -> list[int]:
        """Ends of the chains that an operation can begin, with rows split over so many cores."""
        ends: list[int] = []
        for end in range(number + 2, min(number + CHAIN_OPERATIONS, len(self.steps)) + 1):
            if not self._linked(end - 2, parts) or (1, parts) not in self.grids(end - 1):
                break
            ends.append(end)
        return ends

    def large_chains(self, number: int, parts: int) -> list[int]:
        """Ends of those at whose end a tensor is that takes much of the scratchpads if it stays."""
        return [
            end
            for end in self.chains(number, parts)
            if self.nbytes(self.steps[end - 2].output, (1, parts)) * CHAIN_SHARE >= self.core.act_bytes
        ]

    def _linked(self, number: int, parts: int) -> bool:
        """Whether only the next operation reads what one puts out, and both can split rows over so many cores."""
        root, step = self.steps[number].output, self.steps[number]
        alone = self.tensors.roots[root] == (root, 0) and self.tensors.first[root] == self.tensors.written[root]
        follows = self.tensors.readers.get(root) == [number + 1] and self.tensors.last[root] == number + 1
        both = all(isinstance(self.steps[n].node, QConv | QPool) for n in (number, number + 1))
        return both and alone and follows and step.done != () and (1, parts) in self._common(root, self.grids)

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
            for part, (low, high) in enumerate(self._taken(number, root, stay)):
                lows[part], highs[part] = min(lows[part], low), max(highs[part], high)
        return tuple((part * stay[0] + o, lows[part], highs[part]) for part in range(stay[1]) for o in range(stay[0]))

    def _taken(self, number: int, root: str, stay: tuple[int, ...]) -> tuple[Rows, ...]:
        """Rows of a tensor that each row part of an operation takes, or of a chain that it begins."""
        parts = stay[1]
        ends = [end for end in stay[2:] if end in self.chains(number, parts)]
        end = ends[0] if ends else number + 1
        outputs = tuple(even_split(self.tensors.shape(self.steps[end - 1].output)[1], parts))
        readers = [n for n in self.tensors.readers[root] if number <= n < end]  # one behind it may add the tensor
        found = [self.reads(reader, root, self.chain_rows(reader, end, outputs)[reader]) for reader in readers]
        return tuple((min(low for low, _ in part), max(high for _, high in part)) for part in zip(*found, strict=True))

    def chain_rows(self, first: int, end: int, outputs: tuple[Rows, ...]) -> dict[int, tuple[Rows, ...]]:
        """Rows of the output of each of the operations [first, end) that rows of the last one need, by row part."""
        rows = {end - 1: outputs}
        for number in range(end - 1, first, -1):
            rows[number - 1] = self.reads(number, self.steps[number - 1].output, rows[number])
        return rows

    def chain_can_read(self, first: int, end: int, parts: int, stay_of: Callable[[str], Stay]) -> str | None:
        """None if a chain can read all that it needs where it stays; else the first tensor that it cannot."""
        inside = {self.steps[number].output for number in range(first, end - 1)}
        for number in range(first, end):
            allowed = [None, WHOLE, (1, parts, end), *([(1, parts)] if number == end - 1 else [])]
            for name in self.steps[number].reads:
                if name not in inside and stay_of(self.tensors.root(name)) not in allowed:
                    return name
        return None

    def reads(self, number: int, root: str, outputs: tuple[Rows, ...]) -> tuple[Rows, ...]:
        """Rows of a tensor that an operation reads for rows of its output, by row part."""
        step = self.steps[number]
        work, found = self.plain(number), []
        for ((computed, inputs, _, _),) in Tiling(work.source, outputs, work.out_hw[1], 1, 1, work.pool).rows:
            spans = [inputs] if any(self.tensors.root(name) == root for name in step.inputs) else []
            if step.residual is not None and self.tensors.root(step.residual) == root:
                spans.append(computed)
            found.append((min(low for low, _ in spans), max(high for _, high in spans)))
        return tuple(found)

    def _keeps_own_rows(self, root: str, stay: Stay, grid: Grid | None) -> bool:
        """Whether each core keeps of a tensor what it computes itself with such a split, and nothing else."""
        if stay is None or grid is None or grid[0] > 1:
            return False
        computed = even_split(self.tensors.shape(root)[1], grid[1])
        kept = [(core, rows) for core, *rows in self.rows(root, stay) if core < self.team]  # of the first picture
        return kept == [(core, [*rows]) for core, rows in enumerate(computed)]

    def _nbytes(self, root: str, stay: Stay) -> int:
        """Scratchpad that a tensor takes on every core."""
        tensor = self.tensor(root, stay)
        return tensor.nbytes if isinstance(tensor, Residence) else 0

    def in_place(self, number: int, stays: Mapping[str, Stay], grid: Grid | None) -> str | None:
        """The residual in whose place an operation puts its output, with such a split or with any.

        It dies there, and every core keeps the same of both: an element is read by the core that then writes it. All
        of it has arrived where it is overwritten. That is certain of what was stored before the operation in front,
        and of what that one stored if cores write to themselves alone: each has begun with its own data.
        """
        step, tensors = self.steps[number], self.tensors
        if step.residual is None or tensors.roots[step.residual] != (step.residual, 0):
            return None
        output, stay = tensors.root(step.output), stays.get(tensors.root(step.output))
        alike = stay is not None and stays.get(step.residual) == stay and tensors.first[output] == number
        dies = tensors.last[step.residual] == number and output == step.output and step.residual not in step.inputs
        if not (alike and dies and stay is not None):
            return None
        arrived = tensors.written[step.residual] < number - 1 or self._keeps_own_rows(output, stay, grid)
        if not arrived:
            return None
        return step.residual if self.rows(step.residual, stay) == self.rows(output, stay) else None


def require_equal_cores(chip: ChipParams) -> None:
    """Refuse a chip of unlike cores."""
    if len(set(chip.cores)) > 1:
        raise PlanError("fused schedules need cores that are all alike; use SCHEDULE=layers for this chip")
