"""What the scheduler raises."""

from __future__ import annotations

from rtl.contract.errors import SystomeshError

__all__ = ["PlanError"]


class PlanError(SystomeshError, ValueError):
    """A network that cannot be scheduled on a chip; names the layer, what is too big and what to raise.

    Attributes
    ----------
    layer : str
        The layer that does not suit the chip, if it is one alone.
    """

    def __init__(self, message: str, layer: str = "") -> None:
        super().__init__(message)
        self.layer = layer
