"""What an engine adds to a core's netlist."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from rtl.contract.params import CoreParams
from tb.structure.block import Block
from tb.structure.waiver import Waiver

__all__ = ["EngineStructure"]


def _no_window(core: CoreParams) -> int:
    return 0


@dataclass(frozen=True)
class EngineStructure:
    """State bits that follow from an engine, inside it and around it."""

    block: Callable[[CoreParams], Block]
    """The engine itself."""
    window_columns: Callable[[CoreParams], int] = _no_window
    """Columns of its widest window, which the streamer serves; 0: it has none."""
    pixel_options: tuple[str, ...] = ()
    """Options that the streamer keeps and sends along with each pixel."""
    waivers: tuple[Waiver, ...] = ()
