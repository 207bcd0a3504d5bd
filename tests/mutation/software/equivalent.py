"""Mutants that no test can notice, and why."""

from __future__ import annotations

__all__ = ["EQUIVALENT"]

_ANY_NEGATIVE = "NumPy takes any negative size for the unknown one"

EQUIVALENT: dict[tuple[str, str, int, str], str] = {
    # --- ops
    ("golden/int8/ops.py", "if depth << 15 <= 1 << 24:", 3, "depth << 15 <= 1 << 24 -> depth << 15 < 1 << 24"): (
        "a shortcut: at equality the sum of magnitudes, which decides then, cannot be too large either"
    ),
    (
        "golden/int8/ops.py",
        "return np.float32 if int(magnitudes(weight).max()) << 7 <= 1 << 24 else np.float64",
        21,
        "int(magnitudes(weight).max()) << 7 <= 1 << 24 -> int(magnitudes(weight).max()) << 7 < 1 << 24",
    ): "at equality both types hold all sums exactly",
    ("golden/int8/ops.py", "channels = max(1, BLOCK_ELEMENTS // acc[0].size)", 15, "1 -> 2"): (
        "how many channels are requantised together changes no result"
    ),
    ("golden/net/window.py", "groups, block.shape[1], -1, cols", 25, "1 -> 2"): _ANY_NEGATIVE,
    (
        "golden/net/window.py",
        "taps = weight.reshape(channels, -1, kernel_h, kernel_w)  # [C, filters per channel, Kh, Kw]",
        33,
        "1 -> 2",
    ): _ANY_NEGATIVE,
    (
        "golden/net/window.py",
        "filters = weight.reshape(groups, -1, depth)  # [G, O/G, K]",
        34,
        "1 -> 2",
    ): _ANY_NEGATIVE,
    ("golden/net/window.py", "product = block @ patch.reshape(groups, depth, -1)", 48, "1 -> 2"): _ANY_NEGATIVE,
    ("golden/int8/ops.py", "if depth << 15 <= 1 << 24:", 12, "15 -> 16"): (
        "a shortcut: the sum of magnitudes, which decides then, is not larger"
    ),
    ("golden/net/window.py", "return out.reshape(-1, rows, cols)", 20, "1 -> 2"): _ANY_NEGATIVE,
    (
        "golden/int8/requant.py",
        "for bad in mult[(mult != 0) & ((mult < 1 << SIGNIFICAND_BITS - 1) | (mult >= 1 << SIGNIFICAND_BITS))][:1]:",
        103,
        "1 -> 2",
    ): "the first one ends the loop with an error",
    ("golden/int8/ops.py", "BLOCK_ELEMENTS = 1 << 15", 17, "1 -> 2"): (
        "how many channels are requantised together changes no result"
    ),
    # --- machine
    (
        "golden/machine/operands.py",
        "limit = max(1, min(max_passes, _WORKSPACE_BYTES // pass_bytes))",
        8,
        "max -> min",
    ): "how many passes are gathered at a time: one by one is as exact",
    (
        "golden/machine/engines/array.py",
        "chunk = weights[first : first + piece.passes].reshape(-1, cols).astype(np.float32)",
        55,
        "1 -> 2",
    ): _ANY_NEGATIVE,
    (
        "golden/machine/engines/tap.py",
        "operands = operands.reshape(pixels, piece.passes, -1)[:, :, :lanes]",
        51,
        "1 -> 2",
    ): _ANY_NEGATIVE,
    ("golden/machine/operands.py", "if whole < len(operands):", 3, "whole < len(operands) -> whole <= len(operands)"): (
        "a product of no rows gives none"
    ),
    ("golden/machine/operands.py", "if (y1 - y0, x1 - x0) != shape[:2]:", 32, "2 -> 3"): (
        "the padding is written also where activations are written behind it"
    ),
    (
        "golden/machine/store.py",
        "image = acc[: height * width].reshape(height, width, -1)",
        54,
        "1 -> 2",
    ): _ANY_NEGATIVE,
    ("golden/machine/state.py", "UNDEFINED = -0x21524111", 13, "559038737 -> 559038738"): (
        "what stands for undefined bytes; any value does"
    ),
    ("golden/machine/operands.py", "_WORKSPACE_BYTES = 1 << 22", 19, "1 -> 2"): (
        "how much is gathered at a time: more is as exact, for another limit bounds what float32 adds up"
    ),
    (
        "golden/machine/store.py",
        'return core.table[out.astype(np.int16) + 128] if fields["table"] else out',
        18,
        "out.astype(np.int16) + 128 -> out.astype(np.int16) - 128",
    ): "256 less is the same of 256 entries, counted from the end",
    ("golden/machine/state.py", "self._workspace = np.empty(0, np.uint8)", 27, "0 -> 1"): (
        "it grows when more is asked for"
    ),
    (
        "golden/machine/state.py",
        "blocks = self._spaces[space].reshape(-1, self.link_bytes)",
        38,
        "1 -> 2",
    ): _ANY_NEGATIVE,
    ("golden/machine/machine.py", "@lru_cache(1 << 14)", 16, "14 -> 15"): (
        "how many decoded instructions are kept"
    ),
    # --- scheduler
    ("sched/scheduler/plan/layout.py", "dense = rows.reshape(self.rows, -1)", 33, "1 -> 2"): _ANY_NEGATIVE,
    (
        "sched/scheduler/work/lower.py",
        "return (stride[0] if out_hw[0] > 1 else 1, stride[1] if out_hw[1] > 1 else 1)",
        75,
        "1 -> 2",
    ): "where there is one column, nothing steps by the stride: any that fits its field will do",
    ("sched/scheduler/code/emit.py", "signals |= tokens.signal(1, tokens.param_free + r, leader)", 25, "1 -> 2"): (
        "a STORE sends its three signals together, and uses the third for nothing else"
    ),
    ("sched/scheduler/work/source.py", "yield Transfer(addr, 1, tile.in_rows * row, 0, 0, 0, 0)", 44, "0 -> 1"): (
        "the distance from a run to the next, of which there is none"
    ),
    ("sched/scheduler/work/source.py", "(layout.rows, 1),", 14, "1 -> 2"): (
        "columns of a packed input are flits (PackedSource.tile); nobody asks for the width of its window's input"
    ),
}
"""By `Mutant.key`."""
