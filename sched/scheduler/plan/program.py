"""What the scheduler puts out: launches, the memory image, and where every tensor lies."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Annotated

import numpy as np

from golden.int8.batch import for_people
from golden.int8.qgraph import QGraph
from golden.int8.qnodes import QHost
from rtl.contract.isa import INSTRUCTION_BYTES, Unit
from rtl.contract.params import ChipParams
from scheduler.alike import UNMAPPED
from scheduler.plan.layout import Blocked, Layout
from scheduler.plan.residence import Resident

__all__ = ["FETCH_SLACK", "HostStep", "Launch", "Part", "Placement", "Plan", "Segment", "Step"]

FETCH_SLACK = 4096
"""Bytes behind the last program that the fetch units may read ahead."""


@dataclass(frozen=True, eq=False)
class Segment:
    """Bytes that the host writes to DRAM before the first launch."""

    addr: int
    data: np.ndarray
    label: str


@dataclass(frozen=True)
class Placement:
    """A tensor in DRAM, of one picture or of several that are computed together.

    Attributes
    ----------
    addr : int
        Of the first picture's.
    layout : Layout
        Of one picture's.
    pictures : int
    stride : int
        Bytes from one picture's to the next one's.
    """

    addr: Annotated[int, UNMAPPED]
    layout: Layout
    pictures: int = 1
    stride: Annotated[int, UNMAPPED] = 0

    @property
    def shape(self) -> tuple[int, int, int]:
        return self.layout.shape

    @property
    def nbytes(self) -> int:
        """Of one picture's."""
        return self.layout.nbytes

    @property
    def end(self) -> int:
        """Behind the first picture's."""
        return self.addr + self.nbytes

    @property
    def end_of_all(self) -> int:
        """Behind the last picture's."""
        return self.end + (self.pictures - 1) * self.stride

    def seen_as(self, hw: tuple[int, int]) -> Placement:
        """The same bytes, of a map of another size and as many pixels."""
        assert isinstance(self.layout, Blocked)
        return replace(self, layout=replace(self.layout, shape=(self.shape[0], *hw)))

    def moved(self, pictures: int) -> Placement:
        """As many pictures, so many behind these."""
        return replace(self, addr=self.addr + pictures * self.stride) if pictures else self

    def some(self, pictures: int) -> Placement:
        """The first so many of its pictures."""
        return self if pictures == self.pictures else replace(self, pictures=pictures)

    def picture(self, number: int) -> Placement:
        """A single one of its pictures, from 0 on."""
        return self if self.pictures == 1 else Placement(self.addr + number * self.stride, self.layout)

    def holds(self, other: Placement) -> bool:
        """Whether another tensor lies inside this one, as inputs of a concatenation may."""
        return self.addr <= other.addr < self.end

    def overlaps(self, other: Placement) -> bool:
        """Whether they share bytes."""
        mine, others = ([tensor.picture(n) for n in range(tensor.pictures)] for tensor in (self, other))
        return any(one.addr < two.end and two.addr < one.end for one in mine for two in others)

    def write(self, memory: np.ndarray, x: np.ndarray) -> None:
        """Store int8[C, H, W] in uint8 memory."""
        memory[self.addr : self.end] = self.layout.pack(x)

    def read(self, memory: np.ndarray) -> np.ndarray:
        """int8[C, H, W] out of uint8 memory."""
        return self.layout.unpack(memory[self.addr : self.end])


@dataclass(frozen=True)
class Part:
    """What a launch computes of the graph, one of several.

    Attributes
    ----------
    nodes : tuple of str
        Graph nodes whose outputs are complete once the launch is done, or were needed only within it.
    op : str
        For reports.
    mapping : str
        How the work is split and tiled, for reports.
    macs : int
        Multiply-accumulates of its nodes.
    rings : tuple of (core, first, end)
        Bytes of the activation scratchpads through which tensors are loaded from DRAM.
    strip_of : tuple of str
        Graph nodes of which it computes a strip, where `nodes` are complete only after a later one.
    """

    nodes: tuple[str, ...]
    op: str
    mapping: str
    macs: int
    rings: tuple[tuple[int, int, int], ...] = ()
    strip_of: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        """For reports; strips of a layer have the same."""
        return for_people(self.works_on) or self.op

    @property
    def works_on(self) -> tuple[str, ...]:
        """Graph nodes of which it computes something."""
        return self.strip_of or self.nodes


@dataclass(frozen=True, eq=False)
class Launch:
    """One start of the chip: three instruction streams for every core.

    Attributes
    ----------
    parts : tuple of Part
        What it computes, in order.
    streams : dict of (core, Unit) to list of bytes
        Instructions, END last; every core and unit has one.
    program_base, program_stride : int
        Stream of core i, unit u lies at ``program_base + (3*i + u) * program_stride``.
    borders : dict of (core, Unit) to sequence of int
        Of every stream, the number of the instruction behind each part; empty where nobody noted it.
    rates : dict of int to sequence of float
        By core, of its COMPUTEs on engines whose cycles depend on values, the predicted cycles from pixel to pixel.
    residents : tuple of Resident
        Tensors that stay on the chip between its parts.
    """

    name: str
    parts: tuple[Part, ...]
    streams: Mapping[tuple[int, Unit], list[bytes]]
    program_base: int
    program_stride: int
    borders: Mapping[tuple[int, Unit], Sequence[int]] = field(default_factory=dict)
    rates: Mapping[int, Sequence[float]] = field(default_factory=dict)
    residents: tuple[Resident, ...] = ()

    def of_part(self, part: int) -> Iterator[bytes]:
        """Instructions of a part, of all cores and units."""
        for place, stream in self.streams.items():
            ends = self.borders[place]
            yield from stream[ends[part - 1] if part else 0 : ends[part]]

    @property
    def nodes(self) -> tuple[str, ...]:
        """Nodes of all parts."""
        return tuple(node for part in self.parts for node in part.nodes)

    @property
    def op(self) -> str:
        """Of all parts, for reports."""
        return ", ".join(part.op for part in self.parts)

    @property
    def mapping(self) -> str:
        """Of all parts, for reports."""
        return "; ".join(part.mapping for part in self.parts)

    @property
    def macs(self) -> int:
        return sum(part.macs for part in self.parts)

    def completing(self, *nodes: str) -> Launch:
        """The same with more nodes, which its last part completes without doing anything for them."""
        *others, last = self.parts
        return replace(self, parts=(*others, replace(last, nodes=(*last.nodes, *nodes))))

    @property
    def instructions(self) -> int:
        return sum(map(len, self.streams.values()))

    def program(self, core: int, unit: Unit) -> tuple[int, np.ndarray]:
        """Address and bytes of one stream."""
        data = np.frombuffer(b"".join(self.streams[core, unit]), dtype=np.uint8)
        return self.program_base + (3 * core + unit) * self.program_stride, data

    @staticmethod
    def stride_for(streams: Mapping[tuple[int, Unit], list[bytes]]) -> int:
        """Bytes from one stream to the next: the longest, rounded up to 64."""
        return -(-max(map(len, streams.values())) * INSTRUCTION_BYTES // 64) * 64


@dataclass(frozen=True, eq=False)
class HostStep:
    """Work of the host between two launches: it reads tensors from DRAM, computes a node, writes a tensor.

    Attributes
    ----------
    nodes : tuple of str
        Graph nodes whose outputs are complete behind it: its own, and concatenations that only waited for that.
    """

    name: str
    nodes: tuple[str, ...]
    node: QHost

    @property
    def op(self) -> str:
        return self.node.op

    @property
    def mapping(self) -> str:
        """The operators it computes, for reports; none where it brings an input of the model."""
        return " + ".join(self.node.part.kinds) or "input"

    @property
    def macs(self) -> int:
        return self.node.macs

    @property
    def parts(self) -> tuple[Part, ...]:
        """Itself, as the one part."""
        return (Part(self.nodes, self.op, self.mapping, self.macs),)

    def completing(self, *nodes: str) -> HostStep:
        """The same with more nodes, which only waited for this step."""
        return replace(self, nodes=(*self.nodes, *nodes))


Step = Launch | HostStep


@dataclass(frozen=True, eq=False)
class Plan:
    """A network scheduled on a chip.

    Attributes
    ----------
    steps : tuple of Launch or HostStep
        In order.
    segments : tuple of Segment
        Weights, parameters and programs.
    graph : QGraph
        Of a batch, with every picture's nodes and tensors (`golden.int8.batch`).
    tensors : dict of str to Placement
        Every tensor of the graph but those inside a fused launch. Space is reused: a tensor is there from the step
        that completes it to the last step that reads it.
    dram_bytes : int
        Size of DRAM that the plan needs.
    """

    chip: ChipParams
    graph: QGraph
    steps: tuple[Step, ...]
    segments: tuple[Segment, ...]
    tensors: dict[str, Placement]
    dram_bytes: int

    @property
    def launches(self) -> tuple[Launch, ...]:
        """The steps of the chip."""
        return tuple(step for step in self.steps if isinstance(step, Launch))

    @property
    def batch(self) -> int:
        """Number of pictures."""
        return len(self.graph.inputs)

    def memory_image(self, *images: np.ndarray) -> np.ndarray:
        """uint8[dram_bytes] with all segments in place, and every picture, int8[C, H, W], if any are given."""
        memory = np.zeros(self.dram_bytes, dtype=np.uint8)
        for segment in self.segments:
            memory[segment.addr : segment.addr + segment.data.size] = segment.data
        for name, image in zip(self.graph.inputs, images, strict=True) if images else ():
            self.tensors[name].write(memory, image)
        return memory

    def written(self, step: Step) -> list[str]:
        """Tensors that are complete in memory once a step is done."""
        outputs = (node.output for node in self.graph.nodes if node.name in step.nodes)
        return [name for name in outputs if name in self.tensors]

    def live_after(self, step: int) -> tuple[str, ...]:
        """Tensors that a run resumed behind step number `step` needs in memory."""
        done = set(self.graph.inputs)
        for earlier in self.steps[: step + 1]:
            done.update(self.written(earlier))
        later = {name for item in self.steps[step + 1 :] for name in item.nodes}
        wanted = set(self.graph.outputs)
        for node in self.graph.nodes:
            if node.name in later:
                wanted.update(node.inputs)
        return tuple(name for name in self.graph.tensors if name in done & wanted)
