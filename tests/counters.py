"""Counters as the driver reads them, of events that are known."""

from __future__ import annotations

from estimator.events import Events
from rtl.contract.isa import TrafficClass
from rtl.contract.params import ChipParams

__all__ = ["memory_counters"]


def memory_counters(chip: ChipParams, events: Events) -> list[dict[str, int]]:
    """Bytes of every memory node, each way, by class."""
    return [
        {
            f"{way}_{traffic.name.lower()}_bytes": moved[node, traffic]
            for way, moved in (("read", events.read_bytes), ("write", events.write_bytes))
            for traffic in TrafficClass
        }
        for node in range(len(chip.memory_nodes))
    ]
