"""A tiny experiment on the RTL: real runs and a real estimate, kept by their fingerprints."""

from __future__ import annotations

import io
import shutil
from pathlib import Path

import pytest
from rich.console import Console

from tb.bench.campaign import Campaign
from tb.experiment import point as points
from tb.experiment.experiment import Experiment
from tb.experiment.point import Point
from tb.experiment.records import ESTIMATE, RTL, Book
from tb.experiment.run import run_experiment

CHIP = "mesh_width = 1\nmesh_height = 1\n"
"""The preset of one core, whose model other tests build, too."""
LAYERS, FUSED = (Point("lenet5", "tiny", kind, bytes_per_cycle=4) for kind in ("layers", "fused"))
SERIAL = Point("lenet5", "tiny", "apart", bytes_per_cycle=4, overlap=False)
TINY = Experiment(
    "tiny", "does it run?", {"both": [LAYERS, FUSED], "more": [SERIAL]}, lambda book: book.commit, lambda _: "<svg/>"
)


def test_two_points_run_a_third_is_estimated_and_edited_sources_simulate_nothing_anew(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(points, "CHIPS", tmp_path)
    (tmp_path / "tiny.toml").write_text(CHIP)

    def run(sources: str) -> Book:
        campaign = Campaign(2, tmp_path / "runs", sources=lambda: sources)
        monkeypatch.chdir(tmp_path)
        console = Console(file=io.StringIO())
        return run_experiment(TINY, TINY.select("both"), tmp_path / "tiny", campaign, console, estimates=True)

    book = run("sources")
    layers, fused, serial = (book.records[point] for point in TINY.points)
    assert not book.failed
    assert (layers.source, fused.source, serial.source) == (RTL, RTL, ESTIMATE)
    assert fused.megabytes < layers.megabytes < serial.megabytes
    assert fused.cycles < layers.cycles < serial.cycles
    assert all(abs(record.estimate_error or 0.0) < 0.1 for record in (layers, fused))
    assert layers.fingerprint != fused.fingerprint
    shutil.rmtree(tmp_path / "runs")  # the records alone are left, as on another machine
    again = run("edited sources")
    for point in (LAYERS, FUSED):
        assert again.records[point].sources == "edited sources"
        assert again.records[point].fingerprint == book.records[point].fingerprint
        before, after = ({**each.records[point].facts, "schedule_s": 0} for each in (book, again))
        assert after == before
    assert not list(tmp_path.glob("runs/*/summary.json"))  # checks have confirmed them; nothing was simulated
    assert len(list(tmp_path.glob("runs/*/check.json"))) == 3
