"""Runs seeds, shrinks what fails, saves it, and replays it."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from rtl.contract.params import ChipParams
from rtl.contract.regs import ErrorCode
from tb.errors import BenchError, RunError
from tb.fuzz.chips import FUZZ_CHIPS
from tb.fuzz.illegal import illegal_program, random_field_program
from tb.fuzz.judge import Expectation, Rejected, expect_fault, expect_legal, outcome_status
from tb.fuzz.legal import legal_program
from tb.fuzz.program import Program
from tb.fuzz.runner import Verdict, model_of, run_programs
from tb.fuzz.shrink import Shrinker
from tb.fuzz.steps import Step
from tb.model.build import Model

__all__ = ["KINDS", "Report", "fuzz", "parse_seeds", "replay"]

KINDS = ("legal", "illegal", "field")
"""Legal programs; illegal ones of known kinds; legal ones with a random field, which the machine judges."""
_BATCH = 16
_HEALTHY_STEPS = 4


@dataclass
class Report:
    """What came of a campaign."""

    programs: int = 0
    instructions: int = 0
    cycles: int = 0
    rejected: int = 0
    """Programs that the machine found without a single result: no tests."""
    ends: Counter[str] = field(default_factory=Counter)
    """How the RTL ended, by the name of the error; done is ''."""
    failures: list[Path] = field(default_factory=list)
    """Reproducers."""

    def describe(self) -> str:
        """A table of the ends, and in the last line the totals."""
        lines = [f"  {name or 'done':15} {count:6}" for name, count in sorted(self.ends.items())]
        total = (
            f"{self.programs} programs, {self.instructions} instructions, {self.cycles:,} cycles; "
            f"{self.rejected} rejected, {len(self.failures)} failed"
        )
        return "\n".join([*lines, *(f"  replay with: make fuzz REPLAY={path}" for path in self.failures), total])


@dataclass(frozen=True, eq=False)
class _Case:
    expectation: Expectation
    steps: list[Step] | None


def parse_seeds(text: str) -> range:
    """``7`` or ``a..b``, both ends included; BenchError for anything else."""
    first, dots, last = text.partition("..")
    if not (first.isdecimal() and (last.isdecimal() if dots else not last)) or int(last or first) < int(first):
        raise BenchError(f"SEEDS={text}: give a number, or a..b with a not above b")
    return range(int(first), int(last or first) + 1)


def fuzz(
    seeds: Sequence[int],
    *,
    chips: Mapping[str, ChipParams] = FUZZ_CHIPS,
    simulator: str = "verilator",
    kinds: Sequence[str] = KINDS,
    folder: Path,
    say: Callable[[str], None] = lambda _: None,
    n_steps: int | None = None,
    n_shrunk: int = 3,
    models: Callable[[ChipParams, str], Model] = model_of,
    observe: Callable[[Verdict], None] = lambda _: None,
) -> Report:
    """Run the programs of all seeds, each on one of the chips in turn; failures are saved in `folder`.

    Parameters
    ----------
    n_steps : int, optional
        Size of the legal programs; otherwise the seed says it.
    n_shrunk : int
        So many failures are shrunk; the others, mostly the same bug, are saved as they are.
    models : callable
        Gives the model of a chip: the tests put faulty hardware in.
    observe : callable
        Gets every program that did what is expected of it, those behind the faulty ones too.
    """
    report = Report()
    for number, (name, chip) in enumerate(chips.items()):
        mine = [seed for seed in seeds if seed % len(chips) == number]
        model = models(chip, simulator) if mine else None
        for kind in kinds if model is not None else ():
            assert model is not None
            for first in range(0, len(mine), _BATCH):
                batch = mine[first : first + _BATCH]
                began = time.perf_counter()
                failed = _batch(model, chip, kind, batch, folder, report, say, observe, n_steps, n_shrunk)
                say(
                    f"{name}: {kind} seeds {batch[0]}..{batch[-1]}: {len(batch)} programs, {failed} failed, "
                    f"{time.perf_counter() - began:.1f} s"
                )
    return report


def replay(
    path: Path, *, simulator: str = "verilator", folder: Path, models: Callable[[ChipParams, str], Model] = model_of
) -> list[str]:
    """Run a saved program again; what is wrong with it.

    Raises
    ------
    BenchError
        If the file is no program, or the machine finds that it has no single result.
    """
    program = Program.load(path)
    try:
        expectation = _expect(program)
    except Rejected as error:
        raise BenchError(f"{path}: {error}; such a program tests nothing") from error
    return run_programs(models(program.chip, simulator), [expectation], folder / "replay")[0].differences


def _expect(program: Program) -> Expectation:
    return expect_legal(program) if program.name.startswith("legal") else expect_fault(program)


def _case(chip: ChipParams, kind: str, seed: int, n_steps: int | None) -> _Case:
    if kind == "legal":
        program, steps = legal_program(chip, seed, n_steps)
        return _Case(expect_legal(program), steps)
    if kind == "illegal":
        program, code = illegal_program(chip, seed)
        expectation = expect_fault(program)
        # A COMPUTE of an engine with lists that leaves a memory may find noise instead of them before that.
        names = {name for name, _, _ in expectation.statuses}
        if not {code.name} <= names <= {code.name, ErrorCode.WEIGHT_LISTS.name}:
            raise BenchError(f"{program.name}: the machine ends with {expectation.statuses}, not with {code.name}")
        return _Case(expectation, None)
    return _Case(expect_fault(random_field_program(chip, seed)), None)


def _batch(
    model: Model,
    chip: ChipParams,
    kind: str,
    seeds: Sequence[int],
    folder: Path,
    report: Report,
    say: Callable[[str], None],
    observe: Callable[[Verdict], None],
    n_steps: int | None,
    n_shrunk: int,
) -> int:
    cases: list[_Case] = []
    for seed in seeds:
        try:
            cases.append(_case(chip, kind, seed, n_steps))
        except Rejected as rejected:
            report.rejected += 1
            say(f"seed {seed}: rejected: {rejected}")
    if not cases:
        return 0
    expectations, resets = [case.expectation for case in cases], [True] * len(cases)
    if kind != "legal":
        # Behind each a healthy program, without a reset in between: an error leaves nothing behind.
        healthy = expect_legal(legal_program(chip, seeds[0], _HEALTHY_STEPS)[0])
        expectations = [e for case in cases for e in (case.expectation, healthy)]
        resets = [True, False] * len(cases)
    failed = 0
    try:
        verdicts = run_programs(model, expectations, folder / "work", reset=resets)
    except RunError as error:
        raise RunError(f"{kind} seeds {seeds[0]}..{seeds[-1]}: {error}") from error
    for verdict in verdicts:
        if not verdict.differences:
            observe(verdict)
    step = len(verdicts) // len(cases)
    for case, *own in zip(cases, *(verdicts[i::step] for i in range(step)), strict=True):
        program = case.expectation.program
        report.programs += 1
        report.instructions += program.n_instructions
        report.cycles += own[0].launch.cycles
        report.ends[outcome_status(own[0].launch)[0]] += 1
        if own[0].differences and kind == "field" and _more_orders(case, own[0]):
            continue
        if own[0].differences:
            failed += 1
            shrink = len(report.failures) < n_shrunk
            report.failures.append(_saved(model, case, own[0], folder, say, shrink=shrink))
        elif own[-1].differences:
            failed += 1
            path = folder / f"{program.name.split(' (')[0].replace(' ', '-')}-then-healthy.json"
            program.save(path, ["the program behind it fails:", *own[-1].differences])
            say(f"{program.name}: the program behind it fails: {own[-1].differences[0]}; saved {path}")
            report.failures.append(path)
    return failed


def _more_orders(case: _Case, verdict: Verdict) -> bool:
    """Whether the status is one that the machine ends with in an order that was not tried before."""
    again = expect_fault(case.expectation.program, orders=300)
    return outcome_status(verdict.launch) in again.statuses


def _saved(
    model: Model, case: _Case, verdict: Verdict, folder: Path, say: Callable[[str], None], *, shrink: bool
) -> Path:
    """Save a failure, small if asked for."""
    program, notes = case.expectation.program, verdict.differences
    say(f"{program.name}: {notes[0]}")

    def failing(expectations: Sequence[Expectation]) -> list[bool]:
        return [bool(v.differences) for v in run_programs(model, expectations, folder / "shrink")]

    path = folder / f"{program.name.split(' (')[0].replace(' ', '-')}.json"
    if shrink:
        say(f"  shrinking {program.n_instructions} instructions")
        small = Shrinker(failing, lambda line: say(f"  {line}")).shrink(case.expectation, case.steps)
        program = small.program
        notes = run_programs(model, [small], folder / "shrink")[0].differences or notes
    program.save(path, notes)
    say(f"  {program.n_instructions} instructions, saved {path}")
    return path
