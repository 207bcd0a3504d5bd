"""Marks of programs, and the parts of a launch between them: whatever the marks are, parts add up to the launch."""

from __future__ import annotations

import random
from dataclasses import replace

import pytest

from rtl.contract.activity import Activity, CoreActivity
from rtl.contract.codec import encode
from rtl.contract.isa import Opcode, Unit
from rtl.contract.marks import Interval, Mark, intervals_of, marks_of
from rtl.contract.params import CoreParams, default_chip
from rtl.contract.regs import START_CYCLES, CoreCounter, compute_counters

CAUSES = ("stream", "wait_act", "done")


def causes(*counts: float) -> dict[str, float]:
    return dict(zip(CAUSES, counts, strict=True))


def activity(cycles: float | None, *cores: tuple[float, ...]) -> Activity:
    of_cores = (CoreActivity({}, 0, 0, causes(*counts)) for counts in cores)
    return Activity(cycles, tuple(of_cores), {}, {})


def mark(number: int, cycles: float, *counts: float) -> Mark:
    return Mark(number, cycles, causes(*counts))


def test_marks_of_a_program_are_those_of_compute_units_with_a_trace_memory() -> None:
    chip = replace(default_chip(2), cores=(CoreParams(marks=8), CoreParams()))
    some = [encode(Opcode.SYNC, mark=2), encode(Opcode.SYNC, wait0_count=1), encode(Opcode.SETUP, out_w=3)]
    stream = [*some, encode(Opcode.SYNC, mark=1), encode(Opcode.SYNC, mark=2), encode(Opcode.END)]
    streams = {(core, unit): stream for core in range(2) for unit in Unit}
    assert marks_of(chip, streams) == ((2, 1, 2), ())
    assert marks_of(chip, {(0, Unit.LOAD): stream}) == ((), ())


def test_words_of_an_entry_make_a_mark() -> None:
    counters = {counter.name.lower(): 10 + counter for counter in compute_counters()}
    assert len(counters) == 8
    got = Mark.from_counters(5, counters)
    assert got.cycles == START_CYCLES + sum(range(10, 18))
    assert got.compute_cycles["stream"] == 10
    assert got.compute_cycles["done"] == 10 + CoreCounter.COMPUTE_DONE


def test_a_part_lasts_from_the_latest_mark_before_it_to_its_own_latest() -> None:
    whole = activity(100, (60, 20, 20), (40, 50, 10))
    marks = [[mark(1, 30, 20, 10, 0), mark(2, 70, 50, 20, 0)], [mark(1, 40, 10, 30, 0), mark(2, 65, 30, 35, 0)]]
    assert intervals_of(whole, marks) == (
        Interval(1, 40, (causes(20, 10, 0), causes(10, 30, 0))),
        Interval(2, 60, (causes(40, 10, 20), causes(30, 20, 10))),
    )
    assert intervals_of(whole, marks)[0].compute_cycles == causes(15, 20, 0)


def test_a_core_without_a_mark_stays_where_it_was() -> None:
    whole = activity(100, (60, 40, 0), (0, 0, 100))
    marks = [[mark(1, 10, 5, 5, 0), mark(3, 60, 40, 20, 0), mark(7, 90, 55, 35, 0)], [mark(3, 50, 0, 0, 50)]]
    assert intervals_of(whole, marks) == (
        Interval(1, 10, (causes(5, 5, 0), causes(0, 0, 0))),
        Interval(3, 50, (causes(35, 15, 0), causes(0, 0, 50))),
        Interval(7, 40, (causes(20, 20, 0), causes(0, 0, 50))),
    )


def test_a_launch_without_marks_is_one_part() -> None:
    assert intervals_of(activity(9, (1, 2, 6)), [[]]) == (Interval(0, 9, (causes(1, 2, 6),)),)


def test_an_activity_without_time_has_no_parts() -> None:
    with pytest.raises(ValueError, match="nobody looked at its cycles"):
        intervals_of(activity(None, (0, 0, 0)), [[]])


@pytest.mark.parametrize("seed", range(20))
def test_parts_add_up_to_the_launch_exactly(seed: int) -> None:
    """Of four cores, a power of two, so that means are exact; each has the marks that it likes, at any times."""
    rng = random.Random(seed)
    cores, marks = [], []
    for _ in range(4):
        counts, some = [0, 0, 0], []
        for number in sorted(rng.sample(range(1, 12), rng.randrange(9))):
            counts = [count + rng.randrange(50) for count in counts]
            some.append(mark(number, sum(counts) + 1, *counts))
        counts = [count + rng.randrange(50) for count in counts]
        cores.append(tuple(counts))
        marks.append(some)
    whole = activity(1 + max(map(sum, cores)), *cores)
    parts = intervals_of(whole, marks)
    assert [part.mark for part in parts] == sorted({one.number for some in marks for one in some} or {0})
    assert sum(part.cycles for part in parts) == whole.cycles
    assert all(part.cycles >= 0 for part in parts)
    for name in CAUSES:
        assert sum(part.compute_cycles[name] for part in parts) == whole.compute_cycles[name]
        assert all(part.compute_cycles[name] >= 0 for part in parts)
