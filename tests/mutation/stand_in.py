"""Puts a netlist in the place of a component, under the component's own bench.

The benches hand Amaranth components to Amaranth's simulator. While `stand_in` is active, every instance of one
class that was made with given arguments elaborates to nothing, and a process of the simulator drives its outputs
from the compiled netlist. The bench is unchanged, and its own assertions decide.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import wraps
from typing import Any

from amaranth.hdl import Module, Signal
from amaranth.hdl._ir import PortDirection
from amaranth.lib import wiring
from amaranth.sim import Simulator

from rtl.lib.blackbox import ports_of
from tests.mutation.model import Model

__all__ = ["arguments_of", "observe", "stand_in"]

_ARGUMENTS = "_arguments_of_construction"


def arguments_of(component: wiring.Component) -> dict[str, Any]:
    """The keyword arguments that a component was made with, while its class is observed."""
    return getattr(component, _ARGUMENTS)


@contextmanager
def observe(cls: type, seen: Callable[[dict[str, Any]], None]) -> Iterator[None]:
    """Within it, `seen` gets the arguments of each instance of a class when it is elaborated."""
    with _replaced(cls, lambda component, original, platform: (seen(arguments_of(component)), original(platform))[1]):
        yield


@contextmanager
def stand_in(cls: type, arguments: dict[str, Any], model: Callable[[], Model]) -> Iterator[None]:
    """Within it, instances of a class that were made with these arguments are models."""
    waiting: list[wiring.Component] = []
    init = Simulator.__init__

    def replace(component: wiring.Component, original: Callable, platform: Any) -> Any:
        if platform is not None or arguments_of(component) != arguments:
            return original(platform)
        waiting.append(component)
        m = Module()
        clocked = Signal()  # so that the simulated design has a clock even if nothing else does
        m.d.sync += clocked.eq(~clocked)
        return m

    @wraps(init)
    def simulator_init(self: Simulator, *positional: Any, **keywords: Any) -> None:
        waiting.clear()
        init(self, *positional, **keywords)
        clock = self._design.lookup_domain("sync", None).clk
        for component in waiting:
            self.add_process(_process(component, model(), clock))
        waiting.clear()

    with _replaced(cls, replace):
        Simulator.__init__ = simulator_init
        try:
            yield
        finally:
            Simulator.__init__ = init


def _process(component: wiring.Component, model: Model, clock: Signal) -> Callable:
    """Evaluates the model whenever the clock or an input changes.

    At a clock edge the process runs in the same delta cycle as the registers of the design, so the model sees the
    inputs of before the edge; what they become after it wakes the process again.
    """
    ports = ports_of(component).values()
    inputs = [value for value, direction in ports if direction is PortDirection.Input]
    outputs = [value for value, direction in ports if direction is not PortDirection.Input]

    async def process(ctx: Any) -> None:
        shown: list[int | None] = [None] * len(outputs)
        async for level, *values in ctx.changed(clock, *inputs):
            for index, (signal, value) in enumerate(zip(outputs, model.step(level, values), strict=True)):
                if value != shown[index]:
                    shown[index] = value
                    if signal.shape().signed and value >> len(signal) - 1:
                        value -= 1 << len(signal)
                    ctx.set(signal, value)

    return process


@contextmanager
def _replaced(cls: type, elaborate: Callable) -> Iterator[None]:
    """Within it, a class records its arguments, and `elaborate(component, original, platform)` is its elaborate."""
    init, original = cls.__init__, cls.elaborate

    @wraps(init)
    def recording(self: Any, **keywords: Any) -> None:
        setattr(self, _ARGUMENTS, keywords)
        init(self, **keywords)

    def replacement(self: Any, platform: Any) -> Any:
        return elaborate(self, lambda platform: original(self, platform), platform)

    cls.__init__, cls.elaborate = recording, replacement
    try:
        yield
    finally:
        cls.__init__, cls.elaborate = init, original
