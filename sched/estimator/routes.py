"""Ways through the network: the links of a unicast or of a multicast tree, and how far two of them are the same.

A link is an output of a router, or the one by which a node sends into its own router. Behind each lies a buffer of
`vc_depth` flits for each virtual channel, but behind the one into a node, which takes whatever comes.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cache, cached_property

from rtl.contract.params import ChipParams
from rtl.contract.routing import Link, links, path

__all__ = ["Route", "Routes", "bits"]


@dataclass(frozen=True, eq=False)
class Route:
    """A way, or what is left of one behind the place where another way parts from it.

    Attributes
    ----------
    index : int
        Its number.
    plane : int
        Message class: packets of one wait in the same buffers.
    links : tuple of int
        Each behind the one that leads to it.
    before : dict of int to int
        For each link, bit mask of those that lead to it.
    memory : int
        Memory node whose bandwidth it takes; -1 for none.
    writes : bool
        It takes it by writing.
    """

    index: int
    plane: int
    links: tuple[int, ...]
    before: dict[int, int]
    memory: int = -1
    writes: bool = False
    ends: tuple[tuple[int, int], ...] = ()
    """Of each core that it leads to, the bit mask of the links to it; none of what is left of a way."""

    @cached_property
    def mask(self) -> int:
        """Bit mask of the links."""
        return sum(1 << link for link in self.links)

    @cached_property
    def in_order(self) -> list[int]:
        """Links by how many lead to them."""
        return sorted(self.links, key=lambda link: (self.before[link].bit_count(), link))


class Routes:
    """All ways on a chip that were asked for."""

    REQUEST, RESPONSE = 0, 1

    def __init__(self, chip: ChipParams) -> None:
        self.chip = chip
        self.outputs = links(chip)
        self._number = {link: number for number, link in enumerate(self.outputs)}
        self.n_links = len(self.outputs) + chip.n_nodes
        self._known: dict[tuple[int, ...], Route] = {}
        self._all: list[Route] = []

    def loads(self, memory: int, cores: int) -> Route:
        """From a memory node to the cores of a mask."""
        key = 0, memory, cores
        route = self._known.get(key)
        if route is None:
            source = self.chip.memory_node_id(memory)
            route = self._known[key] = self._make(source, bits(cores), self.RESPONSE, memory)
        return route

    def stores(self, core: int, memory: int) -> Route:
        """From a core to a memory node."""
        key = 1, core, memory
        route = self._known.get(key)
        if route is None:
            route = self._known[key] = self._make(
                core, [self.chip.memory_node_id(memory)], self.REQUEST, memory, writes=True
            )
        return route

    def sends(self, core: int, cores: int) -> Route:
        """From a core to the cores of a mask."""
        key = 2, core, cores
        route = self._known.get(key)
        if route is None:
            route = self._known[key] = self._make(core, bits(cores), self.REQUEST)
        return route

    def without(self, route: Route, passed: int) -> Route:
        """What is left of a way without the links of a mask."""
        key = 3, route.index, route.mask & passed
        if not key[2]:
            return route
        left = self._known.get(key)
        if left is None:
            own = tuple(link for link in route.links if not passed >> link & 1)
            mask = sum(1 << link for link in own)
            left = Route(len(self._all), route.plane, own, {link: route.before[link] & mask for link in own})
            self._all.append(left)
            self._known[key] = left
        return left

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

    def _make(self, source: int, dests: Iterable[int], plane: int, memory: int = -1, *, writes: bool = False) -> Route:
        first = len(self.outputs) + source
        before = {first: 0}
        ends = []
        for dest in dests:
            so_far = 1 << first
            for output in path(self.chip, source, dest):
                number = self._number[output]
                before[number] = so_far
                so_far |= 1 << number
            ends.append((dest, so_far))
        route = Route(len(self._all), plane, tuple(before), before, memory, writes, tuple(ends))
        self._all.append(route)
        return route


@cache
def bits(mask: int) -> tuple[int, ...]:
    """Numbers of the bits that are set."""
    out = []
    while mask:
        lowest = mask & -mask
        out.append(lowest.bit_length() - 1)
        mask ^= lowest
    return tuple(out)
