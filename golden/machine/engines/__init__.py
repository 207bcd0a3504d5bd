"""Meaning of each engine's passes: one file and one line here for each."""

from golden.machine.engines.array import ARRAY
from golden.machine.engines.engine import EngineModel, Sums
from golden.machine.engines.sparse import SPARSE
from golden.machine.engines.tap import TAP
from rtl.contract.engines import ENGINES, EngineSpec, Registry

__all__ = ["MODELS", "EngineModel", "Sums", "engine_of"]

MODELS: Registry[EngineModel] = Registry(
    "model of the machine",
    {
        "array": ARRAY,
        "tap": TAP,
        "sparse": SPARSE,
    },
)


def engine_of(code: int) -> tuple[EngineSpec, EngineModel]:
    """Engine that a legal SETUP names."""
    spec = ENGINES.by_code(code)
    assert spec is not None, f"no engine {code} in a program that runs"
    return spec, MODELS[spec.name]
