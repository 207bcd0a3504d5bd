"""Runs a group's tests against its mutants.

A mutant is a module whose source is replaced while it is imported; no file changes. Each runs in a process forked
from one that has imported pytest and NumPy already, so that a mutant costs its tests and little else. Killed means: a
test fails, a module cannot be imported, or the time limit is reached. Tests stop at the first failure; those that
killed other mutants come first, then the quick ones.
"""

from __future__ import annotations

import importlib.machinery
import importlib.util
import json
import os
import resource
import signal
import sys
import time
from collections import Counter, deque
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib.abc import MetaPathFinder
from pathlib import Path
from types import CodeType, ModuleType

import pytest

from tests.mutation.software.equivalent import EQUIVALENT
from tests.mutation.software.groups import GROUPS, Group
from tests.mutation.software.operators import Mutant, random_mutants, seeded_mutant

__all__ = ["ROOT", "CampaignError", "Judged", "judge", "mutants_of", "survives"]

ROOT = Path(__file__).resolve().parents[3]
_FACTOR, _EXTRA_S = 3.0, 20.0
"""Time limit of a test: its processor time without a mutant, times this, and this more; likewise of all together."""
_MEMORY_BYTES = 8 << 30
_NOT_LOADED = 70
_PASSED, _FAILED, _INTERRUPTED, _INTERNAL = 0, 1, 2, 3
"""Exit statuses of pytest."""
_TIME_LIMIT = "the time limit"
_TIME_SIGNALS = (signal.SIGXCPU, signal.SIGPROF)
_MUTATED = {"golden", "scheduler", "estimator", "tb"}
"""Packages that are mutated, or hold on to what is. Of `rtl` only a few modules are: it is read anew for their mutants
alone."""


class CampaignError(Exception):
    """The campaign says nothing: tests fail without a mutant, or never import what is mutated."""


@dataclass(frozen=True)
class Judged:
    """What became of a mutant.

    Attributes
    ----------
    killer : str
        The test that noticed, or how else it showed; empty if nothing did.
    """

    mutant: Mutant
    killer: str

    @property
    def equivalent(self) -> bool:
        return not self.killer and self.mutant.key in EQUIVALENT

    @property
    def survived(self) -> bool:
        return not self.killer and not self.equivalent


@dataclass(frozen=True)
class _Run:
    """How the tests went: what failed first (empty: nothing did), and seconds of processor time, by test if known."""

    killer: str
    seconds: float
    by_test: dict[str, float]


def mutants_of(group: Group, count: int, seed: int) -> list[Mutant]:
    """The seeded faults of a group, and `count` random ones over its modules."""
    sources = {module: (ROOT / module).read_text() for module in group.modules}
    found = [seeded_mutant(s.module, sources[s.module], s.old, s.new, s.what) for s in group.seeded]
    for number, module in enumerate(group.modules):
        share = count // len(group.modules) + (number < count % len(group.modules))
        found += random_mutants(module, sources[module], share, seed)
    return found


def judge(
    name: str,
    mutants: Sequence[Mutant],
    folder: Path,
    *,
    jobs: int = 1,
    killers: Iterable[str] = (),
    say: Callable[[str], None] = print,
) -> Iterator[Judged]:
    """Judge mutants of a group, in the order in which they end; what pytest prints goes to a folder.

    Parameters
    ----------
    killers : iterable of str
        Tests that killed mutants before, once for each.

    Raises
    ------
    CampaignError
        If the tests fail without a mutant, or never import a mutated module.
    """
    if not mutants:
        return
    tests = GROUPS[name].tests
    ((_, original),) = _run_all([None], tests, folder)
    if original.killer:
        raise CampaignError(f"{name}: the tests fail without a mutant; see {folder / 'original.log'}")
    say(f"{name}: {len(mutants)} mutants, tests without one {original.seconds:.0f} s")
    for mutant, run in _run_all(mutants, tests, folder, jobs, original, killers):
        assert mutant is not None
        judged = Judged(mutant, run.killer)
        if judged.survived:
            say(f"{name}: survived: {mutant.module}:{mutant.line}: {mutant.change}")
        yield judged


def survives(mutant: Mutant, tests: Sequence[str], folder: Path) -> bool:
    """Whether the tests pass with a mutant; nothing limits their time but their own limits."""
    ((_, run),) = _run_all([mutant], tests, folder)
    return not run.killer


def _run_all(
    mutants: Sequence[Mutant | None],
    tests: Sequence[str],
    folder: Path,
    jobs: int = 1,
    original: _Run | None = None,
    killers: Iterable[str] = (),
) -> Iterator[tuple[Mutant | None, _Run]]:
    """The tests with each mutant, as they end; the time of the `original` run, if there is one, limits theirs."""
    folder.mkdir(parents=True, exist_ok=True)
    for module in ("numpy", "hypothesis", "amaranth", "rtl.contract.codec", "rtl.contract.params", "rtl.contract.regs"):
        importlib.import_module(module)
    kills = Counter(killers)
    running: dict[int, tuple[Mutant | None, Path]] = {}
    waiting = deque(enumerate(mutants))
    while waiting or running:
        while waiting and len(running) < jobs:
            number, mutant = waiting.popleft()
            log = folder / ("original.log" if mutant is None else f"{number}.log")
            running[_fork(mutant, tests, log, original, kills)] = mutant, log
        pid, status, used = os.wait4(-1, 0)
        if pid not in running:
            continue
        mutant, log = running.pop(pid)
        code = os.waitstatus_to_exitcode(status)
        if code == _NOT_LOADED:
            raise CampaignError(f"{mutant.module if mutant else ''}: the tests {', '.join(tests)} never import it")
        if code not in (_PASSED, _FAILED, _INTERRUPTED, _INTERNAL) and code >= 0:
            raise CampaignError(f"pytest ended with status {code}; see {log}")
        notes = json.loads(_notes(log).read_text()) if _notes(log).exists() else {}
        killer = ""
        if code != _PASSED:
            killer = notes.get("failed") or (_TIME_LIMIT if -code in _TIME_SIGNALS else f"pytest ended with {code}")
            kills[killer] += 1
        yield mutant, _Run(killer, used.ru_utime + used.ru_stime, notes.get("seconds", {}))


def _notes(log: Path) -> Path:
    """Where a child leaves what failed first, and the time of each test."""
    return log.with_suffix(".json")


def _fork(
    mutant: Mutant | None, tests: Sequence[str], log: Path, original: _Run | None, kills: Mapping[str, int]
) -> int:
    pid = os.fork()
    if pid:
        return pid
    code = _INTERNAL
    try:
        code = _child(mutant, tests, log, original, kills)
    finally:
        os._exit(code)


def _child(
    mutant: Mutant | None, tests: Sequence[str], log: Path, original: _Run | None, kills: Mapping[str, int]
) -> int:
    output = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o644)
    for descriptor in (1, 2):
        os.dup2(output, descriptor)
    _notes(log).unlink(missing_ok=True)
    for number in _TIME_SIGNALS:
        signal.signal(number, signal.SIG_DFL)
    if original is not None:
        limit_s = int(_limit(original.seconds))
        resource.setrlimit(resource.RLIMIT_CPU, (limit_s, limit_s + 5))
    resource.setrlimit(resource.RLIMIT_AS, (_MEMORY_BYTES, _MEMORY_BYTES))
    os.chdir(ROOT)
    os.environ["HYPOTHESIS_STORAGE_DIRECTORY"] = str(log.parent / "hypothesis")
    for folder in (ROOT / "sched", ROOT):
        sys.path.insert(0, str(folder))
    finder = None
    if mutant is not None:
        finder = _Finder(mutant)
        sys.meta_path.insert(0, finder)
    forgotten = _MUTATED if finder is None else _MUTATED | {finder.name.partition(".")[0]}
    for name in [name for name in sys.modules if name.partition(".")[0] in forgotten]:
        del sys.modules[name]
    plugin = _Tests({} if original is None else original.by_test, kills, finder)
    options = ["-x", "-q", "--no-header", "--tb=line", "-p", "no:cacheprovider", "--hypothesis-seed=0"]
    code = int(pytest.main([*options, *tests], plugins=[plugin]))
    _notes(log).write_text(json.dumps({"failed": plugin.failed, "seconds": plugin.seconds}))
    if code == _PASSED and finder is not None and not finder.found:
        return _NOT_LOADED
    return code


def _limit(seconds: float) -> float:
    return _FACTOR * seconds + _EXTRA_S


class _Tests:
    """pytest plugin: puts tests in order, limits the time of each, and knows which failed first."""

    def __init__(self, known: Mapping[str, float], kills: Mapping[str, int], finder: _Finder | None) -> None:
        self._known, self._kills, self._finder = known, kills, finder
        self.failed = ""
        self.seconds: dict[str, float] = {}

    def pytest_configure(self) -> None:
        """pytest rewrites the assertions of distributions with plugins, ours among them, by a finder of its own."""
        if self._finder is not None:
            sys.meta_path.remove(self._finder)
            sys.meta_path.insert(0, self._finder)

    @pytest.hookimpl(trylast=True)
    def pytest_collection_modifyitems(self, items: list[pytest.Item]) -> None:
        items.sort(key=lambda item: (-self._kills.get(item.nodeid, 0), self._known.get(item.nodeid, 0.0)))

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_protocol(self, item: pytest.Item) -> Generator[None, object, object]:
        if item.nodeid in self._known:
            signal.setitimer(signal.ITIMER_PROF, _limit(self._known[item.nodeid]))
        start = time.process_time()
        try:
            return (yield)
        finally:
            signal.setitimer(signal.ITIMER_PROF, 0)
            self.seconds[item.nodeid] = time.process_time() - start

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        self._note(report)

    def pytest_collectreport(self, report: pytest.CollectReport) -> None:
        self._note(report)

    def _note(self, report: pytest.TestReport | pytest.CollectReport) -> None:
        if report.failed and not self.failed:
            self.failed = report.nodeid


class _Finder(MetaPathFinder):
    """Hands out the mutated source of one module."""

    def __init__(self, mutant: Mutant) -> None:
        self.path = ROOT / mutant.module
        self.name = ".".join(Path(mutant.module.removeprefix("sched/")).with_suffix("").parts)
        self.source = mutant.source
        self.found = False

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> importlib.machinery.ModuleSpec | None:
        if fullname != self.name:
            return None
        self.found = True
        loader = _Loader(fullname, str(self.path), self.source)
        return importlib.util.spec_from_file_location(fullname, self.path, loader=loader)


class _Loader(importlib.machinery.SourceFileLoader):
    def __init__(self, fullname: str, path: str, source: str) -> None:
        super().__init__(fullname, path)
        self._source = source

    def get_code(self, fullname: str) -> CodeType | None:
        return compile(self._source, self.path, "exec")
