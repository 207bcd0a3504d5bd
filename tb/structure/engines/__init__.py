"""Expected structure of the engines: one file and one line here for each."""

from __future__ import annotations

from rtl.contract.engines import Registry
from tb.structure.engines.array import ARRAY
from tb.structure.engines.sparse import SPARSE
from tb.structure.engines.structure import EngineStructure
from tb.structure.engines.tap import TAP

__all__ = ["STRUCTURE"]

STRUCTURE: Registry[EngineStructure] = Registry(
    "expected structure",
    {
        "array": ARRAY,
        "tap": TAP,
        "sparse": SPARSE,
    },
)
