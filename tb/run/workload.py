"""A workload: a quantised network (or part of one), its input, and what every layer must put out."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from golden.errors import DisagreementError
from golden.int8 import ops
from golden.int8.batch import expected_of, single
from golden.int8.dealing import dealt_filters
from golden.int8.fallback import Feeds, RuntimeRefusal
from golden.int8.pools import pools_before_concats
from golden.int8.qgraph import QGraph, fed
from golden.int8.qnodes import QConv, QHost
from golden.int8.quant import QuantisationError, distance, float_outputs, output_error, quantize
from golden.layer_lists import LAYER_LISTS, load_layer_list
from golden.net.graph import Graph
from golden.net.inputs import load_batch
from golden.net.weights import from_npz, seeded
from golden.onnx_import import (
    FloatModel,
    Judgement,
    Output,
    QuantisedModel,
    Reference,
    Shapes,
    Share,
    judge_float,
    judge_quantised,
    load_feeds,
    load_onnx,
)
from golden.pruning.pruning import Pruning, load_pruning
from golden.zoo import ZOO, load
from tb.errors import BenchError, RunError

__all__ = [
    "DEFAULT_SEED", "FALLBACKS", "OnnxOptions", "OutputFacts", "Workload", "is_file", "load_workload",
    "require_network", "select_layers",
]  # fmt: skip

DEFAULT_SEED = 1

FALLBACKS = ("host", "refuse")
"""What becomes of nodes that the chip cannot run: the host computes them, or the model is refused."""


@dataclass(frozen=True)
class OutputFacts:
    """One output of a whole ONNX model."""

    name: str
    shape: tuple[int, ...] | None
    """None where the data decide it."""
    tensor: str | None
    """What holds its elements on the chip."""
    source: str
    """"layer", "host", "input" or "constant"."""
    error: QuantisationError | None = None
    """Distance of what comes out of the int8 network from ONNX Runtime's output of a float model."""
    differ: float | None = None
    """Part of the elements that are not ONNX Runtime's, where these are no real numbers or the model is quantised."""


@dataclass(frozen=True)
class HostEnd:
    """What the host computes before the first launch, for the graph's input, or behind the last, of its outputs.

    Attributes
    ----------
    kinds : tuple of str
        Operators.
    tensors : tuple of str
        Tensors of the graph that pass.
    """

    kinds: tuple[str, ...]
    tensors: tuple[str, ...]


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
    """Distance of the int8 outputs from those of the float network, which ONNX Runtime computes if that is a file;
    where there is one and all of it runs."""
    outputs: tuple[OutputFacts, ...] = ()
    """The outputs of a whole ONNX model."""
    judgement: Judgement | None = None
    """What the comparison of an ONNX file with ONNX Runtime found, on the first picture."""
    others: tuple[np.ndarray, ...] = ()
    """Further pictures of a batch."""
    share: Share | None = None
    """How an ONNX model is divided between chip and host."""
    ends: tuple[HostEnd, ...] = ()
    """What the host does of a whole ONNX model before the first launch and behind the last."""
    origins: Mapping[str, str] = field(default_factory=dict)
    """Nodes of an ONNX file by the nodes of the graph that come of them."""
    without: Callable[[Mapping[str, str]], Workload] | None = None
    """The same with nodes of the ONNX file on the host, given why by name."""
    pruning: Pruning | None = None
    """What was pruned, if anything was."""

    @property
    def images(self) -> tuple[np.ndarray, ...]:
        """All pictures."""
        return (self.image, *self.others)


@dataclass(frozen=True)
class OnnxOptions:
    """How to read a network from an ONNX file."""

    shape: tuple[int, ...] | Shapes | None = None
    """Shape of the input, where the file leaves it open; of several, by name."""
    calibration: tuple[Path, ...] = ()
    """Pictures that set the ranges of a float model's activations; the run's own picture otherwise."""
    percentile: float = 100.0
    """Part of the values, in %, that the ranges cover; 100 is min-max."""
    fallback: str = "host"
    """The way of nodes that the chip cannot run, one of `FALLBACKS`."""
    banned: Mapping[str, str] = field(default_factory=dict)
    """Why nodes are to stay on the host, by name."""
    values: Mapping[str, float] = field(default_factory=dict)
    """Of every element of inputs that are no pictures, by name."""


def is_file(net: str) -> bool:
    """Whether a network is named by a file, not by the zoo."""
    return _is_onnx(net) or _is_layer_list(net)


def _is_onnx(net: str) -> bool:
    return net.lower().endswith(".onnx")


def _is_layer_list(net: str) -> bool:
    return net.lower().endswith(tuple(LAYER_LISTS))


def require_network(net: str) -> None:
    """Refuse, before anything else, what names a file that can be no model; unknown names are left to the zoo."""
    path = Path(net)
    if net in ZOO or not (is_file(net) or path.exists() or path.suffix or len(path.parts) > 1):
        return
    if path.is_dir():
        raise BenchError(f"NET={net} is a folder; give an .onnx file in it")
    if not path.exists():
        raise BenchError(f"NET={net} does not exist; give an .onnx file, or a network of the zoo (make nets)")
    if not is_file(net):
        raise BenchError(
            f"NET={net} is no .onnx file, nor a list of layers ({', '.join(LAYER_LISTS)}); export the model to ONNX "
            "and give that file"
        )


def load_workload(
    net: str,
    *,
    weights: Path | None = None,
    image: str | Path | None = None,
    seed: int | None = None,
    prune: str | None = None,
    layers: str | None = None,
    onnx: OnnxOptions | None = None,
    fuse: bool = True,
    apart: bool = False,
    batch: int = 1,
    dealt: int | None = None,
) -> Workload:
    """Build a network of the zoo, or read an ONNX file or a list of layers; quantise it and compute every layer.

    With `prune` (`golden.pruning.pruning.load_pruning`) weights become zero before that, and biases may move.

    A batch is quantised on its first picture; `image` then names as many, with commas between, or is left out.

    With `fuse`, maximum pools move in front of concatenations, so that they can be fused with convolutions. With
    `apart` they do not, and a float network is quantised with every sum as a node of its own, which rounds on its own;
    an ONNX file that is quantised already has its sums so, and is what it is.

    With `dealt`, filters of fully connected layers are dealt to blocks of so many (`golden.int8.dealing`).

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
    if _is_onnx(net):
        for option, given in (("WEIGHTS", weights), ("SEED", seed), ("PRUNE", prune)):
            if given is not None:
                raise BenchError(f"{option}={given} makes no sense: {net} holds its weights; leave it out")
        options = onnx or OnnxOptions()
        source = _read_onnx(Path(net), files, batch, options, fold_sums=not apart)
        if options.fallback == "host":

            def without(banned: Mapping[str, str]) -> Workload:
                return load_workload(
                    net, image=image, layers=layers, onnx=replace(options, banned=banned), fuse=fuse, apart=apart,
                    batch=batch, dealt=dealt,
                )  # fmt: skip

            source = replace(source, without=without)
    else:
        if onnx is not None and onnx != OnnxOptions():
            raise BenchError(
                f"SHAPE, INPUT, CALIBRATION, PERCENTILE and FALLBACK belong to an .onnx file, not to {net}; leave them "
                "out"
            )
        if _is_layer_list(net):
            for option, given in (("WEIGHTS", weights), ("IMAGE", image)):
                if given is not None:
                    raise BenchError(f"{option}={given} makes no sense: {net} gives sizes alone; leave it out")
            source = _read_layer_list(Path(net), layers, batch, seed, prune, fold_sums=not apart)
            layers = None  # these are all
        else:
            source = _read_zoo(net, weights, files, batch, seed, prune, fold_sums=not apart)
    graph = source.graph
    selected = select_layers(graph, layers) if layers else graph
    if all(isinstance(node, QHost) for node in selected.nodes):
        raise BenchError(f"LAYERS={layers} run on the host, so there is nothing to simulate; name layers of the chip")
    needed = _up_to(graph, selected)
    runs = [ops.run(single(needed, number), raw) for number, raw in enumerate(source.raws, 1)]
    expected = runs[0]
    try:
        error, outputs, judgement = source.compare(expected, whole=not layers)
    except DisagreementError as disagreement:
        raise RunError(str(disagreement)) from disagreement
    if fuse and not apart:
        selected = pools_before_concats(selected)
        for node in selected.nodes:
            for tensors in runs:
                if node.output not in tensors:
                    tensors[node.output] = ops.run_node(node, tensors)
    if dealt is not None:
        before = {id(node.weight) for node in selected.nodes if isinstance(node, QConv)}
        selected = dealt_filters(selected, dealt)
        for node in selected.nodes:
            if isinstance(node, QConv) and id(node.weight) not in before:
                for tensors in runs:
                    tensors[node.output] = ops.run_node(node, tensors)
    first, *others = (tensors[selected.input] for tensors in runs)
    return Workload(
        selected, first, expected_of(runs), time.perf_counter() - start, source.note, error, outputs, judgement,
        tuple(others), source.share, () if layers else source.ends, source.origins, source.without,
        source.pruning,
    )  # fmt: skip


Compared = tuple[QuantisationError | None, tuple[OutputFacts, ...], Judgement | None]
"""The error of the int8 outputs, what each output is, and what the comparison with ONNX Runtime found."""


@dataclass(frozen=True, eq=False)
class _Source:
    """A quantised network as it was read."""

    graph: QGraph
    """Its host given the inputs of every picture."""
    raws: Sequence[np.ndarray]
    """Its input, int8[C, H, W], of every picture."""
    note: str
    """A remark on the input."""
    compare: Callable[..., Compared]
    """Compares its tensors, for the first picture, with what they should be; of the `whole` network also outputs."""
    share: Share | None = None
    ends: tuple[HostEnd, ...] = ()
    origins: Mapping[str, str] = field(default_factory=dict)
    without: Callable[[Mapping[str, str]], Workload] | None = None
    pruning: Pruning | None = None


def _read_weights(
    graph: Graph, file: Path | None, seed: int | None, prune: str | None, image: np.ndarray
) -> tuple[dict[str, np.ndarray], Pruning | None]:
    """Weights of a file or a seed, pruned if that is wanted; `image` is what the network is quantised on."""
    pruning = load_pruning(prune, graph) if prune is not None else None
    if file is None:
        values = seeded(graph, DEFAULT_SEED if seed is None else seed, pruning.prune if pruning else None)
    else:
        values = from_npz(file, graph)
        if pruning:
            pruning.prune(values)
    if pruning:
        pruning.set_inputs(values, image)
    return values, pruning


def _read_zoo(
    net: str, weights: Path | None, files: Sequence[str | Path], batch: int, seed: int | None, prune: str | None, *,
    fold_sums: bool,
) -> _Source:  # fmt: skip
    graph = load(net)
    inputs, note = load_batch(files, graph.input_shape, batch)
    picture = inputs[0]
    values, pruning = _read_weights(graph, weights, seed, prune, picture)
    real: dict[str, np.ndarray] = {}
    quantised = quantize(graph, values, picture, outputs=real, fold_sums=fold_sums)

    def compare(tensors: Mapping[str, np.ndarray], *, whole: bool) -> Compared:
        return output_error(real, quantised, tensors) if whole else None, (), None

    raws = [quantised.tensors[quantised.input].quantize(values) for values in inputs]
    return _Source(quantised, raws, note, compare, pruning=pruning)


def _read_layer_list(
    path: Path, layers: str | None, batch: int, seed: int | None, prune: str | None, *, fold_sums: bool
) -> _Source:
    network = load_layer_list(path)
    if layers:
        network = network.only(_named(network.layers, layers, network.graph.name))
    feeds = [network.feeds(picture) for picture in range(batch)]
    inputs = [network.image(picture) for picture in range(batch)]
    graph = network.graph.fed(feeds[0])
    values, pruning = _read_weights(graph, None, seed, prune, inputs[0])
    real: dict[str, np.ndarray] = {}
    quantised = quantize(graph, values, inputs[0], outputs=real, fold_sums=fold_sums)

    def compare(tensors: Mapping[str, np.ndarray], *, whole: bool) -> Compared:
        return output_error(real, quantised, tensors) if whole else None, (), None

    raws = [quantised.tensors[quantised.input].quantize(values) for values in inputs]
    return _Source(fed(quantised, feeds), raws, network.note, compare, pruning=pruning)


def _read_onnx(
    path: Path, files: Sequence[str | Path], batch: int, options: OnnxOptions, *, fold_sums: bool
) -> _Source:
    if options.fallback not in FALLBACKS:
        raise BenchError(f"FALLBACK={options.fallback}: use {' or '.join(FALLBACKS)}")
    loaded = load_onnx(
        path, options.shape, refuse=options.fallback == "refuse", banned=options.banned, values=options.values
    )
    if loaded.pictures not in (1, batch):
        raise BenchError(f"{path} takes {loaded.pictures} pictures at once; say BATCH={loaded.pictures}")
    if isinstance(loaded, QuantisedModel):
        if options.calibration or options.percentile != 100.0:
            raise BenchError(f"{path} is quantised already: leave CALIBRATION and PERCENTILE out")
        return _quantised_source(path, loaded, *load_feeds(loaded.inputs, files, batch, loaded.scales))
    return _float_source(path, loaded, *load_feeds(loaded.inputs, files, batch, {}), options, fold_sums=fold_sums)


def _quantised_source(path: Path, model: QuantisedModel, feeds: Sequence[Feeds], note: str) -> _Source:
    def compare(tensors: Mapping[str, np.ndarray], *, whole: bool) -> Compared:
        try:
            found = Reference(path, model, *feeds)
        except RuntimeRefusal as refusal:
            return None, (), Judgement(str(refusal))
        judgement = judge_quantised(found, model, feeds[0], tensors)
        if not whole:
            return None, (), judgement
        got = model.results(feeds[0], model.onnx_values(tensors))
        facts = tuple(
            _facts(model, output, output.value or output.layer, got, found.outputs, exact=True)
            for output in model.outputs
        )
        return None, facts, judgement

    ends = _ends(model, {})
    raws = [model.image(feed) for feed in feeds]
    return _Source(model.bound(feeds), raws, note, compare, model.share, ends, model.origins)


def _float_source(
    path: Path, model: FloatModel, feeds: Sequence[Feeds], note: str, options: OnnxOptions, *, fold_sums: bool
) -> _Source:
    graph, first = model.bound(feeds[0]), feeds[0]
    images = [model.image(feed) for feed in feeds]
    seen, graphs = [images[0]], [graph]
    real: dict[str, np.ndarray] = {}
    if options.calibration:
        others = [load_feeds(model.inputs, [file], 1, {})[0][0] for file in options.calibration]
        seen, graphs = [model.image(feed) for feed in others], [model.bound(feed) for feed in others]
    quantised = quantize(
        graph, model.weights, seen, percentile=options.percentile, outputs=real, fold_sums=fold_sums, graphs=graphs
    )
    if options.calibration:
        real = float_outputs(graph, model.weights, images[0])
    tensor_of = dict(zip(graph.outputs, quantised.outputs, strict=True))

    def compare(tensors: Mapping[str, np.ndarray], *, whole: bool) -> Compared:
        exact = model.results(first, model.onnx_values(real))
        try:
            found = Reference(path, model, *feeds)
            judgement, wanted = judge_float(found, model, first, exact), found.outputs
        except RuntimeRefusal as refusal:
            judgement, wanted = Judgement(str(refusal)), exact
        if not whole:
            return None, (), judgement
        values = {name: quantised.tensors[tensor].dequantize(tensors[tensor]) for name, tensor in tensor_of.items()}
        got = model.results(first, model.onnx_values(values))
        facts = tuple(
            _facts(model, output, tensor_of.get(output.value or ""), got, wanted, exact=False)
            for output in model.outputs
        )
        computed = [fact.name for fact in facts if fact.error is not None]
        pairs = {name: (got[name], wanted[name]) for name in computed}
        error = distance(*map(_joined, zip(*pairs.values(), strict=True))) if pairs else None
        return error, facts, judgement

    raws = [quantised.tensors[quantised.input].quantize(image) for image in images]
    ends = _ends(model, tensor_of)
    return _Source(fed(quantised, feeds), raws, note, compare, model.share, ends, model.origins)


def _ends(model: QuantisedModel | FloatModel, tensor_of: Mapping[str, str]) -> tuple[HostEnd, ...]:
    """What the host does at either end, if it computes anything there."""
    kinds = {node.name: node.kind for node in model.share.host}
    tail = (model.tail.nodes, tuple(tensor_of.get(name, name) for _, name in model.tail.inputs)) if model.tail else None
    found = [(model.head.nodes, (model.graph.input,)), *([tail] if tail else [])]
    return tuple(HostEnd(tuple(kinds[name] for name in nodes), tensors) for nodes, tensors in found if nodes)


def _joined(arrays: Sequence[np.ndarray]) -> np.ndarray:
    return np.concatenate([array.astype(np.float64).reshape(-1) for array in arrays])


def _comparable(got: np.ndarray, wanted: np.ndarray) -> bool:
    """Whether two outputs are real numbers of one shape."""
    return got.dtype.kind == "f" and got.shape == wanted.shape and got.size > 0


def _facts(
    model: QuantisedModel | FloatModel,
    output: Output,
    tensor: str | None,
    got: Mapping[str, np.ndarray],
    wanted: Mapping[str, np.ndarray],
    *,
    exact: bool,
) -> OutputFacts:
    """What an output is, and how far it is from the one that it should be."""
    if output.constant:
        return OutputFacts(output.name, output.shape, None, "constant")
    name, value = output.name, got[output.name]
    source = "input" if name in {port.name for port in model.inputs} else "host" if tensor is None else "layer"
    if source == "input":
        return OutputFacts(name, output.shape, tensor, source)
    if _comparable(value, wanted[name]) and not exact:
        return OutputFacts(name, output.shape, tensor, source, distance(value, wanted[name]))
    return OutputFacts(name, output.shape, tensor, source, None, _unlike(value, wanted[name]))


def _unlike(got: np.ndarray, wanted: np.ndarray) -> float:
    """Part of the elements that are not equal; 1 for other shapes."""
    if got.shape != wanted.shape or got.dtype == object:
        return 1.0
    same = (got == wanted) | ((got != got) & (wanted != wanted))
    return float(1 - same.mean()) if got.size else 0.0


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
    chosen = _named([node.name for node in graph.nodes], layers, graph.name)
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


def _named(names: Sequence[str], layers: str, network: str) -> list[str]:
    """Those that `layers` names, in the network's order."""
    chosen: set[str] = set()
    for item in layers.split(","):
        first, dots, last = item.strip().partition("..")
        for name in (first, last) if dots else (first,):
            if name not in names:
                raise BenchError(f"{network} has no layer {name!r}; it has {', '.join(names)}")
        low, high = names.index(first), names.index(last if dots else first)
        if low > high:
            raise BenchError(f"layers {item!r}: {first} comes after {last}; write {last}..{first}")
        chosen.update(names[low : high + 1])
    return [name for name in names if name in chosen]
