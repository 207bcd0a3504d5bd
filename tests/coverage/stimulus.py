"""What the campaign runs beside `tb.fuzz`: programs whose waits lie elsewhere, and layers chosen by their channels."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from golden.qnodes import QConcat
from rtl.isa import Opcode, Unit
from rtl.params import ChipParams
from tb.fuzz.program import Instruction, Program, max_stream
from tests.cases import KINDS, Case, random_case
from tests.coverage.functional import alignment

__all__ = ["aligned_cases", "alignments", "token_programs", "with_early_waits"]

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
    return program.with_streams(streams)


def token_programs(chip: ChipParams) -> Iterable[Program]:
    """Programs that count each token of core 0 up to 128 and down across that, so that all carries and borrows happen.

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
        for unit in Unit:
            low = first + per_unit * unit
            for token in range(low, min(low + per_unit, spare)):
                streams[0, unit] += _counted(token, spare + unit)
        yield Program(chip, streams, first, name=f"tokens {first}")


_CARRY = 128


def _counted(token: int, flag: int) -> list[Instruction]:
    """Counts a token to 128, takes one, and puts two."""
    threes, left = divmod(_CARRY, 3)
    steps = [_signals([token] * 3)] * threes + [_signals([*[token] * left, flag])]
    taken = {"wait0_first": flag, "wait0_count": 1, "wait1_first": token, "wait1_count": 1}
    return [*steps, Instruction(Opcode.SYNC, {**taken, **_signals([token] * 2).fields})]


def _signals(tokens: list[int]) -> Instruction:
    fields = {}
    for i, token in enumerate(tokens):
        fields |= {f"signal{i}_valid": 1, f"signal{i}_token": token}
    return Instruction(Opcode.SYNC, fields)


def alignments(case: Case) -> tuple[str, str]:
    """How the channels of the first layer's input and of the last layer's output lie in storage blocks."""
    tensors, block = case.graph.tensors, case.chip.link_bytes
    layers = [node for node in case.graph.nodes if not isinstance(node, QConcat)] or list(case.graph.nodes)
    return (
        alignment(tensors[case.graph.input].shape[0], block),
        alignment(tensors[layers[-1].output].shape[0], block),
    )


def aligned_cases(chip: ChipParams, seeds: Iterable[int], budget_macs: int) -> list[Case]:
    """Of the cases of some seeds and all kinds, those that bring an alignment that no earlier one of their kind did."""
    chosen = []
    for number, kind in enumerate(KINDS):
        seen: set[tuple[str, str]] = set()
        for seed in seeds:
            case = random_case(1000 * number + seed, kind=kind, chip=chip, budget_macs=budget_macs)
            first, last = alignments(case)
            if {("input", first), ("output", last)} <= seen:
                continue
            seen |= {("input", first), ("output", last)}
            chosen.append(case)
    return chosen
