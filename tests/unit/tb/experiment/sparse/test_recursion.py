"""Studies by the recursion: products are those of the masks, whatever shares a PE, and what gains there gains here."""

from __future__ import annotations

import numpy as np
import pytest

from tb.experiment.sparse.masks import MASKS, Layer, bernoulli, correlated
from tb.experiment.sparse.recursion import BALANCE_ARMS, CORE, STUDIES, over_dense, passes_of, products


def _layer(kept: float, live: float, seed: int = 1) -> Layer:
    """A 3 x 3 layer of 100 channels and 70 filters, which fill no word."""
    rng = np.random.default_rng(seed)
    weights, acts = rng.random((70, 100, 3, 3)) < kept, rng.random((100, 9, 8)) < live
    return Layer(weights, acts, (1, 1, 1, 1))


@pytest.mark.parametrize("arm", BALANCE_ARMS)
def test_every_product_is_one_of_a_pe(arm: str) -> None:
    rotated, paired = BALANCE_ARMS[arm]
    for kept, live in passes_of(_layer(0.4, 0.6)):
        found = products(kept, live, rotated=rotated, paired=paired)
        assert found.shape == (live.shape[0] * 9, CORE.sparse_lanes, CORE.sparse_columns)
        both = np.einsum("ptr,tr->pt", live.astype(int), kept.sum(axis=2))
        np.testing.assert_array_equal(found.sum(axis=(1, 2)), both.ravel())


def test_what_gains_in_the_rtl_gains_here() -> None:
    layer = {"a": correlated(_layer(0.3, 0.5), np.random.default_rng(2))}
    slow, fast = (over_dense(layer, rotated=both, paired=both) for both in (False, True))
    assert 1 < slow < fast
    ahead = [over_dense(layer, ahead=items) for items in (0, 1, 4)]
    assert ahead == sorted(ahead)
    assert ahead[0] < 0.8 * ahead[2]
    ports = [over_dense(layer, port=port) for port in (64, 32, 8)]
    assert ports == sorted(ports, reverse=True)
    assert ports[2] < 0.9 * ports[0]


def test_nothing_to_skip_takes_what_a_dense_array_does() -> None:
    full = Layer(np.ones((64, 64, 3, 3), bool), np.ones((64, 12, 12), bool), (0, 0, 0, 0))
    assert 0.95 < over_dense({"full": full}) <= 1


def test_drawn_masks_are_as_dense_as_those_that_they_stand_for() -> None:
    real = _layer(0.35, 0.45)
    for drawn in (bernoulli(real, np.random.default_rng(3)), correlated(real, np.random.default_rng(3))):
        assert drawn.kept.mean() == pytest.approx(real.kept.mean(), abs=0.02)
        assert drawn.live.mean() == pytest.approx(real.live.mean(), abs=0.07)
    of_channels = correlated(real, np.random.default_rng(3)).live.mean(axis=(1, 2))
    assert of_channels.std() > 0.2 > real.live.mean(axis=(1, 2)).std()


def test_studies_are_named_as_the_page_asks_for_them() -> None:
    assert set(STUDIES) == {"balance", "ports", *(f"masks {kind}" for kind in MASKS)}
