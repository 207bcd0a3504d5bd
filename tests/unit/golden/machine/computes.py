"""COMPUTEs for tests of the machine: cores full of noise, random geometry, and loops that say what must come out."""

from collections import Counter
from random import Random

import numpy as np

from golden.machine.compute import commit, compute
from golden.machine.state import CoreState
from rtl.contract.engines.tap import TapMode
from rtl.contract.isa import Engine
from rtl.contract.params import ChipParams, CoreParams, Direction, MemoryNodeParams
from rtl.contract.regs import CoreCounter, EventCounter

__all__ = ["MASK", "SHAPES", "check_random_geometry", "core_of", "direct", "flat_compute", "flat_setup"]

SHAPES = [(4, 4), (8, 4), (4, 16), (16, 16), (32, 16)]
MASK = (1 << 22) - 1


def core_of(rows: int, cols: int, link_bytes: int, seed: int, **sizes: int) -> CoreState:
    """A core whose memories hold noise."""
    core = CoreParams(rows=rows, cols=cols, **sizes)
    chip = ChipParams(1, 1, (core,), (MemoryNodeParams(0, 0, Direction.WEST),), link_bytes=link_bytes)
    return CoreState(0, chip, np.random.default_rng(seed))


def direct(
    core: CoreState, g: dict[str, int], f: dict[str, int], read: set[tuple[int, ...]] | None = None
) -> np.ndarray:
    """The accumulators after a COMPUTE, pass by pass and pixel by pixel, as rtl.contract.isa words it.

    Addresses that are read go to `read`, with the pass and the input coordinates that they are read for.
    """
    rows, cols = core.params.rows, core.params.cols
    lanes = min(rows, cols)
    acc = core.acc.astype(np.int64)
    weight = core.weight.astype(np.int64)
    number = 0
    for block in range(f["blocks"]):
        for ky in range(g["kernel_h"]):
            for kx in range(g["kernel_w"]):
                for oy in range(f["out_h"]):
                    for ox in range(g["out_w"]):
                        iy = f["iy0"] + oy * g["stride_h"] + ky * g["dilation_h"]
                        step_x, dilation_w = g["step_x"], g["dilation_w"]
                        if g["window"]:
                            step_x, dilation_w = g["stride_w"] * g["tap_x"], 1
                        ix = -g["pad_left"] + ox * g["stride_w"] + kx * dilation_w
                        if 0 <= iy < f["in_h"] and 0 <= ix < g["in_w"]:
                            address = f["act_base"] + block * g["block_pitch"] + ky * g["tap_y"] + kx * g["tap_x"]
                            address = (address + oy * g["step_y"] + ox * step_x) & MASK
                            assert address + rows <= len(core.act)
                            if read is not None:
                                one = (iy, ix) if g["window"] else (iy, ix, kx, oy, ox)
                                read.add((address, block, ky, oy, *one))
                            act = core.act[address : address + rows].astype(np.int64)
                        else:
                            act = np.full(rows, g["pad_value"], np.int64)
                        entry = acc[f["acc_base"] + oy * g["out_w"] + ox]
                        overwrite = number == 0 and not f["accumulate"]
                        if g["engine"] == Engine.ARRAY:
                            at = f["weight_base"] + number * rows * cols
                            new = act @ weight[at : at + rows * cols].reshape(rows, cols)
                            entry[:] = new if overwrite else entry + new
                        elif g["tap_mode"] == TapMode.MAC:
                            at = f["weight_base"] + number * cols
                            new = act[:lanes] * weight[at : at + lanes] << g["tap_shift"]
                            entry[:lanes] = new if overwrite else entry[:lanes] + new
                        else:
                            new = act[:lanes]
                            entry[:lanes] = new if overwrite else np.maximum(entry[:lanes], new)
                number += 1
    return acc.astype(np.int32)  # modulo 2**32


def random_geometry(rng: Random, core: CoreState, engine: Engine) -> tuple[dict[str, int], dict[str, int]]:
    """A convolution-like walk that stays inside memories, with padding on all sides."""
    rows, cols = core.params.rows, core.params.cols
    in_h, in_w = rng.randint(1, 7), rng.randint(1, 7)
    kernel_h, kernel_w = rng.choice([1, 1, 2, 3, 5]), rng.choice([1, 2, 3, 3])
    stride_h, stride_w = rng.choice([0, 1, 1, 2, 3]), rng.choice([0, 1, 1, 2, 3])
    dilation_h, dilation_w = rng.choice([1, 1, 2]), rng.choice([1, 1, 3])
    pad_left, iy0 = rng.randint(0, 3), rng.randint(-3, 2)
    out_h, out_w = rng.randint(1, 4), rng.randint(1, 5)
    pixel = rng.choice([1, 3, core.link_bytes, rows])
    row = in_w * pixel + rng.choice([0, 0, 5])
    pitch = in_h * row + rng.randint(0, 9)
    passes_left = max(1, 24 // (kernel_h * kernel_w))
    blocks = rng.randint(1, min(passes_left, 4))
    origin = rng.randint(0, 40)
    window = engine == Engine.TAP and rng.random() < 0.5
    if window:
        dilation_w, stride_w = 1, max(1, stride_w)
    setup = {
        "engine": engine,
        "tap_mode": rng.choice(list(TapMode)),
        "tap_shift": rng.choice([0, 0, 1, 8, 31]),
        "kernel_h": kernel_h,
        "kernel_w": kernel_w,
        "stride_h": stride_h,
        "stride_w": stride_w,
        "dilation_h": dilation_h,
        "dilation_w": dilation_w,
        "out_w": out_w,
        "in_w": in_w,
        "pad_left": pad_left,
        "step_x": stride_w * pixel,
        "tap_x": dilation_w * pixel,
        "step_y": stride_h * row,
        "tap_y": dilation_h * row,
        "block_pitch": pitch,
        "pad_value": rng.choice([0, -128, 127, 5]),
        "window": int(window),
    }
    region = out_h * out_w
    bank = core.params.acc_bank_entries
    passes = blocks * kernel_h * kernel_w
    pass_bytes = rows * cols if engine == Engine.ARRAY else cols
    compute_fields = {
        # The address of the (often padded) first pixel may lie before the map: modulo 2**22.
        "act_base": (origin + iy0 * row - pad_left * pixel) & MASK,
        "weight_base": rng.randrange((len(core.weight) - passes * pass_bytes) // cols + 1) * cols,
        "acc_base": rng.randrange(2) * bank + rng.randint(0, bank - region),
        "blocks": blocks,
        "out_h": out_h,
        "iy0": iy0,
        "in_h": in_h,
        "accumulate": rng.randrange(2),
    }
    return setup, compute_fields


def check_random_geometry(shape: tuple[int, int], engine: Engine, seed: int) -> None:
    """Three COMPUTEs one after the other: accumulators and counters against the loops."""
    rng = Random(f"{shape}{engine}{seed}")
    link_bytes = rng.choice([4, 8, 16, 32, 64])
    core = core_of(*shape, link_bytes, seed, acc_entries=64, act_bytes=8192, weight_bytes=32768)
    for _ in range(3):
        setup, fields = random_geometry(rng, core, engine)
        before = core.counts.copy()
        core.geometry = setup
        read: set[tuple[int, ...]] = set()
        expected = direct(core, setup, fields, read)
        commit(core, compute(core, fields))
        lanes = core.params.tap_lanes if engine == Engine.TAP else core.params.cols
        np.testing.assert_array_equal(core.acc[:, :lanes], expected[:, :lanes])
        counter = CoreCounter.TAP_PIXELS if engine == Engine.TAP else CoreCounter.ARRAY_PIXELS
        passes, columns = fields["blocks"] * setup["kernel_h"] * setup["kernel_w"], setup["out_w"]
        if setup["window"]:
            passes //= setup["kernel_w"]
            columns = (setup["out_w"] - 1) * setup["stride_w"] + setup["kernel_w"]
        assert core.counts[CoreCounter.PASSES] - before[CoreCounter.PASSES] == passes
        assert core.counts[counter] - before[counter] == passes * fields["out_h"] * columns
        _check_events(core, core.counts - before, setup, fields, read)


def _check_events(
    core: CoreState, counts: Counter[int], setup: dict[str, int], fields: dict[str, int], read: set[tuple[int, ...]]
) -> None:
    """Counters of what a COMPUTE reads and writes against the loops."""
    taps = fields["blocks"] * setup["kernel_h"] * setup["kernel_w"]
    pixels = fields["out_h"] * setup["out_w"]
    passes = counts[CoreCounter.PASSES]
    assert counts[CoreCounter.ACC_WRITES] == passes * pixels
    assert counts[CoreCounter.ACC_READS] == (passes - (not fields["accumulate"])) * pixels
    of_tap = setup["engine"] == Engine.TAP
    is_max = of_tap and setup["tap_mode"] == TapMode.MAX
    assert counts[CoreCounter.WEIGHT_READS] == (0 if is_max else taps * (1 if of_tap else core.params.rows))
    assert counts[EventCounter.TAP_MACS] == (taps * pixels if of_tap and not is_max else 0)
    assert counts[EventCounter.TAP_MAXIMA] == (taps * pixels if is_max else 0)
    if setup["window"] and setup["stride_w"] > setup["kernel_w"]:
        return  # columns that no window needs stream by as well
    word = max(core.params.rows, core.link_bytes)
    assert counts[CoreCounter.ACT_READS] == len(read)
    ends = [(address[0] + core.params.rows - 1) // word - address[0] // word for address in read]
    assert counts[EventCounter.ACT_SPLIT_READS] == sum(ends)


def flat_setup(**fields: int) -> dict[str, int]:
    """One pixel, kernel 1x1, one address step a block."""
    base = dict.fromkeys(
        ("tap_mode", "tap_shift", "pad_left", "step_x", "tap_x", "step_y", "tap_y", "pad_value", "window"), 0
    )
    ones = dict.fromkeys(
        ("kernel_h", "kernel_w", "stride_h", "stride_w", "dilation_h", "dilation_w", "out_w", "in_w"), 1
    )
    return {"engine": Engine.ARRAY, **base, **ones, "block_pitch": 0, **fields}


def flat_compute(**fields: int) -> dict[str, int]:
    zeros = dict.fromkeys(("act_base", "weight_base", "acc_base", "iy0", "accumulate"), 0)
    return {**zeros, "blocks": 1, "out_h": 1, "in_h": 1, **fields}
