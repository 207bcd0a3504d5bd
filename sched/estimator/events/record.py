"""Record of a launch's events."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property, reduce
from operator import add

from estimator.events.network import Flow, Routes, nodes_of, routes_of
from rtl.contract.isa import INSTRUCTION_BYTES, TrafficClass
from rtl.contract.params import ChipParams, Direction
from rtl.contract.regs import CoreCounter, RouterEvent

__all__ = ["UPDATES", "Events"]

UPDATES = 1 << 16
"""In `Events.counts`, number of the accumulator updates of the engine with code 0, and so on. No counter of the
hardware tells engines apart: ACC_WRITES has those of all together."""


@dataclass(frozen=True, eq=False)
class Events:
    """Events of a launch, of a part of one, or of several together.

    Attributes
    ----------
    chip : ChipParams
    counts : tuple of Counter
        Of each core, by number of counter, all but flits on the network; updates of each engine besides (`UPDATES`).
        What data decide is there once somebody has told it (`with_data`).
    flows : Counter of Flow
        Flits, by source and destinations.
    read_bytes, write_bytes : Counter of (int, TrafficClass)
        That cross each memory node, by class.
    blocks : tuple of int
        Of each core, blocks of instructions up to the END of its streams; their traffic is in `flows` and `read_bytes`.
    told : frozenset of int
        Numbers of the counters of events that data decide (`rtl.contract.regs.DATA_COUNTERS`) and that are in `counts`.
    """

    chip: ChipParams
    counts: tuple[Counter[int], ...]
    flows: Counter[Flow]
    read_bytes: Counter[tuple[int, TrafficClass]]
    write_bytes: Counter[tuple[int, TrafficClass]]
    blocks: tuple[int, ...]
    told: frozenset[int] = frozenset()

    @classmethod
    def none(cls, chip: ChipParams) -> Events:
        """No event at all."""
        cores = range(chip.n_cores)
        return cls(chip, tuple(Counter() for _ in cores), Counter(), Counter(), Counter(), tuple(0 for _ in cores))

    @classmethod
    def together(cls, chip: ChipParams, some: Iterable[Events]) -> Events:
        """Sum of some launches on one chip."""
        return reduce(add, some, cls.none(chip))

    def __add__(self, other: Events) -> Events:
        return Events(
            self.chip,
            tuple(a + b for a, b in zip(self.counts, other.counts, strict=True)),
            self.flows + other.flows,
            self.read_bytes + other.read_bytes,
            self.write_bytes + other.write_bytes,
            tuple(a + b for a, b in zip(self.blocks, other.blocks, strict=True)),
            self.told | other.told,
        )

    def with_data(self, counts: Sequence[Mapping[int, int]]) -> Events:
        """The same with events that data decide, of each core, by number of counter."""
        merged = tuple(own + Counter(more) for own, more in zip(self.counts, counts, strict=True))
        return replace(self, counts=merged, told=self.told.union(*counts))

    def fetching(self, blocks: Sequence[int]) -> Events:
        """The same with so many further blocks of instructions for each core."""
        flows, read = self.flows.copy(), self.read_bytes.copy()
        for core, count in enumerate(blocks):
            if count:
                home, params = self.chip.home_memory[core], self.chip.cores[core]
                node, nbytes = self.chip.memory_node_id(home), count * params.fetch_block * INSTRUCTION_BYTES
                flows[core, 1 << node] += count * self.chip.request_flits
                flows[node, 1 << core] += nbytes // self.chip.link_bytes
                read[home, TrafficClass.PROGRAM] += nbytes
        total = tuple(a + b for a, b in zip(self.blocks, blocks, strict=True))
        return replace(self, flows=flows, read_bytes=read, blocks=total)

    def ahead(self, core: int, flits_in: int) -> int | None:
        """Blocks of instructions that a core has read behind the END of its streams, of the flits that came to it.

        None if no number of blocks explains them. A fetch unit asks for a block when its queue has room for it and END
        has not come, so time decides whether there is one more; there is none beyond the size of the queues.
        """
        params = self.chip.cores[core]
        size = params.fetch_block * INSTRUCTION_BYTES // self.chip.link_bytes
        blocks, rest = divmod(flits_in - self.flits_in(core), size)
        most = 3 * (params.queue_depth // params.fetch_block - 1)
        return blocks if rest == 0 and 0 <= blocks <= most else None

    def flits_in(self, core: int) -> int:
        """Flits that come to a core."""
        return sum(flits for (_, dests), flits in self.flows.items() if dests >> core & 1)

    def flits_out(self, core: int) -> int:
        """Flits that a core sends."""
        return sum(flits for (source, _), flits in self.flows.items() if source == core)

    def core(self, core: int) -> dict[int, int]:
        """Counters of a core that do not depend on time, by number; those not named are 0."""
        network = {CoreCounter.FLITS_IN: self.flits_in(core), CoreCounter.FLITS_OUT: self.flits_out(core)}
        return {**self.counts[core], **network}

    def router(self, core: int) -> dict[str, int]:
        """Counters of a core's router that do not depend on time, by name."""
        out = {f"FLITS_{port.name}": self.routes.out[core][port] for port in Direction}
        return {**out, RouterEvent.FLITS_IN.name: self.routes.into[core]}

    @cached_property
    def routes(self) -> Routes:
        """Ways of all flits."""
        return routes_of(self.chip, self.flows)

    @cached_property
    def core_to_core(self) -> Routes:
        """Ways of the flits from core to core alone."""
        cores = range(self.chip.n_cores)
        flows = {(a, b): n for (a, b), n in self.flows.items() if a in cores and nodes_of(b)[0] in cores}
        return routes_of(self.chip, flows)
