"""onnx's own tests of single operators, run on the chip's mathematics: what runs there, what is left to the host.

python -m tests.onnx_backend        prints the table of docs/operators.md
"""

import warnings
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import onnx
from onnx import numpy_helper

from golden.errors import OnnxError
from golden.int8 import ops
from golden.net.float_ops import run_float
from golden.onnx_import import FloatModel, QuantisedModel, load_onnx
from golden.onnx_import.model import FLOAT_OPS, QUANTISED_OPS
from tb.report import markdown

__all__ = ["cases", "outcome", "table"]

TYPES = (onnx.TensorProto.FLOAT, onnx.TensorProto.INT8, onnx.TensorProto.UINT8)
PLACES = ("chip", "host", "refused")
TOLERANCE = 1e-3
"""Relative and absolute, of real values: as onnx's own tests allow."""


def cases() -> Iterator[tuple[str, str, onnx.ModelProto, list[np.ndarray], np.ndarray]]:
    """Name, operator, model, inputs and result of every test of an operator of the chip with one such result."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of their own arithmetic
        from onnx.backend.test.loader import load_model_tests

        found = load_model_tests(kind="node")
    for case in found:
        model = case.model
        if model is None or len(model.graph.output) != 1 or not case.data_sets:
            continue
        kinds = {op.op_type for op in model.graph.node}
        inputs, results = case.data_sets[0]
        arrays = all(isinstance(value, np.ndarray) for value in [*inputs, *results])
        known = len(kinds) == 1 and kinds <= FLOAT_OPS | QUANTISED_OPS
        if arrays and known and model.graph.output[0].type.tensor_type.elem_type in TYPES:
            yield case.name, kinds.pop(), model, list(inputs), results[0]


def outcome(model: onnx.ModelProto, inputs: list[np.ndarray], result: np.ndarray) -> str:
    """ "chip" if it has a part in it, "host" if it has none, or "refused" with a reason.

    Also with all inputs but the first as constants, which they are in networks: as weights, bounds or shapes; and with
    the first behind a layer that leaves it as it is, for nothing comes to the chip that only the host has.

    Raises
    ------
    AssertionError
        If the result differs from onnx's.
    """
    names = [value.name for value in model.graph.input]
    feeds = dict(zip(names, inputs, strict=True))
    fixed = onnx.ModelProto.FromString(model.SerializeToString())
    fixed.graph.initializer.extend(numpy_helper.from_array(feeds[name], name) for name in names[1:])
    del fixed.graph.input[1:]
    found = [_outcome(item, feeds, result) for item in (fixed, model)]
    behind = _behind_a_layer(fixed, feeds[names[0]]) if names else None
    if behind is not None and "chip" not in found:
        found.append(_outcome(behind, feeds, result, model.graph.node[0].op_type))
    return min(found, key=PLACES.index)


def _behind_a_layer(model: onnx.ModelProto, x: np.ndarray) -> onnx.ModelProto | None:
    """The model with its input multiplied with a unit matrix; None where that cannot be."""
    if x.dtype != np.float32 or x.ndim < 2 or not x.size:
        return None
    made = onnx.ModelProto.FromString(model.SerializeToString())
    name = made.graph.input[0].name
    for op in made.graph.node:
        op.input[:] = ["behind" if item == name else item for item in op.input]
    made.graph.node.insert(0, onnx.helper.make_node("MatMul", [name, "unit"], ["behind"]))
    made.graph.initializer.append(numpy_helper.from_array(np.eye(x.shape[-1], dtype=np.float32), "unit"))
    return made


def _outcome(model: onnx.ModelProto, feeds: dict[str, np.ndarray], expected: np.ndarray, kind: str = "") -> str:
    """With a kind, "chip" only if no operator of that kind is left to the host."""
    with TemporaryDirectory() as folder:
        path = Path(folder) / "model.onnx"
        path.write_bytes(model.SerializeToString())
        try:
            loaded = load_onnx(path)
        except OnnxError as error:
            return "host" if "nothing of model" in str(error) else "refused"
    if any(node.kind == kind for node in loaded.share.host):  # then ONNX Runtime would be compared with onnx
        return "host"
    results = [_result(loaded, _of_picture(loaded, feeds, number)) for number in range(loaded.pictures)]
    got = np.concatenate(results) if loaded.pictures > 1 else results[0]
    assert got.shape == expected.shape, (got.shape, expected.shape)
    if expected.dtype.kind == "f":
        np.testing.assert_allclose(got, expected, rtol=TOLERANCE, atol=TOLERANCE)
    else:
        assert np.abs(got.astype(np.int16) - expected.astype(np.int16)).max(initial=0) <= 1
    return "chip"


def _of_picture(
    loaded: FloatModel | QuantisedModel, feeds: dict[str, np.ndarray], number: int
) -> dict[str, np.ndarray]:
    """Inputs of one of the pictures of which a file's batch is."""
    values = {port.name: feeds[port.name] for port in loaded.inputs}
    if loaded.pictures == 1:
        return values
    return {name: value[number : number + 1] for name, value in values.items()}


def _result(loaded: FloatModel | QuantisedModel, feeds: dict[str, np.ndarray]) -> np.ndarray:
    image = loaded.image(feeds)
    if isinstance(loaded, FloatModel):
        values = run_float(loaded.bound(feeds), loaded.weights, image)
    else:
        values = ops.run(loaded.bound([feeds]), image)
    (got,) = loaded.results(feeds, loaded.onnx_values(values)).values()
    return got


def table() -> str:
    """A Markdown table: operators, and how many of onnx's tests run on the chip, and on the host."""
    counts: dict[str, dict[str, int]] = {}
    for _, kind, model, inputs, result in cases():
        counts.setdefault(kind, dict.fromkeys(PLACES, 0))[outcome(model, inputs, result)] += 1
    counts["all"] = {place: sum(of[place] for of in counts.values()) for place in PLACES}
    rows = [(kind, *map(str, counts[kind].values())) for kind in sorted(counts)]  # "all", in small letters, is last
    return markdown.table(("operator", "on the chip", "on the host alone", "refused"), rows)


if __name__ == "__main__":
    print(table(), end="")
