"""Functional coverage with cocotb-coverage: what programs, layers, counters and errors have been exercised.

Samples are facts of finished runs, not taken inside a simulation: an instruction counts when the program that holds it
ran to its end on the RTL and left what the golden model says. They are kept with what else a run covered, and go to
cocotb-coverage's database when the bins are asked for.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from cocotb_coverage.coverage import CoverCross, CoverPoint, coverage_db

from rtl.contract.codec import store_cores
from rtl.contract.engines.tap import TapMode
from rtl.contract.isa import Engine, Opcode, Space, TrafficClass, Unit
from rtl.contract.params import CoreParams
from rtl.contract.regs import CoreCounter, EngineCounter, ErrorCode, MemoryCounter, RouterCounter
from tb.fuzz.steps import UNIT_OF
from tests.cases import KINDS
from tests.coverage.monitor import OCCUPANCY
from tests.coverage.sparse import WATCHES

__all__ = ["ALIGNMENTS", "Cover", "Functional", "Sample", "alignment"]

Fields = Mapping[str, int]
Sample = tuple[str, tuple[str, ...]]
"""A group, and a value for each of its points."""
ALIGNMENTS = ("below", "whole", "above")
"""Channels against storage blocks: fewer than a block, whole blocks, some blocks and a part."""
_STALLS = {
    "core": [c.name.lower() for c in CoreCounter if "WAIT" in c.name or "STALL" in c.name or "NOC" in c.name
             or c in (CoreCounter.COMPUTE_FETCH, CoreCounter.COMPUTE_OVERHEAD, CoreCounter.COMPUTE_DONE,
                      CoreCounter.ACC_CONFLICT)]
            + [c.name.lower() for c in EngineCounter if c != EngineCounter.SPARSE_PAIRS],
    "router": [RouterCounter.BLOCKED.name.lower()],
    "memory": [c.name.lower() for c in (MemoryCounter.READ_STALL, MemoryCounter.WRITE_STALL, MemoryCounter.READ_IDLE)],
}  # fmt: skip
_NO = "no"
_YES = "yes"


def alignment(channels: int, block: int) -> str:
    """How a number of channels lies in storage blocks."""
    return ALIGNMENTS[0] if channels < block else ALIGNMENTS[1 if channels % block == 0 else 2]


def _flag(value: int) -> str:
    return _YES if value else _NO


def _many(value: int) -> str:
    return "one" if value == 1 else "several"


@dataclass(frozen=True)
class Cover:
    """A finished cover point or cross."""

    name: str
    is_cross: bool
    hits: Mapping[Any, int]

    @property
    def covered(self) -> int:
        return sum(count > 0 for count in self.hits.values())

    @property
    def missed(self) -> list[Any]:
        return [bin_ for bin_, count in self.hits.items() if not count]


class _Group:
    """Cover points and crosses that are sampled together, each named `<group>.<name>`."""

    def __init__(self, name: str, root: str) -> None:
        self.path = f"{root}.{name}"
        self.points: dict[str, list[str]] = {}
        self.crosses: dict[str, tuple[tuple[str, ...], list[tuple[Any, ...]]]] = {}
        self._sample: Any = None

    def point(self, name: str, bins: Iterable[str]) -> _Group:
        self.points[name] = list(bins)
        return self

    def cross(self, name: str, items: tuple[str, ...], illegal: Iterable[tuple[Any, ...]] = ()) -> _Group:
        """`illegal` are bins that cannot be, None for any value; the reason stands beside each call."""
        self.crosses[name] = (items, list(illegal))
        return self

    def sample(self, values: tuple[str, ...]) -> None:
        """One value for each point, in their order."""
        if self._sample is None:
            self._sample = self._build()
        self._sample(values)

    def _build(self) -> Any:
        names = list(self.points)

        def sampled(values: tuple[str, ...]) -> None: ...

        # Decorators run outermost first: crosses see what their points have just matched.
        for name, (items, illegal) in self.crosses.items():
            for item in items:
                self._point(item)
            cross = CoverCross(f"{self.path}.{name}", [f"{self.path}.{item}" for item in items], illegal)
            sampled = cross(sampled)
        for name in names:
            sampled = self._point(name)(sampled)
        return sampled

    def _point(self, name: str) -> Any:
        index = list(self.points).index(name)
        return CoverPoint(f"{self.path}.{name}", xf=lambda values: values[index], bins=self.points[name])

    def covers(self) -> list[Cover]:
        if self._sample is None:
            self._sample = self._build()
        named = [(name, False) for name in self.points] + [(name, True) for name in self.crosses]
        return [
            Cover(
                f"{self.path.partition('.')[2]}.{name}",
                is_cross,
                dict(coverage_db[f"{self.path}.{name}"].detailed_coverage),
            )
            for name, is_cross in named
        ]


class Functional:
    """The functional model; `root` names it in cocotb-coverage's database, which is one for the whole process."""

    def __init__(self, turns: Iterable[tuple[str, str]], root: str = "systomesh") -> None:
        """`turns`: input and output of the turns that exist on the chips with a monitor."""
        self.samples: Counter[Sample] = Counter()
        self._groups: dict[str, _Group] = {}
        self._root = root
        flags, many = (_NO, _YES), ("one", "several")
        units = [unit.name.lower() for unit in Unit]
        traffic = [t.name.lower() for t in TrafficClass]
        spaces = [s.name.lower() for s in Space if s != Space.PROGRAM]
        self._group("instruction").point("opcode", [o.name for o in Opcode if o != Opcode.ILLEGAL]).point(
            "unit", units
        ).point("waits", ("0", "1", "2", "3")).point("signals", ("none", "own", "other")).cross(
            "opcode_unit",
            ("opcode", "unit"),
            # Each working instruction belongs to one unit; any other ends as ILLEGAL_OPCODE.
            [(o.name, u.name.lower()) for o, own in UNIT_OF.items() for u in Unit if u != own],
        ).cross(
            "opcode_signals",
            ("opcode", "signals"),
            # These have no signals.
            [(o.name, s) for o in (Opcode.END, Opcode.LOAD, Opcode.SETUP, Opcode.POOL) for s in ("own", "other")],
        ).cross("opcode_waits", ("opcode", "waits"))
        self._group("sync").point("unit", units).point("fence", flags).point("waits", flags).point(
            "signals", flags
        ).point("mark", ("none", "inner", "last")).cross(
            "unit_mark",
            ("unit", "mark"),
            # Only the compute unit passes marks.
            [(unit, mark) for unit in ("load", "store") for mark in ("inner", "last")],
        ).cross(
            "unit_fence_waits_signals",
            ("unit", "fence", "waits", "signals"),
            # Only the store unit can fence.
            [(unit, _YES, None, None) for unit in ("load", "compute")],
        )
        self._group("load").point("space", spaces).point("planar", flags).point("cores", many).point(
            "runs", many
        ).point("run_flits", many).point("token", flags).point("traffic", traffic).cross(
            "space_planar_cores", ("space", "planar", "cores")
        ).cross("space_runs_flits", ("space", "runs", "run_flits")).cross("space_traffic", ("space", "traffic")).cross(
            "cores_token", ("cores", "token")
        )
        engines = ("array", "mac", "max", "sparse")
        self._group("compute").point("engine", engines).point("window", flags).point("accumulate", flags).point(
            "blocks", many
        ).point("kernel", many).point("padding", flags).point("stride", many).point("dilation", many).cross(
            "engine_window_accumulate_padding",
            ("engine", "window", "accumulate", "padding"),
            # A window is the tap unit's: with another engine it is an ILLEGAL_FIELD, or no window.
            [("array", _YES, None, None), ("sparse", _YES, None, None)],
        ).cross("engine_blocks_kernel", ("engine", "blocks", "kernel")).cross(
            "engine_stride_dilation", ("engine", "stride", "dilation")
        )
        targets = ("memory", *spaces)
        self._group("store").point("target", targets).point("planar", flags).point("pooled", flags).point(
            "table", flags
        ).point("groups", many).point("pixels", many).point("lanes", ("all", "part")).point("offset", flags).point(
            "token", flags
        ).point("traffic", traffic).point("cores", ("none", *many)).cross(
            "target_planar_pooled_table",
            ("target", "planar", "pooled", "table"),
            # `planar` means something to a core only.
            [("memory", _YES, None, None)],
        ).cross("target_groups_lanes", ("target", "groups", "lanes")).cross(
            "target_token",
            ("target", "token"),
            # Tokens come from data sent to a core.
            [("memory", _YES)],
        ).cross(
            "target_cores",
            ("target", "cores"),
            [("memory", "one"), ("memory", "several"), *((space, "none") for space in spaces)],
        ).cross(
            "cores_planar_pooled",
            ("cores", "planar", "pooled"),
            # Memory takes no planes,
            [("none", _YES, None)],
        ).cross(
            "cores_token",
            ("cores", "token"),
            # and sends no tokens.
            [("none", _YES)],
        ).cross("lanes_offset", ("lanes", "offset"))
        self._group("pool").point("kernel", ("1", "2", "3", "more")).point("stride", ("1", "2", "more")).point(
            "pad", flags
        ).cross(
            "kernel_stride_pad",
            ("kernel", "stride", "pad"),
            # A pad lies below its kernel.
            [("1", None, _YES)],
        )
        self._group("table").point("base", ("zero", "other"))
        for block, stalls in _STALLS.items():
            self._group(f"stall_{block}").point("cause", stalls)
        codes = [code.name for code in ErrorCode if code != ErrorCode.NONE]
        self._group("end").point("status", ["DONE", *codes])
        turn_names = [f"{i}->{o}" for i, o in sorted(turns)]
        self._group("router").point("turn", turn_names).point("occupancy", OCCUPANCY).cross(
            "turn_occupancy", ("turn", "occupancy")
        )
        for watch in WATCHES:
            group = self._group(watch.name)
            for name, bins in watch.points.items():
                group.point(name, bins)
            for name, (items, illegal) in watch.crosses.items():
                group.cross(name, items, illegal)
        self._group("layer").point("kind", list(KINDS)).point("input", ALIGNMENTS).point("output", ALIGNMENTS).cross(
            "kind_input", ("kind", "input"), _ILLEGAL_INPUTS
        ).cross("kind_output", ("kind", "output"), _ILLEGAL_OUTPUTS)

    def _group(self, name: str) -> _Group:
        self._groups[name] = _Group(name, self._root)
        return self._groups[name]

    def _sample(self, group: str, **values: str) -> None:
        self.samples[group, tuple(values[name] for name in self._groups[group].points)] += 1

    def instructions(
        self, core: int, unit: Unit, stream: Iterable[tuple[Opcode, Fields]], params: CoreParams, link_bytes: int
    ) -> None:
        """A stream of a program that ran to its end, on a core of such parameters."""
        geometry: Fields = {}
        for opcode, fields in stream:
            waits = sum(fields[f"wait{i}_count"] > 0 for i in range(3))
            signalled = [fields[f"signal{i}_core"] for i in range(3) if fields.get(f"signal{i}_valid")]
            signals = "none" if not signalled else "other" if any(c != core for c in signalled) else "own"
            self._sample("instruction", opcode=opcode.name, unit=unit.name.lower(), waits=str(waits), signals=signals)
            if opcode == Opcode.SETUP:
                geometry = fields
            elif opcode == Opcode.SYNC:
                mark = fields.get("mark", 0)
                self._sample(
                    "sync",
                    mark="none" if not mark else "last" if mark == params.marks else "inner",
                    unit=unit.name.lower(),
                    fence=_flag(fields["fence"]),
                    waits=_flag(waits),
                    signals=_flag(len(signalled)),
                )
            elif opcode == Opcode.LOAD:
                self._load(fields)
            elif opcode == Opcode.COMPUTE:
                self._compute(fields, geometry)
            elif opcode == Opcode.STORE:
                self._store(fields, params, link_bytes)
            elif opcode == Opcode.POOL:
                self._pool(fields)
            elif opcode == Opcode.TABLE:
                self._sample("table", base="other" if fields["param_base"] else "zero")

    def _load(self, f: Fields) -> None:
        self._sample(
            "load", space=Space(f["space"]).name.lower(), planar=_flag(f["planar"]),
            cores=_many(f["cores"].bit_count()), runs=_many(f["runs"]), run_flits=_many(f["run_flits"]),
            token=_flag(f["token_valid"]), traffic=TrafficClass(f["traffic"]).name.lower(),
        )  # fmt: skip

    def _compute(self, f: Fields, g: Fields) -> None:
        is_tap = g["engine"] == Engine.TAP
        engine = ("max" if g["tap_mode"] == TapMode.MAX else "mac") if is_tap else Engine(g["engine"]).name.lower()
        self._sample(
            "compute", engine=engine, window=_flag(is_tap and g["window"]),
            accumulate=_flag(f["accumulate"]), blocks=_many(f["blocks"]), kernel=_many(g["kernel_h"] * g["kernel_w"]),
            padding=_flag(g["pad_left"] or f["iy0"] < 0), stride=_many(max(1, g["stride_h"] * g["stride_w"])),
            dilation=_many(max(1, g["dilation_h"] * g["dilation_w"])),
        )  # fmt: skip

    def _store(self, f: Fields, params: CoreParams, link_bytes: int) -> None:
        full_lanes = params.drain_lanes(link_bytes)
        self._sample(
            "store", target=Space(f["space"]).name.lower() if f["to_core"] else "memory",
            planar=_flag(f["planar"]), pooled=_flag(f["pooled"]), table=_flag(f["table"]),
            groups=_many(f["groups"]), pixels=_many(f["pixels"]), lanes="all" if f["lanes"] == full_lanes else "part",
            offset=_flag(f["lane_offset"]), token=_flag(f["token_valid"]),
            traffic=TrafficClass(f["traffic"]).name.lower(),
            cores=_many(len(store_cores(f, params))) if f["to_core"] else "none",
        )  # fmt: skip

    def _pool(self, f: Fields) -> None:
        kernel, stride = max(f["kernel_h"], f["kernel_w"]), max(f["stride_h"], f["stride_w"])
        self._sample(
            "pool", kernel=str(kernel) if kernel <= 3 else "more", stride=str(stride) if stride <= 2 else "more",
            pad=_flag(f["pad_top"] or f["pad_left"]),
        )  # fmt: skip

    def run(self, status: str, counters: Mapping[str, list[Mapping[str, int]]]) -> None:
        """How a run ended ('' if it did well), and its counters."""
        self._sample("end", status=status or "DONE")
        for block, causes in _STALLS.items():
            for values in counters.get(block, []):
                for cause in causes:
                    if values.get(cause):  # engines' are of cores that have them
                        self._sample(f"stall_{block}", cause=cause)

    def turn(self, i: str, o: str, occupancy: str) -> None:
        self._sample("router", turn=f"{i}->{o}", occupancy=occupancy)

    def watched(self, watch: str, bins: tuple[str, ...]) -> None:
        """Bins of a watch of the sparse engine, one for each of its points."""
        self._sample(watch, **dict(zip(self._groups[watch].points, bins, strict=True)))

    def layer(self, kind: str, inputs: str, outputs: str) -> None:
        self._sample("layer", kind=kind, input=inputs, output=outputs)

    def covers(self) -> list[Cover]:
        """All cover points and crosses, with the samples so far."""
        for group, values in self.samples:
            self._groups[group].sample(values)
        return [cover for group in self._groups.values() for cover in group.covers()]


# What the generators of tests/cases.py never draw on chips with blocks of 8 channels and less, by the kind's meaning.
_ILLEGAL_INPUTS = [
    ("shallow", "above"),  # a first layer has four channels at most
    ("deep", "below"),  # more channels than a memory holds
    ("chain", "above"),  # starts from a picture of three channels
    ("chain", "whole"),
]
_ILLEGAL_OUTPUTS = [
    ("chain", "below"),  # ends in ten classes
    ("chain", "whole"),
    ("deep", "below"),  # forty filters and more
]
