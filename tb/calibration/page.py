"""The page of a calibration, in Markdown, made of its record alone."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from itertools import groupby

from estimator.bands import LEVEL, SIZES
from tb.calibration.record import Calibration
from tb.calibration.validation import Errors, JudgedLayer, coverage, errors_by, kind, size, team
from tb.report.markdown import table

__all__ = ["page"]

WORST = 10
LARGE = 2000
"""Cycles from which a layer counts for the target of the worst one."""
BIAS = 0.01
"""Target for the bias of a class."""


def page(found: Calibration, picture: str) -> str:
    """The page; `picture` is the file name of its scatter plot."""
    lines = [
        "# Calibration of the estimator",
        "",
        "Written by `make calibrate`; the figures are in the file of records beside this page. Errors are estimate / "
        "RTL - 1: positive where the estimate is too high. Bits of every kernel and layer were compared and are equal.",
        "",
        f"Hardware {found.hardware}, commit {found.commit}, kernels: {found.kernels_set}, seed {found.seed}.",
        "",
        "## Coefficients",
        "",
        f"Fitted to {_fitted(found)} alone: {found.message}. Cycles; the "
        "interval is of 95 %, by bootstrap over the kernels.",
        "",
        _coefficients(found),
        *_unconstrained(found),
        "## Kernels",
        "",
        "Mean of the sizes of the errors by chip. Chips that were never fitted differ in their arrays, mesh, links and "
        "memory nodes.",
        "",
        _chips(found),
        "The effects that the fitted estimator explains least:",
        "",
        _effects(found),
    ]
    if found.layers:
        lines += _layers(found, picture)
    if found.mappings:
        lines += _mappings(found)
    return "\n".join(lines)


def _coefficients(found: Calibration) -> str:
    rows = []
    for name, (before, after) in found.values.items():
        evidence = found.evidence[name]
        interval = "-" if evidence.interval is None else f"{evidence.interval[0]:g} to {evidence.interval[1]:g}"
        rows.append([name, f"{before:g}", f"{after:g}", interval, ", ".join(evidence.kernels[:4]) or "none"])
    return table(["coefficient", "before", "fitted", "interval", "constrained most by"], rows)


def _unconstrained(found: Calibration) -> list[str]:
    names = [name for name, evidence in found.evidence.items() if not evidence.kernels]
    if not names:
        return []
    return [f"No kernel constrains {', '.join(names)} within the bounds: they keep the values that they had.", ""]


def _chips(found: Calibration) -> str:
    rows = []
    for chip in found.chips:
        before, after = found.kernel_errors(chip, before=True), found.kernel_errors(chip)
        rows.append([
            chip, "fitted" if found.is_fitted(chip) else "never fitted", str(after.count), _percent(before.mean),
            _percent(after.mean), _percent(after.median), _signed(after.bias), _signed(after.total),
        ])  # fmt: skip
    header = ["chip", "", "kernels", "MAE before", "MAE", "p50", "bias", "sum of cycles"]
    return table(header, rows, texts=2)


def _fitted(found: Calibration) -> str:
    chips = [chip for chip in found.chips if found.is_fitted(chip)]
    return f"{sum(kernel.fitted for kernel in found.kernels)} kernels on {len(chips)} chips"


def _effects(found: Calibration) -> str:
    ordered = sorted(found.kernels, key=lambda kernel: kernel.effect)
    groups = {effect: list(kernels) for effect, kernels in groupby(ordered, lambda kernel: kernel.effect)}
    errors = {effect: Errors.of((k.after, k.cycles) for k in kernels) for effect, kernels in groups.items()}
    worst = sorted(errors, key=lambda effect: -errors[effect].mean)[:WORST]
    rows = [[e, str(errors[e].count), _signed(errors[e].bias), _percent(errors[e].mean), _signed(errors[e].worst)]
            for e in worst]  # fmt: skip
    return table(["effect", "kernels", "bias", "mean size", "worst"], rows)


def _layers(found: Calibration, picture: str) -> Iterator[str]:
    layers = found.layers
    part, known = coverage(layers)
    yield "## Layers of networks, never fitted"
    yield ""
    yield f"{len(layers)} launches. MAE is the mean of the sizes of the errors."
    yield ""
    yield f"![Errors of layers by their cycles]({picture})"
    yield ""
    yield _table(layers, team, "cores")
    yield "By operator, size and cores; a class within 1 % of bias has no mark."
    yield ""
    yield _table(layers, lambda layer: f"{kind(layer)}, {team(layer)}", "operator and cores")
    yield _table(layers, lambda layer: f"{size(layer)}, {team(layer)}", "cycles and cores", _by_size)
    yield "Whole networks:"
    yield ""
    yield _networks(layers)
    yield f"### Bands of {100 * LEVEL:.0f} %"
    yield ""
    groups = "; ".join(", ".join(group) for group in found.held_out)
    yield (
        f"A prediction comes with the limits between which nine of ten layers like it lie. Checked by rotation: the "
        f"bands of a group of networks are made of the others ({groups}; drawn with seed {found.seed}). Of {known} "
        f"layers with a band **{_percent(part)}** lie in it; {len(layers) - known} have none."
    )
    yield ""
    yield _bands(found)
    yield f"### The {WORST} worst layers over {LARGE:,} cycles"
    yield ""
    yield _worst(layers)


def _table(
    layers: Sequence[JudgedLayer], key: Callable[[JudgedLayer], str], name: str,
    order: Callable[[str], tuple[int, str]] = lambda group: (0, group),
) -> str:  # fmt: skip
    before, after = errors_by(layers, key, before=True), errors_by(layers, key)
    rows = []
    for group in sorted(after, key=order):
        old, new = before[group], after[group]
        bias = _signed(new.bias) + (" \u2757" if abs(new.bias) > BIAS else "")
        rows.append([
            group, str(new.count), f"{_signed(old.bias)}", _percent(old.mean), bias, _percent(new.mean),
            _percent(new.median), _percent(new.p95), _signed(new.worst),
        ])  # fmt: skip
    head = [name, "n", "bias before", "MAE before", "bias", "MAE", "p50", "p95", "worst"]
    return table(head, rows)


def _by_size(group: str) -> tuple[int, str]:
    return next(number for number, name in enumerate(SIZES) if group.startswith(name)), group


def _networks(layers: Sequence[JudgedLayer]) -> str:
    key = lambda layer: f"{layer.net}, {layer.chip}, {layer.schedule}"  # noqa: E731
    before, after = errors_by(layers, key, before=True), errors_by(layers, key)
    rows = [[name, str(after[name].count), _signed(before[name].total), _signed(after[name].total)] for name in after]
    return table(["network", "launches", "before", "fitted"], rows)


def _bands(found: Calibration) -> str:
    groups: dict[str, list[JudgedLayer]] = {}
    for layer in found.layers:
        groups.setdefault(team(layer), []).append(layer)
    rows = []
    for name, some in sorted(groups.items()):
        part, known = coverage(some)
        widths = sorted((layer.high - layer.low) / layer.after for layer in some if layer.low and layer.high)
        middle = _percent(widths[len(widths) // 2]) if widths else "-"
        rows.append([name, str(known), _percent(part) if known else "-", middle])
    return table(["cores", "layers", "inside", "width, median"], rows)


def _worst(layers: Sequence[JudgedLayer]) -> str:
    large = [layer for layer in layers if layer.cycles >= LARGE]
    rows = []
    for layer in sorted(large, key=lambda layer: -abs(layer.error))[:WORST]:
        differences = {
            cause: (layer.thought.get(cause, 0.0) - cycles) / layer.cycles for cause, cycles in layer.compute.items()
        }
        cause = max(differences, key=lambda name: abs(differences[name]))
        thought = f"{cause} {_signed(differences[cause])} of its cycles"
        link = f"{layer.link} {layer.link_load:.2f} (thought {layer.thought_load:.2f}), blocked {layer.blocked:.2f}"
        rows.append([
            f"{layer.net} {layer.name}", layer.op, layer.chip, f"{layer.cycles:,}", _signed(layer.error), link, thought,
        ])  # fmt: skip
    head = ["layer", "operator", "chip", "cycles", "error", "busiest link, flits a cycle", "what the model thought"]
    return table(head, rows, texts=3)


def _mappings(found: Calibration) -> Iterator[str]:
    lost = [mapping.lost for mapping in found.mappings]
    most = max(len(mapping.candidates) for mapping in found.mappings)
    yield "## Choice of a mapping"
    yield ""
    yield (
        f"{len(lost)} layers, each run in RTL with up to {most} mappings, those that the search finds best. Cycles "
        f"that the chosen one costs beside the best: mean {_percent(sum(lost) / len(lost), 2)}, worst "
        f"{_percent(max(lost), 2)}; the best itself was chosen for {sum(share == 0 for share in lost)}."
    )
    yield ""
    rows = [
        [f"{m.net} {m.name}", m.chip, str(len(m.candidates)), f"{m.chosen:,}", f"{m.best:,}", _percent(m.lost, 2)]
        for m in sorted(found.mappings, key=lambda mapping: -mapping.lost)
    ]
    yield table(["layer", "chip", "mappings", "chosen", "best", "lost"], rows, texts=2)


def _percent(value: float, digits: int = 1) -> str:
    return f"{100 * value:.{digits}f} %"


def _signed(value: float) -> str:
    return f"{100 * value:+.1f} %"
