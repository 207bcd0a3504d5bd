"""Prediction of a launch's events: its instructions, each kind counted once and taken as often as it comes."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from functools import cache, lru_cache
from itertools import pairwise
from math import ceil

import numpy as np

from estimator.events.compute import compute_events
from estimator.events.network import Flow
from estimator.events.record import Events
from estimator.instructions import Streams
from rtl.contract.codec import decode, fields_of, store_cores
from rtl.contract.engines import ENGINES
from rtl.contract.isa import (
    INSTRUCTION_BYTES,
    LAYOUTS,
    PARAM_BYTES_PER_CHANNEL,
    TABLE_BYTES,
    Opcode,
    Space,
    TrafficClass,
    Unit,
)
from rtl.contract.params import AXI_PAGE_BYTES, ChipParams
from rtl.contract.regs import CoreCounter, EventCounter

__all__ = ["predict", "predict_parts"]

Fields = dict[str, int]

_SIGNALS = {f"signal{i}_{part}" for i in range(3) for part in ("valid", "core")}
_COUNTED = {
    Opcode.SYNC: _SIGNALS,
    Opcode.LOAD: {"cores", "runs", "run_flits", "memory", "traffic", "space"},
    Opcode.COMPUTE: _SIGNALS | {"act_base", "blocks", "out_h", "iy0", "in_h", "accumulate", "rounds"},
    Opcode.STORE: _SIGNALS | {
        "pixels", "groups", "lanes", "to_core", "memory", "core", "more", "space", "addr", "group_stride", "traffic",
        "table", "pooled",
    },
    Opcode.TABLE: _SIGNALS,
}  # fmt: skip
"""Fields on which events depend; of SETUP and POOL all do but waits."""
_PLACES = {"act_base": 6, "addr": AXI_PAGE_BYTES.bit_length() - 1}
"""Low bits of an address that matter: its place in a word of at most 64 bytes, or in a page."""
_WRITTEN = {
    Space.ACT: CoreCounter.ACT_WRITES, Space.WEIGHT: CoreCounter.WEIGHT_WRITES, Space.PARAM: EventCounter.PARAM_WRITES,
}  # fmt: skip


def predict(streams: Streams, chip: ChipParams) -> Events:
    """Events of a launch.

    Parameters
    ----------
    streams : dict of (core, Unit) to list of bytes
        Legal instructions, END last; cores without any do nothing.
    """
    return predict_parts(streams, {place: [len(words)] for place, words in streams.items()}, chip)[0]


def predict_parts(
    streams: Streams, borders: Mapping[tuple[int, Unit], Sequence[int]], chip: ChipParams
) -> list[Events]:
    """Events of each part of a launch; together they are those of the launch.

    Parameters
    ----------
    borders : dict of (core, Unit) to list of int
        Where the instructions of each part end in each stream; what is behind them, END, goes to the last part.
    """
    count = len(next(iter(borders.values())))
    parts = [_Tally(chip) for _ in range(count)]
    for (core, unit), words in streams.items():
        setting = b""
        masked = _masked(words)
        ends = (*borders[core, unit][:-1], len(words))  # END goes to the last
        for part, (start, end) in enumerate(pairwise((0, *ends))):
            setting = parts[part].take(core, masked[start:end], setting, start)
    return [part.events() for part in parts]


class _Tally:
    """Events of one part, as they are found."""

    def __init__(self, chip: ChipParams) -> None:
        self.chip = chip
        self.counts: tuple[Counter[int], ...] = tuple(Counter() for _ in chip.cores)
        self.flows: Counter[Flow] = Counter()
        self.read: Counter[tuple[int, TrafficClass]] = Counter()
        self.written: Counter[tuple[int, TrafficClass]] = Counter()
        self.blocks = [0] * chip.n_cores

    def events(self) -> Events:
        """All of them, the fetching of the instructions among them."""
        none = tuple(0 for _ in self.blocks)
        return Events(self.chip, self.counts, self.flows, self.read, self.written, none).fetching(self.blocks)

    def take(self, core: int, words: Sequence[bytes], setting: bytes, start: int) -> bytes:
        """Count masked instructions, which begin at a place in their stream; the setting behind them."""
        block = self.chip.cores[core].fetch_block
        self.blocks[core] += ceil((start + len(words)) / block) - ceil(start / block)
        self.counts[core][CoreCounter.INSTRUCTIONS] += len(words)
        kinds: Counter[tuple[bytes, bytes]] = Counter()
        for word in words:
            if word[0] & 15 in (Opcode.SETUP, Opcode.POOL):
                setting = word
            else:
                kinds[setting, word] += 1
        for (set_by, word), times in kinds.items():
            self._count(core, set_by, word, times)
        return setting

    def _count(self, core: int, setting: bytes, word: bytes, times: int) -> None:
        opcode, fields = _decoded(word, ENGINES.changes)
        for i in range(3):
            if fields.get(f"signal{i}_valid") and fields[f"signal{i}_core"] != core:
                self.flows[core, 1 << fields[f"signal{i}_core"]] += times
                self.counts[core][EventCounter.FLITS_TO_CORES] += times
        params = self.chip.cores[core]
        match opcode:
            case Opcode.COMPUTE:
                setup = _decoded(setting, ENGINES.changes)[1]
                self._add(core, compute_events(params, self.chip.link_bytes, setup, fields), times)
            case Opcode.LOAD:
                self._load(core, fields, times)
            case Opcode.STORE:
                pool = _decoded(setting, ENGINES.changes)[1] if fields["pooled"] else {}
                self._store(core, fields, pool, times)
            case Opcode.TABLE:
                flits = TABLE_BYTES // self.chip.link_bytes
                self._add(core, {EventCounter.PARAM_READS: flits, EventCounter.TABLE_WRITES: TABLE_BYTES}, times)

    def _add(self, core: int, counts: Mapping[int, int], times: int) -> None:
        for number, count in counts.items():
            self.counts[core][number] += times * count

    def _load(self, core: int, fields: Fields, times: int) -> None:
        node = self.chip.memory_node_id(fields["memory"])
        flits = times * fields["runs"] * fields["run_flits"]
        self.flows[core, 1 << node] += times * self.chip.request_flits
        self.flows[node, fields["cores"]] += flits
        self.read[fields["memory"], TrafficClass(fields["traffic"])] += flits * self.chip.link_bytes
        for target in range(self.chip.n_cores):
            if fields["cores"] >> target & 1:
                self.counts[target][_WRITTEN[Space(fields["space"])]] += flits

    def _store(self, core: int, fields: Fields, pool: Fields, times: int) -> None:
        params, groups = self.chip.cores[core], fields["groups"]
        reads = groups * (_pool_reads(pool, fields["pixels"]) if pool else fields["pixels"])
        lanes = params.drain_lanes(self.chip.link_bytes)
        flits = groups * fields["pixels"]
        counts = {
            CoreCounter.STORE_DRAIN: reads,
            CoreCounter.ACC_READS: reads,
            EventCounter.PARAM_READS: groups * max(1, lanes * PARAM_BYTES_PER_CHANNEL // self.chip.link_bytes),
            EventCounter.POST_FLITS: flits,
            EventCounter.TABLE_READS: flits if fields["table"] else 0,
        }
        if fields["to_core"]:
            counts[EventCounter.FLITS_TO_CORES] = flits
            targets = store_cores(fields, params)
            self.flows[core, sum(1 << target for target in targets)] += times * flits
            for target in targets:
                self.counts[target][_WRITTEN[Space(fields["space"])]] += times * flits
        else:
            node = self.chip.memory_node_id(fields["memory"])
            self.flows[core, 1 << node] += times * flits
            self.flows[node, 1 << core] += times * _packets(self.chip, fields)  # an acknowledgement for each
            self.written[fields["memory"], TrafficClass(fields["traffic"])] += times * flits * fields["lanes"]
        self._add(core, counts, times)


def _packets(chip: ChipParams, fields: Fields) -> int:
    """WRITE packets of a STORE: each group is cut at max_packet_flits and at pages."""
    page, most = AXI_PAGE_BYTES // chip.link_bytes, chip.max_packet_flits
    first, total = fields["addr"] // chip.link_bytes, 0
    for group in range(fields["groups"]):
        head = min(fields["pixels"], page - (first + group * fields["group_stride"]) % page)
        pages, tail = divmod(fields["pixels"] - head, page)
        total += ceil(head / most) + pages * ceil(page / most) + ceil(tail / most)
    return total


def _pool_reads(pool: Fields, pixels: int) -> int:
    """Positions of a POOL's windows that lie in the map, over so many pixels."""
    row, column = np.divmod(np.arange(pixels), pool["out_w"])
    inside = []
    for at, axis, pad in ((row, "h", pool["pad_top"]), (column, "w", pool["pad_left"])):
        position = at[:, None] * pool[f"stride_{axis}"] - pad + np.arange(pool[f"kernel_{axis}"])
        inside.append(((position >= 0) & (position < pool[f"in_{axis}"])).sum(axis=1))
    return int((inside[0] * inside[1]).sum())


def _masked(words: Sequence[bytes]) -> list[bytes]:
    """The instructions, fields zero on which no event depends."""
    raw = np.frombuffer(b"".join(words), "<u8").reshape(-1, INSTRUCTION_BYTES // 8)
    kept = (raw & _masks(ENGINES.changes)[raw[:, 0] & np.uint64(15)]).tobytes()
    return [kept[at : at + INSTRUCTION_BYTES] for at in range(0, len(kept), INSTRUCTION_BYTES)]


@cache
def _masks(_engines: int) -> np.ndarray:
    """Masks of the bits that matter, uint64[opcode, word]."""
    out = np.zeros((16, INSTRUCTION_BYTES // 8), np.uint64)
    out[:, 0] = 15
    for opcode in LAYOUTS:
        whole = opcode in (Opcode.SETUP, Opcode.POOL)
        bits = 0
        for name, field in fields_of(opcode).items():
            if name in _COUNTED.get(opcode, ()) or name == "opcode" or (whole and not name.startswith("wait")):
                width = min(field.width, _PLACES.get(name, field.width))
                bits |= (1 << width) - 1 << field.offset
        out[int(opcode)] = np.frombuffer(bits.to_bytes(INSTRUCTION_BYTES, "little"), "<u8")
    return out


@lru_cache(1 << 14)
def _decoded(word: bytes, _engines: int) -> tuple[Opcode, Fields]:
    return decode(word)
