"""Proof that a chip's network cannot deadlock: no cycle in the graph of what can wait for what.

Resources are the buffers behind links, one for each virtual channel, and what a node's port merges. An edge
says that a packet in one resource may have to wait for another. It follows packets through the very masks that
the routers get (`rtl.contract.routing.reach_masks`), so it holds for the hardware and not for a picture of it:

- routing: a packet in a buffer wants the buffers behind its next outputs;
- multicast: a head that has claimed some outputs keeps others from them while it waits for those that come later
  in the claim order, and one that has started waits for nodes that did not promise room for all of it;
- merging: a port that merges two channels of a class stops one until the packet of the other is complete;
- nodes: what an endpoint must be able to send or take before it takes more (`WAITS`).

Without a cycle there is an order of all resources in which every wait is for something later, and the last ones
wait for nothing: neither routing nor the two message classes can deadlock. Endpoints must keep two promises that no
graph shows: a packet that has been started is completed without waiting for the network, and a core always takes
responses.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from graphlib import CycleError, TopologicalSorter
from itertools import combinations, pairwise

from rtl.contract.params import ChipParams, Direction
from rtl.contract.routing import CLAIM_ORDER, OPPOSITE, Link, neighbour, node_port, reach_masks
from rtl.noc.flit import MessageClass, virtual_channel
from rtl.noc.port import merges_channels

__all__ = ["TRAFFIC", "WAITS", "Buffer", "Dependency", "Entry", "Merge", "Network", "Traffic", "Wait", "cycle"]


@dataclass(frozen=True)
class Traffic:
    """Packets of one sort, and the kinds of node between which they go."""

    name: str
    message_class: MessageClass
    from_memory: bool
    to_memory: bool
    multicast: bool = False


TRAFFIC = (
    Traffic("READ or WRITE", MessageClass.REQUEST, from_memory=False, to_memory=True),
    Traffic("DATA or SIGNAL of a core", MessageClass.REQUEST, from_memory=False, to_memory=False, multicast=True),
    Traffic("DATA of a memory node", MessageClass.RESPONSE, from_memory=True, to_memory=False, multicast=True),
    Traffic("ACK", MessageClass.RESPONSE, from_memory=True, to_memory=False),
)
"""All that nodes send (`rtl.noc.flit.Kind`)."""


@dataclass(frozen=True)
class Wait:
    """A node takes packets of class ``taken`` only as it gets on with class ``other``, sending or taking."""

    memory: bool
    taken: MessageClass
    other: MessageClass
    sends: bool
    why: str


WAITS = (
    Wait(True, MessageClass.REQUEST, MessageClass.RESPONSE, True, "requests are taken as answers leave"),
    Wait(False, MessageClass.REQUEST, MessageClass.RESPONSE, False, "responses go first where both write one memory"),
)
"""What the endpoints do between the classes (`rtl.dram.memory_node`, `rtl.core.interface.Inbound`)."""


@dataclass(frozen=True, order=True)
class Buffer:
    """The buffer behind a router's output, in the next router or in a node's port."""

    link: Link
    vc: int

    def __str__(self) -> str:
        x, y, port = self.link
        return f"buffer behind router ({x}, {y}) {port.name.lower()}, channel {self.vc}"


@dataclass(frozen=True, order=True)
class Entry:
    """The router's buffer behind a node's port."""

    node: int
    vc: int

    def __str__(self) -> str:
        return f"entry of node {self.node}, channel {self.vc}"


@dataclass(frozen=True, order=True)
class Merge:
    """The stream into which a node's port merges the channels of a class."""

    node: int
    message_class: MessageClass

    def __str__(self) -> str:
        return f"{self.message_class.name.lower()} stream into node {self.node}"


Resource = Buffer | Entry | Merge
Reach = Callable[[ChipParams, int, int], Sequence[int]]
"""For a router at (x, y): the nodes behind each port, as bits, in the order of `Direction`."""


@dataclass(frozen=True)
class Dependency:
    """Packets in ``first`` may have to wait for ``then``."""

    first: Resource
    then: Resource
    why: str

    def __str__(self) -> str:
        return f"{self.first} waits for {self.then}: {self.why}"


@dataclass(frozen=True)
class Network:
    """A chip's network; all but ``chip`` is what the hardware does, and is changed only to see proofs fail."""

    chip: ChipParams
    reach: Reach = reach_masks
    traffic: tuple[Traffic, ...] = TRAFFIC
    waits: tuple[Wait, ...] = WAITS
    claim_order: tuple[Direction, ...] = CLAIM_ORDER
    channel: Callable[[ChipParams, int, MessageClass], int] = virtual_channel
    room_at_nodes: bool | None = None
    """Multicasts start only where node ports have room for whole packets; by default as `rtl.noc.mesh` has it."""

    def dependencies(self) -> Iterator[Dependency]:
        """All edges; some more than once, for different reasons.

        Raises
        ------
        ValueError
            A destination that the routers do not reach.
        """
        for traffic in self.traffic:
            for source in self._nodes(traffic.from_memory):
                # A core may write to itself, a memory node's packets never turn back.
                dests = sum(
                    1 << node for node in self._nodes(traffic.to_memory) if node != source or not traffic.from_memory
                )
                yield from self._follow(traffic, source, dests)
        yield from self._endpoints()

    @cached_property
    def _masks(self) -> dict[tuple[int, int], Sequence[int]]:
        chip = self.chip
        return {(x, y): self.reach(chip, x, y) for x in range(chip.mesh_width) for y in range(chip.mesh_height)}

    def _nodes(self, memory: bool) -> range:
        chip = self.chip
        return range(chip.n_cores, chip.n_nodes) if memory else range(chip.n_cores)

    def _follow(self, traffic: Traffic, source: int, dests: int) -> Iterator[Dependency]:
        """Every packet of this sort from ``source``, whatever part of ``dests`` it goes to."""
        chip = self.chip
        vc = self.channel(chip, source, traffic.message_class)
        x, y, side = node_port(chip, source)
        todo: list[tuple[Resource, int, int, Direction, int, tuple[Buffer, ...]]]
        todo = [(Entry(source, vc), x, y, side, dests, ())]  # resource, router, its input, destinations, nodes passed
        seen = set()
        while todo:
            here, x, y, side, dests, passed = step = todo.pop()
            if step in seen:
                continue
            seen.add(step)
            outputs = {}
            for port, mask in zip(Direction, self._masks[x, y], strict=True):
                if dests & mask and (port is not side or port is Direction.LOCAL):
                    outputs[port] = dests & mask
            lost = dests & ~sum(outputs.values())
            if lost:
                raise ValueError(
                    f"{traffic.name} from node {source} to node {_lowest(lost)} is dropped at router ({x}, {y})"
                )
            for port, behind in outputs.items():
                label = f"{traffic.name} from node {source} to node {_lowest(behind)}"
                then = Buffer(Link(x, y, port), vc)
                yield Dependency(here, then, label)
                ends_here = [node for node in _bits(behind) if node_port(chip, node) == then.link]
                if ends_here:
                    yield from self._merge(label, then, traffic.message_class, ends_here[0], passed)
                    continue
                onward = neighbour(chip, x, y, port)
                if onward is None:
                    raise ValueError(f"{label} leaves the mesh at router ({x}, {y}) {port.name.lower()}")
                nodes = self._unpromised(traffic, x, y, outputs, vc)
                todo.append((then, *onward, OPPOSITE[port], behind, tuple(sorted({*passed, *nodes}))))
            if traffic.multicast:
                yield from self._branches(traffic, source, x, y, outputs, vc)

    def _is_node(self, x: int, y: int, port: Direction) -> bool:
        return neighbour(self.chip, x, y, port) is None

    def _unpromised(self, traffic: Traffic, x: int, y: int, outputs: dict[Direction, int], vc: int) -> list[Buffer]:
        """Node ports of a router for which a started packet may have to wait while it holds other branches."""
        room = merges_channels(self.chip) if self.room_at_nodes is None else self.room_at_nodes
        if room or not traffic.multicast:
            return []
        return [Buffer(Link(x, y, port), vc) for port in outputs if self._is_node(x, y, port)]

    def _branches(
        self, traffic: Traffic, source: int, x: int, y: int, outputs: dict[Direction, int], vc: int
    ) -> Iterator[Dependency]:
        """What a multicast holds in a router while it waits for another of its branches there."""
        label = f"{traffic.name} from node {source} with branches"
        order = sorted(outputs, key=self.claim_order.index)
        for first, then in combinations(order, 2):
            why = f"{label} {first.name.lower()}, claimed first, and {then.name.lower()}"
            yield Dependency(Buffer(Link(x, y, first), vc), Buffer(Link(x, y, then), vc), why)
        for then in self._unpromised(traffic, x, y, outputs, vc):
            for port in outputs:
                first = Buffer(Link(x, y, port), vc)
                if first != then:
                    why = f"{label} {port.name.lower()}, held, and {then.link.port.name.lower()}, which must drain"
                    yield Dependency(first, then, why)

    def _merge(
        self, label: str, into: Buffer, message_class: MessageClass, node: int, passed: tuple[Buffer, ...]
    ) -> Iterator[Dependency]:
        """At its destination: a packet waits for that of another channel, which waits for the nodes on its way."""
        if not merges_channels(self.chip):
            return
        stream = Merge(node, message_class)
        yield Dependency(into, stream, f"{label} waits until the packet of the other channel is complete")
        for buffer in passed:
            yield Dependency(stream, buffer, f"the rest of {label} also goes to a node that it passed")

    def _endpoints(self) -> Iterator[Dependency]:
        chip = self.chip
        for wait in self.waits:
            for node in self._nodes(wait.memory):
                for first in self._taken(node, wait.taken):
                    if wait.sends:
                        yield Dependency(first, Entry(node, self.channel(chip, node, wait.other)), wait.why)
                    else:
                        for then in self._taken(node, wait.other):
                            yield Dependency(first, then, wait.why)

    def _taken(self, node: int, message_class: MessageClass) -> list[Buffer]:
        """Where packets of a class arrive at a node."""
        channels = {self.channel(self.chip, source, message_class) for source in range(self.chip.n_nodes)}
        return [Buffer(node_port(self.chip, node), vc) for vc in sorted(channels)]


def cycle(network: Network) -> list[Dependency]:
    """A cycle of dependencies, each for what the next one waits in; empty if there is none: no deadlock."""
    edges: dict[tuple[Resource, Resource], Dependency] = {}
    graph: dict[Resource, set[Resource]] = {}
    for edge in network.dependencies():
        edges.setdefault((edge.first, edge.then), edge)
        graph.setdefault(edge.first, set()).add(edge.then)
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        around = list(reversed(error.args[1]))  # each is what the one before it waits for
        return [edges[first, then] for first, then in pairwise(around)]
    return []


def _bits(mask: int) -> list[int]:
    return [bit for bit in range(mask.bit_length()) if mask >> bit & 1]


def _lowest(mask: int) -> int:
    return (mask & -mask).bit_length() - 1
