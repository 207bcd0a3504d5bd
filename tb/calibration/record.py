"""The record of a calibration: all that its page and picture are made of, and a file of it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from estimator.bands import Bands
from estimator.coefficients import Evidence
from tb.calibration.validation import Errors, JudgedLayer
from tb.errors import BenchError
from tb.files import write_atomically

__all__ = ["Calibration", "JudgedKernel", "JudgedMapping"]


@dataclass(frozen=True)
class JudgedKernel:
    """A kernel, and its predictions before and after the fit.

    Attributes
    ----------
    fitted : bool
        Its chip is one of those that were fitted.
    """

    chip: str
    effect: str
    name: str
    cycles: int
    before: float
    after: float
    fitted: bool = True


@dataclass(frozen=True)
class JudgedMapping:
    """A layer that was run with several mappings.

    Attributes
    ----------
    chosen : int
        Cycles of the one that the scheduler takes.
    candidates : tuple of (float, int)
        Predicted and measured cycles of all, by predicted cycles.
    """

    net: str
    chip: str
    name: str
    op: str
    chosen: int
    candidates: tuple[tuple[float, int], ...]

    @property
    def best(self) -> int:
        return min(cycles for _, cycles in self.candidates)

    @property
    def lost(self) -> float:
        """Cycles that the choice costs, as a share of the best."""
        return self.chosen / self.best - 1


@dataclass(frozen=True)
class Calibration:
    """What one `make calibrate` found.

    Attributes
    ----------
    kernels_set : str
        quick or full.
    message : str
        What became of the fit.
    values : dict of str to (float, float)
        Coefficients before and after.
    """

    commit: str
    hardware: str
    kernels_set: str
    seed: int
    message: str
    values: Mapping[str, tuple[float, float]]
    evidence: Mapping[str, Evidence]
    kernels: tuple[JudgedKernel, ...]
    held_out: tuple[tuple[str, ...], ...] = ()
    layers: tuple[JudgedLayer, ...] = ()
    bands: Bands = field(default_factory=Bands)
    mappings: tuple[JudgedMapping, ...] = ()

    @property
    def chips(self) -> tuple[str, ...]:
        """Chips of the kernels, fitted or not."""
        return tuple(dict.fromkeys(kernel.chip for kernel in self.kernels))

    def kernel_errors(self, chip: str, *, before: bool = False) -> Errors:
        """Errors of a chip's kernels."""
        kernels = [kernel for kernel in self.kernels if kernel.chip == chip]
        return Errors.of((kernel.before if before else kernel.after, kernel.cycles) for kernel in kernels)

    def is_fitted(self, chip: str) -> bool:
        """Whether the coefficients were fitted to kernels of a chip."""
        return any(kernel.fitted for kernel in self.kernels if kernel.chip == chip)

    def save(self, file: Path) -> None:
        """Write it whole or not at all."""
        write_atomically(file, (json.dumps(_rounded(asdict(self)), indent=0) + "\n").encode())

    @staticmethod
    def load(file: Path) -> Calibration:
        """Read it.

        Raises
        ------
        BenchError
            If the file is not there or holds something else.
        """
        try:
            data = json.loads(file.read_text())
            return Calibration(
                **{
                    **data,
                    "values": {name: tuple(pair) for name, pair in data["values"].items()},
                    "evidence": {
                        name: _evidence(entry)
                        for name, entry in data["evidence"].items()
                    },
                    "kernels": tuple(JudgedKernel(**entry) for entry in data["kernels"]),
                    "held_out": tuple(map(tuple, data["held_out"])),
                    "layers": tuple(JudgedLayer(**entry) for entry in data["layers"]),
                    "bands": Bands.read(data["bands"]),
                    "mappings": tuple(
                        JudgedMapping(**{**entry, "candidates": tuple(map(tuple, entry["candidates"]))})
                        for entry in data["mappings"]
                    ),
                }
            )
        except OSError as error:
            raise BenchError(f"cannot read {file}: {error.strerror}; run make calibrate first") from error
        except (ValueError, KeyError, TypeError) as error:
            raise BenchError(f"{file} is no record of a calibration: {error!r}; run make calibrate") from error


def _evidence(entry: dict[str, Any]) -> Evidence:
    interval = entry["interval"]
    return Evidence(entry["design"], interval and tuple(interval), tuple(entry["kernels"]))


def _rounded(value: Any) -> Any:
    """Fractions with four digits behind the point: a page shows no more."""
    if isinstance(value, float):
        return round(value, 4)
    if isinstance(value, dict):
        return {key: _rounded(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [_rounded(each) for each in value]
    return value
