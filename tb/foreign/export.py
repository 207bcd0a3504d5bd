"""Inputs of a tool for a chip and a network, and what they cannot say."""

from __future__ import annotations

import json
from collections.abc import Sequence
from itertools import groupby
from pathlib import Path

from rich import box
from rich.console import Console
from rich.table import Table

from golden.int8.qgraph import QGraph
from tb.errors import BenchError
from tb.files import write_atomically
from tb.foreign.shapes import Missing, shapes_of
from tb.foreign.tool import Manifest, Target
from tb.foreign.tools import find_tool
from tb.report.terminal import PIPE_WIDTH

__all__ = ["MANIFEST", "export", "print_missing"]

MANIFEST = "layers.json"
"""The list of layers in the folder of a tool's inputs, by which its outputs are read."""


def export(name: str, target: Target, net: str, graph: QGraph, folder: Path) -> tuple[Manifest, list[Missing]]:
    """Write a tool's inputs into a folder.

    Raises
    ------
    BenchError
        For an unknown tool, or a network of which it takes no layer.
    OSError
        If the folder cannot be written.
    """
    tool = find_tool(name)
    shapes, missing = shapes_of(graph)
    folder.mkdir(parents=True, exist_ok=True)
    entries, unsaid = tool.write(target, net, shapes, folder)
    if not entries:
        raise BenchError(f"{tool.title} takes no layer of {net}; give a network with convolutions")
    manifest = Manifest(name, tool.version, net, target.facts(), entries)
    write_atomically(folder / MANIFEST, (json.dumps(manifest.as_dict(), indent=1) + "\n").encode())
    return manifest, [*unsaid, *missing]


def print_missing(name: str, manifest: Manifest, missing: Sequence[Missing], folder: Path, console: Console) -> None:
    """The table of what the inputs do not say, layers with one reason in one line, and how to go on."""
    tool = find_tool(name)
    if not console.is_terminal:
        console.width = max(console.width, PIPE_WIDTH)
    table = Table(title=f"what the inputs of {tool.title} cannot say", box=box.SIMPLE, title_justify="left")
    table.add_column("what")
    table.add_column("why")
    in_order = sorted(missing, key=lambda each: [other.why for other in missing].index(each.why))
    for why, group in groupby(in_order, key=lambda each: each.why):
        names = [each.what for each in group]
        more = f" and {len(names) - 1} more" if len(names) > 1 else ""
        table.add_row(names[0] + more, why)
    console.print(table)
    lines = len({entry.line for entry in manifest.entries})
    console.print(
        f"{folder}: {len(manifest.entries)} layers of {manifest.net}, {lines} of them different; run {tool.title} "
        f"{tool.version} there: {tool.run}; then make calibrate TOOLS={name} RESULTS={folder}",
        markup=False, highlight=False, soft_wrap=True,
    )  # fmt: skip
