"""Ways through the network: the links of a unicast or of a multicast tree, and what a packet takes behind each.

A link is an output of a router, or the one by which a node sends into its own router. Each has a channel for either
plane, requests and responses; behind each channel lies a buffer of `vc_depth` flits, but behind one into a node.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from rtl.contract.params import ChipParams
from rtl.contract.routing import CLAIM_ORDER, Link, links, node_port, path

__all__ = ["Route", "Routes", "bits"]


@dataclass(frozen=True, eq=False)
class Route:
    """A way.

    Attributes
    ----------
    links : tuple of int
        All of them, each behind the one that leads to it.
    after : dict of int to tuple of int
        For each channel with a router behind it, those that a packet takes there, in the order in which it claims them.
    memory : int
        Memory node whose bandwidth it takes; -1 for none.
    writes : bool
        It takes it by writing.
    """

    links: tuple[int, ...]
    after: Mapping[int, tuple[int, ...]]
    memory: int = -1
    writes: bool = False


class Routes:
    """All ways on a chip that were asked for.

    Attributes
    ----------
    n_channels : int
        Channel ``2 * link + plane`` is that of a link for a plane.
    node_behind : list of int
        Node that each channel leads to; -1 if it leads to a router.
    """

    REQUEST, RESPONSE = 0, 1

    def __init__(self, chip: ChipParams) -> None:
        self.chip = chip
        self.outputs = links(chip)
        self._number = {link: number for number, link in enumerate(self.outputs)}
        self.n_links = len(self.outputs) + chip.n_nodes
        self.n_channels = 2 * self.n_links
        nodes = {node_port(chip, node): node for node in range(chip.n_nodes)}
        behind = [*(nodes.get(link, -1) for link in self.outputs), *[-1] * chip.n_nodes]
        self.node_behind = [node for node in behind for _ in range(2)]
        self._known: dict[tuple[int, int, int, int, bool], Route] = {}

    def loads(self, memory: int, cores: int) -> Route:
        """From a memory node to the cores of a mask."""
        return self._route(self.chip.memory_node_id(memory), cores, self.RESPONSE, memory)

    def stores(self, core: int, memory: int) -> Route:
        """From a core to a memory node."""
        return self._route(core, 1 << self.chip.memory_node_id(memory), self.REQUEST, memory, writes=True)

    def requests(self, core: int, memory: int) -> Route:
        """From a core to a memory node, of whose bandwidth it takes nothing."""
        return self._route(core, 1 << self.chip.memory_node_id(memory), self.REQUEST)

    def sends(self, core: int, cores: int) -> Route:
        """From a core to the cores of a mask."""
        return self._route(core, cores, self.REQUEST)

    def entry(self, node: int, plane: int) -> int:
        """Channel by which a node sends into its router."""
        return 2 * (len(self.outputs) + node) + plane

    def exit(self, node: int, plane: int) -> int:
        """Channel by which a router sends to a node."""
        return self.channel(node_port(self.chip, node), plane)

    def channel(self, link: Link, plane: int) -> int:
        """Channel of a router's output."""
        return 2 * self._number[link] + plane

    def loads_of_links(self, carried: Mapping[Route, int]) -> dict[Link, int]:
        """Flits that leave by each output of a router, of those that go each way."""
        flits = [0] * self.n_links
        for route, count in carried.items():
            for link in route.links:
                flits[link] += count
        return dict(zip(self.outputs, flits, strict=False))

    def link(self, number: int) -> Link | None:
        """A router's output; None for the link of a node into its router."""
        return self.outputs[number] if number < len(self.outputs) else None

    def _route(self, source: int, dests: int, plane: int, memory: int = -1, *, writes: bool = False) -> Route:
        """From a node to those of a mask, made once."""
        key = source, dests, plane, memory, writes
        route = self._known.get(key)
        if route is None:
            route = self._known[key] = self._make(*key)
        return route

    def _make(self, source: int, dests: int, plane: int, memory: int, writes: bool) -> Route:
        entry = self.entry(source, plane)
        links = {entry // 2: None}
        after: dict[int, set[int]] = {}
        for dest in bits(dests):
            channel = entry
            for output in path(self.chip, source, dest):
                onward = self.channel(output, plane)
                after.setdefault(channel, set()).add(onward)
                links.setdefault(onward // 2)
                channel = onward
        ordered = {channel: tuple(sorted(onward, key=self._claimed)) for channel, onward in after.items()}
        return Route(tuple(links), ordered, memory, writes)

    def _claimed(self, channel: int) -> int:
        return CLAIM_ORDER.index(self.outputs[channel // 2].port)


def bits(mask: int) -> tuple[int, ...]:
    """Numbers of the bits that are set."""
    out = []
    while mask:
        lowest = mask & -mask
        out.append(lowest.bit_length() - 1)
        mask ^= lowest
    return tuple(out)
