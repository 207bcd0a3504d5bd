"""Proofs that two forms of the same hardware are equal, register by register, each with changes that it must notice."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path

from amaranth.back import rtlil

import rtl
import rtl.emit
from rtl.contract.params import ChipParams, CoreParams, default_chip
from rtl.emit import emit
from rtl.engines.grid import PeGrid
from rtl.engines.sparse_grid import SparseGrid
from rtl.fold import fold_registers
from rtl.lib.blackbox import ports_of
from tests.formal.netlists import Place, differences, less, read_modules
from tests.formal.prover import Bug, Outcome
from tests.mutation.graph import FALSE, Graph
from tests.unit.tb.structure.test_structure import CHIPS

__all__ = ["EQUALITIES", "Equality", "check_equality", "emitted_texts"]

_VERILOG = Path(rtl.__file__).parent / "verilog"
_BODY = _VERILOG / "systomesh_pe_grid.v"
_SPARSE_BODY = _VERILOG / "systomesh_sparse_grid.v"


Question = Callable[[], list[str]]
"""What differs; may be asked in any thread."""


@dataclass(frozen=True)
class Equality:
    """Two forms of a block."""

    block: str
    name: str
    forms: Callable[[], Question]
    """Makes both, in the main thread."""
    faults: Mapping[str, Callable[[], Question]]
    """The same with a fault in the second form."""
    quick: bool = True
    """Part of the default tests."""


def check_equality(equality: Equality, pool: ThreadPoolExecutor) -> Callable[[], list[Outcome]]:
    """Asks all questions about an equality; the result waits for the answers."""

    question = equality.forms()

    def timed() -> tuple[list[str], float]:
        begin = time.monotonic()
        return question(), time.monotonic() - begin

    equal = pool.submit(timed)
    found = [pool.submit(fault()) for fault in equality.faults.values()]

    def collect() -> list[Outcome]:
        differing, seconds = equal.result()
        hits = sum(bool(one.result()) for one in found)
        holds = not differing
        line = (equality.block, equality.name, "property", "equal states", seconds, holds, len(found), hits)
        return [Outcome(*line)]

    return collect


# The grid of PEs: the Amaranth component and its Verilog body.


def _grids(rows: int, cols: int, old: str = "", new: str = "") -> Question:
    """Compares the component with its body, in which a text is replaced."""
    body = _BODY.read_text()
    if old and body.count(old) != 1:
        raise ValueError(f"{_BODY.name} has {body.count(old)} places {old!r}: a seeded fault needs one")
    grid = PeGrid(rows=rows, cols=cols)
    component = rtlil.convert(grid, name=_BODY.stem, ports=ports_of(grid), emit_src=False)
    return partial(_grid_differences, rows, cols, component, body.replace(old, new) if old else body)


def _grid_differences(rows: int, cols: int, component: str, body: str) -> list[str]:
    cells = ("proc", "flatten", "opt_expr", "opt_clean")
    sizes = f"-chparam ROWS {rows} -chparam COLS {cols}"
    with tempfile.TemporaryDirectory(prefix="systomesh-grid-") as name:
        folder = Path(name)
        (folder / "component.il").write_text(component)
        (folder / "body.v").write_text(body)
        designs = {
            "component": ("read_rtlil component.il", f"hierarchy -top {_BODY.stem}", *cells),
            "body": ("read_verilog -defer body.v", f"hierarchy {sizes} -top {_BODY.stem}", *cells),
        }
        (one,), (other,) = (modules.values() for modules in read_modules(designs, folder).values())
    return differences({"grid": one}, {"grid": other}, same=_same(rows, cols), law=("accept", "enable"))


def _same(rows: int, cols: int) -> dict[Place, Place]:
    """Bits of the body's registers, and those of the component that they stand for: some for the same one."""
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
    last = 32 * (cols - 1)
    found |= {("switches", at): ("switch", at) for at in range(rows)}
    found |= {("data", at): (f"deskew{cols - 1}", at) for at in range(last)}
    found |= {("data", last + at): (f"row{rows - 1}.psum", last + at) for at in range(32)}
    return found


_UPWARDS = {
    "sums move down after their neighbours": ("r = ROWS - 1; r >= 1; r = r - 1", "r = 1; r < ROWS; r = r + 1"),
    "sums leave after their neighbours": ("k = COLS - 2; k >= 1; k = k - 1", "k = 1; k <= COLS - 2; k = k + 1"),
    "activations move right after their neighbours": (
        "c = COLS - 1; c >= 1; c = c - 1",
        "c = 1; c < COLS; c = c + 1",
    ),
    "activations enter after their neighbours": ("k = ROWS - 1; k >= 1; k = k - 1", "k = 1; k < ROWS; k = k + 1"),
}
_GRID_FAULTS = _UPWARDS | {
    "weights of another column": ("switching[c] ? shadow[r][c]", "switching[c] ? shadow[r][COLS-1-c]"),
    "weights for another row": ("if (load[r])", "if (load[ROWS-1-r])"),
    "switch bits that stay in reset": ("switched[r] = 0;", "switched[r] = switched[r];"),
    "activations that wait": ("acts[r][c] = acts[r][c-1];", "if (enable) acts[r][c] = acts[r][c-1];"),
    "pixels that enter too late": ("if (accept)", "if (accept & start)"),
    "sums that start with something": ("psum[row][column] = 0;", "psum[row][column] = 1;"),
    "weights without a sign": ("reg signed [7:0]  active", "reg [7:0] active"),
    "a column that comes out twice": ("= psum[ROWS-1][COLS-2];", "= deskew[COLS-2][COLS-3];"),
}
_ROWS_FOR_COLUMNS = {
    "rows for columns": ("c < COLS; c = c + 1)\n                psum[0]", "c < ROWS; c = c + 1)\n psum[0]"),
}
_COLUMNS_FOR_ROWS = {"columns for rows": ("{switches[ROWS-2:0], start}", "{switches[COLS-2:0], start}")}


def _grid(rows: int, cols: int, faults: Mapping[str, tuple[str, str]], *, quick: bool = True) -> Equality:
    return Equality(
        f"PeGrid, {rows} x {cols}",
        "the Verilog body is the component",
        partial(_grids, rows, cols),
        {name: partial(_grids, rows, cols, *change) for name, change in faults.items()},
        quick,
    )


# The sparse engine's PEs: the same two forms, with sums in gates, because both do not add up in the same order.

_REST = "t:* t:$mul r:A_SIGNED=1 %i %d t:$dff %d"
"""Everything but registers and products of weights and activations."""
_GATES = (
    "memory_map",
    "opt_expr",
    "dffunmap",
    "wreduce t:$mul r:A_SIGNED=0 %i t:$add %u",  # places in words, of 32 bits
    "opt_expr",
    f"techmap {_REST}",
    f"techmap {_REST}",  # the adders of the multiplications that index sums
    "opt_expr",
    f"aigmap {_REST}",
    "opt_clean",
)


def _sparse_grids(core: CoreParams, old: str = "", new: str = "") -> Question:
    """Compares the component with its body, in which a text is replaced."""
    body = _SPARSE_BODY.read_text()
    if old and body.count(old) != 1:
        raise ValueError(f"{_SPARSE_BODY.name} has {body.count(old)} places {old!r}: a seeded fault needs one")
    grid = SparseGrid(core=core)
    ports = {"release_oldest" if name == "release" else name: port for name, port in ports_of(grid).items()}
    component = rtlil.convert(grid, name=_SPARSE_BODY.stem, ports=ports, emit_src=False)
    return partial(_sparse_differences, grid, component, body.replace(old, new) if old else body)


def _sparse_differences(grid: SparseGrid, component: str, body: str) -> list[str]:
    cells = ("proc", "flatten", "opt_expr", "memory_collect", "opt_clean", *_GATES)
    sizes = " ".join(f"-chparam {name} {value}" for name, value in grid.parameters.items())
    with tempfile.TemporaryDirectory(prefix="systomesh-sparse-grid-") as name:
        folder = Path(name)
        (folder / "component.il").write_text(component)
        (folder / "body.v").write_text(body)
        read = "read_verilog -defer -nosynthesis body.v"
        designs = {
            "component": ("read_rtlil component.il", f"hierarchy -top {_SPARSE_BODY.stem}", *cells),
            "body": (read, f"hierarchy {sizes} -top {_SPARSE_BODY.stem}", *cells),
        }
        (one,), (other,) = (modules.values() for modules in read_modules(designs, folder).values())
    places = grid.core.sparse_slots
    below = dict.fromkeys(("write", *(f"slot{i}" for i in range(grid.pes))), places) if places > 1 else {}
    return differences(
        {"grid": one}, {"grid": other}, same=_same_of_sparse(grid), below=below, presumed=partial(_reached, grid)
    )


def _reached(grid: SparseGrid, graph: Graph, word: Callable[[str], list[int]]) -> list[int]:
    """What is proved of PEs in `tests.formal.sparse`: one that works has an item and a pair; and that its place in its
    list is one of the list's, because a pass with more weights than rounds is never begun."""
    found = []
    for pe in range(grid.pes):
        (has,), (working,), (finishing,) = (word(f"{name}{pe}") for name in ("has", "working", "finishing"))
        pending, mask = word(f"pending{pe}"), word(f"mask{pe}")
        rank = [*word(f"base{pe}"), FALSE]
        for at, listed in enumerate(mask):
            carry = graph.conj(listed, graph.any(pending[: at + 1]) ^ 1)
            for place, bit in enumerate(rank):
                rank[place], carry = graph.differ(bit, carry), graph.conj(bit, carry)
        there = graph.conj(graph.any(pending), less(graph, rank, grid.core.sparse_depth))
        found += [
            graph.disj(has ^ 1, graph.any(word("filled"))),
            graph.disj(working ^ 1, graph.conj(has, there)),
            graph.disj(finishing ^ 1, has),
        ]
    return found


def _same_of_sparse(grid: SparseGrid) -> dict[Place, Place]:
    """Bits of the body's registers, and those of the component that they stand for."""
    core, sizes = grid.core, grid.parameters
    lanes, acts, filters, bits = (sizes[name] for name in ("LANES", "ACTS", "FILTERS", "BITS"))
    positions, words, widest = acts * filters, 2 * core.sparse_depth, 64
    found: dict[Place, Place] = {}

    def stands(name: str, bits: int, register: str, first: int = 0) -> None:
        found.update({(name, at): (register, first + at) for at in range(bits)})

    stands("sums", len(grid.sums), "total")
    for name in ("bank", "last"):
        stands(f"place_{name}", core.sparse_slots, f"slot_{name}")
    for place in range(core.sparse_slots):
        for row in range(lanes * acts):
            stands(f"place_acts[{row * core.sparse_slots + place}]", 9, f"acts{place}_{row // acts}", 9 * (row % acts))
        for lane in range(lanes):
            stands(f"place_used[{lane * core.sparse_slots + place}]", acts, f"used{place}_{lane}")
    for pe in range(grid.pes):
        flags = ("past", "has", "working", "finishing", "closing", "owed", "multiply", "ended")
        found |= {(name, pe): (f"{name}{pe}", 0) for name in flags} | {("is_out", pe): ("is_full", pe)}
        for name in ("slot", "ahead", "pending", "base", "act", "which"):
            stands(f"{name}[{pe}]", widest, f"{name}{pe}")
        stands(f"weight[{pe}]", 8, f"list{pe}.read_data")
        for word in range(words):
            stands(f"list[{pe * words + word}]", 8, f"list{pe}.ram[{word}]")
        for place in range(core.sparse_slots):
            stands(f"place_masks[{pe * core.sparse_slots + place}]", positions, f"masks{place}", positions * pe)
        for f in range(filters):
            stands(f"sum[{f * grid.pes + pe}]", bits, f"sums{pe}", bits * f)
            stands(f"out[{f * grid.pes + pe}]", bits, f"out{pe}", bits * f)
    return found


_SPARSE_FAULTS = {
    "a slot that is freed as the first PE leaves it": ("&(past | done)", "|(past | done)"),
    "weights counted by pairs": ("rest[POSITIONS-1:0] = mask[c];", "rest[POSITIONS-1:0] = pending[l][c];"),
    "weights of another pass": ("banks[here]};", "banks[0]};"),
    "sums that stay": ("leaving[c] ? 0 : added;", "added;"),
    "weights without a sign": ("reg signed [7:0]      weight", "reg [7:0] weight"),
    "a PE that waits too long": ("closing & owed & ~taken", "closing & owed"),
    "an item that enters unseen": ("slot[l][c] == write\n", "1'b0\n"),
}
_OTHER_LANE = {"activations of another lane": ("ACTS*l + first[c] % ACTS", "ACTS*(l ^ 1) + first[c] % ACTS")}


def _sparse(
    shape: tuple[int, int, int, int],
    slots: int,
    depth: int,
    faults: Mapping[str, tuple[str, str]],
    *,
    quick: bool = True,
) -> Equality:
    """Of rows, cols, lanes and columns."""
    rows, cols, lanes, columns = shape
    core = CoreParams(
        rows, cols, engines=("sparse",), sparse_lanes=lanes, sparse_columns=columns, sparse_items=1,
        sparse_depth=depth, sparse_slots=slots,
    )  # fmt: skip
    return Equality(
        f"SparseGrid, {lanes} x {columns}, {slots} slots",
        "the Verilog body is the component",
        partial(_sparse_grids, core),
        {name: partial(_sparse_grids, core, *change) for name, change in faults.items()},
        quick,
    )


# Emitted Verilog: before registers are folded, and behind it.


@cache
def emitted_texts(chip: ChipParams) -> tuple[str, str]:
    """All modules that are emitted for a chip, before registers are folded and as they are written."""
    before, after = [], []

    def recorded(text: str) -> str:
        before.append(text)
        after.append(fold_registers(text))
        return after[-1]

    rtl.emit.fold_registers = recorded
    try:
        with tempfile.TemporaryDirectory(prefix="systomesh-emitted-") as folder:
            emit(chip, Path(folder))
    finally:
        rtl.emit.fold_registers = fold_registers
    return "".join(before), "".join(after)


def _text_differences(one: str, other: str) -> list[str]:
    """What is not equal in two texts of the same modules; bodies written by hand, those they name, are neither's."""
    bodies = [body for body in sorted(_VERILOG.glob("*.v")) if body.stem in one]
    with tempfile.TemporaryDirectory(prefix="systomesh-fold-") as name:
        folder = Path(name)
        for body in bodies:
            (folder / body.name).write_text(body.read_text())
        designs = {}
        for key, text in (("before", one), ("behind", other)):
            (folder / f"{key}.v").write_text(text)
            read = [f"read_verilog -lib {body.name}" for body in bodies]
            designs[key] = (*read, f"read_verilog {key}.v", "proc -norom", "memory_collect", "opt_clean")
        modules = read_modules(designs, folder)
    return differences(modules["before"], modules["behind"])


_TRAITS = """
module traits(clk, clk_b, rst, a, b, c, kept, part, shared, second, mixed, left, other, constant, wire_out);
  input clk, clk_b, rst, a, b;
  input [7:0] c;
  output [7:0] kept, part, shared, second, mixed, left, other, constant, wire_out;
  reg [7:0] \\$1 ;
  reg [7:0] \\$2 ;
  reg [7:0] \\$3 ;
  reg [7:0] \\$4 ;
  reg [7:0] \\$5 ;
  reg [7:0] \\$6 ;
  reg [7:0] \\$7 ;
  reg [7:0] \\$8 ;
  reg [7:0] kept = 8'h00;
  reg [7:0] part = 8'h81;
  reg [7:0] shared = 8'h00;
  reg [7:0] second = 8'h00;
  reg [7:0] mixed = 8'h00;
  reg [7:0] left = 8'h00;
  reg [7:0] other = 8'h00;
  reg [7:0] constant = 8'h00;
  reg [7:0] wire_out;
  always @(posedge clk)
    kept <= \\$1 ;
  always @(posedge clk)
    part <= \\$2 ;
  always @(posedge clk)
    shared <= \\$3 ;
  always @(posedge clk)
    second <= \\$4 ;
  always @(posedge clk)
    mixed <= \\$5 ;
  always @(posedge clk)
    left <= \\$6 ;
  always @(posedge clk_b)
    other <= \\$7 ;
  always @(posedge clk)
    constant <= \\$8 ;
  always @* begin
    \\$1  = c;
    if (a) begin
      \\$1  = kept;
    end else if (b) begin
      \\$1  = 8'h05;
    end
    if (rst) begin
      \\$1  = 8'h00;
    end
  end
  always @* begin
    \\$2  = part;
    casez (c[1:0])
      2'h1:
          \\$2 [3:0] = c[7:4];
      2'h?:
          if (a) begin
            \\$2 [7:4] = c[3:0];
          end
    endcase
  end
  always @* begin
    \\$3  = shared;
    if (b) begin
      \\$3  = c;
    end
  end
  always @* begin
    \\$4  = \\$3 ;
  end
  always @* begin
    \\$5  = mixed;
    wire_out = 8'h01;
    if (a) begin
      \\$5  = c;
      wire_out = c;
    end
  end
  always @* begin
    \\$6  = left;
    \\$7  = other;
    if (a) begin
      \\$6  = c;
      \\$7  = kept;
    end
  end
  always @* begin
    \\$8  = 8'h33;
    if (b) begin
      \\$8  = c;
    end
  end
endmodule
module clocks(clk, clk_b, a, c, other);
  input clk, clk_b, a;
  input [7:0] c;
  output [7:0] other;
  reg [7:0] other = 8'h00;
  reg [7:0] \\$1 ;
  always @(posedge clk_b)
    other <= \\$1 ;
  always @* begin
    \\$1  = other;
    if (a) begin
      \\$1  = c;
    end
  end
endmodule
"""
"""What folding meets, and what it must leave alone, in the form in which yosys writes it."""


def _folded_wrong(old: str, new: str) -> Question:
    """Compares `_TRAITS` before and behind folding, in whose source a text is replaced."""
    with Bug("rtl.fold", old, new).seeded():
        return partial(_text_differences, _TRAITS, fold_registers(_TRAITS))


_FOLDING_FAULTS = {
    "a value that holds is dropped behind another": (" and not found[3] and not body)", ")"),
    "a first value is dropped though it does not hold": ("found[4] == register and not found[3]", "not found[3]"),
    "a part is taken for the whole": ('f"{register} {found[3]}" if found[3] else register', "register"),
    "a temporary is folded that is read elsewhere": ("if uses[temporary] != 2 +", "if 0 and uses[temporary] != 2 +"),
    "a process with another target is folded": ("if not all(_GUARD", "if 0 and not all(_GUARD"),
    "another clock": ("always @(posedge {clock})", "always @(posedge clk)"),
}


def _folding(name: str, chips: Sequence[ChipParams], faults: Sequence[str], *, quick: bool = True) -> Equality:
    """Of all modules of some chips, and of `_TRAITS`; faults are of folding that."""

    def forms() -> Question:
        pairs = [(_TRAITS, fold_registers(_TRAITS)), *map(emitted_texts, chips)]
        return lambda: [difference for pair in pairs for difference in _text_differences(*pair)]

    seeded = {fault: partial(_folded_wrong, *_FOLDING_FAULTS[fault]) for fault in faults}
    return Equality(f"folded registers, {name}", "each module is what it was before", forms, seeded, quick)


_SMALL = ("one core, narrow links", "cores that differ, two channels a class")
EQUALITIES = [
    _grid(4, 4, _GRID_FAULTS),
    _grid(4, 8, _ROWS_FOR_COLUMNS),
    _grid(8, 4, _ROWS_FOR_COLUMNS | _COLUMNS_FOR_ROWS),
    _grid(16, 16, dict([*_UPWARDS.items()][:1]), quick=False),
    _sparse((8, 4, 2, 2), 2, 2, _SPARSE_FAULTS),
    _sparse((8, 8, 4, 4), 3, 4, _OTHER_LANE, quick=False),
    _folding("default chip", [default_chip(4)], list(_FOLDING_FAULTS)),
    _folding("small chips", [CHIPS[name] for name in _SMALL], ["another clock"], quick=False),
]
