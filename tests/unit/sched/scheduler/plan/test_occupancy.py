"""What takes the bytes of a scratchpad: nothing overlaps, and it is what the programs use."""

from collections.abc import Iterator

import pytest

from estimator import MemoryTiming
from rtl.contract.codec import decode, opcode_of
from rtl.contract.isa import Opcode, Space
from rtl.contract.params import CoreParams, default_chip
from scheduler import Launch, schedule
from scheduler.kinds.fused import Fused
from scheduler.plan.occupancy import Occupant, occupants
from tests.networks import random_network

CORE = CoreParams(8, 8, act_bytes=8 * 1024, weight_bytes=16 * 1024, acc_entries=128, param_blocks=64)
CHIP = default_chip(2, CORE, link_bytes=8)
SLOW = MemoryTiming(bytes_per_cycle=1)


def loads_of(launch: Launch, part: int) -> Iterator[tuple[int, int]]:
    """(core, first byte): where the LOADs of a part, of any core, put what goes to the activation scratchpads."""
    for word in launch.of_part(part):
        if opcode_of(word) == Opcode.LOAD:
            fields = decode(word)[1]
            if fields["space"] == Space.ACT:
                for run in range(fields["runs"]):
                    byte = (fields["dst"] + run * fields["dst_stride"]) * CHIP.link_bytes
                    yield from ((core, byte) for core in range(CHIP.n_cores) if fields["cores"] >> core & 1)


def takes_over(before: Occupant, after: Occupant) -> bool:
    """Whether a sum takes the place of its residual, in the part that reads it last."""
    return (before.low, before.high, before.last) == (after.low, after.high, after.first)


@pytest.mark.parametrize("seed", range(8))
def test_what_is_there_at_once_never_overlaps_and_loads_stay_in_their_ring(seed: int) -> None:
    case = random_network(seed, CHIP)
    plan = Fused().plan(case.graph, CHIP, SLOW)
    kept = {item.tensor for launch in plan.launches for core in (0, 1) for item in occupants(launch, core)} - {""}
    assert kept
    assert not kept & set(plan.tensors)
    for launch in plan.launches:
        for core in range(CHIP.n_cores):
            found = list(occupants(launch, core))
            assert all(0 <= item.low < item.high <= CORE.act_bytes for item in found)
            for number, item in enumerate(found):
                for other in found[number + 1 :]:
                    meets = item.first <= other.last and other.first <= item.last
                    if meets and item.low < other.high and other.low < item.high:
                        assert takes_over(item, other), (item, other)
            rings = {item.first: item for item in found if not item.tensor}
            for part in range(len(launch.parts)):
                loads = [byte for owner, byte in loads_of(launch, part) if owner == core]
                assert bool(loads) == (part in rings)
                assert all(rings[part].low <= byte < rings[part].high for byte in loads)


def test_layer_by_layer_nothing_stays() -> None:
    case = random_network(0, CHIP)
    for launch in schedule(case.graph, CHIP, SLOW).launches:
        assert [(item.first, item.last, item.tensor) for item in occupants(launch, 0)] == [(0, 0, "")]
