"""Operators that become others on the chip, where models are cut, and inputs that are constants."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from estimator import MemoryTiming
from golden.errors import OnnxError
from golden.net.graph import Conv2d, Host
from golden.onnx_import import Reference, load_onnx
from rtl.contract.params import CoreParams, default_chip
from scheduler.kinds.layers import Layers
from tb.run.workload import load_workload
from tests.cases import Case
from tests.onnx_campaign import outcome
from tests.unit.golden.onnx_import.test_anything import FLOAT, INT64, Value, _kinds, _model, _node, _normal, _runs
from tests.unit.sched.test_batch import run

CHIP = default_chip(2, CoreParams(8, 8, act_bytes=32 * 1024), link_bytes=8)


def _in_the_machine(model: onnx.ModelProto, folder: Path) -> None:
    """Every tensor as the programs compute it, in a random order of events."""
    path = folder / "model.onnx"
    path.write_bytes(model.SerializeToString())
    loaded = load_workload(str(path))
    plan = Layers().plan(loaded.graph, CHIP, MemoryTiming(bytes_per_cycle=2), 1)
    run(Case(0, "file", CHIP, loaded.graph, loaded.image), plan, [loaded.image], 0)


@pytest.mark.parametrize("alone", [True, False])
def test_softmax_of_two_channels_is_a_sigmoid(alone: bool, tmp_path: Path) -> None:
    nodes = [_node("Conv", "x w b", "c"), _node("Softmax", "c", "y", axis=1)]
    outputs: list[Value] = [("y", FLOAT, None), *([] if alone else [("c", FLOAT, None)])]
    loaded = _runs(
        _model(nodes, [("x", FLOAT, (1, 3, 6, 6))], outputs, w=_normal(2, 3, 3, 3), b=_normal(2)), tmp_path
    )  # fmt: skip
    assert not loaded.share.host
    assert sum(isinstance(node, Conv2d) for node in loaded.graph.nodes) == (1 if alone else 2)


@pytest.mark.parametrize("filters", [(8, 3, 3, 3), (8, 16, 3, 3)])
def test_prelu_of_any_slopes_is_two_convolutions(filters: tuple[int, ...], tmp_path: Path) -> None:
    slope = np.linspace(-1, 3, 8).astype(np.float32).reshape(8, 1, 1)
    nodes = [_node("Conv", "x w b", "c"), _node("PRelu", "c k", "y")]
    shape = (1, filters[1], 6, 6)
    model = _model(nodes, [("x", FLOAT, shape)], [("y", FLOAT, None)], w=_normal(*filters), b=_normal(8), k=slope)
    loaded = _runs(model, tmp_path)
    assert not loaded.share.host
    assert sum(isinstance(node, Conv2d) for node in loaded.graph.nodes) == 2
    _in_the_machine(model, tmp_path)


def test_a_model_is_cut_where_fewest_elements_cross(tmp_path: Path) -> None:
    """Behind a softmax, maps of other frequencies become channels."""
    nodes = [
        _node("Conv", "x w", "c"), _node("Transpose", "c", "t", perm=[0, 2, 3, 1]), _node("Softmax", "t", "s"),
        _node("Slice", "s first second axis", "low"), _node("Pad", "low pads", "high"),
        _node("Concat", "s high", "both", axis=3), _node("Transpose", "both", "u", perm=[0, 3, 1, 2]),
        _node("Conv", "u v", "y"),
    ]  # fmt: skip
    model = _model(
        nodes, [("x", FLOAT, (1, 3, 6, 8))], [("y", FLOAT, None)], w=_normal(4, 3, 1, 1), v=_normal(5, 8, 3, 3),
        first=np.array([2]), second=np.array([8]), axis=np.array([2]), pads=np.array([0, 0, 0, 0, 0, 0, 2, 0]),
    )  # fmt: skip
    loaded = _runs(model, tmp_path)
    assert _kinds(loaded) == ["Softmax"]
    (island,) = (node for node in loaded.graph.nodes if isinstance(node, Host))
    assert island.part.output.shape == (1, 6, 8, 4)


def test_rows_longer_than_the_fields_are_columns(tmp_path: Path) -> None:
    """A filter that halves the rate, the padding between of another rank, and a bank of filters."""
    nodes = [
        _node("Conv", "x w", "half", strides=[1, 2]), _node("Reshape", "half s3", "r"), _node("Pad", "r pads", "p"),
        _node("Reshape", "p s4", "u"), _node("Conv", "u v", "bank", strides=[1, 32]),
        _node("MaxPool", "bank", "y", kernel_shape=[1, 2]),
    ]  # fmt: skip
    model = _model(
        nodes, [("x", FLOAT, (1, 1, 1, 2400))], [("y", FLOAT, None)], w=_normal(1, 1, 1, 8), v=_normal(6, 1, 1, 40),
        s3=np.array([1, 1, -1]), s4=np.array([1, 1, 1, -1]), pads=np.array([0, 0, 7, 0, 0, 9]),
    )  # fmt: skip
    assert not _runs(model, tmp_path).share.host
    _in_the_machine(model, tmp_path)


def test_maps_of_other_widths_are_copied_to_the_right_places(tmp_path: Path) -> None:
    nodes = [
        _node("Conv", "x w", "a", strides=[1, 2], pads=[1] * 4), _node("Conv", "x v", "b", strides=[2, 1]),
        _node("Reshape", "a s", "c"), _node("Reshape", "b s", "d"), _node("Add", "c d", "y"),
    ]  # fmt: skip
    model = _model(
        nodes, [("x", FLOAT, (1, 3, 12, 8))], [("y", FLOAT, None)], w=_normal(4, 3, 3, 3), v=_normal(4, 3, 2, 1),
        s=np.array([1, 4, -1]),
    )  # fmt: skip
    assert not _runs(model, tmp_path).share.host
    _in_the_machine(model, tmp_path)


def _of_two_rates() -> onnx.ModelProto:
    """A branch for 16,000 samples a second, and one for others."""

    def branch(name: str, weight: str) -> onnx.GraphProto:
        result = helper.make_tensor_value_info(name, TensorProto.FLOAT, None)
        return helper.make_graph([_node("Conv", f"x {weight}", name)], name, [], [result])

    decide = helper.make_node(
        "If", ["is_high"], ["y"], "which", then_branch=branch("high", "w"), else_branch=branch("low", "v")
    )
    nodes = [_node("Equal", "sr rate", "is_high"), decide]
    inputs = [("x", FLOAT, (1, 2, 6, 6)), ("sr", INT64, ())]
    return _model(
        nodes, inputs, [("y", FLOAT, None)], rate=np.array(16000), w=_normal(4, 2, 3, 3), v=_normal(4, 2, 1, 1)
    )  # fmt: skip


def test_an_input_with_a_value_is_a_constant(tmp_path: Path) -> None:
    path = tmp_path / "model.onnx"
    path.write_bytes(_of_two_rates().SerializeToString())
    for rate, shape in ((16000, (1, 4, 4, 4)), (8000, (1, 4, 6, 6))):
        loaded = load_onnx(path, values={"sr": rate})
        assert [port.name for port in loaded.inputs] == ["x"]
        assert not loaded.share.host
        assert Reference(path, loaded, {"x": _normal(1, 2, 6, 6)}).outputs["y"].shape == shape


@pytest.mark.parametrize(
    ("values", "line"),
    [
        ({"rate": 1.0}, "INPUT=rate=1: the model's inputs are x, sr"),
        ({"sr": 0.5}, "INPUT=sr=0.5: this input is int64; give a value that it can hold"),
        ({"sr": 16000.0, "x": 0.0}, "INPUT gives all inputs of 'net' a value; leave one of them to the picture"),
    ],
)
def test_values_that_no_input_can_have_are_refused(values: dict[str, float], line: str, tmp_path: Path) -> None:
    path = tmp_path / "model.onnx"
    path.write_bytes(_of_two_rates().SerializeToString())
    with pytest.raises(OnnxError, match=line):
        load_onnx(path, values=values)


@pytest.mark.parametrize("seed", [768, 2650])
def test_quantised_row_is_not_taken_for_a_column(seed: int, tmp_path: Path) -> None:
    """Models of the campaign in which a one-dimensional convolution stands before a two-dimensional one."""
    assert outcome("QDQ", seed, tmp_path) == "runs"
