"""Launches shared by several simulators: the same bits, cycles and counters as in one, and one that fails ends all."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import tb.run.preparation
from golden.int8 import ops
from rtl.contract.codec import decode, encode
from rtl.contract.isa import INSTRUCTION_BYTES, Opcode
from scheduler import Plan, schedule
from tb.model.build import build_model, emit_chip
from tb.run.launches import Launches, units_of
from tb.run.options import RunOptions
from tb.run.run import Run
from tb.run.rundir import RunDir
from tb.run.workload import Workload, load_workload
from tb.sim.job import MemoryFile, ProcessJob
from tb.sim.session import run_job
from tb.sim.settings import MemorySettings
from tests.cases import CHIPS, random_case
from tests.cosim.test_run import Recorder
from tests.faults.kills import simulators
from tests.onnx_models import host_model

CHIP = CHIPS["2x1_16x4"]


@pytest.fixture
def options(tmp_path: Path) -> RunOptions:
    return RunOptions("test", CHIP, runs_dir=tmp_path, optimise=False, jobs=2)


@pytest.fixture(scope="module")
def lenet5() -> Workload:
    return load_workload("lenet5")


def _host(folder: Path) -> Workload:
    (folder / "model.onnx").write_bytes(host_model(0).SerializeToString())
    return load_workload(str(folder / "model.onnx"))


def _concat(folder: Path) -> Workload:
    """With a concatenation that takes two launches to copy."""
    for seed in range(50):
        case = random_case(seed, kind="concat", chip=CHIP, budget_macs=20_000)
        if any(not step.nodes for step in schedule(case.graph, CHIP).steps):
            return Workload(case.graph, case.image, ops.run(case.graph, case.image), 0.0)
    raise AssertionError("no such case")


WORKLOADS: dict[str, Callable[[Path], Workload]] = {
    "lenet5": lambda _: load_workload("lenet5"), "host": _host, "concat": _concat,
}  # fmt: skip


def _facts(launches: Path) -> dict[str, Any]:
    """What every launch of a folder left: outcome, all counters, and the bytes of its tensors."""
    found: dict[str, Any] = {}
    for folder in sorted(launches.iterdir()):
        result = json.loads((folder / "result.json").read_text())
        arrays = {file.name: np.load(file).tobytes() for file in folder.glob("[!.]*.npy")}
        found[folder.name] = (result["outcome"], result["counters"], result["stray_bytes"], arrays)
    return found


def _alone(workload: Workload, options: RunOptions) -> dict[str, Any]:
    """Every unit in a simulator of its own."""
    plan = schedule(workload.graph, options.chip, options.settings)
    image = options.runs_dir / "memory.npy"
    np.save(image, plan.memory_image(workload.image))
    model = build_model(emit_chip(options.chip), optimise=False)
    with RunDir(options.runs_dir / "alone", "alone") as folder:
        launches = Launches(plan, workload.expected, folder, watchdog_cycles=options.watchdog_cycles)
        for unit in units_of(plan):
            jobs = tuple(launches.jobs(unit, follows=False))
            job = ProcessJob(options.chip, plan.dram_bytes, jobs, (MemoryFile(0, image),), options.settings)
            run_job(model, job, folder.work)
        return _facts(folder.path / "launches")


@pytest.mark.parametrize("kind", WORKLOADS)
def test_cycles_and_all_counters_are_those_of_one_process(kind: str, options: RunOptions, tmp_path: Path) -> None:
    """Of two processes, and of one for each launch; with a bandwidth at which bursts of two nodes drift apart."""
    workload = WORKLOADS[kind](tmp_path)
    options = replace(options, settings=MemorySettings(latency_cycles=50, bytes_per_cycle=9.5))
    found = []
    for jobs in (1, 2):
        recorder = Recorder()
        run = replace(options, jobs=jobs, name=f"jobs{jobs}")
        summary = Run(run, lambda: workload, kind, recorder).execute()
        assert summary.bit_exact
        assert summary.processes == jobs
        assert sorted(recorder.simulated) == list(range(recorder.total))
        found.append(_facts(tmp_path / run.name / "launches"))
    assert found[0] == found[1]
    assert found[0] == _alone(workload, options)


def test_default_is_one_process_for_so_few_cycles(lenet5: Workload, options: RunOptions) -> None:
    assert Run(replace(options, jobs=None), lambda: lenet5, "lenet5").execute().processes == 1


def test_wrong_bit_ends_all_processes_and_finished_launches_are_kept(lenet5: Workload, options: RunOptions) -> None:
    wrong = lenet5.expected["fc3"].copy()
    wrong[2] ^= 1
    summary = Run(options, lambda: replace(lenet5, expected={**lenet5.expected, "fc3": wrong}), "lenet5").execute()
    assert summary.failure is not None
    assert summary.failure.startswith("fc3: a bit differs")
    assert not summary.bit_exact
    assert summary.first_difference is not None
    assert summary.first_difference.startswith("fc3: channel 2, ")
    finished = [layer.name for layer in summary.layers]
    assert finished[-1] == "fc3"
    recorder = Recorder()
    assert Run(options, lambda: lenet5, "lenet5", recorder).execute().bit_exact
    assert len(recorder.was_kept) >= len(finished)
    assert sorted(recorder.was_kept + recorder.simulated) == list(range(recorder.total))


def test_interrupt_ends_all_processes_and_finished_launches_are_kept(lenet5: Workload, options: RunOptions) -> None:
    with pytest.raises(KeyboardInterrupt):
        Run(options, lambda: lenet5, "lenet5", Recorder(interrupt_after=1)).execute()
    assert simulators(options.runs_dir / options.name) == []
    recorder = Recorder()
    assert Run(options, lambda: lenet5, "lenet5", recorder).execute().bit_exact
    assert 1 in recorder.was_kept


def test_first_failure_in_the_order_of_the_plan_is_reported(lenet5: Workload, options: RunOptions) -> None:
    assert Run(options, lambda: lenet5, "lenet5").execute().bit_exact
    outputs = {node.output for node in lenet5.graph.nodes if node.name in ("fc2", "pool2")}
    expected = {name: tensor ^ (name in outputs) for name, tensor in lenet5.expected.items()}
    summary = Run(options, lambda: replace(lenet5, expected=expected), "lenet5").execute()
    assert summary.failure == "conv2+pool2: a bit differs"
    assert summary.first_difference is not None
    assert summary.first_difference.startswith("conv2+pool2: channel 0, row 0, column 0: ")
    assert [layer.bit_exact for layer in summary.layers] == [True, False, True, False, True]


def test_launch_that_ends_in_an_error_ends_all_processes(lenet5: Workload, options: RunOptions) -> None:
    summary = Run(replace(options, watchdog_cycles=40), lambda: lenet5, "lenet5").execute()
    assert summary.failure is not None
    first, *cores = summary.failure.splitlines()
    name, _, text = first.partition(": ")
    assert name in {"conv1+pool1", "conv2+pool2", "fc1", "fc2", "fc3"}
    assert text.startswith("WATCHDOG")
    assert len(cores) == CHIP.n_cores
    assert summary.layers == []


def _with_a_stray_store(plan: Plan, launch: str, target: int, rng: np.random.Generator) -> Plan:
    """The plan with another address in one STORE of a launch."""
    (program,) = (segment for segment in plan.segments if segment.label == f"{launch} program")
    data = program.data.copy()
    words = data.reshape(-1, INSTRUCTION_BYTES)
    stores = [number for number, word in enumerate(words) if decode(word.tobytes())[0] == Opcode.STORE]
    changed = rng.choice(stores)
    _, fields = decode(words[changed].tobytes())
    fields.pop("opcode")
    words[changed] = np.frombuffer(encode(Opcode.STORE, **fields | {"addr": target}), np.uint8)
    others = tuple(segment for segment in plan.segments if segment is not program)
    return replace(plan, segments=(*others, replace(program, data=data)))


@pytest.mark.parametrize("jobs", [1, 2])
@pytest.mark.parametrize("seed", [1, 2])
def test_store_to_a_wrong_address_is_noticed_and_named(
    seed: int, jobs: int, lenet5: Workload, options: RunOptions, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Over constants of a later launch; the output that it should have written stays poison."""
    rng = np.random.default_rng(seed)
    launch = str(rng.choice(["conv1+pool1", "conv2+pool2", "fc1"]))
    victim = f"{rng.choice(['fc2', 'fc3'])} {rng.choice(['weights', 'parameters', 'program'])}"
    addresses: list[int] = []

    def tampered(*arguments: Any, **more: Any) -> Plan:
        plan = schedule(*arguments, **more)
        addresses.append(next(segment.addr for segment in plan.segments if segment.label == victim))
        return _with_a_stray_store(plan, launch, addresses[0], rng)

    monkeypatch.setattr(tb.run.preparation, "schedule", tampered)
    summary = Run(replace(options, jobs=jobs), lambda: lenet5, "lenet5").execute()
    assert summary.failure is not None
    line = r"(.*): wrote (\d+) bytes outside its outputs, the first at 0x([0-9a-f]{8}) \((.*)\)"
    found = re.fullmatch(line, summary.failure)
    assert found is not None, summary.failure
    assert found[1] == launch
    assert int(found[2]) > 1
    assert 0 <= int(found[3], 16) - addresses[0] < 16  # bytes that were right by chance have not changed
    assert found[4] == victim
    assert launch not in [layer.name for layer in summary.layers]
