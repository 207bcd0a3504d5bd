"""DRAM map: tensors share space once they are dead; constants and programs lie behind them."""

from __future__ import annotations

from collections.abc import Collection, Iterable

from golden.int8.qgraph import QGraph
from golden.int8.qnodes import QConcat, QConv
from rtl.contract.params import AXI_PAGE_BYTES, ChipParams
from scheduler.errors import PlanError
from scheduler.group import Pools
from scheduler.plan.layout import Blocked, Layout, Packed, ceil_div, round_up
from scheduler.plan.limits import ADDRESS_SPACE, MAX_STEP
from scheduler.plan.program import Placement

__all__ = ["aliases", "input_layouts", "likely_layout", "place_tensors", "root_of"]

Parents = dict[str, tuple[str, int]]
"""Of a tensor that lies inside another: that one, and the first channel there."""


def place_tensors(
    graph: QGraph,
    chip: ChipParams,
    pools: Pools,
    parents: Parents | None = None,
    kept: Collection[str] = (),
    launches: Iterable[Collection[str]] = (),
    batch: int = 1,
    input_layout: str | None = None,
) -> tuple[dict[str, Placement], int]:
    """Where every tensor lies, and the end of them all; tensors between a convolution and its fused pool lie nowhere.

    Tensors that live at the same time never overlap, but for inputs of a concatenation that lie inside its output.

    Parameters
    ----------
    parents : dict, optional
        Tensors that lie inside others, if not as many as can.
    kept : collection of str
        Tensors that stay on the chip, as do those inside of them: they lie nowhere in DRAM.
    launches : iterable of collection of str
        Nodes that share a launch: what one reads or writes is there from its start to its end, so that a launch can be
        checked, and done again.
    batch : int
        Number of pictures: each has its own of every tensor, at one distance. A launch does its nodes for all of them.
    input_layout : str, optional
        One of `input_layouts`; that of fewest passes, nearly, if it is not given.
    """
    parents = aliases(graph, chip.link_bytes) if parents is None else parents
    layouts: dict[str, Layout] = {
        name: Blocked(tensor.shape, chip.link_bytes) for name, tensor in graph.tensors.items()
    }
    layouts[graph.input] = input_layouts(graph, chip)[input_layout or likely_layout(graph, chip)]
    spans = _spans(graph, launches)
    lives = {
        name: (spans[first][0], spans[last][1])
        for name, (first, last) in _lives(graph, parents, pools).items()
        if name not in kept
    }
    strides = {name: round_up(layouts[name].nbytes, AXI_PAGE_BYTES) if batch > 1 else 0 for name in layouts}
    placed: dict[str, Placement] = {}
    for name in sorted(lives, key=lambda n: (-layouts[n].nbytes, lives[n])):
        first, last = lives[name]
        taken = sorted(
            (p.addr, p.end_of_all)
            for other, p in placed.items()
            if lives[other][0] <= last and first <= lives[other][1]
        )
        addr = 0
        for low, high in taken:
            if addr + (batch - 1) * strides[name] + layouts[name].nbytes <= low:
                break
            addr = max(addr, round_up(high, AXI_PAGE_BYTES))
        placed[name] = Placement(addr, layouts[name], batch, strides[name])
    end = max(placement.end_of_all for placement in placed.values())
    if end > ADDRESS_SPACE:
        raise PlanError(f"the activations of {graph.name!r} need {end} bytes of DRAM; addresses end at {ADDRESS_SPACE}")
    for name in graph.tensors:
        root, channel = root_of(name, parents)
        if root != name and root in placed:
            layout = layouts[root]
            assert isinstance(layout, Blocked)
            addr = placed[root].addr + channel // layout.block * layout.plane_flits * layout.block
            placed[name] = Placement(addr, layouts[name], batch, strides[root])
    return placed, end


def root_of(name: str, parents: Parents) -> tuple[str, int]:
    """The tensor inside which one lies at last, perhaps itself, and its first channel there."""
    channel = 0
    while name in parents:
        name, offset = parents[name]
        channel += offset
    return name, channel


def _spans(graph: QGraph, launches: Iterable[Collection[str]]) -> list[tuple[int, int]]:
    """Number of the first and the last node of each node's launch; behind all comes what is after the last."""
    spans = [(number, number) for number in range(len(graph.nodes) + 1)]
    of = {node.name: number for number, node in enumerate(graph.nodes)}
    for names in launches:
        numbers = [of[name] for name in names]
        for number in numbers:
            spans[number] = min(numbers), max(numbers)
    return spans


def _lives(graph: QGraph, parents: Parents, pools: Pools) -> dict[str, tuple[int, int]]:
    """Number of the first and the last node during which a tensor must be in memory."""
    fused = {pool.name for pool in pools.values()}

    def root(name: str) -> str:
        return root_of(name, parents)[0]

    lives = {root(graph.input): (0, 0)}
    for index, node in enumerate(graph.nodes):
        if node.name in fused:
            continue
        output = pools[node.name].output if node.name in pools else node.output
        for name in (*node.inputs, output):
            first, _ = lives.get(root(name), (index, index))
            lives[root(name)] = (first, index)
    for name in graph.outputs:
        lives[root(name)] = (lives[root(name)][0], len(graph.nodes))
    return lives


def aliases(graph: QGraph, block: int) -> Parents:
    """Tensors that are computed where a concatenation wants them.

    A tensor qualifies that starts and ends at whole blocks of so many channels and is no network input; the first
    concatenation has it.
    """
    parents: dict[str, tuple[str, int]] = {}
    for node in graph.nodes:
        if not isinstance(node, QConcat):
            continue
        channel = 0
        for number, name in enumerate(node.inputs):
            channels = graph.tensors[name].shape[0]
            last = number == len(node.inputs) - 1
            whole = channel % block == 0 and (channels % block == 0 or last)
            if whole and name != graph.input and name not in parents and node.inputs.count(name) == 1:
                parents[name] = (node.output, channel)
            channel += channels
    return parents


def input_layouts(graph: QGraph, chip: ChipParams) -> dict[str, Layout]:
    """How the network's input can be stored, by name: "blocked" like every tensor; or, where a convolution then takes
    fewer passes than one per kernel tap, in dense rows, "packed", or every row once for each row of the kernel,
    "folded", which takes fewest, and most bytes."""
    tensor = graph.tensors[graph.input]
    found: dict[str, Layout] = {"blocked": Blocked(tensor.shape, chip.link_bytes)}
    readers = [node for node in graph.nodes if graph.input in node.inputs]
    if graph.input in graph.outputs or len(readers) != 1 or not isinstance(readers[0], QConv):
        return found
    node = readers[0]
    if node.groups != 1 or (node.residual and node.residual.input == graph.input):
        return found
    stride = (node.stride[0] if node.out_hw[0] > 1 else 1, node.stride[1] if node.out_hw[1] > 1 else 1)
    kernel = (node.weight.shape[2], node.weight.shape[3])
    plain = _passes(found["blocked"], node, chip)
    for name, fold in (("packed", False), ("folded", True)):
        layout = Packed(
            tensor.shape, chip.link_bytes, kernel, stride, node.padding, node.dilation, node.pad_value, fold
        )
        fits = stride[1] * layout.pixel_bytes <= MAX_STEP and layout.row_bytes * 2 < chip.cores[0].act_bytes
        if fits and _passes(layout, node, chip) < plain:
            found[name] = layout
    return found


def _passes(layout: Layout, node: QConv, chip: ChipParams) -> int:
    """Passes of the convolution that alone reads the network's input, for each block of output channels."""
    rows = min(core.rows for core in chip.cores)
    height, width = node.weight.shape[2:]
    if isinstance(layout, Packed):
        return ceil_div(layout.window_bytes, rows) * (1 if layout.fold else height)
    return height * width * ceil_div(layout.shape[0], rows)


def likely_layout(graph: QGraph, chip: ChipParams, byte_cycles: float = 0.0) -> str:
    """Name of the layout of the network's input that seems best when nothing else is known.

    Parameters
    ----------
    byte_cycles : float
        What a byte that is loaded costs, in cycles of all arrays together.
    """
    found = input_layouts(graph, chip)
    if len(found) == 1:
        return "blocked"
    (node,) = (node for node in graph.nodes if graph.input in node.inputs)
    assert isinstance(node, QConv)
    blocks = ceil_div(node.weight.shape[0], min(core.cols for core in chip.cores))

    def cost(name: str) -> float:
        layout = found[name]
        passes = _passes(layout, node, chip)
        if not byte_cycles:  # a folded input is read several times over: it must save clearly more than a pass in ten
            return passes * (1.1 if name == "folded" else 1.0)
        computed = passes * blocks * node.out_hw[0] * node.out_hw[1] / chip.n_cores
        return max(computed, layout.nbytes * byte_cycles) + layout.nbytes * byte_cycles / 2

    return min(found, key=cost)
