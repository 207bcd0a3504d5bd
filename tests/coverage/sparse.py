"""A Verilog monitor of the sparse engine, bound into coverage models: what its items, passes, PEs and collector met.

Every bin is an `if` of its own, so that Verilator's branch coverage counts it. What is watched, and when, stands in
`WATCHES` in Verilog, in the scope of the engine's module; the monitor adds registers of its own for what was before.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from itertools import product

from rtl.contract.params import ChipParams, CoreParams

__all__ = ["SPARSE_MONITOR", "WATCHES", "Watch", "has_sparse", "sparse_bin_lines", "sparse_monitor_verilog"]

SPARSE_MONITOR = "systomesh_sparse_bins"
Bins = Mapping[str, str]
"""Verilog condition of each bin."""
_AHEAD = {"0": "ahead == 0", "1": "ahead == 1", "some": "ahead > 1 && ahead < MOST", "most": "ahead == MOST"}


def _part(signal: str, everything: str) -> Bins:
    """None, some or all of the bits, or of a count."""
    some = f"{signal} != 0 && {signal} != {everything}"
    return {"none": f"{signal} == 0", "some": some, "all": f"{signal} == {everything}"}


@dataclass(frozen=True)
class Watch:
    """Points that are sampled together in the cycles in which a condition holds.

    Attributes
    ----------
    crosses : dict
        Points of a cross by its name, with the combinations that cannot be, None for any; the reason stands beside.
    """

    name: str
    when: str
    points: Mapping[str, Bins]
    crosses: Mapping[str, tuple[tuple[str, ...], list[tuple[str | None, ...]]]] = field(default_factory=dict)

    def combinations(self) -> Iterator[tuple[tuple[str, ...], str]]:
        """A bin of each point, and the condition that all are met; those that no cross allows are left out."""
        for bins in product(*(p.items() for p in self.points.values())):
            names = tuple(name for name, _ in bins)
            chosen = dict(zip(self.points, names, strict=True))
            if not any(
                all(want in (None, chosen[item]) for item, want in zip(items, never, strict=True))
                for items, illegal in self.crosses.values()
                for never in illegal
            ):
                yield names, " && ".join(f"({condition})" for _, condition in bins)


WATCHES = (
    Watch(
        "sparse_item",
        "accept",
        {
            "run_ahead": _AHEAD,
            # Items that the slowest PE has still to leave, this one not among them.
            "lead": {"0": "lead == 0", "1": "lead == 1", "some": "lead > 1 && lead < MOST", "most": "lead == MOST"},
            "release": {"no": "!leaves", "yes": "leaves"},
        },
        {
            "run_ahead_lead": (
                ("run_ahead", "lead"),
                # Items that would be farther ahead wait.
                [("0", "1"), ("0", "some"), ("1", "some"), ("0", "most"), ("1", "most"), ("some", "most")],
            ),
        },
    ),
    Watch(
        "sparse_masks",
        "accept",
        {"weights": _part("masks", "{WEIGHTS{1'b1}}"), "acts": _part("used", "{ACTS{1'b1}}")},
        {"weights_acts": (("weights", "acts"), [])},
    ),
    Watch("sparse_full", "valid && !waits && !room", {"run_ahead": _AHEAD}),
    Watch("sparse_change", "accept && filled != 0", {
        "run_ahead": {"less": "ahead < ahead_before", "same": "ahead == ahead_before", "more": "ahead > ahead_before"},
    }),
    Watch("sparse_start", "valid && first && !loaded", {"pes": {"idle": "!active", "busy": "active"}}),
    Watch(
        "sparse_pass",
        "accept && first",
        {
            "after": {"idle": "!active", "gap": "active && !ended", "back_to_back": "active && ended"},
            "rounds": {
                "0": "rounds == 0", "1": "rounds == 1", "some": "rounds > 1 && rounds < DEPTH",
                "most": "rounds == DEPTH",
            },
            "lists": {
                "empty": "longest == 0", "one": "longest == 1", "some": "longest > 1 && longest < DEPTH",
                "most": "longest == DEPTH",
            },
            "shortest": {"0": "shortest == 0", "less": "shortest != 0 && shortest != longest",
                         "equal": "shortest != 0 && shortest == longest"},
        },
        {
            "rounds_lists": (
                ("rounds", "lists"),
                # Lists that are longer contradict the rounds.
                [("0", "one"), *((rounds, "some") for rounds in ("0", "1")),
                 *((rounds, "most") for rounds in ("0", "1", "some"))],
            ),
            "lists_shortest": (
                ("lists", "shortest"),
                # No list is shorter than none, nor between none and one.
                [("empty", "less"), ("empty", "equal"), ("one", "less")],
            ),
        },
    ),
    Watch(
        "sparse_pixel",
        "accept && last",
        {
            "items": {"1": "item == 0", "some": "item != 0 && item != ITEMS - 1", "most": "item == ITEMS - 1"},
            "zero": {"-128": "zero == 8'h80", "127": "zero == 8'h7f", "other": "zero != 8'h80 && zero != 8'h7f"},
            "skip_acts": {"no": "!skip_acts", "yes": "skip_acts"},
        },
        {"items_skip_acts": (("items", "skip_acts"), []), "zero_skip_acts": (("zero", "skip_acts"), [])},
    ),
    Watch("sparse_pairs", "active", {"pes": _part("pairs", "PES")}),
    Watch("sparse_empty", "active", {"pes": _part("empty", "PES")}),
    Watch(
        "sparse_idle",
        "active",
        {"starved": _part("starved", "PES"), "blocked": _part("blocked", "PES")},
        {
            "starved_blocked": (
                ("starved", "blocked"),
                # There are no more PEs than all.
                [("all", "some"), ("all", "all"), ("some", "all")],
            ),
        },
    ),
    Watch(
        "sparse_collector",
        "active",
        {
            "number": {str(group): f"group == {group}" for group in range(4)},
            "state": {
                "collects": "collect", "waits_for_group": "!collect && full != 0", "starved": "full == 0",
            },
        },
        {"number_state": (("number", "state"), [])},
    ),
    Watch("sparse_lanes", "collect", {"of_pass": {"current": "!older", "before": "older"}}),
    Watch("sparse_row", "row && row_ready", {
        "kind": {"masks": "!tail", "lanes": "tail && !listed", "lists": "tail && listed"},
        "pes": {"idle": "!active", "busy": "active"},
    }, {"kind_pes": (("kind", "pes"), [])}),
    Watch("sparse_row_waits", "row && !row_ready", {
        "cause": {"next_pass_loaded": "loaded", "pass_before_in_use": "!loaded"},
    }),
    Watch(
        "sparse_contradiction",
        "valid && first && contradicts && loaded",
        {
            "cause": {
                "weights_too_many": "longest > rounds && complete",
                "lane_twice": "longest <= rounds && !complete && !outside",
                "no_such_lane": "longest <= rounds && !complete && outside",
                "several": "longest > rounds && !complete",
            },
            "pes": {"idle": "!active", "busy": "active"},
        },
    ),
)  # fmt: skip
"""All bins of the engine. `run_ahead` and `lead` are classes of the items that PEs may be, and are, ahead."""


def has_sparse(chip: ChipParams) -> bool:
    """Whether the chip's only core has the engine: the monitor is bound into one core's."""
    return chip.n_cores == 1 and "sparse" in chip.cores[0].engines


def _bins() -> Iterator[tuple[Watch, tuple[str, ...], str]]:
    for watch in WATCHES:
        for names, condition in watch.combinations():
            yield watch, names, f"({watch.when}) && {condition}"


def sparse_bin_lines(chip: ChipParams) -> dict[int, tuple[str, tuple[str, ...]]]:
    """Watch and bins of each line of the monitor's text that has some."""
    head = len(_head(chip.cores[0]))
    return {head + 1 + n: (watch.name, names) for n, (watch, names, _) in enumerate(_bins())}


_PINS = {
    "clk": "core_clk", "rst": "core_rst", "accept": "accept", "valid": "pixels__valid",
    "first": r"\pixels__payload.first ", "last": r"\pixels__payload.last_item ",
    "ahead": r"\pixels__payload.options.run_ahead ", "skip_acts": r"\pixels__payload.options.skip_acts ",
    "zero": r"\pixels__payload.zero ", "filled": "filled", "leaves": r"\release ", "room": "room", "masks": "masks",
    "used": "used", "loaded": "loaded", "contradicts": "store.contradicts", "complete": "store.complete",
    "rounds": "store.rounds", "under_way": "tags.o__valid", "pairs": "grid.pairs", "empty": "grid.empty",
    "starved": "grid.starved", "blocked": "grid.blocked", "group": "group", "full": "full", "collect": "collect",
    "older": "lanes_of != current", "row": "weights__valid", "row_ready": "weights__ready", "tail": "tail",
    "bytes": "weights__payload",
}  # fmt: skip
"""Ports of the monitor, and what they are in the engine's module."""


def _widths(core: CoreParams) -> dict[str, int]:
    """Bits of the ports that have several."""
    pes = (core.sparse_lanes * core.sparse_columns).bit_length()
    return {
        "ahead": 4, "zero": 8, "filled": core.sparse_slots.bit_length(), "masks": core.rows * core.cols,
        "used": core.rows, "rounds": core.sparse_depth.bit_length(), "pairs": pes, "empty": pes, "starved": pes,
        "blocked": pes, "group": 2, "full": core.collector_groups, "bytes": 8 * core.cols,
    }  # fmt: skip


def _head(core: CoreParams) -> list[str]:
    """The monitor's lines in front of its first bin."""
    pes, widths = core.sparse_lanes * core.sparse_columns, _widths(core)
    bits = (core.sparse_items * core.rows * core.cols // pes).bit_length()
    counts = [f"count{number}" for number in range(pes)]
    ports = [f"input [{widths[name] - 1}:0] {name}" if name in widths else f"input {name}" for name in _PINS]
    ports += [f"input [{bits - 1}:0] {name}" for name in counts]
    longest = [f"    if ({name} > longest) longest = {name};" for name in counts]
    shortest = [f"    if ({name} < shortest) shortest = {name};" for name in counts]
    outside = " || ".join(f"bytes[{8 * slot + 7}:{8 * slot}] >= {core.cols}" for slot in range(core.cols))
    return [
        "`timescale 1ns / 1ps",
        "// Bins of the sparse engine, one a line.",
        f"module {SPARSE_MONITOR} ({', '.join(ports)});",
        f"  localparam MOST = {core.sparse_slots - 1}, DEPTH = {core.sparse_depth}, ITEMS = {core.sparse_items};",
        f"  localparam PES = {pes}, WEIGHTS = {core.rows * core.cols}, ACTS = {core.rows};",
        f"  wire [{widths['filled'] - 1}:0] lead = filled - leaves;",
        "  wire active = filled != 0 || under_way;",
        "  wire waits = first && (!loaded || contradicts);",
        f"  reg [{bits - 1}:0] longest, shortest;",
        "  always @* begin",
        "    longest = 0;",
        *longest,
        f"    shortest = {{{bits}{{1'b1}}}};",
        *shortest,
        "  end",
        "  // What was before: the number of the next item in its pixel, options of the last one, whether it ended a",
        "  // pixel in the last cycle; whether the row of lanes came, and whether it names one that is not there.",
        "  reg [7:0] item;",
        "  reg [3:0] ahead_before;",
        "  reg ended, listed, outside, seen;",
        "  always @(posedge clk) begin",
        "    ended <= accept && last;",
        "    if (accept) item <= last ? 8'd0 : item + 8'd1;",
        "    if (accept) ahead_before <= ahead;",
        "    if (row && row_ready && tail) listed <= 1'b1;",
        f"    if (row && row_ready && tail && !listed) outside <= {outside};",
        "    if (accept && first) listed <= 1'b0;",
        "    if (rst) begin",
        "      item <= 8'd0;",
        "      listed <= 1'b0;",
        "    end",
        "  end",
        "  always @(posedge clk) begin",
    ]


def sparse_monitor_verilog(chip: ChipParams) -> str:
    """The monitor's module, and what binds it to the chip's engine."""
    core = chip.cores[0]
    lines = _head(core)
    lines += [f"    if (!rst && {condition}) seen <= 1'b1;" for _, _, condition in _bins()]
    lines += ["  end", "endmodule"]
    pins = [f".{port}({signal})" for port, signal in _PINS.items()]
    pes = core.sparse_lanes * core.sparse_columns
    pins += [f".count{number}(store.count{number})" for number in range(pes)]
    module = r"\systomesh_core_0.logic.compute.sparse "
    lines += [f"bind {module} {SPARSE_MONITOR} watches ({', '.join(pins)});", ""]
    return "\n".join(lines)
