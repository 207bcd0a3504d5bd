"""Results of campaigns, a file for each block, so that one that was interrupted goes on."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from tb.files import write_atomically
from tb.model.cache import content_key
from tests.mutation.blocks import BLOCKS, bench_path
from tests.mutation.campaign import ROOT, Result, Survivor
from tests.mutation.equivalence import Judgement, Verdict
from tests.mutation.netlist import Mutant

__all__ = ["Record", "Records", "load_all", "save_all", "sources"]


@dataclass(frozen=True)
class Record:
    """The result of a block, and what it is a result of."""

    result: Result
    mutants: int
    """That were asked for."""
    seed: int
    commit: str
    sources: str
    """`sources` of the block."""


def sources(block: str) -> str:
    """Digest of all that the result of a block depends on."""
    bench = bench_path(BLOCKS[block])
    files = {*(ROOT / "rtl").rglob("*.py"), *(ROOT / "rtl").rglob("*.v"), *(ROOT / "golden").rglob("*.py")}
    helpers = {
        path for folder in (ROOT / "tests", ROOT / "tests" / "mutation", bench.parent) for path in folder.glob("*.py")
    }
    files |= {bench, *(path for path in helpers if not path.name.startswith("test_"))}
    return content_key(part for path in sorted(files) for part in (str(path.relative_to(ROOT)), path))


def load_all(path: Path) -> dict[str, Record]:
    """The records of a file by their blocks, none without the file; not those of blocks that there are no longer."""
    entries = json.loads(path.read_text()) if path.is_file() else []
    return {record.result.block: record for record in map(_read, entries) if record.result.block in BLOCKS}


def save_all(path: Path, records: Iterable[Record]) -> None:
    write_atomically(path, _written([asdict(record) for record in records]))


def _written(content: object) -> bytes:
    return (json.dumps(content, indent=1, default=lambda verdict: verdict.name) + "\n").encode()


def _read(entry: Mapping[str, Any]) -> Record:
    result = Result(**entry["result"])
    result.survivors = [
        Survivor(
            Mutant(**one["mutant"]), Judgement(**one["judgement"] | {"verdict": Verdict[one["judgement"]["verdict"]]})
        )
        for one in entry["result"]["survivors"]
    ]
    return Record(**{**entry, "result": result})


class Records:
    """What is kept in a folder."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def _path(self, block: str) -> Path:
        return self._folder / f"{block}.json"

    def keep(self, record: Record) -> None:
        write_atomically(self._path(record.result.block), _written(asdict(record)))

    def find(self, block: str) -> Record | None:
        """The last result of a block, whatever it is a result of."""
        if not self._path(block).is_file():
            return None
        return _read(json.loads(self._path(block).read_text()))

    def current(self, block: str, *, mutants: int, seed: int) -> Record | None:
        """The result of a block, if it would be the same again."""
        record = self.find(block)
        if record and (record.mutants, record.seed, record.sources) == (mutants, seed, sources(block)):
            return record
        return None
