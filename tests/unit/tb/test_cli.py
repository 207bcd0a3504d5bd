"""The command line: bad input is one clear line and exit status 2, and leaves nothing behind."""

from __future__ import annotations

import json
import re
import shlex
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from golden.onnx_import import FloatModel, load_onnx
from golden.zoo import ZOO
from tb import cli
from tb.bench.campaign import Campaign, Case
from tb.cli import parse_shapes
from tb.errors import ToolError
from tb.model import toolchain
from tb.run.workload import FALLBACKS
from tests.onnx_faults import FAULTS
from tests.onnx_models import float_model, host_model, quantised_model
from tests.reports import make_record

ROOT = Path(__file__).parents[3]


def _run(monkeypatch: pytest.MonkeyPatch, *arguments: str) -> int:
    monkeypatch.setattr(sys, "argv", ["systomesh", *arguments])
    monkeypatch.setattr("signal.signal", lambda *_: None)
    with pytest.raises(SystemExit) as raised:
        cli.main()
    return int(raised.value.code or 0)


@pytest.fixture(autouse=True)
def no_build(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("SYSTOMESH_CACHE", str(tmp_path / "cache"))
    refusal = ToolError("no build in this test")
    monkeypatch.setattr("tb.run.preparation.emit_chip", lambda *_: (_ for _ in ()).throw(refusal))


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        (["--net", "vgg17"], "unknown network 'vgg17'; choose one of: alexnet, googlenet, lenet5"),
        (["--net", "lenet5", "--cores", "7777"], "CORES is 7777: it must be"),
        (["--net", "lenet5", "--sim", "modelsim"], "unknown simulator 'modelsim': use one of verilator, icarus"),
        (["--net", "lenet5", "--schedule", "alone"], "SCHEDULE=alone: use layers, fused, apart, or a .toml file"),
        (["--net", "lenet5", "--schedule", "apart", "--no-fuse"], "leave FUSE or SCHEDULE=apart out"),
        (["--net", "lenet5", "--chip", "nowhere.toml"], "cannot read chip file nowhere.toml: No such file"),
        (["--net", "lenet5", "--chip", "sparse2"], "unknown chip 'sparse2': use one of sparse1, sparse4, sparse16"),
        (["--net", "lenet5", "--chip", "bad.toml"], "bad.toml is not valid TOML"),
        (["--net", "lenet5", "--chip", "tiny.toml"], "tiny.toml: core.rows is 3"),
        (["--net", "lenet5", "--layers", "conv7"], "lenet5 has no layer 'conv7'"),
        (["--net", "lenet5", "--batch", "0"], "BATCH=0: give the number of pictures, 1 or more; or leave it out"),
        (["--net", "lenet5", "--batch", "four"], "BATCH=four: give the number of pictures, 1 or more"),
        (["--net", "lenet5", "--batch", "3", "--image", "a.png,b.png"], "IMAGE gives 2 pictures for BATCH=3; give 3"),
        (
            ["--net", "lenet5", "--batch", "2", "--schedule", "plan.toml"],
            "cannot read SCHEDULE=plan.toml: No such file",
        ),
        (["--net", "lenet5", "--weights", "part.npz"], "is missing"),
        (["--net", "lenet5", "--weights", "nowhere.npz"], "nowhere.npz"),
        (["--net", "lenet5", "--image", "nowhere.png"], "nowhere.png"),
        (["--net", "lenet5", "--latency", "0"], "memory latency is 0"),
        (["--net", "lenet5", "--jobs", "0"], "JOBS=0: give the number of simulator processes, 1 or more"),
        (["--net", "lenet5", "--jobs", "two"], "JOBS=two: give the number of simulator processes"),
        (["--net", "lenet5", "--jobs", "2", "--waves", "1"], "JOBS=2: WAVES= records one simulator"),
        (["--net", "lenet5", "--sim", "icarus", "--waves", "1"], "SIM=icarus: only Verilator records waves; leave"),
        (["--net", "lenet5", "--waves", "900..100"], "WAVES=900..100: give 1, or the first and the last cycle of a"),
        (["--net", "lenet5", "--scope", "core0"], "SCOPE= says what of the waves to record: give WAVES=1 or"),
        (["--net", "lenet5", "--schedule", "layers", "--launches", "2"], "LAUNCHES=2 goes with SCHEDULE=fused, not"),
        (["--net", "lenet5", "--schedule", "fused", "--launches", "0"], "LAUNCHES=0: give the number of launches, 1"),
        (["--net", "lenet5", "--schedule", "a.toml", "--launches", "2"], "SCHEDULE=a.toml says which layers share"),
        (["--net", "lenet5", "--schedule", "fused", "--launches", "9"], "LAUNCHES=9: 1 at most can be; tensors stay"),
        (["--net", "lenet5", "--bandwidth", "33"], "bandwidth is 33: the port of a memory node carries 16 bytes"),
        (["--net", "lenet5", "--energy", "cheap"], "ENERGY=cheap: give one of narrow, relative, wide, a .toml file"),
        (["--net", "lenet5", "--energy", "bad.toml"], "bad.toml is not valid TOML"),
        (["--net", "lenet5", "--energy", "prices.yaml"], "cannot read prices.yaml: No such file"),
        (["--net", "lenet5", "--energy", "tiny.toml"], "unknown constant 'core': it must be one of mac, maximum"),
        (["--net", "lenet5", "--name", "../up"], "name '../up': use letters"),
        (["--net", "lenet5", "--shape", "3,8,8"], "PERCENTILE and FALLBACK belong to an .onnx file, not to lenet5"),
        (["--net", "nowhere.onnx"], "NET=nowhere.onnx does not exist; give an .onnx file, or a network of the zoo"),
        (["--net", "models/net.pt"], "NET=models/net.pt does not exist; give an .onnx file, or a network of the zoo"),
        (["--net", "tiny.toml"], "NET=tiny.toml is no .onnx file, nor a list of layers (.csv, .yaml, .yml); export"),
        (["--net", "folder"], "NET=folder is a folder; give an .onnx file in it"),
        (["--net", "folder.onnx"], "NET=folder.onnx is a folder; give an .onnx file in it"),
        (["--net", "bad.onnx"], "'bad.onnx' is truncated or no ONNX file"),
        (["--net", "bad.onnx", "--shape", "3,y"], "SHAPE=3,y: give C,H,W such as 3,224,224; of several"),
        (["--net", "bad.onnx", "--seed", "3"], "SEED=3 makes no sense: bad.onnx holds its weights; leave it out"),
        (["--net", "bad.onnx", "--prune", "0.3"], "PRUNE=0.3 makes no sense: bad.onnx holds its weights; leave it"),
        (["--net", "lenet5", "--prune", "han2015"], "PRUNE=han2015 has densities for alexnet and vgg16 of the zoo"),
        (["--net", "lenet5", "--prune", "2"], "PRUNE=2: a density must be above 0 and at most 1; 0.3 keeps 30 %"),
        (["--net", "lenet5", "--prune", "part.npz"], "mask 'other' is of no weights of lenet5; name masks like"),
        (["--net", "lenet5"], "no build in this test"),
    ],
)
def test_bad_input_is_one_line_and_status_2(
    arguments: list[str], line: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture, tmp_path: Path
) -> None:
    for folder in ("folder", "folder.onnx"):
        (tmp_path / folder).mkdir()
    (tmp_path / "bad.toml").write_text("mesh_width = = 2")
    (tmp_path / "bad.onnx").write_text("not a model")
    (tmp_path / "tiny.toml").write_text("[core]\nrows = 3\n")
    np.savez(tmp_path / "part.npz", other=np.zeros(1))
    assert _run(monkeypatch, "sim", *arguments) == 2
    error = capsys.readouterr().err
    assert line in error
    assert error.count("\n") == 1
    assert not (tmp_path / "runs").exists()


def test_energies_need_no_build_and_prices_come_back_as_a_table(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture, tmp_path: Path
) -> None:
    assert _run(monkeypatch, "energy", "--cores", "1", "--energy", "wide", "--ert", "prices.yaml") == 0
    capsys.readouterr()
    given = ["--nets", "lenet5", "--cores", "1", "--energy", "prices.yaml", "--out", "table"]
    assert _run(monkeypatch, "energy", *given) == 0
    lines = [line.partition(", ")[2] for line in capsys.readouterr().out.splitlines() if line.startswith("lenet5")]
    told = dict(line.split(": ", 1) for line in lines)
    assert list(told) == ["prices", "narrow", "relative", "wide"]
    assert told["prices"] == told["wide"] != told["narrow"]
    assert (tmp_path / "table.md").read_text().count("| lenet5 |") == 4
    assert _run(monkeypatch, "energy", "--nets", "lenet6") == 2
    assert "NETS=lenet6: use some of alexnet" in capsys.readouterr().err


def test_make_passes_its_options_on(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture) -> None:
    command = [
        "make", "-n", "sim", "NET=lenet5", "CORES=2", "FUSE=0", "OVERLAP=0", "FRESH=1", "MEMORIES=0", "LATENCY=0",
        "JOBS=3", "LAUNCHES=2", "WAVES=1..2",
    ]  # fmt: skip
    printed = subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True).stdout
    arguments = shlex.split(next(line for line in printed.splitlines() if "tb.cli sim" in line))
    arguments = arguments[arguments.index("sim") :]
    assert arguments == [
        "sim", "--net", "lenet5", "--cores", "2", "--launches", "2", "--latency", "0", "--jobs", "3",
        "--waves", "1..2", "--no-fuse", "--no-overlap", "--no-memories", "--fresh",
    ]  # fmt: skip
    assert _run(monkeypatch, *arguments) == 2
    assert "memory latency is 0" in capsys.readouterr().err


def test_make_refuses_switches_that_are_neither_on_nor_off() -> None:
    done = subprocess.run(["make", "-n", "sim", "NET=lenet5", "OVERLAP=2"], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1
    assert "OVERLAP=2: give 1 or 0" in done.stderr


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        (["export"], "give TOOL=scalesim|zigzag|stream|timeloop|onnxim|maestro and OUT=folder"),
        (["export", "--tool", "gem5", "--out", "dir"], "unknown tool 'gem5'; choose one of scalesim, zigzag"),
        (["export", "--tool", "zigzag", "--net", "no.csv", "--out", "dir"], "NET=no.csv does not exist"),
        (["export", "--tool", "zigzag", "--net", "net.csv", "--out", "net.csv"], "cannot write net.csv"),
        (["export", "--tool", "stream", "--net", "net.csv", "--run", "--out", "dir"], "Stream is no package of PyPI"),
        (["export", "--tool", "timeloop", "--net", "deep.csv", "--out", "dir"], "Timeloop takes no layer of deep.csv"),
        (["sim", "--net", "bad.csv"], "bad.csv: unknown column 'depth'"),
        (["calibrate", "--tools", "scalesim"], "give TOOLS=scalesim and RESULTS=folder, of make export"),
        (["calibrate", "--kernels", "some"], "KERNELS=some: give quick or full"),
        (["calibrate", "--mappings", "3"], "MAPPINGS=3 judges what the scheduler chooses"),
        (["calibrate", "--tools", "scalesim", "--results", "dir"], "RESULTS=dir is no folder"),
        (["calibrate", "--tools", "gem5", "--results", "dir"], "unknown tool 'gem5'"),
    ],
)
def test_other_peoples_models_are_refused_in_one_line_and_status_2(
    arguments: list[str], line: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    columns = "Layer, IFMAP Height, IFMAP Width, Filter Height, Filter Width, Channels, Num Filter, Strides\n"
    Path("net.csv").write_text(columns + "a, 6, 6, 3, 3, 4, 8, 1\n")
    Path("deep.csv").write_text(columns + "DP, 6, 6, 3, 3, 4, 1, 1\n")
    Path("bad.csv").write_text("Layer, IFMAP Height, Depth\na, 1, 1\n")
    assert _run(monkeypatch, *arguments) == 2
    error = capsys.readouterr().err
    assert line in error
    assert error.count("\n") == 1


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        (["--out", "plan.png"], "OUT=plan.png: give a .toml file for the schedule, an .svg file for its picture"),
        (["--out", "plan.toml", "--core", "1"], "CORE=1 is of the picture; give an .svg file, too, or leave it out"),
        (["--out", "plan.svg", "--core", "4"], "CORE=4: the chip has cores 0 to 3"),
        (["--schedule", "layers", "--out", "a.toml"], "OUT=a.toml: SCHEDULE=layers is drawn alone; give an .svg file"),
        (["--schedule", "layers", "--launches", "2", "--out", "a.svg"], "LAUNCHES=2 goes with SCHEDULE=fused"),
        (["--batch", "0"], "BATCH=0: give the number of pictures, 1 or more"),
        (["--batch", "2", "--launches", "2"], "LAUNCHES=2 goes with one picture, not with BATCH=2; leave one of"),
        (["--launches", "9"], "LAUNCHES=9: 1 at most can be; tensors stay"),
    ],
)
def test_schedules_that_cannot_be_written_are_one_line_and_status_2(
    arguments: list[str], line: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture, tmp_path: Path
) -> None:
    assert _run(monkeypatch, "schedule", "--net", "lenet5", *arguments) == 2
    error = capsys.readouterr().err
    assert line in error
    assert error.count("\n") == 1
    assert not list(tmp_path.rglob("*.svg")) + list(tmp_path.rglob("*.toml"))


def test_a_schedule_and_its_picture_are_of_one_plan(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    """What somebody edits is drawn as edited."""
    options = ("schedule", "--net", "lenet5", "--core", "3", "--out")
    assert _run(monkeypatch, *options, "plan.svg,plan.toml") == 0
    written, drawn = Path("plan.toml"), Path("plan.svg").read_text()
    assert [line.split()[0] for line in capsys.readouterr().out.splitlines()] == ["schedule:", "picture:"]
    assert "6 layers in 1 launch, " in drawn
    assert "conv1: 6 x" not in drawn
    stays = '"pool2", split = [1, 4], output = '
    edited = written.read_text().replace(f'{stays}"whole"', f'{stays}"dram"')
    assert edited != written.read_text()
    written.write_text(edited)
    assert _run(monkeypatch, *options, "edited.svg", "--schedule", "plan.toml") == 0
    assert "pool2: 16 x 5 x 5 in DRAM" in Path("edited.svg").read_text()
    assert "pool2: 16 x 5 x 5 in DRAM" not in drawn


def test_the_schedule_of_a_batch_is_of_that_batch_alone(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    assert _run(monkeypatch, "schedule", "--net", "lenet5", "--batch", "4", "--out", "plan.svg,plan.toml") == 0
    assert "run it with make sim NET=lenet5 SCHEDULE=plan.toml BATCH=4" in capsys.readouterr().out
    assert "4 pictures" in Path("plan.svg").read_text()
    assert "@1..4" in Path("plan.svg").read_text()
    assert _run(monkeypatch, "sim", "--net", "lenet5", "--schedule", "plan.toml") == 2
    line = "SCHEDULE=plan.toml: it is a schedule of batch = 4, not of one picture; give BATCH=4, or write another"
    assert line in capsys.readouterr().err


def _onnx(path: Path, change: Callable[[onnx.ModelProto], object] = lambda _: None) -> None:
    """A QLinear model with a change."""
    model, _ = quantised_model(0, power_of_two=False, qdq=False, unsigned=False)
    change(model)
    path.write_bytes(model.SerializeToString())


def _refused(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture, *arguments: str) -> str:
    """The one line that a refusal prints."""
    assert _run(monkeypatch, "sim", *arguments) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    assert not Path("runs").exists()
    return error


@pytest.mark.parametrize("fallback", FALLBACKS)
@pytest.mark.parametrize("fault", FAULTS)
def test_faulty_onnx_file_is_one_line_and_status_2(
    fault: str, fallback: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture, tmp_path: Path
) -> None:
    change, line = FAULTS[fault]
    _onnx(tmp_path / "model.onnx", change)
    assert re.search(line, _refused(monkeypatch, capsys, "--net", "model.onnx", "--fallback", fallback))


def test_truncated_onnx_file_is_one_line_and_status_2(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture, tmp_path: Path
) -> None:
    _onnx(tmp_path / "model.onnx")
    content = (tmp_path / "model.onnx").read_bytes()
    (tmp_path / "model.onnx").write_bytes(content[: len(content) // 2])
    assert "'model.onnx' is truncated or no ONNX file" in _refused(monkeypatch, capsys, "--net", "model.onnx")


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        (["--shape", "9,9,9"], r"input 'image' has shape \(1, .*\), which SHAPE=\(9, 9, 9\) does not fit"),
        (["--fallback", "gpu"], "FALLBACK=gpu: use host or refuse"),
        (["--percentile", "99"], "model.onnx is quantised already: leave CALIBRATION and PERCENTILE out"),
        (["--image", "nowhere.npy"], "input 'nowhere.npy' does not exist; check IMAGE"),
        (["--image", "text.npy"], "input 'text.npy' is no .npy file of numbers"),
        (["--image", "small.npy"], r"input 'small.npy' has shape \(2, 2\); the network takes \("),
        (["--image", "nan.npy"], "input 'nan.npy' holds something else than finite numbers"),
        (["--layers", "nothing"], "has no layer 'nothing'"),
    ],
)
def test_option_that_does_not_fit_an_onnx_file_is_one_line_and_status_2(
    arguments: list[str], line: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture, tmp_path: Path
) -> None:
    _onnx(tmp_path / "model.onnx")
    (tmp_path / "text.npy").write_text("not an array")
    np.save(tmp_path / "small.npy", np.zeros((2, 2), np.float32))
    np.save(tmp_path / "nan.npy", np.full((2, 2), np.nan, np.float32))
    assert re.search(line, _refused(monkeypatch, capsys, "--net", "model.onnx", *arguments))


def test_unsupported_node_is_refused_with_the_way_out_and_taken_with_the_fallback(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture, tmp_path: Path
) -> None:
    (tmp_path / "model.onnx").write_bytes(host_model(0).SerializeToString())
    refused = _refused(monkeypatch, capsys, "--net", "model.onnx", "--fallback", "refuse")
    assert re.search(r"4 of 13 nodes cannot run on the chip; leave FALLBACK out.* '/Softmax_\d+' \(Softmax\)", refused)
    assert "no build in this test" in _refused(monkeypatch, capsys, "--net", "model.onnx")


def test_network_of_which_nothing_runs_on_the_chip_is_refused_with_the_reason_of_its_largest_part(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    nodes = [
        helper.make_node("Softmax", ["image"], ["soft"], "Softmax_1"),
        helper.make_node("Einsum", ["soft", "w"], ["y"], "Einsum_2", equation="nchw,kc->nkhw"),
    ]
    graph = helper.make_graph(
        nodes, "hosted", [helper.make_tensor_value_info("image", TensorProto.FLOAT, [1, 3, 8, 8])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [1, 5, 8, 8])],
        [numpy_helper.from_array(np.ones((5, 3), np.float32), "w")],
    )  # fmt: skip
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), "hosted.onnx")
    line = _refused(monkeypatch, capsys, "--net", "hosted.onnx")
    assert line.startswith("systomesh: nothing of model 'hosted' runs on the chip; ")
    assert "its largest part: node 'Einsum_2' (Einsum): the chip does not know this operator" in line


def test_shapes_are_of_one_input_or_by_name() -> None:
    assert parse_shapes(None) is None
    assert parse_shapes("3,224,224") == parse_shapes("3x224x224") == {"": (3, 224, 224)}
    assert parse_shapes("ids=1,128,mask=1x64") == {"ids": (1, 128), "mask": (1, 64)}


def test_check_tells_what_would_run_where_and_why(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture, tmp_path: Path
) -> None:
    (tmp_path / "model.onnx").write_bytes(host_model(0).SerializeToString())
    assert _run(monkeypatch, "check", "--net", "model.onnx", "--cores", "1") == 0
    shown = capsys.readouterr().out
    assert re.search(r"Softmax_\d+ +host +Softmax, \d+ bytes pass", shown)
    assert re.search(r"on the host: node '/Softmax_\d+' \(Softmax\): the chip does not know this operator", shown)
    assert re.search(r"estimated: [\d,]+ cycles", shown)
    assert "on the chip: 9 of 13 nodes, 100.00 % of" in shown
    assert [file.name for file in (tmp_path / "runs").rglob("*") if file.is_file()] == ["check.json"]


def test_import_that_is_not_the_model_is_one_line_and_status_1(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture, tmp_path: Path
) -> None:
    """A run whose every bit is equal is wrong all the same if the network is another one."""
    (tmp_path / "model.onnx").write_bytes(float_model(0, 16).SerializeToString())

    def tampered(*arguments: Any, **options: Any) -> FloatModel:
        model = load_onnx(*arguments, **options)
        assert isinstance(model, FloatModel)
        return replace(model, weights={key: value * np.float32(1.5) for key, value in model.weights.items()})

    monkeypatch.setattr("tb.run.workload.load_onnx", tampered)
    assert _run(monkeypatch, "sim", "--net", "model.onnx") == 1
    error = capsys.readouterr().err
    assert re.match(r"systomesh: output '.*' differs from ONNX Runtime's on the unchanged file by .*; the first", error)
    assert error.count("\n") == 1
    assert not (tmp_path / "runs").exists()


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        (["--nets", "lenet5,vgg17"], "NETS: unknown network 'vgg17'; choose from alexnet, googlenet, lenet5"),
        (["--nets", ""], "NETS: unknown network ''"),
        (["--cores", "1,x"], "CORES=1,x: give core counts such as 1,4,16"),
        (["--cores", "1,3000"], "CORES is 3000: it must be"),
        (["--jobs", "0"], "JOBS is 0: it must be 1 or more"),
        (["--out", "file/bench"], "OUT=file/bench: File exists; choose another place"),
    ],
)
def test_bench_refuses_bad_input_before_anything_runs(
    arguments: list[str], line: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture, tmp_path: Path
) -> None:
    (tmp_path / "file").touch()
    assert _run(monkeypatch, "bench", *arguments) == 2
    error = capsys.readouterr().err
    assert line in error
    assert error.count("\n") == 1
    assert not (tmp_path / "runs").exists()


def test_bench_lists_a_failed_network_and_ends_with_status_1(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture, tmp_path: Path
) -> None:
    def fails(case: Case, progress_fd: int, processes: int | None) -> list[str]:
        return [sys.executable, "-c", "raise SystemExit('systomesh: no compiler')"]

    monkeypatch.setattr("tb.cli.Campaign", lambda jobs: Campaign(jobs, command=fails))
    assert _run(monkeypatch, "bench", "--nets", "lenet5", "--cores", "1,4", "--jobs", "2", "--out", "new/table") == 1
    out = capsys.readouterr().out
    assert "lenet5-4cores: FAILED, no compiler" in out
    assert "- lenet5-1cores: no compiler" in (tmp_path / "new" / "table.md").read_text()
    record = json.loads((tmp_path / "new" / "table.json").read_text())
    assert [(run["net"], run["cores"], run["failure"]) for run in record["runs"]] == [
        ("lenet5", 1, "no compiler"),
        ("lenet5", 4, "no compiler"),
    ]


def test_network_that_cannot_fit_is_one_line_and_status_2(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture, tmp_path: Path
) -> None:
    (tmp_path / "small.toml").write_text(
        "mesh_width = 1\nmesh_height = 1\n[core]\nrows = 64\ncols = 64\nweight_bytes = 1024\n"
    )
    assert _run(monkeypatch, "sim", "--net", "lenet5", "--chip", "small.toml") == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    assert not (tmp_path / "runs").exists()


def test_missing_compiler_is_one_line_and_status_2(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    def missing() -> None:
        raise ToolError("no C++ compiler found (g++ or clang++): run 'make setup' or 'apt-get install g++'")

    monkeypatch.setattr(toolchain, "find_compiler", missing)
    monkeypatch.setattr("tb.cli.emit_chip", lambda *_: None)
    monkeypatch.setattr("tb.cli.build_model", lambda *_, **__: toolchain.find_compiler())
    assert _run(monkeypatch, "build") == 2
    assert "apt-get install g++" in capsys.readouterr().err


def test_interrupt_is_one_line_and_status_130(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture, tmp_path: Path
) -> None:
    def interrupt(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("tb.run.request.load_workload", interrupt)
    assert _run(monkeypatch, "sim", "--net", "lenet5") == 130
    assert capsys.readouterr().err == "systomesh: interrupted; the same command goes on from here\n"
    monkeypatch.setattr("tb.cli.Campaign.run", interrupt)
    assert _run(monkeypatch, "bench") == 130
    assert capsys.readouterr().err == "systomesh: interrupted; the same command goes on from here\n"


def test_check_builds_nothing_and_keeps_what_a_run_left(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture, tmp_path: Path
) -> None:
    folder = tmp_path / "runs" / "lenet5-4cores"
    folder.mkdir(parents=True)
    (folder / "summary.json").write_text("of an earlier run")
    assert _run(monkeypatch, "check", "--net", "lenet5") == 0
    facts = json.loads((folder / "check.json").read_text())
    assert facts["net"] == "lenet5"
    assert facts["lower_bound_cycles"] < facts["estimated_cycles"] < 10_000
    assert sum(facts["dram_bytes"].values()) > 60_000  # its weights are that many
    assert sum(facts["compute_cycles"].values()) == pytest.approx(facts["estimated_cycles"], rel=0.01)
    assert f"estimated: {facts['estimated_cycles']:,} cycles" in capsys.readouterr().out
    assert (folder / "summary.json").read_text() == "of an earlier run"


def test_check_tells_densities_of_a_pruned_network(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture, tmp_path: Path
) -> None:
    assert _run(monkeypatch, "check", "--net", "lenet5", "--cores", "1", "--prune", "0.3") == 0
    facts = json.loads((tmp_path / "runs" / "lenet5-1cores-pruned-0.3" / "check.json").read_text())
    assert facts["pruning"] == "30 % of each layer's weights"
    assert [layer["asked_weights"] for layer in facts["densities"].values()] == [0.3] * 5
    inputs = facts["densities"]["fc1"]["inputs"]
    shown = capsys.readouterr().out
    assert re.search(rf"\n  fc1 +weights 30.0 % \(30 %\) +inputs {100 * inputs:.1f} %\n", shown)
    assert "30.0 % of 61,470 weights are not zero" in shown


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        (["--name", "fission"], "NAME=fission: give the name of an experiment: fusion (what does it save"),
        ([], "NAME=: give the name of an experiment: fusion (what does it save"),
        (["--name", "fusion", "--only", "nothing"], "ONLY: fusion has nothing called 'nothing'; give groups (resnet50"),
        (["--name", "fusion", "--jobs", "0"], "JOBS is 0: it must be 1 or more"),
    ],
)
def test_bad_choice_of_an_experiment_is_one_line_and_status_2(
    arguments: list[str], line: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture, tmp_path: Path
) -> None:
    assert _run(monkeypatch, "experiment", *arguments) == 2
    error = capsys.readouterr().err
    assert line in error
    assert error.count("\n") == 1
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        (["--runs", "one"], "RUNS=one: there is no folder runs/one; make sim NAME=one makes a run"),
        ([], "give RUNS=a,b and OUT=page.html; of one run OUT may be left out"),
        (["--runs", "made,made"], "give RUNS=made,made and OUT=page.html; of one run OUT may be left out"),
        (["--runs", "made", "--out", "runs/made"], "cannot write runs/made"),
    ],
)
def test_bad_choice_of_runs_for_a_page_is_one_line_and_status_2(
    arguments: list[str], line: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    make_record("made").save(Path("runs/made"))
    assert _run(monkeypatch, "report", *arguments) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    assert line in error


def test_a_page_is_written_again_and_of_several_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    for seed in (1, 2):
        make_record(f"run{seed}", seed=seed).save(Path(f"runs/run{seed}"))
    for name in ("run1", "runs/run1"):
        assert _run(monkeypatch, "report", "--runs", name) == 0
        page = Path("runs/run1/report.html")
        assert "<h1>made &lt;net&gt; on 4 cores of 16x16</h1>" in page.read_text()
        page.unlink()
    assert _run(monkeypatch, "report", "--runs", "run1, run2", "--out", "pages/both.html") == 0
    assert "<h1>2 runs side by side</h1>" in Path("pages/both.html").read_text()


def test_networks_are_listed(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture) -> None:
    assert _run(monkeypatch, "nets") == 0
    out = capsys.readouterr().out
    rows = [line.split() for line in out.splitlines()]
    assert ["vgg16", "3", "x", "224", "x", "224", "15,470.3", "138,357,544", "15,087,080", "16"] in rows
    assert ["resnet50", "3", "x", "224", "x", "224", "4,089.2", "25,557,032", "11,317,736", "54"] in rows
    assert len([row for row in rows if "x" in row]) == len(ZOO)
