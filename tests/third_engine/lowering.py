"""The row's bids: convolutions of one input channel, which keep one row of the systolic array at work and not R."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from estimator.engines import EngineTiming
from golden.int8.qnodes import QConv
from rtl.contract.params import CoreParams
from scheduler.plan.layout import Packed
from scheduler.work.lower import conv_window, parameters, shared_block
from scheduler.work.passes import Order, OutBlock, Passes, Step, Weights
from scheduler.work.source import Window, blocked_source
from scheduler.work.task import Task
from scheduler.work.work import Work
from tests.third_engine.contract import ROW
from tests.third_engine.timing import TIMING

__all__ = ["LOWERING"]


@dataclass(frozen=True, eq=False, kw_only=True)
class RowPasses(Passes):
    """Passes of the row, all on lane 0."""

    timing: ClassVar[EngineTiming] = TIMING

    def setup(self, core: CoreParams, window: Window, step: Step) -> dict[str, int]:
        return {"engine": ROW.code, "row_lane": 0}


class _Row:
    """The row's lowering."""

    def bids(self, task: Task, core: CoreParams) -> list[Work]:
        node, source = task.node, task.inputs[0]
        if not isinstance(node, QConv) or isinstance(source.layout, Packed):
            return []
        if node.weight.shape[1] != 1 or node.groups != 1 or task.residual is not None or task.pool is not None:
            return []
        block, lanes, filters = task.sink.block, core.cols, node.weight.shape[0]
        acts = blocked_source((source,), conv_window(node, source.shape[1:]), core.act_word_bytes(block))

        def weights(out: OutBlock, order: Order) -> np.ndarray:
            part = node.weight[out.channel : out.channel + lanes].reshape(-1, node.weight[0].size)
            rows = np.zeros((part.shape[1], core.cols), np.int8)
            rows[:, : len(part)] = part.T
            return rows.view(np.uint8).reshape(-1)

        items = tuple(
            (shared_block(channel, filters, lanes, block, (0, 1), 0, number, number),)
            for number, channel in enumerate(range(0, filters, lanes))
        )
        work = Work(
            name=task.name,
            op=task.op,
            core=core,
            source=acts,
            passes=RowPasses(weights=Weights(pass_bytes=core.cols, of=weights), pad_value=node.pad_value),
            items=items,
            shared_input=True,
            requant=parameters(node.requant, node.bias, lanes, block),
            sink=task.sink,
        )
        return [work]


LOWERING = _Row()
