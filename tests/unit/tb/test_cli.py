"""The command line: bad input is one clear line and exit status 2, and leaves nothing behind."""

from __future__ import annotations

import re
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest

from golden.zoo import ZOO
from tb import cli, toolchain
from tb.errors import ToolError
from tb.workload import FALLBACKS
from tests.onnx_faults import FAULTS
from tests.onnx_models import host_model, quantised_model


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
    monkeypatch.setattr("tb.run.emit_chip", lambda *_: (_ for _ in ()).throw(ToolError("no build in this test")))


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        (["--net", "vgg17"], "unknown network 'vgg17'; choose one of: alexnet, googlenet, lenet5"),
        (["--net", "lenet5", "--cores", "7777"], "CORES is 7777: it must be"),
        (["--net", "lenet5", "--sim", "modelsim"], "unknown simulator 'modelsim': use one of verilator, icarus"),
        (["--net", "lenet5", "--chip", "nowhere.toml"], "cannot read chip file nowhere.toml: No such file"),
        (["--net", "lenet5", "--chip", "bad.toml"], "bad.toml is not valid TOML"),
        (["--net", "lenet5", "--chip", "tiny.toml"], "tiny.toml: core.rows is 3"),
        (["--net", "lenet5", "--layers", "conv7"], "lenet5 has no layer 'conv7'"),
        (["--net", "lenet5", "--weights", "part.npz"], "is missing"),
        (["--net", "lenet5", "--weights", "nowhere.npz"], "nowhere.npz"),
        (["--net", "lenet5", "--image", "nowhere.png"], "nowhere.png"),
        (["--net", "lenet5", "--latency", "0"], "memory latency is 0"),
        (["--net", "lenet5", "--name", "../up"], "name '../up': use letters"),
        (["--net", "lenet5", "--shape", "3,8,8"], "PERCENTILE and FALLBACK belong to an .onnx file, not to lenet5"),
        (["--net", "nowhere.onnx"], "model 'nowhere.onnx' does not exist; check NET"),
        (["--net", "bad.onnx"], "'bad.onnx' is truncated or no ONNX file"),
        (["--net", "bad.onnx", "--shape", "3,y"], "SHAPE=3,y: give the input's C,H,W such as 3,224,224"),
        (["--net", "bad.onnx", "--seed", "3"], "SEED=3 makes no sense: bad.onnx holds its weights; leave it out"),
        (["--net", "lenet5"], "no build in this test"),
    ],
)
def test_bad_input_is_one_line_and_status_2(
    arguments: list[str], line: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture, tmp_path: Path
) -> None:
    (tmp_path / "bad.toml").write_text("mesh_width = = 2")
    (tmp_path / "bad.onnx").write_text("not a model")
    (tmp_path / "tiny.toml").write_text("[core]\nrows = 3\n")
    np.savez(tmp_path / "part.npz", other=np.zeros(1))
    assert _run(monkeypatch, "sim", *arguments) == 2
    error = capsys.readouterr().err
    assert line in error
    assert error.count("\n") == 1
    assert not (tmp_path / "runs").exists()


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
        (["--fallback", "gpu"], "FALLBACK=gpu: use none or host"),
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
    refused = _refused(monkeypatch, capsys, "--net", "model.onnx")
    assert re.search(r"node '/Neg_\d+' \(Neg\): operator Neg cannot run .*; supported are Add.*FALLBACK=host", refused)
    assert "no build in this test" in _refused(monkeypatch, capsys, "--net", "model.onnx", "--fallback", "host")


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
    monkeypatch.setattr("tb.cli.build_model", lambda *_: toolchain.find_compiler())
    assert _run(monkeypatch, "build") == 2
    assert "apt-get install g++" in capsys.readouterr().err


def test_networks_are_listed(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture) -> None:
    assert _run(monkeypatch, "nets") == 0
    out = capsys.readouterr().out
    rows = [line.split() for line in out.splitlines()]
    assert ["vgg16", "3", "x", "224", "x", "224", "15,470.3", "138,357,544", "15,087,080", "16"] in rows
    assert ["resnet50", "3", "x", "224", "x", "224", "4,089.2", "25,557,032", "16,837,096", "54"] in rows
    assert len([row for row in rows if "x" in row]) == len(ZOO)
