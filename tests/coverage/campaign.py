"""Runs the programs and layers of the regression on models with counters in, and gathers what they covered.

What a part covered is kept in a file under the content of all that it depends on: an interrupted campaign goes on where
it was, and a larger one reuses what a smaller one ran.
"""

from __future__ import annotations

import pickle
import time
import zlib
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from rtl.contract.params import ChipParams
from rtl.emit import emit
from tb.files import write_atomically
from tb.fuzz.chips import FUZZ_CHIPS
from tb.model.cache import content_key
from tests.coverage.functional import Functional
from tests.coverage.models import CAMPAIGN_CHIPS, covered_model, monitors
from tests.coverage.monitor import MONITOR, bin_lines, legal_turns
from tests.coverage.parts import Part, Taken, parts, run_part
from tests.coverage.points import Chip, Point, RawPoint, merge, source_lines
from tests.coverage.sparse import SPARSE_MONITOR, has_sparse, sparse_bin_lines

__all__ = ["Gathered", "gather", "kept", "watched"]

ROOT = Path(__file__).parents[2]
_BEHIND_THE_RUN = ("__main__.py", "campaign.py", "exclusions.py", "report.py", "test_coverage.py")
"""Files of this folder that do not change what a part covers."""


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
    turns = set().union(*(legal_turns(FUZZ_CHIPS[name]) for name in CAMPAIGN_CHIPS))
    functional = Functional(turns)
    hits: Counter[Point] = Counter()
    sources: dict[tuple[str, str], str] = {}
    total = Taken()
    keys = {directed: content_key(_sources_of_a_run(directed)) for directed in (False, True)}
    for name in CAMPAIGN_CHIPS:
        design, model = covered_model(name)
        say(f"{name}: model {'from the cache' if model.cached else f'built in {model.build_s:.0f} s'}")
        taken = Taken()
        for part in parts(name, seeds, layer_seeds):
            path = folder / "parts" / f"{name}-{part.name}.pickle"
            key = content_key([keys[part.directed], part.model(name).directory.name, name, part.name])

            def now(part: Part = part, name: str = name) -> Taken:
                return run_part(part, name, folder, Functional(turns))

            began = time.perf_counter()
            found, reused = kept(path, key, now)
            what = "kept from an earlier run" if reused else f"{time.perf_counter() - began:.0f} s"
            say(f"{name}: {part.name}: {found.programs + found.launches} runs, {len(found.failures)} failed, {what}")
            taken.add(found)
        functional.samples.update(taken.samples)
        watched(functional, taken.counts, FUZZ_CHIPS[name])
        of_bins = monitors(FUZZ_CHIPS[name])
        texts = {path.name: path.read_text() for path in design.sources if path.name not in of_bins}
        merge(Chip(name, texts), taken.counts, hits)
        sources |= _places(FUZZ_CHIPS[name], folder / "sources")
        taken.counts.clear()
        total.add(taken)
    return Gathered(hits, sources, functional, total.programs, total.launches, total.failures)


def kept(path: Path, key: str, run: Callable[[], Taken]) -> tuple[Taken, bool]:
    """What a part covered, and whether a file of the same key said so already; a part with failures is not kept."""
    try:
        written, taken = pickle.loads(zlib.decompress(path.read_bytes()))
        if written == key:
            return taken, True
    except (OSError, EOFError, ValueError, TypeError, AttributeError, ImportError, zlib.error, pickle.PickleError):
        pass  # none there, or not one of ours
    taken = run()
    if not taken.failures:
        write_atomically(path, zlib.compress(pickle.dumps((key, taken)), 1))
    return taken, False


def _sources_of_a_run(directed: bool) -> Iterator[str | Path]:
    """All that decides, beside the model, what a part runs and counts."""
    others = _BEHIND_THE_RUN if directed else (*_BEHIND_THE_RUN, "stimulus.py")
    ours = [path for path in sorted((ROOT / "tests/coverage").glob("*.py")) if path.name not in others]
    bench = [path for name in ("cases", "chips", "layers") for path in ROOT.glob(f"tests/{name}.py")]
    folders = ("golden", "rtl", "sched", "tb")
    all_of = [path for name in folders for path in sorted((ROOT / name).rglob("*")) if path.suffix in (".py", ".json")]
    for path in [*ours, *bench, *sorted((ROOT / "tests/cosim").glob("bus_*.py")), *all_of]:
        yield str(path.relative_to(ROOT))
        yield path


def _places(chip: ChipParams, folder: Path) -> dict[tuple[str, str], str]:
    emitted = emit(chip, folder, places=True)
    return source_lines({file.name: file.read_text() for file in emitted.files})


def watched(functional: Functional, counts: Mapping[RawPoint, int], chip: ChipParams) -> None:
    """The bins of the monitors that were hit."""
    turns, legal = bin_lines(), legal_turns(chip)
    sparse = sparse_bin_lines(chip) if has_sparse(chip) else {}
    for (file, line, _, comment, _), count in counts.items():
        if comment != "if" or not count:
            continue
        if file == f"{MONITOR}.v":
            i, o, occupancy = turns[line]
            assert (i, o) in legal, f"a flit turned from {i} to {o}"
            functional.turn(i, o, occupancy)
        elif file == f"{SPARSE_MONITOR}.v" and line in sparse:
            functional.watched(*sparse[line])
