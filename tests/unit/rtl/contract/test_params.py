"""Chip parameters refuse what they cannot build, and say why."""

import json
import re
from dataclasses import replace
from pathlib import Path

import pytest

from rtl.contract.params import (
    ChipParams,
    CoreParams,
    Direction,
    MemoryNodeParams,
    ParameterError,
    chip_table,
    default_chip,
    load_chip,
    mesh_shape,
)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"rows": 12}, "core.rows is 12: it must be a power of two from 4 to 64"),
        ({"cols": 128}, "core.cols is 128: it must be a power of two from 4 to 64"),
        ({"act_bytes": 1000}, "core.act_bytes is 1000"),
        ({"acc_entries": 16}, "core.acc_entries is 16"),
        ({"tap_columns": 0}, "core.tap_columns is 0: it must be a whole number from 1 to 8"),
        ({"tap_columns": 9}, "core.tap_columns is 9"),
        ({"rows": "16"}, "core.rows is '16'"),
        ({"rows": True}, "core.rows is True"),
        ({"marks": 1}, "core.marks is 1: it must be 0, or a power of two from 2 to 256"),
        ({"marks": 12}, "core.marks is 12"),
        ({"marks": 512}, "core.marks is 512"),
        ({"marks": False}, "core.marks is False"),
        ({"multicast": 1}, "core.multicast is 1: it must be true or false"),
    ],
)
def test_core_refuses(values: dict, message: str):
    with pytest.raises(ParameterError, match=re.escape(message)):
        CoreParams(**values)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"mesh_width": 9}, "chip.mesh_width is 9: it must be a whole number from 1 to 8"),
        ({"cores": (CoreParams(),)}, "chip.cores is 1: it must be one entry per core of the 2x2 mesh (4)"),
        ({"vc_depth": 16}, "chip.vc_depth is 16: it must be a whole number from 32 to 256"),
        ({"memory_nodes": ()}, "chip.memory_nodes is 0"),
        ({"memory_nodes": (MemoryNodeParams(1, 0, Direction.WEST),)}, "on an outward port of the 2x2 mesh"),
        ({"memory_nodes": (MemoryNodeParams(0, 0, Direction.WEST),) * 2}, "on a port of its own"),
        ({"link_bytes": 3}, "chip.link_bytes is 3"),
        ({"counters": 1}, "chip.counters is 1: it must be true or false"),
    ],
)
def test_chip_refuses(values: dict, message: str):
    with pytest.raises(ParameterError, match=re.escape(message)):
        ChipParams(**values)


def test_long_packets_on_wide_links_stay_within_an_axi_burst():
    with pytest.raises(ParameterError, match="a power of two from 8 to 64"):
        ChipParams(link_bytes=64, max_packet_flits=128, vc_depth=128)
    ChipParams(link_bytes=64, max_packet_flits=64)


@pytest.mark.parametrize(
    ("cores", "shape"), [(1, (1, 1)), (2, (2, 1)), (4, (2, 2)), (8, (4, 2)), (16, (4, 4)), (6, (3, 2))]
)
def test_mesh_is_as_square_as_the_count_divides(cores: int, shape: tuple[int, int]):
    assert mesh_shape(cores) == shape


@pytest.mark.parametrize("cores", [0, 65, 11, -1])
def test_mesh_refuses_counts_without_a_mesh(cores: int):
    with pytest.raises(ParameterError, match=f"CORES is {cores}"):
        mesh_shape(cores)


@pytest.mark.parametrize("cores", [1, 2, 4, 6, 8, 16, 64])
def test_preset_spreads_cores_over_memory_nodes(cores: int):
    chip = default_chip(cores)
    load = [chip.home_memory.count(m) for m in range(len(chip.memory_nodes))]
    assert len(chip.memory_nodes) == min(16, max(1, cores // 2))
    assert max(load) - min(load) <= 1


def test_default_preset_is_the_published_one():
    chip = default_chip(4)
    assert (chip.pes, chip.dram_bytes_per_cycle, chip.n_nodes) == (1024, 32, 6)


def test_toml_describes_every_core(tmp_path: Path):
    path = tmp_path / "chip.toml"
    path.write_text(
        'mesh_width = 2\nmesh_height = 1\nlink_bytes = 8\ncore.rows = 8\ncores = [{cols = 32}, {rows = 4}]\n'
        'memory_nodes = [{x = 1, y = 0, side = "south"}]\n'
    )
    chip = load_chip(path)
    assert [(c.rows, c.cols) for c in chip.cores] == [(8, 32), (4, 16)]
    assert chip.memory_nodes == (MemoryNodeParams(1, 0, Direction.SOUTH),)
    assert chip.link_bytes == 8


@pytest.mark.parametrize("cores", [(CoreParams(8, 4, marks=2),) * 2, (CoreParams(), CoreParams(engines=("tap",)))])
def test_the_table_of_a_chip_is_that_of_its_file(tmp_path: Path, cores: tuple[CoreParams, ...]):
    chip = ChipParams(2, 1, cores, (MemoryNodeParams(1, 0, Direction.SOUTH),), link_bytes=8, counters=True)
    table = chip_table(chip)
    assert ("core" in table) == (cores[0] == cores[1])
    path = tmp_path / "chip.toml"
    path.write_text("\n".join(f"{key} = {_toml(value)}" for key, value in table.items()))
    assert load_chip(path) == chip


def _toml(value: object) -> str:
    """A value in TOML, tables within a line."""
    if isinstance(value, dict):
        return "{" + ", ".join(f"{key} = {_toml(each)}" for key, each in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(map(_toml, value)) + "]"
    return json.dumps(value)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("mesh_width = ", "is not valid TOML"),
        ("mesh_widht = 2", "chip key is 'mesh_widht': it must be one of"),
        ("core.row = 2", "core key is 'row'"),
        ('memory_nodes = [{x = 0, y = 0, side = "up"}]', "memory_nodes.side is 'up'"),
        ("memory_nodes = [3]", "memory_nodes is 3"),
        ("memory_nodes = 3", "memory_nodes is 3"),
        ("cores = 4", "cores is 4: it must be a list of tables"),
        ("core = 4", "core is 4: it must be a table"),
        ('link_bytes = "wide"', "chip.link_bytes is 'wide'"),
        ('memory_nodes = [{x = "a", y = 0, side = "west"}]', "memory_node.x is 'a'"),
    ],
)
def test_toml_mistakes_name_file_key_and_rule(tmp_path: Path, text: str, message: str):
    path = tmp_path / "chip.toml"
    path.write_text(text)
    with pytest.raises(ParameterError, match=re.escape(message)) as caught:
        load_chip(path)
    assert str(path) in str(caught.value)


def test_missing_toml_is_named(tmp_path: Path):
    with pytest.raises(ParameterError, match=r"cannot read chip file .*none\.toml"):
        load_chip(tmp_path / "none.toml")


def test_marks_of_a_chip_are_those_of_the_core_with_the_largest_trace_memory():
    assert default_chip(2).marks == 0
    cores = (CoreParams(marks=2), CoreParams(marks=256))
    assert replace(default_chip(2), cores=cores).marks == 256
