"""Runs the programs and layers of the regression on models with counters in, and gathers what they covered.

A campaign is made of parts, each a few simulations of one chip. What a part covered is kept in a file under the content
of all that it depends on: an interrupted campaign goes on where it was, and a larger one reuses what a smaller one ran.
"""

from __future__ import annotations

import pickle
import shutil
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from rtl.emit import emit
from rtl.isa import INSTRUCTION_BYTES, Opcode, Unit, decode
from rtl.params import ChipParams
from tb.build import Model
from tb.cache import content_key
from tb.errors import RunError
from tb.fuzz.campaign import KINDS as FUZZ_KINDS
from tb.fuzz.campaign import fuzz
from tb.fuzz.chips import FUZZ_CHIPS
from tb.fuzz.judge import Rejected, expect_legal, outcome_status
from tb.fuzz.legal import legal_program
from tb.fuzz.program import Program
from tb.fuzz.runner import Verdict, run_programs
from tb.job import write_atomically
from tb.memory import MemorySettings
from tb.session import run_test_module
from tests.cosim.bus_bench import TESTS as BUS_TESTS
from tests.cosim.bus_cases import bus_cases
from tests.coverage.functional import Functional, Sample
from tests.coverage.models import BUS_CHIP, CAMPAIGN_CHIPS, covered_bus_model, covered_model
from tests.coverage.monitor import MONITOR, bin_lines, legal_turns
from tests.coverage.points import Chip, Point, RawPoint, merge, read_counts, source_lines
from tests.coverage.stimulus import (
    aligned_cases,
    alignments,
    far_program,
    signal_program,
    token_programs,
    with_all_waits,
    with_early_waits,
)
from tests.layers import Check, run_cases

__all__ = ["Gathered", "Taken", "gather", "kept"]

ROOT = Path(__file__).parents[2]
LAYER_CHIPS = ("1x1_8x8", "3x2_4x4")
_BATCH = 16
"""Programs of a simulation."""
_LAYERS = 12
_ROUGH = MemorySettings(latency_cycles=33, bytes_per_cycle=3.5, stall_256=90, seed=7)
_FIRST_MOVED = 100_000
"""Seeds of the programs with other waits and places, apart from the others."""
_BEHIND_THE_RUN = ("__main__.py", "exclusions.py", "report.py", "test_coverage.py")
"""Files of this folder that do not change what a part covers."""


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
class Gathered:
    """What a campaign covered."""

    hits: Counter[Point]
    sources: Mapping[tuple[str, str], str]
    """(module, signal) to the place in the source of the hardware."""
    functional: Functional
    programs: int
    launches: int
    failures: list[str]


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


_Part = Callable[[_Place], None]


def gather(seeds: int, layer_seeds: int, folder: Path, say: Callable[[str], None]) -> Gathered:
    """Run `seeds` programs of each kind on each chip and the layers of `layer_seeds` seeds on two of them."""
    turns = set().union(*(legal_turns(FUZZ_CHIPS[name]) for name in CAMPAIGN_CHIPS))
    functional = Functional(turns)
    hits: Counter[Point] = Counter()
    sources: dict[tuple[str, str], str] = {}
    total = Taken()
    sources_key = content_key(_sources_of_a_run())
    for name in CAMPAIGN_CHIPS:
        design, model = covered_model(name)
        say(f"{name}: model {'from the cache' if model.cached else f'built in {model.build_s:.0f} s'}")
        taken = Taken()
        for part, run in _parts(name, seeds, layer_seeds):
            used = covered_bus_model() if run is _buses else model
            path = folder / "parts" / f"{name}-{part}.pickle"
            key = content_key([sources_key, used.directory.name, name, part])

            def now(run: _Part = run, used: Model = used, name: str = name) -> Taken:
                return _run(run, name, used, folder, turns)

            began = time.perf_counter()
            found, reused = kept(path, key, now)
            what = "kept from an earlier run" if reused else f"{time.perf_counter() - began:.0f} s"
            say(f"{name}: {part}: {found.programs + found.launches} runs, {len(found.failures)} failed, {what}")
            taken.add(found)
        functional.samples.update(taken.samples)
        _turns(functional, taken.counts, FUZZ_CHIPS[name])
        texts = {path.name: path.read_text() for path in design.sources if path.name != f"{MONITOR}.v"}
        merge(Chip(name, texts), taken.counts, hits)
        sources |= _places(FUZZ_CHIPS[name], folder / "sources")
        taken.counts.clear()
        total.add(taken)
    return Gathered(hits, sources, functional, total.programs, total.launches, total.failures)


def kept(path: Path, key: str, run: Callable[[], Taken]) -> tuple[Taken, bool]:
    """What a part covered, and whether a file of the same key said so already; a part with failures is not kept."""
    try:
        written, taken = pickle.loads(path.read_bytes())
        if written == key:
            return taken, True
    except (OSError, EOFError, ValueError, TypeError, pickle.UnpicklingError):
        pass  # none there, or not one of ours
    taken = run()
    if not taken.failures:
        write_atomically(path, pickle.dumps((key, taken)))
    return taken, False


def _sources_of_a_run() -> Iterator[str | Path]:
    """All that decides, beside the model, what a part runs and counts."""
    ours = [path for path in sorted((ROOT / "tests/coverage").glob("*.py")) if path.name not in _BEHIND_THE_RUN]
    bench = [path for name in ("cases", "chips", "layers") for path in ROOT.glob(f"tests/{name}.py")]
    folders = ("golden", "rtl", "sched", "tb")
    others = [path for name in folders for path in sorted((ROOT / name).rglob("*")) if path.suffix in (".py", ".json")]
    for path in [*ours, *bench, *sorted((ROOT / "tests/cosim").glob("bus_*.py")), *others]:
        yield str(path.relative_to(ROOT))
        yield path


def _parts(name: str, seeds: int, layer_seeds: int) -> Iterator[tuple[str, _Part]]:
    for kind in FUZZ_KINDS:
        for batch in _batches(range(seeds)):

            def run(place: _Place, kind: str = kind, batch: range = batch) -> None:
                _fuzz(place, kind, batch)

            yield f"{kind}-{batch[0]}-{batch[-1]}", run
    for batch in _batches(range(_FIRST_MOVED, _FIRST_MOVED + max(1, seeds // 3))):

        def run_moved(place: _Place, batch: range = batch) -> None:
            _programs(place, _moved(place.chip, batch))

        yield f"moved-{batch[0]}-{batch[-1]}", run_moved
    if any("core" in file for file in CAMPAIGN_CHIPS[name]):
        yield "tokens", lambda place: _programs(place, token_programs(place.chip))
    if name in LAYER_CHIPS:
        yield f"layers-{layer_seeds}", lambda place: _layers(place, layer_seeds)
    if name == BUS_CHIP:
        yield "buses", _buses


def _batches(seeds: range) -> Iterator[range]:
    for first in range(0, len(seeds), _BATCH):
        yield seeds[first : first + _BATCH]


def _run(run: _Part, name: str, model: Model, folder: Path, turns: Iterable[tuple[str, str]]) -> Taken:
    data = folder / "data"
    shutil.rmtree(data, ignore_errors=True)
    data.mkdir(parents=True)
    functional, taken = Functional(turns), Taken()
    run(_Place(name, replace(model, coverage=data.resolve()), folder, functional, taken))
    taken.samples = functional.samples
    taken.counts = read_counts(sorted(data.glob("*.dat")))
    shutil.rmtree(data)  # tens of MB for each simulation
    return taken


def _places(chip: ChipParams, folder: Path) -> dict[tuple[str, str], str]:
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


def _fuzz(place: _Place, kind: str, seeds: range) -> None:
    """Programs of `tb.fuzz`."""
    report = fuzz(
        seeds, chips=(place.name,), kinds=(kind,), folder=place.folder / "failed", n_shrunk=0,
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


def _programs(place: _Place, programs: Iterable[Program]) -> None:
    expectations = []
    for program in programs:
        try:
            expectations.append(expect_legal(program))
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
