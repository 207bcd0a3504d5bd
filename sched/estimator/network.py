"""The network as packets: which of them each link carries when, and what waits for what.

A packet starts at a router as the hardware's does (`rtl.noc.allocator`): once all outputs that it takes are free and
the buffers behind them have room; until then it claims them, and waits for them in turn with others. A start says all
that follows: when the packet will have left each link, and its buffer. So time is spent where packets start, not on
flits or cycles.

Routers take no time here: the timeline adds that of the way, which is the same for all packets that nothing holds.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field

from estimator.routes import Route, Routes
from rtl.contract.params import ChipParams

__all__ = ["Network", "Source", "Transfer"]

EPSILON = 1e-6
RECEIVED = 8
"""Flits of requests that a memory node holds when it takes no more (`rtl.noc.port`)."""
STRADDLES = 0.5
"""Share of a packet to one node for which there is room where it starts: it leaves flit by flit, and lies in two
buffers while it waits, in the mean half in each."""
NONE = -1


@dataclass(slots=True, eq=False)
class Transfer:
    """A LOAD's data, a block of instructions, the flits of a STORE, or a request for one of the first two.

    Attributes
    ----------
    route : Route
    flits : float
        In all.
    limit : float
        Flits per cycle that its source delivers.
    delay : float
        Of what is asked for, cycles from its request at the memory node to its first flit there.
    ready, earliest : float
        When its first flit can leave, and the last one, at the earliest.
    begun, sent, arrived : callable or None
        Told, as soon as they are known, the times at which the first flit, and the last one, leave the source, and at
        which the last one comes to some of the cores that it goes to (a mask).
    packet : float
        Flits of its packets, in the mean.
    asks : Transfer or None
        What it is a request for.
    program : bool
        It is a block of instructions.
    """

    route: Route
    flits: float
    limit: float = 1.0
    delay: float = 0.0
    ready: float = 0.0
    earliest: float = 0.0
    begun: Callable[[float], None] | None = None
    sent: Callable[[float], None] | None = None
    arrived: Callable[[float, int], None] | None = None
    packet: float = 1.0
    asks: Transfer | None = None
    program: bool = False

    @property
    def packets(self) -> int:
        return max(1, round(self.flits / self.packet))

    def cut(self, packets: int) -> Transfer:
        """Leave so many packets in it; what comes behind them, which tells of the end."""
        count = self.packets
        length = self.flits / count
        rest = Transfer(
            self.route, length * (count - packets), self.limit, self.delay, self.ready, self.earliest, None, self.sent,
            self.arrived, length,
        )  # fmt: skip
        self.flits, self.packet = length * packets, length
        self.sent = self.arrived = None
        return rest


_Packet = tuple[Transfer, float, bool, float]
"""Of what it is a packet, its flits, whether it is the last one, and when its last flit comes to the buffer."""


@dataclass(slots=True, eq=False)
class Source:
    """What one node sends.

    Attributes
    ----------
    node, entry, exit : int
        Its number, and the channels by which it sends, and by which it gets requests.
    requests : deque of Transfer
        Of a core; they go before the next packet of a STORE.
    waiting : deque of Transfer
        Of which no flit has left yet.
    sender : Transfer or None
        Of which packets leave now, `left` of them, of `length` flits each.
    next : float
        When its memory has the next packet.
    waits : bool
        It will go on by itself.
    kept : deque of Transfer
        Requests that a memory node has not taken from the network.
    stalled : int
        Channel of the packet that waits behind these.
    reads, writes, shared : float
        Flits that its memory had to read and to write, and when that was so.
    """

    node: int
    entry: int
    exit: int
    requests: deque[Transfer] = field(default_factory=deque)
    waiting: deque[Transfer] = field(default_factory=deque)
    sender: Transfer | None = None
    left: int = 0
    length: float = 0.0
    next: float = 0.0
    waits: bool = False
    kept: deque[Transfer] = field(default_factory=deque)
    stalled: int = NONE
    reads: float = 0.0
    writes: float = 0.0
    shared: float = 0.0


class Network:
    """All packets of a launch.

    What belongs to a channel is in lists by its number. A packet in the buffer behind a channel waits for outputs under
    the number of that channel.

    Parameters
    ----------
    routes : Routes
    at : callable
        Plans a call: time, function, arguments.
    bandwidth : float
        Flits per cycle of a memory node, reads and writes together.
    """

    def __init__(self, routes: Routes, at: Callable[..., None], bandwidth: float) -> None:
        chip: ChipParams = routes.chip
        self.at = at
        self.node_behind = routes.node_behind
        self.n_cores = chip.n_cores
        self.queue = chip.memory_queue_depth
        """LOADs that a memory node queues."""
        self.asked = chip.outstanding_bursts
        """Packets for which it has asked its memory."""
        self.kept = RECEIVED // chip.request_flits
        """Requests that it holds beyond these."""
        self.alone = max(1.0, 1 / bandwidth)
        """Cycles of a flit at a memory that only reads, or only writes."""
        self.both = max(0.0, 2 / bandwidth - self.alone)
        """More cycles of each if it does both."""
        count = routes.n_channels
        self.free = [0.0] * count
        """When the last packet that has started on a channel has left it."""
        self.pace = [1.0] * count
        """Cycles from one of its flits to the next one, if it had the link for itself."""
        self.drained = [0.0] * count
        """When the last packet that has left the buffer behind it, or begun to, has left it."""
        self.room = [float(chip.vc_depth)] * count
        """Flits for which that buffer has room, but for those that leave it later than they were last looked at."""
        self.leaving: list[deque[tuple[float, float]]] = [deque() for _ in range(count)]
        """Times at which packets will have left it, and their flits."""
        self.buffer: list[deque[_Packet]] = [deque() for _ in range(count)]
        """Packets in it that have not started to leave."""
        self.claim = [NONE] * count
        """Whose packet is the next one on a channel; others wait in line."""
        self.line: list[deque[int]] = [deque() for _ in range(count)]
        self.crowded = [NONE] * count
        """Who waits for room in the buffer behind it; of an entry, its own number."""
        n_nodes = chip.n_nodes
        planes = [routes.REQUEST if node < chip.n_cores else routes.RESPONSE for node in range(n_nodes)]
        self.sources = [
            Source(node, routes.entry(node, plane), routes.exit(node, routes.REQUEST))
            for node, plane in enumerate(planes)
        ]
        self.of_entry = {source.entry: source for source in self.sources}

    # --- what the timeline asks for ------------------------------------------------------------------------------

    def send(self, node: int, transfer: Transfer, now: float) -> None:
        """A node has something to send, behind all else that it has."""
        source = self.sources[node]
        source.waiting.append(transfer)
        if not source.waits:
            self._send(source, now)

    def request(self, core: int, request: Transfer, now: float) -> None:
        """A core asks a memory node for something."""
        source = self.sources[core]
        source.requests.append(request)
        if not source.waits:
            self._send(source, now)

    # --- memory nodes --------------------------------------------------------------------------------------------

    def _takes(self, source: Source) -> bool:
        """Whether a memory node has room for another LOAD: it queues those of whose data it has asked for nothing."""
        if len(source.waiting) < self.queue:
            return True
        asked = self.asked - source.left
        for begun, transfer in enumerate(source.waiting):
            if asked <= 0:
                return len(source.waiting) - begun < self.queue
            asked -= transfer.packets
        return True

    def _ask(self, source: Source, transfer: Transfer, now: float) -> None:
        """A request has come to a memory node; it waits behind LOADs for which the node has no room."""
        if source.kept or not (transfer.program or self._takes(source)):
            source.kept.append(transfer)
        else:
            self._accept(source, transfer, now)
            if not source.waits:
                self._send(source, now)

    def _admit(self, source: Source, now: float) -> None:
        """There may be room for requests that wait."""
        kept = source.kept
        while kept and (kept[0].program or self._takes(source)):
            self._accept(source, kept.popleft(), now)
        if source.stalled != NONE and len(kept) < self.kept:
            self.at(now, self._start, source.stalled, now)
            source.stalled = NONE

    def _accept(self, source: Source, transfer: Transfer, now: float) -> None:
        transfer.ready = now + transfer.delay
        if transfer.program:
            self._ahead(source, transfer)
        else:
            source.waiting.append(transfer)

    def _ahead(self, source: Source, transfer: Transfer) -> None:
        """Instructions go before data, but behind what the node has asked its memory for."""
        ahead, waiting = self.asked - source.left, source.waiting
        if ahead < 0 and source.sender is not None:
            sender = source.sender
            sender.flits, sender.packet = source.left * source.length, source.length
            waiting.appendleft(sender.cut(self.asked))
            waiting.appendleft(transfer)
            source.left = self.asked
            return
        for place, other in enumerate(waiting):
            if ahead <= 0:
                waiting.insert(place, transfer)
                return
            packets = other.packets
            if packets > ahead:
                waiting.insert(place + 1, other.cut(ahead))
                waiting.insert(place + 1, transfer)
                return
            ahead -= packets
        waiting.append(transfer)

    # --- sources -------------------------------------------------------------------------------------------------

    def _send(self, source: Source, now: float) -> None:
        """Packets that can leave a node now."""
        entry = source.entry
        source.waits = False
        while True:
            start = self.free[entry]
            request = bool(source.requests)
            if request:
                transfer = source.requests[0]
                length = transfer.flits
            else:
                if source.sender is None:
                    if not source.waiting:
                        return
                    self._turn(source)
                assert source.sender is not None
                transfer, length = source.sender, source.length
                if source.next > start:
                    start = source.next
                if transfer.ready > start:
                    start = transfer.ready
            if start > now:
                source.waits = True
                self.at(start, self._send, source, start)
                return
            fits = self._fits(entry, length * STRADDLES, now)
            if fits < 0:
                source.waits = True
                self.crowded[entry] = entry
                return
            last = True
            if request:
                source.requests.popleft()
                finish = now + length
            else:
                source.left -= 1
                last = source.left == 0
                finish = self._delivered(source, transfer, length, last, now)
                if last:
                    source.sender = None
                if source.kept:
                    self._admit(source, now)
            if fits > finish:
                finish = fits
            self.free[entry] = finish
            self.room[entry] -= length
            if transfer.begun is not None:
                transfer.begun(now)
                transfer.begun = None
            if last and transfer.sent is not None:
                transfer.sent(finish)
            self._enter(entry, (transfer, length, last, finish), now)

    def _turn(self, source: Source) -> None:
        """A node begins to send something else."""
        source.sender = sender = source.waiting.popleft()
        source.left = sender.packets
        source.length = sender.flits / source.left

    def _delivered(self, source: Source, transfer: Transfer, length: float, last: bool, now: float) -> float:
        """When a packet that leaves its source now will have left it."""
        if source.node < self.n_cores:
            finish = now + length / transfer.limit
            return max(finish, transfer.earliest) if last else finish
        source.next = now + length / transfer.limit
        self._share(source, length, 0.0, now)
        return self.free[source.entry]

    def _share(self, memory: Source, reads: float, writes: float, now: float) -> None:
        """A memory has more flits to read or to write; those of both kinds take turns. Says when it is done with
        either, in what is free when."""
        if not writes and not memory.writes:  # all that was to be read has been read
            memory.reads, memory.shared = reads, now
            self.free[memory.entry] = now + reads * self.alone
            return
        elapsed, each = now - memory.shared, self.alone + self.both
        memory.shared = now
        together = min(memory.reads, memory.writes, elapsed / each)
        rest = (elapsed - together * each) / self.alone
        memory.reads = max(0.0, memory.reads - together - rest) + reads
        memory.writes = max(0.0, memory.writes - together - rest) + writes
        together = min(memory.reads, memory.writes) * each
        if memory.reads:
            done = now + together + max(0.0, memory.reads - memory.writes) * self.alone
            self.free[memory.entry] = max(self.free[memory.entry], done)
        if memory.writes:
            done = now + together + max(0.0, memory.writes - memory.reads) * self.alone
            self.free[memory.exit] = max(self.free[memory.exit], done)

    # --- routers -------------------------------------------------------------------------------------------------

    def _fits(self, channel: int, length: float, now: float) -> float:
        """When the buffer behind a channel has room for so many flits; -1 if that is not known."""
        room = self.room[channel]
        length -= EPSILON
        if room >= length:
            return now
        leaving = self.leaving[channel]
        while leaving and leaving[0][0] <= now:
            room += leaving.popleft()[1]
        self.room[channel] = room
        if room >= length:
            return now
        for time, flits in leaving:
            room += flits
            if room >= length:
                return time
        return -1.0

    def _enter(self, channel: int, packet: _Packet, now: float) -> None:
        """A packet comes to the buffer behind a channel, or to the node there."""
        node = self.node_behind[channel]
        if node < 0:
            buffer = self.buffer[channel]
            buffer.append(packet)
            if len(buffer) == 1:
                drained = self.drained[channel]
                if drained > now:
                    self.at(drained, self._start, channel, drained)
                else:
                    self._start(channel, now)
            return
        transfer, _, last, finish = packet
        if transfer.asks is not None:
            self._ask(self.sources[node], transfer.asks, now)
        elif last and transfer.arrived is not None:
            transfer.arrived(finish, 1 << node if node < self.n_cores else 0)

    def _start(self, channel: int, now: float) -> None:
        """Start the first packet in a buffer, or let it wait for what it cannot have yet."""
        buffer = self.buffer[channel]
        transfer, length, last, come = buffer[0]
        outputs = transfer.route.after[channel]
        free, node_behind = self.free, self.node_behind
        finish = now + length
        if come > finish:
            finish = come
        output = outputs[-1]
        if len(outputs) > 1:
            if not self._has(channel, outputs, length, now):
                return
        else:
            claim = self.claim[output]
            if claim != NONE and claim != channel:
                self.line[output].append(channel)
                return
            if free[output] > now:
                self.claim[output] = channel
                self.at(free[output], self._start, channel, free[output])
                return
            node = node_behind[output]
            if node < 0:
                fits = self._fits(output, length * STRADDLES, now)
                if fits < 0:
                    self.claim[output] = channel
                    self.crowded[output] = channel
                    return
                if fits > finish:
                    finish = fits
            elif node >= self.n_cores:
                memory = self.sources[node]
                if memory.kept and (transfer.asks is None or len(memory.kept) >= self.kept):
                    self.claim[output] = channel
                    memory.stalled = channel
                    return
                if transfer.asks is None:
                    self._share(memory, 0.0, length, now)
                    if free[output] > finish:
                        finish = free[output]
        pace = (finish - now) / length
        for output in outputs:
            if free[output ^ 1] > now:
                finish = self._alternate(output ^ 1, length, pace, finish, now)
        buffer.popleft()
        self.drained[channel] = finish
        self.leaving[channel].append((finish, length))
        crowded = self.crowded[channel]
        if crowded != NONE:
            self.crowded[channel] = NONE
            if crowded == channel:
                self.at(now, self._send, self.of_entry[channel], now)
            else:
                self.at(now, self._start, crowded, now)
        if buffer:
            self.at(finish, self._start, channel, finish)
        for output in outputs:
            free[output] = finish
            self.pace[output] = pace
            line = self.line[output]
            if line:
                self.claim[output] = line.popleft()
                self.at(finish, self._start, self.claim[output], finish)
            else:
                self.claim[output] = NONE
            if node_behind[output] < 0:
                self.room[output] -= length
        packet = transfer, length, last, finish
        for output in outputs:
            self._enter(output, packet, now)

    def _has(self, channel: int, outputs: tuple[int, ...], length: float, now: float) -> bool:
        """Whether a packet to several nodes can start: at all outputs at once, behind each of which there is room for
        all of it. It claims them one after the other, the next one when it could start at those that it has."""
        for output in outputs:
            claim = self.claim[output]
            if claim != channel:
                if claim != NONE:
                    self.line[output].append(channel)
                    return False
                self.claim[output] = channel
            when = self.free[output]
            if when <= now and self.node_behind[output] < 0:
                when = self._fits(output, length, now)
                if when < 0:
                    self.crowded[output] = channel
                    return False
            if when > now:
                self.at(when, self._start, channel, when)
                return False
        return True

    def _alternate(self, other: int, length: float, own: float, finish: float, now: float) -> float:
        """When a packet that starts now will have left a link on which one of the other plane is under way.

        They take turns, flit by flit; one whose flits come in every other cycle at most does not wait for those
        between them.
        """
        rest, pace = self.free[other] - now, self.pace[other]
        if pace >= 2:
            return finish if own >= 2 else finish + min(length, rest) / (pace - 1)
        if own >= 2:
            self.free[other] += min(length, rest / (own - 1))
            return finish
        shared = min(length, rest / pace)
        self.free[other] += shared
        return max(finish, now + length + shared)
