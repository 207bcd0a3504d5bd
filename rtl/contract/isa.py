"""The instruction set: the one definition that RTL, scheduler, machine, estimator and bench share.

An instruction is 32 bytes, little-endian. Each core runs three instruction streams, one for each
unit (load, compute, store), in order within a unit. Between units and between cores, order comes
from *tokens* alone: every core has ``ChipParams.tokens`` counters, an instruction starts when the
counters it waits for are all at least one (it then takes one from each), and events add one.

Wait ranges
    Each instruction names up to three ranges of token counters, ``(first, count)``; count 0 waits
    for nothing. All counters of all ranges must be non-zero; each is decremented at the start.
    By convention range 0 is for activations, 1 for weights, 2 for accumulators (the stall counters
    are named so); the hardware does not care.
Signals
    Up to three ``(valid, token, core)``: add one to counter ``token`` of core ``core`` (this one or
    another). When each fires is stated per instruction.

Instructions
    END      The unit stops. A core is done when all three units have stopped and every write it
             sent is acknowledged. What a LOAD or a STORE to a core brings, and a signal to another core, that no unit
             has waited for may still be under way then: it is in no counter, and the next start may lose it.
    SYNC     Waits, then (with ``fence``, store unit only: after every earlier write of the unit is
             acknowledged) fires its signals. Any unit.
             With ``mark`` m > 0 (compute unit only) it marks the end of a part of the launch: as it executes, what is
             before it in its stream over and its waits met, entry ``m % marks`` of the core's trace memory becomes
             the core's eight COMPUTE counters, the cycle of the SYNC itself counted (`rtl.contract.regs.CoreTrace`).
             They add up to the cycles of the launch so far, and differences of marks to the counters at the end.
             A mark that comes again overwrites its entry. ILLEGAL_FIELD for a mark above the core's ``marks``, and
             for one in another unit; a core with ``marks`` 0 does not look at the field: programs run there as well.
    LOAD     (load unit) Asks memory node ``memory`` to send ``runs`` runs of ``run_flits`` flits to the
             scratchpad ``space`` of every core in ``cores``. Run r starts at DRAM byte address
             ``dram_addr + r*dram_stride*B`` and scratchpad flit address ``dst + r*dst_stride``
             (B = link_bytes); within a run the scratchpad address grows by 1 per flit, or if
             ``planar`` by the core's act_groups. The last flit adds one to ``token`` of each of these
             cores (if ``token_valid``). Loads of one core from one memory node arrive in order;
             loads from different memory nodes do not. ``space`` is ACT, WEIGHT or PARAM, here and in a STORE to a
             core; others are an ILLEGAL_FIELD. ``planar`` for cores whose act_groups differ is an
             ILLEGAL_FIELD, which the memory node reports.
    SETUP    (compute unit) Sets the geometry that later COMPUTEs use; takes effect in order.
    COMPUTE  (compute unit) For each pass (block, kernel row, kernel column; column fastest) and each
             pixel (out row, out column; column fastest) update accumulator ``acc_base + pixel``.
             What an update does with act and the weights is the engine's (`rtl.contract.engines`, a file each), and so
             are the bits ``options`` of the SETUP; the weights of a pass are consecutive in the weight scratchpad, from
             ``weight_base`` on in the order of passes. The first pass overwrites unless ``accumulate``.
             act is the R bytes at byte address ``act_base + block*block_pitch + ky*tap_y + kx*tap_x
             + oy*step_y + ox*step_x`` (modulo 2**ADDRESS_BITS), if the input coordinate
             (iy, ix) = (iy0 + oy*stride_h + ky*dilation_h, -pad_left + ox*stride_w + kx*dilation_w)
             lies in [0, in_h) x [0, in_w); else R times ``pad_value``.
             Signals 0 and 1 fire when all operands have been read, signal 2 when the last accumulator
             update has been written.
             The sparse engine goes through all kernel positions of a pixel before the next pixel, once a block, and
             reads ``rounds`` of weights behind those of each block; other engines do not look at ``rounds``.
             Errors: ILLEGAL_FIELD if blocks or out_h is zero, without a SETUP, if ``weight_base`` is no multiple of C,
             or (in the SETUP already) if kernel_h, kernel_w or out_w is zero, the core has no engine of this code, a
             bit of ``options`` is set that the engine does not define, or a rule of the engine is broken; ACC_RANGE
             unless the entries lie in the bank of ``acc_base``; WEIGHT_RANGE unless the weights of all passes,
             ACT_RANGE unless all R bytes of every act that is not padding, lie in the scratchpad. Of several in one
             instruction other than ILLEGAL_FIELD, any one is reported.
    STORE    (store unit) For each group g < ``groups`` and pixel n < ``pixels``: lanes
             [g*L, g*L + lanes) of accumulator ``acc_base + n`` are requantised with parameter block
             ``param_base + g`` and sent as one flit, bytes [lane_offset, lane_offset + lanes) valid
             (L = drain_lanes). To memory: at byte address ``addr + (g*group_stride + n)*B`` through
             memory node ``memory``. To a core (``to_core``): to flit address
             ``addr + g*group_stride + n`` (times act_groups per pixel if ``planar``) of scratchpad
             ``space`` of core ``core``, whose counter ``token`` grows with the last flit (if
             ``token_valid``). All signals fire when the last accumulator entry has been read.
             It goes at once to all cores from ``core`` to ``core + more``, its own perhaps among them: to the same
             address of each, and the ``token`` of each grows with the last flit that comes there. ILLEGAL_FIELD if one
             of them does not exist, and if ``planar`` for cores whose act_groups differ. A core without ``multicast``
             does not look at ``more``: it sends to ``core`` alone.
             With ``table`` each byte then goes through the activation table, as entry ``out + 128``.
             With ``pooled`` pixel n = (oy, ox), column fastest in rows of the POOL's out_w, is the largest of the
             accumulators ``acc_base + iy*in_w + ix`` over the POOL's window, (iy, ix) = (oy*stride_h - pad_top + ky,
             ox*stride_w - pad_left + kx), and of -2**31 for positions outside [0, in_h) x [0, in_w). Requantisation
             never falls, so this is the maximum pool of the requantised map (of the map before ``table``). A pixel
             takes kernel_h * kernel_w cycles. Further errors: ILLEGAL_FIELD without a POOL; ACC_RANGE unless all
             in_h * in_w entries from ``acc_base`` on lie in its bank (instead of the ``pixels`` of other STOREs).
    POOL     (store unit) Sets the geometry that later pooled STOREs use; takes effect in order. Errors: ILLEGAL_FIELD
             if kernel_h, kernel_w, stride_h, stride_w, in_h, in_w or out_w is zero, or a pad not below its kernel.
    TABLE    (store unit) Once every earlier STORE has left post-processing, copies the 256 bytes from parameter block
             ``param_base`` on to the activation table, then fires its signals. Errors: PARAM_RANGE.

Addresses
    Scratchpad *flit addresses* count blocks of B bytes; byte address = flit address * B. Weight and
    activation scratchpads are flat byte arrays; an activation read may be unaligned, a weight row
    starts at a multiple of C. With R > B, planar activations place channel block k of a pixel in
    lane group k % act_groups of a word, so that a read of R bytes covers act_groups blocks.

Requantisation (`param block`)
    Per channel 8 bytes: bias int32, multiplier (24 bits, unsigned), shift (8 bits, 0..63);
    out = clamp(round_half_even((acc + bias) * multiplier / 2**shift) + zero_point, lo, hi).
    A parameter block holds B channels, and takes 8 flits; PARAM flit addresses are 8 * block + f.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from amaranth.hdl import Shape, signed, unsigned
from amaranth.lib import data, enum

__all__ = [
    "ADDRESS_BITS",
    "ADDRESS_SPACE_BYTES",
    "ENGINE_BITS",
    "INSTRUCTION_BITS",
    "INSTRUCTION_BYTES",
    "LAYOUTS",
    "MARK_BITS",
    "OPTION_BITS",
    "PARAM_BYTES_PER_CHANNEL",
    "PARAM_FLITS",
    "TABLE_BYTES",
    "Compute",
    "End",
    "Engine",
    "Load",
    "Opcode",
    "Pool",
    "Prefix",
    "Setup",
    "Signals",
    "Space",
    "Store",
    "Sync",
    "Table",
    "TrafficClass",
    "Unit",
]

INSTRUCTION_BYTES = 32
INSTRUCTION_BITS = 8 * INSTRUCTION_BYTES
ADDRESS_BITS = 22
"""Of a byte address in a scratchpad."""
ADDRESS_SPACE_BYTES = 1 << ADDRESS_BITS
"""What addresses of activations wrap at, and the largest scratchpad."""
PARAM_BYTES_PER_CHANNEL = 8
PARAM_FLITS = PARAM_BYTES_PER_CHANNEL
"""Flits of a parameter block, which holds link_bytes channels."""
ENGINE_BITS = 3
OPTION_BITS = 16
"""Bits of a SETUP that each engine lays out for itself."""
MARK_BITS = 8
"""Of the number of a mark; 0 is none."""
TABLE_BYTES = 256
"""The activation table: one int8 for every int8."""


class Unit(enum.IntEnum, shape=unsigned(2)):
    """The three units of a core; also the order of its instruction streams in memory."""

    LOAD = 0
    COMPUTE = 1
    STORE = 2


class Opcode(enum.IntEnum, shape=unsigned(4)):
    """Zero is illegal on purpose: cleared memory is not a program."""

    ILLEGAL = 0
    END = 1
    SYNC = 2
    LOAD = 3
    SETUP = 4
    COMPUTE = 5
    STORE = 6
    POOL = 7
    TABLE = 8


class Space(enum.IntEnum, shape=unsigned(3)):
    """Where in a core a flit lands. PROGRAM is for the fetch unit's own requests: dst = unit << 16."""

    ACT = 0
    WEIGHT = 1
    PARAM = 2
    PROGRAM = 3


class Engine(enum.IntEnum, shape=unsigned(ENGINE_BITS)):
    """Codes of the engines in `rtl.contract.engines`. Engines that are registered elsewhere take free ones."""

    ARRAY = 0
    TAP = 1
    SPARSE = 2


class TrafficClass(enum.IntEnum, shape=unsigned(3)):
    """What a DRAM byte is for; memory nodes count bytes by it."""

    WEIGHT = 0
    IFMAP = 1
    OFMAP = 2
    PSUM = 3
    PROGRAM = 4


_PREFIX: dict[str, Any] = {
    "opcode": Opcode,
    **{f"wait{i}_{part}": unsigned(7) for i in range(3) for part in ("first", "count")},
}
_SIGNALS: dict[str, Any] = {
    f"signal{i}_{part}": unsigned(width)
    for i in range(3)
    for part, width in (("valid", 1), ("token", 7), ("core", 6))
}


Prefix = data.StructLayout(_PREFIX)
Signals = data.StructLayout(_SIGNALS)
"""At the same bits of every instruction that has signals, right behind the prefix."""


def _instruction(members: Mapping[str, Any]) -> data.StructLayout:
    """A layout padded to the instruction's size."""
    used = sum(Shape.cast(shape).width for shape in members.values())
    assert used <= INSTRUCTION_BITS, f"instruction needs {used} bits"
    padding = {"reserved": unsigned(INSTRUCTION_BITS - used)} if used < INSTRUCTION_BITS else {}
    return data.StructLayout({**members, **padding})


End = _instruction(_PREFIX)
Sync = _instruction({**_PREFIX, **_SIGNALS, "fence": unsigned(1), "mark": unsigned(MARK_BITS)})
Load = _instruction(
    {
        **_PREFIX,
        "cores": unsigned(64),
        "dram_addr": unsigned(32),
        "runs": unsigned(12),
        "run_flits": unsigned(16),
        "dram_stride": unsigned(24),
        "space": Space,
        "dst": unsigned(18),
        "dst_stride": unsigned(18),
        "planar": unsigned(1),
        "memory": unsigned(4),
        "traffic": TrafficClass,
        "token_valid": unsigned(1),
        "token": unsigned(7),
    }
)
Setup = _instruction(
    {
        **_PREFIX,
        "engine": unsigned(ENGINE_BITS),
        "options": unsigned(OPTION_BITS),
        "kernel_h": unsigned(6),
        "kernel_w": unsigned(6),
        "stride_h": unsigned(4),
        "stride_w": unsigned(4),
        "dilation_h": unsigned(4),
        "dilation_w": unsigned(4),
        "out_w": unsigned(10),
        "in_w": unsigned(10),
        "pad_left": unsigned(6),
        "step_x": unsigned(12),
        "tap_x": unsigned(12),
        "step_y": unsigned(ADDRESS_BITS),
        "tap_y": unsigned(ADDRESS_BITS),
        "block_pitch": unsigned(ADDRESS_BITS),
        "pad_value": signed(8),
    }
)
Compute = _instruction(
    {
        **_PREFIX,
        **_SIGNALS,
        "act_base": unsigned(ADDRESS_BITS),
        "weight_base": unsigned(ADDRESS_BITS),
        "acc_base": unsigned(13),
        "blocks": unsigned(10),
        "out_h": unsigned(10),
        "iy0": signed(11),
        "in_h": unsigned(10),
        "accumulate": unsigned(1),
        "rounds": unsigned(8),
    }
)
Store = _instruction(
    {
        **_PREFIX,
        **_SIGNALS,
        "acc_base": unsigned(13),
        "pixels": unsigned(13),
        "param_base": unsigned(10),
        "groups": unsigned(5),
        "lanes": unsigned(7),
        "lane_offset": unsigned(6),
        "zero_point": signed(8),
        "lo": signed(8),
        "hi": signed(8),
        "to_core": unsigned(1),
        "memory": unsigned(4),
        "core": unsigned(6),
        "space": Space,
        "planar": unsigned(1),
        "addr": unsigned(32),
        "group_stride": unsigned(24),
        "traffic": TrafficClass,
        "token_valid": unsigned(1),
        "token": unsigned(7),
        "table": unsigned(1),
        "pooled": unsigned(1),
        "more": unsigned(6),
    }
)
Pool = _instruction(
    {
        **_PREFIX,
        "kernel_h": unsigned(3),
        "kernel_w": unsigned(3),
        "stride_h": unsigned(3),
        "stride_w": unsigned(3),
        "pad_top": unsigned(3),
        "pad_left": unsigned(3),
        "in_h": unsigned(10),
        "in_w": unsigned(10),
        "out_w": unsigned(10),
    }
)
Table = _instruction({**_PREFIX, **_SIGNALS, "param_base": unsigned(10)})

LAYOUTS: dict[Opcode, data.StructLayout] = {
    Opcode.END: End,
    Opcode.SYNC: Sync,
    Opcode.LOAD: Load,
    Opcode.SETUP: Setup,
    Opcode.COMPUTE: Compute,
    Opcode.STORE: Store,
    Opcode.POOL: Pool,
    Opcode.TABLE: Table,
}
