"""The replay that the properties rest on notices what it should: programs with one token wait or signal taken out."""

from dataclasses import replace

import numpy as np
import pytest

from rtl.contract.codec import decode, encode
from rtl.contract.isa import Opcode, Unit
from rtl.contract.params import CoreParams, default_chip
from scheduler import Launch, schedule
from tests.cases import GraphBuilder
from tests.unit.sched.replay import Replay

CORE = CoreParams(8, 8, act_bytes=4096, weight_bytes=2048, acc_entries=64, param_blocks=16)
CHIP = default_chip(4, CORE)


def launch() -> Launch:
    """A convolution whose activations, weights and accumulators all go round their rings."""
    builder = GraphBuilder(np.random.default_rng(1), (32, 12, 12), 10**6)
    graph = builder.graph("net", builder.conv("in", 48, (3, 3), padding=(1, 1, 1, 1)))
    return schedule(graph, CHIP).launches[0]


def edited(unit: Unit, **fields: int) -> Launch:
    """The launch with fields cleared wherever an instruction of a unit has them set."""
    whole = launch()
    streams = dict(whole.streams)
    for core in range(CHIP.n_cores):
        stream = []
        for raw in streams[core, unit]:
            opcode, values = decode(raw)
            del values["opcode"]
            clear = {name: value for name, value in fields.items() if name in values and opcode != Opcode.END}
            stream.append(encode(opcode, **{**values, **clear}))
        streams[core, unit] = stream
    return replace(whole, streams=streams)


def test_the_program_is_sound() -> None:
    Replay(launch(), CHIP).run()


@pytest.mark.parametrize(
    ("unit", "field"),
    [
        (Unit.LOAD, "wait0_count"),
        (Unit.COMPUTE, "wait0_count"),
        (Unit.COMPUTE, "wait1_count"),
        (Unit.COMPUTE, "wait2_count"),
        (Unit.COMPUTE, "signal0_valid"),
        (Unit.COMPUTE, "signal1_valid"),
        (Unit.COMPUTE, "signal2_valid"),
        (Unit.STORE, "wait0_count"),
        (Unit.STORE, "wait1_count"),
        (Unit.STORE, "signal0_valid"),
    ],
)
def test_a_missing_wait_or_signal_is_noticed(unit: Unit, field: str) -> None:
    with pytest.raises(AssertionError):
        Replay(edited(unit, **{field: 0}), CHIP).run()
