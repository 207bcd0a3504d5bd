"""The tap unit: depthwise convolutions, pools, sums and copies, a channel a lane."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from estimator.engines import TIMINGS, EngineTiming, Pass
from golden.int8.qnodes import QAdd, QConv, QGate, QPool
from rtl.contract.engines.tap import TapMode
from rtl.contract.isa import Engine
from rtl.contract.params import CoreParams
from scheduler.errors import PlanError
from scheduler.plan.layout import Packed, round_up
from scheduler.plan.program import Placement
from scheduler.work.lower import (
    conv_parameters,
    conv_window,
    int8_parts,
    is_depthwise,
    is_flat,
    own_blocks,
    parameters,
    pixel_window,
    same_parameters,
    stride_that_matters,
    unchanged,
)
from scheduler.work.passes import Order, OutBlock, Passes, Step, Weights
from scheduler.work.sink import MemorySink, RectangleSink
from scheduler.work.source import Reach, Tile, Window, blocked_source, wide_window
from scheduler.work.task import Copy, Task
from scheduler.work.work import Work

__all__ = ["TAP", "TapPasses"]


@dataclass(frozen=True, eq=False, kw_only=True)
class TapPasses(Passes):
    """Passes of the tap unit.

    Attributes
    ----------
    mode : TapMode
    digits : tuple of (tap_shift, first tensor, tensors)
        Of an addition: its COMPUTEs, in each of which a pass is a tensor.
    times : int
        How often each pass comes: wide weights are sums of several.
    """

    timing: ClassVar[EngineTiming] = TIMINGS["tap"]
    own_words: ClassVar[bool] = True
    halo_cost: ClassVar[int] = 4  # it waits for memory, so that halos cost it more than the array
    mode: TapMode
    digits: tuple[tuple[int, int, int], ...] = ()
    times: int = 1

    def offsets(self, block: OutBlock) -> tuple[int, ...]:
        return super().offsets(block) * self.times

    def of_word(self, taps: int) -> int:
        return max(tensors for _, _, tensors in self.digits) if self.digits else taps

    def count(self, block: OutBlock, taps: int) -> int:
        return sum(tensors for _, _, tensors in self.digits) or super().count(block, taps)

    def steps(
        self, block: OutBlock, chunk: tuple[int, int], chunk_words: int, limit: int, window: Window, align: int
    ) -> Iterator[Step]:
        if not self.digits:
            yield from super().steps(block, chunk, chunk_words, limit, window, align)
            return
        first, weight = max(chunk[0], block.words[0]), 0
        for shift, tensor, tensors in self.digits:
            size = self.weight_bytes(tensors, align)
            word = first - chunk[0] + tensor * chunk_words
            yield Step(word, tensors, block.offset, 0, 1, 0, 1, weight, size, shift, chunk_words)
            weight += size

    def setup(self, core: CoreParams, window: Window, step: Step) -> dict[str, int]:
        return {
            "engine": Engine.TAP,
            "tap_mode": self.mode,
            "tap_shift": step.shift,
            "window": int(_has_window(core, window, step.nkx)),
        }

    def pass_cycles(self, core: CoreParams, window: Window, tile: Tile) -> float:
        columns = window.kernel[1] if _has_window(core, window, window.kernel[1]) else 0
        streamed = Pass(tile.height, tile.width, window.stride[1], columns, weightless=self.mode == TapMode.MAX)
        return self.timing.pass_cycles(core, streamed) / max(1, columns)


OUTSIDE = -1024
"""Kernel row of a pass that reads padding alone: a tile has fewer rows."""


@dataclass(frozen=True, eq=False, kw_only=True)
class GatePasses(TapPasses):
    """Passes of the product of a map x and gates g, of zero points zx and zg: x * g, -zx * g and -zg * x.

    The second multiplies the gates with padding alone, the third the map with a constant.

    Attributes
    ----------
    outside, whole : int, optional
        tap_shift of the second and the third; None where a zero point is 0.
    """

    outside: int | None
    whole: int | None

    def count(self, block: OutBlock, taps: int) -> int:
        return 1 + (self.outside is not None) + (self.whole is not None)

    def steps(
        self, block: OutBlock, chunk: tuple[int, int], chunk_words: int, limit: int, window: Window, align: int
    ) -> Iterator[Step]:
        word, size = max(chunk[0], block.words[0]) - chunk[0], self.weight_bytes(1, align)
        yield Step(word, 1, block.offset, 0, 1, 0, 1, 0, size)
        if self.outside is not None:
            yield Step(word, 1, block.offset, OUTSIDE, 1, 0, 1, 0, size, self.outside)
        if self.whole is not None:
            yield Step(word, 1, block.offset, 0, 1, 0, 1, size, size, self.whole)


def _has_window(core: CoreParams, window: Window, columns: int) -> bool:
    """A kernel row of so many columns goes through the unit's window: where that saves cycles."""
    return (
        0 < window.stride[1] < columns <= core.tap_columns
        and window.dilation[1] == 1
        and window.kernel[1] == columns
        and window.reach[1] is Reach.FIELDS
    )


class _Tap:
    """The tap unit's lowering."""

    def bids(self, task: Task, core: CoreParams) -> list[Work]:
        work = self._bid(task, core)
        return [] if work is None else [work]

    def _bid(self, task: Task, core: CoreParams) -> Work | None:
        match task.node:
            case QConv():
                return _depthwise(task, task.node, core)
            case QPool():
                return _pool(task, task.node, core)
            case QAdd():
                return _add(task, task.node, core)
            case QGate():
                return _gate(task, task.node, core)
            case Copy():
                return _copy(task, task.node, core)


TAP = _Tap()


def _depthwise(task: Task, node: QConv, core: CoreParams) -> Work | None:
    (source,) = task.inputs
    if isinstance(source.layout, Packed) or is_flat(node, source.shape) or not is_depthwise(node, source.shape):
        return None
    if task.residual is not None or task.pool is not None:
        return None
    block, lanes, kernel = task.sink.block, core.tap_lanes, node.weight.shape[2] * node.weight.shape[3]
    acts = blocked_source((source,), conv_window(node, source.shape[1:]), core.act_word_bytes(block))
    parts = int8_parts(node.weight)

    def weights(out: OutBlock, order: Order) -> np.ndarray:
        taps = np.concatenate([part[out.channel : out.channel + lanes].reshape(-1, kernel) for part in parts], axis=1)
        rows = np.zeros((taps.shape[1], core.cols), np.int8)
        rows[:, : len(taps)] = taps.T
        return rows.view(np.uint8).reshape(-1)

    return Work(
        name=task.name,
        op=task.op,
        core=core,
        source=acts,
        passes=TapPasses(
            mode=TapMode.MAC,
            weights=Weights(pass_bytes=core.cols, of=weights),
            pad_value=node.pad_value,
            times=len(parts),
        ),
        items=own_blocks(source.shape[0], lanes, block, acts.word_bytes, same_weights=False, same_params=False),
        requant=conv_parameters(node, lanes, block),
        sink=task.sink,
    )


def _pool(task: Task, node: QPool, core: CoreParams) -> Work:
    """Maximum or average pooling; the average's sum has weights of one."""
    (source,) = task.inputs
    block, lanes = task.sink.block, core.tap_lanes
    top, left = node.padding[:2]
    stride = stride_that_matters(node.stride, task.sink.shape[1:])
    window = wide_window(Window(node.kernel, stride, (1, 1), top, left, source.shape[1:]), task.sink.shape[1:])
    acts = blocked_source((source,), window, core.act_word_bytes(block))
    if node.requant is None:
        same, requant, passes = True, unchanged(lanes, block), TapPasses(mode=TapMode.MAX, pad_value=node.pad_value)
    else:
        ones = Weights(pass_bytes=core.cols, of=lambda out, order: np.ones(core.cols, np.uint8), repeated=True)
        same = same_parameters(node.requant)
        requant = parameters(node.requant, np.full(source.shape[0], node.bias, np.int32), lanes, block, same)
        passes = TapPasses(mode=TapMode.MAC, weights=ones, pad_value=node.pad_value)
    return Work(
        name=task.name,
        op=task.op,
        core=core,
        source=acts,
        passes=passes,
        items=own_blocks(source.shape[0], lanes, block, acts.word_bytes, same_weights=True, same_params=same),
        requant=requant,
        sink=task.sink,
    )


def _add(task: Task, node: QAdd, core: CoreParams) -> Work:
    """Weighted sum: every weight in signed digits to base 256, one pass per digit."""
    block, lanes, shape = task.sink.block, core.tap_lanes, task.sink.shape
    acts = blocked_source(task.inputs, pixel_window(shape[1:]), core.act_word_bytes(block))
    split = [_digits(weight) for weight in node.weights]
    digits, rows = [], []
    for place in range(3):
        used = [tensor for tensor in range(len(split)) if split[tensor][place]]
        if used:
            digits.append((8 * place, used[0], len(used)))
            rows += [split[tensor][place] for tensor in used]
    if not digits:  # both weights zero: one pass that adds nothing still has to write the accumulators
        digits, rows = [(0, 0, 1)], [0]

    def weights(out: OutBlock, order: Order) -> np.ndarray:
        return np.repeat(np.array(rows, np.int8), core.cols).view(np.uint8)

    same = same_parameters(node.requant) and isinstance(node.bias, int)
    return Work(
        name=task.name,
        op=task.op,
        core=core,
        source=acts,
        passes=TapPasses(mode=TapMode.MAC, weights=Weights(pass_bytes=core.cols, of=weights), digits=tuple(digits)),
        items=own_blocks(shape[0], lanes, block, acts.word_bytes, same_weights=True, same_params=same),
        requant=parameters(node.requant, np.broadcast_to(np.int32(node.bias), shape[:1]), lanes, block, same),
        sink=task.sink,
    )


def _gate(task: Task, node: QGate, core: CoreParams) -> Work:
    """Product of a map and a value a channel, which is loaded as the weight of a 1x1 depthwise convolution.

    Raises
    ------
    PlanError
        If the core's lanes cannot take it, or for several pictures, which would share the weights.
    """
    source, gate = task.inputs
    assert isinstance(gate, Placement)
    if task.sink.pictures > 1:
        raise PlanError(f"layer {node.name!r}: each picture has gates of its own; compute one at a time")
    if core.tap_lanes < core.cols:
        raise PlanError(
            f"layer {node.name!r}: its gates fill {core.cols} lanes of weights, but the tap unit has {core.tap_lanes}; "
            "raise core.rows to core.cols"
        )
    block, lanes, channels = task.sink.block, core.tap_lanes, source.shape[0]
    acts = blocked_source((source,), pixel_window(task.sink.shape[1:]), core.act_word_bytes(block))
    row = round_up(core.cols, block)
    (pad, outside), (weight, shift) = (_negated(zero) for zero in node.zero_points)

    def weights(out: OutBlock, order: Order) -> np.ndarray:
        return np.repeat(np.array([0, weight] if weight else [0], np.int8), row).view(np.uint8)

    same = same_parameters(node.requant)
    bias = np.full(channels, node.zero_points[0] * node.zero_points[1], np.int32)
    return Work(
        name=task.name,
        op=task.op,
        core=core,
        source=acts,
        passes=GatePasses(
            mode=TapMode.MAC,
            weights=Weights(pass_bytes=core.cols, of=weights, computed=gate),
            pad_value=pad,
            outside=outside if pad else None,
            whole=shift if weight else None,
        ),
        items=own_blocks(channels, lanes, block, acts.word_bytes, same_weights=False, same_params=same),
        requant=parameters(node.requant, bias, lanes, block, same),
        sink=task.sink,
    )


def _negated(value: int) -> tuple[int, int]:
    """int8 and a shift that make the negative of an int8."""
    return (64, 1) if value == -128 else (-value, 0)


def _copy(task: Task, node: Copy, core: CoreParams) -> Work:
    """Copy of a rectangle of a tensor into one of another: a maximum over one tap.

    Raises
    ------
    PlanError
        If SETUP cannot hold it.
    """
    (source,), piece = task.inputs, node.piece
    block, sink = task.sink.block, task.sink
    lanes = min(core.tap_lanes, block)
    window = pixel_window(piece.view)
    if not node.plain:
        assert isinstance(source, Placement)
        assert isinstance(sink, MemorySink)
        source = source.seen_as(piece.view)
        sink = RectangleSink(sink.placement.seen_as(node.view), (piece.to[1], piece.to[2]), piece.size)
        top, left = (-first for first in piece.start)
        window = wide_window(Window((1, 1), piece.step, (1, 1), top, left, piece.view), piece.size)
    acts = blocked_source((source,), window, core.act_word_bytes(block))
    word = acts.word_bytes
    items: dict[int, list[OutBlock]] = {}
    first, end = piece.channels
    while first < end:
        target = node.channel + first - piece.channels[0]
        count = min(lanes, block - target % block, word - first % word, end - first)
        number = first // word
        items.setdefault(number, []).append(OutBlock(target, count, 1, (number, number + 1), first % word, 0, 0))
        first += count
    return Work(
        name=task.name,
        op=task.op,
        core=core,
        source=acts,
        passes=TapPasses(mode=TapMode.MAX, pad_value=node.fill),
        items=tuple(tuple(item) for item in items.values()),
        requant=unchanged(lanes, block),
        sink=sink,
    )


def _digits(weight: int) -> tuple[int, int, int]:
    """Signed digits of an integer below 2**22 to base 256, lowest first."""
    low = (weight + 128) % 256 - 128
    middle = ((weight - low >> 8) + 128) % 256 - 128
    return low, middle, (weight - low >> 8) - middle >> 8
