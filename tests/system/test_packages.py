"""Trained models that packages of PyPI ship, with the plain command: slow tests, which need the network once."""

from __future__ import annotations

from pathlib import Path

import pytest

from rtl.contract.params import default_chip
from tb.cli import parse_shapes
from tb.run.options import RunOptions
from tb.run.run import Run
from tb.run.workload import OnnxOptions, load_workload
from tests.packages import MODELS, Packaged, fetch
from tests.packages.__main__ import checked

pytestmark = pytest.mark.slow


@pytest.mark.parametrize("model", MODELS, ids=lambda model: model.name)
def test_model_of_a_package_is_what_onnx_runtime_computes(model: Packaged) -> None:
    summary = checked(model)
    assert summary.onnxruntime is not None
    assert summary.onnxruntime["refusal"] == ""
    assert summary.onnxruntime["values"] > 0
    assert summary.estimated_cycles > 0


@pytest.mark.parametrize("model", [model for model in MODELS if model.small], ids=lambda model: model.name)
def test_small_model_of_a_package_is_equal_on_the_hardware(model: Packaged, tmp_path: Path) -> None:
    onnx = OnnxOptions(shape=parse_shapes(model.shape or None))
    options = RunOptions(name="package", chip=default_chip(1), runs_dir=tmp_path)
    assert Run(options, lambda: load_workload(str(fetch(model)), onnx=onnx), model.name).execute().bit_exact
