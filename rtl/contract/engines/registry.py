"""Registry of the engines' parts in one room: what each room of engines has one line an engine of."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import TypeVar

__all__ = ["EngineError", "Registry"]

Part = TypeVar("Part")


class EngineError(ValueError):
    """An engine that is not there, or not as the registry wants it; the message names the value and the rule."""


class Registry(Mapping[str, Part]):
    """Parts of one kind (contract, hardware, machine, ...) by the name of their engine.

    Attributes
    ----------
    what : str
        Kind of the parts, for messages.
    changes : int
        Grows with every change, so that what was derived from the registry can tell.
    """

    def __init__(self, what: str, parts: Mapping[str, Part] | None = None) -> None:
        self.what = what
        self.changes = 0
        self._parts: dict[str, Part] = {}
        for name, part in (parts or {}).items():
            self.register(name, part)

    def __getitem__(self, name: str) -> Part:
        if name not in self._parts:
            known = ", ".join(self._parts)
            raise EngineError(f"engine {name!r} has no {self.what}: register one, or take one of {known}")
        return self._parts[name]

    def __contains__(self, name: object) -> bool:
        return name in self._parts

    def __iter__(self) -> Iterator[str]:
        return iter(self._parts)

    def __len__(self) -> int:
        return len(self._parts)

    def of(self, names: Iterable[str]) -> dict[str, Part]:
        """The parts of these engines, in their order: ``registry.of(core.engines)``."""
        return {name: self[name] for name in names}

    def register(self, name: str, part: Part) -> None:
        """Add an engine's part.

        Raises
        ------
        EngineError
            If there is one already.
        """
        if name in self._parts:
            raise EngineError(f"engine {name!r} has a {self.what} already: choose another name")
        self._check(name, part)
        self._parts[name] = part
        self.changes += 1

    @contextmanager
    def registered(self, name: str, part: Part) -> Iterator[Part]:
        """The same for as long as the context lasts."""
        self.register(name, part)
        try:
            yield part
        finally:
            del self._parts[name]
            self.changes += 1

    def _check(self, name: str, part: Part) -> None:
        """Rules of a kind of parts; EngineError where one is broken."""
