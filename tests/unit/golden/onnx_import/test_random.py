"""Random float models of ranks 1 to 5, imported with nodes for the host, against ONNX Runtime on the file."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest

from golden.errors import OnnxError
from golden.int8.fallback import run_model
from golden.int8.ops import run_float
from golden.onnx_import import FloatModel, Reference, judge_float, load_onnx, sample_feeds
from tests.onnx_random import random_model

NOTHING = "runs on the chip; its largest part: node"
"""Of models whose layers are all products of more than two dimensions."""

SEEDS, CHUNK, MORE = 400, 50, 3000
"""In the regression, of one test, and of the slow tests."""


def _agrees(seed: int, nodes: int, folder: Path) -> bool:
    """Shapes and values of all outputs, from end to end; and the judge finds nothing. False: no layer for the chip."""
    model = random_model(seed, nodes)
    onnx.checker.check_model(model, full_check=True)
    path = folder / "model.onnx"
    path.write_bytes(model.SerializeToString())
    try:
        loaded = load_onnx(path)
    except OnnxError as error:
        if NOTHING not in str(error):
            raise
        return False
    assert isinstance(loaded, FloatModel)
    feeds = sample_feeds(loaded.inputs, seed)
    names = [output.name for output in loaded.outputs]
    assert names == [value.name for value in model.graph.output]
    values = run_float(loaded.bound(feeds), loaded.weights, loaded.image(feeds))
    results = loaded.results(feeds, loaded.onnx_values(values))
    for output, expected in zip(loaded.outputs, run_model(str(path), feeds, names), strict=True):
        assert output.shape == expected.shape, f"seed {seed}, {output.name}"
        if not output.constant:
            tolerance = 1e-4 * max(1.0, float(np.abs(expected).max()))
            got = results[output.name]
            np.testing.assert_allclose(got, expected, atol=tolerance, rtol=0, err_msg=f"seed {seed}, {output.name}")
    found = judge_float(Reference(path, loaded, feeds), loaded, feeds, results)
    assert found.values >= sum(values[name].size for name in loaded.graph.outputs)
    return True


@pytest.mark.parametrize("first", range(0, SEEDS, CHUNK))
def test_imported_graph_is_the_model(first: int, tmp_path: Path) -> None:
    assert sum(_agrees(seed, 9, tmp_path) for seed in range(first, first + CHUNK)) >= CHUNK / 2


@pytest.mark.slow
@pytest.mark.parametrize("first", range(SEEDS, MORE, CHUNK))
def test_many_imported_graphs_are_the_models(first: int, tmp_path: Path) -> None:
    seeds = range(first, first + CHUNK)
    assert sum(_agrees(seed, 30 if seed % 4 == 0 else 12, tmp_path) for seed in seeds) >= CHUNK / 2
