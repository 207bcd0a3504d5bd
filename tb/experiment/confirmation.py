"""Confirmation of a record by a check: of other sources, but a run of today would simulate the same to the byte."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from tb.experiment.records import Record

__all__ = ["confirmed"]

_ESTIMATES = ("estimated_cycles", "schedule_s", "dense_cycles")
"""Figures of a run that come from the scheduler and the estimator, at whatever depth of a record."""
_MEASURED = ("cycles", "efficiency", "compute_cycles", "processes", "energy", "program")
"""Figures that a check has of its own, by estimated cycles; a run has counted them. Bytes of programs among them: cores
ask for instructions in blocks, and how many behind an END is a matter of when that comes."""


class _Changed(Exception):
    """Something other than an estimate is not what it was."""


def confirmed(run: Record, foreseen: Record, fingerprint: str) -> Record | None:
    """The record of a run with today's estimates, if a run of today would count what it has; otherwise None.

    Cycles, bytes and bits are those of the old run: the fingerprint is that of the chip's Verilog, the programs, the
    memory image and the pictures. Whatever else a check tells, that is no estimate, must be what the record has:
    bytes and events that programs determine, and energies at today's prices.

    Parameters
    ----------
    foreseen : Record
        What a check of today says of the point.
    fingerprint : str
        And of the run that it would be.
    """
    if fingerprint != run.fingerprint:
        return None
    try:
        facts = _renewed(run.facts, foreseen.facts)
        _demand_energies(run.facts, foreseen.facts)
    except _Changed:
        return None
    return replace(run, facts=facts, sources=foreseen.sources)


def _renewed(known: Any, foreseen: Any) -> Any:
    """What is known, with the estimates of what is foreseen."""
    if isinstance(known, Mapping) and isinstance(foreseen, Mapping):
        return {name: _renewed_figure(name, value, foreseen) for name, value in known.items()}
    if isinstance(known, list) and isinstance(foreseen, list) and len(known) == len(foreseen):
        return [_renewed(mine, yours) for mine, yours in zip(known, foreseen, strict=True)]
    if known != foreseen:
        raise _Changed
    return known


def _renewed_figure(name: str, value: Any, foreseen: Mapping[str, Any]) -> Any:
    if name not in foreseen or name in _MEASURED:
        return value
    return foreseen[name] if name in _ESTIMATES else _renewed(value, foreseen[name])


def _demand_energies(known: Mapping[str, Any], foreseen: Mapping[str, Any]) -> None:
    """Energies as today's prices have them. They are foreseen for estimated cycles, on which the static share alone
    depends, in proportion."""
    if known.get("energy", {}).keys() != foreseen.get("energy", {}).keys():
        raise _Changed
    for name, energy in known.get("energy", {}).items():
        today = dict(foreseen["energy"][name]["of"])
        today["static"] *= known["cycles"] / foreseen["estimated_cycles"]
        if today.keys() != energy["of"].keys() or not all(
            math.isclose(today[kind], joules, rel_tol=1e-9) for kind, joules in energy["of"].items()
        ):
            raise _Changed
