"""Runs the programs of the regression on models with counters in, and gathers what they covered."""

from __future__ import annotations

import shutil
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from rtl.emit import emit
from rtl.isa import INSTRUCTION_BYTES, Opcode, Unit, decode
from rtl.params import ChipParams
from tb.build import Model
from tb.fuzz.campaign import KINDS as FUZZ_KINDS
from tb.fuzz.campaign import fuzz
from tb.fuzz.chips import FUZZ_CHIPS
from tb.fuzz.judge import Rejected, expect_legal, outcome_status
from tb.fuzz.legal import legal_program
from tb.fuzz.runner import Verdict, run_programs
from tb.memory import MemorySettings
from tests.coverage.functional import Functional
from tests.coverage.models import CAMPAIGN_CHIPS, covered_model
from tests.coverage.monitor import MONITOR, bin_lines, legal_turns
from tests.coverage.points import Chip, Point, RawPoint, merge, read_counts, source_lines
from tests.coverage.stimulus import aligned_cases, alignments, token_programs, with_early_waits
from tests.layers import Check, run_cases

__all__ = ["Gathered", "gather"]

LAYER_CHIPS = ("1x1_8x8", "3x2_4x4")
BUDGET_MACS = 6_000
_BATCH = 16
_LAYERS = 12
_ROUGH = MemorySettings(latency_cycles=33, bytes_per_cycle=3.5, stall_256=90, seed=7)
_FIRST_MOVED = 100_000
"""Seeds of the programs with early waits, apart from the others."""


@dataclass(frozen=True, eq=False)
class Gathered:
    """What a campaign covered."""

    hits: Counter[Point]
    sources: Mapping[tuple[str, str], str]
    """(module, signal) to the place in the source of the hardware."""
    functional: Functional
    programs: int
    launches: int
    failures: list[str]


def gather(seeds: int, layer_seeds: int, folder: Path, say: Callable[[str], None]) -> Gathered:
    """Run `seeds` programs of each kind on each chip and the layers of `layer_seeds` seeds on two of them."""
    functional = Functional(set().union(*(legal_turns(FUZZ_CHIPS[name]) for name in CAMPAIGN_CHIPS)))
    hits: Counter[Point] = Counter()
    sources: dict[tuple[str, str], str] = {}
    failures: list[str] = []
    programs = launches = 0
    for name in CAMPAIGN_CHIPS:
        chip = FUZZ_CHIPS[name]
        data = folder / name
        shutil.rmtree(data, ignore_errors=True)
        data.mkdir(parents=True)
        design, model = covered_model(name, data.resolve())
        say(f"{name}: model {'from the cache' if model.cached else f'built in {model.build_s:.0f} s'}")

        def observe(verdict: Verdict) -> None:
            _observe(functional, verdict)

        report = fuzz(
            range(seeds), chips=(name,), kinds=FUZZ_KINDS, folder=folder / "failed", say=say, n_shrunk=0,
            models=lambda _chip, _simulator, model=model: model, observe=observe,
        )  # fmt: skip
        failures += [str(path) for path in report.failures]
        moved, wrong = _others(model, chip, max(1, seeds // 3), folder, observe)
        programs += report.programs + moved
        failures += wrong
        if name in LAYER_CHIPS:
            count = _layers(model, chip, layer_seeds, folder / "layers", functional)
            say(f"{name}: {count} launches of layers")
            launches += count
        counts = read_counts(sorted(data.glob("*.dat")))
        shutil.rmtree(data)  # tens of MB for each run
        _turns(functional, counts, chip)
        texts = {path.name: path.read_text() for path in design.sources if path.name != f"{MONITOR}.v"}
        merge(Chip(name, texts), counts, hits)
        sources |= _sources(chip, folder / "sources")
    return Gathered(hits, sources, functional, programs, launches, failures)


def _sources(chip: ChipParams, folder: Path) -> dict[tuple[str, str], str]:
    emitted = emit(chip, folder, places=True)
    return source_lines({file.name: file.read_text() for file in emitted.files})


def _observe(functional: Functional, verdict: Verdict) -> None:
    error, _, _ = outcome_status(verdict.launch)
    functional.run(error, verdict.launch.counters)
    if error:
        return
    program = verdict.expectation.program
    for (core, unit), stream in program.streams.items():
        whole = [(i.opcode, i.whole()) for i in stream]
        if not stream or stream[-1].opcode != Opcode.END:
            whole.append(decode(_END))
        functional.instructions(core, unit, whole, program.chip.cores[core].drain_lanes(program.chip.link_bytes))


_END = int(Opcode.END).to_bytes(INSTRUCTION_BYTES, "little")


def _others(
    model: Model, chip: ChipParams, count: int, folder: Path, observe: Callable[[Verdict], None]
) -> tuple[int, list[str]]:
    """Programs that count tokens, and some with waits at other places: how many ran, and those that failed."""
    expectations = [expect_legal(program) for program in token_programs(chip)]
    for seed in range(_FIRST_MOVED, _FIRST_MOVED + count):
        try:
            expectations.append(expect_legal(with_early_waits(legal_program(chip, seed)[0], seed)))
        except Rejected:
            continue
    failures = []
    for first in range(0, len(expectations), _BATCH):
        for verdict in run_programs(model, expectations[first : first + _BATCH], folder / "work"):
            if verdict.differences:
                path = folder / "failed" / f"{verdict.expectation.program.name.replace(' ', '-')}.json"
                verdict.expectation.program.save(path, verdict.differences)
                failures.append(str(path))
            else:
                observe(verdict)
    return len(expectations), failures


def _layers(model: Model, chip: ChipParams, seeds: int, folder: Path, functional: Functional) -> int:
    """Layers of all kinds and alignments; the number of launches."""
    cases = aligned_cases(chip, range(seeds), BUDGET_MACS)
    launches = 0
    for first in range(0, len(cases), _LAYERS):
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        some = cases[first : first + _LAYERS]
        settings = _ROUGH if first // _LAYERS % 2 else MemorySettings(latency_cycles=20)
        for check, result in run_cases(lambda _bytes: model, chip, some, settings, folder, counters=True):
            functional.run("", result.counters)
            _sample(functional, check)
            launches += 1
        for case in some:
            functional.layer(case.kind, *alignments(case))
    shutil.rmtree(folder, ignore_errors=True)
    return launches


def _sample(functional: Functional, check: Check) -> None:
    chip, memory = check.case.chip, check.plan.memory_image(check.case.image)
    for core, params in enumerate(chip.cores):
        for unit in Unit:
            at = check.launch.program_base + (3 * core + unit) * check.launch.program_stride
            stream = list(_stream(memory, at))
            functional.instructions(core, unit, stream, params.drain_lanes(chip.link_bytes))


def _stream(memory: np.ndarray, at: int) -> Iterable[tuple[Opcode, dict[str, int]]]:
    while True:
        instruction = decode(memory[at : at + INSTRUCTION_BYTES].tobytes())
        yield instruction
        if instruction[0] == Opcode.END:
            return
        at += INSTRUCTION_BYTES


def _turns(functional: Functional, counts: Mapping[RawPoint, int], chip: ChipParams) -> None:
    """The bins of the routers' monitor that were hit."""
    bins, legal = bin_lines(), legal_turns(chip)
    for (file, line, _, comment, _), count in counts.items():
        if file == f"{MONITOR}.v" and comment == "if" and count:
            i, o, occupancy = bins[line]
            assert (i, o) in legal, f"a flit turned from {i} to {o}"
            functional.turn(i, o, occupancy)
