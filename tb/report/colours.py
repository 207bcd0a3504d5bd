"""Colours of Okabe and Ito, which those who do not see all colours can tell apart, and what they stand for."""

from __future__ import annotations

__all__ = [
    "BLUE", "CAUSE_COLOURS", "GREEN", "GREY", "ORANGE", "PALE", "PALETTE", "PURPLE", "SKY", "VERMILION", "YELLOW",
]  # fmt: skip

ORANGE, SKY, GREEN, BLUE, VERMILION, PURPLE, YELLOW = (
    "#e69f00", "#56b4e9", "#009e73", "#0072b2", "#d55e00", "#cc79a7", "#f0e442",
)  # fmt: skip
GREY, PALE = "#7f7f7f", "#c7c7c7"
PALETTE = (BLUE, ORANGE, GREEN, PURPLE, SKY, VERMILION, YELLOW, GREY, PALE, "#000000")
"""In the order in which things without a colour of their own take them."""
CAUSE_COLOURS = {
    "stream": BLUE, "wait_act": ORANGE, "wait_weight": SKY, "wait_acc": PURPLE, "weight_stall": VERMILION,
    "fetch": YELLOW, "overhead": GREEN, "done": PALE,
}  # fmt: skip
"""Of what a compute unit does in a cycle (`tb.report.summary.CAUSES`)."""
