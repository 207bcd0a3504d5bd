"""Fingerprint of the hardware, by which figures measured on it are known to be of other hardware."""

from __future__ import annotations

from functools import cache

from rtl.contract.params import CoreParams, default_chip
from tb.model.build import HDL_DIR, emit_chip
from tb.model.cache import content_key

__all__ = ["hardware_fingerprint"]

_SAMPLE = default_chip(
    2, CoreParams(4, 4, act_bytes=4096, weight_bytes=4096, acc_entries=64, param_blocks=8, multicast=True)
)
"""A small chip with all kinds of blocks."""


@cache
def hardware_fingerprint() -> str:
    """Digest of the Verilog of a small chip, and of the external memory of the bench.

    It stays the same where the sources change and the hardware does not, and where something is added that chips may
    have and this one does not.
    """
    memory = sorted(path for path in HDL_DIR.iterdir() if "memory" in path.name)
    return content_key([*sorted(path.read_text() for path in emit_chip(_SAMPLE).sources), *memory])[:16]
