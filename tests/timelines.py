"""Files of timelines, read back, and what must hold of every timeline."""

from __future__ import annotations

import zlib
from collections import defaultdict
from dataclasses import dataclass, field

from perfetto.protos.perfetto.trace.perfetto_trace_pb2 import Trace, TracePacket, TrackEvent

from tb.timeline.events import Timeline

__all__ = ["Found", "nested", "read_perfetto"]


@dataclass
class Found:
    """What a Perfetto trace holds."""

    slices: list[tuple[int, int, str]] = field(default_factory=list)
    """Begin, end and name."""
    facts: dict[tuple[int, str], dict[str, int | str]] = field(default_factory=dict)
    """Of a slice, by its begin and its name."""
    rows: list[tuple[str, str]] = field(default_factory=list)
    """Process and track."""
    counts: dict[str, list[tuple[int, float]]] = field(default_factory=lambda: defaultdict(list))
    """Times and values, by the name of the track."""
    arrows: int = 0
    """Arrows that leave a slice and reach another one, which begins later."""


def read_perfetto(raw: bytes) -> Found:
    """Parse a trace with Perfetto's own definitions, as its trace processor does."""
    found = Found()
    names: dict[str, dict[int, str]] = defaultdict(dict)
    processes: dict[int, str] = {}
    tracks: dict[int, str] = {}
    stacks: dict[int, list[tuple[int, str]]] = defaultdict(list)
    leaves: dict[int, int] = {}
    packets = _packets(raw)
    for packet in packets:  # a name holds from where it is said on, in the order of the file
        for kind in ("event_names", "debug_annotation_names", "debug_annotation_string_values"):
            for entry in getattr(packet.interned_data, kind):
                names[kind][entry.iid] = entry.name if kind != "debug_annotation_string_values" else entry.str.decode()
        _known(packet, names)
    for packet in sorted(packets, key=lambda packet: packet.timestamp):
        if packet.HasField("track_descriptor"):
            described = packet.track_descriptor
            if described.HasField("process"):
                processes[described.uuid] = described.process.process_name
            else:
                tracks[described.uuid] = described.name
                found.rows.append((processes[described.parent_uuid], described.name))
        if not packet.HasField("track_event"):
            continue
        event, time = packet.track_event, packet.timestamp
        if event.type == TrackEvent.TYPE_COUNTER:
            value = event.double_counter_value if event.HasField("double_counter_value") else event.counter_value
            found.counts[tracks[event.track_uuid]].append((time, value))
        elif event.type == TrackEvent.TYPE_SLICE_BEGIN:
            name = names["event_names"][event.name_iid]
            stacks[event.track_uuid].append((time, name))
            found.facts[time, name] = {
                names["debug_annotation_names"][fact.name_iid]: names["debug_annotation_string_values"][
                    fact.string_value_iid
                ]
                if fact.HasField("string_value_iid")
                else fact.int_value
                for fact in event.debug_annotations
            }
            leaves |= dict.fromkeys(event.flow_ids, time)
            found.arrows += sum(leaves.get(number, time + 1) <= time for number in event.terminating_flow_ids)
        else:
            begin, name = stacks[event.track_uuid].pop()
            found.slices.append((begin, time, name))
    assert not any(stacks.values())
    return found


def _packets(raw: bytes) -> list[TracePacket]:
    """All packets, as they come."""
    packets = []
    for packet in Trace.FromString(raw).packet:
        inner = zlib.decompress(packet.compressed_packets) if packet.compressed_packets else b""
        packets += Trace.FromString(inner).packet if inner else [packet]
    return packets


def _known(packet: TracePacket, names: dict[str, dict[int, str]]) -> None:
    """Fail if a packet uses a name that was not said."""
    event = packet.track_event
    assert event.type != TrackEvent.TYPE_SLICE_BEGIN or event.name_iid in names["event_names"]
    for fact in event.debug_annotations:
        assert fact.name_iid in names["debug_annotation_names"]
        assert not fact.HasField("string_value_iid") or fact.string_value_iid in names["debug_annotation_string_values"]


def nested(timeline: Timeline) -> bool:
    """Whether slices of each track follow one another or lie within each other."""
    open_: dict[object, list[int]] = defaultdict(list)
    for one in sorted(timeline.slices, key=lambda one: (one.begin, -one.end)):
        ends = open_[one.track]
        while ends and ends[-1] <= one.begin:
            ends.pop()
        if one.end < one.begin or (ends and one.end > ends[-1]):
            return False
        ends.append(one.end)
    return True
