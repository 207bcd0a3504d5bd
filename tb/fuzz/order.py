"""Happens-before of a program under construction: adds the tokens that make it free of races.

Instructions come in one legal serial order, each without waits and signals. Every stage of an instruction
(`tb.fuzz.footprint`) is an event; the instruction set puts some events in order by itself (instructions of a unit
start in order, a stage follows the same stage of the instruction before), and where two that touch the same bytes are
not in order yet, a token is added. What happened before an event is a set of events, kept as the bits of a number.

An instruction waits only for instructions before it in the serial order, so nothing deadlocks. A counter serves
several pairs of signal and wait only if no wait can take a token that was meant for another.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from rtl.contract.isa import Opcode, Unit
from rtl.contract.params import ChipParams
from tb.fuzz.footprint import Access, Place
from tb.fuzz.program import Instruction, Streams

__all__ = ["Impossible", "Order"]


class Impossible(Exception):
    """This instruction cannot be put in order any more: out of counters, or nothing tells that another is over."""


@dataclass
class _Op:
    """An instruction in the making."""

    core: int
    unit: Unit
    opcode: Opcode
    fields: dict[str, int]
    start: int
    slots: list[tuple[int, int, tuple]] = field(default_factory=list)
    """Free signals: number, event at which it fires, and what fires it (signals of one kind fire in order)."""
    arrivals: list[tuple[int, tuple, int]] = field(default_factory=list)
    """Cores that its data go to, with stage and event."""


@dataclass
class _Use:
    """One signal of a counter and the wait for it."""

    event: int
    kind: tuple
    consumer: int | None = None
    """The event of its start."""
    unit: Unit | None = None


@dataclass(frozen=True)
class _Undo:
    """What a failed attempt must restore."""

    ops: int
    events: int
    last: dict
    slots: list[list]
    fields: list[dict[str, int]]
    uses: list[dict[int, list[_Use]]]
    touched: dict[Place, int]
    lengths: dict[tuple[int, Unit], int]


class Order:
    """Collects instructions in a serial order that is legal, and orders them by tokens."""

    def __init__(self, chip: ChipParams, rng: np.random.Generator, *, spare_tokens: int = 1) -> None:
        self.chip = chip
        self.rng = rng
        self.n_counters = chip.tokens - spare_tokens
        """The last `spare_tokens` counters of every core stay unused."""
        self.streams: dict[tuple[int, Unit], list[_Op]] = {(c, u): [] for c in range(chip.n_cores) for u in Unit}
        self.ops: list[_Op] = []
        self._before: list[int] = []
        self._last: dict[tuple, int] = {}
        self._touched: dict[Place, list[tuple[Access, int]]] = {}
        self._uses: list[dict[int, list[_Use]]] = [{} for _ in range(chip.n_cores)]

    def instructions(self) -> Streams:
        """The streams so far."""
        return {
            place: [Instruction(op.opcode, dict(op.fields)) for op in stream] for place, stream in self.streams.items()
        }

    def add(self, core: int, unit: Unit, opcode: Opcode, fields: dict[str, int], touches: list[Access]) -> None:
        """Append an instruction and whatever SYNCs it needs.

        Fields of waits and signals are added. ``token_valid`` asks for the token of a LOAD or of a STORE to a core.

        Raises
        ------
        Impossible
            Nothing has been added then.
        """
        undo = self._checkpoint()
        try:
            needs = self._needs(core, unit, touches)
            op = self._begin(core, unit, opcode, dict(fields), needs)
            self._finish(op, touches)
        except Impossible:
            self._restore(undo)
            raise

    def collect(self) -> None:
        """Wait for all data: what arrives behind the last END may be lost.

        Raises
        ------
        Impossible
            If there are not enough counters left.
        """
        for op in self.ops:
            awaited = [self._last["start", core, unit] for core, unit in self.streams if self.streams[core, unit]]
            waiting = [u.event for uses in self._uses for use in uses.values() for u in use if u.consumer is None]
            if op.arrivals and not op.fields.get("token_valid"):
                events = [event for _, _, event in op.arrivals]
                if not all(any(self._happened(e, by) for by in awaited + waiting) for e in events):
                    self._tell(op, fresh=True)
        for core, counters in enumerate(self._uses):
            preferred = Unit(self.rng.integers(3))
            by_unit: dict[Unit, dict[int, tuple[int, _Use]]] = {}
            for token, uses in counters.items():
                if uses[-1].consumer is None:
                    # The unit of the last wait can always take the next token.
                    unit = preferred if self._takes(core, token, preferred) else uses[-2].unit
                    assert unit is not None
                    by_unit.setdefault(unit, {})[token] = (uses[-1].event, uses[-1])
            for unit, mine in by_unit.items():
                ranges = self._ranges(sorted(mine))
                for first in range(0, len(ranges), 3):
                    self._append(core, unit, Opcode.SYNC, {}, ranges[first : first + 3], mine)

    # Events. ---------------------------------------------------------------------------------------

    def _event(self, *after: int) -> int:
        before = 0
        for event in after:
            before |= self._before[event]
        self._before.append(before | 1 << len(self._before))
        return len(self._before) - 1

    def _happened(self, event: int, by: int) -> bool:
        return bool(self._before[by] >> event & 1)

    def _needs(self, core: int, unit: Unit, touches: list[Access]) -> list[int]:
        """Events that must be over before the instruction starts and that nothing puts in order yet."""
        started = self._last.get(("start", core, unit))
        needs: set[int] = set()
        for access in touches:
            known = self._before[started] if started is not None else 0
            if access.stage in self._last:
                known |= self._before[self._last[access.stage]]
            for earlier, event in self._touched.get(access.place, []):
                conflict = (access.writes or earlier.writes) and access.mask & earlier.mask
                if conflict and not known >> event & 1:
                    needs.add(event)
        return [e for e in needs if not any(o != e and self._happened(e, o) for o in needs)]

    def _begin(self, core: int, unit: Unit, opcode: Opcode, fields: dict[str, int], needs: list[int]) -> _Op:
        """Start an instruction behind the events that it needs."""
        counters: dict[int, tuple[int, _Use]] = {}
        for need in needs:
            self._obtain(core, unit, need, counters)
        ranges = self._ranges(sorted(counters))
        for early in [ranges[i : i + 3] for i in range(0, len(ranges) - 3, 3)] if len(ranges) > 3 else []:
            self._append(core, unit, Opcode.SYNC, {}, early, counters)
        rest = ranges[-(len(ranges) % 3 or 3) :] if len(ranges) > 3 else ranges
        return self._append(core, unit, opcode, fields, rest, counters)

    def _append(
        self,
        core: int,
        unit: Unit,
        opcode: Opcode,
        fields: dict[str, int],
        ranges: list[tuple[int, int]],
        counters: dict[int, tuple[int, _Use]],
    ) -> _Op:
        """Put an instruction at the end of its stream; it waits for ranges of counters."""
        mine = [counters[counter] for first, count in ranges for counter in range(first, first + count)]
        last = self._last.get(("start", core, unit))
        after = [event for event, _ in mine] + ([last] if last is not None else [])
        if opcode == Opcode.SYNC and fields.get("fence"):
            after += [event for stage, event in self._last.items() if stage[:2] == ("write", core)]
        start = self._event(*after)
        self._last["start", core, unit] = start
        for _, use in mine:
            use.consumer, use.unit = start, unit
        places = list(self.rng.permutation(3)) if self.rng.random() < 0.5 else [0, 1, 2]
        for place, (first, count) in zip(places, ranges, strict=False):
            fields |= {f"wait{place}_first": first, f"wait{place}_count": count}
        op = _Op(core, unit, opcode, fields, start)
        if opcode == Opcode.SYNC:
            op.slots = [(i, start, ("start", core, unit)) for i in range(3)]
        self.ops.append(op)
        self.streams[core, unit].append(op)
        return op

    def _finish(self, op: _Op, touches: list[Access]) -> None:
        """Make the events of the stages, with what the hardware puts in order by itself."""
        order = {"read": 0, "operands": 0, "drain": 0, "arrive": 1, "update": 1, "write": 1, "send": 1}
        stages = sorted({access.stage for access in touches}, key=lambda stage: (order[stage[0]], stage))
        if op.opcode == Opcode.COMPUTE:
            stages = [("operands", op.core), ("update", op.core)]
        events: dict[tuple, int] = {}
        before = op.start
        for stage in stages:
            last = self._last.get(stage)
            events[stage] = self._event(before, *([last] if last is not None else []))
            self._last[stage] = events[stage]
            if order[stage[0]] == 0:
                before = events[stage]
        for access in touches:
            self._touched.setdefault(access.place, []).append((access, events[access.stage]))
        if op.opcode == Opcode.COMPUTE:
            op.slots = [(i, events["operands", op.core], ("operands", op.core)) for i in range(2)]
            op.slots.append((2, events["update", op.core], ("update", op.core)))
        elif op.opcode in (Opcode.STORE, Opcode.TABLE):
            op.slots = [(i, events["drain", op.core], ("drain", op.core)) for i in range(3)]
        op.arrivals = [(s[-1], s, event) for s, event in events.items() if s[0] in ("arrive", "send")]
        if op.fields.pop("token_valid", 0) and op.arrivals:
            self._tell(op)

    def _tell(self, op: _Op, *, fresh: bool = False) -> None:
        """Give the arrival of its data a token, one that nothing has used if `fresh`."""
        free = [
            token
            for token in range(self.n_counters)
            if all(
                not self._uses[core].get(token) if fresh else self._usable(core, token, event, None)
                for core, _, event in op.arrivals
            )
        ]
        if not free:
            raise Impossible
        token = self._choose(free)
        op.fields |= {"token_valid": 1, "token": token}
        for core, stage, event in op.arrivals:
            self._uses[core].setdefault(token, []).append(_Use(event, stage))

    # Tokens. ---------------------------------------------------------------------------------------

    def _obtain(self, core: int, unit: Unit, need: int, counters: dict[int, tuple[int, _Use]]) -> None:
        """Find or make a signal that tells unit `unit` of core `core` that `need` has happened."""
        if any(self._happened(need, event) for event, _ in counters.values()):
            return
        waiting = [
            (token, use)
            for token, uses in self._uses[core].items()
            for use in uses
            if use.consumer is None
            and token not in counters
            and self._happened(need, use.event)
            and self._takes(core, token, unit)
        ]
        slots = [(op, slot) for op in self.ops for slot in op.slots if self._happened(need, slot[1])]
        if waiting and (not slots or self.rng.random() < 0.6):
            token, use = waiting[self.rng.integers(len(waiting))]
            counters[token] = (use.event, use)
            return
        if slots:
            # The first ones tell it earliest; later ones hold more than needed.
            index = 0 if self.rng.random() < 0.6 else int(self.rng.integers(len(slots)))
            op, slot = slots[index]
        else:
            op = self._relay(need)
            slot = op.slots[0]
        self._signal(op, slot, core, unit, counters)

    def _signal(
        self, op: _Op, slot: tuple[int, int, tuple], core: int, unit: Unit, counters: dict[int, tuple[int, _Use]]
    ) -> None:
        number, event, kind = slot
        free = [
            token
            for token in range(self.n_counters)
            if token not in counters
            and self._takes(core, token, unit)
            and self._usable(core, token, event, (kind, unit))
        ]
        if not free:
            raise Impossible
        token = self._choose(free)
        op.slots.remove(slot)
        op.fields |= {f"signal{number}_valid": 1, f"signal{number}_token": token, f"signal{number}_core": core}
        use = _Use(event, kind)
        self._uses[core].setdefault(token, []).append(use)
        counters[token] = (event, use)

    def _relay(self, need: int) -> _Op:
        """A SYNC that starts behind `need`."""
        candidates: list[tuple[int, Unit, tuple[int, _Use] | None]] = []
        for (core, unit), stream in self.streams.items():
            if stream and self._happened(need, self._last["start", core, unit]):
                candidates.append((core, unit, None))
        for core, counters in enumerate(self._uses):
            for token, uses in counters.items():
                for use in uses:
                    if use.consumer is None and self._happened(need, use.event):
                        candidates += [(core, unit, (token, use)) for unit in Unit if self._takes(core, token, unit)]
        if not candidates:
            for stage, event in self._last.items():
                if stage[0] == "write" and self._happened(need, event):
                    return self._append(stage[1], Unit.STORE, Opcode.SYNC, {"fence": 1}, [], {})
            raise Impossible
        core, unit, awaited = candidates[self.rng.integers(len(candidates))]
        if awaited is None:
            return self._append(core, unit, Opcode.SYNC, {}, [], {})
        token, use = awaited
        return self._append(core, unit, Opcode.SYNC, {}, [(token, 1)], {token: (use.event, use)})

    def _takes(self, core: int, token: int, unit: Unit) -> bool:
        """The unit's next instruction is behind all waits for the counter so far: it cannot take their tokens."""
        waits = [(use.consumer, use.unit) for use in self._uses[core].get(token, []) if use.consumer is not None]
        if not waits:
            return True
        start, on = waits[-1]
        started = self._last.get(("start", core, unit))
        return on == unit or (started is not None and self._happened(start, started))

    def _usable(self, core: int, token: int, event: int, consumer: tuple[tuple, Unit] | None) -> bool:
        """A signal at `event` may use the counter: no wait so far can take its token instead of its own."""
        uses = self._uses[core].get(token)
        if not uses:
            return True
        last = uses[-1]
        if last.consumer is None:
            return False
        if self._happened(last.consumer, event):
            return True
        # Signals that fire in order, taken by one unit in order: whichever token it takes, its own event is over.
        return (
            consumer is not None
            and (last.kind, last.unit) == consumer
            and self._happened(last.event, event)
            and all(
                (use.kind == last.kind and use.unit == last.unit) or self._happened(use.consumer, last.event)
                for use in uses
                if use.consumer is not None
            )
        )

    def _choose(self, free: list[int]) -> int:
        """Low counters next to each other make ranges; others try all of them."""
        return free[0] if self.rng.random() < 0.5 else free[self.rng.integers(len(free))]

    def _ranges(self, tokens: list[int]) -> list[tuple[int, int]]:
        """Tokens as ranges (first, count), neighbours mostly together."""
        ranges: list[tuple[int, int]] = []
        for token in tokens:
            if ranges and sum(ranges[-1]) == token and self.rng.random() < 0.8:
                ranges[-1] = (ranges[-1][0], ranges[-1][1] + 1)
            else:
                ranges.append((token, 1))
        return ranges

    # Attempts. -------------------------------------------------------------------------------------

    def _checkpoint(self) -> _Undo:
        return _Undo(
            len(self.ops),
            len(self._before),
            dict(self._last),
            [list(op.slots) for op in self.ops],
            [dict(op.fields) for op in self.ops],
            [{t: [_Use(**vars(use)) for use in uses] for t, uses in counters.items()} for counters in self._uses],
            {place: len(list_) for place, list_ in self._touched.items()},
            {place: len(stream) for place, stream in self.streams.items()},
        )

    def _restore(self, undo: _Undo) -> None:
        del self.ops[undo.ops :]
        del self._before[undo.events :]
        self._last, self._uses = undo.last, undo.uses
        for op, slots, fields in zip(self.ops, undo.slots, undo.fields, strict=True):
            op.slots, op.fields = slots, fields
        for place, list_ in self._touched.items():
            del list_[undo.touched.get(place, 0) :]
        for place, stream in self.streams.items():
            del stream[undo.lengths[place] :]
