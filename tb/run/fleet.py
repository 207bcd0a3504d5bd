"""Several simulator processes that share the launches of a plan."""

from __future__ import annotations

import selectors
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

from tb.errors import RunError
from tb.model.build import Model
from tb.run.launches import Launches
from tb.run.shares import Shares
from tb.sim.job import ProcessJob
from tb.sim.session import Event, Simulator

__all__ = ["run_fleet"]


@dataclass(eq=False)
class _Member:
    """One process, and the steps that it was given."""

    number: int
    simulator: Simulator
    steps: list[int] = field(default_factory=list)


def run_fleet(
    model: Model,
    job: ProcessJob,
    work: Path,
    processes: int,
    launches: Launches,
    shares: Shares,
    on_event: Callable[[int, Event], bool],
) -> None:
    """Run all units of `shares`; each process does the job, and then what it gets.

    Parameters
    ----------
    work : Path
        Folder whose subfolders 0, 1, ... are those of the processes.
    on_event : callable
        Told the number of a step and an event of it, which names its process; False ends all processes, and what
        they have to say still arrives.

    Raises
    ------
    RunError
        If a simulator fails; the others are stopped first, and what they have to say arrives.
    BenchError
        If one cannot write a result.
    """
    with ExitStack() as stack, selectors.DefaultSelector() as selector:
        members = []
        failure: RunError | None = None
        for number in range(processes):
            member = _Member(number, stack.enter_context(Simulator(model, job, work / str(number))))
            members.append(member)
            selector.register(member.simulator, selectors.EVENT_READ, member)
            _give(member, launches, shares)
        ending = False
        while selector.get_map():
            for key, _ in selector.select():
                member: _Member = key.data
                events = member.simulator.events()
                if events is None:
                    selector.unregister(member.simulator)
                    try:
                        if not ending:
                            member.simulator.judge()
                    except RunError as error:
                        failure, ending = error, True
                for event in events or ():
                    if "launch" not in event:  # "ready"
                        continue
                    step = member.steps[event["launch"]]
                    if event["event"] == "finish" and event["ok"] and step == member.steps[-1] and not ending:
                        _give(member, launches, shares)  # first of all: it waits for that
                    ending |= not on_event(step, {**event, "process": member.number})
                if ending:
                    for other in members:
                        other.simulator.terminate()
        if failure is not None:
            raise failure


def _give(member: _Member, launches: Launches, shares: Shares) -> None:
    share = shares.take(member.number)
    if share is None:
        member.simulator.end()
        return
    member.steps += share.unit
    for launch in launches.jobs(share.unit, follows=share.follows):
        member.simulator.give(launch)
