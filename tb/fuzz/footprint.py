"""What an instruction reads and writes, byte by byte and stage by stage, from the instruction set's text alone."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from rtl.contract.codec import store_cores
from rtl.contract.engines import ENGINES
from rtl.contract.isa import ADDRESS_SPACE_BYTES, PARAM_BYTES_PER_CHANNEL, TABLE_BYTES, Opcode, Space
from rtl.contract.params import ChipParams, CoreParams
from rtl.contract.regs import ErrorCode
from tb.fuzz.engines import FUZZ
from tb.fuzz.program import MEMORY_BYTES

__all__ = [
    "Access",
    "Place",
    "accesses",
    "act_starts",
    "leaves_cores",
    "leaves_memory",
    "left_by_compute",
    "space_bytes",
]

Fields = Mapping[str, int]
Place = tuple[str, int]
"""A memory: ("dram", 0), or ("act", "weight", "param" or "acc" of a core)."""


@dataclass(frozen=True)
class Access:
    """A stage of an instruction touches a memory.

    Attributes
    ----------
    stage : tuple
        Stages of the same name happen in the order of the instructions (`tb.fuzz.order`).
    mask : int
        A bit for each byte; for the accumulators, for each entry.
    """

    stage: tuple
    place: Place
    mask: int
    writes: bool


def accesses(chip: ChipParams, core: int, opcode: Opcode, fields: Fields, geometry: Fields | None) -> list[Access]:
    """Everything that an instruction of `core` touches. What lies outside a memory is left out.

    Parameters
    ----------
    geometry : fields of the last SETUP, for a COMPUTE; of the last POOL, for a STORE.
    """
    if opcode == Opcode.LOAD:
        return _load(chip, core, fields)
    if opcode == Opcode.COMPUTE:
        return [] if geometry is None else _compute(chip, core, fields, geometry)
    if opcode == Opcode.STORE:
        return _store(chip, core, fields, geometry)
    if opcode == Opcode.TABLE:
        start, size = fields["param_base"] * _block_bytes(chip), space_bytes(chip, core, Space.PARAM)
        # The table itself needs no order: STOREs and TABLEs of a core follow one another.
        return [Access(("drain", core), ("param", core), _mask([start], TABLE_BYTES, size), False)]
    return []


def space_bytes(chip: ChipParams, core: int, space: int) -> int:
    """Size of a scratchpad or of the parameter memory."""
    params = chip.cores[core]
    sizes = {
        Space.ACT: params.act_bytes,
        Space.WEIGHT: params.weight_bytes,
        Space.PARAM: params.param_blocks * _block_bytes(chip),
    }
    return sizes[Space(space)]


def act_starts(geometry: Fields, fields: Fields) -> np.ndarray:
    """Byte addresses of all activations that a COMPUTE reads (R bytes from each), padding left out."""
    g = geometry
    spec = ENGINES.by_code(g["engine"])
    block = np.arange(fields["blocks"])[:, None, None, None, None]
    ky = np.arange(g["kernel_h"])[:, None, None, None]
    oy = np.arange(fields["out_h"])[:, None]
    if spec is not None and FUZZ[spec.name].window(g):
        kx = np.zeros((1, 1, 1), np.int64)
        n = np.arange((g["out_w"] - 1) * g["stride_w"] + g["kernel_w"])
        ix, along = n - g["pad_left"], n * g["tap_x"]
    else:
        kx = np.arange(g["kernel_w"])[:, None, None]
        ox = np.arange(g["out_w"])
        ix = ox * g["stride_w"] + kx * g["dilation_w"] - g["pad_left"]
        along = kx * g["tap_x"] + ox * g["step_x"]
    iy = fields["iy0"] + oy * g["stride_h"] + ky * g["dilation_h"]
    inside = (iy >= 0) & (iy < fields["in_h"]) & (ix >= 0) & (ix < g["in_w"])
    address = fields["act_base"] + block * g["block_pitch"] + ky * g["tap_y"] + oy * g["step_y"] + along
    address, inside = np.broadcast_arrays(address, inside)
    return np.unique(address[inside] % ADDRESS_SPACE_BYTES)


def leaves_memory(chip: ChipParams, load: Fields) -> bool:
    """Whether a LOAD reads behind the end of external memory."""
    return bool(_load_sources(chip, load).max(initial=0) >= MEMORY_BYTES)


def leaves_cores(chip: ChipParams, load: Fields) -> list[int]:
    """The cores behind whose memory a LOAD writes."""
    space, size = load["space"], chip.link_bytes
    return [
        c for c in _cores(chip, load) if _load_flits(chip, load, c).max(initial=0) * size >= space_bytes(chip, c, space)
    ]


def left_by_compute(chip: ChipParams, core: int, fields: Fields, geometry: Fields) -> set[ErrorCode]:
    """The memories that a COMPUTE leaves, by their errors."""
    params = chip.cores[core]
    left = set()
    starts = act_starts(geometry, fields)
    if starts.size and starts[-1] + params.rows > params.act_bytes:
        left.add(ErrorCode.ACT_RANGE)
    if fields["weight_base"] + _weight_bytes(params, fields, geometry) > params.weight_bytes:
        left.add(ErrorCode.WEIGHT_RANGE)
    spec = ENGINES.by_code(geometry["engine"])
    if spec is not None and spec.lists:
        left.add(ErrorCode.WEIGHT_LISTS)  # unless the weights are there and right, which is not known here
    base, bank = fields["acc_base"], params.acc_bank_entries
    if base >= params.acc_entries or base % bank + fields["out_h"] * geometry["out_w"] > bank:
        left.add(ErrorCode.ACC_RANGE)
    return left


def _weight_bytes(params: CoreParams, fields: Fields, geometry: Fields) -> int:
    """Bytes of weights that a COMPUTE reads."""
    spec = ENGINES.by_code(geometry["engine"])
    if spec is None or not spec.reads_weights(geometry):
        return 0
    rows = geometry["kernel_h"] * geometry["kernel_w"] * spec.weight_rows(params)
    rows += spec.lists.rows(params, fields["rounds"]) if spec.lists else 0
    return fields["blocks"] * rows * params.cols


def _cores(chip: ChipParams, load: Fields) -> list[int]:
    return [core for core in range(chip.n_cores) if load["cores"] >> core & 1]


def _load_sources(chip: ChipParams, load: Fields) -> np.ndarray:
    """Byte address of each flit in external memory."""
    run, flit = np.arange(load["runs"])[:, None], np.arange(load["run_flits"])
    return (load["dram_addr"] + (run * load["dram_stride"] + flit) * chip.link_bytes) % (1 << 32)


def _load_flits(chip: ChipParams, load: Fields, core: int) -> np.ndarray:
    """Flit address of each flit in a core."""
    run, flit = np.arange(load["runs"])[:, None], np.arange(load["run_flits"])
    step = chip.cores[core].act_groups(chip.link_bytes) if load["planar"] else 1
    return load["dst"] + run * load["dst_stride"] + flit * step


def _load(chip: ChipParams, core: int, fields: Fields) -> list[Access]:
    size, memory = chip.link_bytes, fields["memory"]
    sources = _mask(_load_sources(chip, fields), size, MEMORY_BYTES)
    found = [Access(("read", core, memory), ("dram", 0), sources, False)]
    for target in _cores(chip, fields):
        starts = _load_flits(chip, fields, target) * size
        found.append(_arrival(chip, ("arrive", core, memory, target), target, fields, starts, size))
    return found


def _arrival(chip: ChipParams, stage: tuple, target: int, fields: Fields, starts: np.ndarray, lanes: int) -> Access:
    space = Space(fields["space"])
    mask = _mask(starts, lanes, space_bytes(chip, target, space))
    return Access(stage, (space.name.lower(), target), mask, True)


def _compute(chip: ChipParams, core: int, fields: Fields, geometry: Fields) -> list[Access]:
    params = chip.cores[core]
    found = []
    starts = act_starts(geometry, fields)
    if starts.size:
        found.append(Access(("operands", core), ("act", core), _mask(starts, params.rows, params.act_bytes), False))
    if size := _weight_bytes(params, fields, geometry):
        weights = _mask([fields["weight_base"]], size, params.weight_bytes)
        found.append(Access(("operands", core), ("weight", core), weights, False))
    entries = _mask([fields["acc_base"]], fields["out_h"] * geometry["out_w"], params.acc_entries)
    found.append(Access(("update", core), ("acc", core), entries, True))
    return found


def _store(chip: ChipParams, core: int, fields: Fields, pool: Fields | None) -> list[Access]:
    params, size = chip.cores[core], chip.link_bytes
    entries = pool["in_h"] * pool["in_w"] if pool and fields["pooled"] else fields["pixels"]
    drain = ("drain", core)
    block = _block_bytes(chip)
    blocks = _mask([fields["param_base"] * block], fields["groups"] * block, space_bytes(chip, core, Space.PARAM))
    found = [
        Access(drain, ("acc", core), _mask([fields["acc_base"]], entries, params.acc_entries), False),
        Access(drain, ("param", core), blocks, False),
    ]
    group, pixel = np.arange(fields["groups"])[:, None], np.arange(fields["pixels"])
    if fields["to_core"]:
        for target in store_cores(fields, params):
            step = chip.cores[target].act_groups(size) if fields["planar"] else 1
            flits = fields["addr"] + group * fields["group_stride"] + pixel * step
            starts = flits * size + fields["lane_offset"]
            found.append(_arrival(chip, ("send", core, target), target, fields, starts, fields["lanes"]))
    else:
        starts = (fields["addr"] + (group * fields["group_stride"] + pixel) * size) % (1 << 32)
        mask = _mask(starts + fields["lane_offset"], fields["lanes"], MEMORY_BYTES)
        found.append(Access(("write", core, fields["memory"]), ("dram", 0), mask, True))
    return found


def _block_bytes(chip: ChipParams) -> int:
    return chip.link_bytes * PARAM_BYTES_PER_CHANNEL


def _mask(starts: np.ndarray | list[int], length: int, size: int) -> int:
    """A bit for each of `length` bytes from each start on; a range that leaves the memory counts as far as it is in."""
    marks = np.zeros(size + 1, np.int64)
    first = np.minimum(np.asarray(starts).reshape(-1), size)
    np.add.at(marks, first, 1)
    np.add.at(marks, np.minimum(first + length, size), -1)
    return int.from_bytes(np.packbits(np.cumsum(marks[:-1]) > 0, bitorder="little").tobytes(), "little")
