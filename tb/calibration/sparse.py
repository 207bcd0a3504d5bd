"""How well sampled cycles of the sparse engine's passes agree with the recursion over all that they read.

    python -m tb.calibration.sparse        the tables of docs/sparse_engine.md

The recursion equals the RTL of the engine cycle by cycle (`tests/unit/rtl/engines/test_sparse.py`); so these are errors
of sampling, and of knowing densities alone.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from itertools import product

import numpy as np

from estimator.engines.sparse.pairs import met_weights, pairs
from estimator.engines.sparse.rates import pass_cycles, pass_rates
from estimator.engines.sparse.reads import PERIOD, Reads, drawn, in_words
from estimator.engines.sparse.recursion import run_ahead
from golden import zoo
from golden.int8 import ops
from golden.int8.qgraph import QGraph
from golden.int8.qnodes import QConv
from golden.int8.quant import quantize
from golden.net.inputs import load_image
from golden.net.weights import seeded
from golden.pruning.pruning import load_pruning
from scheduler.engines.sparse import SPARSE, SparsePasses
from scheduler.engines.sparse_lists import PassesAlike, listed_passes
from scheduler.engines.sparse_reads import reads_of
from scheduler.place import place_tensors
from scheduler.work.activations import ACTIVATIONS, activations_of
from scheduler.work.balance import lane_weights, share_columns
from scheduler.work.options import SparseOptions
from scheduler.work.sink import MemorySink
from scheduler.work.task import Task
from tb.run.presets import NAMED_CHIPS

__all__ = ["tables"]

CHIP = NAMED_CHIPS["sparse1"]
CORE = CHIP.cores[0]
TILE = 128
"""Pixels of a pass: a bank of accumulators."""
TILES = 24
"""Of a map, at most, evenly spread over it; all passes are run on each."""
IN_A_ROW = 8
"""Passes that are run one behind the other."""
TOGETHER = 32
NETWORKS = {
    ("alexnet", "han2015"): (0, 1, 4, 8),
    ("resnet50", "distiller2019"): (4,),
    ("vgg16", "han2015"): (4,),
}
"""And the items by which PEs are ahead."""


def all_cycles(passes: PassesAlike, reads: Reads, ahead: int) -> float:
    """Cycles of passes over a whole map by the recursion, scaled up from `TILES` if there are more."""
    met, places, items = passes.met, passes.places, passes.met.shape[1]
    pixels = reads.out[0] * reads.out[1]
    tiles = -(-pixels // TILE)
    size = -(-pixels // tiles)
    chosen = np.unique(np.linspace(0, tiles - 1, min(TILES, tiles)).astype(int))
    starts = np.minimum(chosen * size, pixels - size)
    total = 0.0
    for first in range(0, len(met), IN_A_ROW):
        row = range(first, min(first + IN_A_ROW, len(met)))
        for some in np.split(starts, range(TOGETHER, len(starts), TOGETHER)):
            runs = some[:, None] + np.arange(size)
            tensor = np.zeros(len(some), int)
            found = [reads.find(tensor, runs, np.repeat(places[[number]], len(some), axis=0)) for number in row]
            products = [pairs(met[[number] * len(some)], live) for number, live in zip(row, found, strict=True)]
            times = run_ahead(np.concatenate(products), items=items, ahead=ahead, groups=CORE.collector_groups)
            total += float(times.update[-1].sum())
    return total * pixels / (size * len(starts))


# --- networks -------------------------------------------------------------------------------------------------------


def network_errors(net: str, table: str, ahead: int) -> dict[str, list[float]]:
    """Relative errors of the layers of a pruned network, by what is known of their inputs."""
    graph, tensors = _quantised(net, table)
    placements, _ = place_tensors(graph, CHIP, {}, batch=1)
    known = {detail: activations_of(graph, tensors, detail) for detail in ACTIVATIONS}
    errors: dict[str, list[float]] = {detail: [] for detail in ACTIVATIONS}
    for node in graph.nodes:
        if not isinstance(node, QConv) or node.op != "conv":
            continue  # a fully connected layer waits for its weights
        exact = 0.0
        for detail, activations in known.items():
            task = Task(
                node=node, inputs=(placements[node.input],), sink=MemorySink(placements[node.output]),
                sparse=SparseOptions(run_ahead=ahead, activations=activations),
            )  # fmt: skip
            work = SPARSE.bids(task, CORE)[0]
            assert isinstance(work.passes, SparsePasses)
            operands, lists = work.passes.operands, work.passes.lists
            if not exact:
                live = known["masks"].live[node.input]
                reads = reads_of(operands.source, tensors[node.input].shape, node.out_hw, live, CORE.rows)
                exact = sum(all_cycles(passes, reads, ahead) for passes in listed_passes(operands, lists, CORE))
            estimated = float(lists.pixel_cycles.sum()) * node.out_hw[0] * node.out_hw[1]
            errors[detail].append(estimated / exact - 1)
    return errors


def _quantised(net: str, table: str) -> tuple[QGraph, dict[str, np.ndarray]]:
    graph = zoo.load(net)
    pruning, image = load_pruning(table, graph), load_image(None, graph.input_shape)
    weights = seeded(graph, 1, pruning.prune)
    pruning.set_inputs(weights, image)
    quantised = quantize(graph, weights, image)
    return quantised, ops.run(quantised, quantised.tensors[quantised.input].quantize(image))


# --- random layers --------------------------------------------------------------------------------------------------

SIZE = 24
PASSES = 6


def random_layer(
    seed: int, items: int, weights: float, acts: float, *, correlated: bool
) -> tuple[PassesAlike, np.ndarray]:
    """Passes of 64 channels each, and which activations bool[1, C, H, W] are not zero.

    Correlated, filters and channels differ in density (log-normal, 0.3 and 0.4), and activations are smooth blobs whose
    density differs by channel (Beta, 4 * a and 4 * (1 - a)).
    """
    rng = np.random.default_rng(seed)
    density = np.full((PASSES, 1, CORE.rows, CORE.cols), weights)
    channels = np.full(PASSES * CORE.rows, acts)
    noise = rng.standard_normal((PASSES * CORE.rows, SIZE, SIZE))
    if correlated:
        density *= np.exp(0.3 * rng.standard_normal((1, 1, 1, CORE.cols)))
        density *= np.exp(0.4 * rng.standard_normal((PASSES, 1, CORE.rows, 1)))
        channels = rng.beta(4 * acts, 4 * (1 - acts), channels.size) if acts < 1 else channels
        for axis in (1, 2):
            noise = np.stack([np.roll(noise, shift, axis) for shift in range(5)]).sum(axis=0)
    kept = rng.random((PASSES, items, CORE.rows, CORE.cols)) < density * weights / density.mean()
    orders = share_columns(lane_weights(kept, CORE.sparse_lanes).sum(axis=-3), CORE.sparse_columns)
    kernel = max(1, round(items**0.5))
    places = np.array([[(number, *divmod(item, kernel)) for item in range(items)] for number in range(PASSES)])
    ranks = noise.reshape(len(noise), -1).argsort(axis=1).argsort(axis=1).reshape(noise.shape)
    live = ranks < channels[:, None, None] * SIZE * SIZE
    return PassesAlike(np.zeros((PASSES, 4), int), met_weights(kept, orders, CORE), places), live[None]


def random_errors(ahead: int, *, correlated: bool) -> dict[str, list[float]]:
    """Relative errors of random layers of all densities and numbers of items."""
    errors: dict[str, list[float]] = {detail: [] for detail in ACTIVATIONS}
    for items, weights, acts in product((1, 3, 9, 16), (0.05, 0.3, 1.0), (0.2, 0.5, 1.0)):
        passes, live = random_layer(items, items, weights, acts, correlated=correlated)
        exact = all_cycles(passes, _reads(live), ahead)
        shape = (live.shape[1], PERIOD, PERIOD)
        known = (live, drawn(live.mean(axis=(0, 2, 3)), shape), drawn(np.array(live.mean()), shape))
        for detail, tensors in zip(ACTIVATIONS, known, strict=True):
            rates = pass_rates(passes.met, _reads(tensors), passes.places, ahead=ahead, groups=CORE.collector_groups)
            errors[detail].append(float(rates.pixel_cycles.sum()) * SIZE * SIZE / exact - 1)
    return errors


def _reads(tensors: np.ndarray) -> Reads:
    return Reads(live=in_words(tensors, CORE.rows), size=(SIZE, SIZE), out=(SIZE, SIZE), origin=(-1, -1))


# --- few pixels -----------------------------------------------------------------------------------------------------


def few_pixels(pixels: int, ahead: int) -> list[float]:
    """Relative errors of passes of few pixels that wait for their weights, too."""
    errors = []
    for items, weights, acts in product((1, 4, 9, 16), (0.1, 0.3, 1.0), (0.3, 0.5)):
        passes, live = random_layer(items, items, weights, acts, correlated=True)
        reads = _reads(live)
        rounds = int(passes.met.sum(axis=(1, 3), dtype=int).max())
        rows = items * CORE.rows // 8 + 1 + rounds * CORE.sparse_lanes * CORE.sparse_columns // CORE.cols
        run = 5 * SIZE + np.arange(pixels)[None]
        products = [
            pairs(passes.met[[number]], reads.find(np.zeros(1, int), run, passes.places[[number]]))
            for number in range(PASSES)
        ]
        turns = np.tile(np.concatenate(products), (3, 1, 1, 1))
        times = run_ahead(
            turns, items=items, ahead=ahead, groups=CORE.collector_groups, weight_rows=[rows] * 3 * PASSES
        )
        ends = times.update[PASSES * pixels - 1 :: PASSES * pixels, 0]
        rates = pass_rates(
            passes.met, reads, passes.places, ahead=ahead, groups=CORE.collector_groups, rows=(5, 6 + pixels // SIZE)
        )
        estimated = sum(pass_cycles(pixels, rate, rows) for rate in rates.pixel_cycles)
        errors.append(2 * estimated / (ends[-1] - ends[0]) - 1)
    return errors


# --- tables ---------------------------------------------------------------------------------------------------------


def tables() -> Iterator[str]:
    """Lines of the tables: errors in %, mean and worst."""
    yield "| layers | ahead | " + " | ".join(f"`{detail}`" for detail in ACTIVATIONS) + " |"
    yield "|---|---:|" + "---:|" * len(ACTIVATIONS)
    for (net, table), aheads in NETWORKS.items():
        for ahead in aheads:
            errors = network_errors(net, table, ahead)
            yield _row(f"{net}, {table}, {len(errors[ACTIVATIONS[0]])}", ahead, errors)
    for name, correlated in (("random, independent", False), ("random, correlated", True)):
        for ahead in (0, 4):
            yield _row(f"{name}, 36", ahead, random_errors(ahead, correlated=correlated))
    yield ""
    yield "| pixels of a pass | " + " | ".join(f"ahead {ahead}" for ahead in (0, 4, 8)) + " |"
    yield "|---:|" + "---:|" * 3
    for pixels in (1, 4, 14, 49):
        yield f"| {pixels} | " + " | ".join(_error(few_pixels(pixels, ahead)) for ahead in (0, 4, 8)) + " |"


def _row(name: str, ahead: int, errors: dict[str, list[float]]) -> str:
    return f"| {name} | {ahead} | " + " | ".join(_error(errors[detail]) for detail in ACTIVATIONS) + " |"


def _error(errors: list[float]) -> str:
    """Mean and worst, in %."""
    worst = max(errors, key=abs)
    return f"{100 * np.mean(errors):+.1f}, {100 * worst:+.1f}"


if __name__ == "__main__":
    for line in tables():
        sys.stdout.write(f"{line}\n")
        sys.stdout.flush()
