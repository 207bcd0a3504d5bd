"""Records of runs: what is written is read again, and a run without one is refused with the remedy."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tb.errors import BenchError
from tb.report.layers import layers_csv
from tb.report.record import RunRecord
from tb.report.summary import VERSION
from tests.reports import make_record


def test_a_record_is_read_as_it_was_written(tmp_path: Path) -> None:
    record = make_record("one", layers=6, launches=2)
    record.save(tmp_path / "one")
    found = RunRecord.load("one", tmp_path)
    written = json.loads((tmp_path / "one" / "summary.json").read_text())
    assert written["version"] == VERSION
    assert json.loads(json.dumps(found.summary.as_dict())) == written
    assert found.mesh == record.mesh
    assert found == RunRecord.load(str(tmp_path / "one"), Path("elsewhere"))
    assert (tmp_path / "one" / "layers.csv").read_text() == layers_csv(record.summary, record.mesh)
    assert [row.estimated_interval for row in found.summary.rows] == [None] * 7, "intervals are of launches"


def test_loads_of_layers_add_up_to_those_of_the_run() -> None:
    mesh = make_record(layers=6, launches=2).mesh
    rows = [load for load in mesh.rows if load]
    assert mesh.whole is not None
    assert mesh.whole.flits == [sum(load.flits[at] for load in rows) for at in range(len(mesh.links))]
    assert mesh.whole.cycles == sum(load.cycles for load in rows)
    assert mesh.whole.blocked is not None
    assert all(load.blocked is None for load in rows)


@pytest.mark.parametrize(
    ("spoil", "line"),
    [
        (lambda folder: folder.rename(folder.with_name("other")), "there is no folder .*one; make sim NAME=one makes"),
        (lambda folder: (folder / "summary.json").unlink(), "has no summary.json, so the run did not come to its end"),
        (lambda folder: (folder / "mesh.json").unlink(), "written by another version of systomesh"),
        (lambda folder: (folder / "summary.json").write_text("{}"), "written by another version of systomesh"),
        (lambda folder: (folder / "summary.json").write_text('{"version"'), "written by another version of systomesh"),
        (lambda folder: (folder / "mesh.json").write_text("{}"), "written by another version of systomesh"),
    ],
)
def test_a_run_without_a_record_is_refused_with_the_remedy(spoil, line: str, tmp_path: Path) -> None:
    make_record("one").save(tmp_path / "one")
    spoil(tmp_path / "one")
    with pytest.raises(BenchError, match=f"^RUNS=one: .*{line}"):
        RunRecord.load("one", tmp_path)
