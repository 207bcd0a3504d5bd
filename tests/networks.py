"""Random networks of many layers: chains with residual blocks, branches that are joined, pools, depthwise layers."""

from __future__ import annotations

from typing import Any

import numpy as np

from rtl.contract.params import ChipParams
from tests.cases import Case, GraphBuilder, random_image

__all__ = ["chain_network", "pictures_of", "random_network"]

WIDTHS = (5, 8, 16, 24, 32, 48)


def random_network(seed: int, chip: ChipParams, blocks: int = 5, *, apart: bool = False) -> Case:
    """So many blocks, each of one to four layers, on a map that shrinks; with `apart`, sums are nodes of their own."""
    rng = np.random.default_rng(seed)
    height, width = (int(size) for size in rng.integers(9, 17, 2))
    builder = GraphBuilder(rng, (int(rng.choice([3, 8, 16])), height, width), 10**9)
    at = builder.conv("in", int(rng.choice(WIDTHS)), (3, 3), padding=(1, 1, 1, 1))
    made = [at]
    for _ in range(blocks):
        at = _block(rng, builder, at, apart)
        made.append(at)
    if rng.random() < 0.5:
        at = builder.pool("avgpool", at, builder.shape(at)[1:], (1, 1))
    if rng.random() < 0.7:
        at = builder.conv(at, 10, builder.shape(at)[1:], op="fc")
    outputs = {at: None}
    if rng.random() < 0.2:
        outputs[made[int(rng.integers(len(made)))]] = None
    graph = builder.graph(f"network {seed}", *outputs)
    return Case(seed, "network", chip, graph, random_image(rng, graph))


def pictures_of(case: Case, batch: int) -> list[np.ndarray]:
    """So many pictures for a network, the first its own."""
    rng = np.random.default_rng(case.seed)
    return [case.image, *(random_image(rng, case.graph) for _ in range(batch - 1))]


def chain_network(seed: int, chip: ChipParams) -> Case:
    """Layers one behind the other on tall maps, each the only reader of the one before it, the last perhaps a sum."""
    rng = np.random.default_rng(seed)
    height, width = int(rng.integers(40, 61)), int(rng.integers(6, 11))
    builder = GraphBuilder(rng, (int(rng.choice([3, 8, 16])), height, width), 10**9)
    channels = int(rng.choice([16, 24]))
    at = begin = builder.conv("in", channels, (1, 1))
    for _ in range(int(rng.integers(2, 4))):
        kernel = int(rng.choice([1, 3, 3, 5]))
        pad = (kernel // 2, kernel // 2, kernel // 2, kernel // 2)
        step = (2, 2) if rng.random() < 0.2 else (1, 1)
        at = builder.conv(at, int(rng.choice([24, 32, 48])), (kernel, kernel), stride=step, padding=pad)
        if rng.random() < 0.3:
            at = builder.pool("maxpool", at, (2, 2), (2, 2))
    same = builder.shape(at)[1:] == builder.shape(begin)[1:]
    at = builder.conv(at, channels, (1, 1), residual=begin if same else None)
    graph = builder.graph(f"chain {seed}", builder.conv(at, 8, (1, 1)))
    return Case(seed, "chain", chip, graph, random_image(rng, graph))


def _block(rng: np.random.Generator, builder: GraphBuilder, at: str, apart: bool) -> str:
    channels, height, width = builder.shape(at)

    def summed(source: str, other: str, *args: Any, **options: Any) -> str:
        """A convolution, and another tensor on top."""
        if apart:
            return builder.add(builder.conv(source, *args, **options), other)
        return builder.conv(source, *args, residual=other, **options)

    same = (1, 1, 1, 1)
    match rng.choice(["plain", "strided", "residual", "projected", "depthwise", "concat", "pool", "add"]):
        case "plain":
            kernel = int(rng.choice([1, 3]))
            pad = (kernel // 2, kernel // 2, kernel // 2, kernel // 2)
            return builder.conv(at, int(rng.choice(WIDTHS)), (kernel, kernel), padding=pad)
        case "strided" if min(height, width) > 4:
            return builder.conv(at, int(rng.choice(WIDTHS)), (3, 3), stride=(2, 2), padding=same)
        case "residual":
            narrow = builder.conv(at, int(rng.choice(WIDTHS)), (1, 1))
            return summed(narrow, at, channels, (3, 3), padding=same)
        case "projected":
            filters = int(rng.choice(WIDTHS))
            step = (2, 2) if min(height, width) > 4 else (1, 1)
            branch = builder.conv(at, filters, (3, 3), stride=step, padding=same)
            return summed(at, branch, filters, (1, 1), stride=step)
        case "depthwise":
            step = (2, 2) if min(height, width) > 4 and rng.random() < 0.5 else (1, 1)
            return builder.conv(at, channels, (3, 3), stride=step, padding=same, groups=channels, op="depthwise")
        case "concat":
            parts = [builder.conv(at, int(rng.choice(WIDTHS)), (1, 1)), builder.conv(at, 16, (3, 3), padding=same)]
            if rng.random() < 0.5:
                parts.append(builder.pool("maxpool", at, (3, 3), (1, 1), same))
            return builder.concat(*parts)
        case "add":
            return builder.add(at, builder.conv(at, channels, (3, 3), padding=same))
        case _:
            if min(height, width) < 4:
                return at
            return builder.pool("maxpool", at, (2, 2), (2, 2))
