"""How many simulators a run gets: what was asked for, or what processors, work and memory are there for."""

from __future__ import annotations

from pathlib import Path

import pytest

from tb.errors import BenchError
from tb.run import capacity
from tb.run.capacity import SIMULATOR_BYTES, available_bytes, choose_processes, parse_jobs

PLENTY = {"units": 16, "cycles": 1e7, "memory_bytes": 100 << 20, "sim": "verilator", "waves": False}
EACH = SIMULATOR_BYTES + PLENTY["memory_bytes"]


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    """Eight processors and a lot of memory."""
    monkeypatch.setattr(capacity, "processors", lambda: 8)
    monkeypatch.setattr(capacity, "available_bytes", lambda: 1 << 40)
    return monkeypatch


@pytest.mark.parametrize(
    ("asked", "changes", "count"),
    [
        (None, {}, 8),
        (None, {"units": 5}, 5),
        (None, {"cycles": 310_000}, 3),
        (None, {"cycles": 1_000}, 1),
        (None, {"cycles": 1_000, "sim": "icarus"}, 5),
        (None, {"waves": True}, 1),
        (3, {}, 3),
        (3, {"cycles": 10}, 3),
        (20, {}, 16),
    ],
)
@pytest.mark.usefixtures("machine")
def test_work_and_processors_bound_the_default_and_work_what_is_asked_for(
    asked: int | None, changes: dict, count: int
) -> None:
    assert choose_processes(asked, **(PLENTY | changes)) == (count, "")


def test_short_memory_reduces_the_default_with_a_note_and_refuses_what_is_asked_for(
    machine: pytest.MonkeyPatch,
) -> None:
    machine.setattr(capacity, "available_bytes", lambda: 3 * EACH + 1)
    assert choose_processes(3, **PLENTY) == (3, "")
    count, note = choose_processes(None, **PLENTY)
    assert (count, note) == (3, "3 instead of 8 simulators at once: each takes 315 MB of memory")
    with pytest.raises(BenchError) as refused:
        choose_processes(4, **PLENTY)
    assert str(refused.value) == "JOBS=4: 4 simulators take 1,258 MB and 944 MB of memory are free; use JOBS=3"
    machine.setattr(capacity, "available_bytes", lambda: 0)
    assert choose_processes(1, **PLENTY) == (1, "")
    assert choose_processes(None, **PLENTY)[0] == 1
    machine.setattr(capacity, "available_bytes", lambda: None)  # a system that does not say
    assert choose_processes(None, **PLENTY) == (8, "")


def test_memory_is_that_of_the_machine_and_of_the_container(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    meminfo, one, two = tmp_path / "meminfo", tmp_path / "v1", tmp_path / "v2"
    monkeypatch.setattr(capacity, "_MEMINFO", meminfo)
    files = [names for _, *names in capacity._CGROUPS]
    monkeypatch.setattr(capacity, "_CGROUPS", ((two, *files[0]), (one, *files[1])))
    assert available_bytes() is None
    meminfo.write_text("MemTotal:  9000 kB\nMemAvailable:  4000 kB\n")
    assert available_bytes() == 4000 << 10
    two.mkdir()
    for name, text in (("memory.max", "max"), ("memory.current", "500"), ("memory.stat", "anon 4\ninactive_file 300")):
        (two / name).write_text(text)
    assert available_bytes() == 4000 << 10
    (two / "memory.max").write_text("2000\n")
    assert available_bytes() == 2000 - (500 - 300)
    one.mkdir()
    (one / "memory.limit_in_bytes").write_text("1000")
    (one / "memory.usage_in_bytes").write_text("1100")
    (one / "memory.stat").write_text("total_inactive_file 50")
    assert available_bytes() == 0


def test_jobs_is_a_number_from_one_on() -> None:
    assert (parse_jobs(None), parse_jobs("1"), parse_jobs("12")) == (None, 1, 12)
    for text in ("0", "00", "-1", "1.5", "two", "", "²"):
        with pytest.raises(BenchError, match=f"^JOBS={text}: give the number of simulator processes, 1 or more"):
            parse_jobs(text)
