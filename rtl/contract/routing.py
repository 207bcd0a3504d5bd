"""Where packets go: dimension-order (XY) routing on the mesh, in plain Python.

A packet first travels along x to the column of its destination, then along y, then leaves the router
by LOCAL (a core) or by the edge port on which its memory node hangs. A multicast packet uses the union
of these paths: it is a tree, since the port behind which a node lies depends on the router alone.

The router gets these facts as constant masks (`reach_masks`); the estimator uses paths and trees.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

from rtl.contract.params import ChipParams, Direction

__all__ = [
    "CLAIM_ORDER",
    "OPPOSITE",
    "Link",
    "hops",
    "links",
    "multicast_links",
    "neighbour",
    "next_port",
    "node_port",
    "path",
    "reach_masks",
]

CLAIM_ORDER = (Direction.EAST, Direction.WEST, Direction.NORTH, Direction.SOUTH, Direction.LOCAL)
"""Order in which a packet claims outputs of a router (`rtl.noc.router`)."""
OPPOSITE = {
    Direction.NORTH: Direction.SOUTH,
    Direction.SOUTH: Direction.NORTH,
    Direction.EAST: Direction.WEST,
    Direction.WEST: Direction.EAST,
}
_STEP = {
    Direction.NORTH: (0, -1),
    Direction.SOUTH: (0, 1),
    Direction.EAST: (1, 0),
    Direction.WEST: (-1, 0),
}


class Link(NamedTuple):
    """An output port of the router at (x, y), and with it the wires behind it."""

    x: int
    y: int
    port: Direction


def node_port(chip: ChipParams, node: int) -> Link:
    """The router output behind which a node hangs."""
    if not 0 <= node < chip.n_nodes:
        raise ValueError(f"node is {node}: it must be from 0 to {chip.n_nodes - 1}")
    if node < chip.n_cores:
        return Link(*chip.position(node), Direction.LOCAL)
    memory = chip.memory_nodes[node - chip.n_cores]
    return Link(memory.x, memory.y, memory.side)


def neighbour(chip: ChipParams, x: int, y: int, port: Direction) -> tuple[int, int] | None:
    """Position of the router behind a port; None for LOCAL and at the edge."""
    if port is Direction.LOCAL:
        return None
    dx, dy = _STEP[port]
    if 0 <= x + dx < chip.mesh_width and 0 <= y + dy < chip.mesh_height:
        return x + dx, y + dy
    return None


def next_port(chip: ChipParams, x: int, y: int, node: int) -> Direction:
    """The port by which a packet to ``node`` leaves the router at (x, y)."""
    to = node_port(chip, node)
    if to.x != x:
        return Direction.EAST if to.x > x else Direction.WEST
    if to.y != y:
        return Direction.SOUTH if to.y > y else Direction.NORTH
    return to.port


def reach_masks(chip: ChipParams, x: int, y: int) -> tuple[int, int, int, int, int]:
    """For each port of the router at (x, y), the nodes whose packets leave by it (bit n: node n)."""
    masks = [0] * len(Direction)
    for node in range(chip.n_nodes):
        masks[next_port(chip, x, y, node)] |= 1 << node
    local, north, east, south, west = masks
    return local, north, east, south, west


def path(chip: ChipParams, source: int, dest: int) -> tuple[Link, ...]:
    """The router outputs that a packet passes, in order; the last one leads into ``dest``."""
    x, y, _ = node_port(chip, source)
    steps = []
    while True:
        link = Link(x, y, next_port(chip, x, y, dest))
        steps.append(link)
        onward = neighbour(chip, *link)
        if onward is None:
            return tuple(steps)
        x, y = onward


def hops(chip: ChipParams, source: int, dest: int) -> int:
    """Number of routers that a packet passes."""
    a, b = node_port(chip, source), node_port(chip, dest)
    return abs(a.x - b.x) + abs(a.y - b.y) + 1


def multicast_links(chip: ChipParams, source: int, dests: Iterable[int]) -> frozenset[Link]:
    """The router outputs that a packet to all of ``dests`` crosses, each exactly once."""
    return frozenset(link for dest in dests for link in path(chip, source, dest))


def links(chip: ChipParams) -> tuple[Link, ...]:
    """Every router output that leads somewhere: to a core, a memory node or another router."""
    ends = {node_port(chip, node) for node in range(chip.n_nodes)}
    return tuple(
        link
        for y in range(chip.mesh_height)
        for x in range(chip.mesh_width)
        for port in Direction
        if (link := Link(x, y, port)) in ends or neighbour(chip, *link) is not None
    )
