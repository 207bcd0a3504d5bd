"""Proof of the array's weight switch: every product uses the weights of its own pass."""

from __future__ import annotations

from amaranth.hdl import Cat, Const, Mux, Signal, Value

from rtl.contract.params import CoreParams
from rtl.engines.array import SystolicArray
from rtl.engines.interface import tag_layout
from tests.formal.harness import Harness, Inside
from tests.formal.prover import Bug, Proof

__all__ = ["PROOFS"]

OWN_WEIGHTS = "each PE multiplies a pixel with the weights loaded for its pass"
ORDER = "one update for each pixel, R + C cycles later, with its tag"
ENABLED = "a pixel enters the grid only while its sums move, as equality with the Verilog body presumes"
SIZE = 4
CYCLES = 15
CORE = CoreParams(rows=SIZE, cols=SIZE)


def array() -> Harness:
    """4 x 4 PEs. The weights of a pass are its number, modulo 4, in every PE; activations are left out."""
    h = Harness()
    m = h.m
    dut = SystolicArray(core=CORE)
    inside = Inside(m, "dut", dut)
    # Weights: the rows of a pass in consecutive cycles.
    weights, pixels = dut.weights, dut.pixels
    load = weights.valid & weights.ready
    row, loading = Signal(range(SIZE)), Signal(2)
    weight_valid = h.free(1, "weights_valid")
    h.assume((row == 0) | weight_valid)
    m.d.comb += [
        weights.valid.eq(weight_valid),
        weights.payload.eq(Cat(Cat(loading, Cat([0] * 6)) for _ in range(SIZE))),
    ]
    with m.If(load):
        m.d.sync += [row.eq(row + 1), loading.eq(loading + (row == SIZE - 1))]
    # Pixels: passes of any length, one after the other.
    first, tag = h.free(1, "first"), h.free(1, "tag")
    number, begun = Signal(2, init=3), Signal()
    h.drive(pixels.valid)
    h.assume(begun | first)
    m.d.comb += [pixels.payload.first.eq(first), pixels.payload.tag.as_value()[0].eq(tag)]
    accept = pixels.valid & pixels.ready
    current = Signal(2)
    m.d.comb += current.eq(number + first)
    with m.If(accept):
        m.d.sync += [number.eq(current), begun.eq(1)]

    in_flight = [(accept, current, tag)]
    for age in range(1, 2 * SIZE + 1):
        valid, which, mark = in_flight[-1]
        in_flight.append((h.past(valid, f"valid_{age}"), h.past(which, f"pass_{age}"), h.past(mark, f"tag_{age}")))
    for r in range(SIZE):
        for c in range(SIZE):
            valid, which, _ = in_flight[1 + r + c]
            active = inside.signal(f"active{c}", "grid", f"row{r}")
            h.always(OWN_WEIGHTS, ~valid | (active[:2] == which))
    valid, _, mark = in_flight[2 * SIZE]
    h.always(ORDER, (dut.update.valid == valid) & (~valid | (dut.update.tag.as_value()[0] == mark)))
    h.always(ENABLED, ~accept | Cat(inside.signals("enable")).all())
    _invariants(h, inside, row, loading, number, begun, in_flight, accept & first, load & (row == SIZE - 1))
    h.cover("three passes of one pixel follow without a gap", valid & (in_flight[4][1] == 2) & in_flight[4][0])
    h.cover("weights of the next pass go in while pixels stream", load & (row == 2) & accept & ~first)
    return h


def _invariants(
    h: Harness,
    inside: Inside,
    row: Signal,
    loading: Signal,
    number: Signal,
    begun: Signal,
    in_flight: list[tuple[Value, Value, Value]],
    start: Value,
    filled: Value,
) -> None:
    """What every state keeps: where the starts of passes are, whose weights each register holds, where tags wait."""
    m = h.m
    ages = range(1, 2 * SIZE + 1)
    started, in_force = [start], [(number, begun)]
    for age in ages:
        started.append(h.past(started[-1], f"start_{age}"))
        pass_before, begun_before = (
            h.past(value, f"{name}_{age}") for name, value in zip("nb", in_force[-1], strict=True)
        )
        in_force.append((pass_before, begun_before))
    whole = Signal()  # a pass has been loaded wholly
    with m.If(filled):
        m.d.sync += whole.eq(1)

    line, switch, hold = inside.signal("line"), inside.signal("switch", "grid", width=SIZE), inside.signal("hold")
    h.invariant(line == Cat(in_flight[age][0] for age in ages))
    h.invariant(switch == Cat(started[age] for age in ages[:SIZE]))
    h.invariant(inside.signal("row_enable") == 1 << row)
    loads_begun = (loading + (row != 0))[:2]
    h.invariant(loads_begun == (number + 1 + inside.signal("loaded"))[:2])
    h.invariant(whole | ((loading == 0) & (number == Mux(begun, 0, 3))))
    h.invariant((number == 3) | begun)
    for age in ages:
        pass_at_start = in_force[age - 1][0]
        h.invariant(~in_flight[age][0] | ((in_flight[age][1] == pass_at_start) & in_force[age - 1][1]))
        (pass_after, begun_after), (pass_before, begun_before) = in_force[age - 1], in_force[age]
        h.invariant(begun_after == (begun_before | started[age]))
        h.invariant(~begun_after | (pass_after == Mux(begun_before, (pass_before + started[age])[:2], 0)))
        h.invariant(~started[age] | in_flight[age][0])
        h.invariant(~started[age] | whole | (pass_at_start == 0))
        if age <= SIZE - 2:
            h.invariant(~started[age] | (hold >= SIZE - 1 - age))
        if age <= 2 * SIZE - 2:
            rows_ahead = max(0, age - SIZE + 1)
            own = (loading == pass_at_start) & (row > age)
            after = (loading == (pass_at_start + 1)[:2]) & (row <= rows_ahead)
            h.invariant(~started[age] | own | after)
    for r in range(SIZE):
        switched, shadow = inside.signal("switched", "grid", f"row{r}"), inside.signal("shadow", "grid", f"row{r}")
        h.invariant(switched == Cat(started[r + 1 + c] for c in range(SIZE)))
        holds = Mux(row > r, loading, (loading - 1)[:2])
        for c in range(SIZE):
            h.invariant(~(whole | (row > r)) | (shadow.word_select(c, 8)[:2] == holds))
            pass_number, any_pass = in_force[r + c]
            h.invariant(~any_pass | (inside.signal(f"active{c}", "grid", f"row{r}")[:2] == pass_number))
    behind: Value = Const(0)
    write_at = inside.signal("write_addr")
    for age in ages[:-1]:
        valid, _, mark = in_flight[age]
        behind = behind + valid
        waits = inside.word((write_at - behind)[:3], tag_layout(CORE).size, "tags", "ram")
        h.invariant(~valid | (waits[0] == mark))
    h.invariant(inside.signal("read_addr") == (write_at - behind)[: len(write_at)])


def _array(old: str, new: str) -> Bug:
    return Bug("rtl.engines.array", old, new)


PROOFS = [
    Proof(
        "SystolicArray, 4 x 4",
        array,
        1,
        {
            OWN_WEIGHTS: [
                _array("hold.eq(cols - 2)", "hold.eq(0)"),
                _array("~self.pixels.payload.first | loaded", "1"),
                Bug("rtl.engines.pe", "m.d.sync += switched.eq(switch)", "m.d.sync += switched.eq(self.switch)"),
            ],
            ENABLED: [_array("enable.eq(accept | (line != 0))", "enable.eq(line != 0)")],
            ORDER: [_array("tags.read_enable.eq(line[-2])", "tags.read_enable.eq(line[-1])")],
        },
        bug_steps=CYCLES,
    ),
]
