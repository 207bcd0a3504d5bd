"""How far rounding alone can carry two computations of one layer from each other, given the same inputs.

The sums of a layer are bounded as Higham and Mary do (A New Approach to Probabilistic Rounding Error Analysis, SIAM
J. Sci. Comput. 41, 2019): a sum of n products in any order is off by at most ``CONFIDENCE * sqrt(n) * u`` times the
sum of their magnitudes (``n * u`` is certain) but for a chance of about ``2 n exp(-CONFIDENCE**2 / 2)``, here below
1e-17 for a sum of 25,000. The sum of magnitudes is at most the norm of the filter times that of what it sees (Cauchy
and Schwarz), which costs one filter, not all of them. Both sides round, so the bound counts twice.
"""

import math
from collections.abc import Mapping, Sequence

import numpy as np

from golden.int8 import ops
from golden.int8.qnodes import QAdd, QConcat, QConv, QGate, QMove, QNode, QPool
from golden.int8.requant import INT8, TABLE_ENTRIES
from golden.net.activations import Activation, Expression, Sigmoid
from golden.net.evaluate import evaluate
from golden.net.graph import Add, AvgPool, BatchNorm, Clip, Conv2d, Gate, GlobalAvgPool, Host, Linear, Move, Node, Relu
from golden.net.window import Padding, Pair, correlate, pad, windows

__all__ = ["across_tie", "carried_slack", "dynamic_slack", "float_slack", "largest", "other_side"]

BIAS_ROUNDING = 0.5
"""Error of a bias that the file holds in other units than those of the accumulator."""
UNIT = 2.0**-24
"""Largest relative error of one float32 rounding."""
CONFIDENCE = 10.0
SINGLE_ROUNDINGS = 8
"""Roundings beside the sum: scales and gains folded into weights, their products, bias, what comes behind the sum."""
FUNCTION_MARGIN = 64.0
"""ONNX Runtime approximates functions such as Tanh and Erf to some units in the last place; a rounding of NumPy is half
of one, and both spread alike through what follows in an expression."""
ARITHMETIC = frozenset({"Abs", "Add", "Clip", "Div", "LeakyRelu", "Max", "Min", "Mul", "Neg", "Sqrt", "Sub"})
"""Functions that are no approximations."""
SUMS = frozenset({"Conv", "ConvTranspose", "Einsum", "GRU", "Gemm", "LSTM", "MatMul", "RNN"})
"""Operators of which ONNX Runtime sums products in another order where weights are constants: these are folded in the
host's parts, and the file may compute them."""


def _sum_error(terms: int) -> float:
    """Difference of two sums of so many products, over the sum of the magnitudes."""
    return 2 * UNIT * (min(terms, CONFIDENCE * math.sqrt(terms)) + SINGLE_ROUNDINGS)


def float_slack(
    node: Node, values: Sequence[np.ndarray], tensors: Sequence[np.ndarray], output: np.ndarray,
    folded: np.ndarray | None,
) -> np.ndarray | float:  # fmt: skip
    """Distance float64, of the output's shape or of all elements, that rounding explains.

    Parameters
    ----------
    values, tensors
        As of `golden.net.evaluate.evaluate`, which gave `output`.
    folded : float64[O], optional
        Sum of the magnitudes of what the layer's bias is the sum of.
    """
    x = values[0] if values else output
    match node:
        case Conv2d() | Linear():
            weight, *bias = tensors
            offset = folded if folded is not None else np.abs(bias[0]) if bias else np.zeros(weight.shape[0])
            if isinstance(node, Linear):
                reach = np.array([[[math.sqrt(_square(x))]]])
            else:
                reach = _reach(x, node.kernel, node.stride, node.padding, node.dilation, node.groups)
                reach = np.repeat(reach, weight.shape[0] // node.groups, axis=0)
            taps = weight.reshape(weight.shape[0], -1)
            norms = np.sqrt(np.einsum("ok,ok->o", taps, taps, dtype=np.float64))
            return _sum_error(taps.shape[1]) * (norms[:, None, None] * reach + offset[:, None, None])
        case AvgPool() | GlobalAvgPool():
            taps = math.prod(node.kernel if isinstance(node, AvgPool) else x.shape[1:])
            return _sum_error(taps) * evaluate(node, [np.abs(x).astype(np.float64)], tensors)
        case Add():
            return _sum_error(2) * (np.abs(values[0]).astype(np.float64) + np.abs(values[1]))
        case Gate():
            return UNIT * SINGLE_ROUNDINGS * np.abs(output).astype(np.float64)
        case Activation():
            return _function_slack(node, x, output)
        case Host():
            reordered = SUMS.intersection(node.part.kinds)
            return (FUNCTION_MARGIN if reordered else SINGLE_ROUNDINGS) * UNIT * largest(output)
        case BatchNorm():
            raise AssertionError("the import folds normalisations")
    return 0.0  # copies and comparisons


def dynamic_slack(x: np.ndarray, weight: np.ndarray) -> np.ndarray:
    """Distance float64[O, 1, 1] that DynamicQuantizeLinear before a layer explains: a step of 255 in every operand, and
    one of the accumulator where the bias is rounded down."""
    step = (max(float(x.max()), 0.0) - min(float(x.min()), 0.0)) / (TABLE_ENTRIES - 1)
    weights = np.abs(weight).reshape(weight.shape[0], -1)
    return step * (weights.sum(axis=1, dtype=np.float64) + weights.max(axis=1))[:, None, None]


def carried_slack(
    node: Node, tensors: Sequence[np.ndarray], slacks: Sequence[np.ndarray | float]
) -> np.ndarray | float:
    """What the distances of inputs that are no values of the file add to that of the output.

    Of the nodes that one operator of the file may become; others have no such inputs.
    """
    match node:
        case Add():
            return slacks[0] + slacks[1]
        case Move():
            return max((float(np.max(slack)) for slack in slacks), default=0.0)
        case Conv2d() if tensors[0].shape[1:] == (1, 1, 1):
            return slacks[0] * np.abs(tensors[0]).reshape(-1, 1, 1)
        case Conv2d() if node.groups == 1 and node.kernel == (1, 1):
            weights = np.abs(tensors[0])
            if np.ndim(slacks[0]) != 3:
                return weights.sum(axis=1) * float(np.max(slacks[0]))
            return np.tensordot(weights[:, :, 0, 0], slacks[0], 1)
        case Relu() | Clip():
            return slacks[0]
        case Sigmoid():
            return slacks[0] / 4  # its steepest slope
    return 0.0


def _function_slack(node: Activation, x: np.ndarray, output: np.ndarray) -> float:
    """What float64 makes of the same values says how the function spreads roundings."""
    exact = node.apply(x.astype(np.float64))
    spread = largest(output - exact)
    terms = node.terms if isinstance(node, Expression) else ()
    saturates = any(term.function not in ARITHMETIC for term in terms) or not terms
    return FUNCTION_MARGIN * (spread + UNIT * max(largest(output), 1.0 if saturates else 0.0))


def largest(values: np.ndarray) -> float:
    """Largest finite magnitude."""
    return float(np.abs(values[np.isfinite(values)]).max(initial=0.0))


def _square(x: np.ndarray) -> float:
    return float(np.einsum("i,i->", x.reshape(-1), x.reshape(-1), dtype=np.float64))


def _reach(x: np.ndarray, kernel: Pair, stride: Pair, padding: Padding, dilation: Pair, groups: int) -> np.ndarray:
    """Norm float64[groups, Ho, Wo] of what a filter sees of ``x[C, H, W]``, padding being zero."""
    squares = np.square(x, dtype=np.float64).reshape(groups, -1, *x.shape[1:]).sum(axis=1)
    ones = np.ones((groups, 1, *kernel))
    windows = correlate(
        squares, ones, stride=stride, padding=padding, dilation=dilation, groups=groups, dtype=np.float64
    )
    return np.sqrt(windows)


def across_tie(exact: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The integers to which float64 values are not rounded, across the nearest tie, and the distances to that tie."""
    below = np.floor(exact)
    return below + (np.rint(exact) == below), np.abs(exact - below - 0.5)


def other_side(
    node: QNode, values: Mapping[str, np.ndarray], got: np.ndarray, others: Mapping[str, np.ndarray]
) -> np.ndarray:
    """int8[C, H, W] that differs from `got` where that is so near a rounding tie that float32 may take the other side.

    Parameters
    ----------
    values : dict of str to int8[C, H, W]
        The node's inputs, which gave `got`.
    others : dict of str to int8[C, H, W]
        Other sides of inputs that are no values of the file.
    """
    if isinstance(node, QConcat | QMove):
        return ops.run_node(node, {name: others.get(name, values[name]) for name in node.inputs})
    if not isinstance(node, QConv | QPool | QAdd | QGate) or node.requant is None:
        return got
    requant = node.requant
    scale = np.ldexp(requant.multiplier.astype(np.float64), -requant.shift)[:, None, None]
    exact = ops.accumulate(node, values) * scale
    other, to_tie = across_tie(exact)
    side = np.clip(other + requant.zero_point, requant.lo, requant.hi).astype(np.int8)
    if requant.table is not None:
        side = requant.table[side.astype(np.int16) - INT8[0]]
    tie = to_tie <= scale * _accumulator_slack(node, values)
    return np.where(tie, side, got)


def _accumulator_slack(node: QConv | QPool | QAdd | QGate, values: Mapping[str, np.ndarray]) -> np.ndarray | float:
    """Distance float64, in units of the accumulator, that the integers here or float32 there may be off."""
    if isinstance(node, QAdd):
        return UNIT * SINGLE_ROUNDINGS * (TABLE_ENTRIES * sum(map(abs, node.weights)) + np.abs(node.bias).max())
    if isinstance(node, QGate):
        return UNIT * SINGLE_ROUNDINGS * np.abs(ops.accumulate(node, values))
    zero = node.pad_value
    x = values[node.input].astype(np.float64) - zero
    if isinstance(node, QPool):
        taps = windows(pad(np.abs(x), node.padding, 0), node.kernel, node.stride)
        return _sum_error(math.prod(node.kernel)) / 2 * taps.sum(axis=(1, 2))
    filters = node.weight.reshape(node.weight.shape[0], -1).astype(np.float64)
    kernel = (node.weight.shape[2], node.weight.shape[3])
    reach = _reach(x, kernel, node.stride, node.padding, node.dilation, node.groups)
    reach = np.repeat(reach, filters.shape[0] // node.groups, axis=0)
    norms, offset = np.linalg.norm(filters, axis=1), np.abs(node.bias + zero * filters.sum(axis=1))
    float32 = _sum_error(filters.shape[1]) / 2 * (norms[:, None, None] * reach + offset[:, None, None])
    return float32 + BIAS_ROUNDING
