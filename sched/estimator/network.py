"""The network as flows: what goes from node to node, how fast, and what waits for what.

Every link carries a flit a cycle, and the memory of a node its bandwidth. Between two events all rates stay the same.
A node sends one transfer after the other; what does not fit onto the links waits in the buffers of the routers, so that
a node is done with a transfer as soon as the rest of it fits into the buffers of its way. The next one then passes what
is left of it where their ways part: all of a plane that wait in one buffer stay in order.
"""

from __future__ import annotations

from bisect import insort
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from math import inf
from operator import attrgetter

from estimator.rates import Rate, Rates
from estimator.routes import Route, Routes

__all__ = ["Network", "Source", "Transfer"]

EPSILON = 1e-6
_place = attrgetter("place")


@dataclass(slots=True, eq=False)
class Transfer:
    """A LOAD's data, a block of instructions, or the flits of a STORE.

    Attributes
    ----------
    route : Route
    flits : float
        In all.
    limit : float
        Flits per cycle that its source delivers.
    ready, earliest : float
        When its first flit can leave, and the last one, at the earliest.
    begun, sent, arrived : callable or None
        Called with the times at which the first flit, and the last one, have left the source, and at which the last
        one has come to some of the cores that it goes to (a mask).
    cores : int
        Those that it has not come to.
    packet : float
        Flits of its packets, in the mean.
    to_send, to_arrive : float
        Flits that have not left the source yet, that have not arrived yet.
    rate : float
        Flits that arrive in a cycle.
    held : int
        Link that allows no more; -1 if none does.
    room : float
        Flits that lie between its source and that link.
    source : Source or None
        Whence flits of it arrive; None if none do.
    kind : int
        Number of all that go the same way and at most as fast.
    shares : int
        Bit mask of the links and of the memory that it takes.
    place : int
        Among those that move: by source, and one behind the other.
    """

    route: Route
    flits: float
    limit: float = 1.0
    ready: float = 0.0
    earliest: float = 0.0
    begun: Callable[[float], None] | None = None
    sent: Callable[[float], None] | None = None
    arrived: Callable[[float, int], None] | None = None
    cores: int = 0
    packet: float = 1.0
    to_send: float = field(default=0.0, init=False)
    to_arrive: float = field(default=0.0, init=False)
    rate: float = field(default=0.0, init=False)
    held: int = field(default=-1, init=False)
    room: float = field(default=0.0, init=False)
    source: Source | None = field(default=None, init=False)
    kind: int = field(default=-1, init=False)
    shares: int = field(default=0, init=False)
    place: int = field(default=0, init=False)

    def __post_init__(self) -> None:
        self.to_send = self.to_arrive = self.flits


@dataclass(slots=True, eq=False)
class Source:
    """What one node sends.

    Attributes
    ----------
    node : int
    waiting : deque of Transfer
        Of which no flit has left yet.
    sender : Transfer or None
        Of which flits leave now.
    blocked : deque of Transfer
        That have begun to leave, and wait behind others in the buffers.
    moving : list of Transfer
        Of which flits arrive.
    progress : callable or None
        Called whenever it begins to send something else.
    """

    node: int
    waiting: deque[Transfer] = field(default_factory=deque)
    sender: Transfer | None = None
    blocked: deque[Transfer] = field(default_factory=deque)
    moving: list[Transfer] = field(default_factory=list)
    progress: Callable[[], None] | None = None
    now: float = 0.0
    version: int = 0


class Network:
    """All transfers of a launch.

    Parameters
    ----------
    routes : Routes
    at : callable
        Plans a call: time, function, arguments.
    shared : Rates
    """

    def __init__(self, routes: Routes, at: Callable[..., None], shared: Rates) -> None:
        self.routes, self.at = routes, at
        self.depth = float(routes.chip.vc_depth)
        # A packet to several nodes starts where there is room for all of it: half of that is empty in the mean.
        self.tree_depth = self.depth - routes.chip.max_packet_flits / 2
        self.queue = routes.chip.memory_queue_depth
        """LOADs that a memory node queues."""
        self.asked = float(routes.chip.outstanding_bursts)
        """Packets for which it has asked its memory."""
        self.sources = [Source(node) for node in range(routes.chip.n_nodes)]
        self.begun = 0
        self.shared = shared
        self.active: list[Transfer] = []
        """All that move, by their place."""
        self.touched = 0
        """Links and memories that transfers have begun or ceased to take since rates were found."""

    # --- what the timeline asks for ------------------------------------------------------------------------------

    def send(self, node: int, transfer: Transfer, now: float) -> None:
        """A node has something to send, behind all else that it has."""
        source = self.sources[node]
        source.waiting.append(transfer)
        if source.sender is None:
            self._go_on(source, now)

    def takes(self, node: int) -> bool:
        """Whether a memory node has room for another LOAD: it queues those of whose data it has asked for nothing."""
        source = self.sources[node]
        if len(source.waiting) < self.queue:
            return True
        asked = self.asked - (source.sender.to_send / source.sender.packet if source.sender is not None else 0.0)
        for begun, transfer in enumerate(source.waiting):
            if asked <= 0:
                return len(source.waiting) - begun < self.queue
            asked -= transfer.to_send / transfer.packet
        return True

    def tell_progress(self, node: int, tell: Callable[[], None] | None) -> None:
        """Whom to tell whenever a node begins to send something else."""
        self.sources[node].progress = tell

    def send_soon(self, node: int, transfer: Transfer, now: float) -> None:
        """A memory node has instructions to send, behind what it has asked its memory for."""
        source = self.sources[node]
        self._settle(source, now)
        ahead = self.asked
        if source.sender is not None:
            rest = self._cut(source.sender, ahead)
            ahead -= source.sender.to_send / source.sender.packet
            if rest is not None:
                source.waiting.appendleft(rest)
        for place, other in enumerate(source.waiting):
            if ahead <= EPSILON:
                source.waiting.insert(place, transfer)
                break
            rest = self._cut(other, ahead)
            ahead -= other.to_send / other.packet
            if rest is not None:
                source.waiting.insert(place + 1, rest)
                source.waiting.insert(place + 1, transfer)
                break
        else:
            source.waiting.append(transfer)
        self._go_on(source, now)

    @staticmethod
    def _cut(transfer: Transfer, packets: float) -> Transfer | None:
        """Leave so many packets to send in a transfer; what comes behind them, which tells of the arrival."""
        flits = packets * transfer.packet
        if transfer.to_send <= flits + EPSILON:
            return None
        rest = Transfer(
            transfer.route, transfer.to_send - flits, transfer.limit, transfer.ready, transfer.earliest, None,
            transfer.sent, transfer.arrived, transfer.cores, transfer.packet,
        )  # fmt: skip
        transfer.to_send -= rest.flits
        transfer.to_arrive -= rest.flits
        transfer.sent = transfer.arrived = None
        return rest

    # --- events --------------------------------------------------------------------------------------------------

    def _settle(self, source: Source, now: float) -> None:
        """Account for what has happened since the last event."""
        elapsed = now - source.now
        if elapsed <= 0:
            return
        source.now = now
        for transfer in source.moving:
            transfer.to_arrive -= elapsed * transfer.rate
        sender = source.sender
        if sender is not None:
            sender.to_send = max(sender.to_send - elapsed * sender.limit, 0.0, self._over(source))

    @staticmethod
    def _over(source: Source) -> float:
        """Flits, of those that its sender and what is in front of it in the same buffers still have to deliver, that
        the buffers do not hold."""
        last = source.moving[-1]
        flits = last.to_arrive
        for transfer in source.blocked:
            flits += transfer.to_arrive
        return flits - last.room

    def _depth(self, route: Route) -> float:
        """Flits that wait in each buffer on a way."""
        return self.tree_depth if len(route.ends) > 1 else self.depth

    def _hold(self, transfer: Transfer, held: int) -> None:
        """A link allows no more, or none does."""
        transfer.held = held
        route = transfer.route
        transfer.room = 0.0 if held < 0 else self._depth(route) * route.before[held].bit_count()

    def _room_behind(self, transfer: Transfer, other: Transfer) -> float:
        """Flits of a transfer that lie behind the place where another one parts from it."""
        held = transfer.held
        if held < 0:
            return 0.0
        own = (transfer.route.before[held] | 1 << held) & ~other.route.mask
        return self._depth(transfer.route) * max(0, own.bit_count() - 1)

    def _next_event(self, source: Source) -> float:
        """Time at which something changes, if nothing else happens; or infinity."""
        event, now, sender = inf, source.now, source.sender
        for transfer in source.moving:
            if transfer.rate and transfer is not sender:  # which leaves before it arrives
                arrives = now + transfer.to_arrive / transfer.rate if transfer.to_arrive > 0 else now
                if arrives < event:
                    event = arrives
        if sender is not None:
            leaves = max(now + sender.to_send / sender.limit, sender.earliest)
            over = self._over(source)
            if over > EPSILON:
                rate = source.moving[-1].rate
                leaves = max(leaves, now + over / rate) if rate else inf
            if leaves < event:
                event = leaves
        elif source.waiting and source.waiting[0].ready > now:
            event = min(event, source.waiting[0].ready)
        if source.blocked:
            first = source.blocked[0]
            passed = now
            for transfer in source.moving:
                over = transfer.to_arrive - self._room_behind(transfer, first)
                if over > EPSILON:
                    passed = max(passed, now + over / transfer.rate) if transfer.rate else inf
            if passed < event:
                event = passed
        return event

    def _event(self, source: Source, version: int, now: float) -> None:
        if version == source.version:
            self._go_on(source, now)

    def _go_on(self, source: Source, now: float) -> None:
        """Do what can be done now, and find the rates that follow from it."""
        self._settle(source, now)
        changed = False
        while True:
            for transfer in source.moving[:]:
                if transfer.to_arrive > EPSILON or transfer.to_send > EPSILON:
                    continue
                if transfer is source.sender:
                    if transfer.earliest > now + EPSILON:
                        continue
                    self._leave(source, now)
                source.moving.remove(transfer)
                self._stop(transfer)
                changed = True
                if transfer.arrived is not None:
                    transfer.arrived(now, transfer.cores)
            sender = source.sender
            if sender is not None and sender.to_send <= EPSILON and sender.earliest <= now + EPSILON:
                self._leave(source, now)
                changed = True
            if source.sender is None and source.waiting and source.waiting[0].ready <= now + EPSILON:
                source.sender = source.waiting.popleft()
                source.blocked.append(source.sender)
                if source.progress is not None:
                    source.progress()
            if not source.blocked or not self._passes(source, source.blocked[0]):
                break
            first = source.blocked.popleft()
            for other in source.moving:
                self._change(other, self.routes.without(other.route, first.route.mask), 1.0)
            source.moving.append(first)
            self._start(first, source)
            if first.begun is not None:
                first.begun(now)
            changed = True
        if changed:
            self._share(source, now)
        else:
            self._plan(source)

    def _passes(self, source: Source, transfer: Transfer) -> bool:
        """Whether nothing is in its way any more in the buffers that it shares with what its source sent before."""
        moving = source.moving
        if not moving:
            return True
        return not [other for other in moving if other.to_arrive > self._room_behind(other, transfer) + EPSILON]

    def _leave(self, source: Source, now: float) -> None:
        sender = source.sender
        assert sender is not None
        if sender.limit < 1.0 and sender.source is not None:
            self._change(sender, sender.route, 1.0)
        if sender.sent is not None:
            sender.sent(now)
        if len(sender.route.ends) > 1:
            self._tell_early(source, sender, now)
        source.sender = None

    def _tell_early(self, source: Source, transfer: Transfer, now: float) -> None:
        """What waits in the buffers of one branch of a multicast has come to the cores of the others."""
        mover = source.moving[-1] if source.moving else transfer
        held, arrived = mover.held, transfer.arrived
        if arrived is None or held not in transfer.route.before:
            return
        way = transfer.route.before[held] | 1 << held
        waits = mover.to_arrive + sum([other.to_arrive for other in source.blocked])
        passed = 0
        for core, links in transfer.route.ends:
            if not links >> held & 1:
                room = self._depth(transfer.route) * ((way & ~links).bit_count() - 1)
                if room:
                    transfer.cores &= ~(1 << core)
                    when = now + max(0.0, waits - room) / mover.rate
                    arrived(when, 1 << core)
                    if when <= now:
                        passed |= links
                    else:
                        self.at(when, self._pass, source, transfer, links, when)
        if passed:
            self._change(transfer, self.routes.without(transfer.route, passed), 1.0)

    def _pass(self, source: Source, transfer: Transfer, links: int, now: float) -> None:
        """The last flit has passed these links."""
        self._settle(source, now)
        self._change(transfer, self.routes.without(transfer.route, links), 1.0)
        if transfer.source is not None:
            self._share(source, now)

    # --- rates ---------------------------------------------------------------------------------------------------

    def _start(self, transfer: Transfer, source: Source) -> None:
        transfer.source = source
        transfer.kind = self.shared.kind(transfer.route, transfer.limit if transfer is source.sender else 1.0)
        transfer.shares = self.shared.shares[transfer.kind]
        self.touched |= transfer.shares
        self.begun += 1
        transfer.place = source.node << 32 | self.begun
        insort(self.active, transfer, key=_place)

    def _stop(self, transfer: Transfer) -> None:
        self.touched |= transfer.shares
        transfer.source = None
        self.active.remove(transfer)

    def _change(self, transfer: Transfer, route: Route, limit: float) -> None:
        """What is left of its way, and how fast it may go now; that takes no links that it did not take before."""
        transfer.route = route
        self._hold(transfer, transfer.held if transfer.held in route.before else -1)
        if transfer.source is not None:
            self.touched |= transfer.shares
            transfer.kind = self.shared.kind(route, limit)
            # What takes nothing any more is to have its rate all the same.
            transfer.shares = self.shared.shares[transfer.kind] or transfer.shares

    def _share(self, source: Source, now: float) -> None:
        """What moves has changed at a source: whoever shares something with it, or with one who does, may get more or
        less."""
        # Plain loops: most of the time there are one or two, for which a comprehension is a call too many.
        reach, wider = 0, self.touched
        affected: list[Transfer] = []
        while wider != reach:
            reach = wider
            affected = []
            for transfer in self.active:
                if transfer.shares & wider:
                    wider |= transfer.shares
                    affected.append(transfer)
        self.touched = 0
        news: list[tuple[Transfer, Rate]] = []
        others: dict[int, Source] = {}
        if affected:
            rates = self.shared.rates(tuple([transfer.kind for transfer in affected]))
            for transfer, new in zip(affected, rates, strict=True):
                if transfer.rate != new[0] or transfer.held != new[1]:
                    news.append((transfer, new))
                    owner = transfer.source
                    if owner is not None and owner is not source:
                        others[owner.node] = owner
        for owner in others.values():
            self._settle(owner, now)
        for transfer, (rate, held) in news:
            transfer.rate = rate
            if held != transfer.held:
                self._hold(transfer, held)
        self._plan(source)
        for owner in others.values():
            self._plan(owner)

    def _plan(self, source: Source) -> None:
        source.version += 1
        event = self._next_event(source)
        if event < inf:
            self.at(event, self._event, source, source.version, event)
