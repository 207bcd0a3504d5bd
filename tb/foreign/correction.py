"""Corrections of a tool's cycles, fitted to cycles of the RTL: what `corrections/<tool>.json` holds, and their use."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from tb.errors import BenchError
from tb.files import write_atomically
from tb.foreign.tool import Prediction

__all__ = ["FOLDER", "TERMS", "ClassCorrection", "Corrected", "Correction", "HeldOut", "corrected", "load", "save"]

FOLDER = Path("corrections")
FORMAT = 1


def _excess(whole: float, part: float) -> float:
    """What is left of whole cycles; less than one is rounding."""
    return whole - part if whole - part >= 1 else 0.0


TERMS: dict[str, Callable[[Prediction], float]] = {
    "compute": lambda row: row.compute,
    "fill": lambda row: row.fill,
    "waiting": lambda row: row.waiting,
    "memory": lambda row: row.memory,
    "beyond": lambda row: _excess(row.memory, row.compute),
    "unpacked": lambda row: _excess(row.array, row.compute),
    "packed": lambda row: -_excess(row.compute, row.array) if row.array else 0.0,
    "sums": lambda row: row.sums,
    "constant": lambda row: 1.0,
}
"""Terms of a corrected figure, in cycles; each class has a factor for each, at least 0.

The first three are the tool's. `memory` is what the layer's least bytes take, `beyond` the part of it that computation
does not hide. `unpacked` are passes of the chip's array that the tool packs into others, `packed`, which counts down,
those that it does not pack and the chip does; `sums` are those of residuals.
"""


@dataclass(frozen=True)
class HeldOut:
    """Errors, relative and signed, of layers of networks that were left out of the fit, each network in turn."""

    layers: int
    networks: int
    raw_mae: float
    mae: float
    bias: float
    worst: float
    worst_layer: str


@dataclass(frozen=True)
class ClassCorrection:
    """Of one class of layers.

    Attributes
    ----------
    factors : mapping of str to float
        By term; terms that are left out have none.
    intervals : mapping of str to (float, float)
        95 % of the factors that fits to resampled layers have.
    why_raw : str
        Why the tool's own figure is kept; empty where it is corrected.
    least, most : float
        Cycles of the RTL of the layers fitted: the range of validity.
    errors : (float, float)
        5 % and 95 % of the held-out errors of corrected figures.
    """

    kind: str
    layers: int
    factors: Mapping[str, float]
    intervals: Mapping[str, tuple[float, float]]
    why_raw: str
    least: float
    most: float
    errors: tuple[float, float]
    held_out: HeldOut | None

    def cycles(self, row: Prediction) -> float:
        """Of a layer of this class."""
        if self.why_raw:
            return row.cycles
        return sum(factor * TERMS[term](row) for term, factor in self.factors.items())


@dataclass(frozen=True)
class Correction:
    """Of one tool, for one family of chips.

    Attributes
    ----------
    chips : sequence of mapping
        Of the layers fitted (`tb.foreign.tool.Target.facts`).
    networks : sequence of str
    classes : mapping of str to ClassCorrection
    rows : sequence of mapping
        The layers: network, name, class, cycles of the RTL, of the tool, corrected, and corrected by factors that the
        layer's network had no part in.
    """

    tool: str
    version: str
    chips: Sequence[Mapping[str, Any]]
    networks: Sequence[str]
    classes: Mapping[str, ClassCorrection]
    rows: Sequence[Mapping[str, Any]]


@dataclass(frozen=True)
class Corrected:
    """A corrected figure.

    Attributes
    ----------
    cycles : float
    low, high : float
        The interval of 90 %: what held-out errors of its class allow.
    raw : bool
        Whether it is the tool's own.
    within : bool
        Whether it is in the range of the layers fitted.
    """

    row: Prediction
    cycles: float
    low: float
    high: float
    raw: bool
    within: bool


def save(correction: Correction, folder: Path = FOLDER) -> Path:
    """Write it; the file."""
    path = folder / f"{correction.tool}.json"
    folder.mkdir(parents=True, exist_ok=True)
    write_atomically(path, (json.dumps({"format": FORMAT, **asdict(correction)}, indent=1) + "\n").encode())
    return path


def load(tool: str, folder: Path = FOLDER) -> Correction:
    """Read one.

    Raises
    ------
    BenchError
        If there is none, or it is damaged.
    """
    path = folder / f"{tool}.json"
    try:
        facts = json.loads(path.read_text(encoding="utf-8"))
        if facts.pop("format") != FORMAT:
            raise BenchError(f"{path} has another format; fit it again with make calibrate TOOLS={tool}")
        classes = {}
        for kind, each in facts.pop("classes").items():
            held, errors = each.pop("held_out"), tuple(each.pop("errors"))
            intervals = {name: (low, high) for name, (low, high) in each.pop("intervals").items()}
            known = HeldOut(**held) if held else None
            classes[kind] = ClassCorrection(**each, intervals=intervals, errors=errors, held_out=known)
        return Correction(**facts, classes=classes)
    except FileNotFoundError:
        raise BenchError(f"{path} is not there; fit it with make calibrate TOOLS={tool} RESULTS=folder") from None
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise BenchError(f"{path} is damaged ({error}); fit it again with make calibrate TOOLS={tool}") from error


def corrected(tool: str, rows: Sequence[Prediction], folder: Path = FOLDER) -> list[Corrected]:
    """A tool's figures, corrected by the factors of `corrections/<tool>.json`.

    Raises
    ------
    BenchError
        If there are none.
    """
    known = load(tool, folder).classes
    return [_corrected(row, known.get(row.kind)) for row in rows]


def _corrected(row: Prediction, of: ClassCorrection | None) -> Corrected:
    if of is None:
        return Corrected(row, row.cycles, 0.0, float("inf"), raw=True, within=False)
    cycles = of.cycles(row)
    low, high = cycles / (1 + of.errors[1]), cycles / (1 + of.errors[0])
    return Corrected(row, cycles, low, high, bool(of.why_raw), of.least <= cycles <= of.most)
