"""A small campaign, and that its parts can tell good from bad."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from rtl.contract.params import CoreParams, default_chip
from rtl.lib.fifo import Fifo
from tests.mutation.blocks import BLOCKS, blocks_below
from tests.mutation.campaign import CampaignError, run_block
from tests.mutation.equivalence import Judge, Verdict
from tests.mutation.netlist import OUTSIDE, TOP, mutated_netlist
from tests.mutation.records import Records, save_all

ROOT = Path(__file__).resolve().parents[2]
MUTANTS = 12

BLIND = """
from amaranth.sim import Simulator
from rtl.lib.fifo import Fifo

def test_looks_at_nothing():
    dut = Fifo(shape=8, depth=1)
    sim = Simulator(dut)
    sim.add_clock(1e-6)
    async def bench(ctx):
        ctx.set(dut.i.valid, 1)
        await ctx.tick().repeat(3)
    sim.add_testbench(bench)
    sim.run()
"""


def test_the_bench_of_the_smallest_fifo_kills_its_mutants_and_that_is_kept(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "tests.mutation", "--block", "fifo_1", "--mutants", str(MUTANTS)]
    command += ["--folder", str(tmp_path)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert f"of {MUTANTS} killed" in done.stdout
    page = tmp_path / "page"
    kept = Records(tmp_path).find("fifo_1")
    assert kept
    save_all(tmp_path / "page.json", [replace(kept, result=replace(kept.result, block="ram"))])
    command += ["--jobs", "2", "--out", str(page)]
    again = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert again.returncode == 0
    assert again.stdout in done.stdout, "the same table, and nothing was run"
    assert f"2 blocks, {2 * MUTANTS} mutants: " in (text := (tmp_path / "page.md").read_text())
    assert "| fifo_1 |" in text
    assert "| ram " in text, "the page keeps what was not asked for"
    record = Records(tmp_path).current("fifo_1", mutants=MUTANTS, seed=1)
    assert record
    assert record.result.killed + len(record.result.survivors) == MUTANTS
    assert not Records(tmp_path).current("fifo_1", mutants=MUTANTS, seed=2)


def test_a_bench_that_looks_at_nothing_kills_nothing(tmp_path: Path) -> None:
    bench = tmp_path / "test_blind.py"
    bench.write_text(BLIND)
    result = run_block(replace(BLOCKS["fifo_1"], bench=str(bench)), tmp_path / "work", mutants=4)
    assert result.killed == 0
    assert result.survived > 0
    assert result.score == 0


def test_a_bench_that_does_not_make_the_block_is_refused(tmp_path: Path) -> None:
    bench = tmp_path / "test_other.py"
    bench.write_text(BLIND.replace("depth=1", "depth=2"))
    with pytest.raises(CampaignError, match="makes no Fifo"):
        run_block(replace(BLOCKS["fifo_1"], bench=str(bench)), tmp_path / "work", mutants=4)


def test_equivalent_mutants_are_told_from_others(tmp_path: Path) -> None:
    netlist = mutated_netlist(Fifo(shape=2, depth=1), tmp_path, mutants=12, seed=1)
    swaps = [mutant for mutant in netlist.mutants if "->" in mutant.text]
    judge = Judge(netlist, tmp_path / "judge")
    judged = {mutant.text.rpartition(" ")[0]: judge.judge(mutant.number) for mutant in swaps}
    # `push ^ pop` guards `level <= push`: where both are 1 and the word stays, `|` writes the 1 that is there.
    assert judged["$xor -> $or"].verdict is Verdict.EQUAL
    assert judged["$or -> $and"].verdict is Verdict.DIFFERENT


def test_mutants_of_a_block_with_a_body_are_in_the_body(tmp_path: Path) -> None:
    block = BLOCKS["grid"]
    netlist = mutated_netlist(block.cls(rows=4, cols=4), tmp_path, mutants=30, seed=1, body=block.body)
    module = json.loads((tmp_path / "flat.json").read_text())["modules"][TOP]
    assert [cell["type"] for cell in module["cells"].values()].count("$mul") == 16
    names = " ".join(module["netnames"])
    assert "dut.body.psum[14]" in names
    assert "row0" not in names
    assert len(netlist.mutants) == 30


def test_a_block_inside_another_is_mutated_under_its_own_name_only(tmp_path: Path) -> None:
    core = CoreParams(rows=4, cols=4, act_bytes=1024, weight_bytes=1024, acc_entries=32)
    store = BLOCKS["store"].cls(core=core, chip=default_chip(1, core))
    netlist = mutated_netlist(store, tmp_path, mutants=60, seed=1, leave_out=blocks_below(BLOCKS["store"]))
    cells = json.loads((tmp_path / "flat.json").read_text())["modules"][TOP]["cells"]
    for submodule in ("drain", "post"):
        assert any(f"{submodule}.\\{OUTSIDE}" in name for name in cells), f"no cell of {submodule}"
    assert netlist.candidates < len(cells)
    mutated = [mutant.text.partition(" (")[0] for mutant in netlist.mutants]  # a wire may lead into another block
    assert not any(OUTSIDE in cell for cell in mutated)
