"""The estimator's prediction for a launch under the bench's memory settings."""

from __future__ import annotations

from scheduler.program import Launch, Plan
from tb.memory import MemorySettings

__all__ = ["predict_cycles"]


def predict_cycles(plan: Plan, launch: Launch, settings: MemorySettings) -> int | None:
    """Cycles that the estimator expects."""
    try:
        from estimator import MemoryTiming, estimate
    except ImportError:
        return None
    timing = MemoryTiming(settings.latency_cycles, settings.rate(plan.chip.link_bytes))
    return round(estimate(launch, plan.chip, timing).cycles)
