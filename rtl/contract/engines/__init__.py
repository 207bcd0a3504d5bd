"""The engines that a core may have: one file and one line here for each."""

from __future__ import annotations

from rtl.contract.engines.array import ARRAY
from rtl.contract.engines.registry import EngineError, Registry
from rtl.contract.engines.sparse import SPARSE
from rtl.contract.engines.spec import CoreShape, EngineSpec, Lists, SetupFields, Specs
from rtl.contract.engines.tap import TAP

__all__ = ["ENGINES", "CoreShape", "EngineError", "EngineSpec", "Lists", "Registry", "SetupFields"]

ENGINES = Specs(
    ARRAY,
    TAP,
    SPARSE,
)
