"""`import systomesh` without a simulation: the figures of the commands, and their lines as exceptions."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

import systomesh
from rtl.contract.params import load_chip
from tb import cli
from tb.errors import ToolError
from tb.run.presets import preset_chip


@pytest.fixture(autouse=True)
def no_build(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    refusal = ToolError("no build in this test")
    monkeypatch.setattr("tb.run.preparation.emit_chip", lambda *_: (_ for _ in ()).throw(refusal))


def test_an_estimate_is_that_of_the_command_and_has_a_row_for_each_layer_of_its_launch(
    capsys: pytest.CaptureFixture,
) -> None:
    guess = systomesh.estimate("lenet5", cores=1)
    assert [layer.name for layer in guess.layers] == ["conv1+pool1", "conv2+pool2", "fc1", "fc2", "fc3"]
    assert sum(layer.estimated_cycles for layer in guess.layers) == pytest.approx(guess.estimated_cycles, abs=3)
    for name, count in guess.dram_bytes.items():
        assert sum(layer.dram_bytes[name] for layer in guess.layers) == count
    assert guess.layers.named("fc1").macs == 48_000
    assert [row["cycles"] for row in guess.layers.records()] == [None] * 5
    capsys.readouterr()
    cli.check("lenet5", cores=1)
    shown = capsys.readouterr().out
    assert [line for line in str(guess).splitlines() if line not in shown] == []
    facts = json.loads(Path("runs/lenet5-1cores/check.json").read_text())
    assert facts["estimated_cycles"] == guess.estimated_cycles


@pytest.mark.parametrize(
    ("net", "options", "line"),
    [
        ("vgg17", {}, "unknown network 'vgg17'; choose one of: alexnet"),
        ("lenet5", {"cores": 7777}, "CORES is 7777: it must be"),
        ("lenet5", {"chip": "nowhere.toml"}, "cannot read chip file nowhere.toml: No such file"),
        ("lenet5", {"batch": 0}, "BATCH=0: give the number of pictures, 1 or more"),
        ("lenet5", {"schedule": "alone"}, "SCHEDULE=alone: use layers, fused, apart"),
        ("lenet5", {"bandwidth": 33}, "bandwidth is 33: the port of a memory node carries 16 bytes"),
        ("lenet5", {"shape": (1, 2, 3)}, "PERCENTILE and FALLBACK belong to an .onnx file, not to lenet5"),
        ("lenet5", {"image": ["a.png", "b.png"], "batch": 3}, "IMAGE gives 2 pictures for BATCH=3; give 3"),
    ],
)
def test_what_a_command_refuses_is_an_exception_with_its_line(net: str, options: dict, line: str) -> None:
    for call in (systomesh.run, systomesh.estimate):
        with pytest.raises(systomesh.SystomeshError) as raised:
            call(net, **options)
        assert line in str(raised.value)
        assert "\n" not in str(raised.value)
    assert not Path("runs").exists()


def test_a_tool_that_is_missing_is_an_exception() -> None:
    with pytest.raises(systomesh.SystomeshError, match="no build in this test"):
        systomesh.run("lenet5")


def test_a_chip_is_a_preset_a_file_or_fields() -> None:
    Path("small.toml").write_text("mesh_width = 2\nmesh_height = 1\ncore.rows = 8\n")
    assert systomesh.chip(2) == preset_chip(2)
    assert systomesh.chip("small.toml") == load_chip(Path("small.toml"))
    assert systomesh.chip(mesh_width=2, mesh_height=1, core={"rows": 8}) == systomesh.chip("small.toml")
    with pytest.raises(systomesh.SystomeshError, match="chip key is 'width': it must be one of"):
        systomesh.chip(width=2)
    with pytest.raises(systomesh.SystomeshError, match="give 4 or fields of a chip"):
        systomesh.chip(4, mesh_width=2)


def test_a_schedule_is_text_that_comes_back() -> None:
    plan = systomesh.schedule("lenet5", cores=1)
    plan.save("plan.toml", "plan.svg")
    assert systomesh.schedule("lenet5", cores=1, schedule="plan.toml").launches == plan.launches
    assert "<svg" in Path("plan.svg").read_text()
    with pytest.raises(systomesh.SystomeshError, match="SCHEDULE=layers is no text to edit"):
        _ = systomesh.schedule("lenet5", cores=1, schedule="layers").text
    with pytest.raises(systomesh.SystomeshError, match=r"give a \.toml file for the schedule"):
        plan.save("plan.png")


def test_a_layer_that_is_not_there_and_a_package_that_is_not_there_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    layers = systomesh.estimate("lenet5", cores=1, layers="conv2..pool2").layers
    with pytest.raises(systomesh.SystomeshError, match=r"no layer 'conv1'; there are conv2\+pool2"):
        layers.named("conv1")
    monkeypatch.setitem(__import__("sys").modules, "pandas", None)
    with pytest.raises(systomesh.SystomeshError, match=r"pandas is not installed: pip install pandas"):
        layers.to_pandas()
