"""Kernels, and a sketch on which their programs are written."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property

from estimator import Unrated
from estimator.instructions import Streams
from rtl.contract.isa import Opcode, Space, TrafficClass, Unit
from rtl.contract.params import ChipParams
from tb.fuzz.program import DATA_BYTES, Instruction, Program
from tb.sim.settings import MemorySettings

__all__ = ["Kernel", "Sketch", "farthest_node"]

READ_BYTES = DATA_BYTES // 2
"""LOADs of kernels that also write read below, STOREs write above: no result depends on their order."""
RANGES = 3
"""Ranges of counters that an instruction waits for."""
ROOM = 1000
"""Rows and columns of a map that no window of a kernel leaves."""


@dataclass(frozen=True)
class Kernel(Unrated):
    """A program that shows one effect.

    Attributes
    ----------
    effect : str
        What it shows; kernels of one effect differ in size.
    """

    effect: str
    program: Program

    @property
    def name(self) -> str:
        return self.program.name

    @property
    def chip(self) -> ChipParams:
        return self.program.chip

    @property
    def settings(self) -> MemorySettings:
        return self.program.settings

    @property
    def streams(self) -> Streams:
        """Instructions of every core and unit, END last, as the estimator takes them."""
        return self._streams

    @cached_property
    def _streams(self) -> dict[tuple[int, Unit], list[bytes]]:
        end = Instruction(Opcode.END)
        return {
            place: [instruction.code for instruction in [*stream, end]]
            for place, stream in self.program.streams.items()
        }


class Sketch:
    """A program under way. What it reads in external memory nobody writes, and every flit has a place of its own.

    Parameters
    ----------
    writers : int
        Cores that write to external memory; they divide its upper part.
    """

    def __init__(self, chip: ChipParams, writers: int = 1) -> None:
        self.chip = chip
        places = [(core, unit) for core in range(chip.n_cores) for unit in Unit]
        self.streams: dict[tuple[int, Unit], list[Instruction]] = {place: [] for place in places}
        self._write_bytes = (DATA_BYTES - READ_BYTES) // writers
        self._next = [0] * chip.n_cores
        self._awaited: list[list[int]] = [[] for _ in range(chip.n_cores)]

    def token(self, core: int) -> int:
        """A counter of a core that nothing else uses."""
        self._next[core] += 1
        return self._next[core] - 1

    def add(self, core: int, unit: Unit, opcode: Opcode, /, **fields: int) -> None:
        """An instruction as the contract names its fields."""
        self.streams[core, unit].append(Instruction(opcode, fields))

    def sync(
        self, core: int, unit: Unit, wait: int | None = None, tell: tuple[int, int] | None = None, fence: int = 0
    ) -> None:
        """A SYNC that waits for a counter and adds one to another, (core, token)."""
        fields = {"fence": fence, **_waits(wait)}
        if tell is not None:
            fields |= {"signal0_valid": 1, "signal0_core": tell[0], "signal0_token": tell[1]}
        self.add(core, unit, Opcode.SYNC, **fields)

    def load(
        self, core: int, flits: int, memory: int, *, runs: int = 1, to: Iterable[int] | None = None,
        space: Space = Space.ACT, wait: int | None = None, gap: int = 0,
    ) -> list[int]:  # fmt: skip
        """A LOAD of so many flits in so many runs, `gap` flits apart; the counter that tells each receiving core.

        Flit i of external memory always comes to flit address i, so that LOADs may overtake each other.
        """
        cores = [core] if to is None else list(to)
        run = flits // runs
        together = max(self._next[each] for each in cores)
        for each in cores:
            self._next[each] = together + 1
            self._awaited[each].append(together)
        self.add(
            core, Unit.LOAD, Opcode.LOAD, cores=sum(1 << each for each in cores), runs=runs, run_flits=run,
            dram_stride=run + gap, dst_stride=run + gap, space=int(space), memory=memory,
            traffic=int(TrafficClass.IFMAP), token_valid=1, token=together, **_waits(wait),
        )  # fmt: skip
        return [together] * len(cores)

    def taken(self, core: int, token: int) -> None:
        """An instruction of its own waits for this token of a LOAD or a STORE to a core."""
        self._awaited[core].remove(token)

    def setup(self, core: int, engine: int, width: int, kernel: tuple[int, int] = (1, 1), **options: int) -> None:
        """A SETUP of maps without padding, whose pixels lie next to each other."""
        step = max(self.chip.link_bytes, self.chip.cores[core].rows)
        packed = 0
        at = 0
        for name, bits in (("tap_mode", 1), ("tap_shift", 5), ("window", 1)):
            packed |= options.pop(name, 0) << at
            at += bits
        self.add(
            core, Unit.COMPUTE, Opcode.SETUP, engine=engine, kernel_h=kernel[0], kernel_w=kernel[1], stride_h=1,
            stride_w=1, dilation_h=1, dilation_w=1, out_w=width, in_w=ROOM, step_x=step, tap_x=step,
            step_y=step * width, tap_y=0, options=packed, **options,
        )  # fmt: skip

    def compute(
        self, core: int, height: int, blocks: int = 1, *, wait: int | None = None, tell: int | None = None,
        accumulate: int = 0, acc_base: int = 0, read: int | None = None,
    ) -> None:  # fmt: skip
        """A COMPUTE of the last SETUP; counter `tell` hears of its last update, `read` of its last operand."""
        fields = {"blocks": blocks, "out_h": height, "in_h": ROOM, "accumulate": accumulate, "acc_base": acc_base}
        for number, token in ((2, tell), (0, read)):
            if token is not None:
                fields |= {f"signal{number}_valid": 1, f"signal{number}_token": token, f"signal{number}_core": core}
        self.add(core, Unit.COMPUTE, Opcode.COMPUTE, **fields, **_waits(wait))

    def store(
        self, core: int, pixels: int, memory: int, *, groups: int = 1, writer: int = 0, wait: int | None = None,
        tell: int | None = None, pooled: int = 0, table: int = 0, acc_base: int = 0,
    ) -> None:  # fmt: skip
        """A STORE to external memory, to the part of the writer of that number."""
        size = self.chip.link_bytes
        assert pixels * groups * size <= self._write_bytes, "more than the writer's part of external memory"
        self._store(
            core, pixels, groups, wait, tell, pooled=pooled, table=table, acc_base=acc_base, memory=memory,
            addr=READ_BYTES + writer * self._write_bytes, group_stride=pixels,
        )  # fmt: skip

    def send(
        self, core: int, pixels: int, to: int, more: int = 0, *, place: int = 0, wait: int | None = None
    ) -> list[int]:
        """A STORE to cores `to` to `to + more`, from flit address `place` on; the counter that tells each of them."""
        cores = range(to, to + more + 1)
        token = max(self._next[each] for each in cores)
        for each in cores:
            self._next[each] = token + 1
            self._awaited[each].append(token)
        self._store(
            core, pixels, 1, wait, None, to_core=1, core=to, more=more, space=int(Space.ACT), addr=place,
            token_valid=1, token=token,
        )  # fmt: skip
        return [token] * len(cores)

    def _store(
        self, source: int, pixels: int, groups: int, wait: int | None, tell: int | None, /, **fields: int
    ) -> None:
        if tell is not None:
            fields |= {"signal0_valid": 1, "signal0_core": source, "signal0_token": tell}
        lanes = min(self.chip.cores[source].drain_lanes(self.chip.link_bytes), self.chip.cores[source].rows)
        self.add(
            source, Unit.STORE, Opcode.STORE, pixels=pixels, groups=groups, lanes=lanes, lo=-128, hi=127,
            traffic=int(TrafficClass.OFMAP), **fields, **_waits(wait),
        )  # fmt: skip

    def kernel(self, effect: str, name: str, settings: MemorySettings | None = None) -> Kernel:
        """The program, at whose end every core waits for all that comes to it."""
        for core, tokens in enumerate(self._awaited):
            ranges = _ranges(tokens)
            for first in range(0, len(ranges), RANGES):
                fields: dict[str, int] = {}
                for number, (token, count) in enumerate(ranges[first : first + RANGES]):
                    fields |= {f"wait{number}_first": token, f"wait{number}_count": count}
                self.add(core, Unit.LOAD, Opcode.SYNC, **fields)
        whole = f"{effect} {name}".strip()
        return Kernel(effect, Program(self.chip, self.streams, 1, settings or MemorySettings(), whole))


def farthest_node(chip: ChipParams, core: int) -> int:
    """Memory node with the longest way to a core."""
    x, y = chip.position(core)
    return max(range(len(chip.memory_nodes)), key=lambda m: (abs(chip.memory_nodes[m].x - x)
                                                              + abs(chip.memory_nodes[m].y - y), -m))  # fmt: skip


def _waits(token: int | None) -> dict[str, int]:
    return {} if token is None else {"wait0_first": token, "wait0_count": 1}


def _ranges(tokens: Iterable[int]) -> list[tuple[int, int]]:
    """Counters as ranges (first, count)."""
    found: list[tuple[int, int]] = []
    for token in sorted(tokens):
        if found and sum(found[-1]) == token:
            found[-1] = (found[-1][0], found[-1][1] + 1)
        else:
            found.append((token, 1))
    return found
