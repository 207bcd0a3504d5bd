"""Ports of cores: what STOREs of several cores, and loads beside them, leave each other."""

from __future__ import annotations

from dataclasses import dataclass, replace
from math import inf

import pytest

from estimator import estimate
from estimator.ports import Ports, SendJob, fair_rates
from rtl.contract.codec import encode
from rtl.contract.isa import Opcode, Space, TrafficClass, Unit
from rtl.contract.params import ChipParams, CoreParams
from tests.unit.sched.estimator.handmade import EXACT, FOUR, QUICK

MULTICAST = replace(FOUR, cores=(CoreParams(multicast=True),) * 4)
PIXELS = 4000
END = encode(Opcode.END)


def store(pixels: int = PIXELS, **fields: int) -> bytes:
    return encode(Opcode.STORE, pixels=pixels, groups=1, lanes=16, to_core=1, **fields)


@dataclass(frozen=True)
class Program:
    """Streams by core and unit, without END."""

    own: dict[tuple[int, Unit], list[bytes]]

    @property
    def streams(self) -> dict[tuple[int, Unit], list[bytes]]:
        return {(core, unit): [*self.own.get((core, unit), []), END] for core in range(4) for unit in Unit}


def cycles(own: dict[tuple[int, Unit], list[bytes]], chip: ChipParams = MULTICAST) -> float:
    """Beyond those of programs that do nothing."""
    idle = estimate(Program({}), chip, QUICK, EXACT).cycles
    return estimate(Program(own), chip, QUICK, EXACT).cycles - idle


def stores(*targets: dict[str, int]) -> dict[tuple[int, Unit], list[bytes]]:
    """A STORE of each core, from core 0 on."""
    return {(core, Unit.STORE): [store(**fields)] for core, fields in enumerate(targets)}


def test_stores_to_one_core_wait_for_each_other() -> None:
    """The last flits lie in the network's buffers when a store unit is done with them."""
    apart = cycles(stores({"core": 1}, {"core": 2}, {"core": 3}, {"core": 0}))
    assert apart == pytest.approx(PIXELS, abs=100)
    for senders in (2, 3, 4):
        together = cycles(stores(*[{"core": 3}] * senders))
        assert together == pytest.approx(senders * (PIXELS - FOUR.vc_depth), abs=100)


def test_a_store_to_several_cores_takes_the_port_of_each() -> None:
    everywhere = {"core": 0, "more": 3}
    assert cycles(stores(everywhere)) == pytest.approx(PIXELS, abs=100)
    assert cycles(stores(everywhere, {"core": 2})) == pytest.approx(2 * (PIXELS - FOUR.vc_depth), abs=100)
    assert cycles(stores(everywhere, {"core": 2}), FOUR) == pytest.approx(PIXELS, abs=100), "it goes to core 0 alone"
    halves = stores({"core": 0, "more": 1}, {"core": 2, "more": 1})
    assert cycles(halves) == pytest.approx(PIXELS, abs=100)


def test_tokens_come_with_the_last_flit_to_every_core() -> None:
    waits = encode(Opcode.SYNC, wait0_first=9, wait0_count=1)
    own = {(core, Unit.COMPUTE): [waits] for core in range(4)}
    own[0, Unit.STORE] = [store(core=0, more=3, token_valid=1, token=9)]
    assert cycles(own) == pytest.approx(PIXELS, abs=100)
    own[1, Unit.STORE] = [store(core=3)]
    assert cycles(own) == pytest.approx(2 * PIXELS, abs=100), "its own last flit is no longer on its way then"
    del own[2, Unit.COMPUTE]
    assert cycles(own) == pytest.approx(2 * PIXELS, abs=100)


def test_loads_and_stores_share_a_port() -> None:
    load = encode(
        Opcode.LOAD, cores=1, runs=1, run_flits=PIXELS, space=Space.ACT, traffic=TrafficClass.IFMAP, token_valid=1,
        token=5,
    )  # fmt: skip
    waits = encode(Opcode.SYNC, wait0_first=5, wait0_count=1)
    alone = {(0, Unit.LOAD): [load], (0, Unit.COMPUTE): [waits]}
    assert cycles(alone) == pytest.approx(PIXELS, abs=100)
    assert cycles(alone | stores({"core": 1})) == pytest.approx(PIXELS, abs=100)
    assert cycles(alone | stores({"core": 0})) == pytest.approx(2 * PIXELS, abs=150)
    # A pooled STORE sends a flit in four cycles, and leaves the rest.
    pool = encode(Opcode.POOL, kernel_h=2, kernel_w=2, stride_h=2, stride_w=2, in_h=20, in_w=20, out_w=10)
    pooled = {(0, Unit.STORE): [pool, store(PIXELS // 4, core=0, pooled=1)]}
    assert cycles(alone | pooled) == pytest.approx(PIXELS * 5 / 4, abs=150)


@pytest.mark.parametrize(
    ("senders", "room", "rates"),
    [
        ([(0b1, 1.0)], (1.0,), [1.0]),
        ([(0b1, 1.0)], (0.25,), [0.25]),
        ([(0b1, 1.0), (0b1, 1.0)], (1.0,), [0.5, 0.5]),
        ([(0b1, 0.25), (0b1, 1.0)], (1.0,), [0.25, 0.75]),
        ([(0b11, 1.0), (0b10, 1.0), (0b01, 0.1)], (1.0, 1.0), [0.5, 0.5, 0.1]),
        ([(0b11, 1.0), (0b10, 1.0), (0b01, 1.0)], (0.4, 1.0), [0.2, 0.8, 0.2]),
        ([], (1.0,), []),
    ],
)
def test_ports_are_shared_fairly(senders: list[tuple[int, float]], room: tuple[float, ...], rates: list[float]) -> None:
    assert fair_rates(tuple(senders), room) == pytest.approx(tuple(rates))


def test_port_that_is_taken_for_the_moment_makes_no_event() -> None:
    """Two memory nodes may turn to a port at the same time; the second is heard of within that time."""
    ports = Ports(2, buffered=4)
    ports.send(0, SendJob(10, 0b10, 0.5, 0.0, lambda _: None, lambda _: None))
    ports.find_heads()
    ports.set_rates((1.0, 0.0))
    assert ports.next_event() == inf
    ports.set_rates((1.0, 0.5))
    assert ports.next_event() == pytest.approx((10 - 4) / 0.5)
