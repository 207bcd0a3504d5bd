"""A program for a whole chip with everything that its run depends on, and its form as a file."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from functools import cache
from itertools import chain, zip_longest
from pathlib import Path

import numpy as np

from rtl.contract.codec import decode, encode, pack_params
from rtl.contract.engines import ENGINES
from rtl.contract.isa import INSTRUCTION_BYTES, PARAM_BYTES_PER_CHANNEL, Opcode, Unit
from rtl.contract.marks import marks_of
from rtl.contract.params import ChipParams, CoreParams, ParameterError, chip_from_table, chip_table
from tb.errors import BenchError
from tb.files import write_atomically
from tb.fuzz.engines import FUZZ
from tb.fuzz.engines.fuzz import Listed
from tb.sim.settings import MemorySettings

__all__ = [
    "DATA_BYTES", "LISTS_AREA", "MEMORY_BYTES", "Instruction", "Program", "Streams", "damaged_weights",
    "listed_weights", "max_stream",
]  # fmt: skip

MEMORY_BYTES = 1 << 16
DATA_BYTES = MEMORY_BYTES // 2
"""Data lie below, programs above."""
PARAM_AREA = (DATA_BYTES * 3 // 4, DATA_BYTES)
"""Here the image holds sensible parameter blocks; elsewhere noise."""
LISTS_AREA = (DATA_BYTES // 4, DATA_BYTES * 3 // 4)
"""Here it holds weights of engines with lists, if a core has one; no program writes there."""
_FETCH_AHEAD_BYTES = 64 * INSTRUCTION_BYTES
"""The memory behind END that a fetch may read."""
_LISTED = 40
"""Draws of weights for an engine with lists."""


@dataclass(frozen=True)
class Instruction:
    """An instruction by its fields, or by its bytes if there is no such opcode."""

    opcode: Opcode
    fields: Mapping[str, int] = field(default_factory=dict)
    raw: bytes | None = None

    @property
    def code(self) -> bytes:
        return encode(self.opcode, **self.fields) if self.raw is None else self.raw

    def whole(self) -> dict[str, int]:
        """All fields, those that are zero as well."""
        return decode(self.code)[1]

    def moved(self, origin: int) -> Instruction:
        """The same for data and programs that lie at `origin`."""
        name = {Opcode.LOAD: "dram_addr", Opcode.STORE: "addr"}.get(self.opcode)
        if not origin or name is None or self.fields.get("to_core"):
            return self
        return replace(self, fields={**self.fields, name: self.fields.get(name, 0) + origin})

    def __str__(self) -> str:
        if self.raw is not None:
            return f"RAW {self.raw.hex()}"
        return " ".join([self.opcode.name, *(f"{name}={value}" for name, value in self.fields.items() if value)])

    @classmethod
    def parse(cls, text: str) -> Instruction:
        """Inverse of `str`; ValueError if it is none."""
        name, *parts = text.split()
        if name == "RAW":
            return cls(Opcode.ILLEGAL, {}, bytes.fromhex(parts[0]))
        pairs = (part.split("=") for part in parts)
        instruction = cls(Opcode[name], {key: int(value) for key, value in pairs})
        encode(instruction.opcode, **instruction.fields)
        return instruction


Streams = dict[tuple[int, Unit], list[Instruction]]
"""The instructions of each unit of each core, without the END that closes every stream."""


def max_stream(chip: ChipParams) -> int:
    """Instructions that a stream may have."""
    room = MEMORY_BYTES - DATA_BYTES - _FETCH_AHEAD_BYTES
    return room // (3 * chip.n_cores * 64) * 64 // INSTRUCTION_BYTES - 1


@cache
def listed_weights(chip: ChipParams, core: CoreParams) -> tuple[tuple[int, Listed], ...]:
    """Weights for the core's engine with lists, with their addresses in external memory; empty if it has none."""
    found: list[tuple[int, Listed]] = []
    at, end = _lists_area(chip, core)
    end, rng = at + (end - at) * 3 // 4, np.random.default_rng(5)
    for name in core.engines if any(spec.lists for spec in ENGINES.of(core.engines).values()) else ():
        for number in range(_LISTED):
            one = FUZZ[name].passes(rng, core, number)
            if one is not None and at + one.raw.size <= end:
                found.append((at, one))
                at += -(-one.raw.size // 64) * 64
    return tuple(found)


@cache
def damaged_weights(chip: ChipParams, core: CoreParams) -> Mapping[str, Mapping[int, int]]:
    """Addresses of weights that contradict themselves, by fault and by the address of the sound ones: behind these, the
    smallest ones as far as there is room, of one and of more passes in turn."""
    listed = listed_weights(chip, core)
    smallest = sorted(listed, key=lambda entry: entry[1].raw.size)
    counts = sorted({one.compute["blocks"] for _, one in listed})
    alike = [[entry for entry in smallest if entry[1].compute["blocks"] == count] for count in counts]
    at = max((place + one.raw.size for place, one in listed), default=0)
    found: dict[str, dict[int, int]] = {fault: {} for _, one in listed for fault in one.damaged}
    for sound, one in filter(None, chain(*zip_longest(*alike))):
        for fault in one.damaged:
            at = -(-at // 64) * 64
            if at + one.raw.size <= _lists_area(chip, core)[1]:
                found[fault][sound] = at
                at += one.raw.size
    return found


def _lists_area(chip: ChipParams, core: CoreParams) -> tuple[int, int]:
    """The part of `LISTS_AREA` for cores like this."""
    kinds = list(dict.fromkeys(chip.cores))
    size = (LISTS_AREA[1] - LISTS_AREA[0]) // len(kinds)
    at = LISTS_AREA[0] + kinds.index(core) * size
    return at, at + size


@dataclass(frozen=True)
class Program:
    """Instruction streams, the seeds of the initial contents of all memories, and what the external memory is like."""

    chip: ChipParams
    streams: Streams
    seed: int
    """Of the image in external memory, and of the noise in the cores."""
    settings: MemorySettings = field(default_factory=MemorySettings)
    name: str = ""
    fault: tuple[int, Unit, int] | None = None
    """Core, unit and place in its stream of the faulty instruction, if there is one."""
    origin: int = 0
    """Where all of it lies in the chip's external memory, a multiple of 64 KB. Addresses in `streams` count from there;
    so does the machine, which knows of no other memory."""

    @property
    def program_base(self) -> int:
        return DATA_BYTES

    @property
    def program_stride(self) -> int:
        longest = max(map(len, self.streams.values())) + 1
        return -(-longest * INSTRUCTION_BYTES // 64) * 64

    @property
    def n_instructions(self) -> int:
        return sum(map(len, self.streams.values()))

    @property
    def busy_cores(self) -> int:
        """Cores that have anything to do."""
        return len({core for (core, _), stream in self.streams.items() if stream})

    def streams_of(self, unit: Unit) -> list[Instruction]:
        """The instructions of a unit, of all cores."""
        return [i for (_, of), stream in self.streams.items() if of == unit for i in stream]

    @property
    def marks(self) -> tuple[tuple[int, ...], ...]:
        """Marks that each core passes, in the order of its compute stream."""
        codes = {place: [instruction.code for instruction in stream] for place, stream in self.streams.items()}
        return marks_of(self.chip, codes)

    def image(self, origin: int = 0) -> np.ndarray:
        """External memory from `origin` on before the run, uint8[MEMORY_BYTES]."""
        rng = np.random.default_rng([self.seed, 1])
        image = rng.integers(0, 256, MEMORY_BYTES, np.uint8)
        # Every other KB holds small values, so that not every sum saturates.
        small = rng.integers(-4, 5, MEMORY_BYTES, np.int8).view(np.uint8)
        quiet = np.arange(MEMORY_BYTES) >> 10 & 1 == 1
        image[quiet] = small[quiet]
        for core in dict.fromkeys(self.chip.cores):
            damaged = damaged_weights(self.chip, core)
            for sound, one in listed_weights(self.chip, core):
                image[sound : sound + one.raw.size] = one.raw
                for fault, raw in one.damaged.items():
                    if (at := damaged[fault].get(sound)) is not None:
                        image[at : at + raw.size] = raw
        channels = (PARAM_AREA[1] - PARAM_AREA[0]) // PARAM_BYTES_PER_CHANNEL
        shift = rng.integers(0, 41, channels)
        multiplier = np.minimum((rng.random(channels) * 2.0 ** (shift - 3)).astype(np.int64), (1 << 24) - 1)
        bias = rng.integers(-(1 << 31), 1 << 31, channels) >> rng.integers(0, 31, channels)
        image[slice(*PARAM_AREA)] = pack_params(bias, multiplier, shift)
        if self.program_base + self.program_stride * 3 * self.chip.n_cores + _FETCH_AHEAD_BYTES > MEMORY_BYTES:
            raise BenchError(f"a stream has more than {max_stream(self.chip)} instructions: the programs do not fit")
        end = encode(Opcode.END)
        for (core, unit), stream in self.streams.items():
            code = b"".join([*(instruction.moved(origin).code for instruction in stream), end])
            at = self.program_base + (3 * core + unit) * self.program_stride
            image[at : at + len(code)] = np.frombuffer(code, np.uint8)
        return image

    def with_streams(self, streams: Streams) -> Program:
        return replace(self, streams=streams)

    def save(self, path: Path, note: Sequence[str] = ()) -> None:
        """Write it as a file that people read and `load` reads, too."""
        streams = {
            f"core {core} {unit.name.lower()}": [str(instruction) for instruction in stream]
            for (core, unit), stream in sorted(self.streams.items())
            if stream
        }
        content = {
            "name": self.name, "note": list(note), "seed": self.seed, "settings": asdict(self.settings),
            "fault": self.fault and [self.fault[0], self.fault[1].name.lower(), self.fault[2]],
            "origin": self.origin, "chip": chip_table(self.chip), "streams": streams,
        }  # fmt: skip
        write_atomically(path, (json.dumps(content, indent=1) + "\n").encode())

    @classmethod
    def load(cls, path: Path) -> Program:
        """Read a program.

        Raises
        ------
        BenchError
            If the file is not there or is not a program.
        """
        try:
            content = json.loads(path.read_text())
            chip = chip_from_table(content["chip"])
            streams: Streams = {(core, unit): [] for core in range(chip.n_cores) for unit in Unit}
            for place, stream in content["streams"].items():
                _, core, unit = place.split()
                streams[int(core), Unit[unit.upper()]] = [Instruction.parse(text) for text in stream]
            fault = content["fault"] and (content["fault"][0], Unit[content["fault"][1].upper()], content["fault"][2])
            settings = MemorySettings(**content["settings"])
            origin = content.get("origin", 0)
            return cls(chip, streams, content["seed"], settings, content["name"], fault, origin)
        except OSError as error:
            raise BenchError(f"cannot read {path}: {error.strerror}; give a file that `make fuzz` has saved") from error
        except (ValueError, KeyError, TypeError, AttributeError, ParameterError) as error:
            raise BenchError(f"{path} is not a saved program ({error}); give a file of `make fuzz`") from error
