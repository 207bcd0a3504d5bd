"""Values for the inputs of a model: a picture where one fits, files that the user names, or seeded numbers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from golden.errors import ImageError
from golden.int8.fallback import Feeds, Port, storage_shape
from golden.net.inputs import INPUT_SEED, load_batch

__all__ = ["load_feeds", "sample_feeds"]

Scales = Mapping[str, tuple[float, int]]
"""Scale and zero point of integer inputs that a model reads as quantised pictures, by name."""


def sample_feeds(inputs: Sequence[Port], number: int = 0) -> dict[str, np.ndarray]:
    """Seeded values of every input: normal ones, or integers 0 and 1, which are valid as masks and as indices."""
    rng = np.random.default_rng(INPUT_SEED + number)
    feeds = {}
    for port in inputs:
        kind = np.dtype(port.dtype).kind
        values = rng.normal(size=port.shape) if kind == "f" else rng.integers(0, 2, port.shape)
        feeds[port.name] = np.asarray(values, dtype=port.dtype)
    return feeds


def load_feeds(
    inputs: Sequence[Port], files: Sequence[str | Path], batch: int, scales: Scales
) -> tuple[list[dict[str, np.ndarray]], str]:
    """Values of a model's inputs for each picture, and a line on where they come from if that is no picture.

    The first input of three or four dimensions or of one alone takes the picture: (1, C, H, W) or (1, H, W, C) with one
    or three channels. Where a scale is known, integers hold it quantised; other integers hold its bytes, 0..255.

    Parameters
    ----------
    files : sequence of path
        Of each picture: a picture, an .npy file with the values of that input, or an .npz file with values by the
        names of inputs. None: the default picture.

    Raises
    ------
    ImageError
        As `golden.net.inputs.load_batch`; or if an array does not fit an input.
    """
    feeds = [sample_feeds(inputs, number) for number in range(batch)]
    named = [Path(file).suffix == ".npz" for file in files]
    if any(named):
        if not all(named) or len(files) != batch:
            raise ImageError(f"IMAGE gives {len(files)} files for BATCH={batch}; give an .npz file for each picture")
        for feed, file in zip(feeds, files, strict=True):
            feed |= _read_arrays(Path(file), inputs)
        return feeds, f"input: {', '.join(map(str, files))}"
    port = _pictured(inputs)
    pictures, note = _pictures(port, files, batch, scales.get(port.name))
    for feed, value in zip(feeds, pictures, strict=True):
        feed[port.name] = value
    others = [other.name for other in inputs if other is not port]
    if others:
        note = (
            f"{note or f'input {port.name}: the picture'}; {', '.join(others)}: seeded values; IMAGE=file.npz sets all"
        )
    return feeds, note


def _pictured(inputs: Sequence[Port]) -> Port:
    """The input that takes the picture."""
    return next((port for port in inputs if len(port.shape) == 4), inputs[0])


def _pictures(
    port: Port, files: Sequence[str | Path], batch: int, scale: tuple[float, int] | None
) -> tuple[list[np.ndarray], str]:
    kind = np.dtype(port.dtype).kind
    if kind != "f" and scale is None and not (len(port.shape) == 4 and _channels_last(port)[0] in (1, 3)) and not files:
        values = [sample_feeds([port], number)[port.name] for number in range(batch)]
        return values, f"input {port.name}: 0 and 1 by seed {INPUT_SEED}; IMAGE=file.npy sets it"
    chw = _channels_last(port)
    loaded, note = load_batch(files, chw, batch)
    turned = chw != storage_shape(port.shape)
    made = []
    for values in loaded:
        value = (values.transpose(1, 2, 0) if turned else values).reshape(port.shape)
        if scale is not None:
            value = replace(port, dtype="float32").of_reals(value)
            info = np.iinfo(port.dtype)
            raw = np.rint(value.astype(np.float64) / scale[0]) + scale[1] + 128 * (port.dtype == "uint8")
            value = np.clip(raw, info.min, info.max)
        elif kind != "f" and not note:
            value = np.clip(np.rint(value * 64 + 128), 0, 255 if port.dtype != "int8" else 127)
        made.append(value.astype(port.dtype))
    return made, note


def _channels_last(port: Port) -> tuple[int, int, int]:
    """(C, H, W) of a picture for an input, whichever way it wants its channels."""
    shape = port.shape
    if len(shape) == 4 and shape[0] == 1 and shape[1] not in (1, 3) and shape[3] in (1, 3):
        return shape[3], shape[1], shape[2]
    return storage_shape(shape)


def _read_arrays(path: Path, inputs: Sequence[Port]) -> Feeds:
    try:
        with np.load(path, allow_pickle=False) as arrays:
            values = {name: arrays[name] for name in arrays.files}
    except FileNotFoundError:
        raise ImageError(f"input {str(path)!r} does not exist; check IMAGE") from None
    except (OSError, ValueError, EOFError) as error:
        raise ImageError(f"input {str(path)!r} is no .npz file of numbers ({error}); save it again") from error
    ports = {port.name: port for port in inputs}
    for name, value in values.items():
        if name not in ports:
            raise ImageError(f"{str(path)!r} holds {name!r}, but the model's inputs are {', '.join(ports)}")
        port = ports[name]
        if value.size != np.prod(port.shape, dtype=int) or value.dtype.kind not in "fiub":
            raise ImageError(
                f"{name!r} in {str(path)!r} is {value.dtype}{value.shape}; it must be {port.dtype}{port.shape}"
            )
        values[name] = value.reshape(port.shape).astype(port.dtype)
    return values
