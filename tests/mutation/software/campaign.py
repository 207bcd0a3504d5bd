"""Runs a group's tests against its mutants.

A mutant is a module whose source is replaced while it is imported; no file changes. Each runs in a process forked
from one that has imported pytest and NumPy already but nothing that is mutated, so that a mutant costs its tests and
little else. Killed means: a test fails, a module cannot be imported, or the time limit is reached.
"""

from __future__ import annotations

import importlib.machinery
import importlib.util
import os
import resource
import signal
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from importlib.abc import MetaPathFinder
from pathlib import Path
from types import CodeType, ModuleType

from tests.mutation.software.groups import EQUIVALENT, GROUPS, Group
from tests.mutation.software.operators import Mutant, random_mutants, seeded_mutant

__all__ = ["ROOT", "CampaignError", "Result", "mutants_of", "run_group", "survives"]

ROOT = Path(__file__).resolve().parents[3]
_FACTOR, _EXTRA_S = 3.0, 20.0
"""Time limit of a mutant: processor time of the tests without one, times this, and this more."""
_MEMORY_BYTES = 8 << 30
_NOT_LOADED = 70
_PASSED, _FAILED, _INTERRUPTED, _INTERNAL = 0, 1, 2, 3
"""Exit statuses of pytest."""


class CampaignError(Exception):
    """The campaign says nothing: tests fail without a mutant, or never import what is mutated."""


@dataclass
class Result:
    """What became of the mutants of a group."""

    group: str
    killed: int = 0
    survived: list[Mutant] = field(default_factory=list)
    equivalent: list[Mutant] = field(default_factory=list)
    seconds: float = 0.0

    @property
    def score(self) -> float:
        """Part of the mutants not known to be equivalent that the tests kill."""
        judged = self.killed + len(self.survived)
        return self.killed / judged if judged else 1.0


def mutants_of(group: Group, count: int, seed: int) -> list[Mutant]:
    """The seeded faults of a group, and `count` random ones over its modules."""
    sources = {module: (ROOT / module).read_text() for module in group.modules}
    found = [seeded_mutant(s.module, sources[s.module], s.old, s.new, s.what) for s in group.seeded]
    for number, module in enumerate(group.modules):
        share = count // len(group.modules) + (number < count % len(group.modules))
        found += random_mutants(module, sources[module], share, seed)
    return found


def run_group(
    name: str, folder: Path, *, count: int, seed: int, jobs: int = 1, say: Callable[[str], None] = print
) -> Result:
    """Judge the mutants of a group.

    Raises
    ------
    CampaignError
        If the tests fail without a mutant, or never import a mutated module.
    """
    group = GROUPS[name]
    began = time.monotonic()
    result = Result(name)
    mutants = mutants_of(group, count, seed)
    limit = None
    for mutant, survived, spent in _judge_all([None, *mutants], group.tests, folder, jobs):
        if mutant is None:
            if not survived:
                raise CampaignError(f"{name}: the tests fail without a mutant; see {folder / 'original.log'}")
            limit = spent
            say(f"{name}: {len(mutants)} mutants, tests without one {limit:.0f} s")
        elif not survived:
            result.killed += 1
        elif mutant.key in EQUIVALENT:
            result.equivalent.append(mutant)
        else:
            result.survived.append(mutant)
            say(f"{name}: survived: {mutant.module}:{mutant.line}: {mutant.change}")
    result.seconds = time.monotonic() - began
    return result


def survives(mutant: Mutant, tests: Sequence[str], folder: Path) -> bool:
    """Whether the tests pass with a mutant; nothing limits their time but their own limits."""
    ((_, survived, _),) = _judge_all([mutant], tests, folder, 1)
    return survived


def _judge_all(
    mutants: Sequence[Mutant | None], tests: Sequence[str], folder: Path, jobs: int
) -> Iterator[tuple[Mutant | None, bool, float]]:
    """(mutant, survived, seconds of processor time) as they end; the run without a mutant first, and alone."""
    folder.mkdir(parents=True, exist_ok=True)
    _preload()
    limit: int | None = None
    running: dict[int, Mutant | None] = {}
    waiting = list(enumerate(mutants))
    while waiting or running:
        while waiting and len(running) < (jobs if limit is not None or mutants[0] is not None else 1):
            number, mutant = waiting.pop(0)
            log = folder / ("original.log" if mutant is None else f"{number}.log")
            running[_fork(mutant, tests, log, limit)] = mutant
            if mutant is None:
                break
        pid, status, used = os.wait4(-1, 0)
        if pid not in running:
            continue
        mutant = running.pop(pid)
        code = os.waitstatus_to_exitcode(status)
        if code == _NOT_LOADED:
            raise CampaignError(f"{mutant.module if mutant else ''}: the tests {', '.join(tests)} never import it")
        if code not in (_PASSED, _FAILED, _INTERRUPTED, _INTERNAL) and code >= 0:
            raise CampaignError(f"pytest ended with status {code}; see {folder}")
        spent = used.ru_utime + used.ru_stime
        if mutant is None:
            limit = int(_FACTOR * spent + _EXTRA_S)
        yield mutant, code == _PASSED, spent


def _preload() -> None:
    """Import what every child needs and nothing that is mutated."""
    for name in ("numpy", "pytest", "hypothesis", "amaranth", "rtl.isa", "rtl.params", "rtl.regs"):
        importlib.import_module(name)
    early = [name for name in sys.modules if name.partition(".")[0] in {"golden", "scheduler", "estimator"}]
    if early:
        raise CampaignError(f"{early[0]} is imported already: run this in a process of its own")


def _fork(mutant: Mutant | None, tests: Sequence[str], log: Path, limit_s: int | None) -> int:
    pid = os.fork()
    if pid:
        return pid
    code = _INTERNAL
    try:
        code = _child(mutant, tests, log, limit_s)
    finally:
        os._exit(code)


def _child(mutant: Mutant | None, tests: Sequence[str], log: Path, limit_s: int | None) -> int:
    output = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    for descriptor in (1, 2):
        os.dup2(output, descriptor)
    signal.signal(signal.SIGXCPU, signal.SIG_DFL)
    if limit_s is not None:
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
    import pytest

    options = ["-x", "-q", "--no-header", "--tb=line", "-p", "no:cacheprovider", "--hypothesis-seed=0"]
    code = int(pytest.main([*options, *tests]))
    if code == _PASSED and finder is not None and not finder.found:
        return _NOT_LOADED
    return code


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
