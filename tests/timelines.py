"""Files of timelines, read back by the rules of their formats, and what must hold of every timeline.

Perfetto's trace processor is a program that its package downloads, so that no test can count on it. What it asks of
track events (https://perfetto.dev/docs/reference/synthetic-track-event, and the comments of its definitions) is
checked here instead.
"""

from __future__ import annotations

import zlib
from collections import Counter, defaultdict
from dataclasses import dataclass, field
from typing import Any

from perfetto.protos.perfetto.trace.perfetto_trace_pb2 import Trace, TracePacket, TrackEvent

from tb.timeline.events import Timeline

__all__ = ["Found", "check_chrome", "nested", "read_perfetto"]


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
    """Parse a trace with Perfetto's own definitions, as its trace processor does; fails where that would complain."""
    found = Found()
    names: dict[str, dict[int, str]] = defaultdict(dict)
    processes: dict[int, str] = {}
    tracks: dict[int, str] = {}
    stacks: dict[int, list[tuple[int, str]]] = defaultdict(list)
    leaves: dict[int, int] = {}
    packets = _packets(raw)
    _check_sequence(packets)
    _check_tracks(packets)
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


def _check_sequence(packets: list[TracePacket]) -> None:
    """Fail unless all is one sequence whose state, the names said so far, begins with its first packet."""
    first, *others = packets
    assert first.sequence_flags == TracePacket.SEQ_INCREMENTAL_STATE_CLEARED
    assert len({packet.trusted_packet_sequence_id for packet in packets} - {0}) == 1
    assert all(packet.trusted_packet_sequence_id for packet in packets)
    for packet in others:
        assert packet.sequence_flags == (
            TracePacket.SEQ_NEEDS_INCREMENTAL_STATE if packet.HasField("track_event") else 0
        )
        assert packet.HasField("track_event") != packet.HasField("track_descriptor")
        assert packet.HasField("timestamp") == packet.HasField("track_event")


def _check_tracks(packets: list[TracePacket]) -> None:
    """Fail unless tracks are described once, before their events, in processes of their own, and hold what they say;
    times never fall, and an arrow leaves one slice and reaches one."""
    processes: dict[int, int] = {}
    counters: dict[int, bool] = {}
    times: defaultdict[int, int] = defaultdict(int)
    leaves, reaches = Counter[int](), Counter[int]()
    for packet in packets:
        if packet.HasField("track_descriptor"):
            described = packet.track_descriptor
            assert described.uuid not in {0, *processes, *counters}
            if described.HasField("process"):
                assert described.process.pid not in {0, *processes.values()}
                processes[described.uuid] = described.process.pid
            else:
                assert described.parent_uuid in processes
                counters[described.uuid] = described.HasField("counter")
        elif packet.HasField("track_event"):
            event = packet.track_event
            assert counters[event.track_uuid] == (event.type == TrackEvent.TYPE_COUNTER)
            assert times[event.track_uuid] <= packet.timestamp
            times[event.track_uuid] = packet.timestamp
            leaves.update(event.flow_ids)
            reaches.update(event.terminating_flow_ids)
    assert leaves == reaches == Counter(leaves.keys())


def check_chrome(events: list[dict[str, Any]]) -> None:
    """Fail where a trace breaks a rule of the Trace Event Format.

    Rows and processes have names before anything is on them; slices of a row nest; arrows begin and end within
    slices, the end not before the begin.
    """
    named: set[tuple[int, int]] = set()
    slices: defaultdict[tuple[int, int], list[tuple[int, int]]] = defaultdict(list)
    ends: dict[str, dict[int, tuple[tuple[int, int], int]]] = {"s": {}, "f": {}}
    for event in events:
        place = event["pid"], event.get("tid", 0)
        match event["ph"]:
            case "M":
                assert event["name"] in ("process_name", "process_sort_index", "thread_name", "thread_sort_index")
                named |= {place} if event["name"].endswith("_name") else set()
            case "X":
                assert place in named
                assert event["dur"] >= 0
                slices[place].append((begin := _ns(event["ts"]), begin + _ns(event["dur"])))
            case "s" | "f" as kind:
                assert event["id"] not in ends[kind]
                ends[kind][event["id"]] = place, _ns(event["ts"])
            case "C":
                assert (event["pid"], 0) in named
                assert all(isinstance(value, int | float) for value in event["args"].values())
            case other:
                raise AssertionError(f"an event of kind {other}")
    for row in slices.values():
        open_: list[int] = []
        for begin, end in sorted(row, key=lambda span: (span[0], -span[1])):
            while open_ and open_[-1] <= begin:
                open_.pop()
            assert not open_ or end <= open_[-1]
            open_.append(end)
    assert ends["s"].keys() == ends["f"].keys()
    for number, end in ends["f"].items():
        begin = ends["s"][number]
        assert begin[1] <= end[1]
        for place, time in (begin, end):
            assert any(first <= time <= last for first, last in slices[place])


def _ns(us: float) -> int:
    """Nanoseconds, which are whole."""
    found = round(1000 * us)
    assert abs(1000 * us - found) < 1e-3
    return found


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
