"""SCALE-Sim and ZigZag as PyPI ships them, run for real: slow tests, which need the network once."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest
from rich.console import Console

from rtl.contract.params import default_chip
from tb.foreign.calibrate import calibrate_tool
from tb.foreign.environment import environment, run_tool
from tb.foreign.export import export
from tb.foreign.tools import TOOLS
from tb.run.options import RunOptions
from tb.run.run import Run
from tb.run.workload import load_workload
from tests.foreign import TARGET, small_graph

pytestmark = pytest.mark.slow

PACKAGED = [name for name, tool in TOOLS.items() if tool.packages]

PLAIN = (
    "from scalesim.scale_sim import scalesim; "
    "scalesim(True, False, 'scale.cfg', 'topology.csv', 'layout.csv').run_scale(top_path='plain')"
)
"""SCALE-Sim with nothing replaced."""


@pytest.mark.parametrize("name", PACKAGED)
def test_tool_takes_its_inputs_and_its_outputs_are_read(name: str, tmp_path: Path) -> None:
    manifest, _ = export(name, TARGET, "small", small_graph(), tmp_path)
    run_tool(name, tmp_path)
    rows = TOOLS[name].read(tmp_path, manifest)
    assert len(rows) == len(manifest.entries)
    assert all(row.compute > 0 for row in rows)


def test_what_is_replaced_in_scalesim_changes_no_figure(tmp_path: Path) -> None:
    export("scalesim", TARGET, "small", small_graph(), tmp_path)
    run_tool("scalesim", tmp_path)
    subprocess.run([str(environment("scalesim")), "-c", PLAIN], cwd=tmp_path, check=True, capture_output=True)
    reports = list((tmp_path / "results").rglob("*.csv"))
    assert len(reports) == 3
    for report in reports:
        assert report.read_text() == (tmp_path / "plain" / report.relative_to(tmp_path / "results")).read_text()


@pytest.mark.parametrize("name", PACKAGED)
def test_lenet_is_corrected_by_its_own_run(name: str, tmp_path: Path) -> None:
    """All layers are matched; one network alone cannot be held out, so the tool's figures stay."""
    options = RunOptions(name="lenet5", chip=default_chip(1), schedule="layers", fuse=False, runs_dir=tmp_path / "runs")
    assert Run(options, lambda: load_workload("lenet5", fuse=False), "lenet5").execute().bit_exact
    manifest, _ = export(name, TARGET, "lenet5", load_workload("lenet5", fuse=False).graph, tmp_path / name)
    run_tool(name, tmp_path / name)
    found = calibrate_tool(name, [tmp_path], tmp_path / "runs", Console())
    assert len(found.rows) == len(manifest.entries)
    assert all(of.why_raw for of in found.classes.values())
