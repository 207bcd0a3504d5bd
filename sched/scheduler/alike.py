"""Which works are mapped alike: found from their fields, so that a new field counts unless it says otherwise."""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import fields, is_dataclass
from functools import cache
from typing import get_type_hints

import numpy as np

__all__ = ["UNMAPPED", "kind_of"]

UNMAPPED = object()
"""Marks a dataclass field on which no mapping depends, as in ``name: Annotated[str, UNMAPPED]``."""


def kind_of(value: object) -> Hashable:
    """Equal for values that are mapped alike.

    That of a dataclass is made of all its fields but the `UNMAPPED` ones, that of an array is its shape, and of a
    function it counts only that there is one.
    """
    cls = type(value)
    if cls is int or cls is str:  # most are
        return value
    if type(value) is tuple:
        return tuple([kind_of(item) for item in value])
    names = _mapped_fields(cls)
    if names is not None:
        return cls, *[kind_of(getattr(value, name)) for name in names]
    if isinstance(value, np.ndarray):
        return value.shape
    if callable(value):
        return True
    assert isinstance(value, Hashable)
    return value


@cache
def _mapped_fields(cls: type) -> tuple[str, ...] | None:
    """Of a dataclass; None of another class."""
    if not is_dataclass(cls):
        return None
    hints = get_type_hints(cls, include_extras=True)
    return tuple(item.name for item in fields(cls) if UNMAPPED not in getattr(hints[item.name], "__metadata__", ()))
