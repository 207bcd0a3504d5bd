"""Memories, token counters and event counts of one core."""

from collections import Counter
from math import prod

import numpy as np

from golden.machine.faults import Fault
from rtl.contract.codec import unpack_params
from rtl.contract.isa import PARAM_BYTES_PER_CHANNEL, TABLE_BYTES, Space, Unit
from rtl.contract.params import ChipParams
from rtl.contract.regs import CoreCounter, ErrorCode, EventCounter

__all__ = ["TOKEN_MAX", "UNDEFINED", "CoreState", "fresh_cores"]

TOKEN_MAX = 255
"""Largest value of a token counter; one more is TOKEN_OVERFLOW."""

UNDEFINED = -0x21524111
"""Value of accumulator lanes that the instruction set leaves undefined, unless told otherwise."""

_RANGE = {Space.ACT: ErrorCode.ACT_RANGE, Space.WEIGHT: ErrorCode.WEIGHT_RANGE, Space.PARAM: ErrorCode.PARAM_RANGE}


class CoreState:
    """State of one core between instructions.

    Attributes
    ----------
    act, weight : int8[act_bytes], int8[weight_bytes]
    param : int8[param_blocks * B * 8]
    table : int8[256]
        Copied by the last TABLE.
    acc : int32[acc_entries, C]
    acc_defined : bool[acc_entries, C]
        False where nothing meaningful was written: not to be compared with hardware.
    undefined : int
        int32 that lanes get which the instruction set leaves undefined.
    tokens : list of int
    geometry : dict or None
        Fields of the last SETUP.
    pool : dict or None
        Fields of the last POOL.
    counts : Counter of numbers of counters
        Events that do not depend on timing (`rtl.contract.regs.STATIC_COUNTERS`).
    marks : list of int
        Marks that the compute unit has passed, in their order; always empty without a trace memory.
    noted : list of Counter
        The counts, as they were in front of each border that was asked for.
    flits_in, flits_out : int
        Flits of data from memory nodes and cores, and of a STORE's data. Hardware counts requests, signals,
        acknowledgements and programs besides.
    """

    def __init__(self, index: int, chip: ChipParams, rng: np.random.Generator | None) -> None:
        self.index = index
        self.params = chip.cores[index]
        self.link_bytes = chip.link_bytes
        self.act_groups = self.params.act_groups(chip.link_bytes)
        size = self.params
        self.act = _memory(size.act_bytes, rng)
        self.weight = _memory(size.weight_bytes, rng)
        self.param = _memory(size.param_blocks * chip.link_bytes * PARAM_BYTES_PER_CHANNEL, rng)
        self.table = _memory(TABLE_BYTES, rng)
        self.acc = _memory(4 * size.acc_entries * size.cols, rng).view(np.int32).reshape(size.acc_entries, size.cols)
        self.acc_defined = np.zeros(self.acc.shape, bool)
        self.undefined = UNDEFINED
        self.tokens = [0] * chip.tokens
        self.geometry: dict[str, int] | None = None
        self.pool: dict[str, int] | None = None
        self.counts: Counter[int] = Counter()
        self.marks: list[int] = []
        self.noted: list[Counter[int]] = []
        self.flits_in = 0
        self.flits_out = 0
        self._workspace = np.empty(0, np.uint8)
        self._spaces = {Space.ACT: self.act, Space.WEIGHT: self.weight, Space.PARAM: self.param}

    def add_token(self, token: int) -> None:
        if self.tokens[token] == TOKEN_MAX:
            why = f"core {self.index}: token {token} grows beyond {TOKEN_MAX}"
            raise Fault(ErrorCode.TOKEN_OVERFLOW, self.index, None, why)
        self.tokens[token] += 1

    def flit_step(self, planar: int) -> int:
        """Distance in flit addresses from one flit of a run to the next."""
        return self.act_groups if planar else 1

    def write_flits(self, space: Space, addresses: np.ndarray, flits: np.ndarray, lane_offset: int = 0) -> None:
        """Write one flit per address.

        Parameters
        ----------
        addresses : int64[...]
            Flit addresses.
        flits : int8[..., lanes]
            Goes to bytes [lane_offset, lane_offset + lanes) of each.
        """
        blocks = self._spaces[space].reshape(-1, self.link_bytes)
        highest = int(addresses.max())
        if highest >= len(blocks):
            why = f"core {self.index}: a flit for {space.name} address {highest} of {len(blocks)}"
            raise Fault(_RANGE[space], self.index, None, why)
        if flits.shape[-1] == self.link_bytes:
            blocks[addresses] = flits
        else:
            blocks[addresses, lane_offset : lane_offset + flits.shape[-1]] = flits
        self.flits_in += addresses.size
        if space == Space.ACT:
            self.counts[CoreCounter.ACT_WRITES] += addresses.size
        elif space == Space.WEIGHT:
            self.counts[CoreCounter.WEIGHT_WRITES] += addresses.size
        else:
            self.counts[EventCounter.PARAM_WRITES] += addresses.size

    def param_block(self, block: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Bias, multiplier and shift of the B channels of a parameter block."""
        size = self.link_bytes * PARAM_BYTES_PER_CHANNEL
        return unpack_params(self.param[block * size : (block + 1) * size].view(np.uint8))

    def load_table(self, block: int) -> None:
        """Carry out a TABLE: entries from parameter block `block` on."""
        first = block * self.link_bytes * PARAM_BYTES_PER_CHANNEL
        self.table[:] = self.param[first : first + TABLE_BYTES]
        self.counts[EventCounter.PARAM_READS] += TABLE_BYTES // self.link_bytes
        self.counts[EventCounter.TABLE_WRITES] += TABLE_BYTES

    def workspace(self, shape: tuple[int, ...], dtype: type) -> np.ndarray:
        """An array for intermediate values, over the same bytes each time: fresh pages cost more than the sums."""
        size = prod(shape) * np.dtype(dtype).itemsize
        if size > len(self._workspace):
            self._workspace = np.empty(size, np.uint8)
        return self._workspace[:size].view(dtype).reshape(shape)

    def fault(self, code: ErrorCode, unit: Unit, why: str) -> Fault:
        return Fault(code, self.index, unit, f"core {self.index}, {unit.name.lower()} unit: {why}")


def fresh_cores(chip: ChipParams, fill_seed: int | None = None) -> tuple[CoreState, ...]:
    """The cores before a run: memories full of zeros, or of the noise that `fill_seed` stands for."""
    rng = None if fill_seed is None else np.random.default_rng(fill_seed)
    return tuple(CoreState(i, chip, rng) for i in range(chip.n_cores))


def _memory(size_bytes: int, rng: np.random.Generator | None) -> np.ndarray:
    if rng is None:
        return np.zeros(size_bytes, np.int8)
    return rng.integers(-128, 128, size_bytes, np.int8)
