"""Proofs of the soft reset between launches: which registers it returns, and that whatever remains does not matter.

What remains is memories, and registers that mean something only behind a valid. In the cycle after clear two copies of
a block get the same inputs; one is fresh from reset, the other holds anything wherever clear leaves it alone.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from typing import Any

from amaranth.hdl import Cat, Const, Shape, Signal, Value
from amaranth.lib import data as layouts
from amaranth.lib.wiring import In

from rtl.contract.isa import Unit
from rtl.contract.params import CoreParams
from rtl.core.interface import Inbound
from rtl.core.issue import Issue
from rtl.core.signals import SignalRouter
from rtl.core.store import Packets
from rtl.lib.fifo import Fifo
from rtl.noc.allocator import Allocator
from rtl.noc.buffer import InputBuffer
from rtl.noc.port import NetworkPort
from rtl.noc.router import Router
from tests.formal.harness import Harness, Inside
from tests.formal.prover import Bug, Proof
from tests.unit.rtl.noc.noc_models import small_chip

__all__ = ["PROOFS"]

RETURNED = "a cycle of clear returns all registers to their reset state, but those that mean nothing by themselves"
FORGOTTEN = "what a block does behind clear does not depend on what clear left in it"

CORE = CoreParams(rows=4, cols=4, act_bytes=1024, weight_bytes=1024, acc_entries=32, param_blocks=2, queue_depth=4)


def returned(make: Callable[[], Any], remain: Collection[str]) -> Harness:
    """From any state: the step of the induction assumes nothing of the state before."""
    h = Harness()
    dut = make()
    inside = Inside(h.m, "dut", dut)
    for _, member, value in dut.signature.flatten(dut):
        if member.flow == In:
            h.drive(value)
    cleared = h.past(dut.clear, "cleared")
    registers = inside.registers()
    left = {name for name, register in registers.items() if name in remain}
    if left != set(remain):
        raise ValueError(f"no registers {sorted(set(remain) - left)}")
    others = [register for name, register in registers.items() if name not in remain]
    h.always(RETURNED, ~cleared | Cat(register == register.init for register in others).all())
    h.cover("clear changes something", cleared & h.past(Cat(r != r.init for r in others).any(), "differed"))
    return h


def _narrow(h: Harness, name: str, shape: Any, low: int) -> Value:
    """Any value of a shape in which only the lowest bits of long fields take part."""
    if isinstance(shape, layouts.StructLayout):
        return Cat(_narrow(h, f"{name}_{key}", field.shape, low) for key, field in shape)
    width = Shape.cast(shape).width
    free = h.free(width if width <= 8 else min(width, low), name)
    return Cat(free, Const(0, width - len(free)))


def forgotten(
    make: Callable[[], Any],
    remain: Collection[str] | None = None,
    *,
    guards: dict[str, Callable[[Any], Value]] | None = None,
    late: dict[str, Callable[[Any], Value]] | None = None,
    assume: Callable[[Harness, Any], None] | None = None,
    low: int = 3,
) -> Harness:
    """Two copies. What is beside a ``valid`` counts while that is high; other outputs where a guard says so.

    Without ``remain`` it is the registers without a reset that remain. ``late`` guards hold in the cycle before.
    Inputs of more than 8 bits have ``low``.
    """
    h = Harness()
    used, fresh = make(), make()
    inside = Inside(h.m, "used", used)
    h.m.submodules.fresh = fresh
    h.arbitrary = ["used"]
    begun = Signal()
    h.m.d.sync += begun.eq(1)
    registers = inside.registers()
    kept = {name for name, register in registers.items() if register.reset_less} if remain is None else set(remain)
    h.assume(begun | Cat(r == r.init for name, r in registers.items() if name not in kept).all())
    if assume is not None:
        assume(h, fresh)
    ports = {
        "__".join(map(str, path)): (member, Value.cast(one), Value.cast(other))
        for (path, member, one), (_, _, other) in zip(
            used.signature.flatten(used), fresh.signature.flatten(fresh), strict=True
        )
    }
    valids = []
    for name, (member, one, other) in ports.items():
        if member.flow == In:
            h.m.d.comb += [other.eq(_narrow(h, name, member.shape, low)), one.eq(other)]
            continue
        beside = "__".join([*name.split("__")[:-1], "valid"])
        counts: Value | int = 1
        if name in (guards or {}):
            counts = (guards or {})[name](fresh)
        elif name in (late or {}):
            counts = h.past((late or {})[name](fresh), f"late_{name}")
            valids.append(counts)
        elif beside in ports and name != beside and ports[beside][0].flow != In:
            counts = ports[beside][2]
            valids.append(counts)
        h.always(FORGOTTEN, ~Value.cast(counts).bool() | (one == other))
    seen = [*valids, *(Value.cast(guard(fresh)) for guard in (guards or {}).values())]
    h.cover("a word comes out", Cat(Value.cast(value).any() for value in seen).any() & begun)
    if kept:
        h.cover(
            "something has remained", ~begun & Cat(r != r.init for name, r in registers.items() if name in kept).any()
        )
    return h


def _popped(dut: Any) -> Value:
    return dut.pop.any()


def _pops_what_is_there(h: Harness, dut: Any) -> None:
    h.assume(((dut.pop & ~dut.present) == 0) & ((dut.pop & (dut.pop - 1)[: len(dut.pop)]) == 0))


def _packets_begin_with_heads(h: Harness, dut: Any) -> None:
    for name, one in (("response", dut.response), ("request", dut.request)):
        inner = Signal(name=f"{name}_inner")
        with h.m.If(one.valid & one.ready):
            h.m.d.sync += inner.eq(~one.payload.last)
        h.assume(one.payload.first == ~inner)


def _job_has_flits(h: Harness, dut: Any) -> None:
    h.assume(dut.job.payload.flits != 0)


def _bug(module: str, old: str, new: str) -> list[Bug]:
    return [Bug(f"rtl.{module}", old, new)]


_NOC = small_chip(2, 2, 1)
_LINE = small_chip(2, 1, 1, tokens=16)
_BUFFER_VCS = [f"buffer_{port}.vc" for port in ("local", "north", "east", "south", "west")]
_RETURNED = [
    (
        "InputBuffer",
        lambda: InputBuffer(chip=_NOC),
        ["vc"],
        _bug("noc.buffer", "m.d.sync += link.credit.eq(0)", "pass"),
    ),
    (
        "Allocator",
        lambda: Allocator(chip=_NOC),
        [],
        _bug("noc.allocator", "(route, claims, behind, *used)", "(route, claims, *used)"),
    ),
    (
        "Router",
        lambda: Router(chip=_NOC),
        ["counter_value", *_BUFFER_VCS],
        _bug("noc.router", "m.d.sync += crossing.eq(0)", "pass"),
    ),
    (
        "NetworkPort",
        lambda: NetworkPort(chip=small_chip(2, 1, 1, vcs_per_class=2)),
        ["vc", "flit"],
        _bug("noc.port", 'name=f"credits_{kind}")', 'name=f"credits_{kind}", reset_less=True)'),
    ),
]
_FORGOTTEN: list[tuple[str, Callable[[], Harness], int, list[Bug]]] = [
    (
        "InputBuffer",
        lambda: forgotten(
            lambda: InputBuffer(chip=_NOC), ["vc"], late={"flit": _popped, "vc": _popped}, assume=_pops_what_is_there
        ),
        5,
        _bug("noc.buffer", "with m.If(self.present[v]):", "if True:"),
    ),
    (
        "NetworkPort",
        lambda: forgotten(lambda: NetworkPort(chip=small_chip(2, 1, 1, vcs_per_class=2))),
        5,
        _bug("noc.port", "leader = Signal()", "leader = Signal(reset_less=True)"),
    ),
    (
        "Fifo",
        lambda: forgotten(lambda: Fifo(shape=4, depth=1)),
        5,
        _bug("lib.fifo", "self.o.valid.eq(self.level)", "self.o.valid.eq(word[0])"),
    ),
    (
        "Issue",
        lambda: forgotten(lambda: Issue(chip=_LINE, unit=Unit.STORE), low=92),
        5,
        _bug("core.issue", "state = Signal(UnitState)", "state = Signal(UnitState, reset_less=True)"),
    ),
    (
        "SignalRouter",
        lambda: forgotten(lambda: SignalRouter(chip=_LINE, n_sources=3)),
        5,
        _bug("core.signals", "full = Signal()", "full = Signal(reset_less=True)"),
    ),
    (
        "Inbound",
        lambda: forgotten(lambda: Inbound(core=CORE, chip=_LINE), assume=_packets_begin_with_heads),
        5,
        _bug("core.interface", "addr.eq(header.addr)", "addr.eq(held_addr)"),
    ),
    (
        "Packets",
        lambda: forgotten(
            lambda: Packets(chip=_LINE, lanes=4), guards={"turn": lambda dut: dut.busy}, assume=_job_has_flits
        ),
        6,
        _bug(
            "core.store",
            "left = Signal(range(chip.max_packet_flits))",
            "left = Signal(range(chip.max_packet_flits), reset_less=True)",
        ),
    ),
]

PROOFS = [
    *(
        Proof(
            f"{name}, clear",
            lambda make=make, remain=remain: returned(make, remain),
            1,
            {RETURNED: bugs},
            bug_steps=4,
            quick=False,
        )
        for name, make, remain, bugs in _RETURNED
    ),
    *(
        Proof(f"{name} behind clear", make, steps, {FORGOTTEN: bugs}, induction=False, bug_steps=steps, quick=False)
        for name, make, steps, bugs in _FORGOTTEN
    ),
]
