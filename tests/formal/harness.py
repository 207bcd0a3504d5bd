"""A harness: a component under proof, what its environment promises, and named properties."""

from __future__ import annotations

import re
from typing import Any

from amaranth.back import rtlil
from amaranth.hdl import Assert, Assume, ClockDomain, Const, Fragment, Module, Mux, Signal, Value
from amaranth.hdl._mem import MemoryInstance

__all__ = ["Harness", "Inside", "follow", "keeps", "source"]


class Inside:
    """A component as the submodule ``name`` of ``m``, with its inner registers and memories by name."""

    def __init__(self, m: Module, name: str, component: Any) -> None:
        self._m = m
        self.fragment = Fragment.get(component, None)
        m.submodules[name] = self.fragment

    def _at(self, path: tuple[str, ...]) -> Fragment:
        fragment = self.fragment
        for step in path:
            (fragment,) = (child for child, name, _ in fragment.subfragments if name == step)
        return fragment

    def signals(self, name: str, *path: str, width: int | None = None) -> list[Signal]:
        """Signals ``name``, and of that width if one is given, that the submodule at ``path`` drives: its own ones,
        and ports of what is inside it."""
        found = {
            id(signal): signal
            for statements in self._at(path).statements.values()
            for statement in statements
            for signal in statement._lhs_signals()
            if signal.name == name and width in {None, len(signal)}
        }
        return list(found.values())

    def signal(self, name: str, *path: str, width: int | None = None) -> Signal:
        """The only one of `signals`."""
        (found,) = self.signals(name, *path, width=width)
        return found

    def nameless(self, width: int, *path: str) -> list[Signal]:
        """Registers of a width without a name, since several were declared in a line: as first assigned."""
        signals = {
            id(signal): signal
            for domain, statements in self._at(path).statements.items()
            for statement in statements
            for signal in statement._lhs_signals()
            if domain == "sync" and signal.name.startswith("$") and len(signal) == width
        }
        return list(signals.values())

    def registers(self) -> dict[str, Signal]:
        """All registers, those of submodules too, by path and name."""
        found: dict[str, Signal] = {}

        def collect(fragment: Fragment, path: str) -> None:
            signals = (
                signal
                for domain, statements in fragment.statements.items()
                for statement in statements
                for signal in statement._lhs_signals()
                if domain == "sync"
            )
            for number, signal in enumerate({id(signal): signal for signal in signals}.values()):
                found[f"{path}{signal.name}" + (f"_{number}" if signal.name.startswith("$") else "")] = signal
            for child, name, _ in fragment.subfragments:
                collect(child, f"{path}{name}.")

        collect(self.fragment, "")
        return found

    def word(self, address: Value, width: int, *path: str) -> Signal:
        """What the memory at ``path`` holds at an address."""
        memory = self._at(path)
        assert isinstance(memory, MemoryInstance)
        data = Signal(width, name="seen")
        at = Signal(len(address), name="looked_at")
        memory.read_port(domain="comb", addr=at, data=data, en=Const(1), transparent_for=())
        self._m.d.comb += at.eq(address)
        return data


class Harness:
    """Collects inputs, assumptions, properties and covers around a component.

    Registers start in their reset state, and there is no reset afterwards.
    """

    def __init__(self) -> None:
        self.m = Module()
        self._clock = ClockDomain("sync", reset_less=True)
        self.m.domains.sync = self._clock
        self._inputs: list[Signal] = []
        self._assumptions: list[Value] = []
        self.properties: dict[str, Value] = {}
        self.invariants: list[Value] = []
        self.covers: dict[str, Value] = {}
        self.arbitrary: list[str] = []
        """Submodules whose registers and memories hold anything at first."""

    def free(self, shape: Any, name: str) -> Signal:
        """An input: any value in each cycle."""
        signal = Signal(shape, name=name)
        self.drive(signal)
        return signal

    def drive(self, *signals: Any) -> None:
        """Lets inputs of the component take any value in each cycle."""
        self._inputs += [Value.cast(signal) for signal in signals]

    def constant(self, shape: Any, name: str) -> Signal:
        """Any value, always the same."""
        choice, kept = self.free(shape, f"{name}_choice"), Signal(shape, name=f"{name}_kept")
        signal, chosen = Signal(shape, name=name), Signal(name=f"{name}_chosen")
        self.m.d.comb += signal.eq(Mux(chosen, kept, choice))
        self.m.d.sync += [kept.eq(signal), chosen.eq(1)]
        return signal

    def past(self, value: Any, name: str) -> Signal:
        """A value in the cycle before; zero at first."""
        signal = Signal(len(Value.cast(value)), name=name)
        self.m.d.sync += signal.eq(value)
        return signal

    def assume(self, value: Value) -> None:
        """The environment keeps to this."""
        self._assumptions.append(value)

    def always(self, name: str, value: Value) -> None:
        """A property: holds in every cycle. Several values of one name are one property."""
        old = self.properties.get(name)
        self.properties[name] = value.bool() if old is None else old & value.bool()

    def invariant(self, value: Value) -> None:
        """Holds in every cycle too; proved with the properties, for the sake of induction."""
        self.invariants.append(value.bool())

    def cover(self, name: str, value: Value) -> None:
        """Something that must be able to happen."""
        self.covers[name] = value

    def rtlil(self, asserted: list[Value]) -> str:
        """The harness as RTLIL, with these values asserted."""
        m = self.m
        m.d.comb += [Assume(value) for value in self._assumptions]
        m.d.comb += [Assert(value) for value in asserted]
        text = rtlil.convert(m, name="top", ports=[self._clock.clk, *self._inputs], emit_src=False)
        return _without_initial_state(text, [f"top.{name}" for name in self.arbitrary])


def _without_initial_state(text: str, modules: list[str]) -> str:
    """RTLIL in which these modules, and what is inside them, hold anything at first."""
    parts = re.split(r"(?m)^(?=module )", text)
    for i, part in enumerate(parts):
        name = part.split("\n", 1)[0].removeprefix("module \\")
        if any(name == module or name.startswith(f"{module}.") for module in modules):
            part = re.sub(r"(?m)^ *attribute \\init .*\n", "", part)
            part = re.sub(r"(?ms)^  cell \$meminit_v2 .*?^  end\n", "", part)
            parts[i] = re.sub(r"(parameter \\INIT_VALUE \d+')[01]+", lambda found: f"{found[1]}x", part)
    return "".join(parts)


def follow(h: Harness, name: str, *, push: Value, payload: Any, pop: Value, level: Value) -> tuple[Signal, ...]:
    """Follows one pushed word, any one, through a queue of ``level`` words.

    Result: whether one is followed, the word, and how many words are in front of it.
    """
    payload = Value.cast(payload)
    start = h.free(1, f"{name}_start")
    followed = Signal(name=f"{name}_followed")
    word = Signal(len(payload), name=f"{name}_word")
    ahead = Signal(len(level), name=f"{name}_ahead")
    m = h.m
    with m.If(followed), m.If(pop):
        m.d.sync += [ahead.eq(ahead - 1), followed.eq(ahead != 0)]
    with m.Elif(push & start):
        m.d.sync += [followed.eq(1), word.eq(payload), ahead.eq(level - pop)]
    return followed, word, ahead


def keeps(h: Harness, name: str, *, valid: Value, ready: Value, payload: Any) -> Value:
    """What was offered and not taken in the cycle before is still offered, unchanged."""
    waited, before = h.past(valid & ~ready, f"{name}_waited"), h.past(payload, f"{name}_before")
    return ~waited | (valid & (Value.cast(payload) == before))


def source(h: Harness, name: str, stream: Any, *, drive_payload: bool = True) -> Value:
    """Drives a stream with anything that stays until it is taken; the result: something waited."""
    h.drive(stream.valid, *([stream.payload] if drive_payload else []))
    h.assume(keeps(h, name, valid=stream.valid, ready=stream.ready, payload=stream.payload))
    return h.past(stream.valid & ~stream.ready, f"{name}_waits")
