"""Sampled cycles of passes against the recursion over all of their pixels."""

from __future__ import annotations

import numpy as np
import pytest

from estimator.engines.sparse.pairs import met_weights, pairs
from estimator.engines.sparse.rates import pass_cycles, pass_rates, tile_rates
from estimator.engines.sparse.reads import Reads, drawn, in_words
from estimator.engines.sparse.recursion import run_ahead
from rtl.contract.params import CoreParams

CORE = CoreParams(rows=32, cols=16, acc_entries=256, engines=("sparse",), sparse_lanes=8, sparse_columns=8)
SIZE, KERNEL, PASSES = 20, 3, 6
TAPS = [(0, y, x) for y in range(KERNEL) for x in range(KERNEL)]
PLACES = np.array([[(number // 2, y, x) for _, y, x in TAPS] for number in range(PASSES)])


def _layer(seed: int, weights: float, acts: float, size: int = SIZE) -> tuple[np.ndarray, np.ndarray]:
    """Weights that activations meet, and which of these are not zero: filters, channels and regions differ."""
    rng = np.random.default_rng(seed)
    density = weights * np.exp(0.3 * rng.standard_normal((PASSES, 1, 1, 16)))
    kept = rng.random((PASSES, len(TAPS), 32, 16)) < density
    orders = np.tile(np.arange(16), (PASSES, 1))
    channels = rng.beta(acts * 2, (1 - acts) * 2, (96, 1, 1)) if acts < 1 else np.ones((96, 1, 1))
    slope = np.linspace(0.6, 1.4, size)[:, None]
    return met_weights(kept, orders, CORE), rng.random((96, size, size)) < channels * (slope if acts < 1 else 2)


def _reads(tensors: np.ndarray, out: tuple[int, int] = (SIZE, SIZE), origin: tuple[int, int] = (-1, -1)) -> Reads:
    return Reads(live=in_words(tensors, 32), size=(SIZE, SIZE), out=out, origin=origin)


def _all_cycles(met: np.ndarray, reads: Reads, ahead: int) -> float:
    """Of all pixels of all passes."""
    pixels = np.tile(np.arange(reads.out[0] * reads.out[1]), (PASSES, 1))
    products = pairs(met, reads.find(np.zeros(PASSES, int), pixels, PLACES))
    return float(run_ahead(products, items=len(TAPS), ahead=ahead, groups=4).update[-1].sum())


@pytest.mark.parametrize("ahead", [0, 1, 4])
@pytest.mark.parametrize(("weights", "acts"), [(0.1, 0.3), (0.3, 0.5), (0.7, 0.9)])
def test_samples_say_what_all_pixels_take(weights: float, acts: float, ahead: int) -> None:
    met, live = _layer(ahead, weights, acts)
    known = _reads(live[None])
    cycles = _all_cycles(met, known, ahead)
    mean = live.mean(axis=(1, 2))
    by_channel, by_mean = (_reads(drawn(known, (96, 12, 12))) for known in (mean, mean.mean()))
    for reads, error in ((known, 0.02), (by_channel, 0.05), (by_mean, 0.1)):
        rates = pass_rates(met, reads, PLACES, ahead=ahead, groups=4)
        assert SIZE * SIZE * rates.pixel_cycles.sum() == pytest.approx(cycles, rel=error)


def test_rows_are_those_that_are_asked_for() -> None:
    """The map is half full above and empty below."""
    met, _ = _layer(0, 0.5, 0.5)
    live = np.broadcast_to(np.arange(SIZE)[:, None] < SIZE // 2, (96, SIZE, SIZE))
    reads = _reads(live[None])
    above, below = (
        pass_rates(met, reads, PLACES, ahead=4, groups=4, rows=rows).pixel_cycles.mean()
        for rows in ((0, SIZE // 2 - 1), (SIZE // 2 + 1, SIZE))
    )
    assert below == len(TAPS)  # an item takes a cycle at least
    assert above > 3 * below


@pytest.mark.parametrize(("rows", "error"), [((3, 6), 0.03), ((0, 17), 0.1)], ids=["all pixels", "some pixels"])
def test_tiles_take_what_the_recursion_says_of_theirs(rows: tuple[int, int], error: float) -> None:
    """The map becomes denser from row to row."""
    met, live = _layer(1, 0.5, 0.5)
    live = live & (np.random.default_rng(1).random(live.shape) < np.linspace(0.2, 1, SIZE)[:, None])
    reads = _reads(live[None])
    tiles = [rows, (18, 20)]
    found = tile_rates(met, reads, PLACES, ahead=4, groups=4, rows=tiles)
    for (first, end), rates in zip(tiles, found, strict=True):
        pixels = np.tile(np.arange(first * SIZE, end * SIZE), (PASSES, 1))
        products = [pairs(met[[n]], reads.find(np.zeros(1, int), pixels[[n]], PLACES[[n]])) for n in range(PASSES)]
        times = run_ahead(np.concatenate(products), items=len(TAPS), ahead=4, groups=4)
        assert pixels.shape[1] * rates.sum() == pytest.approx(float(times.update[-1, 0]), rel=error)
    assert found[1].mean() > 1.3 * found[0].mean()


def test_without_zeros_all_weights_count_and_nothing_is_sampled() -> None:
    met = np.full((PASSES, len(TAPS), 8, 4, 8), 2, np.uint8)
    for reads in (None, _reads(np.ones((1, 96, SIZE, SIZE), bool), out=(SIZE - 2, SIZE - 2), origin=(0, 0))):
        rates = pass_rates(met, reads, PLACES, ahead=4, groups=4)
        np.testing.assert_allclose(rates.pixel_cycles, 8 * len(TAPS))


def test_an_output_of_a_single_pixel_is_as_if_there_were_more_of_them() -> None:
    met, live = _layer(3, 0.3, 0.5, size=KERNEL)
    reads = Reads(live=in_words(live[None], 32), size=(KERNEL, KERNEL), out=(1, 1))
    products = pairs(met, reads.find(np.zeros(PASSES, int), np.zeros((PASSES, 1), int), PLACES))
    busiest = np.maximum(products, 1).sum(axis=0).max(axis=(1, 2))
    assert (pass_rates(met, reads, PLACES, ahead=8, groups=4).pixel_cycles >= busiest - 1e-9).all()


@pytest.mark.parametrize(("pixels", "rows"), [(8, 10), (8, 400), (60, 150)])
def test_passes_wait_for_their_weights_or_their_pixels(pixels: int, rows: int) -> None:
    met, live = _layer(5, 0.4, 0.5)
    reads = _reads(live[None], out=(1, pixels))
    places = PLACES * [1, 0, 1]
    runs = [reads.find(np.zeros(1, int), np.arange(pixels)[None], places[[number]]) for number in range(PASSES)]
    products = np.concatenate([pairs(met[[number]], live) for number, live in enumerate(runs)])
    turns = 3
    times = run_ahead(
        np.tile(products, (turns, 1, 1, 1)), items=len(TAPS), ahead=4, groups=4, weight_rows=[rows] * turns * PASSES
    )
    ends = times.update[PASSES * pixels - 1 :: PASSES * pixels, 0]
    rates = pass_rates(met, reads, places, ahead=4, groups=4).pixel_cycles
    expected = sum(pass_cycles(pixels, rate, rows) for rate in rates)
    assert expected == pytest.approx((ends[-1] - ends[0]) / (turns - 1), rel=0.03)
