"""What is told of sparse engines: shares of products, bytes and PE-cycles, in the terminal and in the CSV."""

from __future__ import annotations

import csv
import io
from dataclasses import replace

from tb.report.layers import layers_csv
from tb.report.sparse import sparse_lines
from tb.report.summary import LayerSummary, PartSummary, Summary

FIGURES = {
    "pairs": 200, "skipped": 600, "items": 40, "empty": 100, "starved": 60, "blocked": 30, "resting": 10,
    "weight_bytes": 50, "dense_weight_bytes": 100, "dense_cycles": 3000,
}  # fmt: skip
CONV = LayerSummary("conv", "conv", 1000, 1100, 800, 0.5, {}, True, 1.0, sparse=FIGURES)
POOL = LayerSummary("pool", "maxpool", 500, 500, 0, 0.0, {}, True, 1.0)


def _summary(*layers: LayerSummary) -> Summary:
    return Summary(
        net="net", cores=1, array="sparse 8x32", sim="verilator", schedule="", seed=1, pe_count=256, memory={},
        lower_bound_cycles=9.0, build_s=1.0, schedule_s=2.0, golden_s=3.0, layers=list(layers),
    )  # fmt: skip


def test_layers_on_sparse_engines_have_a_line_each() -> None:
    fc = replace(CONV, name="fc", op="fc", cycles=2000, sparse={**FIGURES, "pairs": 0, "skipped": 800, "empty": 300})
    told = [" ".join(line.split()) for line in sparse_lines(_summary(CONV, POOL, fc))]
    assert told[1].startswith("layer done weights over dense no product")
    assert told[2:] == [
        "conv 25.0 % 50.0 % 3.00x 25.0 % 15.0 % 7.5 % 2.5 %",
        "fc 0.0 % 50.0 % 1.50x 75.0 % 15.0 % 7.5 % 2.5 %",
        "together 12.5 % 50.0 % 2.00x 50.0 % 15.0 % 7.5 % 2.5 %",
    ]
    assert list(sparse_lines(_summary(POOL))) == []


def test_parts_of_a_launch_have_what_does_not_depend_on_time() -> None:
    timeless = {name: FIGURES[name] for name in FIGURES if name not in ("starved", "blocked", "resting")}
    parts = [
        PartSummary("a", "conv", 400, "", 600, 600, sparse=timeless),
        PartSummary("b", "conv", 400, "", 400, 400, sparse={**timeless, "dense_cycles": 400}),
    ]
    launch = replace(CONV, name="a..b", parts=parts)
    told = [" ".join(line.split()) for line in sparse_lines(_summary(launch))]
    assert told[2:] == [
        "a 25.0 % 50.0 % 5.00x - - - -",
        "b 25.0 % 50.0 % 1.00x - - - -",
        "together 25.0 % 50.0 % 3.00x 25.0 % 15.0 % 7.5 % 2.5 %",
    ]
    rows = list(csv.DictReader(io.StringIO(layers_csv(_summary(launch, POOL)))))
    assert [(row["speed_up"], row["sparse_pairs"], row["sparse_starved"]) for row in rows] == [
        ("5.0", "200", ""), ("1.0", "200", ""), ("", "", ""),
    ]  # fmt: skip


def test_a_summary_gives_back_the_figures() -> None:
    summary = _summary(CONV)
    assert Summary.from_dict(summary.as_dict()).sparse == FIGURES
