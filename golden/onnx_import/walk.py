"""What both imports share: the walk over a model's nodes, and which of its errors become one line for the user."""

from collections.abc import Callable, Set
from typing import Protocol, TypeVar

from golden.errors import GoldenError, GraphError, OnnxError, UnsupportedError
from golden.onnx_import.draft import Draft
from golden.onnx_import.model import Model, Op

__all__ = [
    "CONVERSIONS",
    "MALFORMED",
    "VIEWS",
    "Walk",
    "on_chip_or_host",
    "require_known",
    "require_shape",
    "translate",
]

VIEWS = ("Dropout", "Flatten", "Identity", "Reshape", "Squeeze", "Unsqueeze")
"""Operators that only see their input in another shape."""
CONVERSIONS = ("DequantizeLinear", "DynamicQuantizeLinear", "QuantizeLinear")
"""Operators between integers and real numbers, which count for no work."""
MALFORMED = (ArithmeticError, AttributeError, LookupError, TypeError, ValueError)
"""What reading attributes and inputs that contradict each other may raise."""

Result = TypeVar("Result")


class Walk(Protocol):
    """An import under way."""

    @property
    def model(self) -> Model:
        """What is imported."""
        ...

    @property
    def draft(self) -> Draft:
        """What has been made so far."""
        ...

    refusals: dict[str, str]
    """Why the chip cannot run a node that the host runs, by its name."""

    def chip(self, op: Op) -> None:
        """Import a node for the chip."""
        ...

    def host(self, op: Op) -> None:
        """Import a node for the host."""
        ...


def require_shape(model: Model, op: Op, shape: tuple[int, ...], name: str = "") -> None:
    """Refuse an import that sees the result of a node in another shape than ONNX's own inference, where that knows it.

    No valid model does this: it is a fault of the import, which would show as wrong values further on.
    """
    if any(other.attributes.get("ceil_mode", 0) for other in model.ops):
        return  # inference for older opsets counts windows that begin in the padding
    inferred = model.shapes.get(name or op.outputs[0], shape)
    if inferred != shape:
        op.fail(f"its output was taken for {shape}, but is {inferred}", "a fault of systomesh: report the model")


def translate(model: Model, step: Callable[[Op], None], finish: Callable[[], Result]) -> Result:
    """Take every node in order, then what came of it.

    Raises
    ------
    OnnxError
        For whatever goes wrong on the way; names the node, or the model.
    """
    for op in model.ops:
        try:
            step(op)
        except OnnxError:
            raise
        except GoldenError as error:
            raise OnnxError(f"node {op.name!r} ({op.kind}): {error}") from error
        except MALFORMED as error:
            op.fail(f"its inputs or attributes do not fit together ({error})", "export the model again")
    try:
        return finish()
    except OnnxError:
        raise
    except GoldenError as error:
        raise OnnxError(f"model {model.name!r}: {error}") from error


def on_chip_or_host(walk: Walk, op: Op) -> None:
    """Import a node for the chip; where that or its layer graph refuses it, for the host.

    Nothing stays of a refused attempt but the names that it used.
    """
    try:
        with walk.draft.transaction():
            _require_free(walk.model, op)
            walk.chip(op)
    except (UnsupportedError, GraphError) as error:
        walk.refusals[op.name] = str(error)
        walk.host(op)


UNCHANGED_OPS = frozenset({
    "Add", "AveragePool", "BatchNormalization", "Concat", "Conv", "Flatten", "Gemm", "GlobalAveragePool", "Identity",
    "MatMul", "MaxPool", "Relu", "Reshape", "Sigmoid", "Tanh",
})  # fmt: skip
"""Operators that mean in operator sets 9 to 12 what they mean in later ones."""


def _require_free(model: Model, op: Op) -> None:
    """Refuse a node that has to stay on the host."""
    if op.name in model.banned:
        raise UnsupportedError(f"node {op.name!r} ({op.kind}): {model.banned[op.name]}")
    if not model.native and op.kind not in UNCHANGED_OPS:
        op.cannot("onnx's converter cannot bring the model to opset 13", "export it with opset 13 or later")
    if op.kind == "If":
        op.cannot(f"its condition {op.inputs[0]!r} depends on the inputs", "make what decides it a constant")
    if any(op.proto.attribute[i].HasField("g") or op.proto.attribute[i].graphs for i in range(len(op.proto.attribute))):
        op.cannot("it holds a graph of its own", "control flow runs on the host")
    if op.reads and model.loose.intersection(op.reads):
        op.cannot("a shape that it reads depends on the data", "only the host can compute it")


def require_known(op: Op, kinds: Set[str]) -> None:
    """Refuse, for the chip, an operator that is none of `kinds` or has several outputs."""
    if op.kind not in kinds:
        op.cannot("the chip does not know this operator", "the host does")
    if any(op.outputs[1:]) and op.kind != "Split":
        op.cannot(f"it has {len(op.outputs)} outputs", "the chip computes only the first")
