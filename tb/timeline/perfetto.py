"""A timeline as a Perfetto trace, protobuf: what ui.perfetto.dev opens. One cycle is a nanosecond."""

from __future__ import annotations

import zlib
from collections import defaultdict
from collections.abc import Iterator, Mapping
from typing import Any

from perfetto.protos.perfetto.trace.perfetto_trace_pb2 import TracePacket, TrackDescriptor, TrackEvent
from perfetto.trace_builder.proto_builder import TraceProtoBuilder

from tb.timeline.events import Slice, Timeline, Track

__all__ = ["perfetto_trace"]

_SEQUENCE = 1
_CHUNK = 20_000
"""Packets that are compressed together."""


def perfetto_trace(timeline: Timeline) -> bytes:
    """The bytes of the file."""
    packets, trace = TraceProtoBuilder(), TraceProtoBuilder()
    for count, _ in enumerate(_Writer(timeline, packets).write(), 1):
        if count % _CHUNK == 0:
            trace.add_packet().compressed_packets = zlib.compress(packets.serialize())
            packets.trace.Clear()
    trace.add_packet().compressed_packets = zlib.compress(packets.serialize())
    return trace.serialize()


class _Writer:
    def __init__(self, timeline: Timeline, builder: TraceProtoBuilder) -> None:
        self._timeline, self._builder = timeline, builder
        self._names: dict[str, int] = {}
        """Numbers of the names of slices that the trace has said, and below those of facts and their words."""
        self._fact_names: dict[str, int] = {}
        self._words: dict[str, int] = {}
        self._uuids = {track: number for number, track in enumerate(timeline.tracks, 1)}
        self._out: defaultdict[int, list[int]] = defaultdict(list)
        """Numbers of the arrows that leave a slice, by its identity, and below those that reach it."""
        self._in: defaultdict[int, list[int]] = defaultdict(list)
        for number, arrow in enumerate(timeline.arrows, 1):
            self._out[id(arrow.source)].append(number)
            self._in[id(arrow.target)].append(number)

    def write(self) -> Iterator[None]:
        """Add the packets, one each time."""
        self._packet().sequence_flags = TracePacket.SEQ_INCREMENTAL_STATE_CLEARED
        yield from self._describe()
        for track, slices in by_track(self._timeline).items():
            for one, begins in edges(slices):
                self._edge(self._uuids[track], one, begins)
                yield
        for count in self._timeline.counts:
            packet = self._packet(count.at)
            packet.track_event.type = TrackEvent.TYPE_COUNTER
            packet.track_event.track_uuid = self._uuids[count.track]
            if isinstance(count.value, int):
                packet.track_event.counter_value = count.value
            else:
                packet.track_event.double_counter_value = count.value
            yield

    def _packet(self, time: int | None = None) -> TracePacket:
        packet = self._builder.add_packet()
        packet.trusted_packet_sequence_id = _SEQUENCE
        if time is not None:
            packet.timestamp = time
            packet.sequence_flags = TracePacket.SEQ_NEEDS_INCREMENTAL_STATE
        return packet

    def _describe(self) -> Iterator[None]:
        """Processes in their order, each with its tracks in theirs."""
        processes: dict[tuple[str, str], int] = {}
        for rank, (track, uuid) in enumerate(self._uuids.items()):
            process = track.group, track.process
            if process not in processes:
                processes[process] = len(self._uuids) + 1 + len(processes)
                described = self._packet().track_descriptor
                described.uuid = processes[process]
                described.process.pid = len(processes)
                described.process.process_name = f"{track.group}: {track.process}"
                described.child_ordering = TrackDescriptor.EXPLICIT
                described.sibling_order_rank = len(processes)
                yield
            described = self._packet().track_descriptor
            described.uuid = uuid
            described.parent_uuid = processes[process]
            described.name = track.name
            described.sibling_order_rank = rank
            if track.unit:
                described.counter.unit_name = track.unit
            yield

    def _edge(self, uuid: int, one: Slice, begins: bool) -> None:
        packet = self._packet(one.begin if begins else one.end)
        event = packet.track_event
        event.track_uuid = uuid
        if not begins:
            event.type = TrackEvent.TYPE_SLICE_END
            return
        event.type = TrackEvent.TYPE_SLICE_BEGIN
        interned = packet.interned_data
        event.name_iid = _number(self._names, one.name, interned.event_names)
        self._tell(packet, one.facts)
        event.flow_ids.extend(self._out.get(id(one), ()))
        event.terminating_flow_ids.extend(self._in.get(id(one), ()))

    def _tell(self, packet: TracePacket, facts: Mapping[str, int | str]) -> None:
        interned = packet.interned_data
        for name, value in facts.items():
            fact = packet.track_event.debug_annotations.add()
            fact.name_iid = _number(self._fact_names, name, interned.debug_annotation_names)
            if isinstance(value, str):
                fact.string_value_iid = _number(
                    self._words, value, interned.debug_annotation_string_values, encode=True
                )
            else:
                fact.int_value = value


def _number(known: dict[str, int], text: str, told: Any, encode: bool = False) -> int:
    """The number of a text, which is said with the first packet that uses it."""
    if text not in known:
        known[text] = len(known) + 1
        entry = told.add()
        entry.iid = known[text]
        if encode:
            entry.str = text.encode()
        else:
            entry.name = text
    return known[text]


def by_track(timeline: Timeline) -> dict[Track, list[Slice]]:
    """Slices of each track, by their begins, outer ones first."""
    found: dict[Track, list[Slice]] = {}
    for one in sorted(timeline.slices, key=lambda one: (one.begin, -one.end)):
        found.setdefault(one.track, []).append(one)
    return found


def edges(slices: list[Slice]) -> Iterator[tuple[Slice, bool]]:
    """Begins and ends of the slices of a track, in the order in which they nest."""
    open_: list[Slice] = []
    for one in slices:
        while open_ and open_[-1].end <= one.begin:
            yield open_.pop(), False
        yield one, True
        open_.append(one)
    while open_:
        yield open_.pop(), False
