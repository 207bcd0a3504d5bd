"""What the judge says of the marks of a launch: nothing of right ones, and something of each wrong one."""

from __future__ import annotations

import re
from dataclasses import asdict
from typing import Any

import pytest

from rtl.contract.marks import Mark
from rtl.contract.regs import compute_counters
from tb.fuzz.judge import mark_differences
from tb.sim.job import LaunchResult

NAMES = [counter.name.lower() for counter in compute_counters()]


def counters(*values: int) -> dict[str, int]:
    return dict(zip(NAMES, values, strict=True))


MARKS = {2: counters(5, 1, 0, 0, 0, 9, 1, 0), 1: counters(7, 1, 0, 2, 0, 9, 3, 0), 4: counters(7, 1, 0, 2, 0, 9, 4, 0)}
END = counters(7, 1, 0, 2, 0, 9, 5, 6)
CYCLES = sum(END.values()) + 1
PASSED = (2, 1, 2, 1, 4)
"""In the order of the program. Mark 2 came first and again, so the last times of 2, 1 and 4 count."""


def launch(marks: dict[int, dict[str, int]], *, passed: int = 5, cycles: int = CYCLES) -> LaunchResult:
    read: list[list[dict[str, Any]]] = [
        [asdict(Mark.from_counters(number, words)) for number, words in sorted(marks.items())]
    ]
    outcome = {"status": "done", "cycles": cycles}
    return LaunchResult("one", outcome, 0.0, {"core": [END]}, [{"marks_passed": passed}], marks=read)


def test_right_marks_are_right() -> None:
    assert mark_differences(launch(MARKS), 0, 4, PASSED) == []


def test_a_core_without_marks_is_not_asked() -> None:
    assert mark_differences(launch({}), 0, 0, ()) == []


@pytest.mark.parametrize(
    ("wrong", "line"),
    [
        (launch(MARKS, passed=4), "core 0: 4 marks passed, not 5"),
        (launch(MARKS, cycles=CYCLES + 1), f"core 0: its compute unit accounts for {CYCLES} of {CYCLES + 1} cycles"),
        (launch({number: MARKS[number] for number in (1, 2)}), r"core 0: marks \[1, 2\] read, not \[1, 2, 4\]"),
        (launch(MARKS | {4: MARKS[1]}), "core 0: mark 1 at 23, 4 at 23"),
        (launch(MARKS | {1: MARKS[2], 2: MARKS[1]}), "core 0: mark 2 at 23, 1 at 17"),
        (launch(MARKS | {4: counters(7, 1, 0, 2, 0, 9, 4, 50)}), "core 0: mark 4 at 74, the end at 31"),
        (launch(MARKS | {2: counters(5, 0, 2, 0, 0, 9, 0, 0)}), r"core 0: mark 2 at 17, 1 at 23 \['wait_weight'\]"),
    ],
)
def test_a_wrong_mark_is_found(wrong: LaunchResult, line: str) -> None:
    assert re.match(line, mark_differences(wrong, 0, 4, PASSED)[0])
