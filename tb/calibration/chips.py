"""Chips of the kernels: presets and others, whose shapes differ in all that the estimator knows."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from rtl.contract.params import ChipParams, load_chip

__all__ = ["CHIPS", "chips_of"]

CHIPS = Path(__file__).parent / "chips"
"""Files of the chips."""
_QUICK = ("core1", "mesh2x2", "mesh2x2_8x8_8B")
_FULL = (*_QUICK, "mesh4x4", "mesh4x2_32x8_32B")


def chips_of(files: str | None, *, full: bool) -> dict[str, ChipParams]:
    """Chips by name, those of a list of TOML files or the usual ones.

    Raises
    ------
    ParameterError
        If a file holds no chip.
    """
    paths: Sequence[Path]
    if files is None:
        paths = [CHIPS / f"{name}.toml" for name in (_FULL if full else _QUICK)]
    else:
        paths = [Path(file.strip()) for file in files.split(",")]
    return {path.stem: load_chip(path) for path in paths}
