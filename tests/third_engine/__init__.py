"""A third engine, registered from outside: a file for each room of the project, and one line here for each.

It is an example of what an engine needs, and shows that no file of the project names an engine but its own.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

from estimator.engines import TIMINGS
from golden.machine.engines import MODELS
from rtl.contract.engines import ENGINES
from rtl.engines import HARDWARE
from scheduler.engines import LOWERINGS
from tb.fuzz.engines import FUZZ
from tb.structure.engines import STRUCTURE
from tests.third_engine import fuzz, hardware, lowering, machine, structure, timing
from tests.third_engine.contract import ROW

__all__ = ["ROW", "row_registered"]


@contextmanager
def row_registered() -> Iterator[None]:
    """A world that has the engine in all rooms."""
    with ExitStack() as stack:
        stack.enter_context(ENGINES.registered("row", ROW))
        stack.enter_context(HARDWARE.registered("row", hardware.Row))
        stack.enter_context(STRUCTURE.registered("row", structure.STRUCTURE))
        stack.enter_context(MODELS.registered("row", machine.MODEL))
        stack.enter_context(TIMINGS.registered("row", timing.TIMING))
        stack.enter_context(FUZZ.registered("row", fuzz.FUZZ))
        stack.enter_context(LOWERINGS.registered("row", lowering.LOWERING))
        yield
