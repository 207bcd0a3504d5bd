"""A timeline as chrome JSON, which chrome://tracing of any Chromium opens without a network. One cycle is a nanosecond.

The format: "Trace Event Format", in which times are microseconds.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from tb.timeline.events import Timeline, Track

__all__ = ["chrome_trace"]


def chrome_trace(timeline: Timeline) -> bytes:
    """The bytes of the file."""
    events = ",\n".join(json.dumps(event, separators=(",", ":")) for event in _events(timeline))
    return f'{{"displayTimeUnit":"ns","traceEvents":[\n{events}\n]}}\n'.encode()


def _events(timeline: Timeline) -> Iterator[dict[str, Any]]:
    processes: dict[tuple[str, str], int] = {}
    places: dict[Track, dict[str, int]] = {}
    for number, track in enumerate(timeline.tracks, 1):
        process = track.group, track.process
        if process not in processes:
            processes[process] = pid = len(processes) + 1
            yield _told("process_name", {"pid": pid}, name=f"{track.group}: {track.process}")
            yield _told("process_sort_index", {"pid": pid}, sort_index=pid)
        places[track] = {"pid": processes[process], "tid": number}
        if not track.unit:
            yield _told("thread_name", places[track], name=track.name)
            yield _told("thread_sort_index", places[track], sort_index=number)
    for one in timeline.slices:
        span = {"ts": _us(one.begin), "dur": _us(one.end - one.begin)}
        yield {"ph": "X", "name": one.name, **places[one.track], **span, "args": one.facts}
    for number, arrow in enumerate(timeline.arrows, 1):
        common = {"name": "token", "cat": "token", "id": number}
        leaves = min(max(arrow.released, arrow.source.begin), max(arrow.source.begin, arrow.source.end - 1))
        yield {"ph": "s", **common, **places[arrow.source.track], "ts": _us(leaves)}
        yield {"ph": "f", "bp": "e", **common, **places[arrow.target.track], "ts": _us(arrow.target.begin)}
    for count in timeline.counts:
        name, pid = count.track.name, places[count.track]["pid"]
        yield {"ph": "C", "name": name, "pid": pid, "ts": _us(count.at), "args": {count.track.unit: count.value}}


def _told(what: str, place: dict[str, int], **args: Any) -> dict[str, Any]:
    return {"ph": "M", "name": what, **place, "args": args}


def _us(cycles: int) -> float:
    return cycles / 1000
