"""Records of experiments: they survive their file, and say what they come from."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from tb.errors import BenchError
from tb.experiment import point as points
from tb.experiment.point import Point
from tb.experiment.records import ESTIMATE, RTL, Book, Figure, Record, combine

FAST, SLOW = Point("lenet5", "default", "fused"), Point("lenet5", "default", "apart", overlap=False)
FACTS = {
    "batch": 2,
    "cycles": 1000,
    "estimated_cycles": 1100,
    "dram_bytes": {"weight": 3_000_000, "program": 1_000_000},
    "macs": 400,
    "repeated_macs": 4.0,
}


def book(**records: Record) -> Book:
    return Book("test", "new", "v2", [FAST, SLOW], {record.point: record for record in records.values()})


def test_figures_are_those_of_a_picture() -> None:
    record = Record(FAST, RTL, FACTS, "new", "v2")
    assert (record.cycles, record.megabytes, record.repeated) == (500, 2.0, 0.01)
    assert record.estimate_error == pytest.approx(0.1)
    predicted = Record(FAST, ESTIMATE, FACTS, "new", "v2")
    assert (predicted.cycles, predicted.estimate_error) == (550, None)


def test_figures_say_what_is_estimated_older_or_missing() -> None:
    known = book(a=Record(FAST, RTL, FACTS, "new", "v2"), b=Record(SLOW, ESTIMATE, FACTS, "old", "v1"))
    mine, other = (known.figure(lambda record: record.cycles, point) for point in (FAST, SLOW))
    assert (mine.text(str), other.text(str)) == ("500", "*550\u2020*")
    assert combine(lambda a, b: a + b, mine, other) == Figure(1050, estimated=True, older=True)
    failed = book(a=Record(FAST, RTL, FACTS, "new", "v2", failure="a bit differs"))
    missing = failed.figure(lambda record: record.cycles, FAST)
    assert missing.text(str) == "-"
    assert combine(max, mine, missing).value is None
    assert failed.failed == [failed.records[FAST]]


def test_energies_are_compared_under_all_sets_or_not_at_all() -> None:
    def told(point: Point, narrow: float, wide: float) -> Record:
        energy = {"narrow": {"total": narrow, "edp": 2 * narrow}, "wide": {"total": wide, "edp": 2 * wide}}
        return Record(point, RTL, FACTS | {"energy": energy}, "new", "v2")

    known = book(a=told(FAST, 3.0, 2.0), b=told(SLOW, 4.0, 4.0))
    assert f"{known.comparison(FAST, SLOW)}" == "-50.0 ... -25.0 %"
    known = book(a=told(FAST, 3.0, 6.0), b=told(SLOW, 4.0, 4.0))
    assert f"{known.comparison(FAST, SLOW, 'edp')}" == "undecided (-25.0 ... +50.0 %)"
    assert book(a=told(FAST, 3.0, 6.0)).comparison(FAST, SLOW) is None
    assert book(a=told(FAST, 3.0, 6.0), b=Record(SLOW, RTL, FACTS, "old", "v1")).comparison(FAST, SLOW) is None


def test_file_gives_back_the_records(tmp_path: Path) -> None:
    known = book(a=Record(FAST, RTL, FACTS, "new", "v2", "f00"), b=Record(SLOW, ESTIMATE, FACTS, "old", "v1"))
    known.save(tmp_path / "test.json")
    assert Book.load(tmp_path / "test.json", "test", [FAST, SLOW]) == known
    assert "OVERLAP=0" in json.loads((tmp_path / "test.json").read_text())["points"][1]["command"]
    # A point that the experiment no longer has is gone; one that is new has no record.
    other = replace(SLOW, batch=4)
    assert set(Book.load(tmp_path / "test.json", "test", [FAST, other]).records) == {FAST}


def test_records_of_another_chip_are_forgotten(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(points, "CHIPS", tmp_path)
    (tmp_path / "default.toml").write_text("mesh_width = 1\n")
    known = book(a=Record(FAST, RTL, FACTS, "new", "v2"))
    known.save(tmp_path / "test.json")
    assert Book.load(tmp_path / "test.json", "test", [FAST]).records
    (tmp_path / "default.toml").write_text("mesh_width = 2\n")
    assert not Book.load(tmp_path / "test.json", "test", [FAST]).records


@pytest.mark.parametrize("text", ["[", "{}", '{"experiment": "other"}', '{"experiment": "test", "points": [3]}'])
def test_file_of_something_else_is_refused(text: str, tmp_path: Path) -> None:
    (tmp_path / "test.json").write_text(text)
    with pytest.raises(BenchError, match=r"is no file of records: .*; move it away or give another OUT"):
        Book.load(tmp_path / "test.json", "test", [FAST])
