"""Figures of runs that are kept in a file, by layer, for later runs to be compared with: docs/bench.json is one.

A layer is a line, so that a change of one shows as one line in a commit.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rtl.contract.params import ParameterError, chip_from_table, chip_table
from tb.errors import BenchError
from tb.files import write_atomically
from tb.report.summary import CLASSES, LayerSummary, Summary

__all__ = ["ASKED", "Figures", "KeptRun", "asked_of", "keep", "kept_runs", "read_records", "write_records"]

COLUMNS = ("name", "cycles", "estimated_cycles", *CLASSES, "bit_exact")
"""Of a layer's line; those of the traffic classes are DRAM bytes."""
ASKED = {"kind": "schedule", "chip": "chip", "memory": "memory", "sim": "simulator", "batch": "batch"}
"""What must be alike in two runs that are compared, and how it is called."""


@dataclass(frozen=True)
class Figures:
    """What is kept of a layer, or of a run as a whole.

    Attributes
    ----------
    dram_bytes : dict of str to int
        By traffic class.
    """

    name: str
    cycles: int
    estimated_cycles: int
    dram_bytes: Mapping[str, int]
    bit_exact: bool

    @property
    def moved(self) -> int:
        """DRAM bytes of all classes."""
        return sum(self.dram_bytes.values())


@dataclass(frozen=True)
class KeptRun:
    """A run, as it is kept.

    Attributes
    ----------
    asked : dict of str
        What it was asked for, under the names of `ASKED`, as JSON has it.
    """

    net: str
    cores: int
    asked: Mapping[str, Any]
    total: Figures
    layers: tuple[Figures, ...]

    @property
    def name(self) -> str:
        return self.total.name


def asked_of(facts: Mapping[str, Any]) -> dict[str, Any]:
    """What must be alike, of a run's facts, as JSON has it."""
    asked = json.loads(json.dumps({name: facts[name] for name in ASKED}))
    try:  # fields of a chip that are younger than its record have their defaults
        chip = json.loads(json.dumps(chip_table(chip_from_table(asked["chip"]))))
    except ParameterError:
        return asked
    return asked | {"chip": chip}


def keep(facts: Mapping[str, Any]) -> dict[str, Any]:
    """What comparisons need of a run, out of its summary as a dict: a record, its layers as lines of `COLUMNS`."""
    names = ("name", "net", "cores", *ASKED, "bit_exact", "cycles", "estimated_cycles", "dram_bytes")
    layers = [_line(row) for row in Summary.from_dict(facts).rows]
    return {name: facts[name] for name in names} | {"layers": layers}


def kept_runs(records: Iterable[Mapping[str, Any]]) -> list[KeptRun]:
    """Records as they are compared, without those of runs that failed."""
    return [_kept(record) for record in records if "layers" in record]


def write_records(file: Path, records: Sequence[Mapping[str, Any]], revision: str | None = None) -> None:
    """Write records whole or not at all.

    Raises
    ------
    OSError
        If they cannot be written.
    """
    write_atomically(file, "\n".join(_lines(records, revision)).encode())


def read_records(file: Path, what: str, remedy: str) -> list[dict[str, Any]]:
    """What `write_records` has written.

    Parameters
    ----------
    what, remedy : str
        How the user called the file, and what writes it anew, for the errors.

    Raises
    ------
    BenchError
        If it is no such file.
    """
    try:
        facts = json.loads(file.read_text())
    except OSError as error:
        raise BenchError(f"cannot read {what}: {error.strerror or error}; {remedy}") from error
    except ValueError as error:
        raise BenchError(f"{what} is not JSON ({error}); {remedy}") from error
    if isinstance(facts, dict) and "runs" in facts and "layer" not in facts:
        raise BenchError(f"{what} is of an older form, which keeps no layers; {remedy}")
    try:
        if tuple(facts["layer"]) != COLUMNS:
            raise BenchError(f"{what} keeps other figures of a layer than {', '.join(COLUMNS)}; {remedy}")
        kept_runs(facts["runs"])
        return facts["runs"]
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise BenchError(f"{what} holds no records of runs; {remedy}") from error


def _kept(record: Mapping[str, Any]) -> KeptRun:
    total = Figures(*(record[name] for name in ("name", "cycles", "estimated_cycles", "dram_bytes", "bit_exact")))
    return KeptRun(record["net"], record["cores"], asked_of(record), total, tuple(map(_figures, record["layers"])))


def _line(row: LayerSummary) -> list[Any]:
    moved = [row.dram_bytes.get(name, 0) for name in CLASSES]
    return [row.name, row.cycles, row.estimated_cycles, *moved, row.bit_exact]


def _figures(line: Sequence[Any]) -> Figures:
    name, cycles, estimated_cycles, *moved, bit_exact = line
    return Figures(name, cycles, estimated_cycles, dict(zip(CLASSES, moved, strict=True)), bit_exact)


def _lines(records: Sequence[Mapping[str, Any]], revision: str | None) -> Iterator[str]:
    yield "{"
    if revision is not None:
        yield f' "commit": {json.dumps(revision)},'
    yield f' "layer": {json.dumps(COLUMNS)},'
    yield ' "runs": ['
    for number, record in enumerate(records, 1):
        facts = [f"   {json.dumps(name)}: {json.dumps(value)}" for name, value in record.items() if name != "layers"]
        yield "  {"
        yield from (f"{fact}," for fact in facts[:-1])
        if "layers" in record:
            yield f"{facts[-1]},"
            yield '   "layers": ['
            yield ",\n".join(f"    {json.dumps(line)}" for line in record["layers"])
            yield "   ]"
        else:
            yield facts[-1]
        yield "  }" + "," * (number < len(records))
    yield " ]"
    yield "}\n"
