"""cocotb-test's `run` as an entry point: builds and runs a bench, and counts the tests that ran."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest
from cocotb_test.simulator import run

from tb.model import toolchain
from tb.sim.session import executed_tests

__all__ = ["HDL_DIR", "run_with_cocotb_test"]

ROOT = Path(toolchain.__file__).parents[2]
HDL_DIR = ROOT / "tb" / "hdl"


def run_with_cocotb_test(
    simulator: str,
    toplevel: str,
    module: str,
    sources: Sequence[Path],
    folder: Path,
    *,
    expected_tests: int,
    compile_args: Sequence[str] = (),
    plus_args: Sequence[str] = (),
    parameters: dict[str, Any] | None = None,
) -> None:
    """Build in `folder` and run; a bench that has not run exactly `expected_tests` tests has failed.

    Parameters
    ----------
    compile_args : for Verilator only
    """
    options: dict[str, Any] = {"compile_args": ["-g2005"]}
    with pytest.MonkeyPatch.context() as patch:
        if simulator == "verilator":
            for name, value in toolchain.find_verilator().environment().items():
                patch.setenv(name, value)
            options = {
                "compile_args": ["-Wno-fatal", "-Wno-lint", *compile_args],
                "make_args": ["-j2"],
                "extra_env": {"COCOTB_TRUST_INERTIAL_WRITES": "1"},
            }
        else:
            patch.delenv("MAKEFLAGS", raising=False)
        patch.delenv("COCOTB_RESULTS_FILE", raising=False)
        patch.chdir(folder)
        try:
            results = run(
                simulator=simulator, toplevel=toplevel, module=module, toplevel_lang="verilog",
                verilog_sources=[str(source) for source in sources], sim_build=str(folder / "build"),
                plus_args=list(plus_args), timescale="1ns/1ps", parameters=parameters or {},
                python_search=[str(ROOT), str(ROOT / "sched"), *os.environ.get("PYTHONPATH", "").split(os.pathsep)],
                **options,
            )  # fmt: skip
            ran, failed = executed_tests(Path(results))
        except ElementTree.ParseError:  # cocotb found no test in the module and left the file empty
            ran, failed = 0, 0
    assert (ran, failed) == (expected_tests, 0), f"{ran} tests ran, {failed} failed; {expected_tests} expected"
