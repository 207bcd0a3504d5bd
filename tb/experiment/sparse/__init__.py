"""Sparse engines: what it gains to leave out zeros of weights and activations, and to let PEs run ahead."""

from __future__ import annotations

from tb.experiment.experiment import Experiment
from tb.experiment.records import Book
from tb.experiment.sparse.layers import layers_of
from tb.experiment.sparse.page import page
from tb.experiment.sparse.points import GROUPS
from tb.experiment.sparse.recursion import STUDIES

__all__ = ["SPARSE"]


def _picture(book: Book) -> str:
    """Matplotlib takes long to load, and only those who draw need it."""
    from tb.experiment.sparse.picture import picture

    return picture(book)


SPARSE = Experiment(
    "sparse",
    "what does it gain to skip zeros, with PEs that run ahead?",
    GROUPS,
    page,
    _picture,
    layers_of,
    STUDIES,
)
