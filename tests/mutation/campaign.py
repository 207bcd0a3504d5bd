"""A campaign: draw mutants of a block, run its bench with each, and judge those that it did not notice.

A mutant is killed when the block's own bench, unchanged, fails with it: one of its assertions, or its time limit.
Each run is a child process, so a mutant cannot harm the next one. Of the bench's tests only those run that
make the block with the arguments that were mutated; the quickest come first.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from tests.mutation.blocks import Block, bench_path, blocks_below
from tests.mutation.equivalence import Judgement, Verdict, judge
from tests.mutation.model import Model, build_library
from tests.mutation.netlist import Mutant, MutatedNetlist, mutated_netlist
from tests.mutation.stand_in import observe, stand_in

__all__ = ["BenchPlan", "CampaignError", "Result", "Survivor", "discover", "run_block", "run_with_mutant"]

ROOT = Path(__file__).resolve().parents[2]
_LEAST_LIMIT_S, _LIMIT_FACTOR = 20, 10
"""A test hangs if it takes this many times as long as without a mutant, and at least so many seconds."""
_CRASHED = 120


class CampaignError(RuntimeError):
    """A campaign that cannot mean anything: no test makes the block, or the bench fails without a mutant."""


@dataclass(frozen=True)
class BenchPlan:
    """The arguments that are mutated and the tests that use them, quickest first, with their seconds."""

    arguments: dict[str, Any]
    tests: dict[str, float]


@dataclass(frozen=True)
class Survivor:
    """A mutant that the bench did not notice."""

    mutant: Mutant
    judgement: Judgement


@dataclass
class Result:
    """What became of the mutants of a block."""

    block: str
    cells: int
    mutants: int
    killed: int = 0
    survivors: list[Survivor] = field(default_factory=list)
    seconds: float = 0.0

    @property
    def equivalent(self) -> int:
        return sum(one.judgement.verdict is Verdict.EQUAL for one in self.survivors)

    @property
    def not_told_apart(self) -> int:
        return sum(one.judgement.verdict is Verdict.BOUNDED for one in self.survivors)

    @property
    def survived(self) -> int:
        """Those that SAT could tell apart from the block, or could not judge."""
        return len(self.survivors) - self.equivalent - self.not_told_apart

    @property
    def score(self) -> float:
        """Killed part of the mutants that are not known to be equal to the block."""
        judged = self.killed + self.survived
        return self.killed / judged if judged else 1.0


class _Watch:
    """pytest plugin: which test runs, how long, and what it elaborated."""

    def __init__(self) -> None:
        self.current = ""
        self.seconds: dict[str, float] = {}
        self.made: dict[str, list[dict[str, Any]]] = {}

    def seen(self, arguments: dict[str, Any]) -> None:
        known = self.made.setdefault(self.current, [])
        if arguments not in known:
            known.append(arguments)

    def pytest_runtest_logstart(self, nodeid: str) -> None:
        self.current = nodeid

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        if report.when == "call" and report.passed:
            self.seconds[report.nodeid] = report.duration


@contextmanager
def _quiet() -> Iterator[None]:
    """Nothing of a bench's output; also not of compiled code."""
    kept = [os.dup(1), os.dup(2)]
    null = os.open(os.devnull, os.O_WRONLY)
    try:
        for stream in (1, 2):
            os.dup2(null, stream)
        yield
    finally:
        for stream, old in zip((1, 2), kept, strict=True):
            os.dup2(old, stream)
            os.close(old)
        os.close(null)


def _pytest(tests: list[str], plugins: list[Any], *options: str) -> int:
    arguments = ["-q", "-x", "-p", "no:cacheprovider", "-W", "ignore", "--rootdir", str(ROOT), *options, *tests]
    with _quiet():
        return int(pytest.main(arguments, plugins=plugins))


def _child(work: Callable[[], int]) -> int:
    """Exit status of ``work`` in a child process."""
    pid = os.fork()
    if pid == 0:
        status = _CRASHED
        try:
            status = work()
        finally:
            os._exit(status)
    _, status = os.waitpid(pid, 0)
    return os.waitstatus_to_exitcode(status)


def discover(block: Block) -> BenchPlan:
    """Run the bench as it is; see which arguments it makes the block with, and in which tests.

    Raises
    ------
    CampaignError
        If the bench fails, or makes no such block.
    """
    watch = _Watch()
    with observe(block.cls, watch.seen):
        if _pytest([bench_path(block)], [watch]) != pytest.ExitCode.OK:
            raise CampaignError(f"{bench_path(block)} fails without any mutant")
    wanted: list[tuple[dict[str, Any], list[str]]] = []
    for test, made in watch.made.items():
        for arguments in filter(block.where, made):
            tests = next((tests for known, tests in wanted if known == arguments), None)
            if tests is None:
                wanted.append((arguments, tests := []))
            tests.append(test)
    if not wanted:
        raise CampaignError(f"{bench_path(block)} makes no {block.cls.__name__} that {block.name} stands for")
    arguments, tests = max(wanted, key=lambda entry: len(entry[1]))
    seconds = {test: watch.seconds[test] for test in tests}
    return BenchPlan(arguments, dict(sorted(seconds.items(), key=lambda entry: entry[1])))


def run_with_mutant(block: Block, plan: BenchPlan, netlist: MutatedNetlist, library: Path, number: int) -> bool:
    """Whether the bench passes when the block is the netlist with this mutant (0: none).

    Raises
    ------
    CampaignError
        If pytest itself fails.
    """
    limit_s = max(_LEAST_LIMIT_S, int(_LIMIT_FACTOR * max(plan.tests.values())))

    def work() -> int:
        with stand_in(block.cls, plan.arguments, lambda: Model(library, netlist.ports, number)):
            return _pytest(list(plan.tests), [], f"--timeout={limit_s}")

    status = _child(work)
    if status not in (pytest.ExitCode.OK, pytest.ExitCode.TESTS_FAILED):
        raise CampaignError(f"the bench of {block.name} ended with status {status} for mutant {number}")
    return status == pytest.ExitCode.OK


def run_block(
    block: Block,
    directory: Path,
    *,
    mutants: int,
    seed: int = 1,
    cycles: tuple[int, ...] = (2, 5, 12),
    timeout_s: float = 60,
    progress: Callable[[str], None] = lambda text: None,
) -> Result:
    """The campaign of one block. Its netlist, and what yosys said of survivors, stay in ``directory``."""
    start = time.monotonic()
    plan = discover(block)
    netlist = mutated_netlist(
        block.cls(**plan.arguments), directory, mutants=mutants, seed=seed, leave_out=blocks_below(block)
    )
    progress(f"{block.name}: {len(netlist.mutants)} mutants, {len(plan.tests)} tests")
    library = build_library(netlist)
    if not run_with_mutant(block, plan, netlist, library, 0):
        raise CampaignError(f"the bench of {block.name} fails with the netlist even without a mutant")
    result = Result(block.name, netlist.candidates, len(netlist.mutants))
    for mutant in netlist.mutants:
        if run_with_mutant(block, plan, netlist, library, mutant.number):
            judgement = judge(netlist, mutant.number, directory / "judge", cycles=cycles, timeout_s=timeout_s)
            result.survivors.append(Survivor(mutant, judgement))
            progress(f"{block.name}: mutant {mutant.number}, {mutant.text}: {judgement}")
        else:
            result.killed += 1
    result.seconds = time.monotonic() - start
    return result
