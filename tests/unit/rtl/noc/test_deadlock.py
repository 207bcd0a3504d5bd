"""The network's dependency graph: without cycles for every chip, and with one for each seeded bug."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest

from rtl.contract.params import ChipParams, CoreParams, Direction, ParameterError, default_chip, mesh_shape
from rtl.contract.routing import Link, links, neighbour, node_port, path, reach_masks
from rtl.core.core import Core
from rtl.dram.memory_node import MemoryNode
from rtl.noc.deadlock import TRAFFIC, WAITS, Buffer, Dependency, Entry, Merge, Network, Wait, cycle
from rtl.noc.flit import MessageClass
from tests.chips import CHIPS, random_chip


def _presets() -> list[int]:
    counts = []
    for cores in range(1, 65):
        try:
            mesh_shape(cores)
        except ParameterError:
            continue
        counts.append(cores)
    return counts


def _wide_chip(rng: np.random.Generator) -> ChipParams:
    """Any mesh, memory nodes on any edge ports."""
    width, height = (int(n) for n in rng.integers(1, 9, 2))
    ports = _edges(width, height)
    chosen = rng.permutation(len(ports))[: rng.integers(1, 1 + min(16, len(ports)))]
    base = default_chip(1)
    nodes = tuple(replace(base.memory_nodes[0], x=ports[i].x, y=ports[i].y, side=ports[i].port) for i in chosen)
    cores = (CoreParams(),) * (width * height)
    return ChipParams(width, height, cores, nodes, vcs_per_class=int(rng.integers(1, 3)))


def _edges(width: int, height: int) -> list[Link]:
    sides = [
        Link(x, y, side) for y in (0, height - 1) for x in range(width) for side in (Direction.NORTH, Direction.SOUTH)
    ]
    sides += [
        Link(x, y, side) for x in (0, width - 1) for y in range(height) for side in (Direction.WEST, Direction.EAST)
    ]
    outward = {
        Direction.NORTH: lambda link: link.y == 0,
        Direction.SOUTH: lambda link: link.y == height - 1,
        Direction.WEST: lambda link: link.x == 0,
        Direction.EAST: lambda link: link.x == width - 1,
    }
    return sorted({link for link in sides if outward[link.port](link)})


def check_cycle(found: list[Dependency]) -> None:
    assert found, "no cycle"
    assert all(edge.then == following.first for edge, following in zip(found, found[1:] + found[:1], strict=True))


@pytest.mark.parametrize("vcs_per_class", [1, 2])
@pytest.mark.parametrize("cores", _presets())
def test_no_preset_can_deadlock(cores: int, vcs_per_class: int) -> None:
    assert cycle(Network(default_chip(cores, vcs_per_class=vcs_per_class))) == []


@pytest.mark.parametrize("seed", range(30), ids=lambda s: f"seed{s}")
def test_no_random_chip_can_deadlock(seed: int) -> None:
    rng = np.random.default_rng(seed)
    for chip in (random_chip(rng), _wide_chip(rng)):
        assert cycle(Network(chip)) == []


@pytest.mark.parametrize("chip", CHIPS.values(), ids=CHIPS)
def test_the_graph_has_every_link_and_every_turn_that_packets_take(chip: ChipParams) -> None:
    edges = {(edge.first, edge.then) for edge in Network(chip).dependencies()}
    assert {then.link for _, then in edges if isinstance(then, Buffer)} == set(links(chip))
    for source in range(chip.n_cores):
        for dest in range(chip.n_nodes):
            vc = 2 * (source % 2) if chip.vcs_per_class == 2 else 0
            way = path(chip, source, dest)
            stops = [Entry(source, vc), *(Buffer(link, vc) for link in way)]
            assert set(pairwise(stops)) <= edges


def test_endpoints_have_the_streams_that_the_traffic_says() -> None:
    """A core only sends requests, a memory node only takes requests and only sends responses."""
    chip = CHIPS["1x1_8x8"]
    core = set(Core(core=chip.cores[0], chip=chip).signature.members)
    memory = set(MemoryNode(chip=chip).signature.members)
    sent = {(traffic.from_memory, traffic.message_class) for traffic in TRAFFIC}
    taken = {(traffic.to_memory, traffic.message_class) for traffic in TRAFFIC}
    for is_memory, members in ((False, core), (True, memory)):
        for message_class in MessageClass:
            name = message_class.name.lower()
            assert (f"{name}_out" in members) == ((is_memory, message_class) in sent)
            assert (f"{name}_in" in members) == ((is_memory, message_class) in taken)


def _y_first_for_odd_columns(chip: ChipParams, x: int, y: int) -> tuple[int, ...]:
    masks = [0] * len(Direction)
    for node in range(chip.n_nodes):
        to = node_port(chip, node)
        if to.x % 2 and to.y != y:
            port = Direction.SOUTH if to.y > y else Direction.NORTH
        else:
            port = next(port for port in Direction if reach_masks(chip, x, y)[port] >> node & 1)
        masks[port] |= 1 << node
    return tuple(masks)


def test_turns_from_y_to_x_close_a_cycle_of_links() -> None:
    chip = default_chip(9)
    found = cycle(Network(chip, reach=_y_first_for_odd_columns))
    check_cycle(found)
    buffers = [edge.first for edge in found if isinstance(edge.first, Buffer)]
    turns = zip(buffers, buffers[1:] + buffers[:1], strict=True)
    vertical = {Direction.NORTH, Direction.SOUTH}
    assert any(a.link.port in vertical and b.link.port not in vertical for a, b in turns)
    assert "waits for buffer behind router (" in str(found[0])


def test_one_channel_for_both_classes_closes_a_cycle_through_memory_nodes() -> None:
    found = cycle(Network(default_chip(4), channel=lambda *_: 0))
    check_cycle(found)
    assert any(edge.why == WAITS[0].why for edge in found)


def test_a_core_whose_responses_wait_for_requests_closes_a_cycle() -> None:
    bad = Wait(False, MessageClass.RESPONSE, MessageClass.REQUEST, True, "an answer makes a core ask")
    found = cycle(Network(default_chip(1), waits=(*WAITS, bad)))
    check_cycle(found)
    assert {edge.why for edge in found} >= {bad.why, WAITS[0].why}


def test_claims_in_another_order_close_a_cycle() -> None:
    order = (Direction.LOCAL, Direction.SOUTH, Direction.NORTH, Direction.WEST, Direction.EAST)
    found = cycle(Network(default_chip(4), claim_order=order))
    check_cycle(found)
    assert any("claimed first" in edge.why for edge in found)


def test_multicasts_to_memory_nodes_close_a_cycle() -> None:
    bad = tuple(replace(traffic, multicast=True, to_memory=True) for traffic in TRAFFIC)
    found = cycle(Network(default_chip(1, memory_nodes=2), traffic=(*TRAFFIC, *bad)))
    check_cycle(found)


def test_ports_without_room_for_multicasts_close_a_cycle_where_they_merge_channels() -> None:
    """The fault that `test_mesh` plays: two multicasts, two ports, two channels."""
    chip = default_chip(2, memory_nodes=2, vcs_per_class=2)
    found = cycle(Network(chip, room_at_nodes=False))
    check_cycle(found)
    assert sum(isinstance(edge.first, Merge) for edge in found) == 2
    assert cycle(Network(replace(chip, vcs_per_class=1), room_at_nodes=False)) == []


def test_a_destination_out_of_reach_is_named() -> None:
    def blind(chip: ChipParams, x: int, y: int) -> tuple[int, ...]:
        return tuple(mask & ~2 for mask in reach_masks(chip, x, y))

    with pytest.raises(ValueError, match=r"from node 0 to node 1 is dropped at router \(0, 0\)"):
        cycle(Network(default_chip(4), reach=blind))


def test_a_route_that_goes_in_circles_is_a_cycle() -> None:
    def back(chip: ChipParams, x: int, y: int) -> tuple[int, ...]:
        """In the ring of a 2x2 mesh, node 3 is always one router further."""
        masks = [mask & ~8 for mask in reach_masks(chip, x, y)]
        ring = {(0, 0): Direction.EAST, (1, 0): Direction.SOUTH, (1, 1): Direction.WEST, (0, 1): Direction.NORTH}
        assert neighbour(chip, x, y, ring[x, y]) is not None
        masks[ring[x, y]] |= 8
        return tuple(masks)

    check_cycle(cycle(Network(default_chip(4), reach=back)))
