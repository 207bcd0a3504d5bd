"""The parts of a campaign: each a few simulations of one chip, and what they covered."""

from __future__ import annotations

import pickle
import shutil
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from rtl.contract.codec import decode
from rtl.contract.isa import INSTRUCTION_BYTES, Opcode, Unit
from rtl.contract.params import ChipParams
from tb.errors import RunError
from tb.fuzz.campaign import KINDS as FUZZ_KINDS
from tb.fuzz.campaign import fuzz
from tb.fuzz.chips import FUZZ_CHIPS
from tb.fuzz.illegal import RECIPES, illegal_program
from tb.fuzz.judge import Expectation, Rejected, expect_fault, expect_legal, outcome_status
from tb.fuzz.legal import legal_program
from tb.fuzz.program import Program
from tb.fuzz.runner import Verdict, run_programs
from tb.model.build import Model
from tb.sim.session import run_test_module
from tb.sim.settings import MemorySettings
from tests.cosim.bus_bench import TESTS as BUS_TESTS
from tests.cosim.bus_cases import bus_cases
from tests.coverage.functional import Functional, Sample
from tests.coverage.models import BUS_CHIP, covered_bus_model, covered_core, covered_model
from tests.coverage.points import RawPoint, read_counts
from tests.coverage.sparse import has_sparse
from tests.coverage.stimulus import (
    aligned_cases,
    alignments,
    contradicting_programs,
    far_program,
    long_program,
    noisy_program,
    signal_program,
    token_programs,
    with_all_waits,
    with_early_waits,
)
from tests.layers import Check, run_cases

__all__ = ["LAYER_CHIPS", "Part", "Taken", "parts", "run_part"]

LAYER_CHIPS = ("1x1_8x8", "3x2_4x4")
_BATCH = 16
"""Programs of a simulation."""
_LAYERS = 12
_ROUGH = MemorySettings(latency_cycles=33, bytes_per_cycle=3.5, stall_256=90, seed=7)
_FIRST_MOVED = 100_000
"""Seeds of the programs with other waits and places, apart from the others."""


@dataclass
class Taken:
    """What a part of a campaign covered."""

    counts: Counter[RawPoint] = field(default_factory=Counter)
    samples: Counter[Sample] = field(default_factory=Counter)
    programs: int = 0
    launches: int = 0
    failures: list[str] = field(default_factory=list)

    def add(self, other: Taken) -> None:
        self.counts.update(other.counts)
        self.samples.update(other.samples)
        self.programs += other.programs
        self.launches += other.launches
        self.failures += other.failures


@dataclass(frozen=True, eq=False)
class _Place:
    """Where a part runs."""

    name: str
    model: Model
    folder: Path
    functional: Functional
    taken: Taken

    @property
    def chip(self) -> ChipParams:
        return FUZZ_CHIPS[self.name]

    def observe(self, verdict: Verdict) -> None:
        _observe(self.functional, verdict)


@dataclass(frozen=True)
class Part:
    """Some simulations of a chip."""

    name: str
    run: Callable[[_Place], None]
    directed: bool = True
    """Runs what stimulus.py makes."""
    open_buses: bool = False

    def model(self, chip: str) -> Model:
        return covered_bus_model() if self.open_buses else covered_model(chip)[1]


def parts(name: str, seeds: int, layer_seeds: int) -> Iterator[Part]:
    """The parts of a chip: `seeds` programs of each kind, directed ones, and layers of `layer_seeds` seeds."""
    for kind in FUZZ_KINDS:
        for batch in _batches(range(seeds)):

            def run(place: _Place, kind: str = kind, batch: range = batch) -> None:
                _fuzz(place, kind, batch)

            yield Part(f"{kind}-{batch[0]}-{batch[-1]}", run, directed=False)
    for batch in _batches(range(_FIRST_MOVED, _FIRST_MOVED + max(1, seeds // 3))):

        def run_moved(place: _Place, batch: range = batch) -> None:
            _programs(place, _moved(place.chip, batch))

        yield Part(f"moved-{batch[0]}-{batch[-1]}", run_moved)
    core = covered_core(name)
    if core is not None:
        yield Part("tokens", lambda place: _programs(place, token_programs(place.chip)))
        yield Part("long", lambda place, core=core: _programs(place, [long_program(place.chip, core)]))
        yield Part("noise", lambda place: _programs(place, [noisy_program(place.chip, seed) for seed in range(4)]))
    if has_sparse(FUZZ_CHIPS[name]):
        yield Part("contradictions", lambda place: _programs(place, contradicting_programs(place.chip), expect_fault))
    if core is not None and FUZZ_CHIPS[name].n_cores > 1:
        for batch in _batches(range(max(len(RECIPES), seeds // 2))):

            def run_faults(place: _Place, batch: range = batch, core: int = core) -> None:
                _programs(place, (illegal_program(place.chip, seed, core)[0] for seed in batch), expect_fault)

            yield Part(f"faults-{batch[0]}-{batch[-1]}", run_faults, directed=False)
    if name in LAYER_CHIPS:
        yield Part(f"layers-{layer_seeds}", lambda place: _layers(place, layer_seeds))
    if name == BUS_CHIP:
        yield Part("buses", _buses, directed=False, open_buses=True)


def _batches(seeds: range) -> Iterator[range]:
    for first in range(0, len(seeds), _BATCH):
        yield seeds[first : first + _BATCH]


def run_part(part: Part, name: str, folder: Path, functional: Functional) -> Taken:
    """Run a part; `functional` has no samples yet."""
    data = folder / "data"
    shutil.rmtree(data, ignore_errors=True)
    data.mkdir(parents=True)
    taken = Taken()
    part.run(_Place(name, replace(part.model(name), coverage=data.resolve()), folder, functional, taken))
    taken.samples = functional.samples
    taken.counts = read_counts(sorted(data.glob("*.dat")))
    shutil.rmtree(data)  # tens of MB for each simulation
    return taken


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
        functional.instructions(core, unit, whole, program.chip.cores[core], program.chip.link_bytes)


_END = int(Opcode.END).to_bytes(INSTRUCTION_BYTES, "little")


def _fuzz(place: _Place, kind: str, seeds: range) -> None:
    """Programs of `tb.fuzz`."""
    report = fuzz(
        seeds, chips={place.name: place.chip}, kinds=(kind,), folder=place.folder / "failed", n_shrunk=0,
        models=lambda _chip, _simulator: place.model, observe=place.observe,
    )  # fmt: skip
    place.taken.programs += report.programs
    place.taken.failures += [str(path) for path in report.failures]


def _moved(chip: ChipParams, seeds: range) -> Iterator[Program]:
    """Of each seed a legal program at a far place, with early waits and with more of them, and one that signals."""
    for seed in seeds:
        program, _ = legal_program(chip, seed)
        yield with_early_waits(far_program(program, seed), seed)
        yield with_all_waits(far_program(program, seed + 1), seed)
        yield signal_program(chip, seed)


def _programs(
    place: _Place, programs: Iterable[Program], expect: Callable[[Program], Expectation] = expect_legal
) -> None:
    expectations = []
    for program in programs:
        try:
            expectations.append(expect(program))
        except Rejected:
            continue
    for first in range(0, len(expectations), _BATCH):
        for verdict in run_programs(place.model, expectations[first : first + _BATCH], place.folder / "work"):
            place.taken.programs += 1
            if verdict.differences:
                path = place.folder / "failed" / f"{verdict.expectation.program.name.replace(' ', '-')}.json"
                verdict.expectation.program.save(path, verdict.differences)
                place.taken.failures.append(str(path))
            else:
                place.observe(verdict)


def _layers(place: _Place, seeds: int) -> None:
    """Layers of all kinds and alignments."""
    cases = aligned_cases(place.chip, range(seeds))
    folder = place.folder / "layers"
    for first in range(0, len(cases), _LAYERS):
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        some = cases[first : first + _LAYERS]
        settings = _ROUGH if first // _LAYERS % 2 else MemorySettings(latency_cycles=20)
        try:
            ran = run_cases(lambda _: place.model, place.chip, some, settings, folder, counters=True)
        except AssertionError as error:
            place.taken.failures.append(f"layers on {place.name}: {error}")
            continue
        for check, result in ran:
            place.functional.run("", result.counters)
            _sample(place.functional, check)
            place.taken.launches += 1
        for case in some:
            place.functional.layer(case.kind, *alignments(case))
    shutil.rmtree(folder, ignore_errors=True)


def _buses(place: _Place) -> None:
    """The regression's bench of the chip on cocotbext-axi: stalls, error responses, bytes of registers."""
    folder = place.folder.resolve() / "buses"
    folder.mkdir(parents=True, exist_ok=True)
    cases = folder / "cases.pickle"
    cases.write_bytes(pickle.dumps(bus_cases(place.chip)))
    try:
        run_test_module(
            place.model, "tests.cosim.bus_bench", folder / "work", plusargs=[f"+cases={cases}"],
            expected_tests=BUS_TESTS,
        )  # fmt: skip
    except RunError as error:
        place.taken.failures.append(f"tests/cosim/bus_bench.py on {place.name}: {error}")
    place.taken.programs += BUS_TESTS
    shutil.rmtree(folder, ignore_errors=True)


def _sample(functional: Functional, check: Check) -> None:
    chip, memory = check.case.chip, check.plan.memory_image(check.case.image)
    for core, params in enumerate(chip.cores):
        for unit in Unit:
            at = check.launch.program_base + (3 * core + unit) * check.launch.program_stride
            stream = list(_stream(memory, at))
            functional.instructions(core, unit, stream, params, chip.link_bytes)


def _stream(memory: np.ndarray, at: int) -> Iterable[tuple[Opcode, dict[str, int]]]:
    while True:
        instruction = decode(memory[at : at + INSTRUCTION_BYTES].tobytes())
        yield instruction
        if instruction[0] == Opcode.END:
            return
        at += INSTRUCTION_BYTES
