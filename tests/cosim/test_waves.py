"""Waves of a run: what a dump and its sessions hold, and the way from a failure to them, by the printed command."""

from __future__ import annotations

import re
import shlex
import subprocess
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from pywellen import Waveform  # pyright: ignore[reportAttributeAccessIssue] - the package tells no types

from tb import cli
from tb.errors import BenchError
from tb.model.build import Design, emit_chip
from tb.model.units import Units
from tb.report.viewers import CYCLE_PS, read_signals
from tb.run import request
from tb.run.launches import Launches
from tb.run.options import RunOptions
from tb.run.run import Run
from tb.run.waves import Waves, parse_waves
from tb.run.workload import Workload, load_workload
from tb.sim.job import MemoryFile
from tests.cases import CHIPS

ROOT = Path(__file__).parents[2]
CHIP = CHIPS["2x1_16x4"]
LAYERS = "conv2..pool2"


@pytest.fixture(scope="module")
def workload() -> Workload:
    return load_workload("lenet5", layers=LAYERS)


@pytest.fixture(scope="module")
def design() -> Design:
    return emit_chip(CHIP)


Record = Callable[[Waves | None], tuple[int, list[Path]]]


@pytest.fixture(scope="module")
def record(workload: Workload, tmp_path_factory: pytest.TempPathFactory) -> Record:
    """Runs with waves or without; the cycles and the dumps."""

    def run(waves: Waves | None) -> tuple[int, list[Path]]:
        options = RunOptions(
            "run", CHIP, runs_dir=tmp_path_factory.mktemp("runs"), optimise=False, waves=waves, schedule="layers"
        )
        summary = Run(options, lambda: workload, "lenet5").execute()
        assert summary.bit_exact
        assert summary.failed_launch is None
        return summary.cycles, [options.folder / dump for dump in summary.waves]

    return run


def _times(dump: Path) -> list[int]:
    """The times at which anything changes, in ps."""
    times: list[int] = []
    Waveform(str(dump)).stream_changes(lambda time, *_: times.append(time), None)
    return sorted(set(times))


def _value(dump: Path, name: str, cycle: int) -> object:
    signals = {var.full_name: var.signal for var in Waveform(str(dump)).all_vars()}
    return signals[name].value_at(CYCLE_PS * cycle)


@pytest.fixture(scope="module")
def whole(record: Record) -> tuple[int, Path]:
    cycles, (dump,) = record(Waves())
    return cycles, dump


def test_waves_change_no_cycle_and_last_from_the_start_to_the_end(record: Record, whole: tuple[int, Path]) -> None:
    cycles, dump = whole
    assert record(None) == (cycles, [])
    times = _times(dump)
    assert (times[0], times[-1]) == (0, CYCLE_PS * cycles)
    running = "systomesh_tb.chip.control.running"
    assert [_value(dump, running, cycle) for cycle in (0, cycles - 1, cycles)] == [1, 1, 0]
    assert _value(dump, "systomesh_tb.chip.control.cycles", 100) == 100  # as the hardware counts


def test_a_window_has_only_its_cycles_and_a_scope_only_its_units(
    record: Record, whole: tuple[int, Path], design: Design
) -> None:
    cycles, (dump,) = record(Waves(300, 349, ("core1.compute",)))
    assert cycles == whole[0]
    times = _times(dump)
    assert 300 * CYCLE_PS <= times[0] < 301 * CYCLE_PS
    assert 349 * CYCLE_PS <= times[-1] < 350 * CYCLE_PS
    scope = Units(design.sources).scopes["core1.compute"]
    everything, recorded = ({signal.path for signal in read_signals(path)} for path in (whole[1], dump))
    assert recorded == {path for path in everything if path.startswith(f"{scope}.")}
    name = f"{scope}.streamer.busy"
    assert [_value(dump, name, at) for at in range(300, 350)] == [_value(whole[1], name, at) for at in range(300, 350)]
    assert dump.stat().st_size < whole[1].stat().st_size / 10


def test_a_window_behind_the_end_gives_no_dump(record: Record, whole: tuple[int, Path]) -> None:
    assert record(Waves(whole[0] + 10, whole[0] + 20)) == (whole[0], [])


def test_a_dump_holds_the_words_of_enumerations_and_no_memories(whole: tuple[int, Path]) -> None:
    variables = {var.full_name: var for var in Waveform(str(whole[1])).all_vars()}
    issue = "systomesh_tb.chip.core_0.logic.issue_compute"
    assert dict(variables[f"{issue}.state"].enum_type[1])["01"] == "WAIT"
    assert dict(variables[f"{issue}.opcode"].enum_type[1])["0101"] == "COMPUTE"
    assert not [name for name in variables if ".act.even.ram.mem" in name or "nameless" in name]


def test_sessions_name_only_signals_of_the_dump(whole: tuple[int, Path]) -> None:
    dump = whole[1]
    signals = {signal.path: signal.bits for signal in read_signals(dump)}
    lines = dump.with_suffix(".gtkw").read_text().splitlines()
    traced = [line.rpartition(" ")[2] for line in lines if line[:1].isalpha() or line.startswith("+")]
    assert traced
    for name, _, index in (line.partition("[") for line in traced):
        assert signals[name] == int(index.partition(":")[0] or 0) + 1
    groups = {line[1:] for line in lines if line.startswith("-")}
    assert groups >= {"chip", "memory0 bus", "core0", "core0.issue_load", "core1", "core1.compute", "memory0"}
    assert f'[dumpfile] "{dump.resolve()}"' in lines
    (zoom,) = (float(line.split()[0][1:]) for line in lines if line.startswith("*"))
    shown = 2**-zoom * 900 / 200  # GTKWave's zoom is of 200 pixels
    assert shown == pytest.approx(CYCLE_PS * whole[0], rel=0.001), "the whole launch in 900 pixels"
    surfer = [line.split() for line in dump.with_suffix(".sucl").read_text().splitlines()]
    assert {words[1] for words in surfer if words[0] == "variable_add"} <= signals.keys()
    assert ["divider_add", "core0.issue_load"] in surfer
    assert not [words for words in surfer if words[0] == "marker_set"]


def test_unknown_units_are_refused_before_anything_is_built(workload: Workload, tmp_path: Path) -> None:
    options = RunOptions("run", CHIP, runs_dir=tmp_path, waves=parse_waves("1", "core0.comput"))
    with pytest.raises(BenchError, match=r"SCOPE=core0.comput: core0 has no unit comput; give one of compute, issue_c"):
        Run(options, lambda: workload, "lenet5").execute()


# From a failure to its waves. -------------------------------------------------------------------------

Command = Callable[[Sequence[str]], int]


@pytest.fixture
def command(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Command:
    """Runs commands of `make sim` on the small chip, hardly optimised, in an empty folder; the exit status."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(request, "chip_of", lambda *_: CHIP)

    def run(words: Sequence[str]) -> int:
        shown = subprocess.run(["make", "-n", *words[1:]], cwd=ROOT, check=True, capture_output=True, text=True)
        arguments = shlex.split(next(line for line in shown.stdout.splitlines() if "tb.cli sim" in line))
        monkeypatch.setattr("sys.argv", arguments[arguments.index("tb.cli") :])
        with pytest.raises(SystemExit) as ended:
            cli.main()
        return int(ended.value.code or 0)

    return run


def _hardly_optimised(**options: Any) -> RunOptions:
    return RunOptions(**{**options, "optimise": False})


def _offered(text: str) -> list[str]:
    (line,) = [line for line in text.splitlines() if line.startswith("waves of conv2+pool2 around it: ")]
    return shlex.split(line.partition(": ")[2])


def test_a_wrong_bit_offers_its_waves_and_they_mark_it(
    command: Command, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture, tmp_path: Path
) -> None:
    whole_image = Launches.image

    def upset(self: Launches) -> MemoryFile:
        """A bit of the last weights is wrong in memory."""
        image = whole_image(self)
        weights = next(segment for segment in self.plan.segments if "weight" in segment.label)
        with image.path.open("r+b") as file:
            file.seek(weights.addr + weights.data.size // 2)
            file.write(bytes([int(weights.data.view("u1").reshape(-1)[weights.data.size // 2]) ^ 0x40]))
        return image

    monkeypatch.setattr(Launches, "image", upset)
    monkeypatch.setattr(request, "RunOptions", _hardly_optimised)
    assert command(["make", "sim", "NET=lenet5", f"LAYERS={LAYERS}", "SCHEDULE=layers", "LATENCY=30"]) == 1
    output = capsys.readouterr().out
    (cycle,) = re.findall(r"where to look first: cycle ([\d,]+) of conv2\+pool2", output)
    again = _offered(output)
    assert again[:-1] == ["make", "sim", "NET=lenet5", f"LAYERS={LAYERS}", "LATENCY=30", "SCHEDULE=layers"]
    first, last = map(int, again[-1].removeprefix("WAVES=").split(".."))
    assert command(again) == 1
    output = capsys.readouterr().out
    assert "waves of" not in output
    (dump,) = tmp_path.glob("runs/*/waves/*.fst")
    assert str(dump.relative_to(tmp_path)) in output
    times = _times(dump)
    assert first * CYCLE_PS <= times[0] <= times[-1] < (last + 1) * CYCLE_PS
    marker = next(line for line in dump.with_suffix(".sucl").read_text().splitlines() if line.startswith("cursor_set"))
    assert int(marker.split()[1]) == CYCLE_PS * (cycle := int(cycle.replace(",", "")))
    assert (first, last) == (cycle - 1000, cycle + 500)
    assert f" {CYCLE_PS * cycle} " in next(
        line for line in dump.with_suffix(".gtkw").read_text().splitlines() if line.startswith("*")
    )
    # In this cycle a beat of data went to memory.
    bus = "systomesh_tb.chip.m0_axi_w"
    assert (_value(dump, f"{bus}valid", cycle), _value(dump, f"{bus}ready", cycle)) == (1, 1)


def test_a_run_that_hangs_offers_its_waves(
    command: Command, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture, tmp_path: Path
) -> None:
    """A memory that takes longer to answer than the watchdog waits."""
    monkeypatch.setattr(request, "RunOptions", partial(_hardly_optimised, watchdog_cycles=300))
    assert command(["make", "sim", "NET=lenet5", f"LAYERS={LAYERS}", "SCHEDULE=layers", "LATENCY=1000"]) == 1
    output = capsys.readouterr().out
    assert "WATCHDOG" in output
    again = _offered(output)
    assert again[-1].startswith("WAVES=0..5")  # nothing moved behind the first fetches
    assert command([*again, "SCOPE=fetch"]) == 1
    (dump,) = tmp_path.glob("runs/*/waves/*.fst")
    assert {signal.scope.split(".")[-2] for signal in read_signals(dump)} >= {"fetch"}


@pytest.mark.slow
def test_all_waves_of_lenet5_are_small(tmp_path: Path) -> None:
    from tb.run.presets import preset_chip

    options = RunOptions("run", preset_chip(4), runs_dir=tmp_path, schedule="fused", waves=Waves())
    summary = Run(options, lambda: load_workload("lenet5"), "lenet5").execute()
    assert summary.bit_exact
    assert sum((options.folder / dump).stat().st_size for dump in summary.waves) < 20e6
