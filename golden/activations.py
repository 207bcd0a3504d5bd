"""Element-wise functions that are no clamps: nodes of the float graph, and what they compute.

In a quantised network such a function of an int8 value has 256 results, and becomes a table.
"""

import math
from dataclasses import dataclass

import numpy as np

from golden.nodes import Node, Shape

__all__ = ["Activation", "Elu", "Gelu", "HardSigmoid", "HardSwish", "LeakyRelu", "Sigmoid", "Silu", "Tanh"]

_erf = np.vectorize(math.erf, otypes=[np.float64])


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
        raise NotImplementedError


def _sigmoid(x: np.ndarray) -> np.ndarray:
    return 0.5 + 0.5 * np.tanh(0.5 * x)  # of the forms, the one that never overflows


@dataclass(frozen=True)
class Sigmoid(Activation):
    """1 / (1 + exp(-x))."""

    def apply(self, x: np.ndarray) -> np.ndarray:
        return _sigmoid(x)


@dataclass(frozen=True)
class Silu(Activation):
    """x * sigmoid(x), also called Swish."""

    def apply(self, x: np.ndarray) -> np.ndarray:
        return x * _sigmoid(x)


@dataclass(frozen=True)
class Tanh(Activation):
    """Hyperbolic tangent."""

    def apply(self, x: np.ndarray) -> np.ndarray:
        return np.tanh(x)


@dataclass(frozen=True)
class HardSigmoid(Activation):
    """clip(alpha * x + beta, 0, 1); the defaults are PyTorch's."""

    alpha: float = 1 / 6
    beta: float = 0.5

    def apply(self, x: np.ndarray) -> np.ndarray:
        return np.clip(x.dtype.type(self.alpha) * x + x.dtype.type(self.beta), 0, 1)


@dataclass(frozen=True)
class HardSwish(Activation):
    """x * clip(x / 6 + 1 / 2, 0, 1)."""

    def apply(self, x: np.ndarray) -> np.ndarray:
        return x * np.clip(x.dtype.type(1 / 6) * x + x.dtype.type(0.5), 0, 1)


@dataclass(frozen=True)
class Gelu(Activation):
    """x * Phi(x), Phi the normal distribution; `tanh` is the usual approximation of it."""

    tanh: bool = False

    def apply(self, x: np.ndarray) -> np.ndarray:
        if self.tanh:
            return 0.5 * x * (1 + np.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x * x * x)))
        return (0.5 * x * (1 + _erf(x / math.sqrt(2)))).astype(x.dtype)


@dataclass(frozen=True)
class LeakyRelu(Activation):
    """x, or alpha * x where x is negative."""

    alpha: float = 0.01

    def apply(self, x: np.ndarray) -> np.ndarray:
        return np.where(x < 0, x.dtype.type(self.alpha) * x, x)


@dataclass(frozen=True)
class Elu(Activation):
    """x, or alpha * (exp(x) - 1) where x is negative."""

    alpha: float = 1.0

    def apply(self, x: np.ndarray) -> np.ndarray:
        return np.where(x < 0, x.dtype.type(self.alpha) * np.expm1(np.minimum(x, 0)), x)
