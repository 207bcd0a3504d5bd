"""Instruction streams of a mapped work, in the order of `scheduler.sequence`."""

from __future__ import annotations

from collections.abc import Iterator

from rtl.isa import TABLE_BYTES, Engine, Opcode, Space, TapMode, TrafficClass, Unit, encode
from rtl.params import ChipParams
from scheduler.errors import PlanError
from scheduler.image import residual_offsets, weight_offsets
from scheduler.mapping import Mapping
from scheduler.sequence import START, Group, Load, Sequence, Visit
from scheduler.source import Tile, Transfer
from scheduler.tokens import TokenMap
from scheduler.work import OutBlock, Step

__all__ = ["Streams", "emit"]

Streams = dict[tuple[int, Unit], list[bytes]]
Fields = dict[str, int]
ADDRESS_SPACE = 1 << 22
PARAM_FLITS = 8


def emit(mapping: Mapping, chip: ChipParams, weights_addr: int, params_addr: int) -> Streams:
    """Streams of the cores that the mapping uses, each ended by END.

    Raises
    ------
    PlanError
        If a number does not fit its instruction field.
    """
    try:
        return _Emitter(mapping, chip, weights_addr, params_addr).streams()
    except ValueError as error:
        raise PlanError(f"layer {mapping.work.name!r} cannot be programmed: {error}") from error


class _Emitter:
    def __init__(self, mapping: Mapping, chip: ChipParams, weights_addr: int, params_addr: int) -> None:
        self.mapping, self.chip, self.work = mapping, chip, mapping.work
        self.weights_addr, self.params_addr = weights_addr, params_addr
        self.weight_offset, _ = weight_offsets(mapping)
        self.sequence = Sequence(mapping, chip)
        self.tokens = self.sequence.tokens

    def streams(self) -> Streams:
        sequence = self.sequence
        loads: dict[int, list[tuple[float, int, list[bytes]]]] = {core: [] for core in self.mapping.cores}
        for group in {id(group): group for group in sequence.acts.values()}.values():
            loads[group.leader] += [(load.start, load.first, self._act_load(group, load)) for load in group.loads]
        for group in {id(group): group for group in sequence.weights.values()}.values():
            loads[group.leader] += [(load.start, load.first, self._weight_load(group, load)) for load in group.loads]
            loads[group.leader] += self._param_loads(group)
            loads[group.leader] += self._residual_weight_loads(group)
        for core, group in sequence.residuals.items():
            loads[core] += [(load.start, load.first, self._residual_load(group, load)) for load in group.loads]
        out: Streams = {}
        for place in sequence.visits:
            core = sequence.core(place)
            ordered = sorted(loads[core], key=lambda load: load[:2])
            out[core, Unit.LOAD] = [word for _, _, words in ordered for word in words]
            out[core, Unit.COMPUTE] = list(self._compute(*place))
            out[core, Unit.STORE] = list(self._store(*place))
        for stream in out.values():
            stream.append(encode(Opcode.END))
        return out

    # --- load unit ----------------------------------------------------------------------------------------------

    def _act_load(self, group: Group, load: Load) -> list[bytes]:
        mapping, tokens = self.mapping, self.tokens
        tile, chunk = mapping.tiling.parts[group.row][load.tile], mapping.chunks[load.key[-1]]
        memory = tokens.act_memory(group.leader, load.number)
        waits: Fields = {}
        if load.waits_free:
            waits = tokens.wait(0, tokens.act_free, len(group.cores))
        elif load.waits_pace:
            waits = tokens.wait(0, tokens.pace, 1)
        transfers = list(self.work.source.transfers(tile, mapping.frame, chunk))
        return self._transfers(group, load, transfers, memory, tokens.act_ready + memory, waits)

    def _residual_load(self, group: Group, load: Load) -> list[bytes]:
        mapping, tokens, residual = self.mapping, self.tokens, self.work.residual
        assert residual is not None
        tile, word = mapping.tiling.parts[group.row][load.tile], load.key[-1]
        memory = tokens.residual_memory(group.leader, load.number)
        waits = tokens.wait(0, tokens.residual_free, 1) if load.waits_free else Fields()
        source = residual.source.tile(tile.y, tile.x)
        transfers = list(residual.source.transfers(source, mapping.residual_frame, (word, word + 1)))
        return self._transfers(group, load, transfers, memory, tokens.residual_ready + memory, waits)

    def _transfers(
        self, group: Group, load: Load, transfers: list[Transfer], memory: int, token: int, waits: Fields
    ) -> list[bytes]:
        """Into a slot of the activation scratchpad; the first waits, the last gives a token."""
        words = []
        for index, transfer in enumerate(transfers):
            last = index == len(transfers) - 1
            words.append(
                encode(
                    Opcode.LOAD, cores=_mask(group.cores), dram_addr=transfer.dram_addr, runs=transfer.runs,
                    run_flits=transfer.run_flits, dram_stride=transfer.dram_stride, space=Space.ACT,
                    dst=load.slot // self.work.block + transfer.dst, dst_stride=transfer.dst_stride,
                    planar=transfer.planar, memory=memory, traffic=TrafficClass.IFMAP, token_valid=int(last),
                    token=token if last else 0, **(waits if index == 0 else {}),
                )
            )  # fmt: skip
        return words

    def _weight_load(self, group: Group, load: Load) -> list[bytes]:
        tokens, block = self.tokens, self.work.block
        number, offset, size = load.key[-3:]
        memory = tokens.weight_memory(group.leader, load.number)
        waits = tokens.wait(0, tokens.weight_free, len(group.cores)) if load.waits_free else {}
        addr = self.weights_addr + self.weight_offset[number] + offset
        return [
            encode(
                Opcode.LOAD, cores=_mask(group.cores), dram_addr=addr, runs=1, run_flits=size // block,
                space=Space.WEIGHT, dst=load.slot // block, memory=memory, traffic=TrafficClass.WEIGHT, token_valid=1,
                token=tokens.weight_ready + memory, **waits,
            )
        ]  # fmt: skip

    def _param_loads(self, group: Group) -> Iterator[tuple[float, int, list[bytes]]]:
        """Once if all sets fit, else group by group into two halves of the memory.

        The activation table comes before the first; loads from one memory node arrive in order, so that the token of
        the parameters stands for both.
        """
        mapping, tokens, block = self.mapping, self.tokens, self.work.block
        memory = tokens.weight_memory(group.leader, 0)
        set_bytes = self.work.requant.sets.shape[1]
        loads = self.sequence.params[group.channel]
        for number, load in enumerate(loads):
            freed = loads[number - 2].last + 0.25 if number >= 2 else START
            waits = tokens.wait(0, tokens.param_free, len(group.cores)) if number >= 2 else {}
            word = encode(
                Opcode.LOAD, cores=_mask(group.cores), dram_addr=self.params_addr + load.sets[0] * set_bytes, runs=1,
                run_flits=len(load.sets) * set_bytes // block, space=Space.PARAM,
                dst=number % 2 * mapping.param_group * self.work.requant.blocks * PARAM_FLITS,
                memory=memory, traffic=TrafficClass.WEIGHT, token_valid=1, token=tokens.param_ready, **waits,
            )  # fmt: skip
            words = [word]
            if number == 0 and self.work.requant.table is not None:
                table = encode(
                    Opcode.LOAD, cores=_mask(group.cores), dram_addr=self.params_addr + self.work.requant.sets.size,
                    runs=1, run_flits=TABLE_BYTES // block, space=Space.PARAM, dst=self.work.table_base * PARAM_FLITS,
                    memory=memory, traffic=TrafficClass.WEIGHT,
                )  # fmt: skip
                words.insert(0, table)
            yield freed, load.first, words

    def _residual_weight_loads(self, group: Group) -> Iterator[tuple[float, int, list[bytes]]]:
        """The residual's weights of all blocks of the group."""
        if self.work.residual is None:
            return
        offsets, tokens, block = residual_offsets(self.mapping), self.tokens, self.work.block
        first, end = offsets[group.channel : group.channel + 2]
        word = encode(
            Opcode.LOAD, cores=_mask(group.cores), dram_addr=self.weights_addr + first, runs=1,
            run_flits=(end - first) // block, space=Space.WEIGHT, dst=self.mapping.weight_capacity // block,
            memory=tokens.weight_memory(group.leader, 0), traffic=TrafficClass.WEIGHT, token_valid=1,
            token=tokens.residual_weights,
        )  # fmt: skip
        yield START, 1, [word]

    # --- compute unit -------------------------------------------------------------------------------------------

    def _compute(self, r: int, o: int) -> Iterator[bytes]:
        mapping, tokens = self.mapping, self.tokens
        core, tiles = self.sequence.core((r, o)), mapping.tiling.parts[r]
        visits = self.sequence.visits[r, o]
        seen: set[int] = set()
        setup: Fields = {}
        unit = -1
        for index, visit in enumerate(visits):
            if visit.residual is None:
                fields = self._act_tokens(core, visit, seen)
            else:
                fields = self._residual_tokens(core, visit, seen)
            if visit.step is None:
                yield encode(Opcode.SYNC, **fields)
                continue
            starts = not index or (visit.tile, visit.block) != (visits[index - 1].tile, visits[index - 1].block)
            unit += starts
            if starts and unit >= 2:
                fields |= tokens.wait(2, tokens.acc_free, 1)
            following = visits[index + 1] if index + 1 < len(visits) else None
            if following is None or (visit.tile, visit.block) != (following.tile, following.block):
                fields |= tokens.signal(2, tokens.acc_ready, core)
            weight_base = 0
            if visit.weight is not None:
                weight_base = self.sequence.weights[core].by_key[visit.weight].slot
                fields |= self._weight_tokens(core, visit, seen)
            step, tile = visit.step, tiles[visit.tile]
            if visit.residual is None:
                geometry, start = self._geometry(tile, step), tile.dy + step.ky * self.work.source.window.dilation[0]
                base = self.sequence.acts[core].by_key[visit.act].slot + step.offset
                base += self.work.source.address(tile, mapping.frame, step.word, step.ky, step.kx)
                in_rows = tile.in_rows
            else:
                geometry, start, in_rows = self._residual_geometry(tile, step), 0, tile.height
                base = self.sequence.residuals[core].by_key[visit.residual].slot + step.offset
                weight_base = mapping.weight_capacity + visit.block * self.work.weight_align
            if geometry != setup:
                setup = geometry
                yield encode(Opcode.SETUP, **setup)
            yield encode(
                Opcode.COMPUTE, act_base=base % ADDRESS_SPACE, weight_base=weight_base,
                acc_base=unit % 2 * self.work.core.acc_bank_entries, blocks=step.words, out_h=tile.height,
                iy0=start, in_h=in_rows, accumulate=int(not starts), **fields,
            )  # fmt: skip

    def _act_tokens(self, core: int, visit: Visit, seen: set[int]) -> Fields:
        """The first step that uses a load waits for it, the last one frees its slot; some let others go."""
        tokens, group = self.tokens, self.sequence.acts[core]
        load, member, fields = group.by_key[visit.act], group.member(core), Fields()
        if id(load) not in seen:
            seen.add(id(load))
            fields |= tokens.wait(0, tokens.act_ready + tokens.act_memory(group.leader, load.number), 1)
        if load.frees and visit.position == load.last[member]:
            fields |= tokens.signal(0, tokens.act_free + member, group.leader)
        if (core, visit.position) in self.sequence.paced and visit.step is not None:
            fields |= tokens.signal(self.sequence.paced[core, visit.position], tokens.pace, core)
        return fields

    def _weight_tokens(self, core: int, visit: Visit, seen: set[int]) -> Fields:
        tokens, group = self.tokens, self.sequence.weights[core]
        load, member, fields = group.by_key[visit.weight], group.member(core), Fields()
        if id(load) not in seen:
            seen.add(id(load))
            fields |= tokens.wait(1, tokens.weight_ready + tokens.weight_memory(group.leader, load.number), 1)
        if load.frees:  # every load of a ring has one use
            fields |= tokens.signal(1, tokens.weight_free + member, group.leader)
        return fields

    def _residual_tokens(self, core: int, visit: Visit, seen: set[int]) -> Fields:
        tokens, group = self.tokens, self.sequence.residuals[core]
        load, fields = group.by_key[visit.residual], Fields()
        if id(group.loads[0]) not in seen:
            fields |= tokens.wait(1, tokens.residual_weights, 1)
        if id(load) not in seen:
            seen.add(id(load))
            fields |= tokens.wait(0, tokens.residual_ready + tokens.residual_memory(core, load.number), 1)
        if load.frees and visit.position == load.last[0]:
            fields |= tokens.signal(0, tokens.residual_free, core)
        return fields

    def _residual_geometry(self, tile: Tile, step: Step) -> Fields:
        residual = self.work.residual
        assert residual is not None
        source = residual.source
        return {
            "engine": Engine.TAP, "tap_mode": TapMode.MAC, "tap_shift": step.shift, "kernel_h": 1, "kernel_w": 1,
            "stride_h": 1, "dilation_h": 1, "out_w": tile.width, "pad_value": 0, "window": 0,
            **source.columns(source.tile(tile.y, tile.x), 0), **source.geometry(self.mapping.residual_frame),
        }  # fmt: skip

    def _geometry(self, tile: Tile, step: Step) -> Fields:
        source, window = self.work.source, self.work.source.window
        geometry = source.geometry(self.mapping.frame)
        geometry["block_pitch"] *= step.pitch_words
        return {
            "engine": self.work.engine, "tap_mode": self.work.tap_mode, "tap_shift": step.shift,
            "kernel_h": step.nky, "kernel_w": step.nkx, "stride_h": window.stride[0],
            "dilation_h": window.dilation[0], "out_w": tile.width, "pad_value": self.work.pad_value,
            "window": int(self.work.has_window(step.nkx)),
            **source.columns(tile, step.kx), **geometry,
        }  # fmt: skip

    # --- store unit ---------------------------------------------------------------------------------------------

    def _store(self, r: int, o: int) -> Iterator[bytes]:
        mapping, work, tokens = self.mapping, self.work, self.tokens
        core, leader = self.sequence.core((r, o)), TokenMap.weight_leader(mapping, o)
        groups, loads = self.sequence.param_groups(o), self.sequence.params[o]
        where = {number: (index, at) for index, group in enumerate(groups) for at, number in enumerate(group)}
        tiles = mapping.tiling.parts[r]
        units = [(t, tile, block) for t, tile in enumerate(tiles) for block in mapping.channel_parts[o]]
        keys = [(t if len(groups) > 1 else 0, where[block.params][0]) for t, _, block in units]
        load = -1
        has_table = work.requant.table is not None
        geometry: Fields = {}
        for number, (_, tile, block) in enumerate(units):
            waits, signals = tokens.wait(0, tokens.acc_ready, 1), Fields()
            if not number or keys[number] != keys[number - 1]:
                load += 1
                params = tokens.wait(1, tokens.param_ready, 1)
                if number == 0 and has_table:
                    yield encode(Opcode.TABLE, param_base=work.table_base, **params)
                else:
                    waits |= params
            if number + 2 < len(units):
                signals |= tokens.signal(0, tokens.acc_free, core)
            if load + 2 < len(loads) and (number + 1 == len(units) or keys[number] != keys[number + 1]):
                signals |= tokens.signal(1, tokens.param_free + r, leader)
            at = where[block.params][1]
            regions = list(self._regions(tile))
            for part, (pixel, pixels, target, pool) in enumerate(regions):
                if pool != geometry:
                    geometry = pool
                    yield encode(Opcode.POOL, **geometry)
                yield encode(
                    Opcode.STORE, acc_base=number % 2 * work.core.acc_bank_entries + pixel, pixels=pixels,
                    param_base=(load % 2 * mapping.param_group + at) * work.requant.blocks, groups=block.groups,
                    lanes=block.lanes, lane_offset=block.channel % work.block, zero_point=work.requant.zero_point,
                    lo=work.requant.lo, hi=work.requant.hi, memory=self.chip.home_memory[core],
                    addr=self._out_addr(block, target), group_stride=work.out_hw[0] * work.out_hw[1],
                    traffic=TrafficClass.OFMAP, table=int(has_table), pooled=int(bool(pool)),
                    **(waits if part == 0 else {}),
                    **(signals if part == len(regions) - 1 else {}),
                )  # fmt: skip

    def _regions(self, tile: Tile) -> Iterator[tuple[int, int, int, Fields]]:
        """(first accumulator, pixels, first output pixel, POOL) of each consecutive piece of a tile."""
        width, pool = self.work.out_hw[1], self.work.pool
        whole = tile.store_width == width
        for first in [tile.store_y[0]] if whole else range(*tile.store_y):
            end = tile.store_y[1] if whole else first + 1
            pixels, target = (end - first) * tile.store_width, first * width + tile.store_x[0]
            if pool is None:
                yield (first - tile.y[0]) * tile.width, pixels, target, {}
                continue
            top, bottom, above = pool.span(0, first, end)
            beside = pool.span(1, *tile.store_x)[2]
            geometry = {
                "kernel_h": pool.kernel[0], "kernel_w": pool.kernel[1], "stride_h": pool.stride[0],
                "stride_w": pool.stride[1], "pad_top": -above, "pad_left": -beside, "in_h": bottom - top,
                "in_w": tile.width, "out_w": tile.store_width,
            }  # fmt: skip
            yield (top - tile.y[0]) * tile.width, pixels, target, geometry

    def _out_addr(self, block: OutBlock, pixel: int) -> int:
        plane = self.work.out_hw[0] * self.work.out_hw[1]
        return self.work.output.addr + (block.channel // self.work.block * plane + pixel) * self.work.block


def _mask(cores: list[int]) -> int:
    return sum(1 << core for core in cores)
