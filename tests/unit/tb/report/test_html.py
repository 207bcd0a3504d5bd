"""Pages of runs: figures are such as Plotly takes, numbers are those of the record, a browser shows them offline."""

from __future__ import annotations

import csv
import io
import re
from dataclasses import replace
from pathlib import Path

import plotly.graph_objects as go
import pytest
from plotly.offline import get_plotlyjs_version

from rtl.contract.params import Direction, MemoryNodeParams, default_chip
from tb.report.html.charts.chart import Chart, axis, layer_layout
from tb.report.html.comparison import aligned, comparison_page
from tb.report.html.page import LIBRARY
from tb.report.html.report import write_html
from tb.report.html.single import run_page
from tb.report.record import RunRecord
from tb.report.summary import CAUSES
from tests.browser import look, needs_browser
from tests.reports import make_record

RECORDS = {
    "one core": make_record(cores=1, layers=5, launches=5),
    "fused": make_record(cores=4, layers=6),
    "large": make_record(cores=16, layers=70, launches=2),
}
MOST_BYTES = 3e6


def _charts(record: RunRecord) -> dict[str, Chart]:
    page = run_page(record)
    return {chart.key: chart for chart in (*page.charts, *page.further)}


@pytest.mark.parametrize("name", RECORDS)
def test_figures_are_such_as_plotly_takes_and_have_a_row_for_each_layer(name: str) -> None:
    record = RECORDS[name]
    rows = [row for row in record.summary.rows if row.cycles]
    charts = _charts(record)
    assert list(charts) == ["causes", "roofline", "mesh", "estimate", "bytes", "energy"]
    for chart in (*charts.values(), *comparison_page([record, RECORDS["fused"]]).charts):
        go.Figure({"data": chart.data, "layout": chart.layout})  # refuses names and values that plotly.js does not know
        assert all(len(row) == len(chart.table.header) for row in chart.table.rows)
    assert [row[0] for row in charts["causes"].table.rows] == [row.name for row in rows]
    assert all(len(trace["y"]) == len(rows) for trace in charts["causes"].data)
    assert len(run_page(record).grid.rows) == len(rows) + 1, "the layer on the host is in the table alone"


def test_the_library_of_the_page_is_of_the_version_that_figures_are_checked_by() -> None:
    assert re.search(r"plotly.js \(cartesian - minified\) v([\d.]+)", LIBRARY.read_text())[1] == get_plotlyjs_version()


def test_labels_of_fused_layers_say_what_they_share_once() -> None:
    names = ["features.0+features.2", "layer2.0.downsample.0+layer2.0.add", "conv1+pool1", "a.b+a.b", "a" * 28, "<b>"]
    assert layer_layout(names, yaxis=axis("cycles"))["xaxis"]["ticktext"] == [
        "features.0+2", "layer2.0.downsample.0+add", "conv1+pool1", "a.b+a.b",
        f"{'a' * 13}\u2026{'a' * 12}", "&lt;b&gt;",
    ]  # fmt: skip


@pytest.mark.parametrize("name", RECORDS)
def test_bars_of_all_causes_add_up_to_the_cycles(name: str) -> None:
    record = RECORDS[name]
    bars = _charts(record)["causes"].data
    assert [bar["name"] for bar in bars] == list(CAUSES.values())
    assert len({bar["marker"]["color"] for bar in bars}) == len(CAUSES)
    assert sum(sum(bar["y"]) for bar in bars) == pytest.approx(record.summary.cycles)


def test_the_map_has_every_link_once_and_its_slider_every_layer() -> None:
    record = RECORDS["fused"]
    chart = _charts(record)["mesh"]
    cores, links = chart.data
    shown = [cell for row in links["customdata"] for cell in row if cell]
    assert sorted(shown) == sorted(f"{link.source} \u2192 {link.target}" for link in record.mesh.links)
    assert "core 3 \u2192 router 3" in shown
    assert "memory 1 \u2192 router 3" in shown
    whole, *layers = chart.layout["sliders"][0]["steps"]
    assert whole["args"][0]["z"] == [cores["z"], links["z"]]
    assert [step["label"] for step in layers] == [row.name for row in record.summary.rows if row.cycles]
    (launch, _) = record.mesh.launches
    assert launch is not None
    place = next(
        (y, x) for y, row in enumerate(links["customdata"]) for x, cell in enumerate(row)
        if cell == "router 0 \u2192 router 1"
    )  # fmt: skip
    (number,) = (
        at for at, link in enumerate(record.mesh.links) if (link.source, link.target) == ("router 0", "router 1")
    )
    for step, load in zip(layers, launch.parts, strict=True):
        assert step["args"][0]["z"][1][place[0]][place[1]] == round(load.flits[number] / load.cycles, 4)
    blocked = [[cell for row in step["args"][0]["z"][0] for cell in row].count(None) for step in (whole, layers[0])]
    assert blocked[1] - blocked[0] == 4, "routers count by launch: nobody knows of a layer alone"


def test_no_two_things_have_one_place_on_the_map() -> None:
    sides = [(1, 0, Direction.NORTH), (0, 0, Direction.WEST), (2, 1, Direction.EAST), (2, 1, Direction.SOUTH)]
    chip = default_chip(6, memory_nodes=4)
    record = make_record(chip=replace(chip, memory_nodes=tuple(MemoryNodeParams(*side) for side in sides)))
    cores, links = _charts(record)["mesh"].data
    shown = [[cell for row in trace["customdata"] for cell in row if cell] for trace in (cores, links)]
    assert [len(cells) for cells in shown] == [2 * 6 + 2 * 4, len(record.mesh.links)]
    assert not any(a and b for rows in zip(cores["customdata"], links["customdata"], strict=True)
                   for a, b in zip(*rows, strict=True))  # fmt: skip


def test_csv_has_all_columns_in_full_and_nothing_for_what_is_unknown() -> None:
    record = RECORDS["fused"]
    lines = list(csv.DictReader(io.StringIO(run_page(record).grid.csv)))
    rows = record.summary.rows
    assert [line["layer"] for line in lines] == [row.name for row in rows]
    assert [int(line["cycles"]) for line in lines[:-1]] == [row.cycles for row in rows[:-1]]
    assert lines[-1]["cycles"] == lines[-1]["busiest_link_flits"] == lines[0]["estimate_low_cycles"] == ""
    for line, row in zip(lines[:-1], rows, strict=False):
        assert {cause: float(line[f"{cause}_cycles"]) for cause in CAUSES} == row.compute_cycles
        assert float(line["energy_mine_pJ"]) == sum(row.energy["mine"].values())
    apart = list(csv.DictReader(io.StringIO(run_page(RECORDS["one core"]).grid.csv)))
    assert float(apart[0]["estimate_low_cycles"]) < int(apart[0]["estimated_cycles"])


def test_a_run_in_which_nothing_ended_well_says_why(tmp_path: Path) -> None:
    record = RECORDS["fused"]
    summary = replace(record.summary, bit_exact=False, failure="the <simulator> died", layers=[])
    write_html(tmp_path / "page.html", [replace(record, summary=summary, mesh=replace(record.mesh, launches=[]))])
    text = (tmp_path / "page.html").read_text()
    assert "\u2718 failed: the &lt;simulator&gt; died" in text
    assert not re.search(r'<div id="(causes|mesh)"', text)


def test_layers_of_several_runs_are_aligned_by_name_and_place() -> None:
    def keys(names: str) -> list[tuple[str, int]]:
        return [(name, names[:at].count(name)) for at, name in enumerate(names)]

    assert aligned([keys("abc"), keys("abc")]) == keys("abc")
    assert aligned([keys("abc"), keys("axbcy")]) == keys("axbcy")
    assert aligned([keys("ac"), keys("xaab"), keys("bd")]) == [
        ("x", 0), ("a", 0), ("a", 1), ("b", 0), ("d", 0), ("c", 0),
    ]  # fmt: skip


@needs_browser
def test_a_browser_shows_runs_side_by_side(tmp_path: Path) -> None:
    other = make_record("other", layers=7, seed=2)
    page = tmp_path / "page.html"
    write_html(page, [RECORDS["fused"], other])
    assert page.stat().st_size < MOST_BYTES
    found = look(
        page,
        """
        await drawn;
        const layers = document.getElementById("layers");
        const [absolute, change] = layers.layout.updatemenus[0].buttons;
        await Plotly[change.method](layers, ...change.args);
        return {
          changes: layers.data.map((trace) => [...trace.y]),
          cells: [...document.querySelectorAll(".sortable tbody tr")].map((row) =>
            [...row.cells].map((cell) => cell.textContent)),
        };
        """,
        tmp_path,
    )
    cycles = [{row.name: row.cycles for row in each.summary.rows} for each in (RECORDS["fused"], other)]
    names = [name for name in cycles[1] if cycles[1][name]]
    changes = [cycles[1][name] - cycles[0][name] if name in cycles[0] else None for name in names]
    assert found["changes"][1] == changes
    assert [cells[0] for cells in found["cells"]] == names
    assert [cells[3] for cells in found["cells"]] == ["" if each is None else f"{each:+,}" for each in changes]
