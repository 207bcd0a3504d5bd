"""SCALE-Sim's topologies: a line a layer, convolutions or products of matrices.

Formats and their traps are those of SCALE-Sim 3.0.0, ``topology_utils.py``.

- It drops what stands behind the last comma of a line, which is nothing, a remark, or a value where the comma is
  missing. Here a line is read whole, with and without that comma.
- IFMAP sizes include padding, so layers have none. There is one stride for both axes.
- It rounds sizes of outputs up: a stride that does not divide the map gives one more row of outputs, whose windows
  reach beyond the map. That row is computed here too, on zeros.
- "DP" anywhere in a name makes the line a depthwise convolution: C lines of one channel, with Num Filter filters each.
- Lines do not say what reads what, and there are no pools, branches or sums; so every layer reads an input of its own.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import PurePath

from golden.errors import LayerListError
from golden.layer_lists.network import Grower, ListedNetwork
from golden.net.graph import Conv2d, Linear

__all__ = ["DEPTHWISE", "read_topology"]

DEPTHWISE = "DP"
"""What in a name makes a line a depthwise convolution."""

CONVOLUTIONS = (
    ("layer name", "layer"), ("ifmap height",), ("ifmap width",), ("filter height",), ("filter width",), ("channels",),
    ("num filter", "num filters"), ("strides", "stride"),
)  # fmt: skip
"""Columns of convolutions, each with the spellings that are in use; case and spaces do not count."""
PRODUCTS = (("layer", "layer name"), ("m",), ("n",), ("k",))
"""Columns of products of matrices M x K and K x N."""
SPARSITY = ("sparsity", "sparsity ratio", "sparsity support", "n:m")
"""Spellings of the last column, which may be left out."""
DENSE = "1:1"


def read_topology(text: str, file: str) -> ListedNetwork:
    """A network of the lines of a topology.

    Raises
    ------
    LayerListError
        For an unknown column, a size that is none, a filter that is larger than its map, or sparsity; with the line.
    """
    lines = [(number, line) for number, line in enumerate(text.splitlines(), 1) if line.strip()]
    if len(lines) < 2:
        raise LayerListError(f"{file} has no layers; give a line of column names and one for each layer")
    columns = _columns(lines[0][1], file)
    grower = Grower(PurePath(file).stem)
    rounded = 0
    for number, line in lines[1:]:
        name, sizes = _fields(line, columns, f"{file}, line {number}")
        if columns is PRODUCTS:
            _product(grower, name, sizes)
        else:
            rounded += _convolution(grower, name, sizes, f"{file}, line {number}")
    up = f"; {rounded} layers have the output row that SCALE-Sim rounds up to" if rounded else ""
    note = f"SCALE-Sim topology: layers do not chain, each reads seeded values of its own; IFMAP includes padding{up}"
    return grower.finish(note)


def _columns(header: str, file: str) -> Sequence[Sequence[str]]:
    """Which of the two forms it is."""
    names = [" ".join(name.split()).lower() for name in header.split(",")]
    while names and not names[-1]:
        names.pop()
    form = PRODUCTS if len(names) > 1 and names[1] == "m" else CONVOLUTIONS
    for index, name in enumerate(names):
        known = form[index] if index < len(form) else SPARSITY if index == len(form) else ()
        if name not in known:
            wanted = f"wanted {known[0]!r}" if known else "there is none so far right"
            raise LayerListError(
                f"{file}: unknown column {name!r}, {wanted}; the columns are {', '.join(each[0] for each in form)}"
            )
    if len(names) < len(form):
        raise LayerListError(f"{file}: column {form[len(names)][0]!r} is missing; add it")
    return form


def _fields(line: str, columns: Sequence[Sequence[str]], where: str) -> tuple[str, list[int]]:
    """Name and sizes of a layer."""
    fields = [each.strip() for each in line.split(",")]
    while fields and (not fields[-1] or fields[-1].startswith("#")):
        fields.pop()
    if len(fields) < len(columns):
        raise LayerListError(f"{where}: {len(fields)} values; give {len(columns)}: {', '.join(c[0] for c in columns)}")
    rest = fields[len(columns) :]
    if rest and (len(rest) > 1 or ":" not in rest[0]):
        raise LayerListError(f"{where}: {rest[-1]!r} belongs to no column; remove it")
    if rest and rest[0].replace(" ", "") != DENSE:
        raise LayerListError(f"{where}: sparsity {rest[0]} does not run on dense arrays; give {DENSE} or leave it out")
    sizes = []
    for column, value in zip(columns[1:], fields[1:], strict=False):
        if not value.isdecimal() or not 0 < int(value) < 1 << 31:
            raise LayerListError(f"{where}: {column[0]} is {value!r}; give a whole number of at least 1")
        sizes.append(int(value))
    return fields[0], sizes[: len(columns) - 1]


def _product(grower: Grower, name: str, sizes: list[int]) -> None:
    """M x K times K x N: a 1x1 convolution of K channels on a map of M pixels, or of one pixel a full connection."""
    rows, columns, depth = sizes
    unique = grower.unique(name)
    source = grower.fresh((depth, *_map(rows)), f"{unique}.input")
    grower.add(Linear(unique, source, columns) if rows == 1 else Conv2d(unique, source, columns, (1, 1)))


def _map(pixels: int) -> tuple[int, int]:
    """Height and width of a map of so many pixels, as nearly square as whole numbers allow."""
    height = max(h for h in range(1, math.isqrt(pixels) + 1) if pixels % h == 0)
    return height, pixels // height


def _convolution(grower: Grower, name: str, sizes: list[int], where: str) -> bool:
    """A convolution; whether its outputs are rounded up."""
    height, width, tall, wide, channels, filters, stride = sizes
    if tall > height or wide > width:
        raise LayerListError(f"{where}: a filter of {tall}x{wide} on a map of {height}x{width}; IFMAP includes padding")
    beyond = [-(size - kernel) % stride for size, kernel in ((height, tall), (width, wide))]
    unique = grower.unique(name)
    source = grower.fresh((channels, height, width), f"{unique}.input")
    if (height, width, tall, wide, stride) == (1, 1, 1, 1, 1) and DEPTHWISE not in name:
        grower.add(Linear(unique, source, filters))
        return False
    groups = channels if DEPTHWISE in name else 1
    padding = (0, 0, beyond[0], beyond[1])
    grower.add(Conv2d(unique, source, filters * groups, (tall, wide), (stride, stride), padding, groups=groups))
    return any(beyond)
