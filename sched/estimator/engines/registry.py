"""Engines whose cycles are known, by the code that a SETUP gives."""

from __future__ import annotations

from estimator.engines.engine import EngineTiming

__all__ = ["register", "registered", "setup_fields", "timing_of", "withdraw"]

_TIMINGS: dict[int, EngineTiming] = {}


def register(code: int, timing: EngineTiming) -> None:
    """Know an engine's cycles from now on."""
    if code in _TIMINGS:
        raise ValueError(f"engine {code} is registered already: withdraw it first")
    _TIMINGS[code] = timing


def withdraw(code: int) -> None:
    """Forget an engine."""
    del _TIMINGS[code]


def timing_of(code: int) -> EngineTiming:
    """Cycles of the engine of that code.

    Raises
    ------
    ValueError
        If none is registered.
    """
    if code not in _TIMINGS:
        raise ValueError(f"engine {code} has no timing: register one (estimator.engines.register)")
    return _TIMINGS[code]


def registered() -> tuple[tuple[int, EngineTiming], ...]:
    """Engines that are registered, with their codes."""
    return tuple(_TIMINGS.items())


def setup_fields() -> frozenset[str]:
    """Fields of a SETUP on which the cycles of any engine depend."""
    return frozenset({"engine"}).union(*(timing.setup_fields for timing in _TIMINGS.values()))
