"""Random illegal programs: a legal one with one faulty instruction put in, or with one field at random."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import partial

import numpy as np

from rtl.contract.codec import field_range, store_cores, table_blocks
from rtl.contract.engines import ENGINES, EngineSpec
from rtl.contract.isa import (
    ADDRESS_SPACE_BYTES,
    ENGINE_BITS,
    INSTRUCTION_BYTES,
    MARK_BITS,
    OPTION_BITS,
    Opcode,
    Space,
    TrafficClass,
    Unit,
)
from rtl.contract.params import ChipParams
from rtl.contract.regs import ErrorCode
from tb.fuzz.engines import FUZZ
from tb.fuzz.footprint import space_bytes
from tb.fuzz.legal import legal_steps, random_settings
from tb.fuzz.program import MEMORY_BYTES, Instruction, Program, Streams, damaged_weights, max_stream
from tb.fuzz.steps import UNIT_OF, Step, assemble

__all__ = ["RECIPES", "Fault", "illegal_program", "random_field_program", "recipes_of"]

Fields = dict[str, int]

ROUNDS_MAX = field_range(Opcode.COMPUTE, "rounds")[1]
MAX_WORK = 10_000
"""Flits or pixels of an instruction with a random field."""


@dataclass(frozen=True)
class Fault:
    """Instructions to put into a stream; the last one is faulty."""

    core: int
    unit: Unit
    instructions: list[Instruction]
    at_start: bool = False
    awaited_by: int | None = None
    """A core that waits for the spare counter at its end, so that the chip does not stop before the fault shows."""


@dataclass(frozen=True)
class Damage:
    """Steps of a legal program of which one LOAD brings other data; the COMPUTE at a place among them finds these."""

    steps: list[Step]
    at: int


class _Maker:
    """Draws faults for a chip."""

    def __init__(self, chip: ChipParams, rng: np.random.Generator, core: int | None = None) -> None:
        """`core`: the one that has the fault; otherwise any."""
        self.chip, self.rng = chip, rng
        self.core = int(rng.integers(chip.n_cores)) if core is None else core
        self.everywhere = core is None
        self.params = chip.cores[self.core]

    def pick(self, *values: int) -> int:
        return int(self.rng.choice(values))

    def above(self, low: int, high: int) -> int:
        """From low to high, near both ends more often than not."""
        return self.pick(low, low, high, int(self.rng.integers(low, high + 1)))

    def step(self, opcode: Opcode, wanted: Callable[[Step], bool] = lambda _: True) -> Step:
        """A legal step, to be spoilt."""
        for _ in range(400):
            for step in legal_steps(self.chip, self.rng, 12, int(self.rng.integers(1 << 30))):
                if step.opcode != opcode or not wanted(step):
                    continue
                if opcode == Opcode.LOAD:
                    return replace(step, core=self.core)
                if self.everywhere or step.core == self.core:
                    return step
        raise AssertionError(f"no {opcode.name} like this on this chip")

    @staticmethod
    def spec(geometry: Mapping[str, int]) -> EngineSpec:
        spec = ENGINES.by_code(geometry["engine"])
        assert spec is not None, "steps are legal"
        return spec

    def fault(self, step: Step, *, awaited_by: int | None = None, **spoilt: int) -> Fault:
        """The step with other values in some fields; its own token is the spare one."""
        setter = Opcode.SETUP if step.opcode == Opcode.COMPUTE else Opcode.POOL
        before = [Instruction(setter, step.geometry)] if step.geometry else []
        fields = {**step.fields, **spoilt}
        if fields.get("token_valid") and "token" not in spoilt:
            fields["token"] = self.chip.tokens - 1
        return Fault(step.core, step.on, [*before, Instruction(step.opcode, fields)], awaited_by=awaited_by)

    # Opcodes and fields. ---------------------------------------------------------------------------

    def unknown_opcode(self) -> Fault:
        raw = bytearray(self.rng.bytes(INSTRUCTION_BYTES))
        known = {int(opcode) for opcode in Opcode if opcode != Opcode.ILLEGAL}
        raw[0] = raw[0] & 0xF0 | self.pick(*(n for n in range(16) if n not in known))
        return Fault(self.core, Unit(self.pick(0, 1, 2)), [Instruction(Opcode.ILLEGAL, {}, bytes(raw))])

    def wrong_unit(self) -> Fault:
        opcode = Opcode(self.pick(*UNIT_OF))
        unit = Unit(self.pick(*(u for u in Unit if u != UNIT_OF[opcode])))
        return Fault(self.core, unit, [Instruction(opcode)])

    def bad_wait(self) -> Fault:
        count = self.above(1, 127)
        low = max(0, self.chip.tokens - count + 1)
        number, first = self.pick(0, 1, 2), self.above(low, 127)
        fields = {f"wait{number}_first": first, f"wait{number}_count": count}
        return Fault(self.core, Unit(self.pick(0, 1, 2)), [Instruction(Opcode.SYNC, fields)])

    def bad_signal(self) -> Fault:
        number = self.pick(0, 1, 2)
        fields = {f"signal{number}_valid": 1}
        if self.chip.tokens < 128 and self.rng.random() < 0.5:
            fields[f"signal{number}_token"] = self.above(self.chip.tokens, 127)
        else:
            fields[f"signal{number}_core"] = self.above(self.chip.n_cores, 63)
        opcode = Opcode(self.pick(Opcode.SYNC, Opcode.STORE, Opcode.COMPUTE, Opcode.TABLE))
        if opcode == Opcode.TABLE:
            return Fault(self.core, Unit.STORE, [Instruction(opcode, fields)])
        if opcode == Opcode.SYNC:
            return Fault(self.core, Unit(self.pick(0, 1, 2)), [Instruction(Opcode.SYNC, fields)])
        return self.fault(self.step(opcode), **fields)

    def bad_sync(self) -> Fault:
        marks, highest = self.params.marks, (1 << MARK_BITS) - 1
        if not marks or self.rng.random() < 0.3:
            return Fault(self.core, Unit(self.pick(0, 1)), [Instruction(Opcode.SYNC, {"fence": 1})])
        unit = Unit(self.pick(*(unit for unit in Unit if unit != Unit.COMPUTE or marks < highest)))
        lowest = marks + 1 if unit == Unit.COMPUTE else 1
        return Fault(self.core, unit, [Instruction(Opcode.SYNC, {"mark": self.above(lowest, highest)})])

    def bad_load(self) -> Fault:
        chip = self.chip
        if self.rng.random() < 0.25 and (mixed := self.mixed_planes()) is not None:
            return mixed
        spoils: list[Fields] = [
            {"cores": 0},
            {"cores": 1 << self.above(chip.n_cores, 63)},
            {"cores": 1 | 1 << self.above(chip.n_cores, 63)},
            {"runs": 0},
            {"run_flits": 0},
            {"memory": self.above(len(chip.memory_nodes), 15)},
            {"traffic": self.above(len(TrafficClass), 7)},
            {"space": self.above(Space.PROGRAM, 7)},
        ]
        spoils += [{"token_valid": 1, "token": self.above(chip.tokens, 127)}] if chip.tokens < 128 else []
        return self.fault(self.step(Opcode.LOAD), **spoils[self.rng.integers(len(spoils))])

    def bad_setup(self) -> Fault:
        geometry = self.step(Opcode.COMPUTE, lambda step: step.core == self.core).geometry
        spec, engines = self.spec(geometry), ENGINES.of(self.params.engines).values()
        missing = sorted(set(range(1 << ENGINE_BITS)) - {engine.code for engine in engines})
        spoils: list[Fields] = [
            {"kernel_h": 0}, {"kernel_w": 0}, {"out_w": 0}, {"engine": self.pick(*missing)},
            {"options": 1 << self.above(spec.options.size, OPTION_BITS - 1)},
            *FUZZ[spec.name].illegal(self.rng, self.params),
        ]  # fmt: skip
        spoilt = {**geometry, **spoils[self.rng.integers(len(spoils))]}
        return Fault(self.core, Unit.COMPUTE, [Instruction(Opcode.SETUP, spoilt)])

    def bad_compute(self) -> Fault:
        step = self.step(Opcode.COMPUTE)
        if self.rng.random() < 0.25:
            return Fault(step.core, Unit.COMPUTE, [Instruction(Opcode.COMPUTE, step.fields)], at_start=True)
        cols = self.chip.cores[step.core].cols
        odd = step.fields["weight_base"] + self.above(1, cols - 1)
        spoils: list[Fields] = [{"blocks": 0}, {"out_h": 0}, {"weight_base": odd}]
        if lists := self.spec(step.geometry).lists:
            spoils.append({"rounds": self.above(lists.rounds(self.chip.cores[step.core]) + 1, ROUNDS_MAX)})
        return self.fault(step, **spoils[self.rng.integers(len(spoils))])

    def bad_store(self) -> Fault:
        chip = self.chip
        step = self.step(Opcode.STORE)
        params, size = chip.cores[step.core], chip.link_bytes
        lanes, groups = params.drain_lanes(size), params.drain_groups(size)
        to_core: Fields = {"to_core": 1, "core": 0, "more": 0, "space": 0}
        spoils: list[Fields] = [
            {"pixels": 0}, {"groups": 0}, {"lanes": 0}, {"groups": self.above(groups + 1, 31)},
            {"lanes": self.above(lanes + 1, 127), "lane_offset": 0},
            {"lanes": lanes, "lane_offset": self.above(size - lanes + 1, 63)},
            {"to_core": 0, "addr": 0, "memory": self.above(len(chip.memory_nodes), 15)},
            {"to_core": 0, "addr": 0, "memory": 0, "traffic": self.above(len(TrafficClass), 7)},
            {**to_core, "core": self.above(chip.n_cores, 63)}, {**to_core, "space": self.above(Space.PROGRAM, 7)},
        ]  # fmt: skip
        spoils += [{**to_core, "token_valid": 1, "token": self.above(chip.tokens, 127)}] if chip.tokens < 128 else []
        if params.multicast:
            planes = [core.act_groups(size) for core in chip.cores]
            unlike = [core for core in range(chip.n_cores - 1) if planes[core] != planes[core + 1]]
            last = int(self.rng.integers(chip.n_cores))
            spoils += [{**to_core, "core": last, "more": self.above(chip.n_cores - last, 63)}]
            spoils += [{**to_core, "planar": 1, "core": core, "more": 1} for core in unlike]
        return self.fault(step, **spoils[self.rng.integers(len(spoils))])

    def bad_pool(self) -> Fault:
        step = self.step(Opcode.STORE, lambda step: bool(step.fields["pooled"]))
        if self.rng.random() < 0.2:
            return Fault(step.core, Unit.STORE, [Instruction(Opcode.STORE, step.fields)], at_start=True)
        spoils: list[Fields] = [{name: 0} for name in step.geometry if not name.startswith("pad")]
        spoils += [{"kernel_h": 1, "pad_top": self.above(1, 7)}, {"kernel_w": 3, "pad_left": self.above(3, 7)}]
        spoilt = {**step.geometry, **spoils[self.rng.integers(len(spoils))]}
        return Fault(step.core, Unit.STORE, [Instruction(Opcode.POOL, spoilt)])

    # Addresses. ------------------------------------------------------------------------------------

    def far_act(self) -> Fault:
        def reads(step: Step) -> bool:
            # Noise is no weights for an engine with lists, and found first.
            lists = self.spec(step.geometry).lists
            return step.fields["in_h"] > 900 and step.geometry["in_w"] > 900 and lists is None

        step = self.step(Opcode.COMPUTE, reads)
        params = self.chip.cores[step.core]
        geometry = {**step.geometry, "pad_left": 0, **dict.fromkeys(("step_x", "step_y", "tap_x", "tap_y"), 0)}
        base = self.above(params.act_bytes - params.rows + 1, ADDRESS_SPACE_BYTES - 1)
        fields = {"iy0": 0, "act_base": base}
        return self.fault(replace(step, geometry=geometry | {"block_pitch": 0}), **fields)

    def far_weights(self) -> Fault:
        def reads(step: Step) -> bool:
            return bool(self.spec(step.geometry).reads_weights(step.geometry))

        step = self.step(Opcode.COMPUTE, reads)
        params = self.chip.cores[step.core]
        size = params.cols * self.spec(step.geometry).weight_rows(params)
        passes = step.fields["blocks"] * step.geometry["kernel_h"] * step.geometry["kernel_w"]
        low = max(0, params.weight_bytes - passes * size + params.cols)
        base = self.above(low // params.cols, (ADDRESS_SPACE_BYTES - 1) // params.cols) * params.cols
        return self.fault(step, weight_base=base)

    def far_entries(self) -> Fault:
        opcode = Opcode(self.pick(Opcode.COMPUTE, Opcode.STORE))
        step = self.step(opcode)
        params = self.chip.cores[step.core]
        entries = step.fields["pixels"] if opcode == Opcode.STORE else step.fields["out_h"] * step.geometry["out_w"]
        if step.fields.get("pooled"):
            entries = step.geometry["in_h"] * step.geometry["in_w"]
        bank = params.acc_bank_entries
        crossing = [self.pick(1, 2) * bank - self.above(1, entries - 1)] if entries > 1 else []
        return self.fault(step, acc_base=self.pick(*crossing, self.above(params.acc_entries, (1 << 13) - 1)))

    def far_params(self) -> Fault:
        step = self.step(Opcode.STORE)
        low = self.chip.cores[step.core].param_blocks - step.fields["groups"] + 1
        return self.fault(step, param_base=self.above(low, 1023))

    def far_table(self) -> Fault:
        base = self.above(self.params.param_blocks - table_blocks(self.chip.link_bytes) + 1, 1023)
        return Fault(self.core, Unit.STORE, [Instruction(Opcode.TABLE, {"param_base": max(0, base)})])

    def _target(self, cores: list[int], space: Space, reach: int) -> int:
        """A flit address for which some flit lies behind the end of a memory."""
        end = min(space_bytes(self.chip, core, space) for core in cores) // self.chip.link_bytes
        return self.above(max(0, end - reach), (1 << 18) - 1)

    def far_load(self, space: Space) -> Fault:
        f = (step := self.step(Opcode.LOAD)).fields
        cores = [core for core in range(self.chip.n_cores) if f["cores"] >> core & 1]
        dst = self._target(cores, space, f["run_flits"] - 1)
        return self.fault(step, awaited_by=int(self.rng.choice(cores)), space=int(space), dst=dst, token_valid=0)

    def far_send(self, space: Space) -> Fault:
        f = (step := self.step(Opcode.STORE, lambda step: bool(step.fields["to_core"]))).fields
        cores = store_cores(f, self.chip.cores[step.core])
        addr = self._target(list(cores), space, f["pixels"] - 1)
        return self.fault(step, awaited_by=int(self.rng.choice(cores)), space=int(space), addr=addr)

    def odd_load(self) -> Fault:
        step = self.step(Opcode.LOAD)
        return self.fault(step, dram_addr=step.fields["dram_addr"] + self.above(1, self.chip.link_bytes - 1))

    def odd_store(self) -> Fault:
        step = self.step(Opcode.STORE, lambda step: not step.fields["to_core"])
        return self.fault(step, addr=step.fields["addr"] + self.above(1, self.chip.link_bytes - 1))

    def _beyond(self, flits: int) -> int:
        size = self.chip.link_bytes
        low = MEMORY_BYTES // size - flits + 1
        return self.above(low, (1 << 32) // size - flits) * size

    def far_read(self) -> Fault:
        step = self.step(Opcode.LOAD)
        beyond = self._beyond(step.fields["run_flits"])
        return self.fault(step, awaited_by=step.core, dram_addr=beyond, dram_stride=0, token_valid=0)

    def mixed_planes(self) -> Fault | None:
        """A planar LOAD for cores that space its flits differently, if there are any."""
        groups = [core.act_groups(self.chip.link_bytes) for core in self.chip.cores]
        if len(set(groups)) == 1:
            return None
        cores = 1 << groups.index(min(groups)) | 1 << groups.index(max(groups))
        return self.fault(self.step(Opcode.LOAD), awaited_by=self.core, planar=1, cores=cores, token_valid=0)

    def far_write(self) -> Fault:
        step = self.step(Opcode.STORE, lambda step: not step.fields["to_core"])
        return self.fault(step, addr=self._beyond(step.fields["pixels"]), group_stride=0)

    def listed(self) -> Step:
        """A COMPUTE of an engine with lists."""
        return self.step(Opcode.COMPUTE, lambda step: self.spec(step.geometry).lists is not None)

    def far_lists(self) -> Fault:
        """The masks of the last pass are inside, its lists are not."""
        step = self.step(Opcode.COMPUTE, lambda step: step.fields.get("rounds", 0) > 0)
        spec, params = self.spec(step.geometry), self.chip.cores[step.core]
        assert spec.lists is not None, "it has rounds"
        masks = step.geometry["kernel_h"] * step.geometry["kernel_w"] * spec.weight_rows(params)
        tail = spec.lists.rows(params, step.fields["rounds"])
        inside = (step.fields["blocks"] - 1) * (masks + tail) + masks + self.above(0, tail - 1)
        return self.fault(step, weight_base=params.weight_bytes - inside * params.cols)

    def rule(self, number: int) -> Fault:
        """A SETUP against one of the rules of an engine with lists."""
        step = self.listed()
        rules = FUZZ[self.spec(step.geometry).name].illegal(self.rng, self.chip.cores[step.core])
        spoilt = {**step.geometry, **rules[number % len(rules)]}
        return Fault(step.core, Unit.COMPUTE, [Instruction(Opcode.SETUP, spoilt)])

    def far_rounds(self) -> Fault:
        step = self.listed()
        params, lists = self.chip.cores[step.core], self.spec(step.geometry).lists
        assert lists is not None, "asked for"
        return self.fault(step, rounds=self.above(lists.rounds(params) + 1, ROUNDS_MAX))

    def damage(self, fault: str) -> Damage:
        """Weights of an engine with lists that contradict themselves come in place of the sound ones."""
        for _ in range(400):
            steps = legal_steps(self.chip, self.rng, 12, int(self.rng.integers(1 << 30)))
            at = int(self.rng.integers(1, len(steps)))
            load, compute = steps[at - 1 : at + 1]
            known = damaged_weights(self.chip, self.chip.cores[compute.core]).get(fault, {})
            if (
                compute.opcode == Opcode.COMPUTE
                and load.opcode == Opcode.LOAD
                and load.fields["dram_addr"] in known
                and load.fields["dst"] * self.chip.link_bytes == compute.fields["weight_base"]
                and (self.everywhere or compute.core == self.core)
            ):
                spoilt = replace(load, fields={**load.fields, "dram_addr": known[load.fields["dram_addr"]]})
                return Damage([*steps[: at - 1], spoilt, *steps[at:]], at)
        raise AssertionError(f"no weights of this chip can have {fault}")

    def bad_lists(self) -> Fault:
        """Without the LOAD in front of it a COMPUTE finds noise instead of weights."""
        return self.fault(self.listed())

    # Tokens. ---------------------------------------------------------------------------------------

    def overflow(self) -> Fault:
        """256 times the counter that nothing else uses, of one core; another core waits for its own in vain, because
        signals to other cores may be lost when all units have ended."""
        spare = self.chip.tokens - 1
        target = int(self.rng.integers(self.chip.n_cores))
        waiting = (target + 1) % self.chip.n_cores
        fields: Fields = {}
        for i in range(3):
            fields |= {f"signal{i}_valid": 1, f"signal{i}_token": spare, f"signal{i}_core": target}
        syncs = [Instruction(Opcode.SYNC, fields)] * 86
        return Fault(self.core, Unit(self.pick(0, 1, 2)), syncs, awaited_by=None if waiting == target else waiting)

    def deadlock(self) -> Fault:
        fields = {"wait1_first": self.chip.tokens - 1, "wait1_count": 1}
        return Fault(self.core, Unit(self.pick(0, 1, 2)), [Instruction(Opcode.SYNC, fields)])


Recipe = Callable[[_Maker], Fault | Damage]
RECIPES: dict[str, tuple[ErrorCode, Recipe]] = {
    "unknown opcode": (ErrorCode.ILLEGAL_OPCODE, _Maker.unknown_opcode),
    "opcode of another unit": (ErrorCode.ILLEGAL_OPCODE, _Maker.wrong_unit),
    "wait": (ErrorCode.ILLEGAL_FIELD, _Maker.bad_wait),
    "signal": (ErrorCode.ILLEGAL_FIELD, _Maker.bad_signal),
    "SYNC": (ErrorCode.ILLEGAL_FIELD, _Maker.bad_sync),
    "LOAD": (ErrorCode.ILLEGAL_FIELD, _Maker.bad_load),
    "SETUP": (ErrorCode.ILLEGAL_FIELD, _Maker.bad_setup),
    "COMPUTE": (ErrorCode.ILLEGAL_FIELD, _Maker.bad_compute),
    "STORE": (ErrorCode.ILLEGAL_FIELD, _Maker.bad_store),
    "POOL": (ErrorCode.ILLEGAL_FIELD, _Maker.bad_pool),
    "COMPUTE beyond activations": (ErrorCode.ACT_RANGE, _Maker.far_act),
    "LOAD beyond activations": (ErrorCode.ACT_RANGE, lambda maker: maker.far_load(Space.ACT)),
    "STORE beyond activations": (ErrorCode.ACT_RANGE, lambda maker: maker.far_send(Space.ACT)),
    "COMPUTE beyond weights": (ErrorCode.WEIGHT_RANGE, _Maker.far_weights),
    "LOAD beyond weights": (ErrorCode.WEIGHT_RANGE, lambda maker: maker.far_load(Space.WEIGHT)),
    "STORE beyond weights": (ErrorCode.WEIGHT_RANGE, lambda maker: maker.far_send(Space.WEIGHT)),
    "beyond accumulators": (ErrorCode.ACC_RANGE, _Maker.far_entries),
    "STORE with parameters beyond": (ErrorCode.PARAM_RANGE, _Maker.far_params),
    "TABLE beyond parameters": (ErrorCode.PARAM_RANGE, _Maker.far_table),
    "LOAD beyond parameters": (ErrorCode.PARAM_RANGE, lambda maker: maker.far_load(Space.PARAM)),
    "STORE beyond parameters": (ErrorCode.PARAM_RANGE, lambda maker: maker.far_send(Space.PARAM)),
    "token overflow": (ErrorCode.TOKEN_OVERFLOW, _Maker.overflow),
    "misaligned LOAD": (ErrorCode.MISALIGNED, _Maker.odd_load),
    "misaligned STORE": (ErrorCode.MISALIGNED, _Maker.odd_store),
    "LOAD beyond memory": (ErrorCode.AXI_READ, _Maker.far_read),
    "STORE beyond memory": (ErrorCode.AXI_WRITE, _Maker.far_write),
    "deadlock": (ErrorCode.WATCHDOG, _Maker.deadlock),
}
"""Kinds of faults, each with the error that it ends in. Seed n makes recipe number n modulo their count."""
_OF_LISTS: dict[str, tuple[ErrorCode, Recipe]] = {
    "lists": (ErrorCode.WEIGHT_LISTS, _Maker.bad_lists),
    **{
        fault: (ErrorCode.WEIGHT_LISTS, partial(_Maker.damage, fault=fault))
        for fault in ("a weight too many", "a lane twice", "no such lane")
    },
    "lists beyond weights": (ErrorCode.WEIGHT_RANGE, _Maker.far_lists),
    "too many rounds": (ErrorCode.ILLEGAL_FIELD, _Maker.far_rounds),
    **{
        f"SETUP, {which} rule of lists": (ErrorCode.ILLEGAL_FIELD, partial(_Maker.rule, number=number))
        for number, which in enumerate(("first", "second", "third"))
    },
}
"""Of chips whose cores have an engine with lists."""


def recipes_of(chip: ChipParams) -> Mapping[str, tuple[ErrorCode, Recipe]]:
    """Those of a chip: more if all its cores have an engine with lists."""
    every = all(any(spec.lists for spec in ENGINES.of(core.engines).values()) for core in chip.cores)
    return {**RECIPES, **_OF_LISTS} if every else RECIPES


def illegal_program(chip: ChipParams, seed: int, core: int | None = None) -> tuple[Program, ErrorCode]:
    """The program of a seed, and its error; with `core`, the faulty instruction is one of that core's."""
    rng = np.random.default_rng([seed, 3])
    recipes = recipes_of(chip)
    name = list(recipes)[seed % len(recipes)]
    code, recipe = recipes[name]
    fault = recipe(_Maker(chip, rng, core))
    settings = random_settings(rng)
    if isinstance(fault, Damage):
        streams, place = _damaged(chip, fault, seed)
        return Program(chip, streams, seed, settings, f"illegal {seed} ({name})", place), code
    steps = legal_steps(chip, rng, int(rng.choice([1, 5, 15, 30])), seed)
    while True:
        kept, streams = assemble(chip, steps, seed)
        stream = streams[fault.core, fault.unit]
        if len(stream) + len(fault.instructions) <= max_stream(chip):
            at = 0 if fault.at_start else int(rng.integers(len(stream) + 1))
            stream[at:at] = fault.instructions
            place = (fault.core, fault.unit, at + len(fault.instructions) - 1)
            break
        # The fault takes more room than the rest leaves; with nothing else it always fits, or is cut (overflow).
        if not kept:
            _scatter(chip, streams, fault)
            place = (fault.core, fault.unit, max(0, len(streams[fault.core, fault.unit]) - 1))
            break
        steps = kept[: len(kept) // 2]
    if fault.awaited_by is not None:
        wait = {"wait0_first": chip.tokens - 1, "wait0_count": 1}
        streams[fault.awaited_by, Unit.COMPUTE].append(Instruction(Opcode.SYNC, wait))
    return Program(chip, streams, seed, settings, f"illegal {seed} ({name})", place), code


def _damaged(chip: ChipParams, damage: Damage, seed: int) -> tuple[Streams, tuple[int, Unit, int]]:
    """The program with damaged data, and the place of the COMPUTE that finds them."""
    found = damage.steps[damage.at]
    kept, streams = assemble(chip, damage.steps, seed)
    if found not in kept:  # the rest leaves no room for its tokens
        kept, streams = assemble(chip, damage.steps[: damage.at + 1], seed)
    number = sum(step.core == found.core and step.opcode == Opcode.COMPUTE for step in kept[: kept.index(found)])
    computes = [at for at, one in enumerate(streams[found.core, Unit.COMPUTE]) if one.opcode == Opcode.COMPUTE]
    return streams, (found.core, Unit.COMPUTE, computes[number])


def _scatter(chip: ChipParams, streams: Streams, fault: Fault) -> None:
    """Put a fault of many equal instructions over the streams of all units and cores, with room for a wait."""
    room = max_stream(chip) - 1
    left = list(fault.instructions)
    for stream in streams.values():
        stream += left[:room]
        del left[:room]


def random_field_program(chip: ChipParams, seed: int) -> Program:
    """A legal program in which one field of one instruction has a random value: the machine says what that means."""
    rng = np.random.default_rng([seed, 4])
    while True:
        program = _with_random_field(chip, seed, rng)
        if all(_work(instruction.whole()) <= MAX_WORK for unit in Unit for instruction in program.streams_of(unit)):
            return program


def _work(fields: Fields) -> int:
    """Flits or pixels of an instruction, about; a SETUP with large counts is held to be used by a COMPUTE of many."""
    work = fields.get("runs", 1) * fields.get("run_flits", 1)
    work *= fields.get("pixels", 1) * max(1, fields.get("groups", 1))
    for name in ("kernel_h", "kernel_w", "out_w", "blocks", "out_h"):
        work *= max(1, fields.get(name, 1))
    return work


def _with_random_field(chip: ChipParams, seed: int, rng: np.random.Generator) -> Program:
    settings = random_settings(rng)
    _, streams = assemble(chip, legal_steps(chip, rng, int(rng.choice([3, 8, 20])), seed), seed)
    places = [place for place, stream in streams.items() if stream]
    core, unit = places[rng.integers(len(places))]
    at = int(rng.integers(len(streams[core, unit])))
    old = streams[core, unit][at]
    names = [name for name in old.whole() if name not in ("opcode", "reserved")]
    name = names[rng.integers(len(names))]
    low, high = field_range(old.opcode, name)
    value = int(rng.choice([low, high, old.whole()[name] ^ 1 << int(rng.integers((high - low).bit_length()))]))
    value = min(max(value, low), high)
    streams[core, unit][at] = Instruction(old.opcode, {**old.fields, name: value})
    return Program(chip, streams, seed, settings, f"field {seed} ({old.opcode.name}.{name} = {value})")
