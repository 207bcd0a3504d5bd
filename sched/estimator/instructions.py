"""Instructions as the timeline runs them: what they wait for, what they cost and whom they signal.

Most instructions of a program differ from others in addresses and values alone, which cost no time. So these fields are
masked out of the streams, in one pass of NumPy, and what is left is decoded once for each kind.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache

import numpy as np

from estimator.coefficients import Coefficients
from estimator.engines import setup_fields, timing_of
from estimator.transfers import bursts, packet_flits, store_cycles
from rtl.contract import isa
from rtl.contract.codec import decode, fields_of, store_cores
from rtl.contract.engines import ENGINES
from rtl.contract.isa import INSTRUCTION_BYTES, LAYOUTS, TABLE_BYTES, Opcode, TrafficClass, Unit
from rtl.contract.params import ChipParams
from rtl.contract.routing import hops

__all__ = [
    "PLACED",
    "TIMED",
    "Compute",
    "Instruction",
    "Instructions",
    "Load",
    "Marking",
    "Rates",
    "Setting",
    "Signals",
    "Store",
    "Streams",
    "Tokens",
    "masked",
]

Fields = dict[str, int]

Streams = Mapping[tuple[int, Unit], Sequence[bytes]]
"""Instructions of every core and unit, END last."""

Rates = Mapping[int, Sequence[float]]
"""By core, of its COMPUTEs on engines whose cycles depend on values, in order, the cycles from pixel to pixel."""

Tokens = tuple[tuple[int, int], ...]
"""Token counters, each as (core, token)."""

Signals = tuple[tuple[float, Tokens], ...]
"""Cycles until they are there, and which; those that are sent and arrive together are one event."""

WAITS = ("wait_act", "wait_weight", "wait_acc")
"""Names of what a unit waits for, by wait range."""

TIMED = {
    Opcode.SYNC: {"fence", "mark"},
    Opcode.LOAD: {"cores", "runs", "run_flits", "memory", "traffic", "token_valid", "token"},
    Opcode.COMPUTE: {"blocks", "out_h", "rounds"},
    Opcode.STORE: {
        "pixels", "groups", "lanes", "to_core", "memory", "core", "more", "traffic", "token_valid", "token",
        "pooled",
    },
    Opcode.POOL: {"kernel_h", "kernel_w"},
}  # fmt: skip
"""Fields on which time and traffic depend, beside waits and signals; the closed forms find all others zero.

Those of a SETUP are what the engines ask for (`estimator.engines.setup_fields`).
"""
PLACED = {"dram_addr", "dram_stride"}
"""Fields of a LOAD that tell where its bursts end."""


@dataclass(slots=True, eq=False)
class Instruction:
    """SYNC, TABLE and END, and what all instructions have.

    Attributes
    ----------
    opcode : Opcode
    tokens : tuple of int
        Counters of all wait ranges.
    causes : tuple of str
        For each, what the unit waits for.
    signals : Signals
    cycles : float
        That the unit is taken.
    fence : bool
        It starts once all writes are acknowledged.
    """

    opcode: Opcode
    tokens: tuple[int, ...]
    causes: tuple[str, ...]
    signals: Signals
    cycles: float
    fence: bool


@dataclass(slots=True, eq=False)
class Setting(Instruction):
    """SETUP or POOL; later instructions of its unit are made with it."""


@dataclass(slots=True, eq=False)
class Marking(Instruction):
    """SYNC with a mark, of the compute unit of a core with marks.

    Attributes
    ----------
    mark : int
    """

    mark: int


@dataclass(slots=True, eq=False)
class Compute(Instruction):
    """COMPUTE, with the last SETUP; signal 2 is apart.

    Attributes
    ----------
    streaming : int
        Of the cycles, those in which pixels stream.
    engine : int
    valued : bool
        Its cycles depend on values.
    passes, pixels : int
        Passes, and the pixels that stream in all of them.
    last, lead : float
        Cycles of the last pass, and from when weights may come to the first pixel, if the engine has banks for them;
        0 of other engines.
    ahead : float
        Cycles by which the last pixel is read before the unit is free: signals 0 and 1.
    drain, idle : float
        Cycles from the last pixel to signal 2, and to the first pixel of another engine.
    drained : Signals
    """

    streaming: int
    engine: int
    valued: bool
    passes: int
    pixels: int
    last: float
    lead: float
    ahead: float
    drain: float
    idle: float
    drained: Signals


@dataclass(slots=True, eq=False)
class Load(Instruction):
    """LOAD.

    Attributes
    ----------
    flits : int
    packet : float
        Flits of a burst, in the mean, if none ends at a page.
    gaps : float
        Cycles that its bursts cost beside.
    nbytes : int
    traffic : str
    memory : int
    cores : int
        Bit mask of those that it goes to.
    way : float
        From the memory node to the farthest of them.
    arrived : Tokens
    """

    flits: int
    packet: float
    gaps: float
    nbytes: int
    traffic: str
    memory: int
    cores: int
    way: float
    arrived: Tokens


@dataclass(slots=True, eq=False)
class Store(Instruction):
    """STORE, with the last POOL; `cycles` are those of its drain.

    Attributes
    ----------
    flits : int
    packet : float
        Flits of a packet, in the mean.
    nbytes : int
    traffic : str
    memory : int or None
        None for a store to cores.
    cores : int
        Bit mask of those that it goes to.
    arrived : Signals
        In the cores that it goes to, from the time on at which they have taken its flits.
    """

    flits: int
    packet: float
    nbytes: int
    traffic: str
    memory: int | None
    cores: int
    arrived: Signals


def masked(streams: Sequence[Sequence[bytes]], with_addresses: bool) -> bytes:
    """Instructions one behind the other, fields that cost no time zero; addresses of a LOAD do if asked for."""
    words = np.frombuffer(b"".join([word for stream in streams for word in stream]), "<u8")
    words = words.reshape(-1, INSTRUCTION_BYTES // 8)
    return (words & _masks(with_addresses, setup_fields(), ENGINES.changes)[words[:, 0] & np.uint64(15)]).tobytes()


@cache
def _masks(with_addresses: bool, of_setup: frozenset[str], _engines: int) -> np.ndarray:
    """Masks of the bits that cost time, uint64[opcode, word]."""
    out = np.zeros((16, INSTRUCTION_BYTES // 8), np.uint64)
    out[:, 0] = 15
    for opcode in LAYOUTS:
        timed = {name for name, _ in (*isa.Prefix, *isa.Signals)} | TIMED.get(opcode, set())
        if opcode == Opcode.SETUP:
            timed |= of_setup
        if with_addresses:
            timed |= PLACED
        bits = 0
        for name, field in fields_of(opcode).items():
            bits |= (1 << field.width) - 1 << field.offset if name in timed else 0
        out[int(opcode)] = np.frombuffer(bits.to_bytes(INSTRUCTION_BYTES, "little"), "<u8")
    return out


_Start = tuple[Opcode, tuple[int, ...], tuple[str, ...]]
"""Opcode, tokens and causes of an `Instruction`."""


class Instructions:
    """Kinds of instructions that were met on a chip, by core and setting."""

    def __init__(self, chip: ChipParams, c: Coefficients) -> None:
        self.chip, self.c = chip, c
        self._known: dict[tuple[int, bytes], dict[bytes, Instruction]] = {}
        self._rates: dict[tuple[int, bytes, bytes], dict[float, Instruction]] = {}
        self._decode = cache(decode)

    def program(self, core: int, words: Iterator[bytes], rates: Sequence[float] = ()) -> list[Instruction]:
        """Instructions of one unit, of masked words.

        `rates` are cycles of a pixel of each COMPUTE whose engine's cycles depend on values, as far as they are known.
        """
        setting, left = b"", iter(rates)
        known = self._known.setdefault((core, setting), {})
        out = []
        for word in words:
            instruction = known.get(word)
            if instruction is None:
                instruction = known[word] = self._make(core, setting, word)
            if type(instruction) is Compute and instruction.valued and (rate := next(left, 0.0)):
                instruction = self._rated(core, setting, word, rate)
            out.append(instruction)
            if type(instruction) is Setting:
                setting = word
                known = self._known.setdefault((core, setting), {})
        return out

    def _rated(self, core: int, setting: bytes, word: bytes, rate: float) -> Instruction:
        """A COMPUTE whose pixels take so many cycles."""
        known = self._rates.setdefault((core, setting, word), {})
        if rate not in known:
            known[rate] = self._make(core, setting, word, rate)
        return known[rate]

    def _make(self, core: int, setting: bytes, word: bytes, rate: float = 0.0) -> Instruction:
        opcode, fields = self._decode(word)
        setup = self._decode(setting)[1] if setting else {}
        ranges = [(fields[f"wait{i}_first"], fields[f"wait{i}_count"], cause) for i, cause in enumerate(WAITS)]
        tokens = tuple(first + n for first, count, _ in ranges for n in range(count))
        causes = tuple(cause for _, count, cause in ranges for _ in range(count))
        start = opcode, tokens, causes
        match opcode:
            case Opcode.COMPUTE:
                return self._compute(start, core, setup, fields, rate)
            case Opcode.LOAD:
                return self._load(start, fields)
            case Opcode.STORE:
                return self._store(start, core, setup, fields)
            case Opcode.SETUP | Opcode.POOL:
                return Setting(*start, (), self.c.compute_issue, fence=False)
            case Opcode.SYNC if fields["mark"] and self.chip.cores[core].marks:
                signals, mark = self._signals(core, fields), fields["mark"]
                return Marking(*start, signals, self.c.compute_issue, fence=False, mark=mark)
            case Opcode.SYNC:
                return Instruction(*start, self._signals(core, fields), self.c.compute_issue, bool(fields["fence"]))
            case Opcode.TABLE:
                cycles = self.c.compute_issue + self.c.store_drain + TABLE_BYTES
                return Instruction(*start, self._signals(core, fields), cycles, fence=False)
        return Instruction(*start, (), 0.0, fence=True)

    def _signals(self, core: int, fields: Fields, which: Sequence[int] = (0, 1, 2)) -> Signals:
        out: list[tuple[float, Tokens]] = []
        for i in which:
            if fields[f"signal{i}_valid"]:
                target, token = fields[f"signal{i}_core"], fields[f"signal{i}_token"]
                delay = 1.0 if target == core else self._far(core, target)
                together = out.pop()[1] if out and out[-1][0] == delay else ()
                out.append((delay, (*together, (target, token))))
        return tuple(out)

    def _far(self, a: int, b: int) -> float:
        """Cycles of a signal from one core to another."""
        return self.c.signal_latency + self.c.hop_latency * hops(self.chip, a, b)

    def _compute(self, start: _Start, core: int, setup: Fields, fields: Fields, rate: float) -> Compute:
        params, c = self.chip.cores[core], self.c
        engine = timing_of(setup["engine"])
        passes, each = engine.passes(setup, fields)
        each = each._replace(pixel_cycles=rate)
        last = engine.last_cycles(params, each)
        streaming = (passes - 1) * engine.pass_cycles(params, each) + last
        return Compute(
            *start,
            signals=self._signals(core, fields, (0, 1)),
            cycles=streaming + engine.start_cycles(c),
            fence=False,
            streaming=streaming,
            engine=setup["engine"],
            valued=engine.valued,
            passes=passes,
            pixels=passes * engine.pass_pixels(each),
            last=last if engine.banked else 0,
            lead=engine.lead_cycles(params, each),
            ahead=engine.ahead_cycles(each),
            drain=engine.drain_cycles(params, c),
            idle=engine.idle_cycles(params, c),
            drained=self._signals(core, fields, (2,)),
        )

    def _load(self, start: _Start, fields: Fields) -> Load:
        flits = fields["runs"] * fields["run_flits"]
        cores = [core for core in range(self.chip.n_cores) if fields["cores"] >> core & 1]
        memory = self.chip.memory_node_id(fields["memory"])
        return Load(
            *start,
            signals=(),
            cycles=self.c.load_issue + self.chip.request_flits,
            fence=False,
            flits=flits,
            packet=packet_flits(self.chip, fields["run_flits"]),
            gaps=self.c.burst_gap * bursts(self.chip, fields) if self.c.burst_gap else 0.0,
            nbytes=flits * self.chip.link_bytes,
            traffic=TrafficClass(fields["traffic"]).name.lower(),
            memory=fields["memory"],
            cores=fields["cores"],
            way=self.c.hop_latency * max(hops(self.chip, core, memory) for core in cores),
            arrived=tuple((core, fields["token"]) for core in cores) if fields["token_valid"] else (),
        )

    def _store(self, start: _Start, core: int, pool: Fields, fields: Fields) -> Store:
        flits = fields["pixels"] * fields["groups"]
        cores = store_cores(fields, self.chip.cores[core]) if fields["to_core"] else range(0)
        arrived = tuple((self.c.store_drain + self._far(core, to), ((to, fields["token"]),)) for to in cores)
        return Store(
            *start,
            signals=self._signals(core, fields),
            cycles=store_cycles(flits, (pool["kernel_h"], pool["kernel_w"]) if fields["pooled"] else None),
            fence=False,
            flits=flits,
            packet=packet_flits(self.chip, fields["pixels"]),
            nbytes=flits * fields["lanes"],
            traffic=TrafficClass(fields["traffic"]).name.lower(),
            memory=None if fields["to_core"] else fields["memory"],
            cores=sum(1 << to for to in cores),
            arrived=arrived if fields["token_valid"] else (),
        )
