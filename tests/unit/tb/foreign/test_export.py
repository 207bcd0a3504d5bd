"""Inputs of other tools: each holds the sizes of our layers, and says what it cannot hold."""

from __future__ import annotations

import configparser
import json
from pathlib import Path

import onnx
import pytest
import yaml

from golden.layer_lists.scalesim import read_topology
from golden.layer_lists.zigzag import read_workload
from rtl.contract.params import default_chip
from tb.errors import BenchError
from tb.foreign.export import export
from tb.foreign.shapes import LayerShape, shapes_of
from tb.foreign.tool import Manifest, Target
from tb.foreign.tools import TOOLS
from tb.sim.settings import MemorySettings
from tests.foreign import TARGET, exported, small_graph


def _kinds(manifest: Manifest) -> list[LayerShape]:
    """One layer of each line."""
    return [next(e.layer for e in manifest.entries if e.line == line) for line in {e.line for e in manifest.entries}]


def test_shapes_are_those_of_the_quantised_graph() -> None:
    shapes, missing = shapes_of(small_graph())
    assert [shape.kind for shape in shapes] == ["conv", "pool", "depthwise", "pool", "fc"]
    assert [shape.name for shape in shapes] == ["Layer0", "Layer1", "dw", "Layer4", "Layer5"]
    assert [each.what for each in missing] == ["Layer3"]
    first, _, deep, _, last = shapes
    assert (first.reach, first.depth, first.macs, first.first) == ((33, 33), 27, 256 * 16 * 27, True)
    assert (first.array_cycles(16, 16), deep.array_cycles(16, 16)) == (2 * 256, 0)
    assert last.reads == "Layer4"
    assert first.least_bytes(16) == 3 * 33 * 33 + 16 * 27 + 256 * 16
    assert deep.least_bytes(16) == 2 * 64 * 16 + 16 * 9
    assert LayerShape.of(json.loads(json.dumps(first.as_dict()))) == first


def test_channels_are_not_packed_where_a_layer_of_the_chip_makes_them() -> None:
    shapes, _ = shapes_of(small_graph())
    inner = LayerShape(**{**shapes[0].__dict__, "channels": 20, "first": False, "residual": True})
    assert inner.array_cycles(16, 16) == 9 * 2 * 256
    assert inner.sum_cycles(16) == 256
    assert inner.least_bytes(16) - shapes[0].least_bytes(16) == (32 - 3) * 33 * 33 + 16 * (180 - 27) + 256 * 16


@pytest.mark.parametrize("tool", TOOLS)
def test_every_tool_gets_its_inputs_and_a_list_by_which_to_read_the_outputs(tool: str, tmp_path: Path) -> None:
    manifest, missing = export(tool, TARGET, "small", small_graph(), tmp_path)
    told = {entry.layer.name for entry in manifest.entries} | {each.what for each in missing}
    assert told >= {"Layer0", "Layer1", "dw", "Layer3", "Layer4", "Layer5"}
    assert {"Layer0", "Layer5"} <= {entry.layer.name for entry in manifest.entries}
    facts = json.loads((tmp_path / "layers.json").read_text())
    assert Manifest.of(facts, "layers.json") == manifest


def test_topology_of_scalesim_has_the_outputs_of_the_layers(tmp_path: Path) -> None:
    manifest = exported("scalesim", tmp_path)
    graph = read_topology((tmp_path / "topology.csv").read_text(), "topology.csv").graph
    for line, layer in enumerate(_kinds(manifest)):
        channels = 1 if layer.kind == "depthwise" else layer.filters
        assert graph.shapes[f"L{line}"] == (channels, *layer.out)
    settings = configparser.ConfigParser()
    settings.read(tmp_path / "scale.cfg")
    presets = settings["architecture_presets"]
    assert (presets["ArrayHeight"], presets["IfmapSramSzkB"], presets["Dataflow"]) == ("16", "256", "ws")
    assert [entry.times for entry in manifest.entries] == [1, 16, 1]


def test_workload_of_zigzag_has_the_work_of_the_layers(tmp_path: Path) -> None:
    manifest = exported("zigzag", tmp_path)
    graph = read_workload((tmp_path / "workload.yaml").read_text(), "workload.yaml").graph
    for line, layer in enumerate(_kinds(manifest)):
        assert graph.shapes[f"L{line}"] == (layer.filters, *layer.out)
    assert graph.macs == sum(entry.layer.macs for entry in manifest.entries if entry.layer.kind != "pool")
    hardware = yaml.safe_load((tmp_path / "hardware.yaml").read_text())
    assert hardware["operational_array"]["sizes"] == [16, 16]
    assert hardware["memories"]["dram"]["ports"][0]["bandwidth_max"] == 128
    mappings = yaml.safe_load((tmp_path / "mapping.yaml").read_text())
    first = next(each for each in mappings if each["name"] == "L0")
    assert first["spatial_mapping"] == {"D1": ["K, 16"], "D2": ["C, 3", "FX, 3"]}


def test_stream_gets_the_mesh_and_its_memory_nodes(tmp_path: Path) -> None:
    exported("stream", tmp_path, Target(default_chip(4), MemorySettings(bytes_per_cycle=8)))
    hardware = yaml.safe_load((tmp_path / "hardware.yaml").read_text())
    links = {(*link["cores"], link["bandwidth"]) for link in hardware["core_connectivity"]}
    assert {(0, 1, 128), (0, 2, 128), (1, 3, 128), (2, 3, 128)} < links
    assert {link for link in links if link[1] == 4} == {(0, 4, 64), (3, 4, 64)}
    assert hardware["core_coordinates"][3] == [1, 1]
    assert yaml.safe_load((tmp_path / "L0" / "mapping.yaml").read_text())[0]["inter_core_tiling"] == ["K, 4"]


def test_onnxim_gets_a_model_for_each_layer(tmp_path: Path) -> None:
    manifest = exported("onnxim", tmp_path)
    for line, layer in enumerate(_kinds(manifest)):
        model = onnx.load(tmp_path / f"L{line}" / f"L{line}.onnx")
        onnx.checker.check_model(model, full_check=True)
        out = [size.dim_value for size in model.graph.output[0].type.tensor_type.shape.dim]
        assert out == ([1, layer.filters] if layer.operator == "fc" else [1, layer.filters, *layer.out])
    assert json.loads((tmp_path / "config.json").read_text())["spad_size"] == 320


def test_timeloop_and_maestro_get_the_sizes(tmp_path: Path) -> None:
    exported("timeloop", tmp_path / "timeloop")
    problem = yaml.safe_load((tmp_path / "timeloop" / "L0" / "problem.yaml").read_text())["problem"]["instance"]
    assert (problem["C"], problem["M"], problem["P"], problem["R"], problem["Wstride"]) == (3, 16, 16, 3, 2)
    exported("maestro", tmp_path / "maestro")
    text = (tmp_path / "maestro" / "mapping.m").read_text()
    assert "Dimensions { K: 16, C: 3, R: 3, S: 3, Y: 33, X: 33 }" in text
    assert "Type: DSCONV" in text
    assert (tmp_path / "maestro" / "hardware.m").read_text().startswith("num_pes: 256\n")


def test_an_unknown_tool_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BenchError, match="unknown tool 'gem5'; choose one of scalesim"):
        export("gem5", TARGET, "small", small_graph(), tmp_path)
