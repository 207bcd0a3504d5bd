"""Random networks of many layers: chains with residual blocks, branches that are joined, pools, depthwise layers."""

from __future__ import annotations

import numpy as np

from rtl.contract.params import ChipParams
from tests.cases import Case, GraphBuilder, random_image

__all__ = ["pictures_of", "random_network"]

WIDTHS = (5, 8, 16, 24, 32, 48)


def random_network(seed: int, chip: ChipParams, blocks: int = 5) -> Case:
    """So many blocks, each of one to four layers, on a map that shrinks."""
    rng = np.random.default_rng(seed)
    height, width = (int(size) for size in rng.integers(9, 17, 2))
    builder = GraphBuilder(rng, (int(rng.choice([3, 8, 16])), height, width), 10**9)
    at = builder.conv("in", int(rng.choice(WIDTHS)), (3, 3), padding=(1, 1, 1, 1))
    made = [at]
    for _ in range(blocks):
        at = _block(rng, builder, at)
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


def _block(rng: np.random.Generator, builder: GraphBuilder, at: str) -> str:
    channels, height, width = builder.shape(at)
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
            return builder.conv(narrow, channels, (3, 3), padding=same, residual=at)
        case "projected":
            filters = int(rng.choice(WIDTHS))
            step = (2, 2) if min(height, width) > 4 else (1, 1)
            branch = builder.conv(at, filters, (3, 3), stride=step, padding=same)
            return builder.conv(at, filters, (1, 1), stride=step, residual=branch)
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
