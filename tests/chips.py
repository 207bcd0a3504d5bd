"""Random chips, and a few fixed ones: those of the random programs, so that all share their builds."""

from tb.fuzz.chips import CHIPS, random_chip

__all__ = ["CHIPS", "random_chip"]
