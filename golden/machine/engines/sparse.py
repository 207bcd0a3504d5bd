"""The sparse engine: masks and lists make dense weights again, and their sums are a matrix product as any."""

from typing import NamedTuple

import numpy as np

from golden.machine.checker import Checker
from golden.machine.engines.engine import EngineModel, Sums
from golden.machine.operands import Fields, gather, pieces, product, weights_from
from golden.machine.state import CoreState
from rtl.contract.isa import Unit
from rtl.contract.regs import EngineCounter, ErrorCode

__all__ = ["SPARSE"]

EXACT_OPERANDS = 512
"""Operands that float32 adds up exactly, whatever they are: 512 * 255 * 128 < 2**24."""


class _Pass(NamedTuple):
    """Weights of a pass.

    Attributes
    ----------
    weights : int8[T, R, C]
        By item, activation and lane of the accumulators.
    masks : bool[T, lanes, A, columns, F]
        By item, lane of PEs, activation and slot of a PE.
    """

    weights: np.ndarray
    masks: np.ndarray


class _Sparse:
    """The sparse engine's passes, in BLAS."""

    def check_setup(self, check: Checker, fields: Fields) -> None:
        core = check.core.params
        items = fields["kernel_h"] * fields["kernel_w"]
        check.require(items <= core.sparse_items, f"passes of {items} items, the engine holds {core.sparse_items}")
        ahead = fields["run_ahead"]
        check.require(ahead < core.sparse_slots, f"runs ahead by {ahead} items, the engine holds {core.sparse_slots}")

    def extent(self, geometry: Fields, fields: Fields) -> tuple[int, int]:
        items = geometry["kernel_h"] * geometry["kernel_w"]
        return fields["blocks"], items * fields["out_h"] * geometry["out_w"]

    def run(self, core: CoreState, geometry: Fields, fields: Fields) -> Sums:
        rows, cols = core.params.rows, core.params.cols
        items, pixels = geometry["kernel_h"] * geometry["kernel_w"], fields["out_h"] * geometry["out_w"]
        passes = _weights(core, items, fields)
        total = np.zeros((pixels, cols), np.int32)
        for piece in pieces(core, geometry, fields, max(1, EXACT_OPERANDS // rows)):
            operands = gather(core, geometry, fields, piece, np.float32).reshape(pixels, piece.blocks, piece.taps, rows)
            operands -= geometry["pad_value"]
            for number in range(piece.blocks):
                one = passes[piece.block + number]
                part = slice(piece.tap, piece.tap + piece.taps)
                _count(core, operands[:, number], one.masks[part], piece.tap, skip_acts=bool(geometry["skip_acts"]))
                matrix = one.weights[part].reshape(-1, cols).astype(np.float32)
                total += product(operands[:, number].reshape(pixels, -1), matrix).astype(np.int32)
        return Sums(values=total)


def _weights(core: CoreState, items: int, fields: Fields) -> list[_Pass]:
    """Weights of all passes of a COMPUTE.

    Raises
    ------
    Fault
        WEIGHT_RANGE, or WEIGHT_LISTS.
    """
    params, rounds = core.params, fields["rounds"]
    pes = params.sparse_lanes * params.sparse_columns
    mask_bytes = items * params.rows * params.cols // 8
    pass_bytes = mask_bytes + params.cols + rounds * pes
    passes = []
    for raw in weights_from(core, fields["weight_base"], fields["blocks"], pass_bytes):
        bits = np.unpackbits(raw[:mask_bytes].view(np.uint8), bitorder="little").reshape(items, pes, -1)
        longest = int(bits.sum(axis=(0, 2), dtype=np.int64).max())
        if longest > rounds:
            why = f"COMPUTE: masks of {longest} weights for a PE, lists of {rounds} rounds"
            raise core.fault(ErrorCode.WEIGHT_LISTS, Unit.COMPUTE, why)
        lane_of = raw[mask_bytes : mask_bytes + params.cols].view(np.uint8)
        if sorted(lane_of) != list(range(params.cols)):
            why = f"COMPUTE: lanes {sorted(lane_of)}, which are not all {params.cols}"
            raise core.fault(ErrorCode.WEIGHT_LISTS, Unit.COMPUTE, why)
        passes.append(_unpacked(core, bits != 0, lane_of, raw[mask_bytes + params.cols :].reshape(rounds, pes)))
    return passes


def _unpacked(core: CoreState, bits: np.ndarray, lane_of: np.ndarray, lists: np.ndarray) -> _Pass:
    """A pass from bits bool[T, PEs, A*F], lane of each slot uint8[C], and lists int8[rounds, PEs]."""
    params, items = core.params, len(bits)
    lanes, columns = params.sparse_lanes, params.sparse_columns
    acts, slots = params.rows // lanes, params.cols // columns
    values = np.zeros(bits.shape, np.int8)
    for pe in range(lanes * columns):
        own = bits[:, pe]
        values[:, pe][own] = lists[: np.count_nonzero(own), pe]
    masks = bits.reshape(items, lanes, columns, slots, acts).transpose(0, 1, 4, 2, 3)
    placed = values.reshape(items, lanes, columns, slots, acts).transpose(0, 1, 4, 2, 3)
    weights = np.zeros((items, lanes, acts, params.cols), np.int8)
    for item in range(items):
        for lane in range(lanes):
            weights[item, (lane + item) % lanes][:, lane_of] = placed[item, lane].reshape(acts, -1)
    return _Pass(weights.reshape(items, params.rows, params.cols), masks)


def _count(core: CoreState, operands: np.ndarray, masks: np.ndarray, first: int, *, skip_acts: bool) -> None:
    """Pairs and empty items of all PEs, of operands float32[pixels, T, R] from item `first` of a pass on."""
    lanes = core.params.sparse_lanes
    for item, mask in enumerate(masks):
        acts = operands[:, item].reshape(len(operands), lanes, -1)
        counted = acts != 0 if skip_acts else np.ones(acts.shape, bool)
        for lane in range(lanes):
            of_lane = counted[:, (lane + first + item) % lanes].astype(np.float32)
            pairs = of_lane @ mask[lane].sum(axis=2).astype(np.float32)
            core.counts[EngineCounter.SPARSE_PAIRS] += int(pairs.sum(dtype=np.float64))
            core.counts[EngineCounter.SPARSE_EMPTY] += int(np.count_nonzero(pairs == 0))


SPARSE: EngineModel = _Sparse()
