"""XY routing against a walk over the routers' masks."""

from __future__ import annotations

import random

import pytest

from rtl.contract.params import ChipParams, CoreParams, Direction, MemoryNodeParams, default_chip
from rtl.contract.routing import OPPOSITE, Link, hops, links, multicast_links, neighbour, node_port, path, reach_masks

CHIPS = {
    "1x1": default_chip(1),
    "2x2": default_chip(4),
    "3x2": ChipParams(
        3,
        2,
        (CoreParams(),) * 6,
        (
            MemoryNodeParams(1, 0, Direction.NORTH),
            MemoryNodeParams(2, 1, Direction.EAST),
            MemoryNodeParams(2, 1, Direction.SOUTH),
        ),
    ),
    "4x4": default_chip(16),
}
chips = pytest.mark.parametrize("chip", CHIPS.values(), ids=CHIPS)


@chips
def test_masks_split_all_nodes_over_the_ports(chip: ChipParams) -> None:
    for y in range(chip.mesh_height):
        for x in range(chip.mesh_width):
            masks = reach_masks(chip, x, y)
            assert sum(masks) == (1 << chip.n_nodes) - 1
            assert [a & b for i, a in enumerate(masks) for b in masks[:i]] == [0] * 10
            assert masks[Direction.LOCAL] == 1 << (y * chip.mesh_width + x)


@chips
def test_following_the_masks_is_the_path_and_turns_once(chip: ChipParams) -> None:
    for source in range(chip.n_nodes):
        for dest in range(chip.n_nodes):
            x, y, _ = node_port(chip, source)
            walked = []
            while True:
                port = next(d for d in Direction if reach_masks(chip, x, y)[d] >> dest & 1)
                walked.append(Link(x, y, port))
                onward = neighbour(chip, x, y, port)
                if onward is None:
                    break
                x, y = onward
            assert tuple(walked) == path(chip, source, dest)
            assert walked[-1] == node_port(chip, dest)
            assert len(walked) == hops(chip, source, dest)
            vertical = [link.port in (Direction.NORTH, Direction.SOUTH) for link in walked[:-1]]
            assert vertical == sorted(vertical), "x first, then y"


@chips
def test_a_multicast_is_a_tree(chip: ChipParams) -> None:
    rng = random.Random(1)
    for _ in range(50):
        source = rng.randrange(chip.n_nodes)
        dests = rng.sample(range(chip.n_nodes), rng.randint(1, chip.n_nodes))
        tree = multicast_links(chip, source, dests)
        entered = [neighbour(chip, *link) for link in tree if neighbour(chip, *link) is not None]
        assert len(entered) == len(set(entered)), "no router is entered twice"
        assert sum(neighbour(chip, *link) is None for link in tree) == len(dests)
        assert tree <= set(links(chip))


def test_links_of_the_default_mesh() -> None:
    found = links(default_chip(4))
    assert len(found) == 4 + 2 + 8  # cores, memory nodes, four neighbour pairs both ways
    assert Link(0, 0, Direction.WEST) in found
    assert Link(0, 1, Direction.WEST) not in found


def test_hops_of_the_default_mesh() -> None:
    chip = default_chip(4)
    assert hops(chip, 0, 0) == 1
    assert hops(chip, 4, 3) == 3
    assert hops(chip, 4, 5) == 3


def test_an_unknown_node_is_refused() -> None:
    with pytest.raises(ValueError, match="node is 6: it must be from 0 to 5"):
        node_port(default_chip(4), 6)


def test_opposites() -> None:
    assert all(OPPOSITE[OPPOSITE[side]] is side for side in OPPOSITE)
