"""Errors of the bench that a user can act on: one line each, with the remedy."""

from __future__ import annotations

__all__ = ["BenchError", "RunError", "ToolError"]


class BenchError(Exception):
    """Bad input or a missing condition; the message is one line that says what to do (exit status 2)."""


class ToolError(BenchError):
    """A program that the bench needs is missing or does not work; the message names the remedy."""


class RunError(Exception):
    """A simulation that failed for a reason of its own: the run counts as failed (exit status 1)."""
