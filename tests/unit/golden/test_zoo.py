"""Zoo networks against published figures."""

import pytest

from golden import zoo
from golden.errors import GoldenError
from golden.graph import Conv2d, Linear


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


@pytest.mark.parametrize("name", zoo.ZOO)
def test_every_network_carries_its_own_name(name):
    assert zoo.load(name).name == name


def test_an_unknown_network_is_refused_with_the_known_ones():
    with pytest.raises(GoldenError, match="unknown network 'vgg17'; choose one of: lenet5, vgg16"):
        zoo.load("vgg17")
