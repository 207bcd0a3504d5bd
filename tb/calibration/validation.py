"""What a calibration is worth: errors of layers that were never fitted, and their bands by rotation."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from estimator import Bands, Coefficients, Estimate, Residual, estimate
from estimator.bands import kind_of, size_of, team_of
from tb.calibration.layers import Layer, Network, link_name

__all__ = [
    "Errors", "JudgedLayer", "bands_of", "coverage", "errors_by", "folds_of", "judge", "kind", "size", "team",
]  # fmt: skip

FOLDS = 4
"""Groups of networks; the bands of each come from the others."""


@dataclass(frozen=True)
class JudgedLayer:
    """A layer that was never fitted, and its predictions.

    Attributes
    ----------
    before, after : float
        Predicted cycles, with the coefficients before the fit and with those after it.
    low, high : float or None
        The band, made of other networks alone; None if these have too few layers like it.
    compute : dict of str to float
        Measured cycles of the compute units by cause; `thought` those that the estimator expected.
    """

    net: str
    chip: str
    cores: int
    schedule: str
    name: str
    op: str
    mapping: str
    cycles: int
    before: float
    after: float
    low: float | None
    high: float | None
    link: str
    link_load: float
    blocked: float
    compute: Mapping[str, float]
    thought: Mapping[str, float]
    thought_load: float = 0.0
    """Load of that link as the estimator expects it, flits per cycle."""

    @property
    def error(self) -> float:
        """Signed and relative, positive where the estimate is too high."""
        return self.after / self.cycles - 1

    @property
    def error_before(self) -> float:
        return self.before / self.cycles - 1

    @property
    def inside(self) -> bool | None:
        """Whether the measured cycles lie in the band."""
        return None if self.low is None or self.high is None else self.low <= self.cycles <= self.high


@dataclass(frozen=True)
class Errors:
    """Signed relative errors of a group, summed up.

    Attributes
    ----------
    worst : float
        Of the largest size, with its sign.
    total : float
        Of the sum of all cycles.
    """

    count: int
    bias: float
    mean: float
    median: float
    p95: float
    worst: float
    total: float

    @staticmethod
    def of(pairs: Iterable[tuple[float, float]]) -> Errors:
        """Of (predicted, measured) cycles."""
        predicted, measured = np.array(list(pairs), float).T
        errors = predicted / measured - 1
        sizes = np.abs(errors)
        return Errors(
            len(errors), float(errors.mean()), float(sizes.mean()), float(np.median(sizes)),
            float(np.percentile(sizes, 95)), float(errors[sizes.argmax()]),
            float(predicted.sum() / measured.sum() - 1),
        )  # fmt: skip


def folds_of(networks: Iterable[str], seed: int) -> tuple[tuple[str, ...], ...]:
    """The networks in groups, drawn by a seed; at least two groups if there are two networks."""
    names = sorted(set(networks))
    order = np.random.default_rng(seed).permutation(len(names))
    count = min(FOLDS, len(names))
    return tuple(tuple(sorted(names[i] for i in order[number::count])) for number in range(count))


def judge(
    networks: Sequence[Network], before: Coefficients, after: Coefficients, held_out: Sequence[Sequence[str]],
    say: Callable[[str], None] = lambda _: None,
) -> list[JudgedLayer]:  # fmt: skip
    """Predict all layers with both sets of coefficients; each one's band comes from the networks of other groups."""
    predicted: list[tuple[Network, Layer, float, Estimate]] = []
    for network in networks:
        say(f"predicting {network.net} on {network.chip_name}")
        for layer in network.layers:
            old = estimate(layer, layer.chip, layer.settings, before).cycles
            predicted.append((network, layer, old, estimate(layer, layer.chip, layer.settings, after)))
    bands = {}
    for group in held_out:
        others = [_residual(layer, new.cycles) for network, layer, _, new in predicted if network.net not in group]
        bands |= dict.fromkeys(group, Bands.of(others))
    return [
        _judged(network, layer, old, new, bands[network.net]) for network, layer, old, new in predicted
    ]


def _residual(layer: Layer, predicted: float) -> Residual:
    return Residual(layer.op, layer.chip.n_cores, predicted, layer.cycles)


def _judged(
    network: Network, layer: Layer, before: float, thought: Estimate, bands: Bands
) -> JudgedLayer:
    after = thought.cycles
    low, high = bands.interval(layer.op, layer.chip.n_cores, after) or (None, None)
    loads = {
        link_name(link.y * layer.chip.mesh_width + link.x, link.port.name.lower()): flits / after
        for link, flits in thought.link_flits.items()
    }
    return JudgedLayer(
        network.net, network.chip_name, layer.chip.n_cores, network.schedule, layer.name, layer.op, layer.mapping,
        layer.cycles, before, after, low, high, layer.link, layer.link_load, layer.blocked, layer.compute,
        dict(thought.compute), loads.get(layer.link, 0.0),
    )  # fmt: skip


def bands_of(layers: Iterable[JudgedLayer]) -> Bands:
    """Bands of all layers together, for whoever predicts another one."""
    return Bands.of(Residual(layer.op, layer.cores, layer.after, layer.cycles) for layer in layers)


def coverage(layers: Iterable[JudgedLayer]) -> tuple[float, int]:
    """Part of the layers with a band that lie in it, and how many those are."""
    known = [layer.inside for layer in layers if layer.inside is not None]
    return (sum(known) / len(known) if known else float("nan")), len(known)


def errors_by(
    layers: Iterable[JudgedLayer], key: Callable[[JudgedLayer], str], *, before: bool = False
) -> dict[str, Errors]:
    """Errors of each group, in the order of the keys."""
    groups: dict[str, list[tuple[float, float]]] = {}
    for layer in layers:
        groups.setdefault(key(layer), []).append((layer.before if before else layer.after, layer.cycles))
    return {name: Errors.of(groups[name]) for name in sorted(groups)}


def team(layer: JudgedLayer) -> str:
    """Cores of its chip, as a class."""
    return team_of(layer.cores)


def size(layer: JudgedLayer) -> str:
    """Class of its measured cycles."""
    return size_of(layer.cycles)


def kind(layer: JudgedLayer) -> str:
    """Its operator; one name for launches of many layers."""
    return kind_of(layer.op)
