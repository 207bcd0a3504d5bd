"""Instruction streams of a mapped work.

Order of work on every core: for each tile, for each output block, for each step of the block (chunk by chunk); all steps
of a tile and block go to one accumulator bank, which a STORE then drains. A step has a *position*, the same on all
cores: ``(tile * blocks + block) * steps + step``.

Scratchpad slots form rings, one for activations and one for weights (unless all weights are resident). Load number q of
a ring goes to slot q modulo the number of slots, after the steps that used load q - slots are over. Cores that need the
same data form a group with a leader, whose load unit asks for it once for all members: it waits for a free token of
every member, and the last flit gives every member a ready token.

Why nothing can deadlock: a load is freed to start behind position e (its slot's last use, on any member) and needed at
position u > e (its first use, on any member). Every load stream is sorted by (e + 1/2, u), so "position" (e + 1/2 for
loads, the step's for COMPUTE, a quarter more for STORE) orders all instructions of all cores so that each waits
only for earlier ones, and each stream follows that order.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from rtl.isa import Opcode, Space, TrafficClass, Unit, encode
from rtl.params import ChipParams
from scheduler.errors import PlanError
from scheduler.image import Constants
from scheduler.mapping import Mapping
from scheduler.program import Placement
from scheduler.source import Tile
from scheduler.tokens import TokenMap
from scheduler.work import OutBlock, Step

__all__ = ["emit"]

Streams = dict[tuple[int, Unit], list[bytes]]
START = -1
"""Position before all steps: when the slots that were never used are free."""


@dataclass(eq=False)
class _Visit:
    """One step of one core: a COMPUTE, or (step None) the release of a load that only other members need."""

    position: int
    tile: int
    block: int
    step: Step | None
    act: Any
    weight: Any


@dataclass(eq=False)
class _Load:
    """One load of a ring, for one group of cores."""

    number: int
    first: int
    last: dict[int, int]
    """Position of the last use on each member."""
    tile: int
    what: Any


def emit(mapping: Mapping, chip: ChipParams, constants: Constants, weights_addr: int, params_addr: int) -> Streams:
    """Streams of the cores that the mapping uses, each ended by END.

    Raises
    ------
    PlanError
        If a number does not fit its instruction field.
    """
    try:
        return _Emitter(mapping, chip, constants, weights_addr, params_addr).streams()
    except ValueError as error:
        raise PlanError(f"layer {mapping.work.name!r} cannot be programmed: {error}") from error


class _Emitter:
    def __init__(
        self, mapping: Mapping, chip: ChipParams, constants: Constants, weights_addr: int, params_addr: int
    ) -> None:
        self.mapping, self.chip, self.work = mapping, chip, mapping.work
        self.constants, self.weights_addr, self.params_addr = constants, weights_addr, params_addr
        self.tokens = TokenMap.of(mapping, chip)
        self.blocks_max = mapping.blocks_per_core
        self.steps_max = mapping.steps_per_block + len(mapping.chunks)
        self.visits = {(r, o): self._visits(r, o) for r in range(mapping.g_row) for o in range(mapping.g_oc)}
        self.loads: dict[int, list[tuple[float, int, list[bytes]]]] = {core: [] for core in mapping.cores}
        # Which load a core's step uses, and whether it is the first or the last to do so.
        self.act_load: dict[tuple[int, Any], _Load] = {}
        self.weight_load: dict[tuple[int, Any], _Load] = {}
        self.act_total: dict[int, int] = {}
        self.weight_total: dict[int, int] = {}
        self.resident_slot: dict[tuple[int, Any], int] = {}

    # --- sequence -----------------------------------------------------------------------------------------------

    def core(self, r: int, o: int) -> int:
        return self.mapping.cores[r * self.mapping.g_oc + o]

    def _visits(self, r: int, o: int) -> list[_Visit]:
        mapping, visits = self.mapping, []
        steps = [list(mapping.chunk_steps(block)) for block in mapping.channel_parts[o]]
        for t in range(len(mapping.tiling.parts[r])):
            for j, block in enumerate(mapping.channel_parts[o]):
                position = (t * self.blocks_max + j) * self.steps_max
                for chunk, step in steps[j]:
                    act = (t, chunk) if mapping.act_resident else (t, j, chunk)
                    visits.append(_Visit(position, t, j, step, act, self._weight_key(t, j, block, step)))
                    position += 1
            if not mapping.act_resident and self.tokens.act_members > 1:
                # Other members have one block more; this one only lets go of their chunks.
                for j in range(len(mapping.channel_parts[o]), self.blocks_max):
                    position = (t * self.blocks_max + j) * self.steps_max
                    visits += [
                        _Visit(position + chunk, t, j, None, (t, j, chunk), None) for chunk in range(len(mapping.chunks))
                    ]
        return visits

    def _weight_key(self, t: int, j: int, block: OutBlock, step: Step) -> Any:
        if not step.weight_bytes:
            return None
        if self.mapping.weights_resident:
            return (block.weights, step.weight, step.weight_bytes)
        return (t, j, block.weights, step.weight, step.weight_bytes)

    # --- streams ------------------------------------------------------------------------------------------------

    def streams(self) -> Streams:
        mapping = self.mapping
        for r in range(mapping.g_row):
            if self.tokens.act_members > 1:
                self._act_loads([(r, o) for o in range(mapping.g_oc)])
            else:
                for o in range(mapping.g_oc):
                    self._act_loads([(r, o)])
        for o in range(mapping.g_oc):
            self._weight_loads([(r, o) for r in range(mapping.g_row)])
            self._param_loads([(r, o) for r in range(mapping.g_row)])
        out: Streams = {}
        for r in range(mapping.g_row):
            for o in range(mapping.g_oc):
                core = self.core(r, o)
                loads = sorted(self.loads[core], key=lambda load: load[:2])
                out[core, Unit.LOAD] = [word for _, _, words in loads for word in words]
                out[core, Unit.COMPUTE] = list(self._compute(r, o))
                out[core, Unit.STORE] = list(self._store(r, o))
        for stream in out.values():
            stream.append(encode(Opcode.END))
        return out

    # --- loads --------------------------------------------------------------------------------------------------

    def _ring(self, members: list[tuple[int, int]], attribute: str) -> list[_Load]:
        """Loads of a group in the order of first use, each with its last use on every member."""
        loads: dict[Any, _Load] = {}
        for index, member in enumerate(members):
            for visit in self.visits[member]:
                key = getattr(visit, attribute)
                if key is None:
                    continue
                load = loads.get(key)
                if load is None:
                    load = loads[key] = _Load(0, visit.position, {}, visit.tile, key)
                load.first = min(load.first, visit.position)
                load.last[index] = visit.position
        ordered = sorted(loads.values(), key=lambda load: load.first)
        done = dict.fromkeys(range(len(members)), START)
        for number, load in enumerate(ordered):
            load.number = number
            for index, position in load.last.items():
                # Free tokens carry no name, so slots must become free in the order of the ring.
                assert position > done[index], f"{self.work.name}: slots are freed out of order"
                done[index] = position
            assert len(load.last) == len(members), f"{self.work.name}: members of a group need different data"
        return ordered

    def _freed(self, ordered: list[_Load], number: int, slots: int) -> int:
        """Position behind which the slot of load `number` is free."""
        return max(ordered[number - slots].last.values()) if number >= slots else START

    def _act_loads(self, members: list[tuple[int, int]]) -> None:
        mapping, tokens = self.mapping, self.tokens
        cores = [self.core(*member) for member in members]
        ordered = self._ring(members, "act")
        leader = cores[0]
        for load in ordered:
            tile = mapping.tiling.parts[members[0][0]][load.tile]
            chunk = mapping.chunks[load.what[-1]]
            freed = self._freed(ordered, load.number, mapping.act_slots)
            slot = load.number % mapping.act_slots * mapping.slot_step
            memory = tokens.act_memory(leader, load.number)
            transfers = list(self.work.source.transfers(tile, mapping.frame, chunk))
            words = []
            for index, transfer in enumerate(transfers):
                waits = tokens.wait(0, tokens.act_free, len(cores)) if index == 0 and freed != START else {}
                last = index == len(transfers) - 1
                words.append(
                    encode(
                        Opcode.LOAD, cores=_mask(cores), dram_addr=transfer.dram_addr, runs=transfer.runs,
                        run_flits=transfer.run_flits, dram_stride=transfer.dram_stride, space=Space.ACT,
                        dst=slot + transfer.dst, dst_stride=transfer.dst_stride, planar=transfer.planar,
                        memory=tokens.memories[memory], traffic=TrafficClass.IFMAP, token_valid=int(last),
                        token=tokens.act_ready + memory if last else 0, **waits,
                    )
                )  # fmt: skip
            self.loads[leader].append((freed + 0.5, load.first, words))
            for core in cores:
                self.act_load[core, load.what] = load
        for core in cores:
            self.act_total[core] = len(ordered)

    def _weight_loads(self, members: list[tuple[int, int]]) -> None:
        mapping, tokens, block = self.mapping, self.tokens, self.work.block
        cores = [self.core(*member) for member in members]
        ordered = self._ring(members, "weight") if not mapping.weights_resident else self._resident(members)
        leader = cores[members[0][1] % len(cores)]
        place = 0
        for load in ordered:
            *_, number, offset, size = load.what
            freed = START
            if mapping.weights_resident:
                slot = place
                place += -(-size // self.work.weight_align) * self.work.weight_align
            else:
                freed = self._freed(ordered, load.number, mapping.weight_slots)
                slot = load.number % mapping.weight_slots * mapping.weight_slot_bytes
            memory = tokens.weight_memory(leader, load.number)
            waits = tokens.wait(0, tokens.weight_free, len(cores)) if freed != START else {}
            word = encode(
                Opcode.LOAD, cores=_mask(cores),
                dram_addr=self.weights_addr + self.constants.weight_offset[number] + offset,
                runs=1, run_flits=size // block, space=Space.WEIGHT, dst=slot // block, memory=tokens.memories[memory],
                traffic=TrafficClass.WEIGHT, token_valid=1, token=tokens.weight_ready + memory, **waits,
            )  # fmt: skip
            self.loads[leader].append((freed + 0.5, load.first, [word]))
            for core in cores:
                self.weight_load[core, load.what] = load
                self.resident_slot[core, load.what] = slot
        for core in cores:
            self.weight_total[core] = len(ordered)

    def _resident(self, members: list[tuple[int, int]]) -> list[_Load]:
        """Loads of weights that stay, in the order of first use."""
        loads: dict[Any, _Load] = {}
        for visit in self.visits[members[0]]:
            if visit.weight is not None and visit.weight not in loads:
                loads[visit.weight] = _Load(len(loads), visit.position, {}, visit.tile, visit.weight)
        return list(loads.values())

    def _param_sets(self, o: int) -> list[int]:
        """Parameter sets of a channel part, in order."""
        return sorted({block.params for block in self.mapping.channel_parts[o]})

    def _param_groups(self, o: int) -> list[list[int]]:
        sets, size = self._param_sets(o), self.mapping.param_group
        return [sets[first : first + size] for first in range(0, len(sets), size)]

    def _param_loads(self, members: list[tuple[int, int]]) -> None:
        """Parameter sets: once if all fit, else group by group into two halves of the memory."""
        mapping, tokens, block = self.mapping, self.tokens, self.work.block
        cores = [self.core(*member) for member in members]
        o = members[0][1]
        leader = cores[o % len(cores)]
        set_bytes = self.work.requant.sets.shape[1]
        groups = self._param_groups(o)
        for number, (t, index, first, _) in enumerate(self._param_uses(o)):
            sets = groups[index]
            freed = START + 0.25
            waits = {}
            if number >= 2:
                previous = self._param_uses(o)[number - 2]
                freed = previous[3] + 0.25
                waits = tokens.wait(0, tokens.param_free, len(cores))
            word = encode(
                Opcode.LOAD, cores=_mask(cores), dram_addr=self.params_addr + sets[0] * set_bytes, runs=1,
                run_flits=len(sets) * set_bytes // block, space=Space.PARAM,
                dst=number % 2 * mapping.param_group * self.work.requant.blocks * 8,
                memory=tokens.memories[tokens.weight_memory(leader, 0)], traffic=TrafficClass.WEIGHT, token_valid=1,
                token=tokens.param_ready, **waits,
            )  # fmt: skip
            self.loads[leader].append((freed + 0.25, first, [word]))

    def _param_uses(self, o: int) -> list[tuple[int, int, int, int]]:
        """(tile, group, position of the first and of the last store) of every load of parameters."""
        if not hasattr(self, "_uses"):
            self._uses: dict[int, list[tuple[int, int, int, int]]] = {}
        if o not in self._uses:
            self._uses[o] = list(self._find_param_uses(o))
        return self._uses[o]

    def _find_param_uses(self, o: int) -> Iterator[tuple[int, int, int, int]]:
        mapping, groups = self.mapping, self._param_groups(o)
        group_of = {number: index for index, group in enumerate(groups) for number in group}
        blocks = [(j, group_of[block.params]) for j, block in enumerate(mapping.channel_parts[o])]
        for t in range(len(mapping.tiling.parts[0])):
            for index in range(len(groups)):
                mine = [j for j, group in blocks if group == index]
                first = (t * self.blocks_max + mine[0]) * self.steps_max
                last = (t * self.blocks_max + mine[-1] + 1) * self.steps_max - 1
                yield t, index, first, last
            if len(groups) == 1:
                return

    # --- compute ------------------------------------------------------------------------------------------------

    def _compute(self, r: int, o: int) -> Iterator[bytes]:
        mapping, work, tokens = self.mapping, self.work, self.tokens
        core, tiles = self.core(r, o), mapping.tiling.parts[r]
        visits = self.visits[r, o]
        act_leader, act_index = self._act_leader(r, o)
        weight_leader = self.core(o % mapping.g_row, o)
        bank = work.core.acc_bank_entries
        seen: set[int] = set()
        setup: dict[str, int] = {}
        unit, units = -1, sum(1 for _ in self._units(r, o))
        unit_key: tuple[int, int] | None = None
        for index, visit in enumerate(visits):
            act = self.act_load[core, visit.act]
            fields: dict[str, int] = {}
            if id(act) not in seen:
                seen.add(id(act))
                fields |= tokens.wait(0, tokens.act_ready + tokens.act_memory(act_leader, act.number), 1)
            if visit.position == act.last[act_index] and act.number + mapping.act_slots < self.act_total[core]:
                fields |= tokens.signal(0, tokens.act_free + act_index, act_leader)
            if visit.step is None:
                yield encode(Opcode.SYNC, **fields)
                continue
            step, tile = visit.step, tiles[visit.tile]
            starts = (visit.tile, visit.block) != unit_key
            if starts:
                unit_key = (visit.tile, visit.block)
                unit += 1
            following = visits[index + 1] if index + 1 < len(visits) else None
            ends = following is None or following.step is None or (following.tile, following.block) != unit_key
            weight_base = 0
            if visit.weight is not None:
                weight = self.weight_load[core, visit.weight]
                weight_base = self.resident_slot[core, visit.weight]
                if id(weight) not in seen:
                    seen.add(id(weight))
                    memory = tokens.weight_memory(weight_leader, weight.number)
                    fields |= tokens.wait(1, tokens.weight_ready + memory, 1)
                if not mapping.weights_resident and weight.number + mapping.weight_slots < self.weight_total[core]:
                    fields |= tokens.signal(1, tokens.weight_free + r, weight_leader)
            if starts and unit >= 2:
                fields |= tokens.wait(2, tokens.acc_free, 1)
            if ends:
                fields |= tokens.signal(2, tokens.acc_ready, core)
            geometry = self._geometry(tile, step)
            if geometry != setup:
                setup = geometry
                yield encode(Opcode.SETUP, **setup)
            slot = act.number % mapping.act_slots * mapping.slot_step * work.block
            base = slot + step.offset + work.source.address(tile, mapping.frame, step.word, step.ky, step.kx)
            yield encode(
                Opcode.COMPUTE, act_base=base % (1 << 22), weight_base=weight_base, acc_base=unit % 2 * bank,
                blocks=step.words, out_h=tile.height, iy0=tile.dy + step.ky * work.source.window.dilation[0],
                in_h=tile.in_rows, accumulate=int(not starts), **fields,
            )  # fmt: skip
        assert unit + 1 == units

    def _act_leader(self, r: int, o: int) -> tuple[int, int]:
        """Leader of a core's activation group, and the core's index in it."""
        return (self.core(r, 0), o) if self.tokens.act_members > 1 else (self.core(r, o), 0)

    def _geometry(self, tile: Tile, step: Step) -> dict[str, int]:
        source, window = self.work.source, self.work.source.window
        geometry = source.geometry(self.mapping.frame)
        geometry["block_pitch"] *= step.pitch_words
        return {
            "engine": self.work.engine, "tap_mode": self.work.tap_mode, "tap_shift": step.shift,
            "kernel_h": step.nky, "kernel_w": step.nkx, "stride_h": window.stride[0],
            "dilation_h": window.dilation[0], "out_w": tile.width, "pad_value": self.work.pad_value,
            **source.columns(tile, step.kx), **geometry,
        }  # fmt: skip

    # --- store --------------------------------------------------------------------------------------------------

    def _units(self, r: int, o: int) -> Iterator[tuple[int, Tile, int, OutBlock]]:
        for t, tile in enumerate(self.mapping.tiling.parts[r]):
            for j, block in enumerate(self.mapping.channel_parts[o]):
                yield t, tile, j, block

    def _store(self, r: int, o: int) -> Iterator[bytes]:
        mapping, work, tokens = self.mapping, self.work, self.tokens
        core, bank = self.core(r, o), work.core.acc_bank_entries
        leader = self.core(o % mapping.g_row, o)
        groups = self._param_groups(o)
        where = {number: (index, at) for index, group in enumerate(groups) for at, number in enumerate(group)}
        units = list(self._units(r, o))
        loads = -1
        loaded: tuple[int, int] | None = None
        total = len(self._param_uses(o))
        for number, (t, tile, _, block) in enumerate(units):
            index, at = where[block.params]
            key = (t if len(groups) > 1 else 0, index)
            waits = tokens.wait(0, tokens.acc_ready, 1)
            if key != loaded:
                loaded = key
                loads += 1
                waits |= tokens.wait(1, tokens.param_ready, 1)
            signals = tokens.signal(0, tokens.acc_free, core) if number + 2 < len(units) else {}
            if loads + 2 < total:
                following = units[number + 1] if number + 1 < len(units) else None
                if following is None or (following[0], where[following[3].params][0]) != key:
                    signals |= tokens.signal(1, tokens.param_free + r, leader)
            stores = list(self._regions(tile))
            for part, (pixel, pixels, target) in enumerate(stores):
                yield encode(
                    Opcode.STORE, acc_base=number % 2 * bank + pixel, pixels=pixels,
                    param_base=(loads % 2 * mapping.param_group + at) * work.requant.blocks, groups=block.groups,
                    lanes=block.lanes, lane_offset=block.channel % work.block, zero_point=work.requant.zero_point,
                    lo=work.requant.lo, hi=work.requant.hi, memory=self.chip.home_memory[core],
                    addr=self._out_addr(work.output, block, target), group_stride=work.out_hw[0] * work.out_hw[1],
                    traffic=TrafficClass.OFMAP, **(waits if part == 0 else {}),
                    **(signals if part == len(stores) - 1 else {}),
                )  # fmt: skip

    def _regions(self, tile: Tile) -> Iterator[tuple[int, int, int]]:
        """(first accumulator pixel, pixels, first output pixel) of each consecutive piece of a tile."""
        width = self.work.out_hw[1]
        if tile.width == width:
            yield 0, tile.pixels, tile.y[0] * width
            return
        for row in range(tile.height):
            yield row * tile.width, tile.width, (tile.y[0] + row) * width + tile.x[0]

    def _out_addr(self, output: Placement, block: OutBlock, pixel: int) -> int:
        plane = self.work.out_hw[0] * self.work.out_hw[1]
        return output.addr + (block.channel // self.work.block * plane + pixel) * self.work.block


def _mask(cores: list[int]) -> int:
    return sum(1 << core for core in cores)
