"""STOREs into scratchpads: to whom they go, at which address, and how many a tensor takes."""

from dataclasses import replace

import pytest

from rtl.contract.codec import decode, encode, store_cores
from rtl.contract.isa import Opcode
from rtl.contract.params import CoreParams, default_chip
from scheduler.plan.layout import Blocked
from scheduler.plan.residence import Residence
from scheduler.work.passes import OutBlock
from scheduler.work.sink import ScratchpadSink

CHIP = default_chip(4)
MULTICAST = replace(CHIP, cores=(CoreParams(multicast=True),) * 4)
BLOCK = OutBlock(channel=16, lanes=16, groups=1, words=(0, 1), offset=0, weights=0, params=0)

WHOLE = tuple((core, 0, 8) for core in range(4))
HALVES = ((0, 0, 5), (1, 0, 5), (2, 3, 8), (3, 3, 8))
QUARTERS = ((0, 0, 3), (1, 1, 5), (2, 3, 7), (3, 5, 8))
SCATTERED = ((0, 0, 8), (2, 0, 8), (3, 0, 8))


def sink(rows: tuple[tuple[int, int, int], ...]) -> ScratchpadSink:
    return ScratchpadSink(Residence(Blocked((32, 8, 6), 16), 1024, 1, rows))


@pytest.mark.parametrize(
    ("rows", "stored", "together"),
    [
        (WHOLE, (2, 4), [range(4)]),
        (HALVES, (1, 3), [range(2)]),
        (HALVES, (3, 5), [range(2), range(2, 4)]),
        (HALVES, (5, 8), [range(2, 4)]),
        (QUARTERS, (1, 3), [range(1), range(1, 2)]),
        (SCATTERED, (0, 8), [range(1), range(2, 4)]),
    ],
    ids=str,
)
def test_a_store_goes_to_neighbours_that_hold_the_same_rows(
    rows: tuple[tuple[int, int, int], ...], stored: tuple[int, int], together: list[range]
) -> None:
    """At an address that is right on each of them; to one after the other where the sender cannot do that."""
    tensor = sink(rows)
    apart = [range(core, core + 1) for cores in together for core in cores]
    for chip, wanted in ((MULTICAST, together), (CHIP, apart)):
        targets = list(tensor.targets(chip, 1, BLOCK, stored, 2))
        assert [target.cores for target in targets] == wanted
        for target in targets:
            fields = decode(encode(Opcode.STORE, target.fields))[1]
            assert store_cores(fields, chip.cores[1]) == target.cores
            assert {tensor.residence.flit(core, 1, stored[0], 2) for core in target.cores} == {target.addr}
        assert tensor.copies(stored, chip.cores[1]) == len(wanted)


def test_only_the_sender_must_be_able_to() -> None:
    mixed = replace(CHIP, cores=(CoreParams(), CoreParams(multicast=True), CoreParams(), CoreParams()))
    counts = [len(list(sink(WHOLE).targets(mixed, core, BLOCK, (0, 1), 0))) for core in range(4)]
    assert counts == [4, 1, 4, 4]


@pytest.mark.parametrize(
    ("rows", "together", "most"),
    [
        (WHOLE, ((0, 2), (2, 4), (4, 6), (6, 8)), 8),
        (QUARTERS, ((0, 2), (2, 4), (4, 6), (6, 8)), 4),
        (QUARTERS, ((0, 2),), 2),
        (HALVES, ((0, 3), (4, 7)), 4),
        (HALVES, ((0, 1), (7, 8)), 1),
    ],
)
def test_rows_that_are_stored_together_crowd_at_a_core(
    rows: tuple[tuple[int, int, int], ...], together: tuple[tuple[int, int], ...], most: int
) -> None:
    """However they are sent: a core takes each row that it holds once."""
    held = {core: range(first, end) for core, first, end in rows}
    stored = [row for first, end in together for row in range(first, end)]
    assert max(sum(row in own for row in stored) for own in held.values()) == most
    assert sink(rows).crowded([together, ()]) == [most, 0]
