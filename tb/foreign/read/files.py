"""Files of other tools, read strictly: what is unknown or missing is refused by name."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from tb.errors import BenchError
from tb.foreign.tool import strict

__all__ = ["number", "read_json", "read_table", "read_text", "table", "value_at"]


def read_text(path: Path) -> str:
    """The text of a file.

    Raises
    ------
    BenchError
        If it cannot be read.
    """
    try:
        return path.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise BenchError(f"{path} is not there; run the tool in its folder first") from None
    except (OSError, UnicodeDecodeError) as error:
        raise BenchError(f"{path} cannot be read ({error}); take the tool's own output") from error


def read_json(path: Path) -> Any:
    """What a JSON file holds.

    Raises
    ------
    BenchError
        If it cannot be read, or is none.
    """
    try:
        return json.loads(read_text(path))
    except json.JSONDecodeError as error:
        raise BenchError(f"{path} is no JSON ({error}); take the tool's own output") from error


def read_table(path: Path, columns: Sequence[str]) -> list[dict[str, str]]:
    """Rows of a table with commas, by column; as `table`."""
    return table(read_text(path), columns, str(path))


def table(text: str, columns: Sequence[str], where: str) -> list[dict[str, str]]:
    """Rows of a table with commas, by column; a comma at the end of a line is nothing.

    Raises
    ------
    BenchError
        For an unknown or missing column, or a row of another length.
    """
    lines = [[field.strip() for field in line.rstrip().rstrip(",").split(",")] for line in text.splitlines() if line]
    if not lines:
        raise BenchError(f"{where} is empty; run the tool again")
    strict(where, lines[0], columns)
    for number, line in enumerate(lines[1:], 2):
        if len(line) != len(lines[0]):
            raise BenchError(f"{where}, line {number}: {len(line)} values, {len(lines[0])} columns; run the tool again")
    return [dict(zip(lines[0], line, strict=True)) for line in lines[1:]]


def number(row: Mapping[str, str], name: str, where: object) -> float:
    """A figure of a row, at least 0.

    Raises
    ------
    BenchError
        If it is none.
    """
    try:
        value = float(row[name])
    except ValueError:
        value = math.nan
    if not (math.isfinite(value) and value >= 0):
        raise BenchError(f"{where}: {name} is {row[name]!r}, no figure; run the tool again")
    return value


def value_at(data: Any, keys: Sequence[str], where: object) -> float:
    """A number inside mappings.

    Raises
    ------
    BenchError
        If there is none.
    """
    for key in keys:
        if not isinstance(data, Mapping) or key not in data:
            raise BenchError(f"{where}: {'.'.join(keys)} is missing; take the tool's own output")
        data = data[key]
    if isinstance(data, bool) or not isinstance(data, int | float) or not math.isfinite(data) or data < 0:
        raise BenchError(f"{where}: {'.'.join(keys)} is {data!r}, no figure; run the tool again")
    return float(data)
