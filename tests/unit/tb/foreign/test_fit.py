"""Corrections: factors that made the figures are found again, and no class gets worse."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from rich.console import Console

from tb.errors import BenchError
from tb.foreign.calibrate import calibrate_tool, print_correction
from tb.foreign.correction import Correction, corrected, load, save
from tb.foreign.fit import Measured, fit_classes
from tb.foreign.page import page
from tb.foreign.tool import Prediction
from tests.foreign import answer, exported


def layers(net: str, kind: str, count: int, seed: int, noise: float = 0.0) -> list[Measured]:
    """Layers whose RTL takes 1.1 x computation + 0.3 x filling + what it does not hide of memory + 400 cycles."""
    rng = np.random.default_rng(seed)
    made = []
    for number in range(count):
        compute, fill, memory = rng.uniform(1e3, 1e5), rng.uniform(0, 2e4), rng.uniform(0, 2e5)
        row = Prediction(net, f"{net}.{number}", kind, compute, fill, 50.0, memory)
        cycles = 1.1 * compute + 0.3 * fill + max(0.0, memory - compute) + 400
        made.append(Measured(row, round(cycles * rng.uniform(1 - noise, 1 + noise))))
    return made


def test_factors_that_made_the_cycles_are_found() -> None:
    known = layers("a", "1x1", 20, 1) + layers("b", "1x1", 20, 2)
    classes, held = fit_classes(known)
    of = classes["1x1"]
    assert of.factors["compute"] == pytest.approx(1.1, abs=0.01)
    assert of.factors["fill"] == pytest.approx(0.3, abs=0.02)
    assert of.factors["beyond"] == pytest.approx(1.0, abs=0.01)
    assert of.held_out is not None
    assert of.held_out.mae < 1e-3 < 0.1 < of.held_out.raw_mae
    assert (of.held_out.layers, of.held_out.networks) == (40, 2)
    assert len(held) == 40
    low, high = of.intervals["compute"]
    assert low <= of.factors["compute"] <= high


def test_no_class_gets_worse_than_the_tool_itself() -> None:
    """One class agrees with the RTL as it is; in another, networks contradict each other."""
    rows = [Prediction("abc"[n % 3], f"l{n}", "conv", 1e4 + 7e3 * n, 0, 0) for n in range(9)]
    exact = [Measured(row, round(row.cycles)) for row in rows]
    alone = layers("a", "fc", 4, 3)
    classes, _ = fit_classes(exact + alone)
    assert "a correction does not help" in classes["conv"].why_raw
    assert "too few layers in other networks" in classes["fc"].why_raw
    assert all(of.cycles(layer.row) == layer.row.cycles for of in classes.values() for layer in exact)


def test_probes_are_fitted_to_and_never_left_out() -> None:
    probes = [Measured(each.row, each.cycles, probe=True) for each in layers("probes", "fc", 12, 4)]
    classes, held = fit_classes(probes + layers("a", "fc", 3, 5))
    assert classes["fc"].why_raw == ""
    assert {net for net, _ in held} == {"a"}
    assert classes["fc"].held_out is not None
    assert classes["fc"].held_out.mae < 1e-3


def test_corrections_are_kept_and_used(tmp_path: Path) -> None:
    known = layers("a", "1x1", 20, 1, 0.05) + layers("b", "1x1", 20, 2, 0.05)
    classes, _ = fit_classes(known)
    save(Correction("scalesim", "3.0.0", [], ["a", "b"], classes, []), tmp_path)
    assert load("scalesim", tmp_path).classes == classes
    small = Prediction("c", "tiny", "1x1", 3.0, 0.0, 0.0)
    other = Prediction("c", "pool", "pool", 3.0, 0.0, 0.0)
    found = corrected("scalesim", [known[0].row, small, other], tmp_path)
    assert [each.raw for each in found] == [False, False, True]
    assert [each.within for each in found] == [True, False, False]
    assert found[2].cycles == 3.0
    assert found[0].low < found[0].cycles < found[0].high
    assert found[0].cycles == pytest.approx(known[0].cycles, rel=0.1)
    inside = [each.low <= layer.cycles <= each.high for each, layer in zip(
        corrected("scalesim", [layer.row for layer in known], tmp_path), known, strict=True)]  # fmt: skip
    assert 0.8 <= np.mean(inside) <= 1.0


def test_missing_and_damaged_corrections_are_refused(tmp_path: Path) -> None:
    with pytest.raises(BenchError, match="is not there; fit it with make calibrate TOOLS=zigzag"):
        load("zigzag", tmp_path)
    (tmp_path / "zigzag.json").write_text("{")
    with pytest.raises(BenchError, match="is damaged"):
        load("zigzag", tmp_path)


SUMMARY = {
    "net": "small", "cores": 1, "array": "16x16", "batch": 1, "bit_exact": True, "schedule": "layer by layer",
    "memory": {"latency_cycles": 64, "bytes_per_cycle": 16, "nodes": 1},
}  # fmt: skip


def _run(folder: Path, **changes: object) -> None:
    rows = [
        {"name": name, "cycles": cycles, "on_host": False}
        for name, cycles in (("Layer0", 900), ("dw", 700), ("Layer4", 300), ("Layer5", 600))
    ]
    folder.mkdir(parents=True)
    (folder / "summary.json").write_text(json.dumps(SUMMARY | {"layers": rows} | changes))


def test_layers_are_matched_with_the_run_of_their_network_and_chip(tmp_path: Path) -> None:
    manifest = exported("scalesim", tmp_path / "results")
    answer(manifest, tmp_path / "results")
    runs = tmp_path / "runs"
    _run(runs / "other_memory", memory={**SUMMARY["memory"], "latency_cycles": 100})
    _run(runs / "fused", schedule="fused: 5 layers in 1 launch")
    _run(runs / "differs", bit_exact=False)
    with pytest.raises(BenchError, match="no run of small, layer by layer, on 1 cores of 16x16; make sim NET=small"):
        calibrate_tool("scalesim", [tmp_path / "results"], runs, Console())
    _run(runs / "small")
    found = calibrate_tool("scalesim", [tmp_path], runs, Console())
    assert {(row["layer"], row["rtl"]) for row in found.rows} == {("Layer0", 900), ("dw", 700), ("Layer5", 600)}
    assert found.chips == [dict(manifest.chip)]
    print_correction(found, Console())
    text = page(found, "1234567")
    assert "# SCALE-Sim 3.0.0 against the RTL" in text
    assert "| conv | 1 | - | - | raw: too few layers in other networks" in text
    with pytest.raises(BenchError, match="holds no inputs of zigzag; write them with make export TOOL=zigzag"):
        calibrate_tool("zigzag", [tmp_path / "results"], runs, Console())
    with pytest.raises(BenchError, match="is no folder"):
        calibrate_tool("zigzag", [tmp_path / "nowhere"], runs, Console())
