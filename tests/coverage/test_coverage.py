"""The machinery of the coverage report: files read and merged, exclusions, bins, and what counts as covered."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import pytest
from amaranth.hdl import Const

from rtl.contract.codec import decode, encode
from rtl.contract.isa import INSTRUCTION_BYTES, Opcode, Unit
from rtl.contract.params import CoreParams
from rtl.contract.regs import CoreCounter, EngineCounter
from rtl.contract.routing import CLAIM_ORDER
from rtl.core.counters import unit_state
from tb.errors import BenchError
from tb.fuzz.chips import FUZZ_CHIPS
from tb.fuzz.judge import expect_fault, expect_legal
from tb.fuzz.legal import legal_program
from tb.fuzz.program import DATA_BYTES, MEMORY_BYTES, max_stream
from tests.coverage import __main__ as command
from tests.coverage.campaign import Gathered, kept, watched
from tests.coverage.exclusions import EXCLUSIONS, Exclusion
from tests.coverage.functional import Cover, Functional, alignment
from tests.coverage.monitor import bin_lines, legal_turns, monitor_verilog
from tests.coverage.parts import LAYER_CHIPS, Taken
from tests.coverage.points import KINDS, Chip, Point, merge, read_counts
from tests.coverage.report import Part, judge, write_pages
from tests.coverage.sparse import SPARSE_MONITOR, WATCHES, sparse_bin_lines, sparse_monitor_verilog
from tests.coverage.stimulus import (
    aligned_cases,
    alignments,
    contradicting_programs,
    far_program,
    long_program,
    noisy_program,
    signal_program,
    token_programs,
    with_all_waits,
    with_early_waits,
)

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
    q = \$7 ;
    if (a[0]) begin
      q = 4'h1;
    end
  end
  always @(posedge clk) begin
    if (a[1]) begin
      r [1] <= a[0];
    end
  end
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
        ("line", "q", "4: q = 4'h1;"): 5,
    }


def test_points_of_a_clocked_process_are_those_of_its_register(tmp_path: Path) -> None:
    hits = _hits(_file(tmp_path / "1", _record(17, "branch", "if", "17-18", "a", 3)))
    assert {(p.kind, p.name, p.detail) for p in hits} == {
        ("branch", "r", "1 if: if (a[1]) begin"),
        ("line", "r", "1: if (a[1]) begin"),
        ("line", "r", "2: r [1] <= a[0];"),
    }


def test_equal_lines_of_a_module_written_by_hand_are_different_points(tmp_path: Path) -> None:
    text = "module grid (clk);\n    always @(posedge clk) begin\n" + "        for (r = 0; r < 4; r = r + 1)\n" * 2
    file = _file(tmp_path / "1", _record(3, "line", "block", "3-4", "a", 1))
    assert len(_hits(file, text=f"{text}    end\nendmodule\n")) == 2


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


def test_bits_of_a_units_debug_word_are_left_out_only_where_it_has_no_field() -> None:
    """All fields full of ones, the word has zeros in just the bits that are not counted."""
    word = unit_state(opcode=Const(15, 4), state=Const(3, 2), unmet=Const(7, 3), done=Const((1 << 32) - 1, 32))
    ones = Const.cast(word).value
    points = {
        Point("toggle", "systomesh_core.logic.counters#1", f"debug.{unit.name}_STATE", f"[{bit}]0->1"): 0
        for unit in Unit
        for bit in range(48)
    }
    counted = judge(points).hits
    assert {(p.name, p.bit) for p in counted} == {(p.name, p.bit) for p in points if ones >> p.bit & 1}


def test_exclusions_take_points_away_and_unused_ones_are_named(tmp_path: Path) -> None:
    file = _file(
        tmp_path / "1",
        _record(10, "branch", "if", "10", "a", 0),
        _record(10, "branch", "else", "", "a", 7),
        _record(12, "branch", "if", "12-13", "a", 0),
        _record(8, "toggle", "q[0]:0->1", "", "a", 3),
        _record(9, "toggle", "q__02elow[0]:0->1", "", "a", 0),
    )
    nothing = Exclusion("matches nothing", ("toggle",), name="absent")
    rtl = judge(_hits(file), (*EXCLUSIONS, nothing))
    assert rtl.part("branch") == Part(0, 1)
    assert rtl.everything["branch"] == Part(1, 3)
    assert rtl.part("toggle") == Part(1, 1)
    assert nothing in rtl.unused
    assert EXCLUSIONS[0] not in rtl.unused


def test_fields_are_counted_where_their_whole_is_not(tmp_path: Path) -> None:
    """Verilator leaves signals of more than 256 bits out."""
    rtl = judge(_hits(_file(tmp_path / "1", _record(9, "toggle", "q__02elow[0]:0->1", "", "a", 0))))
    assert rtl.part("toggle") == Part(0, 1)


def test_monitor_has_a_line_for_every_bin() -> None:
    lines = monitor_verilog(FUZZ_CHIPS["3x2_4x4"]).splitlines()
    names = [port.name.lower() for port in CLAIM_ORDER]
    for number, (i, o, _) in bin_lines().items():
        assert f"crossing[{5 * names.index(i) + names.index(o)}] && bins_{i}[" in lines[number - 1]
    assert len(bin_lines()) == sum("seen <=" in line for line in lines) == 75


def test_sparse_monitor_has_a_line_for_every_bin() -> None:
    """Each bin of each point is somewhere, none that a cross leaves out is, and a hit line samples its bins."""
    chip = FUZZ_CHIPS["1x1_sparse"]
    lines, bins = sparse_monitor_verilog(chip).splitlines(), sparse_bin_lines(chip)
    assert len(bins) == sum("seen <=" in line for line in lines)
    watches, seen = {watch.name: watch for watch in WATCHES}, set[tuple[str, str, str]]()
    for number, (name, chosen) in bins.items():
        watch, line = watches[name], lines[number - 1]
        assert watch.when in line
        for (point, conditions), bin_ in zip(watch.points.items(), chosen, strict=True):
            assert f"({conditions[bin_]})" in line
            seen.add((name, point, bin_))
    points = {(w.name, point, bin_) for w in WATCHES for point, conditions in w.points.items() for bin_ in conditions}
    assert seen == points
    functional = Functional([], root="sparse")
    hit = next(line for line, found in bins.items() if found == ("sparse_contradiction", ("lane_twice", "busy")))
    file = f"{SPARSE_MONITOR}.v"
    watched(functional, {(file, hit, "branch", "if", ""): 3, (file, hit + 1, "branch", "else", ""): 2}, chip)
    covers = {cover.name: cover for cover in functional.covers() if cover.name.startswith("sparse_") and cover.covered}
    assert {name: [bin_ for bin_, n in cover.hits.items() if n] for name, cover in covers.items()} == {
        "sparse_contradiction.cause": ["lane_twice"],
        "sparse_contradiction.pes": ["busy"],
    }


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
    functional.instructions(0, Unit.STORE, [(Opcode.SYNC, fence), (Opcode.END, zero)], CoreParams(), 8)
    marks = [(Opcode.SYNC, {**fence, "fence": 0, "mark": mark}) for mark in (3, 16)]
    functional.instructions(0, Unit.COMPUTE, marks, CoreParams(marks=16), 8)
    stored = decode(encode(Opcode.STORE, to_core=1, more=2, token_valid=1, groups=1, pixels=4, lanes=8))
    functional.instructions(0, Unit.STORE, [stored], CoreParams(multicast=True), 8)
    functional.turn("east", "local", "some")
    covers = {cover.name: cover for cover in functional.covers()}
    assert covers["instruction.opcode"].covered == 3
    assert covers["sync.unit_mark"].missed == [("load", "none"), ("compute", "none")]
    assert covers["store.cores_token"].covered == covers["store.cores_planar_pooled"].covered == 1
    assert ("several", "yes") not in covers["store.cores_token"].missed
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


def test_more_waits_only_delay() -> None:
    """Every opcode comes to wait for one, two and three ranges; memories end as before, the new counters at zero."""
    chip, waits = FUZZ_CHIPS["2x1_mixed"], set[tuple[Opcode, int]]()
    for seed in range(12):
        program, _ = legal_program(chip, seed, 35)
        before, after = expect_legal(program, orders=1), expect_legal(with_all_waits(program, seed), orders=2)
        assert before.result is not None
        assert after.result is not None
        for core, same in zip(before.result.cores, after.result.cores, strict=True):
            assert (core.act == same.act).all()
            assert (core.acc == same.acc).all()
            assert core.tokens == same.tokens
        for stream in after.program.streams.values():
            for instruction in stream:
                fields = instruction.whole()
                waits.add((instruction.opcode, sum(fields[f"wait{i}_count"] > 0 for i in range(3))))
    assert waits >= {(opcode, n) for opcode in Opcode if opcode != Opcode.ILLEGAL for n in (1, 2, 3)}


def test_signal_programs_leave_no_tokens() -> None:
    chip = FUZZ_CHIPS["3x2_4x4"]
    program = signal_program(chip, 1)
    assert max(map(len, program.streams.values())) <= max_stream(chip)
    targets = {i.whole()["signal0_core"] for i in program.streams[2, Unit.LOAD] if i.whole()["signal0_valid"]}
    assert len(targets) > 2
    result = expect_legal(program, orders=2).result
    assert result is not None
    assert not any(any(core.tokens) for core in result.cores)


def test_far_program_has_high_addresses_and_the_same_result() -> None:
    program, _ = legal_program(FUZZ_CHIPS["1x1_8x8"], 4, 20)
    far = far_program(program, 4)
    assert far.origin >= MEMORY_BYTES
    assert far.origin % MEMORY_BYTES == 0
    moved = [
        (old.whole()[name], new.moved(far.origin).whole()[name])
        for unit, name in ((Unit.LOAD, "dram_addr"), (Unit.STORE, "addr"))
        for old, new in zip(program.streams_of(unit), far.streams_of(unit), strict=True)
        if name in old.whole() and not old.whole().get("to_core")
    ]
    assert moved
    assert all(new == old + far.origin for old, new in moved)
    assert (far.image()[:DATA_BYTES] == far.image(far.origin)[:DATA_BYTES]).all()


def test_layers_have_every_alignment_that_their_kind_can_have() -> None:
    functional = Functional([], root="layers")
    for name in LAYER_CHIPS:
        for case in aligned_cases(FUZZ_CHIPS[name], range(command.LAYERS)):
            functional.layer(case.kind, *alignments(case))
    missed = {cover.name: cover.missed for cover in functional.covers() if cover.name.startswith("layer.")}
    assert len(missed) == 5
    assert not any(missed.values()), missed


def test_token_programs_count_every_token_past_128() -> None:
    chip = FUZZ_CHIPS["3x1_unlike"]
    counted: list[set[int]] = [set() for _ in chip.cores]
    for program in token_programs(chip):
        result = expect_legal(program, orders=1).result
        assert result is not None
        for mine, core in zip(counted, result.cores, strict=True):
            assert set(core.tokens) <= {0, 129}
            mine |= {token for token, count in enumerate(core.tokens) if count}
    assert counted == [set(range(chip.tokens - len(Unit)))] * chip.n_cores


def test_noise_in_bits_that_mean_nothing_changes_nothing() -> None:
    chip = FUZZ_CHIPS["3x1_unlike"]
    program = noisy_program(chip, 0)
    words = [int.from_bytes(i.code, "little") for unit in Unit for i in program.streams_of(unit)]
    assert {i.opcode for unit in Unit for i in program.streams_of(unit)} == {Opcode.SYNC}
    assert {decode(i.code)[0] for unit in Unit for i in program.streams_of(unit)} == {Opcode.SYNC}
    toggled = [bit for bit in range(8 * INSTRUCTION_BYTES) if len({word >> bit & 1 for word in words}) == 2]
    held = 4 + 3 * 7 + 3 + 1  # opcode, counts of the waits, valid bits of the signals, fence
    assert len(toggled) == 8 * INSTRUCTION_BYTES - held
    result = expect_legal(program, orders=2).result
    assert result is not None
    assert all(core.counts == Counter({CoreCounter.INSTRUCTIONS: 3 * 25}) for core in result.cores)
    assert not any(any(core.tokens) for core in result.cores)


@pytest.mark.parametrize(("name", "core"), [("1x1_8x8", 0), ("3x1_unlike", 1), ("1x1_sparse", 0)])
def test_long_programs_count_far_on_one_core(name: str, core: int) -> None:
    program = long_program(FUZZ_CHIPS[name], core)
    result = expect_legal(program, orders=1).result
    assert result is not None
    counts = result.cores[core].counts
    sparse = "sparse" in FUZZ_CHIPS[name].cores[core].engines
    own = (EngineCounter.SPARSE_PAIRS,) if sparse else (CoreCounter.ARRAY_PIXELS,)
    for counter in (*own, CoreCounter.TAP_PIXELS, CoreCounter.PASSES, CoreCounter.ACT_WRITES):
        assert counts[counter] >= 1 << 14, counter
    assert (result.read_bytes.sum(axis=0) >= 1 << 15).all()
    assert not any(any(state.tokens) for state in result.cores)


def test_second_passes_contradict_themselves_each_in_its_way() -> None:
    programs = list(contradicting_programs(FUZZ_CHIPS["1x1_sparse"]))
    assert {program.name.removeprefix("illegal lists ") for program in programs} == {
        "a weight too many", "a lane twice", "no such lane"
    }  # fmt: skip
    for program in programs:
        assert expect_fault(program).statuses == {("WEIGHT_LISTS", 0, "compute")}


def test_parts_are_kept_until_something_changes(tmp_path: Path) -> None:
    path, ran = tmp_path / "parts" / "legal.pickle", []

    def run(name: str, failures: list[str] | None = None) -> tuple[Taken, bool]:
        def part() -> Taken:
            ran.append(name)
            return Taken(Counter({("a.v", 1, "line", "block", "1"): 2}), programs=3, failures=failures or [])

        return kept(path, name, part)

    first, reused = run("a key")
    assert not reused
    assert run("a key") == (first, True)
    assert not run("another key")[1]
    path.write_bytes(path.read_bytes()[:-20])  # cut off
    assert not run("another key")[1]
    assert not run("a third key", ["a failure"])[1]
    assert not run("a third key")[1]
    assert ran == ["a key", "another key", "another key", "a third key", "a third key"]


class _Links(HTMLParser):
    """What a page links to, and the tags that it leaves open."""

    def __init__(self, page: Path) -> None:
        super().__init__()
        self.targets: list[str] = []
        self.open: list[str] = []
        self.feed(page.read_text())

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.targets += [value for name, value in attrs if name == "href" and value]
        if tag != "meta":
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


def test_pages_link_to_each_other(tmp_path: Path) -> None:
    hits = {Point("line", f"part{n}#1", "q", "1: q <= b"): n for n in range(3)}
    functional = Functional([("east", "local")], root="links")
    index = write_pages(tmp_path, judge(hits), functional.covers(), {}, "a note")
    links = _Links(index)
    assert len(links.targets) == 3
    for target in links.targets:
        page = _Links(tmp_path / target)
        assert page.targets == [index.name]
        assert page.open == []
    assert links.open == []


@pytest.mark.parametrize(
    ("hit", "failures", "exclusion", "status"),
    [
        (1, [], False, 0),
        (0, [], False, 1),
        (1, ["a program"], False, 1),
        (1, [], True, 1),
    ],
    ids=["all met", "target missed", "program failed", "exclusion of nothing"],
)
def test_exit_status(
    hit: int, failures: list[str], exclusion: bool, status: int, tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    class Whole(Functional):
        """All bins hit."""

        def covers(self) -> list[Cover]:
            return [replace(cover, hits=dict.fromkeys(cover.hits, 1)) for cover in super().covers()]

    hits = Counter({Point(kind, "small#1", "q", "1: q"): hit for kind in KINDS})
    gathered = Gathered(hits, {}, Whole([("east", "local")], root="status"), 1, 0, failures)
    nothing = (Exclusion("matches nothing", ("toggle",), name="absent"),) if exclusion else ()
    monkeypatch.setattr(command, "gather", lambda *_: gathered)
    monkeypatch.setattr(command, "judge", lambda hits: judge(hits, nothing))
    assert command.main(["--out", str(tmp_path)]) == status
    printed = capsys.readouterr().out
    assert ("matches nothing" in printed) == exclusion
    share = "100.0 %" if hit else "0.0 %"
    assert printed.splitlines()[-1] == (
        f"line {share}, branch {share}, toggle {share}, functional points 100.0 %, functional crosses 100.0 %; "
        f"1 runs, {len(failures)} failed"
    )


def test_pages_are_written(tmp_path: Path) -> None:
    hits = {Point("line", "small#1", "q", "1: q <= <b>"): 0, Point("line", "small#1", "q", "2: r"): 1}
    hits |= {Point("toggle", "small#1", "q", f"[{bit}]0->1"): int(bit == 3) for bit in (0, 2, 3, 4, 5, 10)}
    hits |= {Point("toggle", "small#1", "last", "1->0"): 0}
    functional = Functional([("east", "local")], root="pages")
    index = write_pages(tmp_path, judge(hits), functional.covers(), {("small", "q"): "rtl/small.py:7"}, "a note")
    assert "50.0 % (1 of 2)" in index.read_text()
    page = (tmp_path / "module0.html").read_text()
    assert "&lt;b&gt;" in page
    assert "rtl/small.py:7" in page
    assert "2: r" not in page
    assert "0-&gt;1 of bit 0, 2, 4-5, 10<" in page
    assert "1-&gt;0 of bit 0<" in page
