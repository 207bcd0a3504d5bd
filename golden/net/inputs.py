"""Input pictures: read, resize, crop and normalise as ImageNet networks expect."""

import math
import warnings
from collections.abc import Sequence
from importlib.resources import as_file, files
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from golden.errors import ImageError

__all__ = ["DEFAULT_PICTURE", "load_batch", "load_image", "load_input"]

DEFAULT_PICTURE = "chelsea.png"
"""Photograph of a cat (CC0, Stefan van der Walt) inside scikit-image's wheel; read from there, never downloaded."""

MEAN_RGB = (0.485, 0.456, 0.406)
DEVIATION_RGB = (0.229, 0.224, 0.225)
MEAN_GREY, DEVIATION_GREY = 0.449, 0.226

INPUT_SEED = 1
"""Of the input of networks that take no picture."""

WHOLE_PIXELS = 1 << 24
"""Largest picture that is resized as a whole and then cropped."""
CROP_FRACTION = 224 / 256
"""The crop takes this part of the resized picture, as in torchvision's reference preprocessing."""


def load_input(path: str | Path | None, shape: tuple[int, int, int]) -> tuple[np.ndarray, str]:
    """Any network's input, and a line on where it comes from if that is no picture.

    Parameters
    ----------
    path : path or None
        A picture, or an .npy file with the float values themselves. None means the default photograph, or seeded
        normal values where a picture does not give as many channels.
    shape : (C, H, W)

    Raises
    ------
    ImageError
        As `load_image`; or if an .npy file holds something else than C*H*W finite numbers.
    """
    if path is not None and Path(path).suffix == ".npy":
        return _read_array(Path(path), shape), f"input: {path}"
    if path is None and (shape[0] not in (1, 3) or shape[1:] == (1, 1)):
        values = np.random.default_rng(INPUT_SEED).normal(size=shape).astype(np.float32)
        why = f"for no picture has shape {shape}; IMAGE=file.npy sets it"
        return values, f"input: normal values of seed {INPUT_SEED}, {why}"
    return load_image(path, shape), ""


def load_batch(paths: Sequence[str | Path], shape: tuple[int, int, int], batch: int) -> tuple[list[np.ndarray], str]:
    """Inputs of so many pictures, and a line on where the first comes from if that is no picture.

    Parameters
    ----------
    paths : sequence of path
        One for each, as for `load_input`; or none: then the first is the default one, and the others are the same moved
        sideways, every second mirrored.

    Raises
    ------
    ImageError
        As `load_input`; or if there are more paths or fewer.
    """
    if paths and len(paths) != batch:
        raise ImageError(f"IMAGE gives {len(paths)} pictures for BATCH={batch}; give {batch}, or leave IMAGE out")
    loaded = [load_input(path, shape) for path in paths] or [load_input(None, shape)]
    inputs = [values for values, _ in loaded]
    for number in range(len(inputs), batch):
        moved = np.roll(inputs[0], number * shape[2] // batch, axis=2)
        inputs.append(np.ascontiguousarray(moved[:, :, ::-1] if number % 2 else moved))
    return inputs, loaded[0][1]


def _read_array(path: Path, shape: tuple[int, int, int]) -> np.ndarray:
    try:
        values = np.load(path, allow_pickle=False)
    except FileNotFoundError:
        raise ImageError(f"input {str(path)!r} does not exist; check IMAGE") from None
    except (OSError, ValueError, EOFError) as error:
        raise ImageError(f"input {str(path)!r} is no .npy file of numbers ({error}); save it again") from error
    if not isinstance(values, np.ndarray) or values.dtype.kind not in "fiu" or not np.isfinite(values).all():
        raise ImageError(f"input {str(path)!r} holds something else than finite numbers; save it again")
    trimmed = values[0] if values.ndim == 4 and values.shape[0] == 1 else values
    if trimmed.shape != shape and (shape[1:] != (1, 1) or values.size != shape[0]):
        raise ImageError(f"input {str(path)!r} has shape {values.shape}; the network takes {shape}")
    return np.ascontiguousarray(values.reshape(shape), dtype=np.float32)


def load_image(path: str | Path | None, shape: tuple[int, int, int]) -> np.ndarray:
    """Picture as a network's input.

    The shorter side is resized (bilinear, antialiased) to 256/224 of the network's size, the centre is cropped and
    normalised with ImageNet's mean and standard deviation; one channel means luma.

    Parameters
    ----------
    path : path or None
        Any format Pillow reads; None means the default photograph.
    shape : (C, H, W)
        C is 1 or 3.

    Returns
    -------
    float32[C, H, W]

    Raises
    ------
    ImageError
        If the file is missing, no picture, damaged or of more than 8 bits per channel, or C is neither 1 nor 3.
    """
    channels, height, width = shape
    if channels not in (1, 3):
        raise ImageError(
            f"the network takes {channels} channels; a picture gives 1 (grey) or 3 (colour): give "
            "IMAGE=file.npy with the values"
        )
    if path is None:
        with as_file(files("skimage.data") / DEFAULT_PICTURE) as default:
            picture = _read(default, "L" if channels == 1 else "RGB")
    else:
        picture = _read(Path(path), "L" if channels == 1 else "RGB")
    pixels = np.asarray(_resize_and_crop(picture, height, width), dtype=np.float32) / np.float32(255)
    if channels == 1:
        return ((pixels - np.float32(MEAN_GREY)) / np.float32(DEVIATION_GREY))[None]
    normalised = (pixels - np.array(MEAN_RGB, np.float32)) / np.array(DEVIATION_RGB, np.float32)
    return np.ascontiguousarray(normalised.transpose(2, 0, 1))


def _read(path: Path, mode: str) -> Image.Image:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            with Image.open(path) as picture:
                if picture.mode == "F" or picture.mode.startswith("I"):
                    raise ImageError(f"picture {str(path)!r} has mode {picture.mode}; save it with 8 bits per channel")
                return ImageOps.exif_transpose(picture).convert(mode)
    except FileNotFoundError:
        raise ImageError(f"picture {str(path)!r} does not exist; check IMAGE") from None
    except UnidentifiedImageError:
        raise ImageError(f"{str(path)!r} is not a picture Pillow can read; use PNG or JPEG") from None
    except (Image.DecompressionBombError, Image.DecompressionBombWarning):
        raise ImageError(f"picture {str(path)!r} is too large; scale it down first") from None
    except (OSError, SyntaxError) as error:  # Pillow reports damaged PNGs as SyntaxError
        raise ImageError(f"picture {str(path)!r} cannot be read ({error}); save it again") from error


def _resize_and_crop(picture: Image.Image, height: int, width: int) -> Image.Image:
    """Smallest enlargement or reduction that leaves the margin around the crop on both sides."""
    ratio = max(height / picture.height, width / picture.width) / CROP_FRACTION
    size = (max(width, math.floor(picture.width * ratio + 0.5)), max(height, math.floor(picture.height * ratio + 0.5)))
    left, top = (size[0] - width) // 2, (size[1] - height) // 2
    if size[0] * size[1] > WHOLE_PIXELS:  # of a signal in one dimension: nearly all of it would be cut off
        across, down = picture.width / size[0], picture.height / size[1]
        box = (left * across, top * down, (left + width) * across, (top + height) * down)
        return picture.resize((width, height), Image.Resampling.BILINEAR, box=box)
    resized = picture.resize(size, Image.Resampling.BILINEAR)
    return resized.crop((left, top, left + width, top + height))
