"""What the scheduler raises."""

from __future__ import annotations

__all__ = ["PlanError"]


class PlanError(ValueError):
    """A network that cannot be scheduled on a chip; names the layer, what is too big and what to raise."""
