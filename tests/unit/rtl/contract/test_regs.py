"""Which counters cores and routers have, and which of them a program decides."""

from __future__ import annotations

from rtl.contract.engines import ENGINES
from rtl.contract.regs import (
    STATIC_COUNTERS,
    CoreCounter,
    CoreDebug,
    CoreTrace,
    EventCounter,
    RouterCounter,
    RouterEvent,
    compute_counters,
    router_counters,
)


def test_counters_of_events_are_only_of_chips_and_engines_that_have_them() -> None:
    plain, counted = (ENGINES.counters(["array", "tap"], events=on) for on in (False, True))
    assert counted.keys() - plain.keys() == set(EventCounter.__members__)
    assert plain.items() <= counted.items()
    without_tap = ENGINES.counters(["array"], events=True)
    assert counted.keys() - without_tap.keys() == {"TAP_PIXELS", "TAP_MACS", "TAP_MAXIMA"}
    assert router_counters(events=False).keys() == set(RouterCounter.__members__)
    assert router_counters(events=True).keys() - set(RouterCounter.__members__) == set(RouterEvent.__members__)


def test_no_two_words_of_a_core_share_a_number() -> None:
    """Six bits choose one; the trace memory has eight words from COMPUTE on."""
    numbers = [*ENGINES.counters(["array", "tap"], events=True).values(), *CoreDebug, CoreTrace.PASSED]
    numbers += [CoreTrace.COMPUTE + counter for counter in compute_counters()]
    assert len(set(numbers)) == len(numbers)
    assert max(numbers) < 64
    assert not set(RouterCounter) & set(RouterEvent)


def test_time_decides_no_static_counter() -> None:
    timed = {counter for counter in CoreCounter if counter.name.startswith(("COMPUTE", "LOAD"))}
    timed |= {CoreCounter.STORE_WAIT, CoreCounter.STORE_NOC, CoreCounter.ACC_CONFLICT}
    fetched = {CoreCounter.FLITS_IN, CoreCounter.FLITS_OUT}
    assert {counter for counter in CoreCounter if counter not in STATIC_COUNTERS} == timed | fetched
    assert set(EventCounter) <= STATIC_COUNTERS
