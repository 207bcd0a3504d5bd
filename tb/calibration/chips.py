"""Chips of the kernels: presets and others, whose shapes differ in all that the estimator knows."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from rtl.contract.params import ChipParams, load_chip

__all__ = ["CHIPS", "chips_of", "unseen_chips_of"]

CHIPS = Path(__file__).parent / "chips"
"""Files of the chips."""
_QUICK = ("core1", "mesh2x2")
_FULL = (*_QUICK, "mesh4x4")
_UNSEEN = ("mesh2x2_8x8_8B", "mesh4x2_32x8_32B")


def chips_of(files: str | None, *, full: bool) -> dict[str, ChipParams]:
    """Chips whose kernels are fitted, by name: those of a list of TOML files or the usual ones.

    Raises
    ------
    ParameterError
        If a file holds no chip.
    """
    return _chips(files, _FULL if full else _QUICK)


def unseen_chips_of(files: str | None, *, full: bool) -> dict[str, ChipParams]:
    """Chips whose kernels only judge the fit: as `chips_of`.

    Raises
    ------
    ParameterError
        If a file holds no chip.
    """
    return _chips(files, _UNSEEN if full else _UNSEEN[:1])


def _chips(files: str | None, usual: Sequence[str]) -> dict[str, ChipParams]:
    paths: Sequence[Path]
    if files is None:
        paths = [CHIPS / f"{name}.toml" for name in usual]
    else:
        paths = [Path(file.strip()) for file in files.split(",")]
    return {path.stem: load_chip(path) for path in paths}
