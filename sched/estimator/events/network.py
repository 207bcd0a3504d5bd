"""Ways of packets over the mesh: what each flit adds to the counters of the routers."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache

from rtl.contract.params import ChipParams, Direction
from rtl.contract.routing import multicast_links, neighbour, node_port

__all__ = ["Flow", "Routes", "nodes_of", "routes_of"]

Flow = tuple[int, int]
"""Source node, and the bits of the nodes to which its packets go at once."""


def nodes_of(bits: int) -> tuple[int, ...]:
    """Numbers of the bits that are set, lowest first."""
    return tuple(node for node in range(bits.bit_length()) if bits >> node & 1)


@dataclass(frozen=True, eq=False)
class Routes:
    """What the flits of some flows add to the routers' counters.

    Attributes
    ----------
    out : dict of int to Counter of Direction
        Flits that leave each router by each port; routers by core.
    into : Counter of int
        Flits that come into each router.
    """

    out: Mapping[int, Counter[Direction]]
    into: Counter[int]

    @property
    def hops(self) -> int:
        """Links that all flits pass, those into nodes among them."""
        return sum(ports.total() for ports in self.out.values())


def routes_of(chip: ChipParams, flows: Mapping[Flow, int]) -> Routes:
    """XY routing of flits by flow; copies of a multicast part where their ways do."""
    out: dict[int, Counter[Direction]] = {core: Counter() for core in range(chip.n_cores)}
    into: Counter[int] = Counter()
    for flow, flits in flows.items():
        passed, entered = _way(chip, flow)
        for router, port in passed:
            out[router][port] += flits
        for router in entered:
            into[router] += flits
    return Routes(out, into)


@cache
def _way(chip: ChipParams, flow: Flow) -> tuple[tuple[tuple[int, Direction], ...], tuple[int, ...]]:
    """Ports by which a flit leaves routers, and the routers that it enters."""
    source, dests = flow
    x, y, _ = node_port(chip, source)
    entered = [y * chip.mesh_width + x]
    passed = []
    for link in multicast_links(chip, source, nodes_of(dests)):
        passed.append((link.y * chip.mesh_width + link.x, link.port))
        onward = neighbour(chip, *link)
        if onward is not None:
            entered.append(onward[1] * chip.mesh_width + onward[0])
    return tuple(passed), tuple(entered)
