"""Random float models of ranks 1 to 5, imported with nodes for the host, against ONNX Runtime on the file."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest

from golden.int8.fallback import run_model
from golden.int8.ops import run_float
from golden.onnx_import import FloatModel, judge_float, load_onnx
from tests.onnx_random import random_model

SEEDS, CHUNK, MORE = 400, 50, 3000
"""In the regression, of one test, and of the slow tests."""


def _agrees(seed: int, nodes: int, folder: Path) -> None:
    """Shapes and values of all outputs, from end to end; and the judge finds nothing."""
    model = random_model(seed, nodes)
    onnx.checker.check_model(model, full_check=True)
    path = folder / "model.onnx"
    path.write_bytes(model.SerializeToString())
    loaded = load_onnx(path, fallback=True)
    assert isinstance(loaded, FloatModel)
    image = np.random.default_rng(seed).normal(size=loaded.graph.input_shape).astype(np.float32)
    names = [output.name for output in loaded.outputs]
    assert names == [value.name for value in model.graph.output]
    values = run_float(loaded.graph, loaded.weights, image)
    feeds = {"image": image.reshape(loaded.input.shape)}
    for output, expected in zip(loaded.outputs, run_model(str(path), feeds, names), strict=True):
        assert output.shape == expected.shape, f"seed {seed}, {output.name}"
        if output.value is not None:
            got = values[output.value].reshape(expected.shape)
            tolerance = 1e-4 * max(1.0, float(np.abs(expected).max()))
            np.testing.assert_allclose(got, expected, atol=tolerance, rtol=0, err_msg=f"seed {seed}, {output.name}")
    real = {name: values[name] for name in loaded.graph.outputs}
    found = judge_float(path, loaded, image, real)
    assert not found.refusal
    assert found.values >= sum(values[name].size for name in loaded.graph.outputs)


@pytest.mark.parametrize("first", range(0, SEEDS, CHUNK))
def test_imported_graph_is_the_model(first: int, tmp_path: Path) -> None:
    for seed in range(first, first + CHUNK):
        _agrees(seed, 9, tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize("first", range(SEEDS, MORE, CHUNK))
def test_many_imported_graphs_are_the_models(first: int, tmp_path: Path) -> None:
    for seed in range(first, first + CHUNK):
        _agrees(seed, 30 if seed % 4 == 0 else 12, tmp_path)
