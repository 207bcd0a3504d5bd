"""A workload: a quantised network (or part of one), its input, and what every layer must put out."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from golden import ops
from golden.inputs import load_image
from golden.qgraph import QGraph
from golden.qnodes import QConv
from golden.quant import quantize
from golden.weights import from_npz, seeded
from golden.zoo import load
from tb.errors import BenchError

__all__ = ["Workload", "load_workload", "lower_bound_cycles", "select_layers"]


@dataclass(frozen=True, eq=False)
class Workload:
    """What a run computes."""

    graph: QGraph
    image: np.ndarray
    """int8[C, H, W], the graph's input."""
    expected: Mapping[str, np.ndarray]
    """int8[C, H, W] of every tensor, from golden.ops."""
    golden_s: float


def load_workload(
    net: str, *, weights: Path | None = None, image: Path | None = None, seed: int = 1, layers: str | None = None
) -> Workload:
    """Build a network of the zoo, quantise it on the picture and compute every layer.

    Raises
    ------
    GoldenError, BenchError
        For an unknown network, bad weights or picture, or layers that the network does not have.
    """
    start = time.perf_counter()
    float_graph = load(net)
    picture = load_image(image, float_graph.input_shape)
    values = from_npz(weights, float_graph) if weights is not None else seeded(float_graph, seed)
    graph = quantize(float_graph, values, picture)
    del values
    selected = select_layers(graph, layers) if layers else graph
    raw = graph.tensors[graph.input].quantize(picture)
    expected = ops.run(_up_to(graph, selected), raw)
    return Workload(selected, expected[selected.input], expected, time.perf_counter() - start)


def _up_to(graph: QGraph, selected: QGraph) -> QGraph:
    """The part of a network that the selected layers need, so that the rest is not computed."""
    wanted = {node.name for node in selected.nodes}
    last = max(index for index, node in enumerate(graph.nodes) if node.name in wanted)
    nodes = graph.nodes[: last + 1]
    names = {graph.input, *(node.output for node in nodes)}
    return QGraph(
        graph.name, graph.input, (nodes[-1].output,), {n: t for n, t in graph.tensors.items() if n in names}, nodes
    )


def select_layers(graph: QGraph, layers: str) -> QGraph:
    """The part of a network named by `layers`: `a`, `a,b` or `a..c` (in the network's order).

    Raises
    ------
    BenchError
        If a name is unknown, or the part reads more than one tensor from outside.
    """
    names = [node.name for node in graph.nodes]
    chosen: set[str] = set()
    for item in layers.split(","):
        first, dots, last = item.strip().partition("..")
        for name in (first, last) if dots else (first,):
            if name not in names:
                raise BenchError(f"{graph.name} has no layer {name!r}; it has {', '.join(names)}")
        low, high = names.index(first), names.index(last if dots else first)
        if low > high:
            raise BenchError(f"layers {item!r}: {first} comes after {last}; write {last}..{first}")
        chosen.update(names[low : high + 1])
    nodes = tuple(node for node in graph.nodes if node.name in chosen)
    made = {node.output for node in nodes}
    outside = sorted({name for node in nodes for name in node.inputs} - made)
    if len(outside) != 1:
        raise BenchError(f"layers {layers!r} read {len(outside)} tensors from outside ({', '.join(outside)}): choose a "
                         "part with a single input, such as first..last")  # fmt: skip
    used = {name for node in nodes for name in node.inputs}
    outputs = tuple(node.output for node in nodes if node.output not in used or node.output in graph.outputs)
    tensors = {name: tensor for name, tensor in graph.tensors.items() if name in made | {outside[0]}}
    return QGraph(graph.name, outside[0], outputs, tensors, nodes)


def lower_bound_cycles(graph: QGraph, pes: int, dram_bytes_per_cycle: float) -> float:
    """Cycles that no schedule can beat, layer by layer.

    The sum over convolutions and fully connected layers of max(MACs / PEs, (weight + input + output bytes) / DRAM
    bytes per cycle); other layers add nothing.
    """
    total = 0.0
    for node in graph.nodes:
        if isinstance(node, QConv):
            shapes = (graph.tensors[name].shape for name in (node.input, node.output))
            moved = node.weight.size + sum(int(np.prod(shape)) for shape in shapes)
            total += max(node.macs / pes, moved / dram_bytes_per_cycle)
    return total
