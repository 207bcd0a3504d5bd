"""Runs against kept ones: every change is named, what got worse decides, and only like is compared with like."""

from __future__ import annotations

import io
import json
from dataclasses import replace
from pathlib import Path

import pytest
from rich.console import Console

from tb.bench.baseline import baseline_of
from tb.bench.campaign import Case, CaseResult
from tb.bench.compare import compare, describe_verdict, parse_tolerance, print_changes
from tb.bench.records import KeptRun, kept_runs, read_records, write_records
from tb.bench.table import record
from tb.errors import BenchError
from tb.report.summary import CAUSES, LayerSummary, PartSummary, Summary
from tb.run.facts import asked_facts

CASES = [Case("lenet5", 1), Case("squeezenet1_1", 4)]
BYTES = {"weight": 640, "ifmap": 64, "ofmap": 0, "psum": 0, "program": 32}


def records() -> list[dict]:
    """Of two runs, each a launch of two layers, the second called as the first, and one that is alone."""
    found = []
    for case in CASES:
        causes = dict.fromkeys(CAUSES, 1.0)
        parts = [PartSummary("conv1", "conv", 10, "", cycles, 90, BYTES, causes) for cycles in (100, 200)]
        layers = [
            LayerSummary("conv1..2", "conv", 300, 180, 20, 0.5, BYTES, True, 1.0, causes, parts=parts),
            LayerSummary("fc", "fc", 50, 60, 5, 0.5, BYTES, True, 1.0, causes),
        ]
        summary = Summary(
            net=case.net, cores=case.cores, array="16x16", schedule="fused", seed=1, pe_count=256, bit_exact=True,
            lower_bound_cycles=100.0, build_s=0.0, schedule_s=0.0, golden_s=0.0, layers=layers,
            **asked_facts(case.request.options, 1),
        )  # fmt: skip
        found.append(record(CaseResult(case, json.loads(json.dumps(summary.as_dict())))))
    return found


@pytest.fixture
def file(tmp_path: Path) -> Path:
    write_records(tmp_path / "kept.json", records(), "abc")
    return tmp_path / "kept.json"


def read(file: Path) -> list[KeptRun]:
    return kept_runs(read_records(file, "it", ""))


def changed(number: int, layer: int, **figures: int | bool | str | dict) -> list[KeptRun]:
    """The runs with a layer of one changed, and the whole run by as many cycles."""
    runs = kept_runs(records())
    run = runs[number]
    layers = list(run.layers)
    layers[layer] = replace(layers[layer], **figures)
    more = layers[layer].cycles - run.layers[layer].cycles
    runs[number] = replace(run, layers=tuple(layers), total=replace(run.total, cycles=run.total.cycles + more))
    return runs


def test_layers_of_a_launch_are_lines_that_come_back(file: Path) -> None:
    lines = [line.strip(" ,") for line in file.read_text().splitlines()]
    assert lines.count('["conv1", 200, 90, 640, 64, 0, 0, 32, true]') == 2
    assert lines.count('["fc", 50, 60, 640, 64, 0, 0, 32, true]') == 2
    assert json.loads(file.read_text())["commit"] == "abc"
    before = read(file)
    assert before == kept_runs(records())
    assert compare(before, before) == []
    assert "no cycle, byte, estimate or bit changed" in describe_verdict([], 2, 0.0, "it")


def test_every_change_is_told_and_the_greatest_loss_comes_first(file: Path) -> None:
    before = read(file)
    slow, slower = changed(0, 1, cycles=201), changed(1, 2, cycles=60)
    changes = compare(before, [slow[0], slower[1]])
    assert [change.total.name for change in changes] == ["squeezenet1_1-4cores", "lenet5-1cores"]
    assert [[layer.name for layer in change.layers] for change in changes] == [["fc"], ["conv1"]]
    console = Console(file=io.StringIO(), width=112)
    print_changes(changes, console)
    shown = console.file.getvalue()
    assert shown.index("350 -> 360 +2.86 %") < shown.index("50 -> 60 +20.00 %") < shown.index("200 -> 201 +0.50 %")
    assert "100 ->" not in shown  # the other layer of that name
    assert describe_verdict(changes, 2, 0.0, "it") == (
        "2 of 2 runs changed against it; worse, or a layer of it: squeezenet1_1-4cores, lenet5-1cores"
    )
    assert describe_verdict(changes, 2, 1.0, "it").endswith("more than 1 %, or a layer of it: squeezenet1_1-4cores")


@pytest.mark.parametrize(
    ("figures", "worse", "words"),
    [
        ({"cycles": 51}, True, "50 -> 51"),
        ({"cycles": 49}, False, "50 -> 49"),
        ({"dram_bytes": BYTES | {"weight": 641}}, True, "736 -> 737"),
        ({"dram_bytes": BYTES | {"weight": 624, "ifmap": 80}}, False, "other classes"),
        ({"estimated_cycles": 99}, False, "60 -> 99"),
        ({"bit_exact": False}, True, "DIFFER"),
        ({"name": "fc1"}, False, "gone"),
        ({"name": "fc1"}, False, "new"),
    ],
)
def test_more_cycles_or_bytes_or_other_bits_are_worse_and_nothing_else(
    figures: dict, worse: bool, words: str, file: Path
) -> None:
    (change,) = compare(read(file), changed(0, 2, **figures))
    assert change.worse(0.0) is worse
    assert change.worse(5.0) is (worse and "bit_exact" in figures)
    console = Console(file=io.StringIO(), width=112)
    print_changes([change], console)
    assert words in console.file.getvalue()


def test_runs_that_are_gone_or_new_are_named(file: Path) -> None:
    before = read(file)
    console = Console(file=io.StringIO(), width=112)
    changes = compare(before[:1], before[1:])
    print_changes(changes, console)
    lines = [line.split() for line in console.file.getvalue().splitlines() if "cores" in line]
    assert [line[:2] for line in lines] == [["lenet5-1cores,", "gone"], ["squeezenet1_1-4cores,", "new"]]
    assert describe_verdict(changes, 1, 0.0, "it") == "0 of 1 run changed against it, 1 new, 1 gone; nothing got worse"


def test_baseline_is_of_the_cases_and_of_the_whole_zoo_what_it_lost(file: Path) -> None:
    assert [run.name for run in baseline_of(file, CASES[:1], whole_zoo=False)] == ["lenet5-1cores"]
    facts = json.loads(file.read_text())
    facts["runs"][1] |= {"name": "lost-1cores", "cores": 1}
    file.write_text(json.dumps(facts))
    assert [run.name for run in baseline_of(file, CASES[:1], whole_zoo=False)] == ["lenet5-1cores"]
    assert [run.name for run in baseline_of(file, CASES[:1], whole_zoo=True)] == ["lenet5-1cores", "lost-1cores"]


@pytest.mark.parametrize(
    ("change", "line"),
    [
        (lambda facts: facts.pop("layer"), "is of an older form, which keeps no layers"),
        (lambda facts: facts.update(layer=["name"]), "keeps other figures of a layer than name, cycles,"),
        (lambda facts: facts.pop("runs"), "holds no records of runs"),
        (lambda facts: facts["runs"][0]["layers"][0].pop(), "holds no records of runs"),
        (lambda facts: facts["runs"][0].update(kind="layers"), r"of another schedule \(schedule layers, here fused\)"),
        (lambda facts: facts["runs"][0]["chip"]["core"].update(marks=2), r"of another chip \(core.marks 2, here 256\)"),
        (lambda facts: facts["runs"][0]["memory"].update(latency_cycles=9), r"another memory \(latency_cycles 9, here"),
        (lambda facts: facts["runs"].pop(0), "none of these runs, but NETS=squeezenet1_1 CORES=4 SCHEDULE=fused"),
    ],
)
def test_file_that_cannot_be_compared_is_one_line_with_the_remedy(change: object, line: str, file: Path) -> None:
    facts = json.loads(file.read_text())
    change(facts)
    file.write_text(json.dumps(facts))
    with pytest.raises(BenchError, match=rf"^AGAINST=.*kept.json.*{line}.*write one with make bench OUT=") as raised:
        baseline_of(file, CASES[:1], whole_zoo=False)
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize("text", ["-1", "much", "inf", "nan"])
def test_tolerance_is_percent(text: str) -> None:
    with pytest.raises(BenchError, match=f"^TOLERANCE={text}: give percent from 0 on"):
        parse_tolerance(text)
    assert parse_tolerance("0.5") == 0.5
