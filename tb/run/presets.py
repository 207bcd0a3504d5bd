"""The chips that come with a number of cores."""

from __future__ import annotations

from dataclasses import replace

from rtl.contract.params import ChipParams, CoreParams, default_chip

__all__ = ["MARKS", "preset_chip"]

MARKS = 256
"""Entries of a core's trace memory: layers of a launch that are told apart."""
FEW_CORES, MANY_TOKENS = 8, 128
"""Beyond so many cores a chip has more token counters: a part of a launch needs some for each core."""


def preset_chip(cores: int) -> ChipParams:
    """The default chip of so many cores, with what launches of many layers use; no layer takes longer for that."""
    chip = default_chip(cores, CoreParams(marks=MARKS, multicast=True))
    return replace(chip, tokens=MANY_TOKENS) if cores > FEW_CORES else chip
