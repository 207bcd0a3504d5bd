"""Layers of one network that are alike: a tool need see them once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from tb.foreign.shapes import LayerShape
from tb.foreign.tool import Entry

__all__ = ["alike"]


def alike(layers: Sequence[LayerShape]) -> tuple[list[Entry], list[LayerShape]]:
    """Where each layer is among the different ones, and those in the order of their first appearance.

    Names, sources and residuals make no difference: no tool is told of these.
    """
    kinds: dict[LayerShape, int] = {}
    entries = [
        Entry(layer, kinds.setdefault(replace(layer, name="", reads="", residual=False), len(kinds)))
        for layer in layers
    ]
    return entries, list(kinds)
