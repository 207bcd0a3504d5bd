"""Pictures as network inputs."""

import socket

import numpy as np
import pytest
from PIL import Image

from golden.errors import ImageError
from golden.net.inputs import load_batch, load_image, load_input


@pytest.mark.parametrize("shape", [(3, 224, 224), (1, 32, 32), (3, 17, 40)])
def test_the_default_is_a_photograph_that_needs_no_network(shape, monkeypatch):
    monkeypatch.setattr(socket, "socket", lambda *_, **__: pytest.fail("opened a socket"))
    image = load_image(None, shape)
    assert image.shape == shape
    assert image.dtype == np.float32
    assert image.flags.c_contiguous
    assert image.std() > 0.3  # a picture, not a flat colour


def test_pictures_of_a_batch_differ_and_the_first_is_the_default():
    inputs, note = load_batch((), (3, 32, 40), 5)
    assert note == ""
    np.testing.assert_array_equal(inputs[0], load_image(None, (3, 32, 40)))
    assert len({values.tobytes() for values in inputs}) == 5
    assert {values.shape for values in inputs} == {(3, 32, 40)}
    _, note = load_batch((), (8, 4, 4), 2)
    assert "IMAGE=file.npy sets it" in note


def test_each_picture_of_a_batch_has_a_file_or_none_has(tmp_path):
    for number in range(3):
        np.save(tmp_path / f"{number}.npy", np.full((2, 3, 3), number, np.float32))
    files = [tmp_path / f"{number}.npy" for number in range(3)]
    inputs, _ = load_batch(files, (2, 3, 3), 3)
    assert [values[0, 0, 0] for values in inputs] == [0, 1, 2]
    with pytest.raises(ImageError, match="IMAGE gives 3 pictures for BATCH=2; give 2, or leave IMAGE out"):
        load_batch(files, (2, 3, 3), 2)


def test_one_colour_is_normalised_by_channel(tmp_path):
    Image.new("RGB", (50, 40), (255, 0, 51)).save(tmp_path / "c.png")
    image = load_image(tmp_path / "c.png", (3, 8, 8))
    expected = [(1 - 0.485) / 0.229, -0.456 / 0.224, (0.2 - 0.406) / 0.225]
    np.testing.assert_allclose(image[:, 3, 3], expected, rtol=1e-5)


def test_grey_uses_luma(tmp_path):
    Image.new("RGB", (50, 40), (255, 255, 255)).save(tmp_path / "w.png")
    np.testing.assert_allclose(load_image(tmp_path / "w.png", (1, 8, 8)), (1 - 0.449) / 0.226, rtol=1e-5)


def test_the_centre_is_cropped(tmp_path):
    pixels = np.zeros((100, 300, 3), np.uint8)
    pixels[:, 100:200] = 255
    Image.fromarray(pixels).save(tmp_path / "stripe.png")
    image = load_image(tmp_path / "stripe.png", (3, 28, 28))
    np.testing.assert_allclose(image[0, :, 2:-2], (1 - 0.485) / 0.229, rtol=1e-5)


@pytest.mark.parametrize("mode", ["L", "LA", "P", "RGBA", "CMYK", "1"])
@pytest.mark.parametrize("shape", [(3, 8, 8), (1, 8, 8)])
def test_every_common_colour_mode_is_read(tmp_path, mode, shape):
    Image.new(mode, (20, 20)).save(tmp_path / "m.tif")
    assert load_image(tmp_path / "m.tif", shape).shape == shape


def test_bad_pictures_are_refused(tmp_path):
    with pytest.raises(ImageError, match="does not exist; check IMAGE"):
        load_image(tmp_path / "none.png", (3, 8, 8))
    (tmp_path / "text.png").write_text("hello")
    with pytest.raises(ImageError, match="is not a picture Pillow can read"):
        load_image(tmp_path / "text.png", (3, 8, 8))
    with pytest.raises(ImageError, match="cannot be read"):
        load_image(tmp_path, (3, 8, 8))
    Image.fromarray(np.zeros((20, 20), np.uint16)).save(tmp_path / "deep.png")
    with pytest.raises(ImageError, match="8 bits per channel"):
        load_image(tmp_path / "deep.png", (3, 8, 8))


def test_a_truncated_picture_is_refused(tmp_path):
    noise = np.random.default_rng(0).integers(0, 256, (64, 64, 3), np.uint8)
    Image.fromarray(noise).save(tmp_path / "whole.png")
    (tmp_path / "cut.png").write_bytes((tmp_path / "whole.png").read_bytes()[:4000])
    with pytest.raises(ImageError, match="cannot be read"):
        load_image(tmp_path / "cut.png", (3, 8, 8))


def test_networks_of_other_channel_counts_are_refused():
    with pytest.raises(ImageError, match="the network takes 4 channels"):
        load_image(None, (4, 8, 8))


def test_arrays_are_taken_as_they_are(tmp_path):
    values = np.random.default_rng(0).normal(size=(1, 4, 3, 2))
    np.save(tmp_path / "x.npy", values)
    got, note = load_input(tmp_path / "x.npy", (4, 3, 2))
    np.testing.assert_array_equal(got, values[0].astype(np.float32))
    assert "x.npy" in note
    np.save(tmp_path / "flat.npy", np.arange(5))
    assert load_input(tmp_path / "flat.npy", (5, 1, 1))[0].shape == (5, 1, 1)


@pytest.mark.parametrize("shape", [(4, 8, 8), (16, 1, 1), (3, 1, 1)])
def test_networks_that_take_no_picture_get_seeded_values_and_a_note(shape):
    got, note = load_input(None, shape)
    assert got.shape == shape
    assert got.dtype == np.float32
    assert "normal values of seed 1" in note
    np.testing.assert_array_equal(got, load_input(None, shape)[0])


def test_networks_that_take_pictures_get_one_without_a_note():
    got, note = load_input(None, (3, 16, 16))
    np.testing.assert_array_equal(got, load_image(None, (3, 16, 16)))
    assert note == ""
