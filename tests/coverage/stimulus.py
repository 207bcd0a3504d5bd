"""What the campaign runs beside `tb.fuzz`: programs whose waits lie elsewhere, and layers chosen by their channels."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from golden.qnodes import QConcat
from rtl.isa import Opcode
from rtl.params import ChipParams
from tb.fuzz.program import Instruction, Program
from tests.cases import KINDS, Case, random_case
from tests.coverage.functional import alignment

__all__ = ["aligned_cases", "alignments", "with_early_waits"]

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


def alignments(case: Case) -> tuple[str, str]:
    """How the channels of the first layer's input and of the last layer's output lie in storage blocks."""
    tensors, block = case.graph.tensors, case.chip.link_bytes
    layers = [node for node in case.graph.nodes if not isinstance(node, QConcat)] or list(case.graph.nodes)
    return (
        alignment(tensors[case.graph.input].shape[0], block),
        alignment(tensors[layers[-1].output].shape[0], block),
    )


def aligned_cases(chip: ChipParams, seeds: Iterable[int], budget_macs: int) -> list[Case]:
    """Of the cases of some seeds and all kinds, those that bring an alignment which no earlier one of their kind did."""
    chosen = []
    for kind in KINDS:
        seen: set[tuple[str, str]] = set()
        for seed in seeds:
            case = random_case(seed, kind=kind, chip=chip, budget_macs=budget_macs)
            first, last = alignments(case)
            if {("input", first), ("output", last)} <= seen:
                continue
            seen |= {("input", first), ("output", last)}
            chosen.append(case)
    return chosen
