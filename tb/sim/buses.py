"""Names of what the checkers at the chip's buses (tb/hdl/systomesh_bus_check.v) find."""

from __future__ import annotations

__all__ = ["CHANNELS", "RULES", "cycle_of", "describe"]

CHANNELS = ("AR", "R", "AW", "W", "B")
RULES = (
    "valid in reset",
    "valid withdrawn before ready",
    "changed before it was accepted",
    "undefined bits",
    "nothing had asked for it",
    "EXOKAY without an exclusive request",
    "LAST at the wrong beat",
    "an identifier other than 0",
    "a burst that is not INCR",
    "beats narrower than the bus",
    "an address that is no multiple of the bus width",
    "a burst longer than max_packet_flits",
    "a burst crosses 4 KB",
    "more bursts under way than outstanding_bursts",
)
"""Meanings of the codes from 1 on."""


def describe(port: str, violation: int) -> str:
    """One line about a value of `violation` that is not 0: port, channel, rule, cycle since reset."""
    channel, rule = CHANNELS[violation >> 5 & 7], RULES[(violation & 31) - 1]
    return f"{port} broke the rules of its bus: channel {channel}, {rule}, in cycle {cycle_of(violation)}"


def cycle_of(violation: int) -> int:
    """The cycle since reset in which a rule was broken."""
    return violation >> 8
