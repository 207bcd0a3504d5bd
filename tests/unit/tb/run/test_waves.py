"""What WAVES=, SCOPE= and MEMORIES= ask for, and the window around a failure."""

from __future__ import annotations

import re

import pytest

from tb.errors import BenchError
from tb.run.waves import Waves, parse_waves, window_around


@pytest.mark.parametrize(
    ("given", "wanted"),
    [
        ((None, None), None),
        (("0", None), None),
        (("1", None), Waves()),
        (("1", "core0.compute, router_0_1"), Waves(scopes=("core0.compute", "router_0_1"))),
        (("12000..13500", None), Waves(12000, 13500)),
        (("7..7", "core0"), Waves(7, 7, ("core0",))),
    ],
)
def test_windows_and_scopes(given: tuple[str | None, str | None], wanted: Waves | None) -> None:
    assert parse_waves(*given) == wanted


@pytest.mark.parametrize("text", ["2", "yes", "5..", "..5", "9..8", "1.5..3", "-3..5", ""])
def test_other_windows_are_refused(text: str) -> None:
    with pytest.raises(BenchError, match=re.escape(f"WAVES={text}: give 1, or the first and the last cycle")):
        parse_waves(text)


def test_scope_and_memories_need_waves() -> None:
    with pytest.raises(BenchError, match="SCOPE= says what of the waves to record: give WAVES=1"):
        parse_waves(None, "core0")
    with pytest.raises(BenchError, match="MEMORIES= says what of the waves"):
        parse_waves("0", memories=True)


@pytest.mark.parametrize(("cycle", "text"), [(None, "1"), (13000, "12000..13500"), (20, "0..520")])
def test_window_around_a_failure(cycle: int | None, text: str) -> None:
    assert window_around(cycle) == text
    assert parse_waves(text) is not None
