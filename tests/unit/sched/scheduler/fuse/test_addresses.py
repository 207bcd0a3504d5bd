"""Addresses of what stays in a launch, and room for what is loaded."""

from dataclasses import replace
from itertools import combinations

import pytest

from estimator import MemoryTiming
from rtl.contract.params import CoreParams, default_chip
from scheduler.fuse.addresses import Addresses
from scheduler.fuse.forms import Forms
from scheduler.kinds.fused import Fused
from scheduler.map.budget import Range
from tests.networks import random_network

CORE = CoreParams(8, 8, act_bytes=16 * 1024, weight_bytes=16 * 1024, acc_entries=128, param_blocks=64)
CHIP = default_chip(2, CORE, link_bytes=8)


def apart(one: Range, other: Range) -> bool:
    return one.end <= other.first or other.end <= one.first


@pytest.mark.parametrize("seed", range(3))
def test_nothing_lies_where_something_else_does_at_that_time(seed: int) -> None:
    """Neither two tensors, unless one takes the other's place, nor a ring and a tensor; and none where it would end."""
    case = random_network(seed, CHIP)
    decider = Forms(Fused(), case.graph, CHIP, MemoryTiming(bytes_per_cycle=2)).decider()
    form, tensors, seen = decider.form, decider.form.tensors, 0
    for numbers in decider.launches(decider.choices):
        choices = {number: decider.choices[number] for number in numbers if number in decider.choices}
        addresses = Addresses.found(form, choices)
        assert addresses is not None
        lives = {root: range(tensors.first[root], tensors.last[root] + 1) for root in addresses.of}
        for one, other in combinations(addresses.of, 2):
            in_place = addresses.of[one].first == addresses.of[other].first
            shared = set(lives[one]) & set(lives[other])
            assert not shared or apart(addresses.of[one], addresses.of[other]) or (in_place and len(shared) == 1)
        for number, choice in choices.items():
            if not choice.ring:
                continue
            ring = addresses.ring(number, choice, follows=number > numbers[0])
            assert ring.size == choice.ring
            assert 0 <= ring.first < ring.end <= CORE.act_bytes
            assert all(apart(ring, addresses.of[root]) for root, life in lives.items() if number in life)
            seen += len(addresses.of)
    assert seen


def test_what_does_not_fit_has_no_addresses() -> None:
    case = random_network(0, CHIP)
    decider = Forms(Fused(), case.graph, CHIP, MemoryTiming(bytes_per_cycle=2)).decider()
    staying = {number: choice for number, choice in decider.choices.items() if choice.stay}
    assert staying
    number, choice = next(iter(staying.items()))
    room = CORE.act_bytes - decider.form.stays.nbytes(decider.form.output(number), choice.stay)
    assert Addresses.found(decider.form, {number: replace(choice, ring=room)}) is not None
    assert Addresses.found(decider.form, {number: replace(choice, ring=room + 1)}) is None
