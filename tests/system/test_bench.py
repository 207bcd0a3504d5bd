"""`tb.cli bench` on real runs: figures in both files, nothing is simulated twice, what got slower is named, and the
page of a run is right."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tb.report.summary import CAUSES
from tests.browser import look, needs_browser

RUN = Path("runs") / "lenet5-1cores"


def _bench(folder: Path, *more: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(p for p in sys.path if p)}
    command = [sys.executable, "-m", "tb.cli", "bench", "--nets", "lenet5", "--cores", "1", *more]
    return subprocess.run(command, cwd=folder, env=environment, check=False, capture_output=True, text=True)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where a bench of one run was made."""
    folder = tmp_path_factory.mktemp("bench")
    done = _bench(folder)
    assert done.returncode == 0, done.stderr
    assert "(up to date)" not in done.stdout
    return folder


def test_lenet5_is_run_once_reported_and_compared(folder: Path) -> None:
    summary = json.loads((folder / RUN / "summary.json").read_text())
    text = (folder / "runs" / "bench.json").read_text()
    (run,) = json.loads(text)["runs"]
    assert (run["net"], run["cores"], run["bit_exact"], run["failure"]) == ("lenet5", 1, True, None)
    assert run["cycles"] == summary["cycles"] == sum(line[1] for line in run["layers"])
    assert run["dram_bytes"] == summary["dram_bytes"]
    (launch,) = summary["layers"]
    assert [line[0] for line in run["layers"]] == [part["name"] for part in launch["parts"]]
    assert run["worst_layer"]["name"] in {part["name"] for part in launch["parts"]}
    assert f"| lenet5 | 1 | fused | {run['cycles']:,} |" in (folder / "runs" / "bench.md").read_text()
    log = folder / RUN / "bench.log"
    log.unlink()
    (cycles,) = re.findall(r'\["fc1", (\d+),', text)
    (folder / "before.json").write_text(text.replace(f'["fc1", {cycles},', f'["fc1", {int(cycles) - 1},'))
    again = _bench(folder, "--against", "before.json")
    assert again.returncode == 1, "a layer takes a cycle more than before"
    assert "(up to date)" in again.stdout
    assert re.search(rf"fc1 +{int(cycles) - 1:,} -> {int(cycles):,} \+0\.0\d %", again.stdout)
    assert "worse, or a layer of it: lenet5-1cores" in again.stdout
    assert not log.exists()
    assert (folder / "runs" / "bench.json").read_text() == text


@needs_browser
def test_the_page_of_a_run_shows_the_numbers_of_its_summary(folder: Path, tmp_path: Path) -> None:
    summary = json.loads((folder / RUN / "summary.json").read_text())
    found = look(
        folder / RUN / "report.html",
        """
        await drawn;
        const figure = (key) => document.getElementById(key);
        const mesh = figure("mesh");
        const traces = (key) => figure(key).data.map(({ name, mode, yaxis, x, y }) => (
          { name, mode, yaxis, x: [...x], y: [...y] }));
        const charts = Object.fromEntries(["causes", "roofline", "estimate", "bytes", "energy"].map(
          (key) => [key, traces(key)]));
        const steps = mesh.layout.sliders[0].steps;
        await Plotly[steps.at(-1).method](mesh, ...steps.at(-1).args);
        const table = document.querySelector(".sortable"), column = (n) => [...table.tBodies[0].rows].map(
          (row) => row.cells[n].dataset.value);
        const headings = [...table.tHead.rows[0].cells], at = headings.findIndex((h) => h.innerText === "cycles");
        const sorted = [];
        for (let click = 0; click < 2; click++) {
          headings[at].firstElementChild.click();
          sorted.push(column(at).map(Number));
        }
        let saved, name;
        URL.createObjectURL = (blob) => { saved = blob.text(); return "data:,"; };
        HTMLAnchorElement.prototype.click = function () { name = this.download; };
        figure("save").click();
        return {
          verdict: document.querySelector(".verdict").innerText, charts, sorted, name, saved: await saved,
          drawn: [...document.querySelectorAll(".figure")].filter((each) => each.querySelector(".main-svg")).length,
          steps: steps.map((step) => step.label), heat: mesh.data[1].z.flat().filter((z) => z !== null),
          boxes: [...document.querySelectorAll(".figure")].map((each) => each.scrollWidth - each.clientWidth),
        };
        """,
        tmp_path,
    )
    assert found["verdict"] == f"\u2714 {summary['cycles']:,} cycles, every bit equal"
    _check_charts(found["charts"], summary)
    assert found["drawn"] == len(found["boxes"]) == 6
    assert max(found["boxes"]) <= 0, "no figure is wider than its place"
    (launch,) = summary["layers"]
    assert found["steps"] == ["whole run", *(part["name"] for part in launch["parts"])]
    cycles = [part["cycles"] for part in launch["parts"]]
    assert found["sorted"] == [sorted(cycles, reverse=True), sorted(cycles)]
    assert found["name"] == "lenet5-1cores-layers.csv"
    assert found["saved"] == (folder / RUN / "layers.csv").read_text()
    mesh = json.loads((folder / RUN / "mesh.json").read_text())
    last = mesh["launches"][0]["parts"][-1]
    assert sorted(found["heat"]) == sorted(round(flits / last["cycles"], 4) for flits in last["flits"])


def _check_charts(charts: dict[str, list[dict[str, Any]]], summary: dict[str, Any]) -> None:
    """Hold what is drawn of each layer against the summary."""
    (launch,) = summary["layers"]
    parts = launch["parts"]

    def bars(key: str) -> list[tuple[str, list[float]]]:
        return [(trace["name"], trace["y"]) for trace in charts[key]]

    def points(key: str, yaxis: str | None = None) -> list[tuple[float, float]]:
        marked = [trace for trace in charts[key] if "markers" in trace["mode"] and trace.get("yaxis") == yaxis]
        of_layers = [trace for trace in marked if "link" not in trace["name"]]
        return sorted(point for trace in of_layers for point in zip(trace["x"], trace["y"], strict=True))

    assert bars("causes") == [
        (words, [each["compute_cycles"][cause] for each in parts]) for cause, words in CAUSES.items()
    ]
    assert sum(sum(y) for _, y in bars("causes")) == pytest.approx(summary["cycles"], abs=2)
    assert bars("bytes") == [(kind, [each["dram_bytes"][kind] for each in parts]) for kind in summary["dram_bytes"]]
    energies = [
        (kind, [each["energy"][name][kind] for each in parts])
        for name in summary["energy_units"]
        for kind, count in summary["energy"][name]["of"].items()
        if count
    ]
    assert bars("energy") == energies
    roofline = [(each["macs"] / sum(each["dram_bytes"].values()), each["macs"] / each["cycles"]) for each in parts]
    assert points("roofline") == [pytest.approx(point) for point in sorted(roofline)]
    both = [(each["cycles"], each["estimated_cycles"]) for each in (*parts, launch)]
    assert points("estimate", "y") == sorted(both)
    errors = sorted((rtl, guess / rtl - 1) for rtl, guess in both)
    assert points("estimate", "y2") == [pytest.approx(point) for point in errors]
