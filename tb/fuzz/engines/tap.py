"""Random programs for the tap unit."""

from __future__ import annotations

import numpy as np

from rtl.contract.codec import field_range
from rtl.contract.engines.tap import TapMode
from rtl.contract.isa import Opcode
from rtl.contract.params import CoreParams
from tb.fuzz.engines.fuzz import EngineFuzz, Fields

__all__ = ["TAP"]


def _options(rng: np.random.Generator, core: CoreParams, geometry: Fields) -> dict[str, int]:
    window = int(geometry["kernel_w"] <= core.tap_columns and rng.random() < 0.5)
    return {
        "tap_mode": int(rng.choice(list(TapMode))),
        "tap_shift": int(rng.choice([0, 0, 3, int(rng.integers(32))])),
        "window": window,
        "stride_w": max(window, geometry["stride_w"]),
    }


def _illegal(rng: np.random.Generator, core: CoreParams) -> list[dict[str, int]]:
    window = {"window": 1, "kernel_w": 1, "stride_w": 1}
    most = field_range(Opcode.SETUP, "kernel_w")[1]
    wide = int(rng.choice([core.tap_columns + 1, most, int(rng.integers(core.tap_columns + 1, most + 1))]))
    return [window | {"kernel_w": wide}, window | {"stride_w": 0}]


def _window(geometry: Fields) -> bool:
    return bool(geometry["window"])


TAP = EngineFuzz(_options, _illegal, _window)
