"""The network: what shares a link, what buffers hold, and when what is sent comes to whom."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from heapq import heappop, heappush
from typing import Any

import pytest

from estimator import Unrated, estimate
from estimator.network import Network, Transfer
from estimator.routes import Route, Routes, bits
from rtl.contract.codec import encode
from rtl.contract.isa import Opcode, Space, TrafficClass, Unit
from rtl.contract.params import ChipParams, CoreParams, default_chip
from rtl.contract.routing import CLAIM_ORDER, Link, links, multicast_links
from tests.unit.sched.estimator.handmade import EXACT, FOUR, QUICK

MULTICAST = replace(FOUR, cores=(CoreParams(multicast=True),) * 4)
PIXELS = 4000
END = encode(Opcode.END)


def store(pixels: int = PIXELS, **fields: int) -> bytes:
    return encode(Opcode.STORE, pixels=pixels, groups=1, lanes=16, to_core=1, **fields)


@dataclass(frozen=True)
class Program(Unrated):
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
        assert senders * (PIXELS - 3 * FOUR.vc_depth) - 100 <= together <= senders * PIXELS


def test_a_store_to_several_cores_takes_the_port_of_each() -> None:
    everywhere = {"core": 0, "more": 3}
    assert cycles(stores(everywhere)) == pytest.approx(PIXELS, abs=100)
    together = cycles(stores(everywhere, {"core": 2}))
    assert 2 * (PIXELS - 3 * FOUR.vc_depth) - 100 <= together <= 2 * PIXELS
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
    assert cycles(alone | stores({"core": 1})) == pytest.approx(PIXELS, abs=150)
    assert cycles(alone | stores({"core": 0})) == pytest.approx(2 * PIXELS, abs=150)
    # A pooled STORE sends a flit in four cycles, and leaves the rest.
    pool = encode(Opcode.POOL, kernel_h=2, kernel_w=2, stride_h=2, stride_w=2, in_h=20, in_w=20, out_w=10)
    pooled = {(0, Unit.STORE): [pool, store(PIXELS // 4, core=0, pooled=1)]}
    assert cycles(alone | pooled) == pytest.approx(PIXELS * 5 / 4, abs=150)


SIXTEEN = default_chip(16)
WAYS = Routes(SIXTEEN)
"""Memory nodes 0 to 3 are west, east, west, east of rows 0 to 3."""


def test_a_way_is_that_of_the_routers() -> None:
    for memory in range(4):
        for cores in (0b1, 0b11, 0x1111, 0xF00F, 0xFFFF):
            route = WAYS.loads(memory, cores)
            outputs = {WAYS.link(number) for number in route.links} - {None}
            dests = [core for core in range(16) if cores >> core & 1]
            node = SIXTEEN.memory_node_id(memory)
            assert outputs == multicast_links(SIXTEEN, node, dests)
            came, onward = [], [WAYS.entry(node, WAYS.RESPONSE)]
            for channel in onward:
                after = [WAYS.link(number // 2) for number in route.after.get(channel, ())]
                ports = [CLAIM_ORDER.index(link.port) for link in after if link is not None]
                assert ports == sorted(ports)
                onward += route.after.get(channel, ())
                came += [WAYS.node_behind[channel]] if WAYS.node_behind[channel] >= 0 else []
            assert sorted(came) == dests
            assert {channel // 2 for channel in onward} == set(route.links)


class Run:
    """Transfers on a network, and when they were sent and came."""

    def __init__(self, bandwidth: float = 2.0) -> None:
        self.queue: list[tuple[float, int, Callable[..., None], tuple[Any, ...]]] = []
        self.network = Network(WAYS, self.at, bandwidth)
        self.count = 0
        self.sent: dict[str, float] = {}
        self.came: dict[tuple[str, int], float] = {}

    def at(self, time: float, action: Callable[..., None], *args: Any) -> None:
        self.count += 1
        heappush(self.queue, (time, self.count, action, args))

    def transfer(self, name: str, route: Route, flits: float, packet: float = 10.0, limit: float = 1.0) -> Transfer:
        def arrived(when: float, cores: int) -> None:
            self.came.update({(name, core): when for core in bits(cores or 1 << MEMORY)})

        return Transfer(
            route, flits, limit, packet=packet, arrived=arrived, sent=lambda when: self.sent.update({name: when})
        )

    def send(
        self, name: str, source: int, route: Route, flits: float, packet: float = 10.0, limit: float = 1.0
    ) -> None:
        self.at(0.0, self.network.send, source, self.transfer(name, route, flits, packet, limit), 0.0)

    def ask(self, name: str, core: int, memory: int, flits: float, when: float, *, program: bool = False) -> None:
        transfer = self.transfer(name, WAYS.loads(memory, 1 << core), flits, 32.0)
        transfer.program = program
        request = Transfer(WAYS.requests(core, memory), 2, asks=transfer)
        self.at(when, self.network.request, core, request, when)

    def end(self) -> dict[tuple[str, int], float]:
        while self.queue:
            _, _, action, args = heappop(self.queue)
            action(*args)
        return self.came


MEMORY = 24
"""Stands for all memory nodes among those that something came to."""


@pytest.mark.parametrize(
    ("flows", "ends"),
    [
        ([(0, 1 << 3, 1.0)], [1000]),
        ([(0, 1 << 3, 0.25)], [4000]),
        # To one core; over one link to two; over links of their own; against each other.
        ([(0, 1 << 3, 1.0), (7, 1 << 3, 1.0)], [2000, 2000]),
        ([(0, 1 << 2, 1.0), (1, 1 << 3, 1.0)], [2000, 2000]),
        ([(0, 1 << 3, 1.0), (4, 1 << 7, 1.0)], [1000, 1000]),
        ([(0, 1 << 3, 1.0), (3, 1 << 0, 1.0)], [1000, 1000]),
        # Inputs take turns, however many send by one of them.
        ([(0, 1 << 3, 1.0), (1, 1 << 3, 1.0), (7, 1 << 3, 1.0)], [3000, 3000, 2000]),
        # A multicast goes as fast as its slowest branch.
        ([(0, 0x1111, 1.0), (13, 1 << 12, 1.0)], [2000, 2000]),
        ([(0, 0x1111, 1.0), (5, 1 << 4, 1.0), (9, 1 << 8, 1.0)], [2000, 2000, 2000]),
    ],
)  # fmt: skip
def test_packets_take_turns(flows: list[tuple[int, int, float]], ends: list[float]) -> None:
    """1000 flits of each, in packets of 10."""
    run = Run()
    for source, cores, limit in flows:
        run.send(f"{source}", source, WAYS.sends(source, cores), 1000, limit=limit)
    came = run.end()
    last = [max(when for (name, _), when in came.items() if name == f"{source}") for source, *_ in flows]
    assert last == pytest.approx(ends, abs=35)


def test_reads_and_writes_get_half_each_of_a_scarce_bandwidth() -> None:
    def ends(bandwidth: float, *writers: int, limit: float = 1.0) -> list[float]:
        run = Run(bandwidth)
        run.send("read", 16, WAYS.loads(0, 1), 1000)
        for core in writers:
            run.send(f"{core}", core, WAYS.stores(core, 0), 1000, limit=limit)
        return list(run.end().values())

    assert ends(1.0) == pytest.approx([1000], abs=1)
    assert ends(1.0, 5) == pytest.approx([2000, 2000], abs=25)
    assert ends(1.0, 5, 9) == pytest.approx([2000, 3000, 3000], abs=45)
    assert ends(1.0, 5, limit=0.25) == pytest.approx([1333, 4000], abs=45)
    assert ends(2.0, 5) == pytest.approx([1000, 1000], abs=25)
    assert ends(0.5) == pytest.approx([2000], abs=1)
    assert ends(0.5, 5) == pytest.approx([4000, 4000], abs=45)


def test_a_node_is_done_once_the_rest_fits_into_the_buffers_of_the_way() -> None:
    run = Run()
    for source in (0, 7):
        run.send(f"{source}", source, WAYS.sends(source, 1 << 3), 1000)
    assert max(run.end().values()) == pytest.approx(2000)
    # Of one router on the way of both, and of three more from core 0; packets of 10 leave 4 flits of each empty.
    assert run.sent["7"] == pytest.approx(2 * (1000 - 2 * 60), abs=30)
    assert run.sent["0"] == pytest.approx(2 * (1000 - 4 * 60), abs=30)


def test_the_next_transfer_passes_where_its_way_parts_from_what_waits() -> None:
    """50 flits wait at core 3 for those of core 7; what goes on to core 1 does not wait, what goes to core 3 does."""
    for dest, waits in ((1, False), (3, True)):
        run = Run()
        run.send("first", 0, WAYS.sends(0, 1 << 3), 100)
        run.send("next", 0, WAYS.sends(0, 1 << dest), 50)
        run.send("beside", 7, WAYS.sends(7, 1 << 3), 1000)
        run.end()
        assert run.came["first", 3] == pytest.approx(200, abs=15)
        assert run.came["next", dest] == pytest.approx(300 if waits else 150, abs=15)


def test_what_waits_holds_up_others_that_come_by_the_same_buffers() -> None:
    """Those of cores 0 and 4 share a buffer at core 7, of which the first wait for core 11."""
    alone, beside = Run(), Run()
    for run in (alone, beside):
        run.send("through", 5, WAYS.sends(5, 1 << 7), 1000)
        run.send("held", 4, WAYS.sends(4, 1 << 11), 1000)
    for core in (8, 9, 15):
        beside.send(f"{core}", core, WAYS.sends(core, 1 << 11), 1000)
    assert alone.end()["through", 7] == pytest.approx(2000, abs=30)
    assert beside.end()["through", 7] > 2500


def test_a_multicast_comes_to_a_free_branch_before_it_comes_to_a_busy_one() -> None:
    run = Run()
    run.send("row", 0, WAYS.sends(0, 0b1111), 60)
    run.send("beside", 7, WAYS.sends(7, 1 << 3), 1000)
    run.end()
    assert [run.came["row", core] for core in range(4)] == pytest.approx([60, 60, 60, 120], abs=12)


def test_a_multicast_starts_where_there_is_room_for_all_of_a_packet() -> None:
    """Two packets of 32 flits fill the buffer before core 3; the third one comes nowhere until the first one is gone,
    where a unicast would leave while that does."""
    run = Run()
    run.send("beside", 7, WAYS.sends(7, 1 << 3), 320, packet=32.0)
    run.send("pair", 0, WAYS.sends(0, 0b1100), 128, packet=32.0)
    run.end()
    assert run.came["pair", 2] == pytest.approx(160, abs=1)


def test_instructions_wait_for_what_the_memory_was_asked_for_alone() -> None:
    run = Run()
    run.send("data", 16, WAYS.loads(0, 1), 1024, packet=32.0)
    run.ask("program", 0, 0, 16, 96.0, program=True)
    run.end()
    assert run.came["program", 0] == pytest.approx(96 + 512 + 16)
    assert run.came["data", 0] == pytest.approx(1040)


def test_requests_beyond_the_queue_of_a_memory_node_hold_up_what_comes_behind_them() -> None:
    """It has asked for 16 bursts, queues 16 LOADs and holds 4 more; the first one of 36 flits is there at once."""

    def written(loads: int) -> float:
        run = Run()
        for number in range(loads):
            run.ask(f"{number}", 0, 0, 320, 0.0)
        run.at(200.0, run.network.send, 4, run.transfer("store", WAYS.stores(4, 0), 10), 200.0)
        return run.end()["store", MEMORY]

    assert written(10) == pytest.approx(210)
    assert written(18) == pytest.approx(210)
    assert written(24) > 1000


def test_an_estimate_tells_the_load_of_every_link() -> None:
    load = encode(
        Opcode.LOAD, cores=0b1010, runs=3, run_flits=50, space=Space.ACT, traffic=TrafficClass.IFMAP, memory=1
    )
    idle = estimate(Program({}), MULTICAST, QUICK, EXACT).link_flits
    busy = estimate(Program({(0, Unit.LOAD): [load]} | stores({"core": 2})), MULTICAST, QUICK, EXACT).link_flits
    assert list(idle) == list(links(MULTICAST))
    more = {link: flits - idle[link] for link, flits in busy.items() if flits != idle[link]}
    south = {link for link in more if more[link] == PIXELS}
    assert south == set(multicast_links(MULTICAST, 0, [2]))
    node = MULTICAST.memory_node_id(1)
    assert {link for link in more if more[link] == 150} == set(multicast_links(MULTICAST, node, [1, 3]))
    asked = set(multicast_links(MULTICAST, 0, [node]))
    assert {link for link in more if more[link] % 50 == 2} == asked
    assert Link(0, 0, links(MULTICAST)[0].port) in idle
