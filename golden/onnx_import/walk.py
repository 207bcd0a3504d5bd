"""What both imports share: the walk over a model's nodes, and which of its errors become one line for the user."""

from collections.abc import Callable
from typing import TypeVar

from golden.errors import GoldenError, OnnxError
from golden.onnx_import.model import Model, Op

__all__ = ["MALFORMED", "VIEWS", "require_shape", "translate"]

VIEWS = ("Dropout", "Flatten", "Identity", "Reshape", "Squeeze", "Unsqueeze")
"""Operators that only see their input in another shape."""
MALFORMED = (ArithmeticError, AttributeError, LookupError, TypeError, ValueError)
"""What reading attributes and inputs that contradict each other may raise."""

Result = TypeVar("Result")


def require_shape(model: Model, op: Op, shape: tuple[int, ...]) -> None:
    """Refuse an import that sees the result of a node in another shape than ONNX's own inference, where that knows it.

    No valid model does this: it is a fault of the import, which would show as wrong values further on.
    """
    inferred = model.shapes.get(op.outputs[0], shape)
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
