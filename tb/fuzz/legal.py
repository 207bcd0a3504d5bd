"""Random legal programs: every kind of instruction, on all cores at once, in whatever order the seed says."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from rtl.contract.codec import store_cores, table_blocks
from rtl.contract.engines import ENGINES
from rtl.contract.isa import ADDRESS_SPACE_BYTES, Opcode, Space, Unit
from rtl.contract.params import ChipParams, CoreParams
from tb.fuzz.engines import FUZZ
from tb.fuzz.footprint import act_starts, space_bytes
from tb.fuzz.program import DATA_BYTES, LISTS_AREA, PARAM_AREA, Program, listed_weights
from tb.fuzz.steps import Assembler, Step, assemble
from tb.sim.settings import MemorySettings

__all__ = ["legal_program", "legal_steps", "random_settings"]

MAX_UPDATES = 1500
"""Passes times pixels of a COMPUTE."""


def random_settings(rng: np.random.Generator) -> MemorySettings:
    """An external memory: fast and smooth, or slow, narrow and full of stalls."""
    return MemorySettings(
        latency_cycles=int(rng.choice([2, 3, 7, 20, 64, 150])),
        bytes_per_cycle=None if rng.random() < 0.5 else float(rng.choice([1.3, 3.5, 8.0, 11.0])),
        stall_256=int(rng.choice([0, 0, 30, 90, 170, 220])),
        seed=int(rng.integers(1, 1 << 30)),
    )


def legal_program(chip: ChipParams, seed: int, n_steps: int | None = None) -> tuple[Program, list[Step]]:
    """The program of a seed, and its steps."""
    rng = np.random.default_rng([seed, 0])
    settings = random_settings(rng)
    count = n_steps or int(rng.choice([4, 10, 20, 35, 60]))
    steps = legal_steps(chip, rng, count, seed)
    steps, streams = assemble(chip, steps, seed)
    return Program(chip, streams, seed, settings, f"legal {seed}"), steps


def legal_steps(chip: ChipParams, rng: np.random.Generator, count: int, seed: int) -> list[Step]:
    """Up to `count` steps that make a legal program."""
    return _Generator(chip, rng, seed).steps(count)


class _Generator:
    """Draws steps; remembers what was written lately, so that some read it."""

    def __init__(self, chip: ChipParams, rng: np.random.Generator, seed: int) -> None:
        self.chip, self.rng = chip, rng
        self.assembler = Assembler(chip, seed)
        self.written: dict[tuple[str, int], list[int]] = {}
        """Byte addresses (entries, for accumulators) where something was put, latest last."""
        makers: list[tuple[float, Callable[[int], Step | None]]] = [
            (0.34, self.load), (0.29, self.compute), (0.28, self.store), (0.05, self.sync), (0.04, self.table),
        ]  # fmt: skip
        if chip.marks:
            makers = [(0.88 * weight, maker) for weight, maker in makers] + [(0.12, self.mark)]
        self.weights = [weight for weight, _ in makers]
        self.makers = [maker for _, maker in makers]

    def steps(self, count: int) -> list[Step]:
        for _ in range(3 * count):
            if len(self.assembler.steps) >= count:
                break
            maker = self.makers[self.rng.choice(len(self.makers), p=self.weights)]
            step = maker(int(self.rng.integers(self.chip.n_cores)))
            if step is not None and self.assembler.add(step):
                self._remember(self.assembler.steps[-1])
        return self.assembler.steps

    def _remember(self, step: Step) -> None:
        f, size = step.fields, self.chip.link_bytes
        if step.opcode == Opcode.LOAD:
            for core in range(self.chip.n_cores):
                if f["cores"] >> core & 1:
                    self._note(Space(f["space"]).name.lower(), core, f["dst"] * size)
        elif step.opcode == Opcode.COMPUTE:
            self._note("acc", step.core, f["acc_base"])
        elif step.opcode == Opcode.STORE:
            if not f["to_core"]:
                self._note("dram", 0, f["addr"])
                return
            for core in store_cores(f, self.chip.cores[step.core]):
                self._note(Space(f["space"]).name.lower(), core, f["addr"] * size)

    def _note(self, memory: str, core: int, address: int) -> None:
        self.written.setdefault((memory, core), []).append(address)

    def _near(self, memory: str, core: int, low: int, high: int, align: int = 1) -> int:
        """An address from low to high, often one where something was written lately."""
        recent = [a for a in self.written.get((memory, core), [])[-4:] if low <= a <= high]
        if recent and self.rng.random() < 0.6:
            chosen = recent[self.rng.integers(len(recent))]
        else:
            chosen = int(self.rng.integers(low, high + 1))
        return max(low, chosen // align * align)

    def _one_of(self, *values: int) -> int:
        return int(self.rng.choice(values))

    def _upto(self, high: int) -> int:
        """From 1 to high, small ones more often."""
        return int(min(high, 1 + self.rng.integers(0, 1 + self.rng.integers(0, high))))

    def _dram(self, span: int, space: Space, *, writes: bool = False) -> int | None:
        """An aligned address with `span` bytes of data behind it."""
        size = self.chip.link_bytes
        if writes and any(listed_weights(self.chip, core) for core in self.chip.cores):
            return self._near("dram", 0, 0, LISTS_AREA[0] - span, size) if span <= LISTS_AREA[0] else None
        if space == Space.PARAM and span <= PARAM_AREA[1] - PARAM_AREA[0] and self.rng.random() < 0.8:
            first = int(self.rng.integers(PARAM_AREA[0], PARAM_AREA[1] - span + 1))
            return first // size * size
        return self._near("dram", 0, 0, DATA_BYTES - span, size) if span <= DATA_BYTES else None

    def sync(self, core: int) -> Step:
        unit = Unit(self.rng.integers(3))
        return Step(core, Opcode.SYNC, {"fence": int(unit == Unit.STORE and self.rng.random() < 0.7)}, unit=unit)

    def mark(self, core: int) -> Step | None:
        """A SYNC with a mark, any of its core's."""
        marks = self.chip.cores[core].marks
        if not marks:
            return None
        return Step(core, Opcode.SYNC, {"mark": int(self.rng.integers(1, marks + 1))}, unit=Unit.COMPUTE)

    def table(self, core: int) -> Step | None:
        room = self.chip.cores[core].param_blocks - table_blocks(self.chip.link_bytes)
        if room < 0:
            return None
        block = 8 * self.chip.link_bytes
        return Step(core, Opcode.TABLE, {"param_base": self._near("param", core, 0, room * block) // block})

    def load(self, core: int) -> Step | None:
        rng, chip, size = self.rng, self.chip, self.chip.link_bytes
        cores = [core] if rng.random() < 0.4 else list(np.flatnonzero(rng.random(chip.n_cores) < rng.random()))
        cores = cores or [int(rng.integers(chip.n_cores))]
        space = Space(rng.choice(3, p=[0.45, 0.3, 0.25]))
        groups = {chip.cores[c].act_groups(size) for c in cores}
        planar = int(rng.random() < 0.3 and len(groups) == 1)
        step = next(iter(groups)) if planar else 1
        limit = min(space_bytes(chip, int(c), space) for c in cores) // size
        run_flits = self._upto(min(self._one_of(3, 10, 40, 130), (limit - 1) // step + 1))
        runs = self._upto(min(self._one_of(1, 1, 4, 12), max(1, 256 // run_flits)))
        reach = (run_flits - 1) * step
        dst_stride = self._one_of(0, 1, run_flits, reach + 1, int(rng.integers(1, 40)))
        dram_stride = self._one_of(0, 1, run_flits, int(rng.integers(1, 80)))
        last = limit - 1 - reach - (runs - 1) * dst_stride
        addr = self._dram(((runs - 1) * dram_stride + run_flits) * size, space)
        if last < 0 or addr is None:
            return None
        return Step(
            core,
            Opcode.LOAD,
            {
                "cores": sum(1 << int(c) for c in cores), "dram_addr": addr, "runs": runs, "run_flits": run_flits,
                "dram_stride": dram_stride, "space": int(space), "dst": int(rng.integers(0, last + 1)),
                "dst_stride": dst_stride, "planar": planar, "memory": int(rng.integers(len(chip.memory_nodes))),
                "traffic": int(rng.integers(5)), "token_valid": int(rng.random() < 0.8),
            },
        )  # fmt: skip

    def compute(self, core: int) -> Step | None:
        rng, params = self.rng, self.chip.cores[core]
        spec = ENGINES[params.engines[rng.integers(len(params.engines))]]
        kernel_h, kernel_w = self._upto(self._one_of(1, 3, 5)), self._upto(self._one_of(1, 3, 7))
        listed = listed_weights(self.chip, params) if spec.lists else ()
        weights_at, weights = listed[rng.integers(len(listed))] if listed else (0, None)
        if weights is not None:
            kernel_h, kernel_w = weights.setup["kernel_h"], weights.setup["kernel_w"]
        out_h = self._upto(8)
        out_w = self._upto(min(self._one_of(4, 16, 40), params.acc_bank_entries // out_h))
        blocks = self._upto(4) if weights is None else weights.compute["blocks"]
        if not out_w or blocks * kernel_h * kernel_w * out_h * out_w > MAX_UPDATES:
            return None
        pitches = [0, 1, params.rows, self.chip.link_bytes, int(rng.integers(1, 200)), int(rng.integers(1, 1000))]

        def pitch() -> int:
            return self._one_of(*pitches)

        geometry = {
            "engine": int(spec.code), "kernel_h": kernel_h, "kernel_w": kernel_w,
            "stride_h": self._one_of(0, 1, 1, 2, 15), "stride_w": self._one_of(0, 1, 1, 2, 5),
            "dilation_h": self._one_of(0, 1, 1, 3), "dilation_w": self._one_of(0, 1, 1, 3),
            "out_w": out_w, "in_w": self._one_of(0, out_w, out_w + 1, int(rng.integers(1, 60)), 1000),
            "pad_left": self._one_of(0, 0, 1, 2, int(rng.integers(64))),
            "step_x": pitch(), "tap_x": pitch(), "step_y": pitch(), "tap_y": pitch(), "block_pitch": pitch(),
            "pad_value": int(rng.integers(-128, 128)),
        }  # fmt: skip
        geometry |= FUZZ[spec.name].options(rng, params, geometry)
        fields = {
            "blocks": blocks, "out_h": out_h, "iy0": self._one_of(0, 0, -1, -2, int(rng.integers(-60, 60))),
            "in_h": self._one_of(0, out_h, out_h + 2, int(rng.integers(1, 60)), 1000),
            "accumulate": int(rng.random() < 0.4), "act_base": 0,
        }  # fmt: skip
        offsets = act_starts(geometry, fields)
        base = int(rng.integers(ADDRESS_SPACE_BYTES))
        if offsets.size:
            low, high = -int(offsets[0]), params.act_bytes - params.rows - int(offsets[-1])
            if low > high:
                return None
            base = self._near("act", core, low, high) if low >= 0 else int(rng.integers(low, high + 1))
        if weights is not None:
            fields |= weights.compute
        used = blocks * kernel_h * kernel_w * params.cols * spec.weight_rows(params)
        used = used if weights is None else weights.raw.size
        room = params.weight_bytes - (used if spec.reads_weights(geometry) else params.cols)
        if room < 0:
            return None
        bank, entries = params.acc_bank_entries, out_h * out_w
        first = self._near("acc", core, 0, params.acc_entries - 1)
        first = min(first, first // bank * bank + bank - entries)
        fields |= {
            "act_base": base % ADDRESS_SPACE_BYTES, "weight_base": self._near("weight", core, 0, room, params.cols),
            "acc_base": first,
        }  # fmt: skip
        if weights is not None and not self._load_weights(core, weights_at, weights.raw.size, fields):
            return None
        return Step(core, Opcode.COMPUTE, fields, geometry)

    def _load_weights(self, core: int, source: int, size: int, fields: dict[str, int]) -> bool:
        """Add the LOAD of a COMPUTE's weights, whole flits to where they may begin; False if that cannot be."""
        flit, params = self.chip.link_bytes, self.chip.cores[core]
        align = max(flit, params.cols)
        flits = -(-size // flit)
        room = params.weight_bytes - flits * flit
        if room < 0:
            return False
        fields["weight_base"] = min(fields["weight_base"], room) // align * align
        load = {
            "cores": 1 << core, "dram_addr": source, "runs": 1, "run_flits": flits, "dram_stride": 0,
            "space": int(Space.WEIGHT), "dst": fields["weight_base"] // flit, "dst_stride": 0, "planar": 0,
            "memory": int(self.rng.integers(len(self.chip.memory_nodes))), "traffic": 0, "token_valid": 1,
        }  # fmt: skip
        return self.assembler.add(Step(core, Opcode.LOAD, load))

    def store(self, core: int) -> Step | None:
        rng, chip, size = self.rng, self.chip, self.chip.link_bytes
        params = chip.cores[core]
        bank = params.acc_bank_entries
        first = self._near("acc", core, 0, params.acc_entries - 1)
        pool = self._pool(bank) if rng.random() < 0.25 else {}
        first = min(first, first // bank * bank + bank - pool["in_h"] * pool["in_w"]) if pool else first
        pixels = self._upto(min(self._one_of(2, 10, 40), 40 if pool else bank - first % bank))
        most = params.drain_lanes(size)
        lanes = most if rng.random() < 0.6 else self._upto(most)
        groups = self._upto(params.drain_groups(size))
        group_stride = self._one_of(0, 1, pixels, int(rng.integers(1, 60)))
        fields = {
            "acc_base": first, "pixels": pixels, "groups": groups, "lanes": lanes,
            "param_base": self._near("param", core, 0, (params.param_blocks - groups) * 8 * size) // (8 * size),
            "lane_offset": self._one_of(0, size - lanes, int(rng.integers(size - lanes + 1))),
            "zero_point": int(rng.integers(-128, 128)), "lo": self._one_of(-128, -128, int(rng.integers(-128, 128))),
            "hi": self._one_of(127, 127, int(rng.integers(-128, 128))), "group_stride": group_stride,
            "traffic": int(rng.integers(5)), "table": int(rng.random() < 0.4), "pooled": int(bool(pool)),
            "to_core": int(rng.random() < 0.45),
        }  # fmt: skip
        if not fields["to_core"]:
            addr = self._dram(((groups - 1) * group_stride + pixels) * size, Space.ACT, writes=True)
            if addr is None:
                return None
            fields |= {"memory": int(rng.integers(len(chip.memory_nodes))), "addr": addr}
            return Step(core, Opcode.STORE, fields, pool)
        target, space = int(rng.integers(chip.n_cores)), Space(rng.choice(3, p=[0.5, 0.3, 0.2]))
        fields |= {"core": target, "more": self._more(params, target)}
        cores = store_cores(fields, params)
        steps = {chip.cores[core].act_groups(size) for core in cores}
        planar = int(rng.random() < 0.3 and len(steps) == 1)
        reach = (pixels - 1) * (next(iter(steps)) if planar else 1) + (groups - 1) * group_stride
        last = min(space_bytes(chip, core, space) for core in cores) // size - 1 - reach
        if last < 0:
            return None
        fields |= {
            "space": int(space), "planar": planar, "addr": int(rng.integers(0, last + 1)),
            "token_valid": int(rng.random() < 0.8),
        }  # fmt: skip
        return Step(core, Opcode.STORE, fields, pool)

    def _more(self, sender: CoreParams, target: int) -> int:
        """Cores behind the first; anything if the sender does not look at them, on a chip where another one does."""
        if not sender.multicast:
            return int(self.rng.integers(64)) if any(core.multicast for core in self.chip.cores) else 0
        return int(self.rng.integers(self.chip.n_cores - target)) if self.rng.random() < 0.7 else 0

    def _pool(self, bank: int) -> dict[str, int]:
        """Geometry of a pooled STORE, of a map that fits into a bank."""
        in_h = self._upto(min(8, bank))
        kernel_h, kernel_w = self._upto(self._one_of(2, 3, 7)), self._upto(self._one_of(2, 3, 7))
        return {
            "kernel_h": kernel_h, "kernel_w": kernel_w,
            "stride_h": self._one_of(1, 2, 2, 7), "stride_w": self._one_of(1, 2, 2, 7),
            "pad_top": int(self.rng.integers(kernel_h)), "pad_left": int(self.rng.integers(kernel_w)),
            "in_h": in_h, "in_w": self._upto(bank // in_h), "out_w": self._one_of(1, 3, self._upto(20)),
        }  # fmt: skip
