"""A campaign: draw mutants of a block, run its bench with each, and judge those that it did not notice.

A mutant is killed when the block's own bench, unchanged, fails with it: one of its assertions, or its time limit.
The bench is collected once, by pytest; each mutant then runs in a child process that is forked from there, so it
cannot harm the next one. Of the bench's tests only those run that make the block with the arguments that were
mutated; the quickest come first.
"""

from __future__ import annotations

import os
import resource
import signal
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from tests.mutation.blocks import BLOCKS, Block, bench_path, blocks_below
from tests.mutation.equivalence import Judge, Judgement, Verdict
from tests.mutation.model import Model, build_library
from tests.mutation.netlist import Mutant, MutatedNetlist, mutated_netlist
from tests.mutation.stand_in import observe, stand_in

__all__ = ["CampaignError", "Result", "Survivor", "run_block", "run_named"]

ROOT = Path(__file__).resolve().parents[2]
_LEAST_LIMIT_S, _LIMIT_FACTOR = 1, 4
"""A bench hangs if it takes so many times as long as without a mutant and so many seconds more, of processor time."""
_PASSED, _FAILED, _CRASHED = 0, 1, 2
"""Exit status of the child that runs a bench."""


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
    def different(self) -> int:
        return sum(one.judgement.verdict is Verdict.DIFFERENT for one in self.survivors)

    @property
    def survived(self) -> int:
        """Those that differ from the block, and those of which it is not known."""
        return len(self.survivors) - self.equivalent

    @property
    def score(self) -> float:
        """Killed part of the mutants that are not known to be equal to the block."""
        judged = self.killed + self.survived
        return self.killed / judged if judged else 1.0


class _TestLoop:
    """pytest plugin that takes over the loop over a bench's tests, and knows what becomes of them."""

    def __init__(self, work: Callable[[_TestLoop], None]) -> None:
        self._work = work
        self._items: dict[str, pytest.Item] = {}
        self._error: Exception | None = None
        self._failed = False
        self.current = ""
        self.seconds: dict[str, float] = {}
        self.made: dict[str, list[dict[str, Any]]] = {}

    def run(self, path: Path) -> None:
        """Collect the bench and do the work.

        Raises
        ------
        CampaignError
            If the bench cannot be collected; and whatever the work raises.
        """
        arguments = ["-q", "-p", "no:cacheprovider", "-p", "no:timeout", "-W", "ignore", "--rootdir", str(ROOT)]
        with _quiet():
            status = pytest.main([*arguments, str(path)], plugins=[self])
        if self._error is not None:
            raise self._error
        if status != pytest.ExitCode.OK:
            raise CampaignError(f"{path} cannot be run: pytest ends with {status!r}")

    def pytest_runtestloop(self, session: pytest.Session) -> bool:
        self._items = {item.nodeid: item for item in session.items}
        try:
            self._work(self)
        except Exception as error:
            self._error = error
        return True

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        self._failed |= report.failed

    def seen(self, arguments: dict[str, Any]) -> None:
        """The test that runs has made the block with these arguments."""
        known = self.made.setdefault(self.current, [])
        if arguments not in known:
            known.append(arguments)

    def passes(self, tests: Iterable[str] | None = None) -> bool:
        """Run tests (default: all) in this process up to the first failure; whether there was none."""
        self._failed = False
        for name in self._items if tests is None else tests:
            self.current = name
            item = self._items[name]
            start = time.process_time()
            item.config.hook.pytest_runtest_protocol(item=item, nextitem=None)
            self.seconds[name] = time.process_time() - start
            if self._failed:
                return False
        return True


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


def _child(work: Callable[[], int], limit_s: float) -> int:
    """Exit status of ``work`` in a child process; `_FAILED` if it takes more processor time than allowed."""
    pid = os.fork()
    if pid == 0:
        status = _CRASHED
        try:
            soft = int(time.process_time() + limit_s) + 1
            resource.setrlimit(resource.RLIMIT_CPU, (soft, soft + 1))
            status = work()
        finally:
            os._exit(status)
    _, status = os.waitpid(pid, 0)
    code = os.waitstatus_to_exitcode(status)
    return _FAILED if code == -signal.SIGXCPU else code


def _plan(block: Block, bench: _TestLoop) -> BenchPlan:
    """Run the bench as it is; see which arguments it makes the block with, and in which tests."""
    with observe(block.cls, bench.seen):
        if not bench.passes():
            raise CampaignError(f"{block.bench} fails without any mutant")
    wanted: list[tuple[dict[str, Any], list[str]]] = []
    for test, made in bench.made.items():
        for arguments in filter(block.where, made):
            tests = next((tests for known, tests in wanted if known == arguments), None)
            if tests is None:
                wanted.append((arguments, tests := []))
            tests.append(test)
    if not wanted:
        raise CampaignError(f"{block.bench} makes no {block.cls.__name__} that {block.name} stands for")
    arguments, tests = max(wanted, key=lambda entry: len(entry[1]))
    return BenchPlan(arguments, {test: bench.seconds[test] for test in sorted(tests, key=bench.seconds.__getitem__)})


def _survives(
    block: Block, bench: _TestLoop, plan: BenchPlan, netlist: MutatedNetlist, library: Path, number: int
) -> bool:
    """Whether the bench passes when the block is the netlist with this mutant (0: none)."""

    def work() -> int:
        with stand_in(block.cls, plan.arguments, lambda: Model(library, netlist.ports, number)):
            return _PASSED if bench.passes(plan.tests) else _FAILED

    status = _child(work, _LEAST_LIMIT_S + _LIMIT_FACTOR * sum(plan.tests.values()))
    if status not in (_PASSED, _FAILED):
        raise CampaignError(f"the bench of {block.name} ended with status {status} for mutant {number}")
    return status == _PASSED


def run_block(
    block: Block,
    directory: Path,
    *,
    mutants: int,
    seed: int = 1,
    timeout_s: float = 60,
) -> Result:
    """The campaign of one block. Its netlist, and what survivors are judged by, stay in ``directory``.

    Raises
    ------
    CampaignError
        If the bench fails without a mutant, or makes no such block.
    """
    start = time.monotonic()
    results: list[tuple[MutatedNetlist, list[Mutant]]] = []

    def work(bench: _TestLoop) -> None:
        plan = _plan(block, bench)
        component = block.cls(**plan.arguments)
        netlist = mutated_netlist(
            component,
            directory,
            mutants=min(mutants, block.most or mutants),
            seed=seed,
            leave_out=blocks_below(block),
            contract=block.contract,
            body=block.body,
        )
        library = build_library(netlist)
        if not _survives(block, bench, plan, netlist, library, 0):
            raise CampaignError(f"the bench of {block.name} fails with the netlist even without a mutant")
        results.append(
            (netlist, [m for m in netlist.mutants if _survives(block, bench, plan, netlist, library, m.number)])
        )

    _TestLoop(work).run(bench_path(block))
    netlist, unnoticed = results[0]
    result = Result(block.name, netlist.candidates, len(netlist.mutants), len(netlist.mutants) - len(unnoticed))
    if unnoticed:
        judge = Judge(netlist, directory / "judge")
        result.survivors = [Survivor(one, judge.judge(one.number, timeout_s=timeout_s)) for one in unnoticed]
    result.seconds = time.monotonic() - start
    return result


def run_named(name: str, directory: Path, mutants: int, seed: int, timeout_s: float) -> Result:
    """`run_block`, for another process."""
    return run_block(BLOCKS[name], directory, mutants=mutants, seed=seed, timeout_s=timeout_s)
