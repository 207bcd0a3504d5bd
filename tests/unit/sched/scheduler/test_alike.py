"""Kinds of works: what counts, and what does not."""

from dataclasses import dataclass, fields, replace
from typing import Annotated

import numpy as np
import pytest

from golden.int8.qnodes import QConv
from rtl.contract.params import CoreParams
from scheduler.alike import UNMAPPED, kind_of
from scheduler.engines import bids
from scheduler.plan.layout import Blocked
from scheduler.plan.program import Placement
from scheduler.work.sink import MemorySink
from scheduler.work.source import Window
from scheduler.work.task import Task
from scheduler.work.work import Work
from tests.cases import GraphBuilder

CORE = CoreParams(8, 8)


def work(seed: int = 0, at: int = 0, kernel: int = 3, core: CoreParams = CORE) -> Work:
    """A convolution with a residual, of its own weights and addresses."""
    builder = GraphBuilder(np.random.default_rng(seed), (16, 12, 12), 10**9)
    name = builder.conv("in", 16, (kernel, kernel), padding=(kernel // 2,) * 4, residual="in")
    node = builder.nodes[-1]
    assert isinstance(node, QConv)
    assert node.residual is not None
    node = replace(node, name=f"conv of {seed}", residual=replace(node.residual, shift=0))
    source, output = (Placement(at + place, Blocked(builder.shape(n), 16)) for place, n in ((0, "in"), (1 << 16, name)))
    (found,) = bids(Task(node=node, inputs=(source,), residual=source, sink=MemorySink(output)), core)
    return found


def test_names_values_and_addresses_do_not_count() -> None:
    assert work(seed=1, at=1 << 20).kind == work().kind
    assert len({work(seed=2).kind, work().kind}) == 1


@pytest.mark.parametrize(
    "changed",
    [
        work(kernel=1),
        work(core=CoreParams(8, 8, act_bytes=1 << 15)),
        replace(work(), row_range=(0, 6)),
        replace(work(), residual=None),
        replace(work(), shared_input=False),
        replace(work(), items=work().items[:1]),
        replace(work(), pool=Window((2, 2), (2, 2), (1, 1), 0, 0, (12, 12))),
        replace(work(), requant=replace(work().requant, table=np.zeros(256, np.uint8))),
        replace(work(), passes=replace(work().passes, weights=None)),
    ],
)
def test_what_a_mapping_depends_on_counts(changed: Work) -> None:
    assert changed.kind != work().kind


def test_a_field_counts_unless_it_says_otherwise() -> None:
    @dataclass(frozen=True, eq=False)
    class Grown(Work):
        lanes: int = 0
        colour: Annotated[str, UNMAPPED] = "red"

    plain = {item.name: getattr(work(), item.name) for item in fields(Work)}
    assert kind_of(Grown(**plain)) == kind_of(Grown(**plain, colour="blue"))
    assert kind_of(Grown(**plain)) != kind_of(Grown(**plain, lanes=1))
