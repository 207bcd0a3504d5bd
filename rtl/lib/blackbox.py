"""Emission of a module once, however often it is instantiated.

Amaranth emits one Verilog module per instance. A component added to a design through `place` is an
ordinary submodule in simulation, but when the design is elaborated for an `EmissionTarget`, it becomes
an instance, by name, of a module that the target remembers and that `rtl.emit` emits on its own.
"""

from __future__ import annotations

from typing import Any

from amaranth.hdl import ClockSignal, Elaboratable, Instance, ResetSignal, Value
from amaranth.hdl._ir import PortDirection
from amaranth.lib import wiring
from amaranth.lib.wiring import In

__all__ = ["BlackBox", "EmissionTarget", "place", "ports_of"]


def ports_of(component: wiring.Component) -> dict[str, tuple[Value, PortDirection]]:
    """Verilog port names of a component (path parts joined by two underscores), their signals and directions."""
    ports = {}
    for path, member, value in component.signature.flatten(component):
        direction = PortDirection.Input if member.flow == In else PortDirection.Output
        ports["__".join(map(str, path))] = (Value.cast(value), direction)
    return ports


class EmissionTarget:
    """The platform for which `rtl.emit` elaborates; collects the modules to emit."""

    def __init__(self) -> None:
        self.modules: dict[str, wiring.Component] = {}

    def place(self, component: wiring.Component, name: str) -> BlackBox:
        known = self.modules.setdefault(name, component)
        shapes = [
            {port: (len(value), direction) for port, (value, direction) in ports_of(one).items()}
            for one in (known, component)
        ]
        if type(known) is not type(component) or shapes[0] != shapes[1]:
            raise ValueError(f"module name {name!r} stands for two different components")
        return BlackBox(component, name)


class BlackBox(Elaboratable):
    """Instance of module ``name`` on the very signals of ``component``, whose inside stays out."""

    def __init__(self, component: wiring.Component, name: str) -> None:
        self.component = component
        self.name = name

    def elaborate(self, platform: Any) -> Instance:
        # Amaranth warns of components that are never elaborated; all but one of each name are not.
        self.component._MustUse__used = True
        ports = {
            f"{'i' if direction is PortDirection.Input else 'o'}_{name}": value
            for name, (value, direction) in ports_of(self.component).items()
        }
        return Instance(self.name, i_clk=ClockSignal(), i_rst=ResetSignal(), **ports)


def place(component: wiring.Component, platform: Any, name: str) -> Elaboratable:
    """What to add to ``m.submodules`` for a component whose module is shared under ``name``.

    The same name must always stand for the same hardware: whatever differs between instances is an
    input of the component.
    """
    return platform.place(component, name) if isinstance(platform, EmissionTarget) else component
