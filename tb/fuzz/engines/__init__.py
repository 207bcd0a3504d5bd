"""Random programs by engine: one file and one line here for each."""

from __future__ import annotations

from rtl.contract.engines import Registry
from tb.fuzz.engines.array import ARRAY
from tb.fuzz.engines.fuzz import EngineFuzz
from tb.fuzz.engines.sparse import SPARSE
from tb.fuzz.engines.tap import TAP

__all__ = ["FUZZ"]

FUZZ: Registry[EngineFuzz] = Registry(
    "part in the random programs",
    {
        "array": ARRAY,
        "tap": TAP,
        "sparse": SPARSE,
    },
)
