"""The draft of an import: a refused node leaves nothing behind."""

from __future__ import annotations

from dataclasses import dataclass, field

import pytest

from golden.errors import UnsupportedError
from golden.onnx_import.draft import Draft


@dataclass
class Example(Draft):
    values: dict[str, int]
    nodes: list[str] = field(default_factory=list)
    picture: str | None = None


def refused(draft: Example) -> None:
    """A node that is refused behind some of its work."""
    with draft.transaction():
        draft.values["y"] = 2
        draft.nodes.append("dropped")
        draft.picture = "x"
        raise UnsupportedError("refused")


def test_error_takes_back_every_field() -> None:
    draft = Example({"x": 1}, ["a"])
    with pytest.raises(UnsupportedError):
        refused(draft)
    assert draft == Example({"x": 1}, ["a"], None)


def test_what_ends_well_stays() -> None:
    draft = Example({})
    with draft.transaction():
        draft.values["y"] = 2
        draft.picture = "x"
    assert draft == Example({"y": 2}, [], "x")


def test_inner_error_takes_back_the_inner_part_alone() -> None:
    draft = Example({})
    with draft.transaction():
        draft.nodes.append("kept")
        with pytest.raises(UnsupportedError):
            refused(draft)
    assert draft.nodes == ["kept"]
