"""Timelines of LeNet-5 on four cores: they add up to the hardware's counters, and cost no cycle."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cache
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from pywellen import Waveform  # pyright: ignore[reportAttributeAccessIssue] - the package tells no types

from scheduler.plan.program import Plan
from tb.model.build import HDL_DIR, emit_chip
from tb.model.monitors import monitors
from tb.model.toolchain import find_verilator
from tb.report.summary import CAUSES, Summary
from tb.report.viewers import CYCLE_PS
from tb.run.options import RunOptions
from tb.run.run import Run
from tb.run.rundir import RunDir
from tb.run.timelines import recorded_launches, timeline_file
from tb.run.waves import Waves
from tb.run.workload import Workload, load_workload
from tb.sim.job import LaunchResult
from tb.sim.trace import EventKind
from tb.timeline.assemble import RecordedLaunch, run_timeline
from tb.timeline.events import RTL, Slice, Timeline, core_track
from tb.timeline.sums import differences
from tests.chips import CHIPS, FOUR_CORES
from tests.cosim.test_run import Recorder
from tests.timelines import check_chrome, nested, read_perfetto

CHIP = FOUR_CORES
UNITS = ("load", "compute", "store")


@dataclass
class Traced:
    """A run with a timeline."""

    options: RunOptions
    summary: Summary
    plan: Plan
    results: list[LaunchResult]

    @property
    def launches(self) -> list[RecordedLaunch]:
        return recorded_launches(self.plan, dict(enumerate(self.results)), RunDir(self.options.folder, ""))

    def timeline(self, launch: int) -> Timeline:
        """Of one launch alone, from its own start on."""
        return run_timeline([self.launches[launch]], CHIP, self.options.settings)


@pytest.fixture(scope="module")
def lenet5() -> Workload:
    return load_workload("lenet5")


def simulate(lenet5: Workload, options: RunOptions, recorder: Recorder | None = None) -> Traced:
    run = Run(options, lambda: lenet5, "lenet5", recorder)
    summary = run.execute()
    assert summary.bit_exact
    assert run.scheduled is not None
    return Traced(options, summary, run.scheduled.plan, run.results)


@pytest.fixture(scope="module")
def runs(lenet5: Workload, tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Traced]:
    """The run with a timeline of each kind of schedule."""

    @cache
    def run(schedule: str) -> Traced:
        folder = tmp_path_factory.mktemp(schedule)
        options = RunOptions("traced", CHIP, runs_dir=folder, optimise=False, schedule=schedule, trace="perfetto")
        return simulate(lenet5, options)

    return run


@pytest.fixture(params=["fused", "layers"])
def traced(request: pytest.FixtureRequest, runs: Callable[[str], Traced]) -> Traced:
    return runs(request.param)


def of_core(timeline: Timeline, core: int, row: str) -> list[Slice]:
    return [one for one in timeline.slices if one.track == core_track(RTL, core, row)]


def test_slices_add_up_to_the_counters_of_every_core_and_cause(traced: Traced) -> None:
    for number, result in enumerate(traced.results):
        timeline = traced.timeline(number)
        for core, counters in enumerate(result.counters["core"]):
            spent: Counter[str] = Counter()
            for one in of_core(timeline, core, "compute"):
                if one.name in CAUSES.values():
                    spent[one.name] += one.end - one.begin
                elif CAUSES["stream"] in one.facts:
                    facts = {name: one.facts[name] for name in CAUSES.values() if name in one.facts}
                    assert sum(facts.values()) == one.end - one.begin
                    spent.update(facts)
            assert spent == Counter({words: counters[f"compute_{cause}"] for cause, words in CAUSES.items()})
            for unit in ("load", "store"):
                waits = [one for one in of_core(timeline, core, f"{unit} waits") if "waiting for" in one.name]
                tokens = sum(one.end - one.begin for one in waits if one.name != CAUSES["fetch"])
                assert tokens == counters[f"{unit}_wait"]
            instructions = [
                one for unit in UNITS for one in of_core(timeline, core, unit) if "instruction" in one.facts
            ]
            assert len(instructions) == counters["instructions"]
            assert max(one.end for one in of_core(timeline, core, "compute")) == result.cycles


def test_counts_and_memory_slices_add_up_to_the_counters(traced: Traced) -> None:
    for number, result in enumerate(traced.results):
        timeline = traced.timeline(number)
        counted: Counter[tuple[str, str]] = Counter()
        for count in timeline.counts:
            counted[count.track.process, count.track.name] += count.value
        for core, router in enumerate(result.counters["router"]):
            for direction in ("local", "north", "east", "south", "west"):
                assert counted["links", f"core {core} {direction}"] == router[f"flits_{direction}"]
        for memory, counters in enumerate(result.counters["memory"]):
            read = {name: value for name, value in counters.items() if name.startswith("read_") and "bytes" in name}
            assert counted[f"memory {memory}", "DRAM bytes read"] == sum(read.values())
            for name, value in read.items():
                row = f"reads: {name.split('_')[1]}"
                track = replace(core_track(RTL, 0, row), process=f"memory {memory}")
                assert sum(one.facts["bytes"] for one in timeline.slices if one.track == track) == value


def test_cycles_and_counters_are_those_of_a_run_without(traced: Traced, lenet5: Workload) -> None:
    plain = simulate(lenet5, replace(traced.options, name="plain", trace=None))
    assert [result.cycles for result in plain.results] == [result.cycles for result in traced.results]
    assert [result.counters for result in plain.results] == [result.counters for result in traced.results]
    assert timeline_file(plain.options) is None
    assert not list(plain.options.folder.glob("launches/*/+*"))
    recorder = Recorder()
    simulate(lenet5, replace(plain.options, trace="json"), recorder)
    assert recorder.was_kept == [], "launches without events are run again"
    assert len(recorder.simulated) == recorder.total


def test_arrows_lead_from_what_was_under_way_before_a_wait_ended(traced: Traced) -> None:
    arrows = [arrow for number in range(len(traced.results)) for arrow in traced.timeline(number).arrows]
    of_rtl = [arrow for arrow in arrows if arrow.target.track.group == RTL]
    assert len(of_rtl) > 100
    for arrow in of_rtl:
        assert arrow.source.begin <= arrow.released <= arrow.waited_until <= arrow.target.begin
        assert arrow.source.track.group == arrow.target.track.group
    releases = [arrow for arrow in of_rtl if arrow.released < arrow.waited_until]
    for arrow in releases:
        assert arrow.released + 1 == arrow.waited_until
    # A STORE waits for the COMPUTE before it, or for data of its own layer; nothing waits for a later layer.
    names = {(arrow.source.name.split()[1], arrow.target.name.split()[1]) for arrow in releases}
    assert ("COMPUTE", "STORE") in names
    assert {("LOAD", "COMPUTE"), ("LOAD", "SYNC")} & names


def test_every_wait_for_tokens_has_its_arrow(traced: Traced) -> None:
    for number in range(len(traced.results)):
        timeline = traced.timeline(number)
        ends = {
            (one.track.process, one.end)
            for one in timeline.slices
            if one.track.group == RTL and one.name in (CAUSES["wait_act"], CAUSES["wait_weight"], CAUSES["wait_acc"])
        }
        reached = {
            (arrow.target.track.process, arrow.waited_until)
            for arrow in timeline.arrows
            if arrow.target.track.group == RTL and arrow.released < arrow.waited_until
        }
        assert reached == ends


def test_the_estimate_has_the_same_instructions_and_its_own_cycles(traced: Traced) -> None:
    for number, launch in enumerate(traced.plan.launches):
        timeline = traced.timeline(number)
        for core in range(CHIP.n_cores):
            for unit in UNITS:
                here, there = (
                    sorted(
                        (one.facts["instruction"], one.name)
                        for one in timeline.slices
                        if one.track == core_track(group, core, unit) and "instruction" in one.facts
                    )
                    for group in (RTL, "estimate")
                )
                assert here == there
        (expected,) = (one for one in timeline.slices if one.track.group == "estimate" and one.track.name == "launches")
        assert expected.end - expected.begin == traced.summary.layers[number].estimated_cycles
        assert launch.name == expected.name


def test_the_file_holds_the_timeline(traced: Traced, lenet5: Workload) -> None:
    timeline = run_timeline(traced.launches, CHIP, traced.options.settings)
    assert nested(timeline)
    path = timeline_file(traced.options)
    assert path is not None
    found = read_perfetto(path.read_bytes())
    assert Counter(found.slices) == Counter((one.begin, one.end, one.name) for one in timeline.slices)
    assert found.arrows == len(timeline.arrows)
    launches = sorted(one.begin for one in timeline.slices if (one.track.group, one.track.name) == (RTL, "launches"))
    assert len(launches) == len(traced.results)
    for (begin, after), result in zip(pairwise(launches), traced.results, strict=False):
        assert after - begin >= result.cycles
    as_json = replace(traced.options, trace="json")
    again = Recorder()
    simulate(lenet5, as_json, again)
    assert again.simulated == [], "events are kept beside the results"
    json_file = timeline_file(as_json)
    assert json_file is not None
    events = json.loads(json_file.read_text())["traceEvents"]
    assert sum(event["ph"] == "X" for event in events) == len(timeline.slices)
    check_chrome(events)


@pytest.mark.parametrize("kind", [
    EventKind.WORK, EventKind.WAIT, EventKind.ISSUED, EventKind.READ, EventKind.WRITTEN, EventKind.PASSED,
])  # fmt: skip
def test_a_dropped_event_is_noticed(traced: Traced, kind: EventKind) -> None:
    launch, result = traced.launches[0], traced.results[0]
    assert differences(launch.events, result.counters, CHIP) == []
    numbers = np.flatnonzero(launch.events["kind"] == kind)
    for number in (numbers[0], numbers[-1]):
        # Waits of a load or store unit for instructions, or for the end, are in no counter.
        event = launch.events[number]
        if kind == EventKind.WAIT and event["unit"] != 1 and event["what"] > 3:
            continue
        assert differences(np.delete(launch.events, number), result.counters, CHIP) != []


def test_an_interrupted_run_of_two_processes_has_the_same_timeline(
    runs: Callable[[str], Traced], lenet5: Workload
) -> None:
    whole = runs("layers").options
    halves = replace(whole, name="halves", jobs=2)
    with pytest.raises(KeyboardInterrupt):
        simulate(lenet5, halves, Recorder(interrupt_after=1))
    launches = sorted((halves.folder / "launches").iterdir())
    if len(launches) == len(runs("layers").launches):  # both were done before they heard of it
        shutil.rmtree(launches[-1])
    resumed = Recorder()
    simulate(lenet5, halves, resumed)
    assert resumed.was_kept
    assert resumed.simulated
    one, other = timeline_file(whole), timeline_file(halves)
    assert one is not None
    assert other is not None
    assert one.read_bytes() == other.read_bytes()


def test_a_summary_is_written_when_all_other_files_are_there(
    traced: Traced, lenet5: Workload, monkeypatch: pytest.MonkeyPatch
) -> None:
    options, written, replace_file = replace(traced.options, report=True), list[str](), Path.replace

    def note(partial: Path, path: Path) -> None:
        if path.name == interrupted_at:
            raise KeyboardInterrupt
        written.append(path.name)
        replace_file(partial, path)

    monkeypatch.setattr(Path, "replace", note)
    interrupted_at = "trace.pftrace"
    with pytest.raises(KeyboardInterrupt):
        simulate(lenet5, options)
    assert not (options.folder / "summary.json").exists()
    interrupted_at = ""
    written.clear()
    simulate(lenet5, options)
    *others, last = (name for name in written if name != "sim.log")
    assert last == "summary.json"
    assert {"trace.pftrace", "report.html", "mesh.json", "layers.csv"} <= set(others)


def test_a_run_with_waves_has_the_same_cycles_and_events(runs: Callable[[str], Traced], lenet5: Workload) -> None:
    traced = runs("fused")
    both = simulate(lenet5, replace(traced.options, name="both", waves=Waves(100, 120, ("core1.compute",))))
    assert [result.cycles for result in both.results] == [result.cycles for result in traced.results]
    for one, other in zip(traced.launches, both.launches, strict=True):
        # Another model: what different units do in the same cycle may come in another order.
        assert np.array_equal(np.sort(one.events), np.sort(other.events))
    assert len(both.summary.waves) == len(both.results)
    for dump in both.summary.waves:
        times = list[int]()
        Waveform(str(both.options.folder / dump)).stream_changes(lambda time, *_, times=times: times.append(time), None)
        assert 100 * CYCLE_PS <= min(times) <= max(times) < 121 * CYCLE_PS


@pytest.mark.parametrize("name", ["2x1_mixed", "2x2_16x8_wide"])
def test_monitors_find_what_they_look_at_in_odd_chips(name: str, tmp_path: Path) -> None:
    """Two kinds of cores, one without marks or multicast; links of 32 bytes, on which a request is one flit."""
    design, verilator = emit_chip(CHIPS[name]), find_verilator()
    (tmp_path / "monitors.v").write_text(monitors(CHIPS[name], design.hier_modules))
    files = [*design.sources, HDL_DIR / "trace.v", tmp_path / "monitors.v"]
    command = [verilator.path, "--lint-only", "--top-module", "systomesh_chip", "-Wno-lint", "-Wno-style", *files]
    subprocess.run(command, env={**os.environ, **verilator.env}, check=True, capture_output=True)
    if name == "2x1_mixed":
        broken = (tmp_path / "monitors.v").read_text().replace("store.sender.fire", "store.sender.fires")
        (tmp_path / "monitors.v").write_text(broken)
        assert subprocess.run(command, env={**os.environ, **verilator.env}, capture_output=True).returncode != 0
