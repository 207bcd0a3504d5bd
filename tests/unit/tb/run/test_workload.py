"""Workloads: parts of networks, and the bound on cycles."""

from __future__ import annotations

from pathlib import Path
from typing import cast

import numpy as np
import onnx
import pytest
from onnx import TensorProto

from golden.int8 import ops
from golden.net.weights import seeded
from golden.zoo import load
from rtl.contract.params import default_chip
from scheduler.errors import PlanError
from scheduler.plan.program import Plan
from scheduler.work.options import SparseOptions
from tb.errors import BenchError
from tb.fuzz.chips import FUZZ_CHIPS
from tb.run.options import RunOptions
from tb.run.preparation import Scheduled, schedule_on_chip
from tb.run.request import Request
from tb.run.workload import OnnxOptions, Workload, load_workload, select_layers
from tests.onnx_models import FloatBuilder, quantised_model


@pytest.fixture(scope="module")
def lenet5() -> Workload:
    return load_workload("lenet5")


@pytest.mark.parametrize(
    ("layers", "names"),
    [
        ("conv2", ["conv2"]),
        ("conv1..conv2", ["conv1", "pool1", "conv2"]),
        ("pool2, fc1", ["pool2", "fc1"]),
    ],
)
def test_layers_are_selected_in_the_order_of_the_network(lenet5: Workload, layers: str, names: list[str]) -> None:
    part = select_layers(lenet5.graph, layers)
    assert [node.name for node in part.nodes] == names
    assert part.outputs == (part.nodes[-1].output,)


def test_weights_of_a_file_are_pruned_as_seeded_ones_are(tmp_path: Path) -> None:
    np.savez(tmp_path / "w.npz", **seeded(load("lenet5"), 1))
    one, other = (load_workload("lenet5", weights=file, prune="0.25") for file in (None, tmp_path / "w.npz"))
    for name, tensor in one.expected.items():
        np.testing.assert_array_equal(tensor, other.expected[name])
    assert np.count_nonzero(one.graph.nodes[-1].weight) == 210  # of 84 * 10


def test_a_workload_apart_has_sums_and_pools_behind_concatenations_of_its_own() -> None:
    folded, apart = (load_workload("resnet18", layers="layer1.0.conv1..layer1.1.conv1", apart=a) for a in (False, True))
    assert [node.name for node in apart.graph.nodes] == [
        "layer1.0.conv1", "layer1.0.conv2", "layer1.0.add", "layer1.1.conv1"
    ]  # fmt: skip
    assert [node.name for node in folded.graph.nodes] == [
        "layer1.0.conv1", "layer1.0.conv2+layer1.0.add", "layer1.1.conv1"
    ]  # fmt: skip
    assert np.any(folded.expected["layer1.0.relu"] != apart.expected["layer1.0.relu"])
    pool = load_workload("squeezenet1_1", layers="features.3.squeeze..features.5", apart=True).graph.nodes[-1]
    assert (pool.op, pool.inputs) == ("maxpool", ("features.4",))


def test_on_sparse_engines_heavy_and_light_filters_share_blocks(lenet5: Workload) -> None:
    """Of the first two fully connected layers; what the network puts out is the same, and all else that ops says."""
    chip = FUZZ_CHIPS["1x1_sparse"]
    dealt = Request(net="lenet5", chip=chip).load()
    assert dealt.expected.keys() == lenet5.expected.keys()
    moved = [name for name, values in dealt.expected.items() if not np.array_equal(values, lenet5.expected[name])]
    assert moved == [node.output for node in lenet5.graph.nodes if node.name in ("fc1", "fc2")]
    again = ops.run(dealt.graph, dealt.image)
    assert all(np.array_equal(again[name], values) for name, values in dealt.expected.items())
    as_they_are = Request(net="lenet5", chip=chip, sparse=SparseOptions(balance="none")).load()
    assert all(np.array_equal(values, lenet5.expected[name]) for name, values in as_they_are.expected.items())


def test_a_model_that_is_quantised_already_is_the_same_apart(tmp_path: Path) -> None:
    """It has its sums apart in any case, and its bits are those of ONNX Runtime."""
    model, _ = quantised_model(2, power_of_two=False, qdq=True, unsigned=False)
    path = tmp_path / "model.onnx"
    path.write_bytes(model.SerializeToString())
    one, other = (load_workload(str(path), apart=apart) for apart in (False, True))
    assert "add" in [node.op for node in one.graph.nodes]
    for name in one.graph.outputs:
        np.testing.assert_array_equal(one.expected[name], other.expected[name])


@pytest.mark.parametrize(
    ("layers", "message"),
    [
        ("conv9", "lenet5 has no layer 'conv9'; it has conv1, pool1"),
        ("conv2..conv1", "conv2 comes after conv1; write conv1..conv2"),
        ("conv1,fc1", "read 2 tensors from outside"),
    ],
)
def test_layers_that_make_no_part_are_refused(lenet5: Workload, layers: str, message: str) -> None:
    with pytest.raises(BenchError, match=message):
        select_layers(lenet5.graph, layers)


def test_part_computes_what_the_whole_does(lenet5: Workload) -> None:
    part = load_workload("lenet5", layers="conv2")
    node = part.graph.nodes[0]
    np.testing.assert_array_equal(part.image, lenet5.expected[node.inputs[0]])
    np.testing.assert_array_equal(part.expected[node.output], lenet5.expected[node.output])


def test_error_of_the_int8_outputs_is_known_for_whole_networks_alone(lenet5: Workload) -> None:
    assert lenet5.error is not None
    assert 0 < lenet5.error.relative < 0.2
    assert load_workload("lenet5", layers="conv2").error is None


def test_outputs_and_the_comparison_with_onnx_runtime_are_those_of_the_whole_model(tmp_path: Path) -> None:
    b = FloatBuilder(0)
    x, _ = b.conv(("image", (3, 8, 8)), 4, normalise=True)
    names = [x, b.node("Flatten", [x]), "image"]
    model = b.model(("image", TensorProto.FLOAT, [1, 3, 8, 8]), [(name, TensorProto.FLOAT, 0) for name in names])
    for value in model.graph.output:
        value.type.tensor_type.ClearField("shape")
    onnx.save(model, str(tmp_path / "model.onnx"))
    whole = load_workload(str(tmp_path / "model.onnx"))
    tensor = whole.graph.outputs[0]
    facts = [(fact.name, fact.shape, fact.tensor, fact.source) for fact in whole.outputs]
    assert facts == [
        (names[0], (1, 4, 8, 8), tensor, "layer"),
        (names[1], (1, 256), tensor, "layer"),
        ("image", (1, 3, 8, 8), None, "input"),
    ]
    assert whole.outputs[0].error == whole.outputs[1].error == whole.error
    assert whole.outputs[2].error is None
    part = load_workload(str(tmp_path / "model.onnx"), layers=whole.graph.nodes[0].name)
    assert part.outputs == ()
    assert part.judgement == whole.judgement
    assert whole.judgement is not None
    assert whole.judgement.values == 256


def test_a_file_of_several_pictures_wants_as_many(tmp_path: Path) -> None:
    b = FloatBuilder(0)
    y = b.conv(("image", (3, 8, 8)), 4, normalise=False)[0]
    path = tmp_path / "model.onnx"
    onnx.save(b.model(("image", TensorProto.FLOAT, [3, 3, 8, 8]), [(y, TensorProto.FLOAT, 4)]), str(path))
    with pytest.raises(BenchError, match="takes 3 pictures at once; say BATCH=3"):
        load_workload(str(path))
    work = load_workload(str(path), batch=3)
    assert len(work.images) == 3
    assert work.judgement is not None
    assert work.judgement.values > 0


def test_layer_that_the_chip_cannot_hold_goes_to_the_host(tmp_path: Path) -> None:
    b = FloatBuilder(0)
    x = b.conv(("image", (3, 40, 40)), 4, normalise=False)[0]
    wide = b.node("Conv", [x, b.array(4, 4, 3, 3)], pads=[1] * 4)
    y = b.node("Softmax", [wide], axis=1)
    path = tmp_path / "model.onnx"
    onnx.save(b.model(("image", TensorProto.FLOAT, [1, 3, 40, 40]), [(y, TensorProto.FLOAT, 4)]), str(path))
    work = load_workload(str(path))
    second = work.graph.nodes[1].name
    refused = PlanError("layer does not fit", second)
    plans: list[Workload] = []

    def schedule(workload: Workload, _: RunOptions) -> Scheduled:
        plans.append(workload)
        if any(node.name == second for node in workload.graph.nodes):
            raise refused
        return Scheduled(cast("Plan", None), [], 0.0)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("tb.run.preparation.schedule_workload", schedule)
        kept, _ = schedule_on_chip(work, RunOptions("test", default_chip(1)))
    assert len(plans) == 2
    assert [node.op for node in kept.graph.nodes] == ["conv"]
    assert kept.share is not None
    assert [(node.kind, node.why.endswith("layer does not fit")) for node in kept.share.host] == [
        ("Conv", True), ("Softmax", False)
    ]  # fmt: skip


def test_calibration_with_other_inputs_compares_on_the_own_input(tmp_path: Path) -> None:
    b = FloatBuilder(0)
    y = b.node("Gemm", ["x", b.array(16, 5)])
    onnx.save(b.model(("x", TensorProto.FLOAT, [1, 16]), [(y, TensorProto.FLOAT, 2)]), str(tmp_path / "dense.onnx"))
    np.save(tmp_path / "narrow.npy", np.full(16, 0.01, np.float32))
    own = load_workload(str(tmp_path / "dense.onnx"))
    narrow = load_workload(str(tmp_path / "dense.onnx"), onnx=OnnxOptions(calibration=(tmp_path / "narrow.npy",)))
    assert "normal values of seed 1" in own.note
    assert own.error is not None
    assert narrow.error is not None
    assert own.error.relative < 0.05 < 0.5 < narrow.error.relative
