"""Handing out launches: each once, one behind the other where that costs nothing, all processes busy to the end."""

from __future__ import annotations

import heapq
import random

import pytest

from tb.run.shares import Shares

VGG16 = (120, 1810, 930, 1788, 900, 1800, 1825, 900, 1800, 1823, 454, 454, 454, 3240, 530, 122)
"""Thousands of cycles of its launches."""


def _units(cycles: list[float] | tuple[float, ...]) -> dict[range, float]:
    return {range(index, index + 1): float(count) for index, count in enumerate(cycles)}


def _play(units: dict[range, float], processes: int, jitter: float = 0.0, seed: int = 0) -> tuple[float, list[list]]:
    """Time to the end, and the shares of every process, if launches take as long as expected, more or less."""
    rng = random.Random(seed)
    shares, end = Shares(units, processes), 0.0
    taken: list[list] = [[] for _ in range(processes)]
    free = [(0.0, process) for process in range(processes)]
    while free:
        now, process = heapq.heappop(free)
        share = shares.take(process)
        if share is None:
            end = max(end, now)
            continue
        taken[process].append(share)
        heapq.heappush(free, (now + units[share.unit] * rng.uniform(1 - jitter, 1 + jitter), process))
    return end, taken


def test_one_process_goes_through_the_plan_in_order() -> None:
    _, (taken,) = _play(_units(VGG16), 1)
    assert [share.unit.start for share in taken] == list(range(len(VGG16)))
    assert [share.follows for share in taken] == [False] + [True] * (len(VGG16) - 1)


@pytest.mark.parametrize("seed", range(30))
def test_every_unit_is_run_once_and_follows_only_what_its_process_did_before(seed: int) -> None:
    rng = random.Random(seed)
    stops = sorted(rng.sample(range(1, 60), 20))
    all_units = [range(first, stop) for first, stop in zip([0, *stops], stops, strict=False)]
    units = {unit: rng.choice((0.0, rng.expovariate(1e-5))) for unit in rng.sample(all_units, rng.randint(1, 20))}
    _, taken = _play(units, rng.randint(1, 6), 0.5, seed)
    assert sorted((share.unit for shares in taken for share in shares), key=lambda u: u.start) == sorted(
        units, key=lambda u: u.start
    )
    for shares in taken:
        behind = None
        for share in shares:
            assert share.follows == (behind is not None and behind.stop == share.unit.start)
            behind = share.unit


@pytest.mark.parametrize(("processes", "most"), [(2, 1.01), (3, 1.05), (4, 1.06)])
def test_the_layers_of_vgg16_keep_all_processes_busy_to_the_end(processes: int, most: float) -> None:
    end, _ = _play(_units(VGG16), processes)
    assert end <= most * sum(VGG16) / processes


@pytest.mark.parametrize("seed", range(10))
def test_wrong_predictions_cost_little_and_most_launches_follow_each_other(seed: int) -> None:
    rng = random.Random(seed)
    units = _units([rng.uniform(10, 150) for _ in range(60)])
    end, taken = _play(units, 2, 0.2, seed)
    assert end <= 1.06 * sum(units.values()) / 2
    assert sum(share.follows for shares in taken for share in shares) >= 40
