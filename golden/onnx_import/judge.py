"""ONNX Runtime as the judge of an import: the file as it is, run on the run's own input, against the imported graph.

A graph that is evaluated by the code that imported it judges itself. So ONNX Runtime runs the unchanged file, at the
level that computes every operator on its own, and shows all the values that the imported graph has too. Each node is
then computed from ONNX Runtime's values of its inputs and compared with ONNX Runtime's value of its output: the
rounding of one layer has a bound (`golden.onnx_import.rounding`) that neither the depth of a network nor a jump in it
can stretch, and where all layers agree, so does the network.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
from google.protobuf.message import EncodeError
from onnx import TensorProto, ValueInfoProto, helper

from golden.errors import DisagreementError
from golden.int8 import ops
from golden.int8.fallback import LEVELS, MEANING, RuntimeRefusal, as_int8, run_model
from golden.net.evaluate import evaluate
from golden.onnx_import.branches import inlined
from golden.onnx_import.imported import FloatModel, QuantisedModel
from golden.onnx_import.reading import parse
from golden.onnx_import.rounding import carried_slack, dynamic_slack, float_slack, largest, other_side

__all__ = ["Judgement", "Reference", "judge_float", "judge_quantised"]

Values = Mapping[str, np.ndarray]

LEVEL_TOLERANCE = 2.0**-12
"""Part of an output's largest value by which float outputs of two levels differ before it is worth a line: far above
what another order of float32 sums does, far below what a kernel does that computes something else."""

HALF_UNIT = 2.0**-9
"""Part of the largest value by which two computations in float16 may differ: ONNX Runtime rounds each step to it."""

PRODUCTS = frozenset({"QGemm", "QLinearConv", "QLinearMatMul"})
"""Operators that ONNX Runtime computes by integer products at any level."""


@dataclass(frozen=True)
class Judgement:
    """What the comparison found, where it found no fault.

    Attributes
    ----------
    refusal : str
        Why ONNX Runtime does not run the file; then nothing is compared.
    real : bool
        Whether float values were compared, not int8 ones.
    values : int
        Elements that were compared.
    ties : int
        Of them, int8 values that differ because float32 cannot tell a rounding tie from its neighbourhood.
    saturated : int
        Of them, int8 values that differ where ONNX Runtime's products of uint8 and int8 saturate on this processor.
    output_difference : float or None
        Largest distance of an output, computed from end to end: of float models over that output's largest value, of
        quantised ones in steps of its scale. None where not all layers are computed.
    levels : tuple of str
        How other optimisation levels of ONNX Runtime differ from the one that computes operator by operator.
    """

    refusal: str = ""
    real: bool = False
    values: int = 0
    ties: int = 0
    saturated: int = 0
    output_difference: float | None = None
    levels: tuple[str, ...] = ()


class Reference:
    """ONNX Runtime's values of an unchanged file: its outputs, and what an import shows besides.

    Raises
    ------
    RuntimeRefusal
        If ONNX Runtime does not run it.
    DisagreementError
        If an output has another shape than the import says.
    """

    def __init__(self, path: Path, model: FloatModel | QuantisedModel, *pictures: Values) -> None:
        """Of the first picture; a file that takes several at once gets as many."""
        count = model.pictures
        feeds = pictures[0]
        if count > 1:
            together = [pictures[number % len(pictures)] for number in range(count)]
            feeds = {name: np.concatenate([each[name] for each in together]) for name in feeds}
        feeds = {**feeds, **model.fixed}
        self._path, self._feeds = path, feeds
        self.names = list(dict.fromkeys(output.name for output in model.outputs))
        """Of its outputs."""
        file = parse(path)
        proto = inlined(file, model.taken) if model.taken else file
        graph = proto.graph
        self.kinds = {name: node.op_type for node in graph.node for name in node.output}
        """The operator behind each value."""
        present = {value.name for value in graph.output}
        inner = [name for name in dict.fromkeys(model.names.values()) if name in self.kinds and name not in present]
        graph.output.extend(ValueInfoProto(name=name) for name in inner)
        wanted = [*self.names, *inner]
        try:
            shown = proto.SerializeToString()
        except (EncodeError, ValueError) as error:
            raise RuntimeRefusal("it is larger than 2 GB") from error
        self._all = dict(feeds) | dict(zip(wanted, run_model(shown, feeds, wanted), strict=True))
        if model.taken:  # the file's own outputs, to which those of the branches are to lead
            self._require_outputs(run_model(file.SerializeToString(), feeds, self.names))
        self.values = {name: value[: len(value) // count] if value.ndim else value for name, value in self._all.items()}
        for output in model.outputs:
            given = self.values[output.name].shape
            if output.shape is not None and given != output.shape and self.values[output.name].dtype != object:
                raise DisagreementError(
                    f"output {output.name!r} has shape {output.shape}, but ONNX Runtime gives {given}; this is a fault "
                    "of systomesh: report the model"
                )

    def _require_outputs(self, given: list[np.ndarray]) -> None:
        """Refuse branches that lead to other outputs than the file's."""
        for name, value in zip(self.names, given, strict=True):
            taken = self._all[name]
            if value.dtype != object and not np.array_equal(value, taken, equal_nan=value.dtype.kind == "f"):
                raise DisagreementError(
                    f"output {name!r} of the branches that are taken is not that of the file; this is a fault of "
                    "systomesh: report the model"
                )

    @property
    def outputs(self) -> dict[str, np.ndarray]:
        """The outputs of the file."""
        return {name: self.values[name] for name in self.names}

    def value(self, name: str, shape: tuple[int, int, int], *, last: bool = False) -> np.ndarray:
        """A value as the chip holds it."""
        value = self.values[name]
        if value.size != np.prod(shape):
            raise DisagreementError(
                f"value {name!r} has shape {shape} on the chip, but ONNX Runtime gives {value.shape}; this is a fault "
                "of systomesh: report the model"
            )
        return value.reshape(*shape[1:], shape[0]).transpose(2, 0, 1) if last else value.reshape(shape)

    def levels(self) -> tuple[str, ...]:
        """How other optimisation levels differ at the outputs, a line for each output and difference.

        Where the highest level, which is ONNX Runtime's default, does not, those between are not run.
        """
        highest, *between = reversed([level for level in LEVELS if level != MEANING])
        found = {highest: self._differences(highest)}
        if found[highest]:
            found |= {level: self._differences(level) for level in between}
        lines = dict.fromkeys(line for differences in found.values() for line in differences)
        return tuple(
            f"{line} ({', '.join(level for level in LEVELS if line in found.get(level, ()))})" for line in lines
        )

    def _differences(self, level: str) -> list[str]:
        """Outputs that differ at a level."""
        try:
            values = run_model(str(self._path), self._feeds, self.names, level)
        except RuntimeRefusal as refusal:
            return [f"no result: {refusal}"]
        lines = []
        for name, value in zip(self.names, values, strict=True):
            meant = self._all[name]
            if value.dtype == object or value.shape != meant.shape:
                continue
            distance = _distance(value, meant)
            differ = distance > (LEVEL_TOLERANCE * largest(meant) if meant.dtype.kind == "f" else 0)
            if differ.any():
                lines.append(f"{name!r} by up to {distance.max():.3g} in {_share(differ)}")
        return lines


def judge_float(found: Reference, model: FloatModel, feeds: Values, real: Values) -> Judgement:
    """Compare an imported float model with ONNX Runtime.

    Parameters
    ----------
    feeds : mapping of str to array
        Inputs of the model.
    real : mapping of str to array
        Outputs of the model, computed by the imported graph in float.

    Raises
    ------
    DisagreementError
        If a value differs by more than float32's rounding; names the output, the distance and the first such value.
    """
    graph = model.bound(feeds)
    distances = {name: _relative(value, found.values[name]) for name, value in real.items() if value.dtype.kind == "f"}
    values = {graph.input: model.image(feeds)}
    inner: dict[str, np.ndarray | float] = {}
    compared = 0
    for node in graph.nodes:
        inputs = [values[name] for name in node.inputs]
        tensors = [model.weights[key] for key in graph.node_tensors(node)]
        with np.errstate(all="ignore"):
            values[node.name] = got = evaluate(node, inputs, tensors)
            name = model.names.get(node.name, "")
            slack = float_slack(node, inputs, tensors, got, model.folded.get(node.name))
            slack = slack + carried_slack(node, tensors, [inner.get(source, 0.0) for source in node.inputs])
            if node.name in model.dynamic:
                slack = slack + dynamic_slack(inputs[0], tensors[0])
            if name not in found.values:  # no value of the file: what reads it is compared
                inner[node.name] = slack
                continue
            value = found.value(name, got.shape, last=node.name in model.last)
            values[node.name] = expected = value.astype(np.float32)
            slack = slack + HALF_UNIT * np.abs(expected).max(initial=0.0) * (value.dtype == np.float16)
            distance = _distance(got, expected)
        beyond = distance > slack
        if beyond.any():
            worst = int(np.where(beyond, distance, -1).argmax())
            explained = float(np.broadcast_to(slack, got.shape).reshape(-1)[worst])
            raise DisagreementError(
                f"{_farthest(distances, 'of its largest value')} {name!r} of node {node.name!r}: by "
                f"{distance.reshape(-1)[worst]:.3g} in {_share(beyond)}, where float32's rounding explains "
                f"{explained:.1g}"
            )
        compared += got.size
    difference = max(distances.values(), default=None)
    return Judgement(real=True, values=compared, output_difference=difference, levels=found.levels())


def judge_quantised(found: Reference, model: QuantisedModel, feeds: Values, known: Values) -> Judgement:
    """Compare an imported quantised model with ONNX Runtime.

    Parameters
    ----------
    feeds : mapping of str to array
        Inputs of the model.
    known : dict of str to int8[C, H, W]
        Tensors of the imported graph, as far as they are computed.

    Raises
    ------
    DisagreementError
        If a value differs and is no rounding tie; names the output, the distance and the first such value.
    """
    graph = model.bound([feeds])
    image = model.image(feeds)
    reference = {
        tensor: as_int8(found.value(name, graph.tensors[tensor].shape, last=tensor in model.last))
        for tensor, name in model.names.items()
        if name in found.values
    }
    whole = all(name in known for name in graph.outputs)
    distances: dict[str, float] = {}
    if whole:
        scales = {o.name: graph.tensors[o.layer].scale for o in model.outputs if o.layer is not None}
        results = model.results(feeds, model.onnx_values(known))
        distances = {
            name: _steps(value, found.values[name], scales.get(name, 1.0))
            for name, value in results.items()
            if value.dtype != object
        }
    values = {graph.input: image} | reference
    same = {name for name, value in values.items() if name in known and np.array_equal(value, known[name])}
    others: dict[str, np.ndarray] = {}
    compared, ties, saturated = image.size, 0, 0
    if not np.array_equal(image, values[graph.input]):
        _require(image, values[graph.input], image, f"the input {graph.input!r}", distances)
    for node in graph.nodes:
        done = node.output in known and same.issuperset(node.inputs)
        got = known[node.output] if done else ops.run_node(node, values)
        if node.output not in reference:  # a step inside an ONNX node
            values[node.output] = got
            others[node.output] = other_side(node, values, got, others)
            continue
        compared += got.size
        if np.array_equal(got, values[node.output]):
            continue
        other, name = other_side(node, values, got, others), model.names[node.output]
        differ = int(np.count_nonzero(got != values[node.output]))
        if found.kinds.get(name) in PRODUCTS and products_saturate():
            saturated += differ
            continue
        _require(got, values[node.output], other, f"{name!r} of node {node.name!r}", distances)
        ties += differ
    difference = max(distances.values(), default=None)
    return Judgement("", False, compared, ties, saturated, difference, found.levels())


@cache
def products_saturate() -> bool:
    """Whether sums of two products of uint8 and int8 stop at 16 bits, as they do on x86 processors without VNNI."""
    product = helper.make_node("MatMulInteger", ["a", "b"], ["y"])
    sources = [("a", TensorProto.UINT8, [1, 64]), ("b", TensorProto.INT8, [64, 64])]
    graph = helper.make_graph(
        [product], "saturates", [helper.make_tensor_value_info(*source) for source in sources],
        [helper.make_tensor_value_info("y", TensorProto.INT32, None)],
    )  # fmt: skip
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)
    feeds = {"a": np.full((1, 64), 255, np.uint8), "b": np.full((64, 64), 127, np.int8)}
    (sums,) = run_model(model.SerializeToString(), feeds, ["y"])
    return bool((sums != 64 * 255 * 127).any())


def _require(
    got: np.ndarray, expected: np.ndarray, other: np.ndarray, what: str, distances: Mapping[str, float]
) -> None:
    """Refuse int8 values that are neither equal nor on the other side of a tie."""
    beyond = (got != expected) & (other != expected)
    if beyond.any():
        steps = int(_distance(got, expected)[beyond].max())
        raise DisagreementError(
            f"{_farthest(distances, 'steps')} {what}: by {steps} in {_share(beyond)} that lie on no rounding tie"
        )


def _farthest(distances: Mapping[str, float], unit: str) -> str:
    """How far the worst output is off, as the start of a line that goes on with the first value."""
    if not distances:
        return "the import computes something else than ONNX Runtime on the unchanged file: first"
    name = max(distances, key=lambda name: distances[name])
    return (
        f"output {name!r} differs from ONNX Runtime's on the unchanged file by {distances[name]:.3g} {unit}; the first "
        "value beyond rounding is"
    )


def _distance(got: np.ndarray, expected: np.ndarray) -> np.ndarray:
    """Distances float64; infinite where one alone is no finite number."""
    with np.errstate(all="ignore"):
        distance = np.abs(got.astype(np.float64) - expected.astype(np.float64))
    same = (got == expected) | (np.isnan(got) & np.isnan(expected))
    return np.where(same, 0.0, np.nan_to_num(distance, nan=np.inf))


def _relative(got: np.ndarray, expected: np.ndarray) -> float:
    """Largest distance over the largest value."""
    if got.shape != expected.shape:
        return np.inf
    return float(_distance(got, expected).max(initial=0.0) / (largest(expected) or 1.0))


def _steps(got: np.ndarray, expected: np.ndarray, scale: float) -> float:
    """Largest distance, in steps of a scale: of integers 1; of real numbers that the host computes 1 too."""
    if got.shape != expected.shape:
        return np.inf
    return float(_distance(got, expected).max(initial=0.0)) / scale


def _share(mask: np.ndarray) -> str:
    return f"{np.count_nonzero(mask):,} of {mask.size:,} values"
