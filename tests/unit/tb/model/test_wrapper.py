"""The generated top level."""

from __future__ import annotations

import re

import pytest

from tb.errors import BenchError
from tb.model.wrapper import Wrapper
from tb.sim.settings import MemorySettings


@pytest.mark.parametrize("nodes", [1, 2, 8])
def test_every_memory_node_gets_a_port_and_a_checker(nodes: int) -> None:
    text = Wrapper(nodes, 16, burst_beats=8, bursts=4).verilog()
    assert len(re.findall(r"systomesh_memory #\(", text)) == nodes
    checkers = re.findall(r"systomesh_axi_check #\(.BYTES\(16\), .BEATS\(8\), .BURSTS\(4\)\)", text)
    assert len(checkers) == nodes
    assert len(re.findall("systomesh_axil_check", text)) == 1
    for node in range(nodes):
        assert text.count(f".m{node}_axi_rdata(m{node}_axi_rdata)") == 1
        assert text.count(f".rdata(m{node}_axi_rdata)") == 2
    assert f"[{16 * nodes - 1}:0] memory_latency" in text


def test_open_buses_come_out_instead_of_a_memory() -> None:
    wrapper = Wrapper(2, 16, open_buses=True)
    directions = {name: direction for name, _, direction in wrapper.ports()}
    chip_drives = {"araddr", "arvalid", "rready", "awlen", "wdata", "wlast", "bready"}
    for name in (*chip_drives, "arready", "rdata", "rlast", "rvalid", "awready", "wready", "bresp", "bvalid"):
        assert directions[f"m1_axi_{name}"] == ("output" if name in chip_drives else "input")
    assert "systomesh_memory" not in wrapper.verilog()
    assert wrapper.verilog().count("systomesh_axi_check") == 2


def test_array_memory_only_where_asked_for() -> None:
    assert "systomesh_store" not in Wrapper(1, 16).verilog()
    assert ".WORDS(3)" in Wrapper(1, 16, file_memory_bytes=33).verilog()


def test_only_top_level_ports_are_public() -> None:
    text = Wrapper(1, 16).visibility(("systomesh_core_0",))
    assert 'hier_block -module "systomesh_core_0"' in text
    assert set(re.findall(r'public_flat_rw -module "(\w+)"', text)) == {"systomesh_tb"}
    assert '-var "*"' not in text


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"latency_cycles": 1}, "memory latency is 1"),
        ({"bytes_per_cycle": 0}, "memory bandwidth is 0"),
        ({"bytes_per_cycle": 256}, "memory bandwidth is 256"),
        ({"stall_256": 256}, "memory stall is 256"),
    ],
)
def test_settings_outside_their_rule_are_refused(settings: dict, message: str) -> None:
    with pytest.raises(BenchError, match=message):
        MemorySettings(**settings)


@pytest.mark.parametrize("link_bytes", [8, 16])
def test_a_port_carries_its_width_each_way(link_bytes: int) -> None:
    MemorySettings(bytes_per_cycle=2 * link_bytes).require_port(link_bytes)
    with pytest.raises(BenchError, match=f"is {2 * link_bytes}.25: the port .* give at most {2 * link_bytes}, or"):
        MemorySettings(bytes_per_cycle=2 * link_bytes + 0.25).require_port(link_bytes)


def test_settings_are_packed_per_node() -> None:
    assert MemorySettings(latency_cycles=5).packed(2, 16) == (0x0005_0005, 0x1000_1000)
    assert MemorySettings(bytes_per_cycle=2.5).packed(1, 16) == (64, 0x280)
