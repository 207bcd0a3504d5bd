"""Nodes of the quantised graph.

What a node computes is fully given by its integers. Accumulators are int32, and every node proves at construction
that its own fit.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from golden.errors import QuantError
from golden.int8.fallback import Feeds, HostPart
from golden.int8.requant import Requant
from golden.net.pieces import Piece
from golden.net.window import Padding, Pair

__all__ = [
    "QAdd", "QConcat", "QConv", "QGate", "QHost", "QMove", "QNode", "QPool", "Residual", "magnitudes",
    "require", "require_channels",
]  # fmt: skip

ACCUMULATOR_LIMIT = 1 << 31
ADD_WEIGHT_LIMIT = 1 << 21
WEIGHT_LIMIT = 255
"""Of a wide weight."""
RESIDUAL_SHIFT_LIMIT = 17
"""Beyond, the residual alone could leave the accumulator."""


@dataclass(frozen=True, eq=False)
class Residual:
    """A tensor that a convolution adds to its sums: ``acc[o] += (raw[o] * weight[o]) << shift``.

    Attributes
    ----------
    input : str
        Tensor of the output's shape.
    weight : int8[O]
        1..127; with the shift it brings the tensor to the scale of the accumulators.
    shift : int
        0..17, the same for all channels.
    """

    input: str
    weight: np.ndarray
    shift: int

    @property
    def factor(self) -> np.ndarray:
        """int64[O]: weights and shift in one."""
        return self.weight.astype(np.int64) << self.shift


@dataclass(frozen=True, eq=False)
class QConv:
    """Convolution, depthwise convolution or fully connected layer.

    ``acc[o] = sum(weight[o] * raw) + bias[o]`` over the window, where padding contributes ``raw = pad_value``. A
    residual comes on top, so that sum and addition have one requantisation.

    Attributes
    ----------
    op : str
        "conv", "depthwise" or "fc"; for reports, the arithmetic is the same.
    weight : int8[O, I/groups, Kh, Kw]
        A fully connected layer's kernel covers the whole input map, channel-major as PyTorch flattens. Wide weights
        are int16 from -255 to 255: what uint8 less a zero point may be. They take more passes.
    bias : int32[O]
        Real bias in accumulator scale minus ``input zero point * sum(weight[o])``, and minus the residual's zero point
        times its factor.
    pad_value : int
        The input's zero point.
    out_hw : (int, int)
        Height and width of the output; a QGraph fills it in where it is left (0, 0).
    """

    name: str
    op: str
    input: str
    output: str
    weight: np.ndarray
    bias: np.ndarray
    stride: Pair
    padding: Padding
    dilation: Pair
    groups: int
    pad_value: int
    requant: Requant
    out_hw: Pair = (0, 0)
    residual: Residual | None = None

    def __post_init__(self) -> None:
        require(self, self.op in ("conv", "depthwise", "fc"), f"op is {self.op!r}", "use conv, depthwise or fc")
        filters = self.weight.shape[0]
        require(
            self,
            self.weight.dtype in (np.int8, np.int16) and self.weight.ndim == 4,
            f"weight is {self.weight.dtype}{self.weight.shape}",
            "give int8[O, I/groups, Kh, Kw], or int16",
        )
        require(
            self,
            self.bias.dtype == np.int32 and self.bias.shape == (filters,),
            f"bias is {self.bias.dtype}{self.bias.shape}",
            f"give int32[{filters}]",
        )
        wide = self.weight.dtype == np.int16
        most = int(np.abs(self.weight).max(initial=0)) if wide else 0
        require(self, most <= WEIGHT_LIMIT, f"a weight's magnitude is {most}", f"it must not exceed {WEIGHT_LIMIT}")
        require(self, filters % self.groups == 0, f"groups is {self.groups}", f"it must divide {filters} filters")
        require_channels(self, self.requant, filters)
        if self.residual is not None:
            self._check_residual(self.residual, filters)
        # The cheap bound settles all but pathological layers without touching the weights.
        depth = math.prod(self.weight.shape[1:])
        most = (depth << 14 + wide) + np.abs(self.bias.astype(np.int64))
        if int((most + self._residual_reach()).max()) >= ACCUMULATOR_LIMIT:
            self._prove_accumulator()

    @property
    def inputs(self) -> tuple[str, ...]:
        """Names of the tensors it reads."""
        return (self.input,) if self.residual is None else (self.input, self.residual.input)

    @property
    def macs(self) -> int:
        """Multiply-accumulates per image; padding counts, a residual does not."""
        require(self, self.out_hw != (0, 0), "its output size is unknown", "take the node from a QGraph")
        return self.weight.size * math.prod(self.out_hw)

    def _check_residual(self, residual: Residual, filters: int) -> None:
        weight = residual.weight
        require(self, self.op == "conv", f"{self.op} has a residual", "only a conv can; use a QAdd")
        require(
            self,
            weight.dtype == np.int8 and weight.shape == (filters,) and bool((weight > 0).all()),
            f"residual weight is {weight.dtype}{weight.shape}, at least {weight.min(initial=127)}",
            f"give int8[{filters}] from 1 to 127",
        )
        shift, limit = residual.shift, RESIDUAL_SHIFT_LIMIT
        require(self, 0 <= shift <= limit, f"residual shift is {shift}", f"it must be in 0..{limit}")

    def _residual_reach(self) -> np.ndarray:
        """Largest magnitude int64[O] that the residual adds."""
        return np.zeros(len(self.bias), np.int64) if self.residual is None else self.residual.factor << 7

    def _prove_accumulator(self) -> None:
        taps = self.weight.reshape(self.weight.shape[0], -1)
        total = taps.sum(axis=1, dtype=np.int64)
        magnitude = magnitudes(self.weight)
        positive, negative = (magnitude + total) // 2, (magnitude - total) // 2
        bias = self.bias.astype(np.int64)
        reach = self._residual_reach()
        highest = 127 * positive + 128 * negative + bias + reach
        lowest = -128 * positive - 127 * negative + bias - reach
        worst = np.maximum(highest, -lowest)
        channel = int(worst.argmax())
        require(
            self,
            worst[channel] < ACCUMULATOR_LIMIT,
            f"accumulator of output channel {channel} can reach {worst[channel]}",
            "it must stay below 2**31: check for a huge bias or split the layer",
        )


@dataclass(frozen=True, eq=False)
class QPool:
    """Maximum or average pooling.

    maxpool: ``out = max(raw taps)``, padding contributes `pad_value` (-128, so it never wins).
    avgpool: ``acc = sum(raw taps) + bias``, requantised; the division by the number of taps is in the scale,
    padding contributes `pad_value` (the input's zero point), and `bias` takes the zero points out.
    """

    name: str
    op: str
    input: str
    output: str
    kernel: Pair
    stride: Pair
    padding: Padding
    requant: Requant | None
    pad_value: int
    bias: int = 0

    def __post_init__(self) -> None:
        require(self, self.op in ("maxpool", "avgpool"), f"op is {self.op!r}", "use maxpool or avgpool")
        require(
            self,
            (self.requant is not None) == (self.op == "avgpool"),
            f"{self.op} {'lacks' if self.requant is None else 'has'} a requantisation",
            "avgpool needs one, maxpool takes none",
        )
        worst = (math.prod(self.kernel) << 7) + abs(self.bias)
        require(
            self,
            worst < ACCUMULATOR_LIMIT,
            f"its accumulator can reach {worst}",
            "it must stay below 2**31: use a smaller window",
        )

    @property
    def inputs(self) -> tuple[str, ...]:
        """Names of the tensors it reads."""
        return (self.input,)

    @property
    def macs(self) -> int:
        """None: pools do not multiply."""
        return 0


@dataclass(frozen=True, eq=False)
class QAdd:
    """Element-wise sum of one or two tensors: ``acc = weights[0]*a + weights[1]*b + bias``, requantised.

    `weights` are signed with a magnitude of at most 2**21 and bring both inputs to one scale; `bias` takes
    the zero points out, and may be int32[C], a summand for each channel.
    """

    name: str
    inputs: tuple[str, ...]
    output: str
    weights: tuple[int, ...]
    bias: int | np.ndarray
    requant: Requant
    op: str = field(default="add", kw_only=True)

    def __post_init__(self) -> None:
        count = len(self.inputs)
        require(self, 1 <= count <= 2 and len(self.weights) == count, f"it adds {count} tensors", "give one or two")
        require(
            self,
            max(map(abs, self.weights)) <= ADD_WEIGHT_LIMIT,
            f"weights are {self.weights}",
            "their magnitude must not exceed 2**21",
        )
        worst = 128 * sum(map(abs, self.weights)) + int(np.abs(self.bias).max())
        require(self, worst < ACCUMULATOR_LIMIT, f"its accumulator can reach {worst}", "it must stay below 2**31")

    @property
    def macs(self) -> int:
        """None: only convolutions and fully connected layers count."""
        return 0


@dataclass(frozen=True, eq=False)
class QConcat:
    """Copy of the inputs, one after another along the channels; all share one scale and zero point."""

    name: str
    inputs: tuple[str, ...]
    output: str
    op: str = field(default="concat", kw_only=True)

    @property
    def macs(self) -> int:
        """None: nothing is computed."""
        return 0


@dataclass(frozen=True, eq=False)
class QMove:
    """Copy of rectangles of the inputs, which all share one scale and zero point: slices, joins, padding, repetition.

    Attributes
    ----------
    shape : (C, H, W)
        Of the output.
    view : (H, W)
        Size as which the pieces see the output's map.
    fill : int
        What pieces read where their source has no pixel.
    """

    name: str
    inputs: tuple[str, ...]
    output: str
    shape: tuple[int, int, int]
    view: Pair
    pieces: tuple[Piece, ...]
    fill: int
    op: str = field(default="copy", kw_only=True)

    @property
    def macs(self) -> int:
        """None: nothing is computed."""
        return 0


@dataclass(frozen=True, eq=False)
class QGate:
    """Product of a map and one value a channel: ``acc[c] = (map[c] - zero[0]) * (gate[c] - zero[1])``, requantised.

    Attributes
    ----------
    inputs : (str, str)
        A map (C, H, W), and its gate (C, 1, 1).
    zero_points : (int, int)
        Of both.
    """

    name: str
    inputs: tuple[str, str]
    output: str
    zero_points: tuple[int, int]
    requant: Requant
    op: str = field(default="gate", kw_only=True)

    @property
    def macs(self) -> int:
        """None: only convolutions and fully connected layers count."""
        return 0


@dataclass(frozen=True, eq=False)
class QHost:
    """Part of an ONNX model that the host computes between two runs of the chip.

    Attributes
    ----------
    scales : tuple of (float, int)
        Scale and zero point of each input, then of the output, where the part works on real numbers.
    feeds : tuple of mapping of str to array
        Of each picture, the model's own inputs that the part reads.
    """

    name: str
    inputs: tuple[str, ...]
    output: str
    part: HostPart
    scales: tuple[tuple[float, int], ...]
    feeds: tuple[Feeds, ...] = ()
    op: str = field(default="host", kw_only=True)

    def __post_init__(self) -> None:
        reads = bool(self.inputs or self.part.given)
        require(self, reads, "it reads nothing", "a constant is no work for the host")
        count = len(self.inputs) + 1
        require(self, len(self.scales) == count, f"it has {len(self.scales)} scales", f"give {count}")

    @property
    def macs(self) -> int:
        """None: the chip does not compute it."""
        return 0

    def compute(self, raws: Sequence[np.ndarray]) -> np.ndarray:
        """Output int8[C, H, W] of the inputs int8[C, H, W]."""
        return self.part.output.from_model(self.real(raws), *self.scales[-1])

    def real(self, raws: Sequence[np.ndarray]) -> np.ndarray:
        """Output as ONNX Runtime gives it, of the first picture."""
        scaled = zip(self.part.inputs, raws, self.scales[:-1], strict=True)
        feeds = self.feeds[0] if self.feeds else None
        return self.part.run([port.to_model(raw, *scale) for port, raw, scale in scaled], feeds)


def magnitudes(weight: np.ndarray) -> np.ndarray:
    """Sums int64[O] of the magnitudes of int8[O, ...] or int16[O, ...]."""
    taps = weight.reshape(weight.shape[0], -1)
    if taps.dtype == np.int8:  # abs(-128) wraps to -128 in int8, which reads as 128 in uint8: just what is wanted.
        return np.abs(taps).view(np.uint8).sum(axis=1, dtype=np.int64)
    return np.abs(taps).sum(axis=1, dtype=np.int64)


QNode = QConv | QPool | QAdd | QGate | QConcat | QMove | QHost


def require(node: Any, holds: bool | np.bool_, what: str, remedy: str) -> None:
    """Refuse, with a QuantError that names the node."""
    if not holds:
        raise QuantError(f"node {node.name!r}: {what}; {remedy}")


def require_channels(node: Any, requant: Requant, channels: int) -> None:
    """Refuse a requantisation of another number of channels than the node puts out."""
    given = requant.multiplier.size
    require(node, given == channels, f"requantisation has {given} channels", f"give {channels}")
