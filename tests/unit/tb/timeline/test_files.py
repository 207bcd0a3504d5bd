"""Files of timelines that were written by hand: what is in them is what was meant."""

from __future__ import annotations

import json
from collections.abc import Callable

import pytest

from rtl.contract.params import default_chip
from tb.errors import BenchError
from tb.run.options import RunOptions
from tb.timeline.events import (
    ESTIMATE,
    RTL,
    Arrow,
    Count,
    Slice,
    Timeline,
    core_track,
    memory_track,
    untangle,
    whole_track,
)
from tb.timeline.files import FORMS, parse_form
from tests.timelines import check_chrome, nested, read_perfetto

COMPUTE, LOAD = core_track(RTL, 10, "compute"), core_track(RTL, 2, "load")


@pytest.fixture
def timeline() -> Timeline:
    """A LOAD, a wait for it, and the COMPUTE that waited, within which another instruction issues."""
    load = Slice(LOAD, 5, 9, "conv1 LOAD weight", {"bytes": 640})
    wait = Slice(COMPUTE, 0, 30, "waiting for weights")
    compute = Slice(COMPUTE, 30, 100, "conv1 COMPUTE", {"engine": "array", "streaming": 60})
    issue = Slice(COMPUTE, 31, 32, "conv1 SETUP", {"engine": "array"})
    behind = Slice(COMPUTE, 100, 100, "nothing")
    other = Slice(core_track(ESTIMATE, 2, "load"), 5, 8, "conv1 LOAD weight")
    flits, busy = memory_track(RTL, 0, "DRAM bytes read", "bytes"), whole_track(RTL, "busy PEs", "PEs")
    counts = [Count(flits, 0, 640), Count(flits, 1000, 0), Count(busy, 0, 12.5)]
    return Timeline([compute, issue, other, behind, wait, load], [Arrow(load, compute, 29, 30)], counts)


def test_rows_come_by_group_kind_and_number(timeline: Timeline) -> None:
    rows = [(track.group, track.process, track.name) for track in timeline.tracks]
    assert rows == [
        ("RTL", "chip", "busy PEs"), ("RTL", "core 2", "load"), ("RTL", "core 10", "compute"),
        ("RTL", "memory 0", "DRAM bytes read"), ("estimate", "core 2", "load"),
    ]  # fmt: skip


def test_perfetto_holds_slices_facts_arrows_and_counts(timeline: Timeline) -> None:
    found = read_perfetto(FORMS["perfetto"].write(timeline))
    assert sorted(found.slices) == sorted((one.begin, one.end, one.name) for one in timeline.slices)
    assert found.facts[30, "conv1 COMPUTE"] == {"engine": "array", "streaming": 60}
    assert found.arrows == 1
    assert found.counts == {"DRAM bytes read": [(0, 640), (1000, 0)], "busy PEs": [(0, 12.5)]}
    assert found.rows == [(f"{t.group}: {t.process}", t.name) for t in timeline.tracks]


def test_json_holds_the_same(timeline: Timeline) -> None:
    events = json.loads(FORMS["json"].write(timeline))["traceEvents"]
    check_chrome(events)
    slices = [event for event in events if event["ph"] == "X"]
    assert (slices[0]["ts"], slices[0]["dur"]) == (0.03, 0.07), "a cycle is a nanosecond"
    assert [one["name"] for one in slices] == [one.name for one in timeline.slices]
    assert slices[0]["args"] == {"engine": "array", "streaming": 60}
    places = {(e["pid"], e["tid"]): e["args"]["name"] for e in events if e["name"] == "thread_name"}
    processes = {e["pid"]: e["args"]["name"] for e in events if e["name"] == "process_name"}
    leaves, reaches = ([e for e in events if e["ph"] == kind] for kind in "sf")
    assert [processes[e["pid"]] for e in (*leaves, *reaches)] == ["RTL: core 2", "RTL: core 10"]
    assert [places[e["pid"], e["tid"]] for e in (*leaves, *reaches)] == ["load", "compute"]
    assert 0.005 <= leaves[0]["ts"] < 0.009
    assert reaches[0]["ts"] == 0.03
    assert [(e["ts"], e["args"]) for e in events if e["ph"] == "C"] == [
        (0, {"bytes": 640}), (1, {"bytes": 0}), (0, {"PEs": 12.5})
    ]  # fmt: skip


def test_slices_that_cross_are_told_from_those_that_nest(timeline: Timeline) -> None:
    assert nested(timeline)
    timeline.slices.append(Slice(COMPUTE, 20, 40, "crosses the end of the wait"))
    assert not nested(timeline)


def test_slices_that_cross_get_rows_of_their_own_behind_theirs() -> None:
    reads = memory_track(ESTIMATE, 0, "reads: weight")
    spans = [(0, 10), (2, 5), (6, 12), (8, 14), (10, 20), (14, 15)]
    slices = [Slice(reads, begin, end, "read") for begin, end in spans]
    untangle(reversed(slices))
    timeline = Timeline(slices)
    assert nested(timeline)
    assert [one.track.name.removeprefix("reads: weight") for one in slices] == ["", "", " (2)", " (3)", "", ""]
    assert [track.name for track in timeline.tracks] == ["reads: weight", "reads: weight (2)", "reads: weight (3)"]


@pytest.mark.parametrize("spoil", [
    lambda events: events.pop(0),
    lambda events: events.append(next(event for event in events if event["ph"] == "s")),
    lambda events: next(event for event in events if event["ph"] == "f").update(ts=0.001),
    lambda events: next(event for event in events if event["ph"] == "X").update(dur=0.08),
    lambda events: events.remove(next(event for event in events if event["ph"] == "f")),
])  # fmt: skip
def test_a_broken_rule_of_the_format_is_noticed(timeline: Timeline, spoil: Callable[[list], None]) -> None:
    timeline.slices.append(Slice(COMPUTE, 105, 115, "conv2 COMPUTE"))
    events = json.loads(FORMS["json"].write(timeline))["traceEvents"]
    check_chrome(events)
    spoil(events)
    with pytest.raises((AssertionError, KeyError)):
        check_chrome(events)


def test_a_wrong_form_is_refused_and_so_is_another_simulator() -> None:
    assert [parse_form(text) for text in (None, "0", "1", "json")] == [None, None, "perfetto", "json"]
    with pytest.raises(BenchError, match="TRACE=vcd: give 1"):
        parse_form("vcd")
    with pytest.raises(BenchError, match=r"SIM=icarus: .* recorded by Verilator alone"):
        RunOptions("x", default_chip(1), sim="icarus", trace="perfetto")
    with pytest.raises(BenchError, match="INTERVAL=0"):
        RunOptions("x", default_chip(1), interval=0)
