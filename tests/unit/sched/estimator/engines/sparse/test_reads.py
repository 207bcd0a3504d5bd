"""What items find: by loops over a padded tensor; drawn tensors have the densities that were asked for."""

from __future__ import annotations

import numpy as np

from estimator.engines.sparse.reads import CHANNEL_SPREAD, Reads, drawn, in_words


def test_items_find_the_words_of_their_pixels_and_nothing_outside_the_map() -> None:
    rng = np.random.default_rng(0)
    live = rng.random((12, 7, 5)) < 0.5
    reads = Reads(live=in_words(live[None], 8), size=(7, 5), out=(4, 3), stride=(2, 2), origin=(-1, -2))
    padded = np.pad(live, ((0, 4), (1, 4), (2, 4)))
    places = np.array([[word, dy, dx] for word in range(2) for dy in (0, 2) for dx in (0, 1, 2)])
    found = reads.find(np.zeros(2, int), np.array([[0, 1, 2, 3, 4, 5], [6, 7, 8, 9, 10, 11]]), np.stack([places] * 2))
    for pixel, by_item in enumerate(found.reshape(12, *found.shape[2:])):
        y, x = divmod(pixel, 3)
        for (word, dy, dx), got in zip(places, by_item, strict=True):
            np.testing.assert_array_equal(got, padded[8 * word : 8 * word + 8, 2 * y + dy, 2 * x + dx])


def test_a_tensor_that_is_smaller_than_the_map_is_repeated_over_it() -> None:
    tile = np.random.default_rng(1).random((2, 8, 3, 4)) < 0.5
    small, whole = (
        Reads(live=in_words(tensors, 8), size=(6, 10), out=(6, 10))
        for tensors in (tile, np.tile(tile, (1, 1, 2, 3))[..., :10])
    )
    args = np.array([0, 1]), np.tile(np.arange(60), (2, 1)), np.array([[[0, 0, 0], [0, 1, 2]]] * 2)
    np.testing.assert_array_equal(small.find(*args), whole.find(*args))


def test_channels_are_drawn_with_their_densities() -> None:
    densities = np.linspace(0, 1, 16)
    means = drawn(densities, (16, 30, 30)).mean(axis=(0, 2, 3))
    np.testing.assert_allclose(means, densities, atol=0.05)
    assert (means[0], means[-1]) == (0, 1)


def test_of_a_mean_alone_channels_are_spread_about_it() -> None:
    for mean in (0.2, 0.5, 0.9):
        channels = drawn(np.array(mean), (64, 20, 20)).mean(axis=(2, 3))
        np.testing.assert_allclose(channels.mean(axis=1), mean, atol=0.02)
        np.testing.assert_allclose(channels.var(axis=1), CHANNEL_SPREAD * mean * (1 - mean), rtol=0.15)
    for sure in (False, True):
        assert (drawn(np.array(float(sure)), (64, 4, 4)) == sure).all()
