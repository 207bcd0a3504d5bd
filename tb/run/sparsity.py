"""What the sparse engines of a launch do: products, those left out, and why their PEs are idle."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from estimator.events import Events
from golden.int8.qnodes import QConv
from rtl.contract.engines import ENGINES
from rtl.contract.regs import EngineCounter
from scheduler.plan.program import Launch, Plan
from scheduler.plan.traffic import weight_bytes
from tb.run.counts import LaunchEvents

__all__ = ["sparse_figures"]

SPEC = ENGINES["sparse"]


def sparse_figures(
    plan: Plan, launch: Launch, events: LaunchEvents, twin: Mapping[str, float],
    counters: Mapping[str, Any] | None = None, cycles: float = 0,
) -> tuple[dict[str, float], list[dict[str, float]]]:  # fmt: skip
    """Figures of a launch by the names of `tb.report.summary.SPARSE`, and of each of its parts.

    Nothing of a part, or a launch, in which no sparse engine works. Parts have no figures that depend on time.

    Parameters
    ----------
    events : LaunchEvents
        With what data decide.
    twin : dict of str to float
        Cycles on the dense twin, by layer (`tb.run.twin`); those of parts that are strips are left out.
    counters : dict, optional
        Of the launch, as `tb.sim.driver.Driver.counters` reads them, after so many `cycles`.
    """
    parts = [_part(plan, launch, number, of, twin) for number, of in enumerate(events.parts)]
    working = [number for number, figures in enumerate(parts) if figures]
    if not working:
        return {}, parts
    names = set[str].intersection(*(set(parts[number]) for number in working))
    whole = {name: sum(parts[number][name] for number in working) for name in parts[working[0]] if name in names}
    if len(working) > 1:
        whole["weight_bytes"] = weight_bytes(launch, working, plan.chip.link_bytes)
    if counters is not None:
        whole |= _idle(plan, counters, cycles)
    return whole, parts


def _part(plan: Plan, launch: Launch, number: int, events: Events, twin: Mapping[str, float]) -> dict[str, float]:
    def total(counter: int) -> int:
        return sum(counts[counter] for counts in events.counts)

    part, items = launch.parts[number], total(SPEC.pixels_counter)
    if not items:
        return {}
    pairs = total(EngineCounter.SPARSE_PAIRS)
    layers = [node for node in plan.graph.nodes if isinstance(node, QConv) and node.name in part.works_on]
    dense = {id(node.weight): node.weight.size for node in layers}  # pictures share them
    found: dict[str, float] = {
        "pairs": pairs, "skipped": part.macs - pairs, "items": items, "empty": total(EngineCounter.SPARSE_EMPTY),
        "weight_bytes": weight_bytes(launch, [number], plan.chip.link_bytes),
        "dense_weight_bytes": sum(dense.values()),
    }  # fmt: skip
    if not part.strip_of and all(node.name in twin for node in layers):
        found["dense_cycles"] = round(sum(twin[node.name] for node in layers))
    return found


def _idle(plan: Plan, counters: Mapping[str, Any], cycles: float) -> dict[str, float]:
    """PE-cycles without a product, by cause."""
    found: dict[str, float] = {"starved": 0, "blocked": 0, "resting": 0}
    for core, counted in zip(plan.chip.cores, counters["core"], strict=True):
        if "sparse" in core.engines:
            starved, blocked = (counted[f"sparse_{cause}"] for cause in ("starved", "blocked"))
            found["starved"] += starved
            found["blocked"] += blocked
            done = counted["sparse_pairs"] + counted["sparse_empty"] + starved + blocked
            found["resting"] += core.sparse_lanes * core.sparse_columns * cycles - done
    return found
