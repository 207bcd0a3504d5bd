"""Networks given by the sizes of their layers alone, as other people's models read them; weights and inputs are seeded.

SCALE-Sim's topology CSV (`golden.layer_lists.scalesim`), and the workload YAML of ZigZag and Stream
(`golden.layer_lists.zigzag`). A reader makes a :class:`~golden.layer_lists.network.ListedNetwork` of a file.
"""

from collections.abc import Callable
from pathlib import Path

from golden.errors import LayerListError
from golden.layer_lists.network import ListedNetwork
from golden.layer_lists.scalesim import read_topology
from golden.layer_lists.zigzag import read_workload

__all__ = ["LAYER_LISTS", "ListedNetwork", "load_layer_list"]

LAYER_LISTS: dict[str, Callable[[str, str], ListedNetwork]] = {
    ".csv": read_topology,
    ".yaml": read_workload,
    ".yml": read_workload,
}
"""Readers by the suffix of the file: its text and its name in, the network out."""


def load_layer_list(path: Path) -> ListedNetwork:
    """Read a file.

    Raises
    ------
    LayerListError
        If it cannot be read, breaks its format, or asks for what the chip has no layer for; with the line or layer.
    """
    try:
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise LayerListError(f"{path} cannot be read ({error}); check NET") from error
    return LAYER_LISTS[path.suffix.lower()](text, str(path))
