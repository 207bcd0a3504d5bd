"""A COMPUTE instruction together with the SETUP in force: what the streamer and the weight loader work on."""

from __future__ import annotations

from amaranth.hdl import unsigned
from amaranth.lib import data

from rtl.contract.isa import Compute, Setup

__all__ = ["COMPUTE_FIELDS", "SETUP_FIELDS", "job_layout", "setup_layout"]

SETUP_FIELDS = (
    "engine",
    "tap_mode",
    "tap_shift",
    "kernel_h",
    "kernel_w",
    "stride_h",
    "stride_w",
    "dilation_h",
    "dilation_w",
    "out_w",
    "in_w",
    "pad_left",
    "step_x",
    "tap_x",
    "step_y",
    "tap_y",
    "block_pitch",
    "pad_value",
    "window",
)
COMPUTE_FIELDS = (
    *(f"signal{i}_{part}" for i in range(3) for part in ("valid", "token", "core")),
    "act_base",
    "weight_base",
    "acc_base",
    "blocks",
    "out_h",
    "iy0",
    "in_h",
    "accumulate",
)

setup_layout = data.StructLayout({name: Setup[name].shape for name in SETUP_FIELDS})
job_layout = data.StructLayout(
    {
        "setup": setup_layout,
        **{name: Compute[name].shape for name in COMPUTE_FIELDS},
        "illegal": unsigned(1),
        # Nothing is to be done but report ILLEGAL_FIELD.
    }
)
