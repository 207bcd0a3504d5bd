"""The densities of a run's layers in words: how many weights and inputs are not zero."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from tb.report.summary import Summary, percent

__all__ = ["density_lines"]

SPARSE = 0.8
"""Where nothing was pruned, densities are told if fewer weights than this part are not zero. Rounding alone leaves more
than 0.95 of seeded weights."""


def density_lines(summary: Summary) -> Iterator[str]:
    """A line a layer and one for all, of a network that was pruned or came with many zeros; nothing of others."""
    layers = summary.densities
    counts = {name: layer["n_weights"] for name, layer in layers.items()}
    total = sum(counts.values())
    if not total:
        return
    kept = sum(layer["weights"] * counts[name] for name, layer in layers.items()) / total
    if not summary.pruning and kept >= SPARSE:
        return
    if summary.pruning:
        yield f"pruned: {summary.pruning}"
    asked = " (asked)" * any("asked_weights" in layer for layer in layers.values())
    yield f"weights that are not 0 and inputs that are not at their zero point{asked}:"
    width = max(map(len, layers))
    for name, layer in layers.items():
        yield f"  {name:{width}}  weights {_part(layer, 'weights'):17}  inputs {_part(layer, 'inputs')}".rstrip()
    macs = sum(layer["macs"] for layer in layers.values())
    work = sum(layer["weights"] * layer["inputs"] * layer["macs"] for layer in layers.values()) / macs
    yield (
        f"{percent(kept)} of {total:,} weights are not zero; if zeros fall independently, neither operand of "
        f"{percent(work)} of the multiply-accumulates is"
    )


def _part(layer: Mapping[str, float], what: str) -> str:
    """'36.0 % (36 %)': as it is, and as it was asked for."""
    asked = layer.get(f"asked_{what}")
    return percent(layer[what]) + (f" ({100 * asked:.3g} %)" if asked is not None else "")
