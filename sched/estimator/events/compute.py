"""Events of a COMPUTE: closed forms of the pixel streamer's walk over a map, and of what its engine does.

Whether a read is padding, and where in a word it begins, is a sum of what rows and what columns contribute. So both are
counted apart: reads are products, and the places in a word a circular convolution.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

import numpy as np

from estimator.engines import timing_of
from estimator.engines.engine import Fields, Pass
from estimator.events.record import UPDATES
from rtl.contract.engines import ENGINES
from rtl.contract.params import CoreParams
from rtl.contract.regs import CoreCounter, EventCounter

__all__ = ["compute_events"]


def compute_events(core: CoreParams, link_bytes: int, setup: Fields, fields: Fields) -> Counter[int]:
    """Events of one COMPUTE, by number of counter, as `Events.counts` has them.

    Parameters
    ----------
    setup : fields of the last SETUP.
    """
    timing = timing_of(setup["engine"])
    spec = ENGINES[timing.name]
    passes, streamed = timing.passes(setup, fields)
    counts: Counter[int] = Counter(timing.operations(setup, passes, streamed))
    counts[spec.pixels_counter] += passes * timing.pass_pixels(streamed)
    counts[CoreCounter.PASSES] += passes
    counts[CoreCounter.ACC_WRITES] += passes * streamed.pixels
    counts[UPDATES + spec.code] += passes * streamed.pixels
    counts[CoreCounter.ACC_READS] += (passes if fields["accumulate"] else passes - 1) * streamed.pixels
    if spec.reads_weights(setup):
        rows = max(1, streamed.columns, streamed.items) * spec.weight_rows(core)
        rows += 0 if spec.lists is None else spec.lists.rows(core, fields["rounds"])
        counts[CoreCounter.WEIGHT_READS] += passes * rows
    reads, split = _act_reads(core, core.act_word_bytes(link_bytes), setup, fields, streamed)
    counts[CoreCounter.ACT_READS] += reads
    counts[EventCounter.ACT_SPLIT_READS] += split
    return counts


def _act_reads(core: CoreParams, word: int, setup: Fields, fields: Fields, streamed: Pass) -> tuple[int, int]:
    """Reads of a COMPUTE that are not padding, and those of them that end in a second word of so many bytes."""
    rows = _along(
        [fields["iy0"] + ky * setup["dilation_h"] for ky in range(setup["kernel_h"])],
        setup["stride_h"], fields["out_h"], fields["in_h"], setup["tap_y"], setup["step_y"], word,
    )  # fmt: skip
    if streamed.columns:  # with a window every input column streams by once
        streams = (streamed.width - 1) * streamed.stride_w + streamed.columns
        columns = _along([-setup["pad_left"]], 1, streams, setup["in_w"], 0, setup["tap_x"], word)
    else:
        columns = _along(
            [kx * setup["dilation_w"] - setup["pad_left"] for kx in range(setup["kernel_w"])],
            setup["stride_w"], setup["out_w"], setup["in_w"], setup["tap_x"], setup["step_x"], word,
        )  # fmt: skip
    blocks = np.bincount(np.arange(fields["blocks"]) * setup["block_pitch"] % word, minlength=word)
    reads = fields["blocks"] * int(rows.sum()) * int(columns.sum())
    places = _convolved(_convolved(rows, columns), blocks)
    # Place p of the sum is place p + act_base of a word; R bytes from behind the latest place on end in the next.
    begins = (np.arange(word) + fields["act_base"]) % word
    return reads, int(places[begins > word - core.rows].sum())


def _along(firsts: list[int], stride: int, count: int, size: int, tap: int, step: int, word: int) -> np.ndarray:
    """Reads along one direction by their place in a word, int64[word].

    Those of tap k, whose first coordinate is ``firsts[k]``, lie at ``k * tap + n * step``, for n < count with
    coordinates from 0 to size - 1.
    """
    found = np.zeros(word, np.int64)
    for k, (low, high) in enumerate(_inside(firsts, stride, count, size)):
        found += np.bincount((k * tap + np.arange(low, high) * step) % word, minlength=word)
    return found


def _inside(firsts: list[int], stride: int, count: int, size: int) -> Iterator[tuple[int, int]]:
    """For each first coordinate the range of n < count with 0 <= first + n * stride < size."""
    for first in firsts:
        if stride == 0:
            yield (0, count) if 0 <= first < size else (0, 0)
            continue
        low, high = max(0, -(first // stride)), min(count, -((first - size) // stride))
        yield (low, high) if low < high else (0, 0)


def _convolved(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Circular convolution of two int64[word]."""
    whole = np.convolve(a, b)
    whole[: len(whole) - len(a)] += whole[len(a) :]
    return whole[: len(a)]
