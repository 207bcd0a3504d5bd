"""Factors of a tool's terms by class of layer: nonnegative least squares on relative errors."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.optimize import nnls

from tb.foreign.correction import TERMS, ClassCorrection, HeldOut
from tb.foreign.shapes import KINDS
from tb.foreign.tool import Prediction

__all__ = ["Measured", "fit_classes"]

SEED = 1
RESAMPLES = 200
FEWEST = 3
"""Layers of a class below which nothing is fitted."""
SHARES = 5
"""In which layers are left out while terms are chosen."""
GAIN = 0.98
"""A further term must bring their errors down to this part."""


@dataclass(frozen=True)
class Measured:
    """What a tool says of a layer, and the cycles of the RTL."""

    row: Prediction
    cycles: int
    probe: bool = False
    """Whether it is of a list of layers made to fit to, not of a network: it is never left out."""

    @property
    def raw_error(self) -> float:
        """Relative error of the tool, positive where that is too high."""
        return self.row.cycles / self.cycles - 1


def fit_classes(layers: Sequence[Measured]) -> tuple[dict[str, ClassCorrection], dict[tuple[str, str], float]]:
    """Corrections by class, and the held-out figure of every layer, by network and name.

    Each network in turn is left out: its layers are corrected by factors fitted to those of the others and to the
    probes. Where that is worse than the tool itself, or cannot be tried, the class keeps the tool's own figures.
    """
    classes: dict[str, ClassCorrection] = {}
    held: dict[tuple[str, str], float] = {}
    for kind in KINDS:
        of_kind = [layer for layer in layers if layer.row.kind == kind]
        if of_kind:
            classes[kind], found = _fit_class(kind, of_kind)
            held |= found
    return classes, held


def _fit_class(kind: str, layers: Sequence[Measured]) -> tuple[ClassCorrection, dict[tuple[str, str], float]]:
    held: dict[tuple[str, str], float] = {}
    for net in dict.fromkeys(layer.row.net for layer in layers if not layer.probe):
        others = [layer for layer in layers if layer.row.net != net]
        if len(others) >= FEWEST:
            factors = _factors(others)
            for layer in layers:
                if layer.row.net == net:
                    held[net, layer.row.layer] = _apply(factors, layer.row)
    tried = [layer for layer in layers if (layer.row.net, layer.row.layer) in held]
    errors = {layer: held[layer.row.net, layer.row.layer] / layer.cycles - 1 for layer in tried}
    facts = _held_out(errors) if errors else None
    why = _why_raw(facts)
    if why:  # what nobody is given is no figure of the correction
        held = {(layer.row.net, layer.row.layer): layer.row.cycles for layer in tried}
    factors = {} if why else _factors(layers)
    spread = [layer.raw_error for layer in layers] if why else list(errors.values())
    low, high = np.quantile(spread, (0.05, 0.95))
    cycles = [layer.cycles for layer in layers]
    return ClassCorrection(
        kind, len(layers), factors, {} if why else _intervals(layers, factors), why, min(cycles), max(cycles),
        (float(low), float(high)), facts,
    ), held  # fmt: skip


def _why_raw(found: HeldOut | None) -> str:
    if found is None:
        return "too few layers in other networks to fit and try a correction"
    if found.mae >= found.raw_mae:
        return f"a correction does not help: {found.mae:.1%} held out, {found.raw_mae:.1%} raw"
    return ""


def _held_out(errors: dict[Measured, float]) -> HeldOut:
    values = np.array(list(errors.values()))
    worst = max(errors, key=lambda layer: abs(errors[layer]))
    return HeldOut(
        len(errors), len({layer.row.net for layer in errors}),
        float(np.mean([abs(layer.raw_error) for layer in errors])), float(np.abs(values).mean()), float(values.mean()),
        float(errors[worst]), f"{worst.row.net} {worst.row.layer}",
    )  # fmt: skip


def _factors(layers: Sequence[Measured], terms: Sequence[str] | None = None) -> dict[str, float]:
    """By term; without a choice, of those that `_chosen` takes. Terms that get no factor are left out."""
    names = _chosen(layers) if terms is None else list(terms)
    matrix, cycles = _columns(layers, names)
    found, _ = nnls(matrix / cycles[:, None], np.ones(len(layers)))
    return {name: float(factor) for name, factor in zip(names, found, strict=True) if factor > 0}


def _columns(layers: Sequence[Measured], names: Sequence[str]) -> tuple[np.ndarray, np.ndarray]:
    """Terms float64[layer, name] and cycles float64[layer]."""
    matrix = np.array([[TERMS[name](layer.row) for name in names] for layer in layers], float)
    return matrix.reshape(len(layers), len(names)), np.array([layer.cycles for layer in layers], float)


def _chosen(layers: Sequence[Measured]) -> list[str]:
    """Terms that earn their place: one after the other is added, the best first, while errors of left out layers fall.

    Terms resemble each other. One that only follows the scatter of a few layers misleads where sizes differ.
    """
    chosen: list[str] = []
    best = np.inf
    while True:
        tried = {name: _left_out(layers, [*chosen, name]) for name in TERMS if name not in chosen}
        name = min(tried, key=lambda each: tried[each], default="")
        if not name or tried[name] > GAIN * best:
            return chosen
        chosen.append(name)
        best = tried[name]


def _left_out(layers: Sequence[Measured], names: Sequence[str]) -> float:
    """Mean magnitude of the relative errors of layers, a share of them at a time left out of the fit."""
    matrix, cycles = _columns(layers, names)
    scaled = matrix / cycles[:, None]
    errors = []
    for share in range(min(SHARES, len(layers))):
        out = np.arange(len(layers)) % SHARES == share
        found, _ = nnls(scaled[~out], np.ones(int((~out).sum())))
        errors.append(np.abs(scaled[out] @ found - 1))
    return float(np.concatenate(errors).mean())


def _apply(factors: dict[str, float], row: Prediction) -> float:
    return sum(factor * TERMS[name](row) for name, factor in factors.items())


def _intervals(layers: Sequence[Measured], factors: dict[str, float]) -> dict[str, tuple[float, float]]:
    """95 % of what fits to layers drawn with replacement give, of the terms of the fit itself."""
    rng = np.random.default_rng(SEED)
    terms = list(factors)
    drawn = [_factors([layers[i] for i in rng.integers(0, len(layers), len(layers))], terms) for _ in range(RESAMPLES)]
    found = {}
    for name in factors:
        low, high = np.quantile([each.get(name, 0.0) for each in drawn], (0.025, 0.975))
        found[name] = (float(low), float(high))
    return found
