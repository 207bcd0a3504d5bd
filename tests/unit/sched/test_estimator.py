"""The estimator against hand-made programs, against the machine's traffic, and its fit against itself."""

from dataclasses import dataclass, replace
from math import inf
from types import SimpleNamespace

import numpy as np
import pytest

from estimator import Coefficients, EstimateError, MemoryTiming, estimate, fastest
from estimator.engines import setup_fields
from estimator.instructions import PLACED, TIMED, Instructions
from estimator.transfers import bursts
from golden.machine import Machine
from rtl.contract.codec import decode, encode
from rtl.contract.isa import INSTRUCTION_BYTES, LAYOUTS, Engine, Opcode, TrafficClass, Unit
from rtl.contract.params import ChipParams, CoreParams
from rtl.contract.routing import hops
from scheduler import schedule
from tests.cases import GraphBuilder, random_case
from tests.unit.sched.estimator.handmade import EXACT, FOUR, ONE, QUICK, SETUP, TWO, Handmade, compute, load

FETCHED = 3 * 2 * 16
"""Flits of instructions: two blocks of 8 for each unit of a core, whose ENDs come after it has asked for them."""
WAIT = (encode(Opcode.SYNC, wait0_first=5, wait0_count=1),)


def test_compute_takes_its_pixels() -> None:
    base = estimate(Handmade(ONE, compute=(SETUP,)), ONE, QUICK, EXACT).cycles
    got = estimate(Handmade(ONE, compute=(SETUP, compute(), compute())), ONE, QUICK, EXACT)
    drain = ONE.cores[0].rows + ONE.cores[0].cols
    assert got.cycles - base == pytest.approx(2 * 18 * 200 + drain, abs=70)  # 70: two more blocks of instructions
    assert got.compute["stream"] == 2 * 18 * 200


def test_loads_share_the_bandwidth_of_their_memory_node() -> None:
    got = estimate(Handmade(ONE, load=(load(), load())), ONE, QUICK, EXACT)
    assert got.memory_busy[0] * got.cycles == pytest.approx(2000 + FETCHED, abs=1)
    both = Handmade(ONE, (load(token_valid=1, token=5), load(token_valid=1, token=5)), (
        encode(Opcode.SYNC, wait0_first=5, wait0_count=1), encode(Opcode.SYNC, wait0_first=5, wait0_count=1)
    ))  # fmt: skip
    assert estimate(both, ONE, QUICK, EXACT).cycles == pytest.approx(2000, abs=120)


@pytest.mark.parametrize("to_core", [0, 1])
def test_a_pooled_store_takes_a_cycle_per_tap(to_core: int) -> None:
    pool = encode(Opcode.POOL, kernel_h=3, kernel_w=2, stride_h=2, stride_w=2, in_h=20, in_w=20, out_w=10)
    store = {"pixels": 100, "groups": 2, "lanes": 16, "to_core": to_core}
    plain = estimate(Handmade(ONE, store=(pool, *[encode(Opcode.STORE, **store)] * 3)), ONE, QUICK, EXACT)
    pooled = estimate(Handmade(ONE, store=(pool, *[encode(Opcode.STORE, **store, pooled=1)] * 3)), ONE, QUICK, EXACT)
    assert pooled.cycles - plain.cycles == pytest.approx(3 * 200 * 5, abs=40)  # fetches beside them
    assert pooled.dram_bytes == plain.dram_bytes


def test_every_group_of_a_store_is_traffic_and_takes_its_cycles() -> None:
    store = {"pixels": 100, "lanes": 16, "traffic": TrafficClass.OFMAP}
    one, three = (
        estimate(Handmade(ONE, store=(encode(Opcode.STORE, **store, groups=groups),)), ONE, QUICK, EXACT)
        for groups in (1, 3)
    )
    assert (one.dram_bytes["ofmap"], three.dram_bytes["ofmap"]) == (1600, 4800)
    assert three.cycles - one.cycles == pytest.approx(200)
    block = min(8, ONE.cores[0].queue_depth // 2)  # of instructions; END comes after two were asked for
    assert one.dram_bytes["program"] == 3 * 2 * block * INSTRUCTION_BYTES


def test_the_last_signal_of_a_compute_waits_for_the_array_to_drain() -> None:
    store = encode(Opcode.STORE, pixels=100, groups=1, lanes=16, wait0_first=5, wait0_count=1)

    def cycles(slot: int) -> float:
        signal = {f"signal{slot}_valid": 1, f"signal{slot}_token": 5, f"signal{slot}_core": 0}
        return estimate(Handmade(ONE, compute=(SETUP, compute(**signal)), store=(store,)), ONE, QUICK, EXACT).cycles

    assert cycles(2) - cycles(1) == pytest.approx(ONE.cores[0].rows + ONE.cores[0].cols)


def test_a_store_is_prepared_beside_the_drain_before_it() -> None:
    slow = replace(EXACT, store_start=40.0)
    store = encode(Opcode.STORE, pixels=100, groups=1, lanes=16)
    got = [estimate(Handmade(ONE, store=(store,) * n), ONE, QUICK, slow).cycles for n in (1, 2, 4)]
    assert got[1] - got[0] == pytest.approx(100)
    assert got[2] - got[1] == pytest.approx(200)


def test_waits_are_told_apart() -> None:
    program = Handmade(
        ONE, (load(token_valid=1, token=5),), (SETUP, compute(wait1_first=5, wait1_count=1)),
    )  # fmt: skip
    got = estimate(program, ONE, QUICK, EXACT)
    assert got.compute["wait_weight"] > 500  # its instructions come behind half of the load
    assert got.compute["wait_act"] == 0
    assert sum(got.compute.values()) == pytest.approx(got.cycles)


def test_instructions_without_work_are_overhead() -> None:
    sync = encode(Opcode.SYNC)
    program = Handmade(ONE, compute=(SETUP, sync, sync, compute()))
    got = estimate(program, ONE, QUICK, EXACT.with_values({"compute_issue": 5.0, "array.start": 7.0}))
    assert got.compute["overhead"] == 3 * 5 + 7
    assert sum(got.compute.values()) == pytest.approx(got.cycles)


ROUTERS = [hops(FOUR, 0, FOUR.memory_node_id(memory)) for memory in (0, 1)]
"""Between core 0 and each memory node."""
FAR = {"dram_addr": 0, "runs": 1, "run_flits": 100, "dram_stride": 0}
"""A load from the memory node that is not core 0's own."""


@pytest.mark.parametrize(
    ("coefficient", "times"),
    [
        ("launch_cycles", 1),
        ("fetch_latency", 1),
        ("request_latency", 1 + 1),
        ("read_latency", 1 + 1),
        ("hop_latency", 2 * sum(ROUTERS)),
        ("burst_gap", bursts(FOUR, FAR)),
    ],
)
def test_a_load_takes_each_part_of_its_way_and_of_its_instructions_way(coefficient: str, times: int) -> None:
    """Both are requests that go to a memory node and come back; so long after each other that they never meet there."""
    wait = encode(Opcode.SYNC, wait0_first=5, wait0_count=1)
    program = Handmade(FOUR, (load(memory=1, token_valid=1, token=5, **FAR),), (wait,))
    slow, slower = (estimate(program, FOUR, QUICK, replace(EXACT, **{coefficient: c})).cycles for c in (1e3, 2e3))
    assert slower - slow == pytest.approx(1e3 * times)


def test_a_core_ends_when_the_last_write_has_come_back() -> None:
    """Its flits and the acknowledgement are under way; so is what its program was before."""
    store = encode(Opcode.STORE, pixels=100, groups=1, lanes=16, memory=1, traffic=TrafficClass.OFMAP)
    program = Handmade(FOUR, store=(store,))
    slow, slower = (estimate(program, FOUR, QUICK, replace(EXACT, hop_latency=c)).cycles for c in (1e3, 2e3))
    assert slower - slow == pytest.approx(1e3 * (2 * sum(ROUTERS)))


def test_a_table_takes_a_cycle_for_each_entry() -> None:
    one, two = (estimate(Handmade(ONE, store=(encode(Opcode.TABLE),) * n), ONE, QUICK, EXACT).cycles for n in (1, 2))
    assert two - one == pytest.approx(256)


@pytest.mark.parametrize("chip", [ONE, FOUR])
def test_a_launch_waits_for_all_instructions_that_were_asked_for(chip: ChipParams) -> None:
    """Those behind its ENDs too: two blocks for each unit, all of the cores of a memory node one after the other."""
    most = max(chip.home_memory.count(node) for node in range(len(chip.memory_nodes)))
    assert estimate(Handmade(chip), chip, QUICK, EXACT).cycles == pytest.approx(most * FETCHED, abs=2)


@pytest.mark.parametrize("flits", [1, 4, 16])
def test_a_memory_node_has_so_many_bursts_under_way(flits: int) -> None:
    """Runs of a few flits wait for the memory's latency, each for the burst that was asked for so many before."""
    runs, latency = 64, 200
    wait = (encode(Opcode.SYNC, wait0_first=5, wait0_count=1),)
    program = Handmade(ONE, (load(runs=runs, run_flits=flits, token_valid=1, token=5),), wait)
    got = estimate(program, ONE, MemoryTiming(latency), EXACT).cycles
    least = runs * max(flits, (latency + 2 + flits) / ONE.outstanding_bursts)
    assert got - 2 * latency == pytest.approx(least, abs=FETCHED + 10)
    assert got - 2 * latency > least - 20


def test_latency_and_bandwidth_of_the_memory_count() -> None:
    program = Handmade(ONE, (load(token_valid=1, token=5),), (encode(Opcode.SYNC, wait0_first=5, wait0_count=1),))
    quick = estimate(program, ONE, QUICK, EXACT).cycles
    assert estimate(program, ONE, MemoryTiming(500), EXACT).cycles == pytest.approx(quick + 1000, abs=120)
    slow = estimate(program, ONE, MemoryTiming(0, ONE.link_bytes / 2), EXACT).cycles
    assert slow == pytest.approx(2 * quick, rel=0.1)


def test_a_store_waits_for_the_memory_that_loads_use() -> None:
    store = encode(Opcode.STORE, pixels=500, groups=1, lanes=16, traffic=TrafficClass.OFMAP)
    got = estimate(Handmade(ONE, store=(store,)), ONE, QUICK, EXACT)
    alone = got.cycles
    assert got.memory_busy[0] * alone == pytest.approx(500 + FETCHED, abs=1)
    busy = Handmade(ONE, (load(run_flits=3000),), store=(store,))
    assert estimate(busy, ONE, QUICK, EXACT).cycles - alone == pytest.approx(500, abs=80)


def test_a_deadlock_is_an_error() -> None:
    program = Handmade(ONE, compute=(encode(Opcode.SYNC, wait0_first=3, wait0_count=1),))
    with pytest.raises(EstimateError, match="deadlock: core 0 compute at 0"):
        estimate(program, ONE)


def test_a_deadlock_names_four_of_the_units_that_wait() -> None:
    wait = [encode(Opcode.SYNC, wait0_first=3, wait0_count=1), encode(Opcode.END)]
    program = SimpleNamespace(rates={}, streams={(core, unit): wait for core in range(2) for unit in Unit})
    named = "core 0 load at 0, core 0 compute at 0, core 0 store at 0, core 1 load at 0"
    with pytest.raises(EstimateError, match=f"deadlock: {named}$"):
        estimate(program, TWO)


@dataclass(frozen=True)
class Pair(Handmade):
    """Core 1 waits for token 9 before it ends."""

    @property
    def streams(self) -> dict[tuple[int, Unit], list[bytes]]:
        receiver = encode(Opcode.SYNC, wait0_first=9, wait0_count=1)
        return {**super().streams, (1, Unit.COMPUTE): [receiver, encode(Opcode.END)]}


def test_signals_reach_other_cores() -> None:
    sender = encode(Opcode.SYNC, signal0_valid=1, signal0_token=9, signal0_core=1)
    assert estimate(Pair(TWO, compute=(sender,)), TWO).cycles > 0


def test_a_store_to_a_core_gives_its_token_once_its_last_flit_is_there() -> None:
    target = {"to_core": 1, "core": 1, "token_valid": 1, "token": 9}
    program = Pair(TWO, store=(encode(Opcode.STORE, pixels=100, groups=1, lanes=16, **target),))
    alone = Handmade(TWO, store=(encode(Opcode.STORE, pixels=100, groups=1, lanes=16, to_core=1, core=1),))
    base = estimate(program, TWO, QUICK, EXACT).cycles
    assert base >= estimate(alone, TWO, QUICK, EXACT).cycles >= 100
    for delay in ("store_drain", "signal_latency"):
        assert estimate(program, TWO, QUICK, replace(EXACT, **{delay: 30.0})).cycles - base == pytest.approx(30)


def test_cores_that_store_to_the_same_one_wait_for_each_other() -> None:
    def cycles(*targets: int) -> float:
        """Of a launch in which the first cores store 1000 flits to these, more than the network holds."""
        streams = Handmade(TWO).streams
        for core, target in enumerate(targets):
            store = encode(Opcode.STORE, pixels=1000, groups=1, lanes=16, to_core=1, core=target)
            streams = {**streams, (core, Unit.STORE): [store, encode(Opcode.END)]}
        return estimate(SimpleNamespace(streams=streams, rates={}), TWO, QUICK, EXACT).cycles

    assert cycles(1, 0) + 800 < cycles(1, 1) <= cycles(1) + 1000


@pytest.mark.parametrize("seed", range(30))
def test_traffic_is_what_the_machine_moves(seed: int) -> None:
    case = random_case(seed, budget_macs=60_000)
    plan = schedule(case.graph, case.chip)
    memory = plan.memory_image(case.image)
    for launch in plan.launches:
        moved = estimate(launch, case.chip).dram_bytes
        result = Machine(case.chip).run(memory, launch.program_base, launch.program_stride)
        for traffic in (TrafficClass.WEIGHT, TrafficClass.IFMAP, TrafficClass.PSUM):
            assert moved[traffic.name.lower()] == result.read_bytes[:, traffic].sum()


@pytest.mark.parametrize("gap_cycles", [1.0, 100.0])
def test_a_layer_elsewhere_in_memory_has_the_same_estimate(gap_cycles: float) -> None:
    """Unless bursts cost something, which end at pages."""
    builder = GraphBuilder(np.random.default_rng(0), (16, 8, 8), 10**9)
    graph = builder.graph("net", builder.conv(builder.conv("in", 16, (1, 1)), 16, (1, 1)))
    first, second = schedule(graph, ONE).launches
    assert first.streams != second.streams
    assert estimate(first, ONE) is estimate(second, ONE)
    with_gaps = replace(EXACT, burst_gap=gap_cycles)
    aligned, split = (Handmade(ONE, (load(dram_addr=addr, token_valid=1, token=5),), WAIT) for addr in (0, 4096 - 64))
    assert estimate(aligned, ONE, QUICK, EXACT) == estimate(split, ONE, QUICK, EXACT)
    more = estimate(split, ONE, QUICK, with_gaps).cycles - estimate(aligned, ONE, QUICK, with_gaps).cycles
    assert more == pytest.approx(gap_cycles)


class Recorder(dict[str, int]):
    """Fields of an instruction, and those of them that were read."""

    def __init__(self, fields: dict[str, int]) -> None:
        super().__init__(fields)
        self.read: set[str] = set()

    def __getitem__(self, name: str) -> int:
        self.read.add(name)
        return super().__getitem__(name)


def test_fields_that_are_masked_out_are_never_read(monkeypatch: pytest.MonkeyPatch) -> None:
    """And all others are, by one program or another."""
    kept: list[tuple[Opcode, Recorder]] = []

    def recorded(raw: bytes) -> tuple[Opcode, Recorder]:
        opcode, fields = decode(raw)
        kept.append((opcode, Recorder(fields)))
        return kept[-1]

    monkeypatch.setattr("estimator.instructions.decode", recorded)
    window, array, sparse = (
        encode(Opcode.SETUP, engine=engine, kernel_w=3, window=1)
        for engine in (Engine.TAP, Engine.ARRAY, Engine.SPARSE)
    )
    pooled = encode(Opcode.STORE, pooled=1, to_core=1, token_valid=1)
    for program in (
        [array, compute()], [window, compute()], [sparse, compute()],
        [encode(Opcode.STORE)], [encode(Opcode.POOL), pooled], [load(token_valid=1)],
        *([encode(opcode)] for opcode in (Opcode.SYNC, Opcode.TABLE, Opcode.END)),
    ):  # fmt: skip
        chip = replace(ONE, cores=(CoreParams(multicast=True),))
        Instructions(chip, replace(EXACT, burst_gap=1.0)).program(0, iter(program))
    for opcode, layout in LAYOUTS.items():
        everywhere = {name for name, _ in layout if name.startswith(("wait", "signal"))}
        timed = TIMED.get(opcode, set()) | (PLACED if opcode == Opcode.LOAD else set())
        timed |= setup_fields() if opcode == Opcode.SETUP else set()
        assert set().union(*(fields.read for code, fields in kept if code == opcode)) - everywhere == timed, opcode


@pytest.mark.parametrize("alike", [0.0, 0.01, 0.3])
@pytest.mark.parametrize("seed", range(8))
def test_fastest_is_the_first_of_the_least_estimates_and_of_those_alike_the_one_of_fewest_bytes(
    seed: int, alike: float
) -> None:
    rng = np.random.default_rng((seed, round(100 * alike)))  # others each time: estimates are kept
    programs = []
    for _ in range(6):
        sizes, heights = rng.integers(1, 400, 4).tolist(), rng.integers(1, 12, 4).tolist()
        loads = (load(run_flits=flits, token_valid=1, token=5) for flits in sizes)
        computes = (compute(out_h=height, wait0_first=5, wait0_count=1) for height in heights)
        programs.append(Handmade(ONE, tuple(loads), (SETUP, *computes)))
    programs += programs[::-1]
    found = fastest(programs, ONE, alike=alike)
    estimates = [estimate(program, ONE) for program in programs]
    limit = (1 + alike) * min(one.cycles for one in estimates)
    prices = [(sum(one.dram_bytes.values()), one.cycles) if one.cycles <= limit else (inf, inf) for one in estimates]
    assert found == prices.index(min(prices))


def test_a_launch_that_can_no_longer_be_the_fastest_is_given_up() -> None:
    quick = Handmade(ONE, compute=(SETUP, compute()))
    slow = Handmade(ONE, compute=(SETUP, compute(), compute(), *WAIT))  # and would wait for ever
    assert fastest([quick, slow], ONE) == 0
    with pytest.raises(EstimateError, match="deadlock"):
        fastest([slow, quick], ONE)


@pytest.mark.parametrize(("key", "value"), [("version", 7), ("extra", 1.0)])
def test_wrong_coefficient_files_are_refused(tmp_path, key: str, value: float) -> None:
    import json

    path = tmp_path / "coefficients.json"
    Coefficients.load().save(path)
    assert Coefficients.load(path) == Coefficients.load()
    table = json.loads(path.read_text())
    other = tmp_path / "other.json"
    other.write_text(json.dumps({**table, key: value}))
    with pytest.raises(ValueError, match="must be"):
        Coefficients.load(other)
