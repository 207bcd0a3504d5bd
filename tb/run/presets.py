"""The chips that come with the project: dense ones by their number of cores, others by name."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from rtl.contract.params import ChipParams, CoreParams, ParameterError, default_chip, load_chip

__all__ = ["MARKS", "NAMED_CHIPS", "chip_named", "preset_chip"]

MARKS = 256
"""Entries of a core's trace memory: layers of a launch that are told apart."""
FEW_CORES, MANY_TOKENS = 8, 128
"""Beyond so many cores a chip has more token counters: a part of a launch needs some for each core."""

_DENSE = CoreParams(marks=MARKS, multicast=True)
_SPARSE = replace(_DENSE, engines=("tap", "sparse"), rows=64, cols=64, acc_entries=256)
"""As many multipliers (8 x 32 PEs) and bytes of every memory as a dense core."""


def preset_chip(cores: int) -> ChipParams:
    """The default chip of so many cores, with what launches of many layers use; no layer takes longer for that."""
    return _chip(cores, _DENSE)


def _chip(cores: int, core: CoreParams) -> ChipParams:
    chip = default_chip(cores, core)
    return replace(chip, tokens=MANY_TOKENS) if cores > FEW_CORES else chip


NAMED_CHIPS: dict[str, ChipParams] = {f"sparse{cores}": _chip(cores, _SPARSE) for cores in (1, 4, 16)}
"""Meshes of cores with the sparse engine in place of the array; the rest is `preset_chip` of as many cores."""


def chip_named(name: str | Path, more: Mapping[str, ChipParams] | None = None) -> ChipParams:
    """A chip of `NAMED_CHIPS` or of `more`, or that of a TOML file.

    Raises
    ------
    ParameterError
        For a bad file, or a name without suffix that is neither a chip's nor a file's.
    """
    known = NAMED_CHIPS | dict(more or {})
    if str(name) in known:
        return known[str(name)]
    path = Path(name)
    if not path.suffix and not path.exists():
        raise ParameterError(f"unknown chip {str(name)!r}: use one of {', '.join(known)}, or a TOML file")
    return load_chip(path)
