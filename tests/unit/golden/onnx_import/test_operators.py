"""The operators that the chip takes, each alone with random parameters, against ONNX Runtime; and their programs."""

from pathlib import Path

import numpy as np
import pytest

from estimator import MemoryTiming
from golden.int8 import ops
from golden.int8.quant import quantisation_error, quantize
from golden.net.float_ops import run_float
from golden.onnx_import import (
    FloatModel,
    QuantisedModel,
    Reference,
    judge_float,
    judge_quantised,
    load_onnx,
    sample_feeds,
)
from rtl.contract.params import CoreParams, default_chip
from scheduler.kinds.fused import Fused
from tests.cases import Case
from tests.onnx_operators import operator_models, quantised
from tests.unit.sched.test_batch import run

CHIP = default_chip(2, CoreParams(16, 8, act_bytes=64 * 1024))
LARGEST_ERROR = 0.06
"""Of int8 outputs of one operator on random values, relative: several times what rounding costs."""


def run_machine(name: str, graph: ops.QGraph, image: np.ndarray, seed: int) -> None:
    """The fused plan, in the machine, in a random order of events."""
    run(Case(seed, name, CHIP, graph, image), Fused().plan(graph, CHIP, MemoryTiming(), 1), [image], seed)


@pytest.mark.parametrize("seed", range(4))
def test_float_operators(seed: int, tmp_path: Path) -> None:
    """Layer for layer as ONNX Runtime computes the file, nothing on the host, and a small error in int8."""
    for name, model in operator_models(seed):
        path = tmp_path / "model.onnx"
        path.write_bytes(model.SerializeToString())
        loaded = load_onnx(path, refuse=True)
        assert isinstance(loaded, FloatModel)
        feeds = sample_feeds(loaded.inputs, seed)
        image = loaded.image(feeds)
        real = loaded.results(feeds, loaded.onnx_values(run_float(loaded.graph, loaded.weights, image)))
        assert judge_float(Reference(path, loaded, feeds), loaded, feeds, real).values, name
        graph = quantize(loaded.graph, loaded.weights, image)
        assert quantisation_error(loaded.graph, loaded.weights, graph, image).relative < LARGEST_ERROR, name
        if seed == 0:
            run_machine(name, graph, graph.tensors[graph.input].quantize(image), seed)


@pytest.mark.parametrize("asymmetric", [False, True], ids=["symmetric", "asymmetric"])
@pytest.mark.parametrize("unsigned", [False, True], ids=["int8", "uint8"])
def test_operators_between_quantisations(unsigned: bool, asymmetric: bool, tmp_path: Path) -> None:
    """Equal to ONNX Runtime, or across a tie that float32 cannot tell."""
    values = ties = 0
    for seed in range(3):
        for name, model in operator_models(seed):
            path = tmp_path / "model.onnx"
            path.write_bytes(quantised(model, seed, unsigned=unsigned, asymmetric=asymmetric).SerializeToString())
            loaded = load_onnx(path, refuse=True)
            assert isinstance(loaded, QuantisedModel)
            feeds = sample_feeds(loaded.inputs, seed)
            image = loaded.image(feeds)
            found = judge_quantised(Reference(path, loaded, feeds), loaded, feeds, ops.run(loaded.graph, image))
            values, ties = values + found.values, ties + found.ties
            if seed == 0 and unsigned:
                run_machine(name, loaded.graph, image, seed)
    assert ties < values / 1000
