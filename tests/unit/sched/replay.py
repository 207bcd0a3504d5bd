"""Token-level replay of a launch in the most hostile order: everything starts as early as it can, and ends late.

A COMPUTE or STORE that has started ends only when nothing else can start. So a load that may overwrite what a running
COMPUTE reads does overwrite it, and a COMPUTE that may clear an accumulator that is still being drained does so.

What a STORE sends stays on its way until nothing can start or end: signals overtake it. Whoever reads meanwhile what it
is to overwrite, or writes there from elsewhere, is found out; so is a COMPUTE that reads what was loaded from DRAM
before it was stored there. From core to core nothing overtakes what goes the same
way; data for the last core, from the last core, come last.
"""

from collections import Counter
from dataclasses import dataclass, field

import numpy as np

from rtl.contract.codec import decode, store_cores
from rtl.contract.engines.tap import TapMode
from rtl.contract.isa import TABLE_BYTES, Engine, Opcode, Space, Unit
from rtl.contract.params import ChipParams
from scheduler import Launch

TOKEN_MAX = 255
STORED = 1 << 32
"""What flits hold that a STORE brought, beside its number; those of LOADs hold where they come from."""


@dataclass
class Stream:
    core: int
    unit: Unit
    program: list[tuple[Opcode, dict[str, int]]]
    index: int = 0
    running: list[tuple[dict[str, int], "Snapshot"]] = field(default_factory=list)
    writing: set[int] = field(default_factory=set)
    """Flits of DRAM to which its writes are on their way."""

    @property
    def ended(self) -> bool:
        return self.index == len(self.program)


@dataclass
class Snapshot:
    """Operands of a running instruction: (memory, places, contents when it started)."""

    operands: list[tuple[np.ndarray, np.ndarray | slice, np.ndarray]]

    def intact(self) -> bool:
        return all(np.array_equal(memory[places], before) for memory, places, before in self.operands)


class Coming:
    """What is on its way to the activation scratchpad of a core, lane by lane."""

    def __init__(self, flits: int, lanes: int) -> None:
        self.count = np.zeros((flits, lanes), np.int16)
        self.source = np.zeros((flits, lanes), np.int16)

    def add(self, source: int, flits: np.ndarray, lanes: slice) -> None:
        """Send; what comes from another core and to the same place might come first or last."""
        assert not self.others(source, flits, lanes), f"core {source} stores to where another's data are on their way"
        self.count[flits.ravel(), lanes] += 1
        self.source[flits.ravel(), lanes] = source

    def others(self, source: int, flits: np.ndarray, lanes: slice) -> bool:
        here = flits.ravel(), lanes
        return bool(((self.count[here] > 0) & (self.source[here] != source)).any())

    def remove(self, flits: np.ndarray, lanes: slice) -> None:
        self.count[flits.ravel(), lanes] -= 1

    def any(self, flits: np.ndarray) -> bool:
        return bool(self.count[flits.ravel()].any())


class Replay:
    """Runs a launch; raises AssertionError for a deadlock, a token too many, or an operand lost or not there yet."""

    def __init__(self, launch: Launch, chip: ChipParams) -> None:
        self.chip = chip
        self.name = launch.name
        self.tokens = np.zeros((chip.n_cores, chip.tokens), int)
        self.most_tokens = 0
        self.streams = [
            Stream(core, unit, [decode(raw) for raw in launch.streams[core, unit]])
            for core in range(chip.n_cores)
            for unit in Unit
        ]
        size = chip.link_bytes
        self.spaces = [
            {
                Space.ACT: np.full(core.act_bytes // size, -1),
                Space.WEIGHT: np.full(core.weight_bytes // size, -1),
                Space.PARAM: np.full(core.param_blocks * 8, -1),
            }
            for core in chip.cores
        ]
        self.draining: list[set[int]] = [set() for _ in chip.cores]
        self.tables = [False] * chip.n_cores
        self.setups: list[dict[str, int]] = [{} for _ in chip.cores]
        self.pools: list[dict[str, int]] = [{} for _ in chip.cores]
        self.stores: list[dict[str, int]] = []
        self.arrived = 0
        self.coming = [Coming(core.act_bytes // size, size) for core in chip.cores]
        self.ways: dict[tuple[int, int], list[dict[str, int]]] = {}
        """STOREs on their way, in order, by (target, source)."""
        self.writes: Counter[int] = Counter()
        """How often flits of DRAM have been stored to."""
        self.copied = [np.zeros(core.act_bytes // size, int) for core in chip.cores]
        """Of flits of the activation scratchpads that were loaded, how often theirs had been by then."""

    def run(self) -> None:
        while True:
            if sum(self.start(stream) for stream in self.streams):
                continue
            if not sum(self.finish(stream) for stream in self.streams) and not self.deliver():
                break
        stuck = [(s.core, s.unit.name, s.index) for s in self.streams if not s.ended]
        assert not stuck, f"{self.name}: deadlock, {stuck}"
        assert not self.tokens.any(), f"{self.name}: tokens are left"
        assert self.most_tokens <= TOKEN_MAX

    def start(self, stream: Stream) -> bool:
        """Start all instructions of a stream that can; operands of one COMPUTE or STORE at a time are in use."""
        started = False
        while not stream.ended and not stream.running:
            opcode, fields = stream.program[stream.index]
            tokens = self.tokens[stream.core]
            firsts = [fields[f"wait{i}_first"] for i in range(3)]
            ranges = [slice(first, first + fields[f"wait{i}_count"]) for i, first in enumerate(firsts)]
            if not all(tokens[wait].all() for wait in ranges):
                break
            if opcode == Opcode.SYNC and fields["fence"] and stream.writing:
                break
            for wait in ranges:
                tokens[wait] -= 1
            stream.index += 1
            started = True
            match opcode:
                case Opcode.LOAD:
                    self.load(fields)
                case Opcode.SETUP:
                    self.setups[stream.core] = fields
                case Opcode.SYNC:
                    self.signal(fields)
                case Opcode.TABLE:
                    stream.running.append((fields, self.table(stream.core, fields)))
                case Opcode.COMPUTE:
                    stream.running.append((fields, self.operands(stream.core, fields)))
                    pixels = fields["out_h"] * self.setups[stream.core]["out_w"]
                    target = set(range(fields["acc_base"], fields["acc_base"] + pixels))
                    assert not target & self.draining[stream.core], f"{self.name}: accumulators are still draining"
                case Opcode.STORE:
                    stream.running.append((fields, self.parameters(stream.core, fields)))
                    self.draining[stream.core] |= self.entries(stream.core, fields)
                    self.stores.append(fields)
                case Opcode.POOL:
                    self.pools[stream.core] = fields
                case _:
                    assert opcode == Opcode.END
                    assert stream.ended, f"{self.name}: instructions behind END"
        return started

    def finish(self, stream: Stream) -> bool:
        if not stream.running:
            return False
        fields, snapshot = stream.running.pop()
        where = f"{self.name}: core {stream.core} {stream.unit.name} {stream.index - 1}"
        assert snapshot.intact(), f"{where}: operands were overwritten"
        if "pixels" in fields:
            self.draining[stream.core] -= self.entries(stream.core, fields)
            self.send(stream, fields)
        self.signal(fields)
        return True

    def deliver(self) -> bool:
        """Let something arrive: on one way, up to what somebody may wait for; if there is nothing, writes of a core."""
        if self.ways:
            target, source = min(self.ways)
            way = self.ways.pop((target, source))
            while way:
                fields = way.pop(0)
                self.arrive(fields)
                if fields["token_valid"]:
                    break
            if way:
                self.ways[target, source] = way
            return True
        for stream in self.streams:
            if stream.writing:
                stream.writing.clear()
                return True
        return False

    def entries(self, core: int, fields: dict[str, int]) -> set[int]:
        """Accumulators that a STORE reads."""
        pool = self.pools[core]
        count = pool["in_h"] * pool["in_w"] if fields["pooled"] else fields["pixels"]
        return set(range(fields["acc_base"], fields["acc_base"] + count))

    def signal(self, fields: dict[str, int]) -> None:
        for i in range(3):
            if fields[f"signal{i}_valid"]:
                self.add(fields[f"signal{i}_core"], fields[f"signal{i}_token"])

    def add(self, core: int, token: int) -> None:
        self.tokens[core, token] += 1
        self.most_tokens = max(self.most_tokens, int(self.tokens[core, token]))

    def load(self, fields: dict[str, int]) -> None:
        run, flit = np.arange(fields["runs"])[:, None], np.arange(fields["run_flits"])
        source = fields["dram_addr"] // self.chip.link_bytes + run * fields["dram_stride"] + flit
        for stream in self.streams:
            early = stream.writing and not stream.writing.isdisjoint(source.ravel().tolist())
            assert not early, f"{self.name}: a load reads what core {stream.core} has still under way to DRAM"
        for core, params in enumerate(self.chip.cores):
            if not fields["cores"] >> core & 1:
                continue
            step = params.act_groups(self.chip.link_bytes) if fields["planar"] else 1
            memory = self.spaces[core][Space(fields["space"])]
            target = fields["dst"] + run * fields["dst_stride"] + flit * step
            assert target.max() < len(memory), f"{self.name}: a load leaves {Space(fields['space']).name}"
            if memory is self.spaces[core][Space.ACT]:
                assert not self.coming[core].any(target), f"{self.name}: a load goes to where data are on their way"
            memory[target] = source
            if fields["space"] == Space.ACT:
                self.copied[core][target] = self.times(source)
            if fields["token_valid"]:
                self.add(core, fields["token"])

    def send(self, stream: Stream, fields: dict[str, int]) -> None:
        target = self.stored(fields)
        if not fields["to_core"]:
            stream.writing.update(target.ravel().tolist())
            self.writes.update(target.ravel().tolist())
            return
        assert fields["space"] == Space.ACT
        for core in store_cores(fields, self.chip.cores[stream.core]):
            assert target.max() < len(self.spaces[core][Space.ACT]), f"{self.name}: a store leaves ACT"
            self.coming[core].add(stream.core, target, _lanes(fields))
            self.ways.setdefault((core, stream.core), []).append(fields | {"core": core})

    def stored(self, fields: dict[str, int]) -> np.ndarray:
        """Flits to which a STORE goes, of a scratchpad or of DRAM."""
        step, addr = 1, fields["addr"]
        if not fields["to_core"]:
            addr //= self.chip.link_bytes
        elif fields["planar"]:
            step = self.chip.cores[fields["core"]].act_groups(self.chip.link_bytes)
        group, pixel = np.arange(fields["groups"])[:, None], np.arange(fields["pixels"])
        return addr + group * fields["group_stride"] + pixel * step

    def times(self, flits: np.ndarray) -> np.ndarray:
        """How often each flit of DRAM has been stored to."""
        if not self.writes:
            return np.zeros(flits.shape, int)
        return np.array([self.writes[flit] for flit in flits.ravel().tolist()], int).reshape(flits.shape)

    def arrive(self, fields: dict[str, int]) -> None:
        """What a STORE brings to a core."""
        core, target = fields["core"], self.stored(fields)
        self.spaces[core][Space.ACT][target] = STORED + self.arrived
        self.coming[core].remove(target, _lanes(fields))
        self.arrived += 1
        if fields["token_valid"]:
            self.add(core, fields["token"])

    def operands(self, core: int, fields: dict[str, int]) -> Snapshot:
        """Flits in which the reads of a COMPUTE start, and its weights."""
        setup, params, size = self.setups[core], self.chip.cores[core], self.chip.link_bytes
        taps_y, taps_x = np.arange(setup["kernel_h"]), np.arange(setup["kernel_w"])
        out_y, out_x = np.arange(fields["out_h"]), np.arange(setup["out_w"])
        blocks = np.arange(fields["blocks"])
        if setup["window"]:
            out_x, taps_x = np.arange((setup["out_w"] - 1) * setup["stride_w"] + setup["kernel_w"]), np.zeros(1, int)
            setup = setup | {"stride_w": 1, "step_x": setup["tap_x"]}
        iy = fields["iy0"] + out_y[:, None] * setup["stride_h"] + taps_y * setup["dilation_h"]
        ix = -setup["pad_left"] + out_x[:, None] * setup["stride_w"] + taps_x * setup["dilation_w"]
        row = out_y[:, None] * setup["step_y"] + taps_y * setup["tap_y"]
        column = out_x[:, None] * setup["step_x"] + taps_x * setup["tap_x"]
        row, column = row[(iy >= 0) & (iy < fields["in_h"])], column[(ix >= 0) & (ix < setup["in_w"])]
        at = fields["act_base"] + row[:, None, None] + column[:, None] + blocks * setup["block_pitch"]
        act = self.spaces[core][Space.ACT]
        flits = np.unique(at % (1 << 22) // size)
        assert not len(flits) or flits[-1] < len(act)
        assert (act[flits] >= 0).all(), f"{self.name}: reads activations that were never loaded"
        assert not self.coming[core].any(flits), f"{self.name}: reads activations that are still on their way"
        loaded = flits[act[flits] < STORED]
        early = self.writes and (self.copied[core][loaded] != self.times(act[loaded])).any()
        assert not early, f"{self.name}: reads activations that were loaded before they were stored"
        passes = fields["blocks"] * setup["kernel_h"] * setup["kernel_w"]  # a window has the weights of all its columns
        per_pass = params.pes if setup["engine"] == Engine.ARRAY else params.cols
        if setup["engine"] == Engine.TAP and setup["tap_mode"] == TapMode.MAX:
            per_pass = 0
        weight = self.spaces[core][Space.WEIGHT]
        end = fields["weight_base"] + passes * per_pass
        places = slice(fields["weight_base"] // size, -(-end // size))
        assert (weight[places] >= 0).all(), f"{self.name}: reads weights that were never loaded"
        return Snapshot([(act, flits, act[flits].copy()), (weight, places, weight[places].copy())])

    def parameters(self, core: int, fields: dict[str, int]) -> Snapshot:
        assert not fields["table"] or self.tables[core], f"{self.name}: uses a table before any TABLE"
        return self.param_flits(core, 8 * fields["param_base"], 8 * fields["groups"])

    def table(self, core: int, fields: dict[str, int]) -> Snapshot:
        self.tables[core] = True
        return self.param_flits(core, 8 * fields["param_base"], TABLE_BYTES // self.chip.link_bytes)

    def param_flits(self, core: int, first: int, count: int) -> Snapshot:
        memory, places = self.spaces[core][Space.PARAM], slice(first, first + count)
        assert (memory[places] >= 0).all(), f"{self.name}: uses parameters that were never loaded"
        return Snapshot([(memory, places, memory[places].copy())])


def _lanes(fields: dict[str, int]) -> slice:
    """Of a flit, those that a STORE writes."""
    return slice(fields["lane_offset"], fields["lane_offset"] + fields["lanes"])
