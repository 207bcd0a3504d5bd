"""The base of all errors that a user can act upon, whichever package raises them."""

from __future__ import annotations

__all__ = ["SystomeshError"]


class SystomeshError(Exception):
    """The message is one line: the value, the rule, the remedy."""
