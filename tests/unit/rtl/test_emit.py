"""The emitted Verilog: each module once, clean for Verilator's lint.

`tests/unit/tb/structure/test_structure.py` reads it back with pyverilog and yosys; that the same parameters give the
same bytes in every process, `tests/unit/tb/model/test_emitted.py` says.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sysconfig
from collections import Counter
from pathlib import Path

import pytest
from amaranth.back import rtlil

from rtl.chip import Chip
from rtl.contract.params import ChipParams, CoreParams, MemoryNodeParams
from rtl.contract.params import Direction as Side
from rtl.emit import LINT_WAIVERS, TIMESCALE, TOP, EmittedChip, emit, main

SQUARE = CoreParams(rows=4, cols=4, act_bytes=1024, weight_bytes=1024, acc_entries=32, param_blocks=2)
WIDE = CoreParams(rows=4, cols=8, act_bytes=2048, weight_bytes=1024, acc_entries=32, param_blocks=2)


def small_chip(*cores: CoreParams, link_bytes: int = 8, vcs_per_class: int = 1) -> ChipParams:
    return ChipParams(
        mesh_width=len(cores),
        mesh_height=1,
        cores=cores,
        memory_nodes=(MemoryNodeParams(0, 0, Side.WEST), MemoryNodeParams(len(cores) - 1, 0, Side.EAST)),
        link_bytes=link_bytes,
        max_packet_flits=8,
        vc_depth=8,
        vcs_per_class=vcs_per_class,
    )


CHIPS = {
    "one module for two cores": small_chip(SQUARE, SQUARE),
    "narrow links, two channels, different cores": small_chip(SQUARE, WIDE, link_bytes=4, vcs_per_class=2),
}


@pytest.fixture(scope="module", params=list(CHIPS.values()), ids=list(CHIPS))
def emitted(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> EmittedChip:
    return emit(request.param, tmp_path_factory.mktemp("rtl"))


def run(command: list[str], directory: Path) -> None:
    done = subprocess.run(command, cwd=directory, capture_output=True, text=True, env=tool_environment())
    assert done.returncode == 0, done.stdout + done.stderr


def tool_environment() -> dict[str, str]:
    """With the installed Verilator behind whatever is on PATH."""
    path = os.pathsep.join([os.environ["PATH"], str(Path(sysconfig.get_path("purelib")) / "verilator" / "bin")])
    return {**os.environ, "PATH": path}


def verilator(directory: Path, *arguments: str) -> None:
    tool = shutil.which("verilator", path=tool_environment()["PATH"])
    if tool is None:
        pytest.skip("no Verilator")
    run([tool, "--lint-only", "-Wall", *arguments], directory)


def test_each_module_is_defined_once_in_a_file_of_its_name(emitted: EmittedChip) -> None:
    modules: Counter[str] = Counter()
    for file in emitted.files:
        names = re.findall(r"^module ([^\s(;]+)", file.read_text(), re.MULTILINE)
        modules.update(names)
        assert file.stem in names
    assert set(modules.values()) == {1}
    assert emitted.top == TOP == emitted.files[-1].stem
    assert set(emitted.hier_modules) <= modules.keys()
    instances = re.findall(r"^  (systomesh_\w+) ", emitted.files[-1].read_text(), re.MULTILINE)
    assert instances.count("systomesh_router") == 2
    assert instances.count("systomesh_port") == 4
    assert instances.count("systomesh_memory_node") == 2
    assert sum(instances.count(core) for core in emitted.hier_modules) == 2


def test_top_ports_have_the_names_of_the_axi_standard(emitted: EmittedChip) -> None:
    ports = {port.name: port for port in emitted.ports}
    text = emitted.files[-1].read_text()
    declared = re.search(rf"^module {TOP}\((.*?)\);", text, re.MULTILINE | re.DOTALL)
    assert declared is not None
    assert {name.strip() for name in declared[1].split(",")} == ports.keys()
    assert ports["s_axil_awaddr"].bits == 16
    assert ports["s_axil_awaddr"].is_input
    assert ports["m1_axi_araddr"].bits == 32
    assert not ports["m1_axi_araddr"].is_input
    assert ports["m0_axi_wstrb"].bits * 8 == ports["m0_axi_rdata"].bits
    assert {"clk", "rst", "irq"} <= ports.keys()


def test_verilator_lint_is_clean_with_the_written_waivers(emitted: EmittedChip) -> None:
    files = [file.name for file in emitted.files]
    verilator(emitted.files[0].parent, "--top-module", emitted.top, str(LINT_WAIVERS), *files)


def test_hand_written_verilog_is_clean_without_waivers(emitted: EmittedChip) -> None:
    bodies = sorted(LINT_WAIVERS.parent.glob("*.v"))
    assert [body.stem for body in bodies] == ["systomesh_pe_grid", "systomesh_ram", "systomesh_sparse_grid"]
    for body in bodies:
        verilator(emitted.files[0].parent, str(body))
    for sizes in ("-GROWS=4", "-GCOLS=4"):
        verilator(emitted.files[0].parent, sizes, str(bodies[0]))


def test_amaranth_finds_no_combinational_loop() -> None:
    rtlil.convert(Chip(chip=small_chip(SQUARE, WIDE)))  # raises CombinationalCycle


def test_command_line_lists_the_files(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    toml = tmp_path / "chip.toml"
    toml.write_text(
        "mesh_width = 1\nmesh_height = 1\nlink_bytes = 4\n"
        "[core]\nrows = 4\ncols = 4\nact_bytes = 1024\nweight_bytes = 1024\nacc_entries = 32\nparam_blocks = 2\n"
    )
    assert main(["--chip", str(toml), "--out", str(tmp_path / "rtl")]) == 0
    files = [Path(line) for line in capsys.readouterr().out.splitlines()]
    assert files[-1].name == f"{TOP}.v"
    assert all(file.read_text().startswith(TIMESCALE) for file in files)


def test_command_line_refuses_bad_chips(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stopped:
        main(["--cores", "65", "--out", str(tmp_path)])
    assert stopped.value.code == 2
    assert "CORES is 65" in capsys.readouterr().err
