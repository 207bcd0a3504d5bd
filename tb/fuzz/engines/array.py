"""Random programs for the systolic array, which has no options."""

from tb.fuzz.engines.fuzz import EngineFuzz

__all__ = ["ARRAY"]

ARRAY = EngineFuzz()
