"""The report of a campaign: targets, losses and failures in the table and in the file."""

from __future__ import annotations

import io
from pathlib import Path

import pytest
from rich.console import Console

from golden.zoo import ZOO
from tb.bench.campaign import Case, CaseResult
from tb.bench.records import kept_runs, read_records
from tb.bench.table import TARGETS, markdown, print_report, record, require_writable, write_report
from tb.errors import BenchError
from tb.report.summary import CAUSES, LayerSummary, Summary


def summary(cycles: int) -> dict:
    """Of two layers and a node on the host; the lower bound is 900 cycles."""
    causes = dict.fromkeys(CAUSES, 0.0) | {"stream": 0.7 * cycles, "wait_act": 0.2 * cycles, "fetch": 0.1 * cycles}
    bytes_of = {"weight": 1_000_000, "ifmap": 500_000, "ofmap": 0, "psum": 0, "program": 10_000}
    layers = [
        LayerSummary("conv1", "conv", cycles - 100, cycles - 100, 64_000, 0.5, bytes_of, True, 1.5, causes),
        LayerSummary("gate1", "host", 0, 0, 0, 0.0, {}, True, 0.0, host_bytes=64, on_host=True),
        LayerSummary("pool1", "pool", 100, 90, 0, 0.0, {}, True, 0.5),
    ]
    whole = Summary(
        net="resnet18", cores=4, array="16x16", sim="verilator", schedule="layer by layer", kind="layers", seed=1,
        pe_count=1024, memory={}, lower_bound_cycles=900.0, build_s=1.0, schedule_s=2.0, golden_s=3.0, bit_exact=True,
        layers=layers, quantisation_error={"relative": 0.01, "largest": 0.5}, processes=2, simulation_s=1.1,
    )  # fmt: skip
    return whole.as_dict()


def test_record_compares_with_the_target_and_names_losses() -> None:
    facts = record(CaseResult(Case("resnet18", 4), summary(1000)))
    assert facts["efficiency"] == pytest.approx(0.9)
    assert (facts["target"], facts["target_met"]) == (0.88, True)
    assert facts["largest_loss"] == {"cause": "wait_act", "share": pytest.approx(0.2)}
    assert facts["worst_layer"] == {"name": "pool1", "cycles": 100, "estimate_error": pytest.approx(-0.1)}
    times = facts["times"]
    assert (times["sim_s"], times["processes"], times["simulation_s"]) == (2.0, 2, 1.1)
    assert times["sim_hz"] == pytest.approx(500)
    assert facts["host_layers"] == ["gate1"]
    assert facts["quantisation_error"] == {"relative": 0.01, "largest": 0.5}
    assert facts["layers"][2] == ["pool1", 100, 90, 0, 0, 0, 0, 0, True]
    assert record(CaseResult(Case("resnet18", 4), summary(1100)))["target_met"] is False


@pytest.mark.parametrize(("case", "kind"), [(("lenet5", 4), "layers"), (("resnet18", 16), "layers"),
                                            (("resnet18", 4), "fused")])  # fmt: skip
def test_there_are_targets_for_large_networks_layer_by_layer_on_the_default_chip_only(case: tuple, kind: str) -> None:
    assert record(CaseResult(Case(*case, kind), summary(1000) | {"kind": kind}))["target"] is None


def test_every_target_is_of_a_network_of_the_zoo() -> None:
    assert set(TARGETS) == set(ZOO) - {"lenet5"}


def test_table_shows_every_case_and_explains_failures(tmp_path: Path) -> None:
    good = CaseResult(Case("resnet18", 4, "layers"), summary(1000))
    slow = CaseResult(Case("resnet50", 4, "layers"), summary(2000))
    dead = CaseResult(Case("vgg16", 16), None, "layer 'conv1' does not fit")
    wrong = CaseResult(Case("alexnet", 4), summary(1000) | {"bit_exact": False, "efficiency": None}, "conv1: channel 0")
    records = [record(result) for result in (good, slow, dead, wrong)]
    header, rule, *rows = markdown(records, "v1-3-gabc").splitlines()
    columns = len(header.split(" | "))
    assert len(rule.split(" | ")) == columns
    assert all(len(row.split(" | ")) == columns for row in rows[:4])
    assert rows[0].startswith("| resnet18 | 4 | layers | 1,000 | 90.0 % | 88 %: met |")
    assert "pool1 -10.0 % | 1.51 | 1.00 + 0.50 + 0.00 + 0.00 + 0.01 | waiting for activations 20.0 %" in rows[0]
    assert rows[0].endswith("| 1.0 + 2.0 + 3.0 + 2.0 | equal |")
    assert "| 45.0 % | 88 %: missed |" in rows[1]
    assert rows[2].startswith("| vgg16 | 16 | fused |")
    assert rows[2].endswith("| **failed** |")
    assert "| - | 92 %: - |" in rows[3]
    assert rows[3].endswith("| **failed** |")
    assert rows[-2:] == ["- vgg16-16cores: layer 'conv1' does not fit", "- alexnet-4cores: conv1: channel 0"]
    assert "Commit v1-3-gabc." in "\n".join(rows)
    table, data = write_report(tmp_path / "docs" / "bench", records, "v1-3-gabc")
    assert table.read_text() == markdown(records, "v1-3-gabc")
    assert [run.name for run in kept_runs(read_records(data, "it", ""))] == [
        "resnet18-4cores-layers", "resnet50-4cores-layers", "alexnet-4cores"
    ]  # fmt: skip
    console = Console(file=io.StringIO(), width=200)
    print_report(records, console)
    shown = console.file.getvalue()
    assert "FAILED: layer 'conv1' does not fit" in shown
    assert "88 %: missed" in shown
    narrow = Console(file=io.StringIO(), width=80)
    print_report(records, narrow)
    lines = narrow.file.getvalue().splitlines()
    assert max(map(len, lines)) <= 80
    assert "\u2026" not in narrow.file.getvalue()
    assert [line.split()[-1] for line in lines if " cores" not in line and line.split()[1:2] in (["4"], ["16"])] == [
        "equal", "equal", "FAILED", "FAILED"
    ]  # fmt: skip


@pytest.mark.parametrize("out", ["file/bench", "taken"])
def test_place_that_cannot_be_written_is_refused_at_once(out: str, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    (tmp_path / "taken.json").mkdir()
    with pytest.raises(BenchError, match=f"^OUT={tmp_path / out}.*"):
        require_writable(tmp_path / out)
    require_writable(tmp_path / "new" / "bench")
