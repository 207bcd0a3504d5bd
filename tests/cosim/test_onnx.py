"""Random ONNX models, whole, on RTL: against ONNX Runtime; and with nodes on the host between launches."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from golden.int8 import ops
from golden.onnx_import import QuantisedModel, load_onnx
from tb.run.options import RunOptions
from tb.run.run import Run
from tb.run.workload import Workload, load_workload
from tests.cases import CHIPS
from tests.cosim.test_run import Recorder
from tests.onnx_judge import judge, outputs
from tests.onnx_models import FORMS, IDS, host_model, quantised_model, real_host_model

CHIP = CHIPS["2x1_16x4"]
"""The chip of test_run.py, so that one build serves both."""


@pytest.fixture
def options(tmp_path: Path) -> RunOptions:
    return RunOptions("test", CHIP, runs_dir=tmp_path / "runs", optimise=False)


def _workload(model: onnx.ModelProto, shape: tuple[int, int, int], seed: int, folder: Path) -> Workload:
    (folder / "model.onnx").write_bytes(model.SerializeToString())
    loaded = load_onnx(folder / "model.onnx")
    assert isinstance(loaded, QuantisedModel)
    raw = np.random.default_rng(seed).integers(-128, 128, shape).astype(np.int8)
    return Workload(loaded.graph, raw, ops.run(loaded.graph, raw), 0.0)


def _power_of_two(seed: int, qdq: bool, unsigned: bool, options: RunOptions) -> None:
    """The scoreboard itself holds ONNX Runtime's outputs."""
    model, (_, shape, _, _) = quantised_model(seed, power_of_two=True, qdq=qdq, unsigned=unsigned)
    work = _workload(model, shape, seed, options.runs_dir.parent)
    expected = {**work.expected, **outputs(model, work.graph, work.image)}
    summary = Run(options, lambda: replace(work, expected=expected), "random").execute()
    assert summary.first_difference is None
    assert summary.bit_exact


def _arbitrary(seed: int, qdq: bool, unsigned: bool, options: RunOptions) -> tuple[int, int]:
    """RTL equals `ops` in every tensor, and `ops` equals ONNX Runtime layer by layer up to explained ties."""
    model, (_, shape, _, _) = quantised_model(seed, power_of_two=False, qdq=qdq, unsigned=unsigned)
    work = _workload(model, shape, seed, options.runs_dir.parent)
    assert Run(options, lambda: work, "random").execute().bit_exact
    verdict = judge(model, work.graph, work.image)
    for tensor, value in outputs(model, work.graph, work.image).items():
        assert np.abs(work.expected[tensor].astype(np.int16) - value).max() <= 1
    return verdict.elements, verdict.ties


@pytest.mark.parametrize("seed", [4, 21])
@pytest.mark.parametrize(("qdq", "unsigned"), FORMS, ids=IDS)
def test_power_of_two_scales_give_the_bits_of_onnx_runtime(
    qdq: bool, unsigned: bool, seed: int, options: RunOptions
) -> None:
    _power_of_two(seed, qdq, unsigned, options)


@pytest.mark.parametrize(("qdq", "unsigned"), FORMS, ids=IDS)
def test_arbitrary_scales_differ_by_explained_ties_alone(qdq: bool, unsigned: bool, options: RunOptions) -> None:
    found = [_arbitrary(seed, qdq, unsigned, options) for seed in (5, 22)]
    assert sum(ties for _, ties in found) <= sum(elements for elements, _ in found) / 1000


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(100, 120))
@pytest.mark.parametrize(("qdq", "unsigned"), FORMS, ids=IDS)
def test_many_models_agree_with_onnx_runtime(qdq: bool, unsigned: bool, seed: int, options: RunOptions) -> None:
    _power_of_two(seed, qdq, unsigned, options)
    elements, ties = _arbitrary(seed, qdq, unsigned, options)
    assert ties <= max(1, elements / 1000)


def _host_workload(model: onnx.ModelProto, folder: Path) -> Workload:
    (folder / "model.onnx").write_bytes(model.SerializeToString())
    return load_workload(str(folder / "model.onnx"))


def test_nodes_on_the_host_are_cuts_between_launches(options: RunOptions, monkeypatch: pytest.MonkeyPatch) -> None:
    model = host_model(0)
    work = _host_workload(model, options.runs_dir.parent)
    assert work.judgement is not None
    assert work.judgement.output_difference == 0
    first = Recorder(interrupt_after=1)
    with pytest.raises(KeyboardInterrupt):
        Run(options, lambda: work, "host", first).execute()
    second = Recorder()
    summary = Run(options, lambda: work, "host", second).execute()
    assert summary.bit_exact
    assert second.was_kept[:2] == [0, 1]
    assert second.simulated
    record = json.loads((options.runs_dir / "test" / "summary.json").read_text())
    assert record["host_layers"] == [node.name for node in work.graph.nodes if node.op == "host"]
    for layer in record["layers"]:
        assert (layer["op"] == "host") == (layer["cycles"] == 0) == (layer["host_bytes"] > 0)
    monkeypatch.setattr("onnxruntime.__version__", "0.1")  # whose bits may be others
    third = Recorder()
    assert Run(options, lambda: work, "host", third).execute().bit_exact
    assert third.was_kept == []


def test_float_model_with_nodes_on_the_host(options: RunOptions) -> None:
    work = _host_workload(real_host_model(0), options.runs_dir.parent)
    summary = Run(options, lambda: work, "host").execute()
    assert summary.bit_exact
    record = json.loads((options.runs_dir / "test" / "summary.json").read_text())
    assert record["onnxruntime"]["real"]
    assert record["onnxruntime"]["values"] > 0
    assert record["onnxruntime"]["levels"] == []
    assert [(output["source"], output["shape"]) for output in record["outputs"]] == [("host", [1, 10])]
    assert len(summary.host_layers) == 2
    assert summary.quantisation_error is not None
    assert 0 < summary.quantisation_error["relative"] < 0.1


def test_part_behind_a_node_on_the_host(options: RunOptions) -> None:
    path = options.runs_dir.parent / "model.onnx"
    path.write_bytes(host_model(0).SerializeToString())
    whole = load_workload(str(path))
    names = [node.name for node in whole.graph.nodes]
    (cut, *_) = (index for index, node in enumerate(whole.graph.nodes) if node.op == "host")
    part = load_workload(str(path), layers=f"{names[cut]}..{names[cut + 1]}")
    summary = Run(options, lambda: part, "host").execute()
    assert summary.bit_exact
    assert [layer.name for layer in summary.layers] == names[cut : cut + 2]


def _two_pictures() -> onnx.ModelProto:
    """Two inputs that the chip reads, one behind a layout, and indices that the host reads in between."""
    rng = np.random.default_rng(0)
    constants = {
        "w": rng.normal(size=(4, 3, 3, 3)), "v": rng.normal(size=(4, 3, 3, 3)), "table": rng.normal(size=(9, 8)),
        "d": rng.normal(size=(8, 5)),
    }  # fmt: skip
    nodes = [
        helper.make_node("Conv", ["a", "w"], ["ca"], "ca"),
        helper.make_node("Transpose", ["b"], ["turned"], "turned", perm=[0, 3, 1, 2]),
        helper.make_node("Conv", ["turned", "v"], ["cb"], "cb"),
        helper.make_node("Add", ["ca", "cb"], ["y"], "sum"),
        helper.make_node("Gather", ["table", "ids"], ["rows"], "rows"),
        helper.make_node("ReduceMean", ["rows"], ["mean"], "mean", axes=[1], keepdims=0),
        helper.make_node("Gemm", ["mean", "d"], ["z"], "gemm"),
        helper.make_node("ArgMax", ["z"], ["best"], "best", axis=1),
    ]
    inputs = [("a", TensorProto.FLOAT, ["N", 3, 8, 8]), ("b", TensorProto.FLOAT, ["N", 8, 8, 3]),
              ("ids", TensorProto.INT64, ["N", 6])]  # fmt: skip
    outputs = [("y", TensorProto.FLOAT, None), ("best", TensorProto.INT64, None)]
    graph = helper.make_graph(
        nodes, "several", [helper.make_tensor_value_info(*value) for value in inputs],
        [helper.make_tensor_value_info(*value) for value in outputs],
        [numpy_helper.from_array(value.astype(np.float32), name) for name, value in constants.items()],
    )  # fmt: skip
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


@pytest.mark.parametrize("batch", [1, 2])
def test_several_inputs_reach_the_chip_and_the_host_of_every_picture(batch: int, options: RunOptions) -> None:
    path = options.runs_dir.parent / "model.onnx"
    path.write_bytes(_two_pictures().SerializeToString())
    work = load_workload(str(path), batch=batch)
    assert [node.op for node in work.graph.nodes] == ["conv", "host", "conv", "host", "fc"]
    if batch == 2:
        assert np.any(work.expected["mean@1"] != work.expected["mean@2"])
    summary = Run(options, lambda: work, "several").execute()
    assert summary.bit_exact
    assert [output["source"] for output in summary.outputs] == ["layer", "host"]
    assert summary.share is not None
    assert [node["kind"] for node in summary.share["host"]] == ["Gather", "ReduceMean", "ArgMax"]
