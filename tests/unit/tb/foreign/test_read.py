"""Outputs of other tools: what their figures mean, and that what is unknown is refused by name."""

from __future__ import annotations

from pathlib import Path

import pytest

from tb.errors import BenchError
from tb.foreign.tools import TOOLS
from tests.foreign import answer, exported

PARTS = {
    "zigzag": (800.0, 50.0, 200.0), "stream": (1234.0, 0.0, 0.0), "timeloop": (1000.0, 0.0, 200.0),
    "onnxim": (900.0, 200.0, 400.0), "maestro": (1700.0, 0.0, 0.0),
}  # fmt: skip
"""Computation, filling, waiting of every layer in the outputs written by hand."""


@pytest.mark.parametrize("tool", PARTS)
def test_figures_are_told_apart(tool: str, tmp_path: Path) -> None:
    manifest = exported(tool, tmp_path)
    answer(manifest, tmp_path)
    rows = TOOLS[tool].read(tmp_path, manifest)
    assert [row.layer for row in rows] == [entry.layer.name for entry in manifest.entries]
    for row in rows:
        assert (row.compute, row.fill, row.waiting) == pytest.approx(PARTS[tool])


def test_cycles_of_scalesim_are_split_by_the_sizes_of_the_layer(tmp_path: Path) -> None:
    manifest = exported("scalesim", tmp_path)
    answer(manifest, tmp_path)
    conv, deep, full = TOOLS["scalesim"].read(tmp_path, manifest)
    assert (conv.compute, conv.fill, conv.waiting) == (2 * 256, 2 * 46 - 1, 100)
    assert (deep.compute, deep.fill, deep.waiting) == (16 * 64, 16 * 45, 1600)  # 16 filters, of which it ran one
    assert (full.compute, full.fill, full.memory) == (4, 4 * 46 - 1, (64 + 640 + 16) / 16)


REPORT = "results/systomesh/COMPUTE_REPORT.csv"
STATS = "L0/timeloop-mapper.stats.txt"
FIRST = "results/L0_complete.json"


@pytest.mark.parametrize(
    ("tool", "file", "old", "new", "message"),
    [
        ("scalesim", REPORT, "Stall Cycles", "Stalls", "unknown column 'Stalls'"),
        ("scalesim", REPORT, " Total Cycles (incl. prefetch),", "", "column 'Total Cycles (incl. prefetch)' is mis"),
        ("scalesim", REPORT, "\n2,", "\n", "line 4: 6 values, 7 columns"),
        ("scalesim", REPORT, ", 0, 50.0", ", 7, 50.0", "layer Layer0 has 596 cycles without stalls, its sizes 603"),
        ("scalesim", REPORT, ", 0, 50.0", ", -, 50.0", "Stall Cycles is '-', no figure"),
        ("zigzag", FIRST, '"data_onloading"', '"loading"', "unknown key 'loading'"),
        ("zigzag", FIRST, '"energy": {}, ', "", "key 'energy' is missing"),
        ("zigzag", FIRST, "0.4", "0.6", "utilisation 0.6 with stalls, 0.5 without"),
        ("zigzag", FIRST, '"inputs": {}}', "", "is no JSON"),
        ("stream", "L0/summary.yaml", "total", "energy: 3\ntotal", "unknown key 'energy'"),
        ("stream", "L0/summary.yaml", "1234", "3 ms", "total_latency is '3 ms', no figure"),
        ("timeloop", STATS, "=== weights", "=== buffer", "unknown level 'buffer'"),
        ("timeloop", STATS, ": 1200", ": 1.2 us", "Cycles of DRAM is '1.2 us'"),
        ("timeloop", STATS, "    Cycles ", "    Time ", "level 'mac' has no Cycles"),
        ("onnxim", "L0/log.txt", "1500 cycle", "1500 us", "finished at 1500 'us', an unknown unit"),
        ("onnxim", "L0/log.txt", "bubble cycle", "hole cycle", "unknown figure 'Systolic hole cycle'"),
        ("onnxim", "L0/log.txt", "Simulation Finished", "Stopped", "has no 'Simulation Finished at'"),
        ("maestro", "mapping.csv", "Ops/J", "Ops/W", "unknown column 'Ops/W'"),
        ("maestro", "mapping.csv", "L0", "conv", "has no layer L0"),
    ],
)
def test_what_is_unknown_is_refused_by_name(
    tool: str, file: str, old: str, new: str, message: str, tmp_path: Path
) -> None:
    manifest = exported(tool, tmp_path)
    answer(manifest, tmp_path)
    text = (tmp_path / file).read_text()
    assert old in text
    (tmp_path / file).write_text(text.replace(old, new, 1))
    with pytest.raises(BenchError) as error:
        TOOLS[tool].read(tmp_path, manifest)
    assert message in str(error.value)


@pytest.mark.parametrize("tool", TOOLS)
def test_outputs_that_are_not_there_are_asked_for(tool: str, tmp_path: Path) -> None:
    with pytest.raises(BenchError, match="is not there; run the tool in its folder first"):
        TOOLS[tool].read(tmp_path, exported(tool, tmp_path))
