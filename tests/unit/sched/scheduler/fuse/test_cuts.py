"""Launches cut where nothing stays: as many as are wanted, where that loses least, and computed right all the same."""

import re
from itertools import combinations
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from estimator import MemoryTiming
from rtl.contract.params import CoreParams, default_chip
from scheduler import PlanError
from scheduler.fuse.cuts import fewest_launches, joined
from scheduler.kinds.fused import Fused
from scheduler.kinds.written import Written, write_schedule
from tests.networks import random_network
from tests.unit.sched.replay import Replay
from tests.unit.sched.test_fused import run

CORE = CoreParams(8, 8, act_bytes=4 * 1024, weight_bytes=16 * 1024, acc_entries=128, param_blocks=64)
CHIP = default_chip(2, CORE, link_bytes=8)
SLOW = MemoryTiming(bytes_per_cycle=1)
CASE = random_network(7, CHIP, blocks=6)
"""Its shortest launches: of one layer and of several."""


@given(st.lists(st.tuples(st.integers(1, 50), st.booleans()), min_size=1, max_size=7), st.data())
def test_no_other_cuts_lose_less(drawn: list[tuple[int, bool]], data: st.DataObject) -> None:
    """Against all cuts that leave the host's steps by themselves."""
    costs, hosts = [float(cost) for cost, _ in drawn], [host for _, host in drawn]
    count = len(drawn)
    pieces = [[2 * number, 2 * number + 1] for number in range(count)]
    if all(hosts):
        return
    least = fewest_launches(pieces, hosts)
    wanted = data.draw(st.integers(least, hosts.count(False)))
    sums = []
    for chosen in combinations(range(1, count), wanted + sum(hosts) - 1):
        groups = [range(*ends) for ends in zip((0, *chosen), (*chosen, count), strict=True)]
        if all(len(group) == 1 or not any(hosts[place] for place in group) for group in groups):
            sums.append(sum(sum(costs[place] for place in group) ** 2 for group in groups))
    launches = joined(pieces, hosts, costs, wanted)
    assert [number for launch in launches for number in launch] == list(range(2 * count))
    assert len(launches) == wanted + sum(hosts)
    assert sum(sum(costs[number // 2] for number in launch[::2]) ** 2 for launch in launches) == min(sums)
    for place, host in enumerate(hosts):
        assert not host or pieces[place] in launches


def test_any_number_of_launches_computes_the_same() -> None:
    shortest = Fused().plan(CASE.graph, CHIP, SLOW).launches
    sizes = [len(launch.parts) for launch in shortest]
    assert min(sizes) == 1 < max(sizes)
    for count in range(1, len(shortest) + 1):
        plan = Fused(launches=count).plan(CASE.graph, CHIP, SLOW)
        assert len(plan.launches) == count
        assert sum(len(launch.parts) for launch in plan.launches) == sum(sizes)
        for launch in plan.launches:
            Replay(launch, CHIP).run()
        for order_seed in (None, 1):
            run(CASE, plan, order_seed)
    assert [launch.nodes for launch in plan.launches] == [launch.nodes for launch in shortest]


def test_a_written_schedule_of_few_launches_is_read_back(tmp_path: Path) -> None:
    file = tmp_path / "plan.toml"
    file.write_text(write_schedule(CASE.graph, CHIP, SLOW, Fused(launches=2)))
    again, plan = Written(file).plan(CASE.graph, CHIP, SLOW), Fused(launches=2).plan(CASE.graph, CHIP, SLOW)
    assert [launch.streams for launch in again.launches] == [launch.streams for launch in plan.launches]


@pytest.mark.parametrize("seed", range(4))
def test_what_is_said_to_give_one_more_launch_does(seed: int, tmp_path: Path) -> None:
    case = random_network(seed, CHIP, blocks=6)
    most = len(Fused().plan(case.graph, CHIP, SLOW).launches)
    with pytest.raises(PlanError, match=rf"LAUNCHES={most + 1}: {most} at most can be") as refusal:
        Fused(launches=most + 1).plan(case.graph, CHIP, SLOW)
    kept, behind = re.search(
        r'output = "dram" of (.*), and begin a \[\[launch\]\] behind (.*)', str(refusal.value)
    ).groups()
    text = write_schedule(case.graph, CHIP, SLOW)
    for name in re.findall(r"'(.*?)'", kept):
        text, edits = re.subn(rf'(name = "{re.escape(name)}".*output = )"\w+"', r'\1"dram"', text)
        assert edits == 1
    text = re.sub(rf'(\{{ name = "{re.escape(behind[1:-1])}".*\n)', r"\1]\n[[launch]]\nlayers = [\n", text)
    file = tmp_path / "plan.toml"
    file.write_text(text)
    plan = Written(file).plan(case.graph, CHIP, SLOW)
    assert len(plan.launches) == most + 1
    run(case, plan, 1)


def test_the_host_stays_between_launches() -> None:
    """Two launches at least where it computes in the middle."""
    assert fewest_launches([[0], [1], [2], [3]], [False, True, False, False]) == 2
    assert joined([[0], [1], [2], [3]], [False, True, False, False], [5.0, 0.0, 5.0, 5.0], 2) == [[0], [1], [2, 3]]
    assert np.shape(joined([[0], [1]], [False, False], [1.0, 1.0], 1)) == (1, 2)
