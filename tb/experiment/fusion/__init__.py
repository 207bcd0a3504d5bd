"""Fused schedules: what they save in DRAM traffic and cycles, and on which machines."""

from __future__ import annotations

from tb.experiment.experiment import Experiment
from tb.experiment.fusion.page import page
from tb.experiment.fusion.points import GROUPS
from tb.experiment.records import Book

__all__ = ["FUSION"]


def _picture(book: Book) -> str:
    """Matplotlib takes long to load, and only those who draw need it."""
    from tb.experiment.fusion.picture import picture

    return picture(book)


FUSION = Experiment("fusion", "what does it save to keep tensors on the chip between layers?", GROUPS, page, _picture)
