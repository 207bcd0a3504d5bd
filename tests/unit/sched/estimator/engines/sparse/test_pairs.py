"""Products of an item and a PE: loops over the contract's formula."""

from __future__ import annotations

import numpy as np

from estimator.engines.sparse.pairs import met_weights, pairs
from rtl.contract.params import CoreParams
from scheduler.work.balance import list_lengths

CORE = CoreParams(rows=16, cols=16, acc_entries=256, engines=("sparse",), sparse_lanes=4, sparse_columns=4)


def test_a_pe_has_the_products_of_its_filters_and_of_the_channels_that_its_lane_has_at_that_item() -> None:
    rng = np.random.default_rng(0)
    passes, pixels, items = 2, 3, 5
    kept = rng.random((passes, items, 16, 16)) < 0.5
    orders = np.stack([rng.permutation(16) for _ in range(passes)])
    live = rng.random((passes, pixels, items, 16)) < 0.5
    expected = np.zeros((pixels * items, passes, 4, 4), int)
    for number in range(passes):
        for pixel in range(pixels):
            for item in range(items):
                for row in range(16):
                    for slot in range(16):
                        lane = (row // 4 - item) % 4
                        product = kept[number, item, row, orders[number, slot]] and live[number, pixel, item, row]
                        expected[pixel * items + item, number, lane, slot // 4] += product
    met = met_weights(kept, orders, CORE)
    np.testing.assert_array_equal(pairs(met, live), expected)
    lengths = [list_lengths(*one, 4, 4) for one in zip(kept, orders, strict=True)]
    np.testing.assert_array_equal(met.sum(axis=3), lengths)
