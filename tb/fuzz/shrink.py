"""Makes a failing program small: drops whatever is not needed for the failure.

Legal programs lose steps first (tokens are worked out anew, so that what is left is always legal), then single
instructions, fields and stalls of the memory; others lose instructions. Candidates are tried many at a time: starting
a simulator costs more than a short program.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace

from rtl.contract.isa import Opcode
from tb.errors import RunError
from tb.fuzz.judge import Expectation, Rejected, expect_fault, expect_legal
from tb.fuzz.program import Instruction, Program
from tb.fuzz.steps import Step, assemble
from tb.sim.settings import MemorySettings

__all__ = ["Shrinker"]

Failing = Callable[[Sequence[Expectation]], list[bool]]
"""Which of the programs fail on the RTL."""

_AT_ONCE = 24
_CALM = MemorySettings(latency_cycles=2)
_SMALLER = ("runs", "run_flits", "pixels", "groups", "lanes", "blocks", "out_h", "out_w", "kernel_h", "kernel_w")


@dataclass(frozen=True, eq=False)
class _Candidate:
    expectation: Expectation
    steps: list[Step] | None


class Shrinker:
    """Shrinks one failure.

    Parameters
    ----------
    failing : callable
        Runs expectations on the RTL and says which fail.
    report : callable
        Gets a line about each success.
    max_runs : int
        Simulator starts after which the smallest so far must do.
    """

    def __init__(self, failing: Failing, report: Callable[[str], None], max_runs: int = 40) -> None:
        self._failing = failing
        self._report = report
        self._left = max_runs

    def shrink(self, expectation: Expectation, steps: list[Step] | None = None) -> Expectation:
        """The smallest failing program that was found."""
        best = _Candidate(expectation, steps)
        calm = replace(expectation.program, settings=_CALM)
        best = self._first([self._candidate(best, calm, steps)]) or best
        if steps is not None:
            best = self._repeat(best, self._without_steps)
            best = self._repeat(best, self._smaller_steps)
        best = self._repeat(best, self._without_instructions)
        return best.expectation

    def _repeat(self, best: _Candidate, smaller: Callable[[_Candidate], Iterator[_Candidate | None]]) -> _Candidate:
        """Take the first candidate that fails, and again, until none does."""
        while True:
            found = self._first(smaller(best))
            if found is None:
                return best
            best = found
            self._report(f"{best.expectation.program.n_instructions} instructions")

    def _first(self, candidates: Iterator[_Candidate | None] | list[_Candidate | None]) -> _Candidate | None:
        """The first candidate that fails."""
        batch: list[_Candidate] = []

        def failing() -> _Candidate | None:
            self._left -= 1
            try:
                verdicts = self._failing([candidate.expectation for candidate in batch])
            except RunError:
                return None
            return next((c for c, fails in zip(batch, verdicts, strict=True) if fails), None)

        for candidate in candidates:
            if self._left <= 0:
                return None
            if candidate is not None:
                batch.append(candidate)
            if len(batch) == _AT_ONCE:
                if (found := failing()) is not None:
                    return found
                batch = []
        return failing() if batch and self._left > 0 else None

    def _candidate(self, old: _Candidate, program: Program, steps: list[Step] | None) -> _Candidate | None:
        """A program with what is expected of it; None if it is no test, or another one."""
        try:
            if old.expectation.result is not None:
                return _Candidate(expect_legal(program, orders=3), steps)
        except Rejected:
            return None
        expectation = expect_fault(program, orders=4)
        same = {code for code, _, _ in expectation.statuses} == {code for code, _, _ in old.expectation.statuses}
        return _Candidate(expectation, None) if same else None

    def _of_steps(self, old: _Candidate, steps: list[Step]) -> _Candidate | None:
        program = old.expectation.program
        kept, streams = assemble(program.chip, steps, program.seed)
        return self._candidate(old, program.with_streams(streams), kept)

    def _without_steps(self, best: _Candidate) -> Iterator[_Candidate | None]:
        """Halves, quarters, ... of the steps left out, the later ones first."""
        assert best.steps is not None
        for first, last in _slices(len(best.steps)):
            yield self._of_steps(best, best.steps[:first] + best.steps[last:])

    def _smaller_steps(self, best: _Candidate) -> Iterator[_Candidate | None]:
        """Counts of single steps set to one."""
        assert best.steps is not None
        for index, step in enumerate(best.steps):
            for name in _SMALLER:
                part = "fields" if name in step.fields else "geometry"
                values = getattr(step, part)
                if values.get(name, 1) > 1:
                    smaller = replace(step, **{part: {**values, name: 1}})
                    yield self._of_steps(best, [*best.steps[:index], smaller, *best.steps[index + 1 :]])

    def _without_instructions(self, best: _Candidate) -> Iterator[_Candidate | None]:
        """Single instructions, and slices of streams, left out as they are."""
        program = best.expectation.program
        for place, stream in program.streams.items():
            for first, last in _slices(len(stream)):
                fault = program.fault
                if fault is not None and fault[:2] == place:
                    if first <= fault[2] < last:
                        continue
                    if last <= fault[2]:
                        fault = (*fault[:2], fault[2] - (last - first))
                streams = {**program.streams, place: stream[:first] + stream[last:]}
                yield self._candidate(best, replace(program, streams=streams, fault=fault), None)
            for index, old in enumerate(stream):
                if (
                    old.opcode == Opcode.SYNC
                    and old.raw is None
                    and any(v for n, v in old.fields.items() if "valid" in n)
                ):
                    plain = Instruction(Opcode.SYNC, {n: v for n, v in old.fields.items() if "signal" not in n})
                    streams = {**program.streams, place: [*stream[:index], plain, *stream[index + 1 :]]}
                    yield self._candidate(best, program.with_streams(streams), None)


def _slices(count: int) -> Iterator[tuple[int, int]]:
    """Ranges to leave out: all, halves, quarters, ... single ones, from the end on."""
    size = count
    while size:
        for last in range(count, 0, -size):
            yield max(0, last - size), last
        size //= 2
