"""Steps: the working instructions of a program in one legal serial order; the rest follows from them.

A step stands on its own: it brings its geometry along and knows nothing of tokens. `Assembler` turns steps into
streams (SETUPs, POOLs and tokens included) and refuses those that would not be legal behind the ones before them, so
that any part of a legal list of steps makes a legal program: what the shrinker lives on.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from rtl.contract.engines import ENGINES
from rtl.contract.isa import Opcode, Unit
from rtl.contract.params import ChipParams
from tb.fuzz.footprint import accesses
from tb.fuzz.order import Impossible, Order
from tb.fuzz.program import Instruction, Streams, max_stream

__all__ = ["UNIT_OF", "Assembler", "Step", "assemble"]

UNIT_OF = {
    Opcode.LOAD: Unit.LOAD,
    Opcode.SETUP: Unit.COMPUTE,
    Opcode.COMPUTE: Unit.COMPUTE,
    Opcode.STORE: Unit.STORE,
    Opcode.POOL: Unit.STORE,
    Opcode.TABLE: Unit.STORE,
}


@dataclass(frozen=True)
class Step:
    """One instruction that does something.

    Attributes
    ----------
    geometry : dict
        Fields of the SETUP in front of a COMPUTE, of the POOL in front of a pooled STORE.
    unit : Unit
        Of a SYNC; of others it follows from the opcode.
    """

    core: int
    opcode: Opcode
    fields: dict[str, int]
    geometry: dict[str, int] = field(default_factory=dict)
    unit: Unit = Unit.LOAD

    @property
    def on(self) -> Unit:
        return UNIT_OF.get(self.opcode, self.unit)


class Assembler:
    """Adds steps to a program one by one."""

    def __init__(self, chip: ChipParams, seed: int) -> None:
        self.chip = chip
        rng = np.random.default_rng([seed, 2])
        self.order = Order(chip, rng)
        self.steps: list[Step] = []
        self._rng = rng
        self._room = max_stream(chip) - 8  # SYNCs come on top
        self._geometry: dict[tuple[int, Opcode], dict[str, int]] = {}
        self._tables: set[int] = set()
        self._undefined = [np.zeros((core.acc_entries, core.cols), bool) for core in chip.cores]

    def add(self, step: Step) -> bool:
        """Append a step; False if it cannot follow those before it."""
        order, core = self.order, step.core
        if step.opcode == Opcode.STORE and step.fields["table"] and core not in self._tables:
            step = replace(step, fields={**step.fields, "table": 0})
        if any(len(stream) >= self._room for stream in order.streams.values()):
            return False
        if step.opcode == Opcode.STORE and not self._readable(step):
            return False
        touches = accesses(self.chip, core, step.opcode, step.fields, step.geometry)
        if step.geometry:
            setter = Opcode.SETUP if step.opcode == Opcode.COMPUTE else Opcode.POOL
            if self._geometry.get((core, setter)) != step.geometry or self._rng.random() < 0.1:
                order.add(core, step.on, setter, step.geometry, [])
                self._geometry[core, setter] = step.geometry
        try:
            order.add(core, step.on, step.opcode, step.fields, touches)
        except Impossible:
            return False
        self.steps.append(step)
        if step.opcode == Opcode.COMPUTE:
            self._define(step)
        elif step.opcode == Opcode.TABLE:
            self._tables.add(core)
        return True

    def streams(self) -> Streams:
        return self.order.instructions()

    def _define(self, step: Step) -> None:
        """Lanes that a COMPUTE leaves undefined, or defines again."""
        params = self.chip.cores[step.core]
        first = step.fields["acc_base"]
        entries = self._undefined[step.core][first : first + step.fields["out_h"] * step.geometry["out_w"]]
        spec = ENGINES.by_code(step.geometry["engine"])
        assert spec is not None, "steps are legal"
        lanes = spec.lanes(params)
        entries[:, lanes:] = True
        if not step.fields["accumulate"]:
            entries[:, :lanes] = False

    def _readable(self, step: Step) -> bool:
        """Whether a STORE reads only what is defined."""
        fields = step.fields
        lanes = self.chip.cores[step.core].drain_lanes(self.chip.link_bytes)
        entries = step.geometry["in_h"] * step.geometry["in_w"] if fields["pooled"] else fields["pixels"]
        read = self._undefined[step.core][fields["acc_base"] : fields["acc_base"] + entries]
        return not any(
            read[:, group * lanes : group * lanes + fields["lanes"]].any() for group in range(fields["groups"])
        )


def assemble(chip: ChipParams, steps: Sequence[Step], seed: int) -> tuple[list[Step], Streams]:
    """The streams of a list of steps, which wait for all of their data, and the steps that could be kept."""
    while True:
        assembler = Assembler(chip, seed)
        for step in steps:
            assembler.add(step)
        try:
            assembler.order.collect()
        except Impossible:
            steps = assembler.steps[: len(assembler.steps) * 3 // 4]
            continue
        return assembler.steps, {place: [_plain(i) for i in stream] for place, stream in assembler.streams().items()}


def _plain(instruction: Instruction) -> Instruction:
    """Fields as plain numbers, zeros left out."""
    fields = {name: int(value) for name, value in instruction.fields.items() if value}
    return Instruction(instruction.opcode, fields)
