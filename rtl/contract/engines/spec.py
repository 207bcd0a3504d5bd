"""Specification of an engine: what scheduler, machine, estimator, bench and hardware must agree on."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from amaranth.lib import data

from rtl.contract.engines.registry import EngineError, Registry
from rtl.contract.isa import ENGINE_BITS, LAYOUTS, OPTION_BITS, Opcode
from rtl.contract.regs import ENGINE_PIXELS, CoreCounter, EngineCounter, EventCounter

__all__ = ["CoreShape", "EngineSpec", "Lists", "SetupFields", "Specs"]

SetupFields = Mapping[str, Any]
"""Fields of a SETUP by name, the engine's own options among them.

Numbers (of `rtl.contract.codec.decode`) or hardware values: rules of an engine are written with ``& | == != < >``
alone, so that one text serves both.
"""


class CoreShape(Protocol):
    """What an engine may ask of a core: `rtl.contract.params.CoreParams` has it, which knows the engines."""

    @property
    def rows(self) -> int: ...
    @property
    def cols(self) -> int: ...
    @property
    def act_bytes(self) -> int: ...
    @property
    def weight_bytes(self) -> int: ...
    @property
    def acc_entries(self) -> int: ...
    @property
    def tap_columns(self) -> int: ...
    @property
    def sparse_lanes(self) -> int: ...
    @property
    def sparse_columns(self) -> int: ...
    @property
    def sparse_items(self) -> int: ...
    @property
    def sparse_depth(self) -> int: ...
    @property
    def sparse_slots(self) -> int: ...


def _always(setup: SetupFields) -> int:
    return 1


def _never(core: CoreShape, setup: SetupFields) -> int:
    return 0


@dataclass(frozen=True)
class Lists:
    """What lies behind the weights of a pass's kernel positions, of an engine whose passes are blocks."""

    head_rows: int
    """Rows of C bytes in front of the lists."""
    round_rows: Callable[[CoreShape], int]
    """Rows of C bytes of a round, of which a COMPUTE says how many there are (``rounds``)."""
    rounds: Callable[[CoreShape], int]
    """The most that the engine holds; a COMPUTE with more is an ILLEGAL_FIELD."""

    def rows(self, core: CoreShape, rounds: Any) -> Any:
        """All of these rows; `rounds` is a number or a hardware value."""
        return self.head_rows + rounds * self.round_rows(core)


@dataclass(frozen=True)
class EngineSpec:
    """One engine, as a line of `rtl.contract.engines.ENGINES`."""

    name: str
    """Also of its file in each room, of its instance in the netlist, and in ``CoreParams.engines``."""
    code: int
    """SETUP.engine."""
    options: data.StructLayout
    """Its own bits of SETUP.options, from the lowest on. Names differ from those of all other fields of a SETUP."""
    weight_rows: Callable[[CoreShape], int]
    """Rows of C bytes that a kernel position of a block takes, consecutive in the weight scratchpad."""
    lanes: Callable[[CoreShape], int]
    """Lanes of an accumulator update that are defined, from lane 0 on."""
    reads_weights: Callable[[SetupFields], Any] = _always
    """Whether a COMPUTE reads weights at all."""
    illegal: Callable[[CoreShape, SetupFields], Any] = _never
    """Whether a SETUP for this engine is an ILLEGAL_FIELD for reasons of its own."""
    operations: tuple[EventCounter, ...] = ()
    """Counters of what it does with its pixels, which only cores with this engine have (`ChipParams.counters`)."""
    lists: Lists | None = None
    """None: every kernel position of a block is a pass of its own. Otherwise a pass is a block, in which each pixel
    brings its kernel positions (items) one after the other, and lists follow the weights of these."""
    counters: tuple[EngineCounter, ...] = ()
    """Counters that every core with this engine has."""

    def __post_init__(self) -> None:
        if not self.name.isidentifier():
            raise EngineError(f"engine {self.name!r}: its name must be an identifier")
        if not 0 <= self.code < 1 << ENGINE_BITS:
            raise EngineError(f"engine {self.name!r} has code {self.code}: it must have {ENGINE_BITS} bits")
        if self.options.size > OPTION_BITS:
            raise EngineError(
                f"engine {self.name!r} has {self.options.size} bits of options: SETUP has room for {OPTION_BITS}"
            )

    @property
    def pixels_counter(self) -> int:
        """Number of the core's counter of pixels that went through this engine (`rtl.contract.regs`)."""
        return ENGINE_PIXELS[self.code]


class Specs(Registry[EngineSpec]):
    """All engines that the project knows, by name."""

    def __init__(self, *specs: EngineSpec) -> None:
        super().__init__("specification", {spec.name: spec for spec in specs})

    def by_code(self, code: int) -> EngineSpec | None:
        """The engine that SETUP.engine names, if there is one."""
        return next((spec for spec in self.values() if spec.code == code), None)

    def counters(self, names: Iterable[str], *, events: bool = False) -> dict[str, int]:
        """Numbers of the counters of a core with these engines, by name, in ascending order.

        Parameters
        ----------
        events : of a chip with `ChipParams.counters`.
        """
        engines = [self[name] for name in names]
        found = {counter.name: int(counter) for counter in CoreCounter if counter not in ENGINE_PIXELS}
        found |= {f"{spec.name.upper()}_PIXELS": int(spec.pixels_counter) for spec in engines}
        found |= {counter.name: int(counter) for spec in engines for counter in spec.counters}
        if events:
            others = {counter for spec in self.values() for counter in spec.operations}
            own = {counter for spec in engines for counter in spec.operations}
            found |= {counter.name: int(counter) for counter in EventCounter if counter in own or counter not in others}
        return dict(sorted(found.items(), key=lambda item: item[1]))

    def _check(self, name: str, part: EngineSpec) -> None:
        if name != part.name:
            raise EngineError(f"engine {part.name!r} cannot be registered as {name!r}")
        other = self.by_code(part.code)
        if other is not None:
            raise EngineError(f"engine {name!r} has code {part.code} of {other.name!r}: choose a free one")
        taken = {field for field, _ in LAYOUTS[Opcode.SETUP]}
        taken |= {field for spec in self.values() for field, _ in spec.options}
        for field, _ in part.options:
            if field in taken:
                raise EngineError(f"engine {name!r} has an option {field!r} that SETUP has already: rename it")
