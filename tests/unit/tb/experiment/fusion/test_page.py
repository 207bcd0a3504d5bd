"""The page and picture of the experiment on fused schedules, from made-up records."""

from __future__ import annotations

import pytest

from tb.experiment.fusion import FUSION
from tb.experiment.fusion.points import NETS, headline
from tb.experiment.point import Point
from tb.experiment.records import ESTIMATE, RTL, Book, Record
from tb.report.summary import CAUSES

MEGABYTES = {"apart": 60, "layers": 50, "fused": 25}
CYCLES = {"apart": 20_000_000, "layers": 15_000_000, "fused": 8_000_000}


def record(point: Point, source: str = RTL) -> Record:
    cycles = CYCLES[point.schedule] * (1 if point.overlap else 2)
    facts = {
        "batch": 1, "cycles": cycles, "estimated_cycles": cycles * 1.02, "macs": 1000, "repeated_macs": 4,
        "lower_bound_cycles": 6e6, "schedule_s": 12.5, "compute_cycles": dict.fromkeys(CAUSES, 1000.0),
        "dram_bytes": {"weight": MEGABYTES[point.schedule] * 1_000_000, "program": 0},
    }  # fmt: skip
    return Record(point, source, facts, "key", "v1")


def book(*left_out: Point, estimated: tuple[Point, ...] = ()) -> Book:
    points = FUSION.points
    records = {
        point: record(point, ESTIMATE if point in estimated else RTL) for point in points if point not in left_out
    }
    return Book("fusion", "key", "v1", points, records)


def lines(text: str, begin: str) -> list[str]:
    return [line for line in text.splitlines() if line.startswith(f"| {begin} |")]


def test_targets_are_judged_by_the_records() -> None:
    text = FUSION.page(book())
    cells = {line.split(" | ")[0].strip("| "): line for line in text.splitlines() if line.startswith("| ")}
    assert "| -32.0 % | <= -45.0 % | -58.3 % | met |" in cells["DRAM traffic, mean of nine, against apart"]
    assert "| >= 2.100x | 2.500x | met |" in cells["ResNet-50, speed against apart, both overlapped"]
    assert "| >= 2.650x | 5.000x | met |" in cells["ResNet-50, apart serial -> fused overlapped"]
    assert "| <= 4.70 M | 8.00 M | missed |" in text
    assert lines(text, "mobilenet_v1")[0].endswith("| 60.00 | 50.00 | 25.00 | 25.00 + 0.00 | 5.20 | missed | -58.3 % | "
                                                   "-50.0 % |")  # fmt: skip
    assert "Slower fused than layer by layer: none, of 9 networks that are known." in text


def test_energies_are_told_of_runs_that_have_them() -> None:
    known = book()
    assert "## Energy" not in FUSION.page(known)
    for kind, narrow, wide in (("apart", 8.0, 8.0), ("layers", 4.0, 2.0), ("fused", 3.0, 4.0)):
        point = headline("resnet18", kind)
        energy = {"narrow": {"total": narrow, "edp": narrow}, "wide": {"total": wide, "edp": wide}}
        facts = {**known.records[point].facts, "energy": energy}
        known.records[point] = Record(point, RTL, facts, "key", "v1")
    told = "-62.5 ... -50.0 % | undecided (-25.0 ... +100.0 %)"
    assert f"| resnet18 | {told} | {told} |" in FUSION.page(known)


def test_what_is_missing_or_estimated_is_shown_so_with_all_that_needs_it() -> None:
    fused = headline("vgg16", "fused")
    text = FUSION.page(book(estimated=(fused,)))
    assert "*25.00* | *25.00 + 0.00* | 143.00 | *met*" in lines(text, "vgg16")[0]
    assert "| <= -45.0 % | *-58.3 %* | *met* |" in text
    assert f"1 estimated</summary>{fused.name}</details>" in text
    text = FUSION.page(book(fused))
    assert lines(text, "vgg16")[0].endswith("| 60.00 | 50.00 | - | - | 143.00 | - | - | - |")
    assert "| <= -45.0 % | - | - |" in text


@pytest.mark.parametrize("left_out", [(), tuple(FUSION.points)], ids=["all", "none"])
def test_picture_is_the_same_each_time_and_names_every_network(left_out: tuple[Point, ...]) -> None:
    svg = FUSION.picture(book(*left_out))
    assert svg == FUSION.picture(book(*left_out))
    assert all(f">{net}<" in svg for net in NETS)
