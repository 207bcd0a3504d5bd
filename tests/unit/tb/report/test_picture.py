"""Pictures of plans: everything is there, where it is, when it is, and names stay apart."""

import re
from itertools import pairwise
from xml.etree import ElementTree

import pytest
from hypothesis import given
from hypothesis import strategies as st

from estimator import MemoryTiming, estimate
from rtl.contract.params import CoreParams, default_chip
from scheduler.kinds.fused import Fused
from tb.errors import BenchError
from tb.report.picture import draw_plan, spread
from tb.report.timetable import timetable
from tests.networks import random_network

CORE = CoreParams(8, 8, act_bytes=4 * 1024, weight_bytes=16 * 1024, acc_entries=128, param_blocks=64, marks=32)
CHIP = default_chip(2, CORE, link_bytes=8)
SLOW = MemoryTiming(bytes_per_cycle=1)
CASE = random_network(4, CHIP, blocks=6)
PLAN = Fused().plan(CASE.graph, CHIP, SLOW)
SVG = "{http://www.w3.org/2000/svg}"


def boxes(svg: str) -> dict[str, tuple[float, float, float, float]]:
    """Left, right, top and bottom of every rectangle, by its title."""
    found = {}
    for element in ElementTree.fromstring(svg).iter(f"{SVG}g"):
        title, path = element.find(f"{SVG}title"), element.find(f"{SVG}path")
        if title is not None and path is not None:
            points = [tuple(map(float, point)) for point in re.findall(r"[ML] (\S+) (\S+)", path.get("d") or "")]
            xs, ys = zip(*points, strict=True)
            found[title.text or ""] = min(xs), max(xs), min(ys), max(ys)
    return found


@pytest.mark.parametrize("core", [0, 1])
def test_a_tensor_is_drawn_where_and_while_it_stays(core: int) -> None:
    svg = draw_plan(PLAN, SLOW, "a network", core)
    found, parts = boxes(svg), timetable(PLAN, SLOW)
    left, right = (edge for _, edge in sorted((x, x) for box in found.values() for x in box[:2])[:: len(found) * 2 - 1])
    scale = (right - left) / parts[-1].end
    residents = [(number, item) for number, launch in enumerate(PLAN.launches) for item in launch.residents]
    assert residents
    tops = []
    for launch, resident in residents:
        own = [part for part in parts if part.launch == launch]
        (title,) = [title for title in found if title.startswith(f"{resident.tensor}: ") and " KB at " in title]
        place, rows = resident.residence, resident.residence.rows_of[core]
        assert f"{place.nbytes / 1024:.1f}".removesuffix(".0") + f" KB at {place.addr / 1024:g} KB" in title
        assert place.everywhere or f"rows {rows[0]} to {rows[1] - 1} of" in title
        begin, _, top, bottom = found[title]
        assert begin == pytest.approx(left + own[resident.first].begin * scale, abs=0.05)
        tops.append((place.nbytes, bottom - top))
    assert len({round(height / nbytes, 2) for nbytes, height in tops}) == 1
    assert all(f"{part.part.name}: " in svg for part in parts)
    assert all(f"{name}: " in svg for name in PLAN.tensors)


def test_parts_follow_each_other_and_add_up() -> None:
    parts = timetable(PLAN, SLOW)
    assert all(before.end == after.begin for before, after in pairwise(parts))
    assert parts[-1].end == pytest.approx(sum(estimate(launch, CHIP, SLOW).cycles for launch in PLAN.launches))
    assert [part.number for part in parts] == [0, 1, 2, 0, 1, 0, 1, 2, 3]


def test_more_layers_than_marks_are_refused() -> None:
    chip = default_chip(2, CoreParams(**{**vars(CORE), "marks": 2}), link_bytes=8)
    plan = Fused().plan(CASE.graph, chip, SLOW)
    with pytest.raises(BenchError, match=r"has 3 layers, for which the cores have 2 marks; raise core\.marks"):
        draw_plan(plan, SLOW, "a network")


@given(st.lists(st.floats(0, 100), min_size=1, max_size=12).map(sorted), st.floats(0.5, 8))
def test_names_stay_apart_in_order_and_inside(points: list[float], gap: float) -> None:
    places = spread(points, gap, 100)
    assert all(after - before >= gap - 1e-6 for before, after in pairwise(places))
    assert min(places) >= gap / 2 - 1e-6
    assert max(places) <= 100 - gap / 2 + 1e-6
    if all(after - before >= gap for before, after in pairwise([gap / 2 - gap, *points, 100 + gap / 2])):
        assert places == pytest.approx(points)
