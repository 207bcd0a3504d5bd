"""Seeded weights and .npz files."""

import re

import numpy as np
import pytest

from golden import zoo
from golden.errors import WeightError
from golden.net.graph import Conv2d, Graph, Relu
from golden.net.weights import check, from_npz, seeded


@pytest.fixture
def lenet():
    return zoo.load("lenet5")


def wide():
    return Graph(
        "wide", "x", (64, 8, 8), (Conv2d("a", "x", 512, (3, 3)), Relu("r", "a"), Conv2d("b", "r", 512, (3, 3)))
    )


def test_a_seed_gives_the_same_weights_every_time(lenet):
    first, second, other = seeded(lenet, 7), seeded(lenet, 7), seeded(lenet, 8)
    for key, shape in lenet.parameters.items():
        assert first[key].dtype == np.float32
        assert first[key].shape == shape
        np.testing.assert_array_equal(first[key], second[key])
        assert not np.array_equal(first[key], other[key])


def test_threads_do_not_change_the_weights(monkeypatch):
    expected = seeded(wide(), 3)
    monkeypatch.setattr("golden.net.weights.THREADS", 7)
    for key, value in seeded(wide(), 3).items():
        np.testing.assert_array_equal(value, expected[key])


@pytest.mark.parametrize(("key", "power"), [("a.weight", 1.0), ("b.weight", 0.5)])
def test_taps_are_he_scaled_heavy_tailed_and_spread_over_the_filters(key, power):
    taps = seeded(wide(), 1)[key]
    flat = taps.reshape(512, -1)
    assert np.isclose(flat.var(), 1 / (flat.shape[1] * power), rtol=0.1)
    deviations = flat.std(axis=1, keepdims=True)
    kurtosis = ((flat / deviations) ** 4).mean()
    assert 5 < kurtosis < 7  # 3 for a normal, 6 for a Laplace distribution
    assert 0.25 < np.log(deviations).std() < 0.45


def test_a_negative_seed_is_refused(lenet):
    with pytest.raises(WeightError, match="seed is -1"):
        seeded(lenet, -1)


def saved(tmp_path, weights):
    np.savez(tmp_path / "w.npz", **weights)
    return tmp_path / "w.npz"


def test_a_file_round_trips(tmp_path, lenet):
    weights = seeded(lenet, 1)
    loaded = from_npz(saved(tmp_path, {key: value.astype(np.float64) for key, value in weights.items()}), lenet)
    for key, value in loaded.items():
        assert value.dtype == np.float32
        np.testing.assert_array_equal(value, weights[key])


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda w: w.pop("fc2.bias"), "weight 'fc2.bias' is missing, lenet5 expects shape (84,)"),
        (lambda w: w.update({"fc9.bias": np.zeros(3)}), "weight 'fc9.bias' is not a parameter of lenet5"),
        (
            lambda w: w.update({"fc2.weight": np.zeros((120, 84))}),
            "weight 'fc2.weight' has shape (120, 84), lenet5 expects (84, 120)",
        ),
        (lambda w: w.update({"fc3.bias": np.full(10, np.nan)}), "weight 'fc3.bias' holds NaN"),
        (lambda w: w.update({"fc3.bias": np.full(10, 1e300)}), "weight 'fc3.bias' holds NaN or infinite"),
        (lambda w: w.update({"fc3.bias": np.array(["a"] * 10)}), "weight 'fc3.bias' has type <U1"),
    ],
)
def test_a_mismatching_file_is_refused_by_tensor(tmp_path, lenet, damage, message):
    weights: dict = dict(seeded(lenet, 1))
    damage(weights)
    with pytest.raises(WeightError, match=re.escape(message)):
        from_npz(saved(tmp_path, weights), lenet)


def test_check_guards_weights_that_never_were_a_file(lenet):
    with pytest.raises(WeightError, match=r"'conv1\.weight' is missing"):
        check(lenet, {})


@pytest.mark.parametrize("content", [b"", b"hello", b"PK\x03\x04 cut off"])
def test_a_damaged_file_is_refused(tmp_path, lenet, content):
    path = tmp_path / "w.npz"
    path.write_bytes(content)
    with pytest.raises(WeightError, match=r"not a readable \.npz"):
        from_npz(path, lenet)


def test_a_file_damaged_inside_is_refused(tmp_path, lenet):
    arrays: dict = dict(seeded(lenet, 1))
    np.savez_compressed(tmp_path / "w.npz", **arrays)
    content = bytearray((tmp_path / "w.npz").read_bytes())
    content[200:400] = bytes(200)
    (tmp_path / "w.npz").write_bytes(content)
    with pytest.raises(WeightError, match=r"not a readable \.npz"):
        from_npz(tmp_path / "w.npz", lenet)


def test_missing_files_single_arrays_and_folders_are_refused(tmp_path, lenet):
    with pytest.raises(WeightError, match="does not exist"):
        from_npz(tmp_path / "none.npz", lenet)
    np.save(tmp_path / "one.npy", np.zeros(3))
    with pytest.raises(WeightError, match="is a single array"):
        from_npz(tmp_path / "one.npy", lenet)
    with pytest.raises(WeightError, match="not a readable"):
        from_npz(tmp_path, lenet)
