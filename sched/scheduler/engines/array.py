"""The systolic array: convolutions and fully connected layers, dense R x C tiles of weights."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from estimator.engines import TIMINGS, EngineTiming
from golden.int8.qnodes import QConv
from rtl.contract.isa import Engine
from rtl.contract.params import CoreParams
from scheduler.engines.convolution import Operands, convolution
from scheduler.plan.layout import pack_weights
from scheduler.work.filters import Filters
from scheduler.work.passes import Order, OutBlock, Passes, Step, Weights
from scheduler.work.source import Window
from scheduler.work.task import Task
from scheduler.work.work import Work

__all__ = ["ARRAY", "ArrayPasses"]

Tiles = Callable[[OutBlock, Order], np.ndarray]


@dataclass(frozen=True, eq=False, kw_only=True)
class ArrayPasses(Passes):
    """Passes of the array.

    Attributes
    ----------
    starts : tuple of int
        Bytes in a word at which passes start: a read covers R of them. Wide weights take each several times.
    """

    timing: ClassVar[EngineTiming] = TIMINGS["array"]
    starts: tuple[int, ...]

    def offsets(self, block: OutBlock) -> tuple[int, ...]:
        return self.starts

    def setup(self, core: CoreParams, window: Window, step: Step) -> dict[str, int]:
        return {"engine": Engine.ARRAY}


class _Array:
    """The array's lowering."""

    def bids(self, task: Task, core: CoreParams) -> list[Work]:
        def passes(node: QConv, operands: Operands) -> ArrayPasses:
            starts, parts = operands.starts, [_tiles(part, operands.starts, core) for part in operands.filters]
            return ArrayPasses(
                weights=Weights(pass_bytes=core.pes, of=_of_parts(parts)),
                pad_value=node.pad_value,
                starts=starts * len(parts),
            )

        work = convolution(task, core, passes)
        return [] if work is None else [work]


ARRAY = _Array()


def _tiles(filters: Filters, starts: tuple[int, ...], core: CoreParams) -> Tiles:
    """Dense tiles of a block, in the order of its passes."""

    def weights(out: OutBlock, order: Order) -> np.ndarray:
        units = filters(out)
        if order is not None:
            units = units[:, [(word - out.words[0]) * len(starts) + starts.index(start) for word, start in order]]
        return pack_weights(units, core.rows, core.cols)[0]

    return weights


def _of_parts(parts: list[Tiles]) -> Tiles:
    """Weights whose passes come once for each of several parts, a word and start at a time."""
    if len(parts) == 1:
        return parts[0]

    def weights(out: OutBlock, order: Order) -> np.ndarray:
        assert order is not None  # there are several starts
        met = Counter[tuple[int, int]]()
        numbers = []
        for item in order:
            numbers.append(met[item])
            met[item] += 1
        raws = []
        for number, part in enumerate(parts):
            own = [item for item, of in zip(order, numbers, strict=True) if of == number]
            raws.append(iter(part(out, own).reshape(len(own), -1)))
        return np.concatenate([next(raws[number]) for number in numbers])

    return weights
