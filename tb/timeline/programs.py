"""The programs of a launch as its timeline tells them: names of instructions, and which one sends which token."""

from __future__ import annotations

from bisect import bisect_right
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property

from estimator import Place
from rtl.contract.codec import decode, opcode_of, store_cores
from rtl.contract.engines import ENGINES
from rtl.contract.isa import Opcode, TrafficClass, Unit
from rtl.contract.params import ChipParams
from scheduler.plan.program import Launch
from tb.sim.trace import TokenSource

__all__ = ["SLICED", "Programs"]

SLICED = {Unit.LOAD: (Opcode.LOAD,), Unit.COMPUTE: (Opcode.COMPUTE,), Unit.STORE: (Opcode.STORE, Opcode.TABLE)}
"""Instructions that take their unit some time; the others are over as they leave the queue."""

_SIGNALLED = {
    TokenSource.COMPUTE_SIGNAL_0: (Unit.COMPUTE, (Opcode.COMPUTE,), (0,)),
    TokenSource.COMPUTE_SIGNAL_1: (Unit.COMPUTE, (Opcode.COMPUTE,), (1,)),
    TokenSource.COMPUTE_SIGNAL_2: (Unit.COMPUTE, (Opcode.COMPUTE,), (2,)),
    TokenSource.STORE_SIGNAL: (Unit.STORE, (Opcode.STORE, Opcode.TABLE), (0, 1, 2)),
    TokenSource.LOAD_SYNC: (Unit.LOAD, (Opcode.SYNC,), (0, 1, 2)),
    TokenSource.COMPUTE_SYNC: (Unit.COMPUTE, (Opcode.SYNC,), (0, 1, 2)),
    TokenSource.STORE_SYNC: (Unit.STORE, (Opcode.SYNC,), (0, 1, 2)),
}
"""Of each port that sends signals: its unit, instructions, and which of their signals, in that order."""


@dataclass(eq=False)
class Programs:
    """The programs of a launch on a chip."""

    launch: Launch
    chip: ChipParams
    _decoded: dict[bytes, Mapping[str, int]] = field(default_factory=dict)

    def opcode(self, place: Place) -> Opcode:
        core, unit, number = place
        return opcode_of(self.launch.streams[core, unit][number])

    def fields(self, place: Place) -> Mapping[str, int]:
        """Fields of an instruction by name."""
        core, unit, number = place
        word = self.launch.streams[core, unit][number]
        if word not in self._decoded:
            self._decoded[word] = decode(word)[1]
        return self._decoded[word]

    def numbers(self, core: int, unit: Unit, opcodes: tuple[Opcode, ...]) -> list[int]:
        """Numbers of the instructions of these kinds, in order."""
        return [n for n, word in enumerate(self.launch.streams[core, unit]) if opcode_of(word) in opcodes]

    def layer(self, place: Place) -> str:
        """The layer that an instruction is of."""
        core, unit, number = place
        parts = self.launch.parts
        borders: Sequence[int] = self.launch.borders.get((core, unit), ())
        if len(parts) == 1:
            return parts[0].name
        if not borders:
            return self.launch.name
        return parts[min(bisect_right(borders, number), len(parts) - 1)].name

    def name(self, place: Place) -> str:
        """'conv1 LOAD weight': layer, instruction, and what it moves or where to."""
        opcode = self.opcode(place)
        name = f"{self.layer(place)} {opcode.name}"
        if opcode in (Opcode.LOAD, Opcode.STORE):
            fields = self.fields(place)
            if opcode == Opcode.STORE and fields["to_core"]:
                cores = store_cores(fields, self.chip.cores[place[0]])
                more = f" to {cores[-1]}" if len(cores) > 1 else ""
                return f"{name} to core {cores[0]}{more}"
            return f"{name} {self.traffic(place)}"
        return name

    def traffic(self, place: Place) -> str:
        """Class of what a LOAD or STORE moves from or to DRAM."""
        return TrafficClass(self.fields(place)["traffic"]).name.lower()

    def facts(self, place: Place) -> dict[str, int | str]:
        """What else there is to say of an instruction."""
        facts: dict[str, int | str] = {"instruction": place[2]}
        match self.opcode(place):
            case Opcode.LOAD:
                fields = self.fields(place)
                facts["bytes"] = fields["runs"] * fields["run_flits"] * self.chip.link_bytes
                facts["memory"] = fields["memory"]
            case Opcode.STORE:
                fields = self.fields(place)
                facts["bytes"] = fields["pixels"] * fields["groups"] * fields["lanes"]
            case Opcode.SETUP | Opcode.COMPUTE:
                facts["engine"] = next((spec.name for spec in ENGINES.values() if spec.code == self.engine(place)), "")
        return facts

    def engine(self, place: Place) -> int:
        """Code of the engine of a COMPUTE."""
        return self._engines[place[0]][place[2]]

    @cached_property
    def _engines(self) -> list[list[int]]:
        """Of each core, the engine that is set behind each instruction of its compute stream; -1 for none."""
        found = []
        for core in range(self.chip.n_cores):
            engines, engine = [], -1
            for number, word in enumerate(self.launch.streams[core, Unit.COMPUTE]):
                if opcode_of(word) == Opcode.SETUP:
                    engine = self.fields((core, Unit.COMPUTE, number))["engine"]
                engines.append(engine)
            found.append(engines)
        return found

    def waits_for(self, place: Place, token: int) -> bool:
        """Whether an instruction takes that token."""
        fields = self.fields(place)
        return any(0 <= token - fields[f"wait{i}_first"] < fields[f"wait{i}_count"] for i in range(3))

    def sender(self, source: TokenSource, node: int, number: int, core: int) -> Place | None:
        """The instruction that sent core `core` a token from a core, by who sent it and how many before."""
        stores = source == TokenSource.STORE_DATA
        senders = self._stores_to.get((node, core), []) if stores else self._signals.get((node, source), [])
        return senders[number] if number < len(senders) else None

    @cached_property
    def _signals(self) -> dict[tuple[int, TokenSource], list[Place]]:
        """Of each port, the instructions that send by it, each as often as it does."""
        found: dict[tuple[int, TokenSource], list[Place]] = {}
        for core in range(self.chip.n_cores):
            for source, (unit, opcodes, which) in _SIGNALLED.items():
                places = [(core, unit, number) for number in self.numbers(core, unit, opcodes)]
                found[core, source] = [
                    place for place in places for i in which if self.fields(place)[f"signal{i}_valid"]
                ]
        return found

    @cached_property
    def _stores_to(self) -> dict[tuple[int, int], list[Place]]:
        """STOREs from a core to a core that bring a token."""
        found: defaultdict[tuple[int, int], list[Place]] = defaultdict(list)
        for core, sender in enumerate(self.chip.cores):
            for number in self.numbers(core, Unit.STORE, (Opcode.STORE,)):
                place = core, Unit.STORE, number
                fields = self.fields(place)
                if fields["to_core"] and fields["token_valid"]:
                    for target in store_cores(fields, sender):
                        found[core, target].append(place)
        return found

    def loads(self, memory: int, core: int) -> list[Place]:
        """LOADs of a core from a memory node, which serves them in this order."""
        places = [(core, Unit.LOAD, number) for number in self.numbers(core, Unit.LOAD, (Opcode.LOAD,))]
        return [place for place in places if self.fields(place)["memory"] == memory]

    def told(self, load: Place) -> list[int]:
        """Cores to which a LOAD brings a token."""
        fields = self.fields(load)
        return [core for core in range(self.chip.n_cores) if fields["token_valid"] and fields["cores"] >> core & 1]
