"""Samples of machine code, traced to blocks of the chip."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from tb.model.blocks import ELSEWHERE, shares_by_block
from tb.model.toolchain import find_compiler

# One statement over several lines, as Verilator writes them; the second function is not of the model.
MODEL = """
struct Root { int systomesh_tb__DOT__chip__DOT__core_3__DOT__logic__DOT__compute__DOT__array__DOT__row12__DOT__psum;
              int systomesh_tb__DOT__chip__DOT__mesh__DOT__router_0_1__DOT__buffer_west__DOT__level; } root;
__attribute__((noinline)) void row(int a) {
    root.systomesh_tb__DOT__chip__DOT__core_3__DOT__logic__DOT__compute__DOT__array__DOT__row12__DOT__psum
        += (a
            * a);
}
__attribute__((noinline)) void router(int a) {
    root.systomesh_tb__DOT__chip__DOT__mesh__DOT__router_0_1__DOT__buffer_west__DOT__level -= a;
}
"""
OTHER = "void row(int); void router(int); int main(int n, char**) { row(n); router(n); return 0; }"


@pytest.fixture(scope="module")
def program(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("program")
    (folder / "Vtop__0.cpp").write_text(MODEL)
    (folder / "main.cpp").write_text(OTHER)
    command = [find_compiler().path, "-O1", "-g1", "-o", "sim", "Vtop__0.cpp", "main.cpp"]
    subprocess.run(command, cwd=folder, check=True, timeout=60)
    return folder


def functions(program: Path) -> dict[str, range]:
    out = subprocess.run(["nm", "-S", "-C", program / "sim"], capture_output=True, text=True, check=True).stdout
    rows = [row for line in out.splitlines() if len(row := line.split(maxsplit=3)) == 4]
    return {row[3].partition("(")[0]: range(int(row[0], 16), int(row[0], 16) + int(row[1], 16)) for row in rows}


def test_samples_count_for_the_kind_of_block_whose_statement_they_hit(program: Path) -> None:
    places = functions(program)
    samples = [places["row"][-1]] * 5 + [places["row"][0], places["router"][-1], places["main"][0]] * 2
    assert shares_by_block(program / "sim", program, samples) == pytest.approx(
        {"core.logic.compute.array.row": 7 / 11, "mesh.router.buffer_west": 2 / 11, ELSEWHERE: 2 / 11}
    )
