"""Prunings: which weights become zero, that integer layers keep the zeros, and how many activations are zero then."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest

from golden import zoo
from golden.errors import PruneError
from golden.int8 import ops
from golden.int8.density import densities
from golden.int8.quant import QConv, QGraph, quantize
from golden.net.graph import Add, BatchNorm, Conv2d, Flatten, Graph, Linear, MaxPool, Relu
from golden.net.inputs import load_image
from golden.net.weights import seeded
from golden.pruning.magnitude import keep_largest
from golden.pruning.pruning import TABLES, Pruning, load_pruning

SAME = (1, 1, 1, 1)
RESIDUAL = Graph(
    "net", "x", (3, 20, 16),
    (
        Conv2d("c1", "x", 16, (3, 3), padding=SAME, bias=False), BatchNorm("n1", "c1"), Relu("r1", "n1"),
        MaxPool("m", "r1", (2, 2), (2, 2)),
        Conv2d("c2", "m", 16, (3, 3), padding=SAME, bias=False), BatchNorm("n2", "c2"), Add("a", "m", "n2"),
        Relu("r2", "a"),
        Conv2d("c3", "r2", 8, (3, 3), padding=SAME), Relu("r3", "c3"), Flatten("flat", "r3"), Linear("fc", "flat", 10),
    ),
)  # fmt: skip
WANTED = {"c2": 0.7, "c3": 0.45, "fc": 0.3}


@pytest.fixture(scope="module")
def lenet5() -> Graph:
    return zoo.load("lenet5")


@pytest.mark.parametrize("density", [1e-9, 0.1, 0.37, 0.5, 0.99, 1.0])
@pytest.mark.parametrize("levels", [2, 5, 1000])
def test_the_largest_magnitudes_stay_and_of_equal_ones_the_first(density: float, levels: int) -> None:
    weight = np.random.default_rng(levels).integers(-levels, levels, (7, 3, 2, 5)).astype(np.float32)
    order = sorted(range(weight.size), key=lambda place: (-abs(float(weight.flat[place])), place))
    expected = np.zeros_like(weight)
    for place in order[: max(1, round(density * weight.size))]:
        expected.flat[place] = weight.flat[place]
    keep_largest(weight, density)
    np.testing.assert_array_equal(weight, expected)


def _layers(graph: QGraph) -> list[QConv]:
    return [node for node in graph.nodes if isinstance(node, QConv)]


def test_integer_layers_keep_the_zeros_and_other_parameters_stay(lenet5: Graph) -> None:
    dense, weights = seeded(lenet5, 1), seeded(lenet5, 1, load_pruning("0.3", lenet5).prune)
    graph = quantize(lenet5, weights, load_image(None, lenet5.input_shape))
    for node in _layers(graph):
        pruned = weights[f"{node.name}.weight"]
        kept = pruned != 0
        assert np.count_nonzero(kept) == round(0.3 * pruned.size)
        np.testing.assert_array_equal(pruned[kept], dense[f"{node.name}.weight"][kept])
        np.testing.assert_array_equal(weights[f"{node.name}.bias"], dense[f"{node.name}.bias"])
        assert not node.weight[~kept.reshape(node.weight.shape)].any()


def test_statistics_are_those_of_the_pruned_network_and_folding_keeps_zeros() -> None:
    weights = seeded(RESIDUAL, 2, load_pruning("0.2", RESIDUAL).prune)
    assert not np.allclose(weights["n2.running_var"], seeded(RESIDUAL, 2)["n2.running_var"], rtol=0.1)
    image = np.random.default_rng(0).normal(size=RESIDUAL.input_shape).astype(np.float32)
    (folded,) = (node for node in _layers(quantize(RESIDUAL, weights, image)) if node.name.startswith("c2"))
    assert not folded.weight[weights["c2.weight"] == 0].any()
    assert np.count_nonzero(folded.weight) == round(0.2 * folded.weight.size)


def test_one_shift_a_layer_sets_what_the_next_reads() -> None:
    """Behind a max pool, a sum and a flattening; a bias moves as a whole, and no other one does."""
    weights = seeded(RESIDUAL, 2)
    before = {key: value.copy() for key, value in weights.items()}
    image = load_image(None, RESIDUAL.input_shape)
    Pruning(RESIDUAL, "", {}, WANTED).set_inputs(weights, image)
    moved = {key for key, value in weights.items() if not np.array_equal(value, before[key])}
    assert moved == {"n1.bias", "n2.bias", "c3.bias"}
    for key in moved:
        assert np.ptp(weights[key] - before[key]) < 1e-6
    graph = quantize(RESIDUAL, weights, image)
    tensors = ops.run(graph, graph.tensors["x"].quantize(image))
    found = {name.split("+")[0]: density.inputs for name, density in densities(graph, tensors).items()}
    for layer, wanted in WANTED.items():
        count = tensors[{node.name.split("+")[0]: node.input for node in _layers(graph)}[layer]].size
        assert abs(found[layer] - wanted) < 1 / count + 0.01  # int8 sums are off by some rounding


def test_a_layer_whose_input_no_bias_sets_is_refused() -> None:
    with pytest.raises(PruneError, match="layer 'c1': no bias before a ReLU sets its input; leave"):
        Pruning(RESIDUAL, "", {}, {"c1": 0.5}).set_inputs(seeded(RESIDUAL, 1), np.zeros((3, 20, 16), np.float32))


NETWORKS = {"han2015": ("alexnet", "vgg16"), "distiller2019": ("resnet50",)}


def test_published_tables_fit_their_networks_and_give_their_published_totals() -> None:
    assert set(TABLES) == set(NETWORKS)
    kept, work = {}, {}
    for table, networks in NETWORKS.items():
        for network in networks:
            graph = zoo.load(network)
            pruning = load_pruning(table, graph)
            asked = {node: pruning.asked(node.name) for node in graph.nodes if pruning.asked(node.name)}
            sizes = {node: np.prod(next(iter(node.parameters(*_shapes(graph, node)).values()))) for node in asked}
            kept[network] = sum(each["weights"] * sizes[node] for node, each in asked.items()) / sum(sizes.values())
            work[network] = sum(
                each["weights"] * each.get("inputs", 1) * graph.node_macs(node) for node, each in asked.items()
            ) / sum(graph.node_macs(node) for node in asked)
    assert kept == pytest.approx({"alexnet": 0.11, "vgg16": 0.075, "resnet50": 0.2003}, abs=0.003)
    assert work["vgg16"] == pytest.approx(0.21, abs=0.005)


def _shapes(graph: Graph, node: object) -> list[tuple[int, int, int]]:
    return [graph.shapes[name] for name in node.inputs]  # type: ignore[attr-defined]


def _masks(tmp_path: Path, **masks: np.ndarray) -> str:
    np.savez(tmp_path / "masks.npz", **{key.replace("_", "."): mask for key, mask in masks.items()})
    return str(tmp_path / "masks.npz")


def test_masks_say_which_weights_stay_and_leave_other_tensors_alone(lenet5: Graph, tmp_path: Path) -> None:
    mask = np.random.default_rng(0).random((16, 6, 5, 5)) < 0.25
    pruning = load_pruning(_masks(tmp_path, conv2_weight=mask), lenet5)
    dense, weights = seeded(lenet5, 1), seeded(lenet5, 1)
    pruning.prune(weights)
    for key, value in dense.items():
        np.testing.assert_array_equal(weights[key], value * mask if key == "conv2.weight" else value)
    assert pruning.asked("conv2") == {"weights": mask.mean()}
    assert pruning.asked("conv1") == {}


@pytest.mark.parametrize(
    ("masks", "message"),
    [
        ({"conv2_weight": np.ones((16, 6, 5), bool)}, "has shape (16, 6, 5), the weights have (16, 6, 5, 5); give"),
        ({"conv2_weight": np.ones((16, 6, 5, 5))}, "mask 'conv2.weight' has type float64; save it as bool"),
        ({"conv1_bias": np.ones(6, bool)}, "mask 'conv1.bias' is of no weights of lenet5; name masks like 'conv1.we"),
        ({}, "holds no mask; give at least one"),
    ],
)
def test_masks_that_do_not_fit_are_refused(
    lenet5: Graph, tmp_path: Path, masks: dict[str, np.ndarray], message: str
) -> None:
    with pytest.raises(PruneError, match=re.escape(message)):
        load_pruning(_masks(tmp_path, **masks), lenet5)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("han2016", "PRUNE=han2016: give a table of densities (distiller2019, han2015), one density such as 0.3, two"),
        ("han2015", "PRUNE=han2015 has densities for alexnet and vgg16 of the zoo, not for lenet5; give one density"),
        ("han2015:both", "PRUNE=han2015:both: give a table of densities (distiller2019, han2015), one density such as"),
        ("0.3,0.5,0.5", "PRUNE=0.3,0.5,0.5: give a table of densities (distiller2019, han2015), one density such as"),
        ("0.3,0", "PRUNE=0.3,0: a density must be above 0 and at most 1"),
        ("0", "PRUNE=0: a density must be above 0 and at most 1"),
        ("1.5", "PRUNE=1.5: a density must be above 0 and at most 1"),
        ("nan", "PRUNE=nan: a density must be above 0 and at most 1"),
        ("nowhere.npz", "masks file 'nowhere.npz' does not exist; check PRUNE"),
    ],
)
def test_what_is_no_pruning_is_refused(lenet5: Graph, text: str, message: str) -> None:
    with pytest.raises(PruneError, match=re.escape(message)):
        load_pruning(text, lenet5)


def test_a_table_may_be_taken_in_part_and_two_densities_are_of_weights_and_inputs() -> None:
    alexnet = zoo.load("alexnet")
    whole, weights, inputs = (load_pruning(f"han2015{part}", alexnet) for part in ("", ":weights", ":inputs"))
    assert (weights.weights, weights.inputs) == (whole.weights, {})
    assert (inputs.weights, inputs.inputs) == ({}, whole.inputs)
    assert "tables 4 and 5" in weights.note
    assert "tables 4 and 5" not in inputs.note
    # The first layer reads the picture, and c3 a sum whose bias is that of the layer in front.
    both = load_pruning("0.2,0.4", RESIDUAL)
    assert set(both.weights.values()) == {0.2}
    assert both.inputs == {"c2": 0.4, "c3": 0.4, "fc": 0.4}
