"""Sessions: launches in a simulator process, events, failures, continuation."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import numpy as np
import pytest

from rtl.contract.params import ChipParams
from tb.errors import RunError
from tb.model.build import SIMULATORS, Model, bench_sources
from tb.model.wrapper import TOP
from tb.sim.job import POISON, LaunchJob, LaunchResult, MemoryFile, ProcessJob, Recording, Region, save_job
from tb.sim.session import Simulator, run_job, run_test_module
from tests.cosim.cocotb_entry import HDL_DIR, run_with_cocotb_test
from tests.cosim.stand_in import MEMORY_BYTES, SOURCE, STAND_IN, TARGET

SIZE = 1024


def _chain(tmp_path: Path) -> tuple[np.ndarray, list[LaunchJob]]:
    """Two launches: the second copies on what the first wrote."""
    data = np.random.default_rng(3).integers(0, 256, SIZE, dtype=np.uint8)
    np.save(tmp_path / "data.npy", data)
    stops = [SOURCE, TARGET, TARGET + 0x10000]
    return data, [
        LaunchJob(f"hop{k}", stops[k], SIZE, tmp_path / f"hop{k}", (Region("out", stops[k + 1], SIZE),),
                  active_cores=stops[k + 1])
        for k in range(2)
    ]  # fmt: skip


def test_events_tell_every_launch_live(fast_stand_in_model: Model, tmp_path: Path) -> None:
    data, launches = _chain(tmp_path)
    events: list[dict] = []
    job = ProcessJob(ChipParams(), MEMORY_BYTES, tuple(launches), (MemoryFile(SOURCE, tmp_path / "data.npy"),))
    results = run_job(fast_stand_in_model, job, tmp_path / "work", events.append)
    assert [result.name for result in results] == ["hop0", "hop1"]
    kinds = [event["event"] for event in events if event["event"] != "progress"]
    assert kinds == ["ready", "start", "finish", "start", "finish"]
    np.testing.assert_array_equal(np.load(tmp_path / "hop1" / "out.npy"), data)


def test_interrupted_chain_goes_on_from_the_kept_regions(stand_in_model: Model, tmp_path: Path) -> None:
    data, launches = _chain(tmp_path)
    first = ProcessJob(ChipParams(), MEMORY_BYTES, (launches[0],), (MemoryFile(SOURCE, tmp_path / "data.npy"),))
    run_job(stand_in_model, first, tmp_path / "work")
    kept = MemoryFile(launches[1].program_base, launches[0].result_dir / "out.npy")
    run_job(stand_in_model, ProcessJob(ChipParams(), MEMORY_BYTES, (launches[1],), (kept,)), tmp_path / "work")
    np.testing.assert_array_equal(np.load(tmp_path / "hop1" / "out.npy"), data)


def test_launches_that_are_given_one_by_one_run_in_one_process(fast_stand_in_model: Model, tmp_path: Path) -> None:
    """Each is given when the one before has ended, from one pipe; closing it ends the process."""
    data, launches = _chain(tmp_path)
    job = ProcessJob(ChipParams(), MEMORY_BYTES, memory=(MemoryFile(SOURCE, tmp_path / "data.npy"),))
    kinds: list[str] = []
    with Simulator(fast_stand_in_model, job, tmp_path / "work") as simulator:
        waiting = iter(launches)

        def on_event(event: dict) -> None:
            kinds.append(event["event"])
            if event["event"] in ("ready", "finish"):
                launch = next(waiting, None)
                simulator.end() if launch is None else simulator.give(launch)

        simulator.listen(on_event)
        simulator.judge()
    assert [kind for kind in kinds if kind != "progress"] == ["ready", "start", "finish", "start", "finish"]
    np.testing.assert_array_equal(np.load(tmp_path / "hop1" / "out.npy"), data)


def test_every_byte_changed_outside_what_a_launch_may_write_is_found(stand_in_model: Model, tmp_path: Path) -> None:
    """Copies of random bytes, some of them what is there already, over random regions that they may change."""
    rng = np.random.default_rng(11)
    before = rng.integers(0, 4, MEMORY_BYTES, dtype=np.uint8)
    np.save(tmp_path / "before.npy", before)
    launches, expected = [], []
    for number in range(12 if stand_in_model.simulator == "verilator" else 3):
        size = int(rng.integers(1, 600)) * 16
        target = TARGET + int(rng.integers(0, 40)) * 256
        after = before.copy()
        after[target : target + size] = before[SOURCE : SOURCE + size]
        bounds = np.sort(rng.integers(target - 2000, target + size + 2000, 4)).tolist()
        allowed = (Region("a", bounds[0], bounds[1] - bounds[0]), Region("b", bounds[2], bounds[3] - bounds[2]))
        if number % 3 == 1:
            allowed = (Region("all", target, size),)
        strays = [
            address
            for address in np.flatnonzero(before != after).tolist()
            if not any(region.address <= address < region.end for region in allowed)
        ]
        expected.append((len(strays), strays[0] if strays else 0, not strays))
        launches.append(
            LaunchJob(
                f"copy{number}", SOURCE, size, tmp_path / f"copy{number}", active_cores=target, writes=allowed,
                memory=(MemoryFile(0, tmp_path / "before.npy"),),
            )
        )  # fmt: skip
    results = run_job(
        stand_in_model, ProcessJob(ChipParams(), MEMORY_BYTES, tuple(launches), keep_going=True), tmp_path / "work"
    )
    assert [(result.stray_bytes, result.stray_address, result.ok) for result in results] == expected
    assert {ok for _, _, ok in expected} == {False, True}
    if stand_in_model.simulator == "verilator":  # elsewhere nobody notes when memory is written
        assert [result.failed_cycle is not None for result in results] == [not ok for _, _, ok in expected]
        assert all(0 < result.failed_cycle <= result.cycles for result in results if result.failed_cycle is not None)


def test_what_a_launch_leaves_out_of_its_output_is_poison(fast_stand_in_model: Model, copy) -> None:
    rest = Region("rest", TARGET, 64)
    result, arrived, sent = copy(
        fast_stand_in_model, 32, clear=(rest,), writes=(rest,), regions=(Region("out", TARGET, 80),)
    )
    assert result.ok
    np.testing.assert_array_equal(arrived, [*sent[:32], *[POISON] * 32, *[0] * 16])


def test_hung_launch_ends_by_the_watchdog_with_the_state_of_every_unit(stand_in_model: Model, copy) -> None:
    result, arrived, _ = copy(stand_in_model, 0, watchdog_cycles=500)
    assert arrived is None
    assert result.outcome["error"] == "WATCHDOG"
    assert result.failed_cycle == result.cycles - 500
    assert len(result.debug) == ChipParams().n_cores
    assert set(result.debug[0]["units"]) == {"load", "compute", "store"}


def test_launch_without_watchdog_ends_at_the_limit_of_the_bench(fast_stand_in_model: Model, copy) -> None:
    result, _, _ = copy(fast_stand_in_model, 0, watchdog_cycles=0, limit_cycles=3000)
    assert result.outcome["status"] == "hung"
    assert result.cycles >= 3000


def test_failed_launch_stops_the_job(fast_stand_in_model: Model, tmp_path: Path) -> None:
    _, launches = _chain(tmp_path)
    bad = LaunchJob("bad", SOURCE, 0, tmp_path / "bad", watchdog_cycles=100)
    results = run_job(
        fast_stand_in_model, ProcessJob(ChipParams(), MEMORY_BYTES, (bad, launches[0])), tmp_path / "work"
    )
    assert [(result.name, result.ok) for result in results] == [("bad", False)]
    assert LaunchResult.load(launches[0].result_dir) is None


def test_counters_arrive_by_name(fast_stand_in_model: Model, copy) -> None:
    result, _, _ = copy(fast_stand_in_model, 16)
    # The stand-in answers with its selection plus 1000, and 1 in the high word.
    assert result.counters["core"][1]["compute_wait_act"] == 1000 + (1 << 8 | 1) + (1 << 32)
    assert len(result.counters["memory"]) == 2


PASSES = "@cocotb.test()\nasync def passes{}(dut): pass\n"
SKIPPED = "@cocotb.test(skip=True)\nasync def skipped(dut): pass\n"


@pytest.mark.parametrize(
    ("body", "ran"), [("", 0), (SKIPPED, 0), (PASSES.format(1) + PASSES.format(2), 2)], ids=["none", "skipped", "two"]
)
def test_module_with_another_number_of_executed_tests_fails(
    stand_in_model: Model, tmp_path: Path, body: str, ran: int
) -> None:
    (tmp_path / "other_tests.py").write_text(f"import cocotb\n{body}")
    run = partial(run_test_module, stand_in_model, "other_tests", tmp_path / "work", env={"PYTHONPATH": str(tmp_path)})
    none = r"0 of 0 tests failed \(1 expected\)|before it had a result"
    with pytest.raises(RunError, match="0 of 2" if ran else none):
        run()
    if ran:
        run(expected_tests=ran)


def test_dying_simulator_is_an_error_with_the_end_of_its_log(fast_stand_in_model: Model, tmp_path: Path) -> None:
    with pytest.raises(RunError, match="the simulator ended with status") as raised:
        run_test_module(fast_stand_in_model, "tb.sim.cocotb_job", tmp_path / "work", plusargs=["+job=/nowhere"])
    assert "\n" not in str(raised.value)
    assert raised.value.__notes__[0].startswith(f"end of {tmp_path / 'work' / 'sim.log'}:\n")


def test_waves_of_a_model_that_records_none_are_refused(fast_stand_in_model: Model, tmp_path: Path, copy) -> None:
    with pytest.raises(RunError, match="this model records no waves: build it with waves=True"):
        copy(fast_stand_in_model, 64, waves=Recording(tmp_path / "dump.fst"))


@pytest.mark.parametrize("simulator", SIMULATORS)
def test_bench_runs_from_cocotb_test(simulator: str, tmp_path: Path) -> None:
    data, launches = _chain(tmp_path)
    job = ProcessJob(ChipParams(), MEMORY_BYTES, tuple(launches), (MemoryFile(SOURCE, tmp_path / "data.npy"),))
    save_job(job, tmp_path / "job.pickle")
    wrapper = STAND_IN.wrapper(file_memory_bytes=MEMORY_BYTES if simulator == "icarus" else 0)
    (tmp_path / f"{TOP}.v").write_text(wrapper.verilog())
    run_with_cocotb_test(
        simulator,
        TOP,
        "tb.sim.cocotb_job",
        [tmp_path / f"{TOP}.v", *STAND_IN.sources, *bench_sources(wrapper)],
        tmp_path,
        expected_tests=1,
        compile_args=[str(HDL_DIR / "memory.cpp"), "-LDFLAGS", "-rdynamic"],
        plus_args=[f"+job={tmp_path / 'job.pickle'}"],
    )
    np.testing.assert_array_equal(np.load(tmp_path / "hop1" / "out.npy"), data)
    assert (tmp_path / "hop0" / "result.json").exists()


@pytest.mark.parametrize("body", ["", SKIPPED], ids=["none", "skipped"])
def test_bench_without_executed_tests_fails_from_cocotb_test(body: str, tmp_path: Path) -> None:
    (tmp_path / "no_tests_run_here.py").write_text(f"import cocotb\n{body}")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", str(tmp_path))
        with pytest.raises(AssertionError, match="0 tests ran, 0 failed; 1 expected"):
            run_with_cocotb_test(
                "icarus", "systomesh_axil_check", "no_tests_run_here", [HDL_DIR / "systomesh_bus_check.v"], tmp_path,
                expected_tests=1,
            )  # fmt: skip
