"""Parameters of the chip: frozen dataclasses that check themselves, and named presets.

Everything that the generator, the scheduler, the machine, the estimator and the bench need to know
about a chip is here or derived here; nothing is re-listed elsewhere.
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields, replace
from enum import IntEnum
from functools import cached_property
from pathlib import Path
from typing import Any

from rtl.contract.engines import ENGINES
from rtl.contract.errors import SystomeshError
from rtl.contract.isa import ADDRESS_SPACE_BYTES, INSTRUCTION_BYTES, MARK_BITS

__all__ = [
    "AXI_PAGE_BYTES",
    "ChipParams",
    "CoreParams",
    "Direction",
    "MemoryNodeParams",
    "ParameterError",
    "chip_from_table",
    "chip_table",
    "default_chip",
    "load_chip",
    "mesh_shape",
]


AXI_PAGE_BYTES = 4096
"""No AXI burst crosses a multiple of this (IHI 0022H, A3.4.1)."""


class ParameterError(SystomeshError, ValueError):
    """A parameter outside its rule; the message names the value and the rule."""


class Direction(IntEnum):
    """Ports of a router, in the order of its port arrays."""

    LOCAL = 0
    NORTH = 1
    EAST = 2
    SOUTH = 3
    WEST = 4


def _require(condition: bool, what: str, value: object, rule: str) -> None:
    if not condition:
        raise ParameterError(f"{what} is {value!r}: it must be {rule}")


def _power_of_two(value: object, low: int, high: int) -> bool:
    return type(value) is int and low <= value <= high and value & (value - 1) == 0


def _within(value: object, low: int, high: int) -> bool:
    return type(value) is int and low <= value <= high


def _check_power_of_two(what: str, value: object, low: int, high: int) -> None:
    _require(_power_of_two(value, low, high), what, value, f"a power of two from {low} to {high}")


def _check_within(what: str, value: object, low: int, high: int) -> None:
    _require(_within(value, low, high), what, value, f"a whole number from {low} to {high}")


@dataclass(frozen=True)
class CoreParams:
    """One core: the shape of its array and the sizes of its memories."""

    rows: int = 16
    """Array rows R: input channels (or packed taps) per pass."""
    cols: int = 16
    """Array columns C: output channels per pass."""
    act_bytes: int = 256 * 1024
    """Activation scratchpad."""
    weight_bytes: int = 64 * 1024
    """Weight scratchpad."""
    acc_entries: int = 1024
    """Accumulator entries of C x int32 each, in two banks of half that many."""
    param_blocks: int = 128
    """Requantisation parameter memory, in blocks of link_bytes channels (8 bytes a channel)."""
    queue_depth: int = 16
    """Instructions that each of the three units holds ready."""
    tap_columns: int = 3
    """Kernel columns that the tap unit can apply at once. 3 leaves depthwise 3x3 layers to the memory's bandwidth."""
    sparse_lanes: int = 8
    """Lanes of the sparse engine's PEs, each of which takes R / lanes activations of an item."""
    sparse_columns: int = 32
    """Columns of its PEs, each of which takes C / columns output channels."""
    sparse_items: int = 16
    """Kernel positions of the largest pass whose masks it holds, twice."""
    sparse_depth: int = 96
    """Weights of a pass that each of its PEs holds, twice."""
    sparse_slots: int = 9
    """Items that it holds: PEs run ahead of the slowest one by up to one less."""
    sparse_groups: int = 4
    """Groups of columns whose sums it collects one after the other, if there are as many columns: cycles of a pixel."""
    engines: tuple[str, ...] = ("array", "tap")
    """Names of its compute engines (`rtl.contract.engines`); in whatever order given, kept in that of their codes."""
    marks: int = 0
    """Entries of the trace memory, in which SYNCs with marks note the compute counters; 0 for no such memory."""
    multicast: bool = False
    """A STORE may go to several cores at once."""

    def __post_init__(self) -> None:
        self._check_engines()
        _check_power_of_two("core.rows", self.rows, 4, 64)
        _check_power_of_two("core.cols", self.cols, 4, 64)
        _check_power_of_two("core.act_bytes", self.act_bytes, 1024, ADDRESS_SPACE_BYTES)
        _check_power_of_two("core.weight_bytes", self.weight_bytes, 1024, ADDRESS_SPACE_BYTES)
        _check_power_of_two("core.acc_entries", self.acc_entries, 32, 8192)
        _check_power_of_two("core.param_blocks", self.param_blocks, 2, 1024)
        _check_power_of_two("core.queue_depth", self.queue_depth, 4, 64)
        _check_within("core.tap_columns", self.tap_columns, 1, 8)
        if "sparse" in self.engines:
            self._check_sparse()
        whole = f"0, or a power of two from 2 to {1 << MARK_BITS}"
        legal = _within(self.marks, 0, 0) or _power_of_two(self.marks, 2, 1 << MARK_BITS)
        _require(legal, "core.marks", self.marks, whole)
        _require(type(self.multicast) is bool, "core.multicast", self.multicast, "true or false")

    def _check_sparse(self) -> None:
        _require(self.rows >= 8, "core.rows", self.rows, "at least 8 for the sparse engine")
        _check_power_of_two("core.sparse_columns", self.sparse_columns, 2, self.cols)
        _check_power_of_two("core.sparse_lanes", self.sparse_lanes, max(2, self.cols // self.sparse_columns), self.rows)
        _check_within("core.sparse_items", self.sparse_items, 1, 64)
        _check_within("core.sparse_depth", self.sparse_depth, 1, 255)
        _check_within("core.sparse_slots", self.sparse_slots, 1, 16)
        _check_power_of_two("core.sparse_groups", self.sparse_groups, 2, 64)
        positions = self.rows * self.cols // (self.sparse_lanes * self.sparse_columns)
        most = min(64, 8 * self.cols)
        rule = f"enough for PEs of at most {most} positions"
        _require(positions <= most, "core.sparse_lanes", self.sparse_lanes, rule)

    def _check_engines(self) -> None:
        rule = f"a list of different engines, at least one, out of {', '.join(ENGINES)}"
        names = self.engines
        _require(isinstance(names, list | tuple) and len(names) > 0, "core.engines", names, rule)
        _require(len(set(map(str, names))) == len(names), "core.engines", names, rule)
        for name in names:
            _require(name in ENGINES, "core.engines", name, rule)
        object.__setattr__(self, "engines", tuple(sorted(names, key=lambda name: ENGINES[name].code)))

    @property
    def pes(self) -> int:
        """PEs of its array, R x C, and the products of an item of the sparse engine, which takes a cycle at least.

        No engine is done with more multiply-accumulates in a cycle, those that it leaves out among them.
        """
        return self.rows * self.cols

    @property
    def multipliers(self) -> int:
        """Multipliers that convolutions have in a cycle: those of its array, or of a sparse engine without one."""
        if "sparse" in self.engines and "array" not in self.engines:
            return self.sparse_lanes * self.sparse_columns
        return self.pes

    @property
    def fetch_block(self) -> int:
        """Instructions that one fetch request asks for."""
        return min(8, self.queue_depth // 2)

    @property
    def acc_bank_entries(self) -> int:
        return self.acc_entries // 2

    @property
    def tap_lanes(self) -> int:
        """Channels that the tap unit handles at once: it reads R lanes and writes C lanes."""
        return ENGINES["tap"].lanes(self)

    @property
    def collector_groups(self) -> int:
        """Cycles in which the sparse engine's collector goes over the columns."""
        return min(self.sparse_groups, self.sparse_columns)

    def act_word_bytes(self, link_bytes: int) -> int:
        """Bytes of one activation scratchpad word: a whole read, and at least a whole flit."""
        return max(self.rows, link_bytes)

    def act_groups(self, link_bytes: int) -> int:
        """Flits per activation scratchpad word (the step between planar flits)."""
        return self.act_word_bytes(link_bytes) // link_bytes

    def drain_lanes(self, link_bytes: int) -> int:
        """Channels that post-processing handles at once."""
        return min(self.cols, link_bytes)

    def drain_groups(self, link_bytes: int) -> int:
        """Flits that one full accumulator entry drains into."""
        return max(1, self.cols // link_bytes)


@dataclass(frozen=True)
class MemoryNodeParams:
    """An AXI4 master on the free edge port of a router."""

    x: int
    y: int
    side: Direction

    def __post_init__(self) -> None:
        _check_within("memory_node.x", self.x, 0, 7)
        _check_within("memory_node.y", self.y, 0, 7)
        _require(
            isinstance(self.side, Direction) and self.side != Direction.LOCAL,
            "memory_node.side",
            self.side,
            "one of north, east, south, west",
        )


@dataclass(frozen=True)
class ChipParams:
    """A W x H mesh of cores and the memory nodes on its edge.

    Nodes are numbered: core (x, y) is node ``y * mesh_width + x``; memory node ``m`` is node
    ``n_cores + m``. A flit carries one ``link_bytes`` block of payload.
    """

    mesh_width: int = 2
    mesh_height: int = 2
    cores: tuple[CoreParams, ...] = field(default_factory=lambda: (CoreParams(),) * 4)
    memory_nodes: tuple[MemoryNodeParams, ...] = (
        MemoryNodeParams(0, 0, Direction.WEST),
        MemoryNodeParams(1, 1, Direction.EAST),
    )
    link_bytes: int = 16
    """Payload of a flit = width of the AXI data bus = channels of a storage block."""
    vcs_per_class: int = 1
    """Virtual channels for each of the two message classes (request, response)."""
    vc_depth: int = 64
    """Flits that each virtual channel buffers at a router input."""
    max_packet_flits: int = 32
    """Payload flits of the longest packet, and beats of the longest AXI burst."""
    memory_queue_depth: int = 16
    """Read descriptors that a memory node holds."""
    outstanding_bursts: int = 16
    """AXI read bursts that a memory node keeps in flight."""
    tokens: int = 64
    """Dependency token counters per core."""
    counters: bool = False
    """Cores and routers count further events (`rtl.contract.regs.EventCounter`, `RouterEvent`), which energy models
    need; cycles stay the same."""

    def __post_init__(self) -> None:
        _check_within("chip.mesh_width", self.mesh_width, 1, 8)
        _check_within("chip.mesh_height", self.mesh_height, 1, 8)
        _require(
            len(self.cores) == self.n_cores,
            "chip.cores",
            len(self.cores),
            f"one entry per core of the {self.mesh_width}x{self.mesh_height} mesh ({self.n_cores})",
        )
        _check_power_of_two("chip.link_bytes", self.link_bytes, 4, 64)
        _check_within("chip.vcs_per_class", self.vcs_per_class, 1, 2)
        _check_power_of_two("chip.max_packet_flits", self.max_packet_flits, 8, 64)
        # A multicast packet starts only where every branch can buffer all of it (no tree deadlock).
        _check_within("chip.vc_depth", self.vc_depth, self.max_packet_flits, 256)
        _check_power_of_two("chip.memory_queue_depth", self.memory_queue_depth, 2, 64)
        _check_power_of_two("chip.outstanding_bursts", self.outstanding_bursts, 1, 64)
        _check_power_of_two("chip.tokens", self.tokens, 16, 128)
        _require(type(self.counters) is bool, "chip.counters", self.counters, "true or false")
        _require(
            1 <= len(self.memory_nodes) <= 16, "chip.memory_nodes", len(self.memory_nodes), "1 to 16 nodes"
        )
        _require(
            self.max_packet_flits * self.link_bytes <= AXI_PAGE_BYTES,
            "chip.max_packet_flits",
            self.max_packet_flits,
            f"at most {AXI_PAGE_BYTES // self.link_bytes} for links of {self.link_bytes} bytes "
            "(AXI bursts end at 4 KB)",
        )
        seen: set[MemoryNodeParams] = set()
        for node in self.memory_nodes:
            at_edge = {
                Direction.NORTH: node.y == 0,
                Direction.SOUTH: node.y == self.mesh_height - 1,
                Direction.WEST: node.x == 0,
                Direction.EAST: node.x == self.mesh_width - 1,
            }[node.side]
            _require(
                at_edge and 0 <= node.x < self.mesh_width and 0 <= node.y < self.mesh_height,
                "chip.memory_nodes",
                node,
                f"on an outward port of the {self.mesh_width}x{self.mesh_height} mesh",
            )
            _require(node not in seen, "chip.memory_nodes", node, "on a port of its own")
            seen.add(node)

    @property
    def n_cores(self) -> int:
        return self.mesh_width * self.mesh_height

    @property
    def n_nodes(self) -> int:
        return self.n_cores + len(self.memory_nodes)

    @property
    def pes(self) -> int:
        """As of `CoreParams`, of all cores: bounds are made of it."""
        return sum(core.pes for core in self.cores)

    @property
    def multipliers(self) -> int:
        """As of `CoreParams`, of all cores: utilisations are made of it."""
        return sum(core.multipliers for core in self.cores)

    @property
    def marks(self) -> int:
        """Entries of the largest trace memory of a core."""
        return max(core.marks for core in self.cores)

    @property
    def request_flits(self) -> int:
        """Flits of a READ packet: one LOAD instruction."""
        return max(1, INSTRUCTION_BYTES // self.link_bytes)

    @property
    def n_vcs(self) -> int:
        return 2 * self.vcs_per_class

    @property
    def dram_bytes_per_cycle(self) -> int:
        """Peak DRAM bandwidth of all memory nodes, reads and writes together."""
        return self.link_bytes * len(self.memory_nodes)

    def position(self, core: int) -> tuple[int, int]:
        """(x, y) of a core; y grows southwards."""
        return core % self.mesh_width, core // self.mesh_width

    def memory_node_id(self, memory: int) -> int:
        return self.n_cores + memory

    @cached_property
    def home_memory(self) -> tuple[int, ...]:
        """Per core, the memory node it fetches programs from: nearest, then least loaded, then first."""
        load = [0] * len(self.memory_nodes)
        homes = []
        for core in range(self.n_cores):
            x, y = self.position(core)
            cost = [
                (load[m] * len(self.memory_nodes) // self.n_cores, abs(n.x - x) + abs(n.y - y), load[m], m)
                for m, n in enumerate(self.memory_nodes)
            ]
            best = min(cost)[-1]
            load[best] += 1
            homes.append(best)
        return tuple(homes)


def mesh_shape(cores: int) -> tuple[int, int]:
    """Width and height of the mesh that ``CORES=cores`` stands for: as square as it divides, wider than high."""
    _check_within("CORES", cores, 1, 64)
    height = max(h for h in range(1, 9) if cores % h == 0 and h * h <= cores)
    width = cores // height
    _require(width <= 8, "CORES", cores, "the product of a width and a height of at most 8 each")
    return width, height


def default_chip(
    cores: int = 4, core: CoreParams | None = None, memory_nodes: int | None = None, **overrides: Any
) -> ChipParams:
    """The preset for a number of cores: one memory node for every two cores (at least 1, at most 16).

    Memory nodes take western and eastern ports of the rows in turn, so that every row's links are used.
    """
    width, height = mesh_shape(cores)
    wanted = memory_nodes if memory_nodes is not None else _preset_memory_nodes(cores)
    ports = [MemoryNodeParams(*port) for port in _edge_ports(width, height)]
    _require(1 <= wanted <= min(16, len(ports)), "memory_nodes", wanted, f"from 1 to {min(16, len(ports))} here")
    return ChipParams(
        mesh_width=width,
        mesh_height=height,
        cores=(core or CoreParams(),) * (width * height),
        memory_nodes=tuple(ports[:wanted]),
        **overrides,
    )


def _preset_memory_nodes(cores: int) -> int:
    return min(16, max(1, cores // 2))


def _edge_ports(width: int, height: int) -> list[tuple[int, int, Direction]]:
    """Free edge ports in the order in which presets use them: rows alternate west and east, then the rest."""
    west_east: list[tuple[int, int, Direction]] = []
    others: list[tuple[int, int, Direction]] = []
    for y in range(height):
        west, east = (0, y, Direction.WEST), (width - 1, y, Direction.EAST)
        first, second = (west, east) if y % 2 == 0 else (east, west)
        west_east.append(first)
        others.append(second)
    columns = [(x, 0, Direction.NORTH) for x in range(width)]
    columns += [(x, height - 1, Direction.SOUTH) for x in range(width)]
    return west_east + others + columns


def load_chip(path: Path) -> ChipParams:
    """Read a chip from a TOML file.

    Keys are the fields of ChipParams; ``cores`` is an optional list of tables, ``core`` a table of
    defaults for all of them; ``memory_nodes`` is a list of ``{x, y, side}``.

    Raises
    ------
    ParameterError
        For an unreadable file, unknown keys or values outside their rule, naming file, key and rule.
    """
    try:
        data = tomllib.loads(path.read_text())
    except OSError as error:
        raise ParameterError(f"cannot read chip file {path}: {error.strerror}") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ParameterError(f"{path} is not valid TOML: {error}") from error
    try:
        return chip_from_table(data)
    except (ParameterError, TypeError) as error:
        raise ParameterError(f"{path}: {error}") from error


def chip_table(chip: ChipParams) -> dict[str, Any]:
    """A chip as the table of the file that `load_chip` reads; with `core` if all cores are alike, else with `cores`."""
    table = {f.name: getattr(chip, f.name) for f in fields(chip) if f.name not in ("cores", "memory_nodes")}
    cores = [asdict(core) | {"engines": list(core.engines)} for core in chip.cores]
    table |= {"core": cores[0]} if len(set(chip.cores)) == 1 else {"cores": cores}
    nodes = [{"x": node.x, "y": node.y, "side": node.side.name.lower()} for node in chip.memory_nodes]
    return {**table, "memory_nodes": nodes}


def _known_keys(what: str, table: Mapping[str, Any], cls: type, extra: Sequence[str] = ()) -> None:
    known = {f.name for f in fields(cls)} | set(extra)
    for key in table:
        _require(key in known, f"{what} key", key, f"one of {', '.join(sorted(known))}")


def chip_from_table(data: Mapping[str, Any]) -> ChipParams:
    """A chip out of the table that a chip file holds (`load_chip`).

    Raises
    ------
    ParameterError
        For unknown keys or values outside their rule, naming key and rule.
    """
    _known_keys("chip", data, ChipParams, extra=("core",))
    width, height = data.get("mesh_width", 2), data.get("mesh_height", 2)
    _check_within("chip.mesh_width", width, 1, 8)
    _check_within("chip.mesh_height", height, 1, 8)
    common = data.get("core", {})
    _require(isinstance(common, dict), "core", common, "a table")
    _known_keys("core", common, CoreParams)
    tables = data.get("cores", [{}] * (width * height))
    _require(
        isinstance(tables, list) and all(isinstance(t, dict) for t in tables), "cores", tables, "a list of tables"
    )
    for table in tables:
        _known_keys("cores", table, CoreParams)
    cores = tuple(CoreParams(**{**common, **table}) for table in tables)
    base = default_chip(width * height) if (width, height) == mesh_shape(width * height) else None
    if "memory_nodes" in data:
        _require(isinstance(data["memory_nodes"], list), "memory_nodes", data["memory_nodes"], "a list of tables")
        nodes = tuple(_memory_node(entry) for entry in data["memory_nodes"])
    elif base is not None:
        nodes = base.memory_nodes
    else:
        nodes = tuple(
            MemoryNodeParams(*port) for port in _edge_ports(width, height)[: _preset_memory_nodes(width * height)]
        )
    rest = {k: v for k, v in data.items() if k not in {"core", "cores", "memory_nodes"}}
    rest |= {"mesh_width": width, "mesh_height": height}
    return replace(ChipParams(width, height, (CoreParams(),) * (width * height), nodes), cores=cores, **rest)


def _memory_node(entry: object) -> MemoryNodeParams:
    _require(
        isinstance(entry, dict) and set(entry) == {"x", "y", "side"}, "memory_nodes", entry, "tables of x, y and side"
    )
    assert isinstance(entry, dict)
    side = str(entry["side"]).upper()
    _require(side in Direction.__members__, "memory_nodes.side", entry["side"], "one of north, east, south, west")
    return MemoryNodeParams(entry["x"], entry["y"], Direction[side])
