"""`PeGrid` and its Verilog body, compared register by register."""

from __future__ import annotations

import tempfile
from pathlib import Path

from amaranth.back import rtlil

import rtl
from rtl.blackbox import ports_of
from rtl.grid import PeGrid
from tests.formal.netlists import Place, differences, read_modules

__all__ = ["BODY", "grid_differences"]

BODY = Path(rtl.__file__).parent / "verilog" / "systomesh_pe_grid.v"


def grid_differences(rows: int, cols: int, body: str) -> list[str]:
    """What is not equal in the component and in a text of the body, a line each."""
    grid = PeGrid(rows=rows, cols=cols)
    component = rtlil.convert(grid, name=BODY.stem, ports=ports_of(grid), emit_src=False)
    cells = ("proc", "flatten", "opt_expr", "opt_clean")
    with tempfile.TemporaryDirectory(prefix="systomesh-grid-") as name:
        folder = Path(name)
        (folder / "component.il").write_text(component)
        (folder / "body.v").write_text(body)
        sizes = f"-chparam ROWS {rows} -chparam COLS {cols}"
        modules = read_modules(
            {
                "component": ("read_rtlil component.il", f"hierarchy -top {BODY.stem}", *cells),
                "body": ("read_verilog -defer body.v", f"hierarchy {sizes} -top {BODY.stem}", *cells),
            },
            folder,
        )
    return differences(
        {"grid": modules["component"][BODY.stem]},
        {"grid": next(iter(modules["body"].values()))},
        same=_same(rows, cols),
        law=("accept", "enable"),
    )


def _same(rows: int, cols: int) -> dict[Place, Place]:
    """Bits of the body's registers, and those of the component that they stand for."""
    found: dict[Place, Place] = {}

    def stands(name: str, index: int, bits: int, register: str, first: int = 0) -> None:
        found.update({(f"{name}[{index}]", at): (register, first + at) for at in range(bits)})

    for r in range(rows):
        for k in range(r + 1):
            stands("skew", k * rows + r, 8, f"skew{k}", 8 * (rows - 1 - r))
        stands("acts", r * cols, 8, f"skew{r}", 8 * (rows - 1 - r))
        stands("switched", r, cols - 1, f"row{r}.switched")
        for c in range(cols):
            if c:
                stands("acts", r * cols + c, 8, f"row{r}.act{c}")
            stands("active", r * cols + c, 8, f"row{r}.active{c}")
            stands("shadow", r * cols + c, 8, f"row{r}.shadow", 8 * c)
            stands("psum", r * cols + c, 32, f"row{r}.psum", 32 * c)
    for k in range(1, cols - 1):
        for c in range(k):
            stands("deskew", k * cols + c, 32, f"deskew{k}", 32 * c)
    found |= {("switches", at): ("switch", at) for at in range(rows)}
    found |= {("data", at): (f"deskew{cols - 1}", at) for at in range(32 * (cols - 1))}
    found |= {("data", 32 * (cols - 1) + at): (f"row{rows - 1}.psum", 32 * (cols - 1) + at) for at in range(32)}
    return found
