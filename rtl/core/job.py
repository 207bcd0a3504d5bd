"""A COMPUTE instruction together with the SETUP in force: what the streamer and the weight loader work on."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from amaranth.hdl import Cat, Mux, Value, ValueLike, unsigned
from amaranth.lib import data

from rtl.contract.engines import ENGINES, EngineSpec
from rtl.contract.isa import Compute, Prefix, Setup
from rtl.contract.params import CoreParams

__all__ = [
    "SETUP_FIELDS", "chosen", "compute_fields", "fields_of", "is_one_of", "job_layout", "listing", "setup_layout",
]  # fmt: skip

_NOT_KEPT = {name for name, _ in Prefix} | {"reserved"}
SETUP_FIELDS = tuple(name for name, _ in Setup if name not in _NOT_KEPT)
"""All that a SETUP sets."""


def listing(core: CoreParams) -> dict[str, EngineSpec]:
    """The engines of the core whose passes are blocks, with lists behind the weights (`EngineSpec.lists`)."""
    return {name: spec for name, spec in ENGINES.of(core.engines).items() if spec.lists is not None}


def compute_fields(core: CoreParams) -> tuple[str, ...]:
    """All of a COMPUTE that some engine of the core looks at, its signals among it."""
    unseen = _NOT_KEPT if listing(core) else _NOT_KEPT | {"rounds"}
    return tuple(name for name, _ in Compute if name not in unseen)


def setup_layout(core: CoreParams) -> data.StructLayout:
    """The SETUP in force, with as many bits of options as the core's engines have."""
    bits = max(spec.options.size for spec in ENGINES.of(core.engines).values())
    return data.StructLayout(
        {name: unsigned(bits) if name == "options" else Setup[name].shape for name in SETUP_FIELDS}
    )


def job_layout(core: CoreParams) -> data.StructLayout:
    """A job; ``illegal``: nothing is to be done but report ILLEGAL_FIELD."""
    return data.StructLayout(
        {
            "setup": setup_layout(core),
            **{name: Compute[name].shape for name in compute_fields(core)},
            "illegal": unsigned(1),
        }
    )


def fields_of(spec: EngineSpec, setup: data.View) -> Mapping[str, Any]:
    """All fields of a SETUP (an instruction, or a `setup_layout`) by name, with the options of this engine."""
    options: Value = Value.cast(setup.options)[: spec.options.size]
    own = data.View(spec.options, options)
    return {name: setup[name] for name in SETUP_FIELDS} | {name: own[name] for name, _ in spec.options}


def is_one_of(engine: Value, specs: Mapping[str, EngineSpec]) -> Value:
    """Whether the engine with this code is one of these."""
    return Cat(engine == spec.code for spec in specs.values()).any()


def chosen(engine: Value, values: Mapping[str, ValueLike]) -> Value:
    """Of values by engine name the one of the engine with this code; some engine's if it is no code of theirs."""
    first, *others = values.items()
    result = Value.cast(first[1])
    for name, value in others:
        result = Mux(engine == ENGINES[name].code, value, result)
    return result
