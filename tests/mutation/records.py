"""Results of campaigns, a file for each block, so that one that was interrupted goes on."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from tb.bench_report import commit
from tb.cache import content_key
from tests.mutation.blocks import BLOCKS, bench_path
from tests.mutation.campaign import ROOT, Result, Survivor
from tests.mutation.equivalence import Judgement, Verdict
from tests.mutation.netlist import Mutant

__all__ = ["Record", "Records"]


@dataclass(frozen=True)
class Record:
    """The result of a block, and what it is a result of."""

    result: Result
    mutants: int
    """That were asked for."""
    seed: int
    commit: str
    sources: str
    """Digest of the hardware, the bench and the campaign itself."""


def _sources(block: str) -> str:
    bench = bench_path(BLOCKS[block])
    folders = (ROOT / "rtl", ROOT / "golden", ROOT / "tests" / "mutation")
    files = {path for folder in folders for path in folder.rglob("*.py")}
    files |= {path for path in bench.parent.glob("*.py") if not path.name.startswith("test_")}
    files |= {*(ROOT / "tests").glob("*.py"), bench}
    return content_key(part for path in sorted(files) for part in (str(path.relative_to(ROOT)), path))


class Records:
    """What is kept in a folder."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def _path(self, block: str) -> Path:
        return self._folder / f"{block}.json"

    def keep(self, result: Result, *, mutants: int, seed: int) -> Record:
        record = Record(result, mutants, seed, commit(), _sources(result.block))
        self._folder.mkdir(parents=True, exist_ok=True)
        aside = self._path(result.block).with_suffix(".part")
        aside.write_text(json.dumps(asdict(record), indent=1, default=lambda verdict: verdict.name) + "\n")
        aside.replace(self._path(result.block))
        return record

    def find(self, block: str) -> Record | None:
        """The last result of a block, whatever it is a result of."""
        if not self._path(block).is_file():
            return None
        kept: dict[str, Any] = json.loads(self._path(block).read_text())
        result = Result(**kept["result"])
        result.survivors = [
            Survivor(
                Mutant(**one["mutant"]),
                Judgement(**one["judgement"] | {"verdict": Verdict[one["judgement"]["verdict"]]}),
            )
            for one in kept["result"]["survivors"]
        ]
        return Record(**kept | {"result": result})

    def current(self, block: str, *, mutants: int, seed: int) -> Record | None:
        """The result of a block, if it would be the same again."""
        record = self.find(block)
        if record and (record.mutants, record.seed, record.sources) == (mutants, seed, _sources(block)):
            return record
        return None
