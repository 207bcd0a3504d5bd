"""Instruction streams of a mapped work, in the order of `scheduler.code.sequence`."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import NamedTuple

from rtl.contract.codec import encode, encode_fields, encoder
from rtl.contract.isa import PARAM_FLITS, TABLE_BYTES, Opcode, Space, TrafficClass, Unit
from rtl.contract.params import ChipParams
from scheduler.code.image import residual_offsets, weight_offsets
from scheduler.code.sequence import START, Group, Load, Sequence, Visit
from scheduler.errors import PlanError
from scheduler.map.mapping import Mapping
from scheduler.map.tokens import TokenMap
from scheduler.plan.limits import ACT_ADDRESSES
from scheduler.work.passes import Passes, Step
from scheduler.work.source import Frame, ResidentSource, Source, Tile, Transfer

__all__ = ["Emitted", "Streams", "Turns", "emit"]

Streams = dict[tuple[int, Unit], list[bytes]]

# Instructions by the thousand, each by the fields that differ from one to the next.
_TRANSFER = encoder(
    Opcode.LOAD, "dram_addr", "runs", "run_flits", "dram_stride", "dst", "dst_stride", "planar", "memory",
    "token_valid", "token",
)  # fmt: skip
_WEIGHTS = encoder(Opcode.LOAD, "dram_addr", "run_flits", "dst", "memory", "token")
_COMPUTE = encoder(Opcode.COMPUTE, "act_base", "weight_base", "acc_base", "accumulate")
_STORE = encoder(Opcode.STORE, "acc_base", "pixels", "addr")


class Turns(NamedTuple):
    """Output blocks of a core that take its accumulators in turn.

    Attributes
    ----------
    first : int
        Of this mapping: so many came before, in earlier parts of the launch.
    total : int
        Of all parts.
    """

    first: int
    total: int


def emit(mapping: Mapping, chip: ChipParams, weights_addr: int, params_addr: int, turns: dict[int, Turns]) -> Emitted:
    """Streams of the cores that the mapping uses; `turns` is by core.

    Raises
    ------
    PlanError
        If a number does not fit its instruction field.
    """
    try:
        return _Emitter(mapping, chip, weights_addr, params_addr, turns).streams()
    except ValueError as error:
        raise PlanError(f"layer {mapping.work.name!r} cannot be programmed: {error}", mapping.work.name) from error


@dataclass(eq=False)
class Emitted:
    """Streams of the cores that a mapping uses, without END.

    Attributes
    ----------
    streams : dict of (core, Unit) to list of bytes
    first_read : dict of int to int
        By core, number of the first LOAD that reads a tensor.
    free_constants : dict of int to list of int
        By core, numbers of the LOADs of constants behind that one which wait for nothing.
    last_store : dict of int to dict of int to int
        By core, number of its last STORE to each core that it stores to.
    positions : dict of (core, Unit) to list of int
        Of every instruction, the position of the step that it serves (`scheduler.code.sequence`): of a LOAD the first
        that needs it, of a STORE the last of its block.
    rates : dict of int to list of float
        By core, of its COMPUTEs on engines whose cycles depend on values, the cycles from pixel to pixel.
    spans : list of (float, int)
        Of all loads, the position behind which each may start, and the one at which it is needed.
    block_positions : int
        Positions of an output block of a tile, or of two that take turns.
    """

    block_positions: int
    streams: Streams = field(default_factory=dict)
    first_read: dict[int, int] = field(default_factory=dict)
    free_constants: dict[int, list[int]] = field(default_factory=dict)
    last_store: dict[int, dict[int, int]] = field(default_factory=dict)
    positions: dict[tuple[int, Unit], list[int]] = field(default_factory=dict)
    rates: dict[int, list[float]] = field(default_factory=dict)
    spans: list[tuple[float, int]] = field(default_factory=list)


class _Placed(NamedTuple):
    """LOADs that belong together.

    Attributes
    ----------
    start : float
        Position behind which they may start.
    needed : int
        Position at which they are needed.
    words : list of bytes
    reads : bool
        They read a tensor, not constants.
    """

    start: float
    needed: int
    words: list[bytes]
    reads: bool = False


class _Job(NamedTuple):
    """What COMPUTEs of one step over one tile have in common.

    Attributes
    ----------
    setup : bytes
        Their SETUP.
    fields : int
        Encoded.
    offset : int
        Of the first byte in a slot.
    """

    setup: bytes
    fields: int
    offset: int


class _Region(NamedTuple):
    """Output pixels of a tile that one STORE takes.

    Attributes
    ----------
    entry : int
        First accumulator.
    pixels : int
        Stored.
    rows : (first, end)
        Of the output.
    column : int
        First one.
    pool : bytes
        Their POOL, if any.
    """

    entry: int
    pixels: int
    rows: tuple[int, int]
    column: int
    pool: bytes


class _Emitter:
    def __init__(
        self, mapping: Mapping, chip: ChipParams, weights_addr: int, params_addr: int, turns: dict[int, Turns]
    ) -> None:
        self.mapping, self.chip, self.work, self.turns = mapping, chip, mapping.work, turns
        self.weights_addr, self.params_addr = weights_addr, params_addr
        self.weight_offset, _ = weight_offsets(mapping)
        self.sequence = Sequence(mapping, chip)
        self.tokens = self.sequence.tokens
        self.jobs: dict[tuple[int, int, Step, bool], _Job] = {}
        self.setups: dict[tuple[int, ...], bytes] = {}

    def streams(self) -> Emitted:
        sequence = self.sequence
        loads: dict[int, list[_Placed]] = {core: [] for core in self.mapping.cores}
        for group in {id(group): group for group in sequence.acts.values()}.values():
            loads[group.leader] += self._act_loads(group)
        for group in {id(group): group for group in sequence.weights.values()}.values():
            loads[group.leader] += self._weight_loads(group)
            loads[group.leader] += self._param_loads(group)
            loads[group.leader] += self._residual_weight_loads(group)
        for core, group in sequence.residuals.items():
            loads[core] += self._residual_loads(group)
        rates = self._rates() if self.work.passes.timing.valued else {}
        out = Emitted(sequence.steps * self.mapping.together, rates=rates)
        for place in sequence.visits:
            core = sequence.core(place)
            stream = out.streams[core, Unit.LOAD] = []
            positions = out.positions[core, Unit.LOAD] = []
            for load in sorted(loads[core], key=lambda load: (load.start, load.needed)):
                if load.reads:
                    out.first_read.setdefault(core, len(stream))
                elif load.start == START and core in out.first_read:
                    out.free_constants.setdefault(core, []).extend(range(len(stream), len(stream) + len(load.words)))
                out.spans.append((load.start, load.needed))
                stream += load.words
                positions += [load.needed] * len(load.words)
            computes = list(self._compute(*place))
            out.streams[core, Unit.COMPUTE] = [word for _, word in computes]
            out.positions[core, Unit.COMPUTE] = [position for position, _ in computes]
            out.streams[core, Unit.STORE], out.positions[core, Unit.STORE], out.last_store[core] = self._store(*place)
        return out

    # --- load unit ----------------------------------------------------------------------------------------------

    def _act_loads(self, group: Group) -> Iterator[_Placed]:
        mapping, tokens, tiles = self.mapping, self.tokens, self.mapping.tiling.parts[group.row]
        source = self.work.source.moved(mapping.picture(group.row))
        common = self._common(group, Space.ACT, TrafficClass.IFMAP)
        for load in group.loads:
            waits = 0
            if load.waits_free:
                waits = tokens.wait(0, tokens.act_free, len(group.cores))
            elif load.waits_pace:
                waits = tokens.wait(0, tokens.pace, 1)
            memory = tokens.act_memory(group.leader, load.number)
            tile, chunk = tiles[load.tile], mapping.chunks[load.key[-1]]
            transfers = list(source.transfers(tile, mapping.frame, chunk))
            words = self._transfers(load, transfers, memory, tokens.act_ready + memory, waits, common)
            yield _Placed(load.start, load.first, words, reads=True)

    def _residual_loads(self, group: Group) -> Iterator[_Placed]:
        mapping, tokens, residual = self.mapping, self.tokens, self.work.residual
        assert residual is not None
        source = residual.source.moved(mapping.picture(group.row))
        frame, common = mapping.residual_frame, self._common(group, Space.ACT, TrafficClass.IFMAP)
        tiles = [source.tile(tile.y, tile.x) for tile in mapping.tiling.parts[group.row]]
        for load in group.loads:
            waits = tokens.wait(0, tokens.residual_free, 1) if load.waits_free else 0
            memory = tokens.residual_memory(group.leader, load.number)
            word = load.key[-1]
            transfers = list(source.transfers(tiles[load.tile], frame, (word, word + 1)))
            words = self._transfers(load, transfers, memory, tokens.residual_ready + memory, waits, common)
            yield _Placed(load.start, load.first, words, reads=True)

    def _transfers(
        self, load: Load, transfers: list[Transfer], memory: int, token: int, waits: int, common: int
    ) -> list[bytes]:
        """Into a slot of the activation scratchpad; the first waits, the last gives a token."""
        words = []
        for index, transfer in enumerate(transfers):
            last = index == len(transfers) - 1
            words.append(
                _TRANSFER(
                    common | (waits if index == 0 else 0), transfer.dram_addr, transfer.runs, transfer.run_flits,
                    transfer.dram_stride, load.slot // self.work.block + transfer.dst, transfer.dst_stride,
                    transfer.planar, memory, int(last), token if last else 0,
                )
            )  # fmt: skip
        return words

    def _weight_loads(self, group: Group) -> Iterator[_Placed]:
        tokens, block = self.tokens, self.work.block
        common = self._common(group, Space.WEIGHT, TrafficClass.WEIGHT)
        common |= encode_fields(Opcode.LOAD, runs=1, token_valid=1)
        weights = self.work.passes.weights
        computed = None if weights is None else weights.computed
        channels = {out.weights: out.channel for out in self.mapping.weight_blocks()} if computed else {}
        for load in group.loads:
            number, offset, size = load.key[-3:]
            memory = tokens.weight_memory(group.leader, load.number)
            waits = tokens.wait(0, tokens.weight_free, len(group.cores)) if load.waits_free else 0
            addr = self.weights_addr + self.weight_offset[number] + offset
            if computed is not None and not offset:
                addr = computed.addr + channels[number] // block * block
                size = min(size, computed.end - addr)
            word = _WEIGHTS(
                common | waits, addr, size // block, load.slot // block, memory, tokens.weight_ready + memory
            )
            yield _Placed(load.start, load.first, [word], reads=computed is not None)  # the ring keeps its order

    @staticmethod
    def _common(group: Group, space: Space, traffic: TrafficClass) -> int:
        """Fields that all loads of a group share."""
        return encode_fields(Opcode.LOAD, cores=sum(1 << core for core in group.cores), space=space, traffic=traffic)

    def _param_loads(self, group: Group) -> Iterator[_Placed]:
        """Once if all sets fit, else group by group into two halves of the memory.

        The activation table comes before the first; loads from one memory node arrive in order, so that the token of
        the parameters stands for both.
        """
        mapping, tokens, block = self.mapping, self.tokens, self.work.block
        memory = tokens.weight_memory(group.leader, 0)
        set_bytes = self.work.requant.sets.shape[1]
        common = self._common(group, Space.PARAM, TrafficClass.WEIGHT) | encode_fields(Opcode.LOAD, memory=memory)
        loads = self.sequence.params[group.channel]
        for number, load in enumerate(loads):
            freed = loads[number - 2].last + 0.25 if number >= 2 else START
            waits = tokens.wait(0, tokens.param_free, len(group.cores)) if number >= 2 else 0
            word = encode(
                Opcode.LOAD, common | waits, dram_addr=self.params_addr + load.sets[0] * set_bytes, runs=1,
                run_flits=len(load.sets) * set_bytes // block,
                dst=mapping.param_base(number) * PARAM_FLITS, token_valid=1, token=tokens.param_ready,
            )  # fmt: skip
            words = [word]
            if number == 0 and self.work.requant.table is not None:
                table = encode(
                    Opcode.LOAD, common, dram_addr=self.params_addr + self.work.requant.sets.size, runs=1,
                    run_flits=TABLE_BYTES // block, dst=mapping.table_base * PARAM_FLITS,
                )  # fmt: skip
                words.insert(0, table)
            yield _Placed(freed, load.first, words)

    def _residual_weight_loads(self, group: Group) -> Iterator[_Placed]:
        """The residual's weights of all blocks of the group."""
        if self.work.residual is None:
            return
        offsets, tokens, block = residual_offsets(self.mapping), self.tokens, self.work.block
        first, end = offsets[group.channel : group.channel + 2]
        word = encode(
            Opcode.LOAD, self._common(group, Space.WEIGHT, TrafficClass.WEIGHT), dram_addr=self.weights_addr + first,
            runs=1, run_flits=(end - first) // block, dst=self.mapping.residual_weights_at // block,
            memory=tokens.weight_memory(group.leader, 0), token_valid=1, token=tokens.residual_weights,
        )  # fmt: skip
        yield _Placed(START, 1, [word])

    # --- compute unit -------------------------------------------------------------------------------------------

    def _compute(self, r: int, o: int) -> Iterator[tuple[int, bytes]]:
        """Instructions, each behind the position of its step."""
        mapping, tokens = self.mapping, self.tokens
        core = self.sequence.core((r, o))
        seen: set[Load] = set()
        setup = b""
        banks, added = mapping.budget.acc.banks, False
        for visit in self.sequence.visits[r, o]:
            if visit.adds:
                slot, events = self._residual_slot(core, r, visit), 0
                if not added:
                    added = True
                    events |= tokens.wait(1, tokens.residual_weights, 1)
                if visit.residual is not None:
                    events |= self._residual_tokens(core, visit, visit.residual, seen)
            elif visit.act is not None:
                slot, events = visit.act.slot, self._act_tokens(core, visit, visit.act, seen)
            else:
                source = self.work.source
                assert isinstance(source, ResidentSource)
                tile, (word, _) = mapping.tiling.parts[r][visit.tile], mapping.chunks[visit.chunk]
                slot, events = source.place(core, tile, word), 0
            if visit.step is None:
                yield visit.position, encode(Opcode.SYNC, events)
                continue
            unit = self.turns[core].first + visit.unit
            if visit.starts and unit >= len(banks):
                events |= tokens.wait(2, tokens.acc_free, 1)
            if visit.ends:
                events |= tokens.signal(2, tokens.acc_ready, core)
            weight_base = 0
            if visit.weight is not None:
                out = mapping.channel_parts[o][visit.block]
                weight_base = visit.weight.slot + self.work.passes.weight_at(out, visit.step, self.work.block)
                events |= self._weight_tokens(core, visit, visit.weight, seen)
            elif visit.adds:
                weight_base = mapping.residual_weights_at + visit.block * self.work.weight_align
            job = self._job(r, visit.tile, visit.step, visit.adds)
            if job.setup != setup:
                setup = job.setup
                yield visit.position, setup
            base = (slot + job.offset) % ACT_ADDRESSES
            acc_base = banks[unit % len(banks)] * self.work.core.acc_bank_entries
            word = _COMPUTE(events | job.fields, base, weight_base, acc_base, int(not visit.starts))
            yield visit.position, word

    def _rates(self) -> dict[int, list[float]]:
        """As of `Emitted`."""
        tiles = self.mapping.tiling.parts
        computes = {
            place: [(visit.step, tiles[place[0]][visit.tile]) for visit in visits if visit.step and not visit.adds]
            for place, visits in self.sequence.visits.items()
        }
        different = list(dict.fromkeys(item for of_core in computes.values() for item in of_core))
        rates = dict(zip(different, self.work.passes.pixel_cycles(different), strict=True))
        return {self.sequence.core(place): [rates[item] for item in own] for place, own in computes.items()}

    def _job(self, r: int, number: int, step: Step, residual: bool) -> _Job:
        """A step over a tile of a row part, whatever the block."""
        key = r, number, step, residual
        if key not in self.jobs:
            tile, work, mapping = self.mapping.tiling.parts[r][number], self.work, self.mapping
            if residual:
                assert work.residual is not None
                passes, source, frame = work.residual.passes, work.residual.source, mapping.residual_frame
                offset, rows = step.offset, {"iy0": 0, "in_h": tile.height}
                tile = source.tile(tile.y, tile.x)
            else:
                passes, source, frame = work.passes, work.source, mapping.frame
                _, rows = source.rows_of(tile, step.ky)
                offset = step.offset + source.address(tile, frame, step.word, step.ky, step.kx)
            setup = self._setup(passes, source, frame, tile, step)
            blocks = step.words // step.stacked
            fields = encode_fields(Opcode.COMPUTE, blocks=blocks, out_h=tile.height, rounds=step.rounds, **rows)
            self.jobs[key] = _Job(setup, fields, offset)
        return self.jobs[key]

    def _act_tokens(self, core: int, visit: Visit, load: Load, seen: set[Load]) -> int:
        """The first step that uses a load waits for it, the last one frees its slot; some let others go."""
        tokens, group, events = self.tokens, self.sequence.acts[core], 0
        if load not in seen:
            seen.add(load)
            events |= tokens.wait(0, tokens.act_ready + tokens.act_memory(group.leader, load.number), 1)
        if load.frees:
            member = group.member(core)
            if visit.position == load.last[member]:
                events |= tokens.signal(0, tokens.act_free + member, group.leader)
        if (core, visit.position) in self.sequence.paced and visit.step is not None:
            events |= tokens.signal(self.sequence.paced[core, visit.position], tokens.pace, core)
        return events

    def _weight_tokens(self, core: int, visit: Visit, load: Load, seen: set[Load]) -> int:
        tokens, group, events = self.tokens, self.sequence.weights[core], 0
        if load not in seen:
            seen.add(load)
            events |= tokens.wait(1, tokens.weight_ready + tokens.weight_memory(group.leader, load.number), 1)
        if load.frees and visit.position == load.last[group.member(core)]:
            events |= tokens.signal(1, tokens.weight_free + group.member(core), group.leader)
        return events

    def _residual_slot(self, core: int, r: int, visit: Visit) -> int:
        """Scratchpad byte of the word that a step adds."""
        if visit.residual is not None:
            return visit.residual.slot
        assert self.work.residual is not None
        source, tile = self.work.residual.source, self.mapping.tiling.parts[r][visit.tile]
        assert isinstance(source, ResidentSource)
        block = self.mapping.channel_parts[self.sequence.channel_part(core)][visit.block]
        return source.place(core, source.tile(tile.y, tile.x), self.work.residual.word(block))

    def _residual_tokens(self, core: int, visit: Visit, load: Load, seen: set[Load]) -> int:
        tokens, events = self.tokens, 0
        if load not in seen:
            seen.add(load)
            events |= tokens.wait(0, tokens.residual_ready + tokens.residual_memory(core, load.number), 1)
        if load.frees and visit.position == load.last[0]:
            events |= tokens.signal(0, tokens.residual_free, core)
        return events

    def _setup(self, passes: Passes, source: Source, frame: Frame, tile: Tile, step: Step) -> bytes:
        key = (
            passes is self.work.passes, tile.width, tile.dx, tile.in_cols, step.nky, step.kx, step.nkx, step.shift,
            step.pitch_words, step.stacked,
        )  # fmt: skip
        if key not in self.setups:
            window, geometry = source.window, source.geometry(frame)
            rows, _ = source.rows_of(tile, step.ky)
            geometry["block_pitch"] *= step.pitch_words
            if step.stacked > 1:  # words as kernel rows
                rows |= {"dilation_h": 0}
                geometry |= {"tap_y": geometry["block_pitch"], "block_pitch": step.stacked * geometry["block_pitch"]}
            self.setups[key] = encode(
                Opcode.SETUP, kernel_h=step.nky * step.stacked, kernel_w=step.nkx, out_w=tile.width,
                pad_value=passes.pad_value, **rows, **passes.setup(self.work.core, window, step),
                **source.columns(tile, step.kx), **geometry,
            )  # fmt: skip
        return self.setups[key]

    # --- store unit ---------------------------------------------------------------------------------------------

    def _store(self, r: int, o: int) -> tuple[list[bytes], list[int], dict[int, int]]:
        """Instructions, their positions, and the number of the last STORE to each core that they store to."""
        words: list[bytes] = []
        positions: list[int] = []
        last: dict[int, int] = {}
        mapping, work, tokens = self.mapping, self.work, self.tokens
        core, leader = self.sequence.core((r, o)), TokenMap.weight_leader(mapping, o)
        groups, loads = self.sequence.param_groups(o), self.sequence.params[o]
        where = {number: (index, at) for index, group in enumerate(groups) for at, number in enumerate(group)}
        tiles, sink = mapping.tiling.parts[r], work.sink.moved(mapping.picture(r))
        units = [(t, mapping.channel_parts[o][number]) for t, number in mapping.units(o)]
        again = len(groups) > 1 and not mapping.blocks_first
        keys = [(t if again else 0, where[block.params][0]) for t, block in units]
        load = -1
        has_table = work.requant.table is not None
        common = encode_fields(
            Opcode.STORE, zero_point=work.requant.zero_point, lo=work.requant.lo, hi=work.requant.hi,
            table=int(has_table), pooled=int(work.pool is not None),
        )  # fmt: skip
        turns, banks = self.turns[core], mapping.budget.acc.banks
        regions_of = [list(self._regions(tile)) for tile in tiles]
        geometry = b""
        ends = [visit.position for visit in self.sequence.visits[r, o] if visit.ends]
        for number, (t, block) in enumerate(units):
            waits, signals = tokens.wait(0, tokens.acc_ready, 1), 0
            if not number or keys[number] != keys[number - 1]:
                load += 1
                params = tokens.wait(1, tokens.param_ready, 1)
                if number == 0 and has_table:
                    words.append(encode(Opcode.TABLE, params, param_base=mapping.table_base))
                else:
                    waits |= params
            turn = turns.first + number
            if turn + len(banks) < turns.total:
                signals |= tokens.signal(0, tokens.acc_free, core)
            if load + 2 < len(loads) and (number + 1 == len(units) or keys[number] != keys[number + 1]):
                signals |= tokens.signal(1, tokens.param_free + r, leader)
            of_block = common | encode_fields(
                Opcode.STORE, param_base=mapping.param_base(load, where[block.params][1]), groups=block.groups,
                lanes=block.lanes, lane_offset=block.channel % work.block,
            )  # fmt: skip
            stores = [
                (pool, pixel, pixels, target)
                for pixel, pixels, rows, column, pool in regions_of[t]
                for target in sink.targets(self.chip, core, block, rows, column)
            ]
            if not work.sink.in_memory:  # cores that compute the same rows begin at different ones: each has one port
                team = len(mapping.cores) // work.pictures
                turned = len(stores) * (mapping.cores.index(core) % team) // team
                stores = stores[turned:] + stores[:turned]
            if not stores:  # nobody wants these rows
                words.append(encode(Opcode.SYNC, waits | signals))
            for part, (pool, pixel, pixels, target) in enumerate(stores):
                if pool != geometry:
                    geometry = pool
                    words.append(geometry)
                events = (waits if part == 0 else 0) | (signals if part == len(stores) - 1 else 0)
                acc_base = banks[turn % len(banks)] * work.core.acc_bank_entries + pixel
                last.update(dict.fromkeys(target.cores, len(words)))
                bits = events | of_block | target.fields
                words.append(_STORE(bits, acc_base, pixels, target.addr))
            positions += [ends[number]] * (len(words) - len(positions))
        return words, positions, last

    def _regions(self, tile: Tile) -> Iterator[_Region]:
        """Consecutive pieces of a tile."""
        pool = self.work.pool
        for rows in self.work.sink.runs(tile):
            first, end = rows
            pixels, column = (end - first) * tile.store_width, tile.store_x[0]
            if pool is None:
                yield _Region((first - tile.y[0]) * tile.width, pixels, rows, column, b"")
                continue
            top, bottom, above = pool.span(0, first, end)
            beside = pool.span(1, *tile.store_x)[2]
            geometry = encode(
                Opcode.POOL, kernel_h=pool.kernel[0], kernel_w=pool.kernel[1], stride_h=pool.stride[0],
                stride_w=pool.stride[1], pad_top=-above, pad_left=-beside, in_h=bottom - top, in_w=tile.width,
                out_w=tile.store_width,
            )  # fmt: skip
            yield _Region((top - tile.y[0]) * tile.width, pixels, rows, column, geometry)
