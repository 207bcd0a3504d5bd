"""Element-wise functions that are no clamps: nodes of the float graph, and what they compute.

In a quantised network such a function of an int8 value has 256 results, and becomes a table.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import reduce

import numpy as np

from golden.net.nodes import Node, Shape

__all__ = [
    "FUNCTIONS", "Activation", "Elu", "Expression", "Gelu", "HardSigmoid", "HardSwish", "LeakyRelu", "Sigmoid", "Silu",
    "Tanh", "Term",
]  # fmt: skip

_erf = np.vectorize(math.erf, otypes=[np.float64])


def _sigmoid(x: np.ndarray) -> np.ndarray:
    return 0.5 + 0.5 * np.tanh(0.5 * x)  # of the forms, the one that never overflows


def _hard_sigmoid(x: np.ndarray, alpha: float, beta: float) -> np.ndarray:
    return np.clip(alpha * x + beta, 0, 1)


def _gelu(x: np.ndarray) -> np.ndarray:
    return (0.5 * x * (1 + _erf(x / math.sqrt(2)))).astype(x.dtype)


def _gelu_tanh(x: np.ndarray) -> np.ndarray:
    return 0.5 * x * (1 + np.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x * x * x)))


def _elu(x: np.ndarray, alpha: float) -> np.ndarray:
    return np.where(x < 0, alpha * np.expm1(np.minimum(x, 0)), x)


FUNCTIONS: dict[str, Callable[..., np.ndarray]] = {
    "Abs": np.abs,
    "Add": np.add,
    "Celu": lambda x, alpha: _elu(x / alpha, 1.0) * alpha,
    "Clip": np.clip,
    "Div": np.divide,
    "Elu": _elu,
    "Erf": lambda x: _erf(x).astype(x.dtype),
    "Exp": np.exp,
    "Gelu": _gelu,
    "GeluTanh": _gelu_tanh,
    "HardSigmoid": _hard_sigmoid,
    "HardSwish": lambda x: x * _hard_sigmoid(x, 1 / 6, 0.5),
    "LeakyRelu": lambda x, alpha: np.where(x < 0, alpha * x, x),
    "Max": lambda *values: reduce(np.maximum, values),
    "Min": lambda *values: reduce(np.minimum, values),
    "Mul": np.multiply,
    "Neg": np.negative,
    "Pow": np.power,
    "QuickGelu": lambda x, alpha: x * _sigmoid(alpha * x),
    "Selu": lambda x, alpha, gamma: gamma * _elu(x, alpha),
    "Sigmoid": _sigmoid,
    "Silu": lambda x: x * _sigmoid(x),
    "Softplus": lambda x: np.logaddexp(x, 0),
    "Softsign": lambda x: x / (1 + np.abs(x)),
    "Sqrt": np.sqrt,
    "Sub": np.subtract,
    "Tanh": np.tanh,
}
"""By ONNX's names where it has one; parameters follow the operands."""


@dataclass(frozen=True)
class Activation(Node):
    """A function of every element on its own."""

    input: str

    @property
    def inputs(self) -> tuple[str, ...]:
        return (self.input,)

    def infer(self, *shapes: Shape) -> Shape:
        return shapes[0]

    def apply(self, x: np.ndarray) -> np.ndarray:
        """The function, in the type of float[...] `x`."""
        return FUNCTIONS[type(self).__name__](x)


@dataclass(frozen=True)
class Sigmoid(Activation):
    """1 / (1 + exp(-x))."""


@dataclass(frozen=True)
class Silu(Activation):
    """x * sigmoid(x), also called Swish."""


@dataclass(frozen=True)
class Tanh(Activation):
    """Hyperbolic tangent."""


@dataclass(frozen=True)
class HardSigmoid(Activation):
    """clip(alpha * x + beta, 0, 1); the defaults are PyTorch's."""

    alpha: float = 1 / 6
    beta: float = 0.5

    def apply(self, x: np.ndarray) -> np.ndarray:
        return _hard_sigmoid(x, self.alpha, self.beta)


@dataclass(frozen=True)
class HardSwish(Activation):
    """x * clip(x / 6 + 1 / 2, 0, 1)."""


@dataclass(frozen=True)
class Gelu(Activation):
    """x * Phi(x), Phi the normal distribution; `tanh` is the usual approximation of it."""

    tanh: bool = False

    def apply(self, x: np.ndarray) -> np.ndarray:
        return _gelu_tanh(x) if self.tanh else _gelu(x)


@dataclass(frozen=True)
class LeakyRelu(Activation):
    """x, or alpha * x where x is negative."""

    alpha: float = 0.01

    def apply(self, x: np.ndarray) -> np.ndarray:
        return FUNCTIONS["LeakyRelu"](x, self.alpha)


@dataclass(frozen=True)
class Elu(Activation):
    """x, or alpha * (exp(x) - 1) where x is negative."""

    alpha: float = 1.0

    def apply(self, x: np.ndarray) -> np.ndarray:
        return _elu(x, self.alpha)


@dataclass(frozen=True)
class Term:
    """One step of an expression.

    Attributes
    ----------
    function : str
        Of `FUNCTIONS`.
    operands : tuple of int or float
        An int is the number of an earlier result, 0 for the input and n for term n - 1; a float is a constant.
    """

    function: str
    operands: tuple[int | float, ...]


@dataclass(frozen=True)
class Expression(Activation):
    """Whatever the last of its terms gives."""

    terms: tuple[Term, ...]

    def apply(self, x: np.ndarray) -> np.ndarray:
        results = [x]
        with np.errstate(all="ignore"):  # what is not finite is refused by who uses it
            for term in self.terms:
                operands = [results[item] if isinstance(item, int) else item for item in term.operands]
                results.append(FUNCTIONS[term.function](*operands))
        return results[-1].astype(x.dtype)
