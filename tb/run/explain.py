"""Why a launch failed, in words."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from scheduler.plan.program import Plan
from tb.run.launches import owner_of
from tb.sim.driver import Outcome
from tb.sim.job import LaunchResult

__all__ = ["explain"]


def explain(plan: Plan, step: int, result: LaunchResult) -> str:
    """One line, and one more with the state of every unit for each core where that is known."""
    name = plan.steps[step].name
    if result.violation:
        lines = [f"{name}: {result.violation}"]
    elif result.stray_bytes:
        count = f"{result.stray_bytes} byte{'s' * (result.stray_bytes > 1)}"
        owner = owner_of(plan, result.stray_address, step)
        lines = [f"{name}: wrote {count} outside its outputs, the first at 0x{result.stray_address:08x} ({owner})"]
    else:
        lines = [f"{name}: {Outcome(**result.outcome).describe(plan.chip.n_cores)}"]
    for core in result.debug:
        units = "; ".join(f"{unit} {_unit_state(state)}" for unit, state in core["units"].items())
        lines.append(
            f"  core {core['core']}: {units}; tokens {core['tokens']}; {core['unacknowledged_writes']} writes and "
            f"{core['program_reads']} program reads under way"
        )
    return "\n".join(lines)


def _unit_state(state: Mapping[str, Any]) -> str:
    """What a unit does, in words."""
    done = f"after {state['instructions']} instructions"
    if state["state"] == "wait":
        ranges = ", ".join(("0 (activations)", "1 (weights)", "2 (accumulators)")[r] for r in state["unmet_waits"])
        what = f"for tokens of range {ranges}" if ranges else "for its unit"
        return f"holds {state['opcode']} and waits {what} {done}"
    words = {"decode": "waits for its next instruction", "ended": "has ended", "failed": "has failed"}
    return f"{words.get(state['state'], state['state'])} {done}"
