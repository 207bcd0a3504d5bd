"""Predictions: what is found once for any sink is what a mapping with that sink costs."""

from dataclasses import replace

import numpy as np

from estimator import Coefficients, MemoryTiming
from rtl.contract.params import default_chip
from scheduler.engines import bids
from scheduler.map.predict import Prediction, predict
from scheduler.map.search import best_mappings
from scheduler.plan.layout import Blocked
from scheduler.plan.program import Placement
from scheduler.plan.residence import Residence
from scheduler.work.sink import MemorySink, Sink, StripSink, sink_of
from scheduler.work.task import Task
from tests.cases import GraphBuilder

CHIP = default_chip(4)
SIZE = 24


def test_of_any_sink_as_of_a_mapping_with_that_sink() -> None:
    builder = GraphBuilder(np.random.default_rng(0), (32, SIZE, SIZE), 10**9)
    name = builder.conv("in", 64, (3, 3), padding=(1,) * 4)
    placed = [Placement(at, Blocked(builder.shape(tensor), 16)) for at, tensor in ((0, "in"), (1 << 16, name))]
    groups = CHIP.cores[0].act_groups(CHIP.link_bytes)
    rows = tuple((core, 6 * core, min(SIZE, 6 * core + 8)) for core in range(4))
    residence = Residence(placed[1].layout, 0, groups, rows)
    below = replace(residence, rows=tuple((core, first + 4, end) for core, first, end in rows))
    sinks: list[Sink] = [sink_of(placed[1]), sink_of(residence), StripSink((residence, below))]
    (work,) = bids(Task(node=builder.nodes[-1], inputs=(placed[0],), sink=MemorySink(placed[1])), CHIP.cores[0])
    memory, c = MemoryTiming(), Coefficients.load()
    found = best_mappings(work, (0, 1, 2, 3), CHIP, memory, 50)
    cycles = set[float]()
    for mapping in found:
        prediction = Prediction(mapping, CHIP, memory, c)
        for sink in sinks:
            moved = mapping.of(replace(work, sink=sink))
            assert prediction.cycles(sink) == predict(moved, CHIP, memory, c)
            assert prediction.dram_bytes(sink) == Prediction(moved, CHIP, memory, c).dram_bytes(sink)
            cycles.add(prediction.cycles(sink))
    assert len(cycles) > 2 * len(found), "sinks make no difference"
