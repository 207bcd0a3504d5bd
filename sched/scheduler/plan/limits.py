"""Limits that instruction fields and AXI set, read off the contract: nobody lists them a second time."""

from __future__ import annotations

from rtl.contract.isa import PARAM_BYTES_PER_CHANNEL, Opcode, field_range

__all__ = [
    "ACT_ADDRESSES",
    "ADDRESS_SPACE",
    "MAX_BLOCKS",
    "MAX_RUN_FLITS",
    "MAX_STEP",
    "MAX_STRIDE",
    "MAX_TAPS",
    "MAX_WIDTH",
    "PAGE_BYTES",
    "PARAM_FLITS",
    "largest",
]


def largest(opcode: Opcode, field: str) -> int:
    """Largest value that a field holds."""
    return field_range(opcode, field)[1]


MAX_BLOCKS = largest(Opcode.COMPUTE, "blocks")
"""Words of a COMPUTE."""
MAX_TAPS = largest(Opcode.SETUP, "kernel_h")
"""Kernel rows, and columns, of a COMPUTE."""
MAX_STRIDE = largest(Opcode.SETUP, "stride_h")
"""Of rows and columns; a dilation is no larger."""
MAX_WIDTH = largest(Opcode.SETUP, "in_w")
"""Input columns of a tile."""
MAX_STEP = largest(Opcode.SETUP, "step_x")
"""Bytes from one output column's input to the next one's."""
MAX_RUN_FLITS = largest(Opcode.LOAD, "run_flits")
ACT_ADDRESSES = largest(Opcode.COMPUTE, "act_base") + 1
"""Byte addresses of activations: sums of them wrap here."""
ADDRESS_SPACE = largest(Opcode.LOAD, "dram_addr") + 1
"""Bytes of DRAM that an instruction can name."""
PARAM_FLITS = PARAM_BYTES_PER_CHANNEL
"""Flits of a parameter block: as many channels as a flit has bytes, each with its parameters."""
PAGE_BYTES = 4096
"""AXI4 bursts end at such addresses."""
