"""What the campaign runs beside `tb.fuzz`: legal programs whose waits or addresses lie elsewhere, programs that do
nothing but signal or count, or nothing at all, and layers chosen by their channels."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import replace
from itertools import product

import numpy as np
from amaranth.hdl import Shape

from golden.int8.qnodes import QConcat
from rtl.contract.engines.tap import TapMode
from rtl.contract.isa import INSTRUCTION_BYTES, LAYOUTS, Engine, Opcode, Space, TrafficClass, Unit
from rtl.contract.params import ChipParams
from tb.fuzz.program import (
    LISTS_AREA,
    MEMORY_BYTES,
    Instruction,
    Program,
    damaged_weights,
    listed_weights,
    max_stream,
)
from tests.cases import KINDS, Case, GraphBuilder, random_case, random_image
from tests.coverage.functional import ALIGNMENTS, alignment

__all__ = [
    "aligned_cases", "alignments", "contradicting_programs", "far_program", "long_program", "noisy_program",
    "signal_program", "token_programs", "with_all_waits", "with_early_waits",
]  # fmt: skip

_SETTERS = {Opcode.SETUP: Opcode.COMPUTE, Opcode.POOL: Opcode.STORE}


def with_early_waits(program: Program, seed: int) -> Program:
    """The program with some waits of COMPUTEs and STOREs at the SETUP or POOL before them, and with ENDs that wait.

    Nothing happens between the two, so the order of events is the same.
    """
    rng = np.random.default_rng([seed, 7])
    streams = {}
    for place, old in program.streams.items():
        stream = list(old)
        for at in range(len(stream) - 1):
            setter, user = stream[at : at + 2]
            if user.opcode == _SETTERS.get(setter.opcode) and rng.random() < 0.6:
                waits = {name: value for name, value in user.fields.items() if name.startswith("wait")}
                rest = {name: value for name, value in user.fields.items() if name not in waits}
                stream[at] = Instruction(setter.opcode, {**setter.fields, **waits})
                stream[at + 1] = Instruction(user.opcode, rest)
        if stream and stream[-1].opcode == Opcode.SYNC and all(n.startswith("wait") for n in stream[-1].fields):
            stream[-1] = Instruction(Opcode.END, stream[-1].fields)
        streams[place] = stream
    return replace(program, streams=streams, name=f"{program.name} early")


def with_all_waits(program: Program, seed: int) -> Program:
    """The program with more waits, so that instructions of every kind wait for none to three ranges.

    They wait for counters that the program leaves alone, which SYNCs at the beginning of the streams raise as often as
    all of the waits take from them. Nothing waits in front of those SYNCs, so the new waits only delay.
    """
    rng = np.random.default_rng([seed, 8])
    chip = program.chip
    streams = {place: [*stream, Instruction(Opcode.END)] for place, stream in program.streams.items()}
    for core in range(chip.n_cores):
        spare = _unused(program, core)[:_RANGES]
        taken = Counter[int]()
        for unit in Unit:
            stream = streams[core, unit]
            for at, instruction in enumerate(stream):
                fields = dict(instruction.fields)
                free = [number for number in range(len(spare)) if not fields.get(f"wait{number}_count")]
                for number in rng.permutation(free)[: rng.integers(_RANGES + 1)]:
                    if taken[spare[number]] < 255:
                        fields |= {f"wait{number}_first": spare[number], f"wait{number}_count": 1}
                        taken[spare[number]] += 1
                stream[at] = replace(instruction, fields=fields)
        raised = list(taken.elements())
        for first in range(0, len(raised), _RANGES):
            shortest = min(streams.values(), key=len)
            shortest.insert(0, _signals(raised[first : first + _RANGES], core))
    return replace(program, streams=streams, name=f"{program.name} waiting")


_RANGES = 3
"""Waits, and signals, of an instruction."""


def _unused(program: Program, core: int) -> list[int]:
    """Counters of a core that a program neither raises nor waits for, from the last on."""
    used = set()
    for (own, _), stream in program.streams.items():
        for fields in (instruction.whole() for instruction in stream):
            used |= {fields[f"signal{i}_token"] for i in range(_RANGES) if fields.get(f"signal{i}_valid")}
            used |= {fields["token"]} if fields.get("token_valid") else set()
            if own == core:
                waits = [(fields[f"wait{i}_first"], fields[f"wait{i}_count"]) for i in range(_RANGES)]
                used |= {token for first, count in waits for token in range(first, first + count)}
    return [token for token in reversed(range(program.chip.tokens)) if token not in used]


def far_program(program: Program, seed: int) -> Program:
    """The program and its data at another place in 4 GB, so that high bits of addresses change."""
    places = (1 << 32) // MEMORY_BYTES
    origin = int(np.random.default_rng([seed, 9]).integers(1, places)) * MEMORY_BYTES
    return replace(program, origin=origin, name=f"{program.name} far")


def noisy_program(chip: ChipParams, seed: int) -> Program:
    """Instructions that do nothing, with noise in all bits that mean nothing, on all units of all cores.

    Without signals and waits a SYNC has nothing but its opcode: the first counter of a range of none, counter and core
    of a signal that is not there and what lies behind the last field may be anything. Legal programs leave them zero.
    """
    rng = np.random.default_rng([seed, 12])
    return Program(
        chip,
        {
            (core, unit): [_noisy_sync(rng, marks=params.marks > 0) for _ in range(_NOISY)]
            for core, params in enumerate(chip.cores)
            for unit in Unit
        },
        seed,
        name=f"legal noise {seed}",
    )


_NOISY = 24


def _noisy_sync(rng: np.random.Generator, marks: bool) -> Instruction:
    """Without a mark where those mean something."""
    silent = {f"wait{i}_count": 0 for i in range(_RANGES)} | {f"signal{i}_valid": 0 for i in range(_RANGES)}
    silent |= {"fence": 0} | ({"mark": 0} if marks else {})
    word = int.from_bytes(rng.bytes(INSTRUCTION_BYTES), "little")
    for name, value in {"opcode": int(Opcode.SYNC), **silent}.items():
        at = LAYOUTS[Opcode.SYNC][name]
        mask = (1 << Shape.cast(at.shape).width) - 1 << at.offset
        word = word & ~mask | value << at.offset
    return Instruction(Opcode.SYNC, silent, word.to_bytes(INSTRUCTION_BYTES, "little"))


def long_program(chip: ChipParams, core: int) -> Program:
    """All units of a core at work for tens of thousands of cycles, so that its counters count far.

    Random programs end after a few thousand. LOADs of every class fill the scratchpads again and again, while COMPUTEs
    wait for them in each range; COMPUTEs then go on in one bank of accumulators while STOREs drain the other one. An
    engine with lists takes the array's place where there is one, with the densest of the image's weights.
    """
    params, bank = chip.cores[core], chip.cores[core].acc_bank_entries
    weight_bytes, act_bytes = (min(size, _FILLED_BYTES) for size in (params.weight_bytes, params.act_bytes))
    load = []
    for traffic in TrafficClass:
        space, size = (Space.WEIGHT, weight_bytes) if traffic in (0, 3) else (Space.ACT, act_bytes)
        flits = {"runs": 12, "run_flits": size // chip.link_bytes, "space": space, "cores": 1 << core}
        load.append(Instruction(Opcode.LOAD, {**flits, "traffic": traffic, "token_valid": 1, "token": traffic}))
    ranges = {TrafficClass.IFMAP: 0, TrafficClass.WEIGHT: 1, TrafficClass.OFMAP: 0, TrafficClass.PSUM: 1,
              TrafficClass.PROGRAM: 2}  # fmt: skip
    compute = [
        Instruction(Opcode.SYNC, {f"wait{number}_first": traffic, f"wait{number}_count": 1})
        for traffic, number in ranges.items()
    ]
    geometry = {"kernel_h": 1, "kernel_w": 1, "out_w": bank, "in_w": 1}
    if listed := listed_weights(chip, params):
        at, dense = max(listed, key=lambda entry: entry[1].raw.size)
        loaded = len(TrafficClass) + 2
        flits = {"runs": 1, "run_flits": -(-dense.raw.size // chip.link_bytes), "cores": 1 << core}
        load.append(Instruction(Opcode.LOAD, {
            **flits, "dram_addr": at, "space": Space.WEIGHT, "token_valid": 1, "token": loaded,
        }))  # fmt: skip
        compute.append(Instruction(Opcode.SYNC, {"wait0_first": loaded, "wait0_count": 1}))
        setup = {**geometry, **dense.setup, "engine": Engine.SPARSE, "run_ahead": params.sparse_slots - 1}
        compute.append(Instruction(Opcode.SETUP, {**setup, "in_w": bank}))
        compute += [Instruction(Opcode.COMPUTE, {**dense.compute, "out_h": 1, "in_h": 32})] * 16
    else:
        passes = weight_bytes // (params.rows * params.cols)
        compute.append(Instruction(Opcode.SETUP, {**geometry, "engine": Engine.ARRAY}))
        compute += [Instruction(Opcode.COMPUTE, {"blocks": passes, "out_h": 1, "in_h": 1})] * 16
    maxima = {"engine": Engine.TAP, "tap_mode": TapMode.MAX, "kernel_h": 32, "kernel_w": 32, "out_w": 2}
    compute.append(Instruction(Opcode.SETUP, {**geometry, **maxima}))
    compute.append(Instruction(Opcode.COMPUTE, {"blocks": 16, "out_h": 1, "in_h": 1}))
    ended = [len(TrafficClass), len(TrafficClass) + 1]
    compute.append(_signals(ended, core))
    store = [
        Instruction(Opcode.STORE, {
            "acc_base": bank, "pixels": bank, "groups": 1, "lanes": 1, "lo": -128, "hi": 127, "addr": _STORED_AT,
            "traffic": number % len(TrafficClass),
        })
        for number in range(60)
    ]  # fmt: skip
    streams: dict[tuple[int, Unit], list[Instruction]] = {(c, unit): [] for c in range(chip.n_cores) for unit in Unit}
    streams[core, Unit.LOAD] = [*load, Instruction(Opcode.SYNC, {"wait0_first": ended[0], "wait0_count": 1})]
    streams[core, Unit.COMPUTE] = compute
    streams[core, Unit.STORE] = [*store, Instruction(Opcode.SYNC, {"wait0_first": ended[1], "wait0_count": 1})]
    return Program(chip, streams, core, name=f"legal long {core}")


def contradicting_programs(chip: ChipParams) -> Iterable[Program]:
    """COMPUTEs of two passes on core 0, of which the second contradicts itself while PEs are at work on the first."""
    params = chip.cores[0]
    bank, size = params.acc_bank_entries, chip.link_bytes
    sound = dict(listed_weights(chip, params))
    for number, (fault, places) in enumerate(damaged_weights(chip, params).items()):
        for at, damaged_at in places.items():
            one = sound[at]
            first = one.raw.size // one.compute["blocks"]
            if one.compute["blocks"] == 1 or (one.raw[:first] != one.damaged[fault][:first]).any():
                continue
            load = {"cores": 1, "dram_addr": damaged_at, "runs": 1, "run_flits": -(-one.raw.size // size)}
            setup = {**one.setup, "engine": Engine.SPARSE, "out_w": bank, "in_w": bank}
            compute = {**one.compute, "out_h": 1, "in_h": 32, "wait0_first": 0, "wait0_count": 1}
            streams: dict[tuple[int, Unit], list[Instruction]] = {
                (core, unit): [] for core in range(chip.n_cores) for unit in Unit
            }
            loaded = {"space": Space.WEIGHT, "token_valid": 1, "token": 0}
            streams[0, Unit.LOAD] = [Instruction(Opcode.LOAD, {**load, **loaded})]
            streams[0, Unit.COMPUTE] = [Instruction(Opcode.SETUP, setup), Instruction(Opcode.COMPUTE, compute)]
            yield Program(chip, streams, number, name=f"illegal lists {fault}", fault=(0, Unit.COMPUTE, 1))
            break


_FILLED_BYTES = 8192
_STORED_AT = LISTS_AREA[1]
"""Behind all that is loaded."""


def signal_program(chip: ChipParams, seed: int) -> Program:
    """All units of all cores signal at once, to their own core and to others, so that signals wait for each other.

    Every unit has a counter of its own on each core, and the core takes from it what has been sent.
    """
    rng = np.random.default_rng([seed, 10])
    places = [(core, unit) for core in range(chip.n_cores) for unit in Unit]
    streams: dict[tuple[int, Unit], list[Instruction]] = {place: [] for place in places}
    sent = Counter[tuple[int, int]]()
    for token, place in enumerate(places):
        for _ in range(_STORM):
            targets = [int(core) for core in rng.integers(chip.n_cores, size=_RANGES)]
            fields = {}
            for i, core in enumerate(targets):
                fields |= {f"signal{i}_valid": 1, f"signal{i}_token": token, f"signal{i}_core": core}
                sent[core, token] += 1
            streams[place].append(Instruction(Opcode.SYNC, fields))
    for core in range(chip.n_cores):
        left = Counter({token: sent[core, token] for token in range(len(places))})
        for number in range(left.total()):
            token = max(left, key=lambda token: left[token])
            wait = {"wait0_first": token, "wait0_count": 1}
            streams[core, Unit(number % len(Unit))].append(Instruction(Opcode.SYNC, wait))
            left[token] -= 1
    return Program(chip, streams, seed, name=f"legal signals {seed}")


_STORM = 8


def token_programs(chip: ChipParams) -> Iterable[Program]:
    """Programs that count each token of every core up to 128 and down across that, so that all carries and borrows
    happen.

    Random programs keep counters at a few tokens. Signals of one unit arrive in order, so one token more, which the
    unit waits for, says that all have come.
    """
    each = (_CARRY + 2) // 3 + 2
    per_unit = max(1, (max_stream(chip) - 8) // each)
    spare = chip.tokens - len(Unit)  # a counter of its own for each unit
    for first in range(0, spare, per_unit * len(Unit)):
        streams: dict[tuple[int, Unit], list[Instruction]] = {
            (core, unit): [] for core in range(chip.n_cores) for unit in Unit
        }
        for core, unit in streams:
            low = first + per_unit * unit
            for token in range(low, min(low + per_unit, spare)):
                streams[core, unit] += _counted(token, spare + unit, core)
        yield Program(chip, streams, first, name=f"legal tokens {first}")


_CARRY = 128


def _counted(token: int, flag: int, core: int) -> list[Instruction]:
    """Counts a token to 128, takes one, and puts two."""
    threes, left = divmod(_CARRY, 3)
    steps = [_signals([token] * 3, core)] * threes + [_signals([*[token] * left, flag], core)]
    taken = {"wait0_first": flag, "wait0_count": 1, "wait1_first": token, "wait1_count": 1}
    return [*steps, Instruction(Opcode.SYNC, {**taken, **_signals([token] * 2, core).fields})]


def _signals(tokens: list[int], core: int) -> Instruction:
    fields = {}
    for i, token in enumerate(tokens):
        fields |= {f"signal{i}_valid": 1, f"signal{i}_token": token, f"signal{i}_core": core}
    return Instruction(Opcode.SYNC, fields)


def alignments(case: Case) -> tuple[str, str]:
    """How the channels of the first layer's input and of the last layer's output lie in storage blocks."""
    tensors, block = case.graph.tensors, case.chip.link_bytes
    layers = [node for node in case.graph.nodes if not isinstance(node, QConcat)] or list(case.graph.nodes)
    return (
        alignment(tensors[case.graph.input].shape[0], block),
        alignment(tensors[layers[-1].output].shape[0], block),
    )


def aligned_cases(chip: ChipParams, seeds: Iterable[int]) -> list[Case]:
    """Of the cases of some seeds and all kinds, those that bring an alignment that no earlier one of their kind did.

    Kinds that are always narrow at a small size are drawn at a large one, too.
    """
    chosen = []
    seeds = list(seeds)
    for number, kind in enumerate(KINDS):
        seen: set[tuple[str, str]] = set()
        for (size, budget_macs), seed in product(enumerate(_BUDGETS_MACS), seeds):
            if len(seen) == 2 * len(ALIGNMENTS):
                break
            own = 1000 * number + 500 * size + seed
            case = random_case(own, kind=kind, chip=chip, budget_macs=budget_macs)
            first, last = alignments(case)
            if {("input", first), ("output", last)} <= seen:
                continue
            seen |= {("input", first), ("output", last)}
            chosen.append(case)
    return [*chosen, _pooled_with_a_part(chip)]


_BUDGETS_MACS = (6_000, 120_000)


def _pooled_with_a_part(chip: ChipParams) -> Case:
    """A convolution and its pool whose channels are one storage block and a part: `random_case` draws none."""
    rng = np.random.default_rng(11)
    channels = chip.link_bytes + chip.link_bytes // 2
    builder = GraphBuilder(rng, (channels, 5, 6), _BUDGETS_MACS[0])
    output = builder.pool("maxpool", builder.conv("in", channels, (1, 1)), (2, 2), (2, 2))
    graph = builder.graph("pooled", output)
    return Case(999_999, "pooled", chip, graph, random_image(rng, graph))
