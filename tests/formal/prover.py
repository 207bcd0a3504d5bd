"""Proves harnesses with yosys: k-induction or bounded search, seeded bugs that must be found, covers.

Everything is one question to the SAT solver in yosys. A cover is reached if its negation is refuted; a seeded bug
is found if its property, alone, is refuted in the changed component.
"""

from __future__ import annotations

import importlib
import inspect
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType

from tb.model.yosys import run_yosys
from tests.formal.harness import Harness

__all__ = ["Bug", "Outcome", "Proof", "check"]

LIMIT_SECONDS = 570

SCRIPT = """
read_rtlil top.il
hierarchy -top top
proc
flatten
opt_clean
memory_map
opt -full
chformal -lower
async2sync
dffunmap
techmap
opt -full
sat -prove-asserts -set-assumes {mode} -maxsteps {steps} top
"""


@dataclass(frozen=True)
class Bug:
    """A change of one place in a module's source."""

    module: str
    old: str
    new: str

    @contextmanager
    def seeded(self) -> Iterator[None]:
        """What the module defines is replaced, in all of `rtl` and in the harnesses, by the changed definitions."""
        module = importlib.import_module(self.module)
        source = inspect.getsource(module)
        if source.count(self.old) != 1:
            raise ValueError(f"{self.module} has {source.count(self.old)} places {self.old!r}: a seeded bug needs one")
        mutant = ModuleType(self.module)
        exec(compile(source.replace(self.old, self.new), self.module, "exec", dont_inherit=True), mutant.__dict__)
        replaced = []
        users = [user for name, user in sys.modules.items() if name.startswith(("rtl.", "tests.formal."))]
        for name in module.__all__:
            original, changed = getattr(module, name), getattr(mutant, name)
            for user in users:
                if user.__dict__.get(name) is original:
                    setattr(user, name, changed)
                    replaced.append((user, name, original))
        try:
            yield
        finally:
            for user, name, original in replaced:
                setattr(user, name, original)


@dataclass(frozen=True)
class Proof:
    """A block with its properties, how they are proved, and a bug for each."""

    block: str
    harness: Callable[[], Harness]
    steps: int
    """k of the induction, or cycles of the bounded search."""
    bugs: dict[str, Sequence[Bug]] = field(hash=False)
    """For each property, changes that must break it."""
    induction: bool = True
    bug_steps: int = 12
    """Cycles in which bugs and covers must show."""
    quick: bool = True
    """Part of the default tests."""

    @property
    def method(self) -> str:
        return f"{self.steps}-induction" if self.induction else f"bounded, {self.steps} cycles"


@dataclass(frozen=True)
class Outcome:
    """A line of the table."""

    block: str
    name: str
    kind: str
    """property or cover"""
    method: str
    seconds: float
    holds: bool
    bugs: int = 0
    bugs_found: int = 0

    @property
    def passed(self) -> bool:
        return self.holds and self.bugs_found == self.bugs and (self.bugs > 0 or self.kind == "cover")


def _ask(rtlil: str, mode: str, steps: int) -> tuple[bool, float]:
    """Whether all asserts hold, and the seconds that it took."""
    with tempfile.TemporaryDirectory() as folder:
        Path(folder, "top.il").write_text(rtlil)
        begin = time.monotonic()
        script = SCRIPT.format(mode=mode, steps=steps).splitlines()
        out = run_yosys(script, Path(folder), name="ask", timeout_s=LIMIT_SECONDS)
    seconds = time.monotonic() - begin
    held, failed = "SUCCESS!" in out, "FAIL!" in out or "-> proof failed" in out
    if held == failed or "Import proof for assert" not in out:
        raise RuntimeError(f"yosys gave no answer:\n{out[-2000:]}")
    return held, seconds


BOUNDED, INDUCTION = "-tempinduct-baseonly", "-tempinduct"


def check(proof: Proof, pool: ThreadPoolExecutor) -> Callable[[], list[Outcome]]:
    """Asks all questions about a proof; the result waits for the answers."""
    whole = proof.harness()
    names = list(whole.properties)
    if set(names) != set(proof.bugs):
        raise ValueError(f"{proof.block}: properties {names}, bugs for {list(proof.bugs)}")
    covers = list(whole.covers)
    if not covers:
        raise ValueError(f"{proof.block} has no cover")

    def ask(pick: Callable[[Harness], list], mode: str, steps: int) -> Future:
        harness = proof.harness()
        return pool.submit(_ask, harness.rtlil(pick(harness)), mode, steps)

    mode = INDUCTION if proof.induction else BOUNDED
    everything = [*whole.properties.values(), *whole.invariants]
    all_hold = pool.submit(_ask, whole.rtlil(everything), mode, proof.steps)
    reached = {name: ask(lambda h, n=name: [~h.covers[n].bool()], BOUNDED, proof.bug_steps) for name in covers}
    found: dict[str, list[Future]] = {}
    for name, bugs in proof.bugs.items():
        found[name] = []
        for bug in bugs:
            with bug.seeded():
                found[name].append(ask(lambda h, n=name: [h.properties[n]], BOUNDED, proof.bug_steps))

    def collect() -> list[Outcome]:
        hold, seconds = all_hold.result()
        lines = []
        for name in names:
            hits = [not future.result()[0] for future in found[name]]
            lines.append(Outcome(proof.block, name, "property", proof.method, seconds, hold, len(hits), sum(hits)))
        for name in covers:
            held, took = reached[name].result()
            lines.append(Outcome(proof.block, name, "cover", f"within {proof.bug_steps} cycles", took, not held))
        return lines

    return collect
