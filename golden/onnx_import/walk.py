"""What both imports share: the walk over a model's nodes, and which of its errors become one line for the user."""

from collections.abc import Callable
from typing import TypeVar

from golden.errors import GoldenError, OnnxError
from golden.onnx_import.model import Model, Op

__all__ = ["MALFORMED", "VIEWS", "translate"]

VIEWS = ("Dropout", "Flatten", "Identity", "Reshape", "Squeeze", "Unsqueeze")
"""Operators that only see their input in another shape."""
MALFORMED = (ArithmeticError, AttributeError, LookupError, TypeError, ValueError)
"""What reading attributes and inputs that contradict each other may raise."""

Result = TypeVar("Result")


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
