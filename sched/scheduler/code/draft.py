"""A launch before it has a place for its programs: its streams, and the constants that they load, with addresses."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np

from rtl.contract.codec import encode
from rtl.contract.isa import Opcode, Unit
from rtl.contract.params import ChipParams
from scheduler.code.emit import Emitted, Streams, Turns, emit
from scheduler.code.image import build_params, build_weights, residual_offsets
from scheduler.code.link import link
from scheduler.code.serial import serialise
from scheduler.map.budget import Accumulators
from scheduler.map.mapping import Mapping
from scheduler.plan.bump import Bump
from scheduler.plan.program import Launch, Part, Segment

__all__ = ["Constants", "Draft"]

END = encode(Opcode.END)

_Turn = tuple[int, Accumulators]


@dataclass(frozen=True, eq=False)
class Constants:
    """Weights and parameters of a mapping, each from an address on."""

    mapping: Mapping
    weights_addr: int
    params_addr: int

    def segments(self, name: str) -> list[Segment]:
        weights, params = build_weights(self.mapping), build_params(self.mapping)
        found = [Segment(self.params_addr, params, f"{name} parameters")]
        return [Segment(self.weights_addr, weights, f"{name} weights"), *found] if weights.size else found


@dataclass(frozen=True, eq=False)
class Draft:
    """Streams of one launch, with the constants that lie where they say.

    Attributes
    ----------
    parts : tuple of tuple of Mapping
        Mappings of each part, in order; those of one part are on cores of their own.
    streams : dict of (core, Unit) to list of bytes
        Of every core and unit, part behind part, END last.
    borders : dict of (core, Unit) to list of int
        Of every stream, the number of the instruction behind each part.
    rates : dict of int to list of float
        By core, of its COMPUTEs on engines whose cycles depend on values, the cycles from pixel to pixel.
    constants : tuple of Constants
    end : int
        Behind the last constant.
    brings : bool
        Its constants are not there yet: no earlier launch has them too.
    """

    parts: tuple[tuple[Mapping, ...], ...]
    streams: Streams
    borders: dict[tuple[int, Unit], list[int]]
    rates: dict[int, list[float]]
    constants: tuple[Constants, ...]
    end: int
    brings: bool = True

    def moved(self, pictures: int, chip: ChipParams, top: int) -> Draft:
        """The launch for pictures so many behind, with the same constants; what it needs besides lies from `top` on."""
        parts = [[mapping.of(mapping.work.moved(pictures)) for mapping in part] for part in self.parts]
        return Draft.of(parts, chip, top, self.constants)

    @staticmethod
    def of(
        parts: Sequence[Sequence[Mapping]],
        chip: ChipParams,
        top: int,
        there: Sequence[Constants] = (),
        *,
        overlap: bool = True,
    ) -> Draft:
        """The launch with its constants from `top` on, or those that are there, of mappings with the same.

        Parameters
        ----------
        overlap : bool
            Without, at most one unit of a core works at a time (`scheduler.code.serial`).

        Raises
        ------
        PlanError
            If a number does not fit its instruction field, or the constants do not fit the memory.
        """
        bump = Bump(top)
        constants, done, totals = list(there), Counter[_Turn](), Counter[_Turn]()
        for mapping in (mapping for part in parts for mapping in part):
            totals.update({(core, mapping.budget.acc): turns for core, turns in mapping.turns.items()})
        for mapping in (mapping for part in parts for mapping in part) if not there else ():
            weights_addr = bump.take(residual_offsets(mapping)[-1])
            constants.append(Constants(mapping, weights_addr, bump.take(build_params(mapping).size)))
        places_of = iter(constants)
        emitted: list[list[Emitted]] = []
        for part in parts:
            emitted.append([])
            for mapping in part:
                constant = next(places_of)
                places = {core: (core, mapping.budget.acc) for core in mapping.cores}
                turns = {core: Turns(done[place], totals[place]) for core, place in places.items()}
                addrs = constant.weights_addr, constant.params_addr
                if overlap:
                    emitted[-1].append(emit(mapping, chip, *addrs, turns))
                else:
                    unpaced = emit(replace(mapping, pace=0), chip, *addrs, turns)
                    emitted[-1].append(serialise(unpaced, mapping, chip))
                done.update({places[core]: count for core, count in mapping.turns.items()})
        streams, borders, rates = link(parts, emitted, chip, overlap=overlap)
        for stream in streams.values():
            stream.append(END)
        return Draft(tuple(map(tuple, parts)), streams, borders, rates, tuple(constants), bump.top, not there)

    def serial(self, chip: ChipParams, top: int) -> Draft:
        """The same mappings, with units that work one after the other."""
        return Draft.of(self.parts, chip, top, () if self.brings else self.constants, overlap=False)

    @cached_property
    def instructions(self) -> int:
        return sum(map(len, self.streams.values()))

    def described(self, part: int) -> str:
        """How a part is split and tiled, for reports."""
        return "; ".join(mapping.describe() for mapping in self.parts[part])

    def _rings(self, part: int) -> tuple[tuple[int, int, int], ...]:
        """(core, first, end): bytes of the activation scratchpads for what is loaded."""
        return tuple(
            (core, mapping.budget.act.first, mapping.budget.act.first + mapping.ring_bytes)
            for mapping in self.parts[part]
            for core in mapping.cores
        )

    def place(self, name: str, parts: tuple[Part, ...], bump: Bump) -> tuple[Launch, list[Segment]]:
        """The launch, and everything that it needs in DRAM; `bump` goes on behind that."""
        brought = self.constants if self.brings else ()
        segments = [segment for constants in brought for segment in constants.segments(name)]
        bump.top = self.end
        stride, cores = Launch.stride_for(self.streams), len(self.streams) // len(Unit)
        base = bump.take(len(self.streams) * stride)
        parts = tuple(replace(part, rings=self._rings(number)) for number, part in enumerate(parts))
        launch = Launch(name, parts, self.streams, base, stride, self.borders, self.rates)
        program = np.zeros(len(self.streams) * stride, np.uint8)
        for core in range(cores):
            for unit in Unit:
                addr, data = launch.program(core, unit)
                program[addr - base : addr - base + data.size] = data
        return launch, [*segments, Segment(base, program, f"{name} program")]
