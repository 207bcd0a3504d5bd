"""Whether the events of a launch add up to what the hardware counted: for every core each cause, and instructions."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from rtl.contract.isa import TrafficClass, Unit
from rtl.contract.params import ChipParams
from rtl.contract.regs import RouterCounter, compute_counters
from tb.sim.trace import EventKind

__all__ = ["differences", "summed"]


def differences(events: np.ndarray, counters: Mapping[str, Sequence[Mapping[str, int]]], chip: ChipParams) -> list[str]:
    """Counters that the events of a launch do not add up to, in words; none if all is well.

    Parameters
    ----------
    events : EVENT[N]
    counters : dict
        As `tb.sim.driver.Driver.counters` gives them.
    """
    found = []
    for kind, blocks in summed(events, chip).items():
        for number, (sums, block) in enumerate(zip(blocks, counters[kind], strict=True)):
            for name, total in sums.items():
                if total != block[name]:
                    found.append(f"{kind} {number}: {name} is {block[name]:,}, its events add up to {total:,}")
    return found


def summed(events: np.ndarray, chip: ChipParams) -> dict[str, list[dict[str, int]]]:
    """What the events of a launch add up to, by the names of the counters of cores, routers and memory nodes."""
    return {
        "core": [dict(_core(events[events["place"] == core])) for core in range(chip.n_cores)],
        "router": [dict(_router(events[events["place"] == core])) for core in range(chip.n_cores)],
        "memory": [
            dict(_memory(events[events["place"] == chip.memory_node_id(memory)], chip.link_bytes))
            for memory in range(len(chip.memory_nodes))
        ],
    }


def _core(events: np.ndarray) -> Iterator[tuple[str, int]]:
    work = events[events["kind"] == EventKind.WORK]
    waits = events[events["kind"] == EventKind.WAIT]
    streaming, stalled = _total(work["first"]), _total(work["second"])
    worked = {"compute_stream": streaming, "compute_weight_stall": stalled}
    worked["compute_overhead"] = _cycles(work) - streaming - stalled
    for counter in compute_counters():
        name = counter.name.lower()
        of_unit = (waits["unit"] == Unit.COMPUTE) & (waits["what"] == int(counter))
        yield name, worked[name] if name in worked else _cycles(waits[of_unit])
    for unit in (Unit.LOAD, Unit.STORE):
        tokens = (waits["unit"] == unit) & (waits["what"] >= 1) & (waits["what"] <= 3)
        yield f"{unit.name.lower()}_wait", _cycles(waits[tokens])
    yield "instructions", int(np.count_nonzero(events["kind"] == EventKind.ISSUED))


def _router(events: np.ndarray) -> Iterator[tuple[str, int]]:
    passed = events[events["kind"] == EventKind.PASSED]
    for counter in RouterCounter:
        if counter.name.startswith("FLITS_"):
            yield counter.name.lower(), _total(passed["first"][passed["what"] == int(counter)])


def _memory(events: np.ndarray, link_bytes: int) -> Iterator[tuple[str, int]]:
    reads, writes = (events[events["kind"] == kind] for kind in (EventKind.READ, EventKind.WRITTEN))
    for traffic in TrafficClass:
        name = traffic.name.lower()
        yield f"read_{name}_bytes", link_bytes * _total(reads["second"][reads["what"] == int(traffic)])
        yield f"write_{name}_bytes", _total(writes["second"][writes["what"] == int(traffic)])


def _total(values: Any) -> int:
    return int(values.sum(dtype=np.int64))


def _cycles(events: np.ndarray) -> int:
    return _total(events["end"].astype(np.int64) - events["begin"])
