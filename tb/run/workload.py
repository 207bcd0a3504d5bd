"""A workload: a quantised network (or part of one), its input, and what every layer must put out."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from golden.errors import DisagreementError
from golden.int8 import ops
from golden.int8.batch import expected_of
from golden.int8.pools import pools_before_concats
from golden.int8.qgraph import QGraph
from golden.int8.qnodes import QHost
from golden.int8.quant import QuantisationError, float_outputs, output_error, quantize
from golden.net.inputs import load_batch, load_input
from golden.net.weights import from_npz, seeded
from golden.onnx_import import (
    Judgement,
    Output,
    QuantisedModel,
    judge_float,
    judge_quantised,
    largest_refusal,
    load_onnx,
    settle,
)
from golden.zoo import ZOO, load
from tb.errors import BenchError, RunError

__all__ = [
    "DEFAULT_SEED", "FALLBACKS", "OnnxOptions", "OutputFacts", "Workload", "is_onnx", "load_workload",
    "require_network", "select_layers",
]  # fmt: skip

DEFAULT_SEED = 1

FALLBACKS = ("none", "host")
"""What can become of nodes that the chip cannot run."""


@dataclass(frozen=True)
class OutputFacts:
    """One output of a whole ONNX model."""

    name: str
    shape: tuple[int, ...]
    tensor: str | None
    """What holds its elements; None for a constant."""
    source: str
    """"layer", "input" or "constant"."""
    error: QuantisationError | None
    """Distance from the float output, where a layer of a float model computes it."""


@dataclass(frozen=True, eq=False)
class Workload:
    """What a run computes."""

    graph: QGraph
    image: np.ndarray
    """int8[C, H, W], the graph's input."""
    expected: Mapping[str, np.ndarray]
    """int8[C, H, W] of every tensor, from golden.int8.ops; of a batch, by the names of `golden.int8.batch`."""
    golden_s: float
    note: str = ""
    """What the user should know about the input, in one line."""
    error: QuantisationError | None = None
    """Distance of the int8 outputs from those of the float network, where there is one and all of it runs."""
    outputs: tuple[OutputFacts, ...] = ()
    """The outputs of a whole ONNX model."""
    judgement: Judgement | None = None
    """What the comparison of an ONNX file with ONNX Runtime found, on the first picture."""
    others: tuple[np.ndarray, ...] = ()
    """Further pictures of a batch."""

    @property
    def images(self) -> tuple[np.ndarray, ...]:
        """All pictures."""
        return (self.image, *self.others)


@dataclass(frozen=True)
class OnnxOptions:
    """How to read a network from an ONNX file."""

    shape: tuple[int, ...] | None = None
    """Shape of the input, where the file leaves it open."""
    calibration: tuple[Path, ...] = ()
    """Pictures that set the ranges of a float model's activations; the run's own picture otherwise."""
    percentile: float = 100.0
    """Part of the values, in %, that the ranges cover; 100 is min-max."""
    fallback: str = "none"
    """The way of nodes that the chip cannot run: "none" refuses them, "host" has the host compute them."""


def is_onnx(net: str) -> bool:
    """Whether a network is named by a file, not by the zoo."""
    return net.lower().endswith(".onnx")


def require_network(net: str) -> None:
    """Refuse, before anything else, what names a file that can be no model; unknown names are left to the zoo."""
    path = Path(net)
    if net in ZOO or not (is_onnx(net) or path.exists() or path.suffix or len(path.parts) > 1):
        return
    if path.is_dir():
        raise BenchError(f"NET={net} is a folder; give an .onnx file in it")
    if not path.exists():
        raise BenchError(f"NET={net} does not exist; give an .onnx file, or a network of the zoo (make nets)")
    if not is_onnx(net):
        raise BenchError(f"NET={net} is no .onnx file; export the model to ONNX and give that file")


def load_workload(
    net: str,
    *,
    weights: Path | None = None,
    image: str | Path | None = None,
    seed: int | None = None,
    layers: str | None = None,
    onnx: OnnxOptions | None = None,
    fuse: bool = True,
    apart: bool = False,
    batch: int = 1,
) -> Workload:
    """Build a network of the zoo or read an ONNX file, quantise it on the picture and compute every layer.

    A batch is quantised on its first picture; `image` then names as many, with commas between, or is left out.

    With `fuse`, maximum pools move in front of concatenations, so that they can be fused with convolutions. With
    `apart` they do not, and a float network is quantised with every sum as a node of its own, which rounds on its own;
    an ONNX file that is quantised already has its sums so, and is what it is.

    Raises
    ------
    GoldenError, BenchError
        For an unknown network, a bad file, bad weights or picture, layers that the network does not have or of which
        none runs on the chip, or options that make no sense for it.
    RunError
        If an imported network computes something else than ONNX Runtime does with the file.
    """
    start = time.perf_counter()
    files = [] if image is None else [image] if batch == 1 else str(image).split(",")
    pictures = _Pictures(files, batch)
    if is_onnx(net):
        for option, given in (("WEIGHTS", weights), ("SEED", seed)):
            if given is not None:
                raise BenchError(f"{option}={given} makes no sense: {net} holds its weights; leave it out")
        source = _read_onnx(Path(net), pictures, onnx or OnnxOptions(), fold_sums=not apart)
    else:
        if onnx is not None and onnx != OnnxOptions():
            raise BenchError(
                f"SHAPE, CALIBRATION, PERCENTILE and FALLBACK belong to an .onnx file, not to {net}; leave them out"
            )
        source = _read_zoo(net, weights, pictures, seed, fold_sums=not apart)
    graph = source.graph
    selected = select_layers(graph, layers) if layers else graph
    if all(isinstance(node, QHost) for node in selected.nodes):
        parts = [node.part for node in selected.nodes if isinstance(node, QHost)]
        raise BenchError(
            f"nothing of {f'LAYERS={layers}' if layers else net} runs on the chip, so there is nothing to simulate; "
            f"its largest part: {largest_refusal(parts, source.refusals)}"
        )
    needed = _up_to(graph, selected)
    runs = [ops.run(needed, raw) for raw in source.raws]
    expected = runs[0]
    error = output_error(source.real, graph, expected) if source.real and not layers else None
    outputs = _output_facts(source, expected) if not layers else ()
    try:
        judgement = source.judge(expected)
    except DisagreementError as disagreement:
        raise RunError(str(disagreement)) from disagreement
    if fuse and not apart:
        selected = pools_before_concats(selected)
        for node in selected.nodes:
            for tensors in runs:
                if node.output not in tensors:
                    tensors[node.output] = ops.run_node(node, tensors)
    first, *others = (tensors[selected.input] for tensors in runs)
    return Workload(
        selected, first, expected_of(runs), time.perf_counter() - start, source.note, error, outputs, judgement,
        tuple(others),
    )  # fmt: skip


@dataclass(frozen=True)
class _Pictures:
    """Where the pictures of a batch come from; without files, from the default one."""

    files: Sequence[str | Path]
    batch: int

    def load(self, shape: tuple[int, int, int]) -> tuple[list[np.ndarray], str]:
        """As `load_batch`."""
        return load_batch(self.files, shape, self.batch)


@dataclass(frozen=True, eq=False)
class _Source:
    """A quantised network as it was read."""

    graph: QGraph
    raws: Sequence[np.ndarray]
    """Its input, int8[C, H, W], of every picture."""
    real: Mapping[str, np.ndarray]
    """Its float outputs, where it has some, in its order."""
    note: str
    """A remark on the input."""
    outputs: tuple[Output, ...] = ()
    """The outputs of an ONNX model; those of a float one by the names of float values."""
    refusals: Mapping[str, str] = field(default_factory=dict)
    """Why the chip cannot run nodes that the host runs."""
    judge: Callable[[Mapping[str, np.ndarray]], Judgement | None] = lambda _: None
    """Compares it with ONNX Runtime, given its tensors."""


def _read_zoo(net: str, weights: Path | None, pictures: _Pictures, seed: int | None, *, fold_sums: bool) -> _Source:
    graph = load(net)
    inputs, note = pictures.load(graph.input_shape)
    picture = inputs[0]
    values = from_npz(weights, graph) if weights is not None else seeded(graph, DEFAULT_SEED if seed is None else seed)
    real: dict[str, np.ndarray] = {}
    quantised = quantize(graph, values, picture, outputs=real, fold_sums=fold_sums)
    return _Source(quantised, _raws(quantised, inputs), real, note)


def _raws(graph: QGraph, inputs: Sequence[np.ndarray]) -> list[np.ndarray]:
    """Quantised as the network wants its input."""
    return [graph.tensors[graph.input].quantize(values) for values in inputs]


def _read_onnx(path: Path, pictures: _Pictures, options: OnnxOptions, *, fold_sums: bool) -> _Source:
    if options.fallback not in FALLBACKS:
        raise BenchError(f"FALLBACK={options.fallback}: use {' or '.join(FALLBACKS)}")
    loaded = load_onnx(path, options.shape, fallback=options.fallback == "host")
    if isinstance(loaded, QuantisedModel):
        if options.calibration or options.percentile != 100.0:
            raise BenchError(f"{path} is quantised already: leave CALIBRATION and PERCENTILE out")
        tensor = loaded.graph.tensors[loaded.graph.input]
        inputs, note = pictures.load(tensor.shape)
        raws = _raws(loaded.graph, inputs)
        picture, raw = inputs[0], raws[0]
        settled = settle(loaded, raw)

        def judge_integers(known: Mapping[str, np.ndarray]) -> Judgement:
            return judge_quantised(path, settled, picture, raw, known)

        return _Source(settled.graph, raws, {}, note, loaded.outputs, loaded.refusals, judge_integers)
    graph, shape = loaded.graph, loaded.graph.input_shape
    inputs, note = pictures.load(shape)
    picture = inputs[0]
    others = [load_input(file, shape)[0] for file in options.calibration]
    real: dict[str, np.ndarray] = {}
    if others:
        quantised = quantize(graph, loaded.weights, others, percentile=options.percentile, fold_sums=fold_sums)
        real = float_outputs(graph, loaded.weights, picture)
    else:
        quantised = quantize(
            graph, loaded.weights, picture, percentile=options.percentile, outputs=real, fold_sums=fold_sums
        )

    def judge_reals(_: Mapping[str, np.ndarray]) -> Judgement:
        return judge_float(path, loaded, picture, real)

    return _Source(quantised, _raws(quantised, inputs), real, note, loaded.outputs, loaded.refusals, judge_reals)


def _output_facts(source: _Source, tensors: Mapping[str, np.ndarray]) -> tuple[OutputFacts, ...]:
    """The source of each output of an ONNX model, and how far a computed one is from the float one."""
    tensor_of = dict(zip(source.real, source.graph.outputs, strict=True)) if source.real else {}
    facts = []
    for output in source.outputs:
        tensor = tensor_of.get(output.value or "", output.value)
        kind = "constant" if tensor is None else "input" if tensor == source.graph.input else "layer"
        error = None
        if output.value is not None and output.value in source.real:
            error = output_error(source.real, source.graph, tensors, (output.value,))
        facts.append(OutputFacts(output.name, output.shape, tensor, kind, error))
    return tuple(facts)


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
