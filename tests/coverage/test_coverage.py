"""The machinery of the coverage report: files read and merged, exclusions, bins, and what counts as covered."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from rtl.isa import Opcode, Unit
from rtl.noc.router import CLAIM_ORDER
from tb.errors import BenchError
from tb.fuzz.chips import FUZZ_CHIPS
from tb.fuzz.judge import expect_legal
from tb.fuzz.legal import legal_program
from tests.coverage.exclusions import EXCLUSIONS, Exclusion
from tests.coverage.functional import Functional, alignment
from tests.coverage.monitor import bin_lines, legal_turns, monitor_verilog
from tests.coverage.points import Chip, Point, merge, read_counts
from tests.coverage.report import Part, judge, write_pages
from tests.coverage.stimulus import token_programs, with_early_waits

VERILOG = r"""module \small.part (clk, a, q);
  reg \$auto$verilog_backend.cc:2355:dump_module$1  = 0;
  input clk;
  input [1:0] a;
  reg [3:0] \$7 ;
  output [3:0] q;
  reg [3:0] q;
  wire [1:0] \q.low ;
  always @* begin
    if (\$auto$verilog_backend.cc:2355:dump_module$1 ) begin end
    \$7  = q;
    if (a[0]) begin
      \$7  = 4'h1;
    end
  end
  always @(posedge clk)
    q <= \$7 ;
endmodule
"""


def _record(line: int, kind: str, comment: str, held: str, instance: str, count: int) -> str:
    fields = {"f": "/somewhere/small.v", "l": line, "n": 5, "t": kind, "page": f"v_{kind}/small", "o": comment}
    fields |= {"S": held} if held else {}
    fields |= {"h": instance}
    return "C '" + "".join(f"\x01{name}\x02{value}" for name, value in fields.items()) + f"' {count}\n"


def _file(path: Path, *records: str) -> Path:
    path.write_text("# SystemC::Coverage-3\n" + "".join(records))
    return path


def _hits(*files: Path, text: str = VERILOG) -> Counter[Point]:
    hits: Counter[Point] = Counter()
    merge(Chip("small", {"small.v": text}), read_counts(files), hits)
    return hits


def test_counts_are_merged_over_files_and_instances(tmp_path: Path) -> None:
    one = _file(
        tmp_path / "1", _record(12, "branch", "if", "12-13", "a", 0), _record(12, "branch", "if", "12-13", "b", 2)
    )
    two = _file(tmp_path / "2", _record(12, "branch", "if", "12-13", "a", 3))
    hits = {(p.kind, p.name, p.detail): n for p, n in _hits(one, two).items()}
    assert hits == {
        ("branch", "q", "3 if: if (a[0]) begin"): 5,
        ("line", "q", "3: if (a[0]) begin"): 5,
        ("line", "q", "4: $  = 4'h1;"): 5,
    }


def test_toggles_have_the_names_of_the_source(tmp_path: Path) -> None:
    hits = _hits(_file(tmp_path / "1", _record(9, "toggle", "q__02elow[1]:0->1", "", "a", 4)))
    ((point, count),) = hits.items()
    assert (point.name, point.detail, point.bit, count) == ("q.low", "[1]0->1", 1, 4)


def test_modules_of_chips_merge_only_if_they_declare_the_same(tmp_path: Path) -> None:
    file = _file(tmp_path / "1", _record(5, "toggle", "a[0]:0->1", "", "a", 1))
    wider = VERILOG.replace("[1:0] a", "[2:0] a")
    assert set(_hits(file)) == set(_hits(file, text=VERILOG.replace("4'h1", "4'h2")))
    assert not set(_hits(file)) & set(_hits(file, text=wider))


def test_file_of_something_else_is_refused(tmp_path: Path) -> None:
    (tmp_path / "x").write_text("nothing\n")
    with pytest.raises(BenchError, match="is no coverage file"):
        read_counts([tmp_path / "x"])


def test_exclusions_take_points_away_and_unused_ones_are_named(tmp_path: Path) -> None:
    file = _file(
        tmp_path / "1",
        _record(10, "branch", "if", "10", "a", 0),
        _record(10, "branch", "else", "", "a", 7),
        _record(12, "branch", "if", "12-13", "a", 0),
        _record(9, "toggle", "q__02elow[0]:0->1", "", "a", 0),
    )
    nothing = Exclusion("matches nothing", ("toggle",), name="absent")
    rtl = judge(_hits(file), (*EXCLUSIONS, nothing))
    assert rtl.part("branch") == Part(0, 1)
    assert rtl.part("toggle") == Part(0, 0)
    assert nothing in rtl.unused
    assert EXCLUSIONS[0] not in rtl.unused


def test_exclusion_of_high_bits_leaves_the_low_ones() -> None:
    counter = Exclusion("takes years", ("toggle",), name="cycles", first_bit=20)
    assert [counter.matches(Point("toggle", "m#1", "cycles", f"[{bit}]0->1")) for bit in (19, 20)] == [False, True]


def test_monitor_has_a_line_for_every_bin() -> None:
    lines = monitor_verilog(FUZZ_CHIPS["3x2_4x4"]).splitlines()
    names = [port.name.lower() for port in CLAIM_ORDER]
    for number, (i, o, _) in bin_lines().items():
        assert f"crossing[{5 * names.index(i) + names.index(o)}] && bins_{i}[" in lines[number - 1]
    assert len(bin_lines()) == sum("seen <=" in line for line in lines) == 75


def test_turns_back_and_from_columns_into_rows_are_not_legal() -> None:
    turns = legal_turns(FUZZ_CHIPS["3x2_4x4"])
    assert ("local", "local") in turns
    assert ("east", "south") in turns
    assert not turns & {(name, name) for name in ("east", "west", "north", "south")}
    assert ("north", "east") not in turns  # no memory node hangs east of this chip


def test_functional_points_count_what_a_program_does() -> None:
    functional = Functional([("east", "local")], root="unit")
    zero = {f"wait{i}_{part}": 0 for i in range(3) for part in ("first", "count")}
    fence = {
        **zero,
        **{f"signal{i}_valid": 0 for i in range(3)},
        **{f"signal{i}_core": 0 for i in range(3)},
        "fence": 1,
    }
    functional.instructions(0, Unit.STORE, [(Opcode.SYNC, fence), (Opcode.END, zero)], 8)
    functional.turn("east", "local", "some")
    covers = {cover.name: cover for cover in functional.covers()}
    assert covers["instruction.opcode"].covered == 2
    assert ("store", "yes", "no", "no") not in covers["sync.unit_fence_waits_signals"].missed
    assert not any(bin_[:2] == ("load", "yes") for bin_ in covers["sync.unit_fence_waits_signals"].hits)
    assert covers["router.turn_occupancy"].missed == [("east->local", "empty"), ("east->local", "half")]
    assert covers["end.status"].covered == 0


@pytest.mark.parametrize(("channels", "expected"), [(7, "below"), (8, "whole"), (9, "above"), (16, "whole")])
def test_alignment(channels: int, expected: str) -> None:
    assert alignment(channels, 8) == expected


def test_early_waits_keep_the_result() -> None:
    program, _ = legal_program(FUZZ_CHIPS["2x1_mixed"], 5, 20)
    moved = with_early_waits(program, 5)
    setters = [i for stream in moved.streams.values() for i in stream if i.opcode in (Opcode.SETUP, Opcode.POOL)]
    assert any(name.startswith("wait") for i in setters for name in i.fields)
    before, after = expect_legal(program), expect_legal(moved)
    assert before.result is not None
    assert after.result is not None
    for core, same in zip(before.result.cores, after.result.cores, strict=True):
        assert (core.act == same.act).all()
        assert (core.acc == same.acc).all()


def test_token_programs_count_every_token_past_128() -> None:
    chip = FUZZ_CHIPS["1x1_8x8"]
    counted = set()
    for program in token_programs(chip):
        result = expect_legal(program, orders=1).result
        assert result is not None
        tokens = np.array(result.cores[0].tokens)
        assert set(tokens) <= {0, 129}
        counted |= set(np.flatnonzero(tokens))
    assert counted == set(range(chip.tokens - len(Unit)))


def test_pages_are_written(tmp_path: Path) -> None:
    hits = {Point("line", "small#1", "q", "1: q <= <b>"): 0, Point("line", "small#1", "q", "2: r"): 1}
    functional = Functional([("east", "local")], root="pages")
    index = write_pages(tmp_path, judge(hits), functional.covers(), {("small", "q"): "rtl/small.py:7"}, "a note")
    assert "50.0 % (1 of 2)" in index.read_text()
    page = (tmp_path / "module0.html").read_text()
    assert "&lt;b&gt;" in page
    assert "rtl/small.py:7" in page
    assert "2: r" not in page
