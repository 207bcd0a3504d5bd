"""Zoo networks against published figures."""

import numpy as np
import pytest

from golden import zoo
from golden.errors import GoldenError
from golden.int8 import ops
from golden.int8.quant import quantize
from golden.net.float_ops import iterate_float
from golden.net.graph import Conv2d, Linear
from golden.net.inputs import load_image
from golden.net.weights import seeded


def test_vgg16_has_its_published_size():
    """138,357,544 parameters (torchvision's model card) and 15.47 GMACs."""
    graph = zoo.load("vgg16")
    assert graph.params == 138_357_544
    assert graph.macs == 15_470_264_320
    convs = [node for node in graph.nodes if isinstance(node, Conv2d)]
    assert sum(graph.node_macs(node) for node in convs) == 15_346_630_656
    assert len(convs) == 13
    assert sum(isinstance(node, Linear) for node in graph.nodes) == 3
    assert graph.shapes["pool5"] == (512, 7, 7)
    assert graph.shapes[graph.outputs[0]] == (1000, 1, 1)


def test_vgg16_takes_torchvision_weights():
    parameters = zoo.load("vgg16").parameters
    indices = (0, 2, 5, 7, 10, 12, 14, 17, 19, 21, 24, 26, 28)
    layers = [f"features.{index}" for index in indices] + [f"classifier.{index}" for index in (0, 3, 6)]
    assert list(parameters) == [f"{layer}.{kind}" for layer in layers for kind in ("weight", "bias")]
    assert parameters["features.28.weight"] == (512, 512, 3, 3)
    assert parameters["classifier.0.weight"] == (4096, 25088)


def test_lenet5_has_its_full_size():
    """61,706 parameters: LeCun's C1, C5 and F6 figures (156, 48,120 and 10,164), dense C3 (2,416), linear out (850)."""
    graph = zoo.load("lenet5")
    sizes = {node.name: graph.node_params(node) for node in graph.nodes if graph.node_params(node)}
    assert sizes == {"conv1": 156, "conv2": 2_416, "fc1": 48_120, "fc2": 10_164, "fc3": 850}
    assert graph.params == 61_706
    assert graph.macs == 416_520
    assert graph.shapes["pool2"] == (16, 5, 5)


PUBLISHED = {
    "alexnet": (61_100_840, 0.714),
    "vgg11": (132_863_336, 7.609),
    "vgg16": (138_357_544, 15.470),
    "resnet18": (11_689_512, 1.814),
    "resnet50": (25_557_032, 4.089),
    "googlenet": (6_624_904, 1.498),
    "squeezenet1_1": (1_235_496, 0.349),
    "mobilenet_v2": (3_504_872, 0.301),
    "mobilenet_v1": (4_231_976, 0.569),
}
"""Learned parameters (running statistics are not) and 10**9 multiply-accumulates. From the model cards of torchvision's
weights (``num_params``, ``_ops``); for mobilenet_v1 569 million from the paper's table 4, and Keras' count of trainable
parameters, which the paper rounds to 4.2 million."""


@pytest.mark.parametrize(("name", "params", "giga_macs"), [(name, *size) for name, size in PUBLISHED.items()])
def test_sizes_are_the_published_ones(name, params, giga_macs):
    graph = zoo.load(name)
    assert graph.params == params
    assert round(graph.macs / 1e9, 3) == giga_macs
    assert graph.shapes[graph.outputs[0]] == (1000, 1, 1)


@pytest.mark.parametrize(
    ("name", "count", "some"),
    [
        ("alexnet", 16, {"features.10.weight": (256, 256, 3, 3), "classifier.1.weight": (4096, 9216)}),
        ("resnet18", 102, {"layer4.0.downsample.0.weight": (512, 256, 1, 1), "layer1.1.bn2.running_var": (64,)}),
        ("resnet50", 267, {"layer2.0.conv2.weight": (128, 128, 3, 3), "layer4.2.bn3.running_mean": (2048,)}),
        ("googlenet", 287, {"inception4a.branch3.1.conv.weight": (48, 16, 3, 3), "conv1.bn.bias": (64,)}),
        ("squeezenet1_1", 52, {"features.12.expand3x3.weight": (256, 64, 3, 3), "classifier.1.bias": (1000,)}),
        ("mobilenet_v2", 262, {"features.1.conv.0.0.weight": (32, 1, 3, 3), "features.17.conv.3.weight": (320,)}),
        ("mobilenet_v1", 137, {"model.13.3.weight": (1024, 1024, 1, 1), "model.1.0.weight": (32, 1, 3, 3)}),
    ],
)
def test_names_and_shapes_are_those_of_state_dicts(name, count, some):
    """`count` is the length of the state dict without ``num_batches_tracked`` (and googlenet's auxiliary heads)."""
    tensors = zoo.load(name).tensors
    assert len(tensors) == count
    assert {key: tensors[key] for key in some} == some


@pytest.mark.parametrize(
    ("name", "value", "shape"),
    [
        ("alexnet", "features.12", (256, 6, 6)),
        ("resnet50", "layer4.2.relu", (2048, 7, 7)),
        ("googlenet", "maxpool1", (64, 56, 56)),
        ("googlenet", "maxpool3", (480, 14, 14)),
        ("squeezenet1_1", "features.8", (256, 13, 13)),
        ("mobilenet_v2", "features.18.2", (1280, 7, 7)),
    ],
)
def test_shapes_inside_are_those_of_torchvision(name, value, shape):
    assert zoo.load(name).shapes[value] == shape


@pytest.mark.parametrize("name", ["lenet5", "resnet18", "googlenet", "squeezenet1_1", "mobilenet_v1", "mobilenet_v2"])
def test_seeded_networks_stay_alive_and_survive_int8(name):
    """Larger networks of the same kinds are left to the scheduler's slow test."""
    graph = zoo.load(name)
    weights, image = seeded(graph, 1), load_image(None, graph.input_shape)
    qgraph = quantize(graph, weights, image)
    tensors = ops.run(qgraph, qgraph.tensors[qgraph.input].quantize(image))
    for key, tensor in qgraph.tensors.items():
        flat = tensors[key].reshape(tensor.shape[0], -1)
        assert (flat == tensor.zero_point).all(axis=1).mean() < 0.7, f"{key}: most channels are dead"
    for key, value in iterate_float(graph, weights, image):
        if key in qgraph.outputs:
            error = qgraph.tensors[key].dequantize(tensors[key]) - value
            assert np.linalg.norm(error) < 0.25 * np.linalg.norm(value)


@pytest.mark.parametrize("name", zoo.ZOO)
def test_every_network_carries_its_own_name(name):
    assert zoo.load(name).name == name


def test_an_unknown_network_is_refused_with_the_known_ones():
    with pytest.raises(GoldenError, match="unknown network 'vgg17'; choose one of: alexnet, googlenet, lenet5,"):
        zoo.load("vgg17")
