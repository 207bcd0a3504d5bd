"""A tool's correction as a page: errors raw and corrected by class and network, factors, the worst layers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from tb.files import write_atomically
from tb.foreign.correction import FOLDER, TERMS, ClassCorrection, Correction
from tb.foreign.tools import find_tool
from tb.report.markdown import table
from tb.report.provenance import commit
from tb.report.summary import percent, signed

__all__ = ["page", "write_page"]

WORST = 10


def write_page(correction: Correction, folder: Path = FOLDER) -> Path:
    """Write the page beside the factors; the file."""
    path = folder / f"{correction.tool}.md"
    write_atomically(path, page(correction, commit()).encode())
    return path


def page(correction: Correction, revision: str) -> str:
    """Markdown."""
    tool = find_tool(correction.tool)
    chips = "; ".join(_chip(chip) for chip in correction.chips)
    parts = [
        f"# {tool.title} {correction.version} against the RTL",
        f"These factors correct {tool.title} for this chip family ({chips}) within the ranges below. They do not say "
        f"that {tool.title} is wrong. Made by `make calibrate TOOLS={correction.tool}` at commit {revision} of "
        f"{', '.join(correction.networks)}. Held out: each network in turn is corrected by factors fitted to the "
        "others and to the probes. MAE is the mean magnitude of the layers' relative errors; positive is too high.",
        "## By class of layer",
        table(
            ("class", "layers", "held out", "raw MAE", "corrected MAE", "bias", "worst", "cycles", "90 % of errors"),
            [_class_row(kind, of) for kind, of in correction.classes.items()],
        ),
        "## Factors, with 95 % of what resampled layers give",
        table(("class", *TERMS), [_factor_row(kind, of) for kind, of in correction.classes.items()]),
        "## Whole networks, held out",
        table(
            ("network", "layers", "RTL cycles", "raw", "corrected", "raw MAE", "corrected MAE"),
            filter(None, (_network_row(net, correction.rows) for net in correction.networks)),
        ),
        f"## The {WORST} worst layers, held out",
        table(("network", "layer", "class", "RTL cycles", "raw", "corrected"), _worst(correction.rows), texts=3),
    ]  # fmt: skip
    return "\n\n".join(part.rstrip("\n") for part in parts) + "\n"


def _chip(chip: Mapping[str, Any]) -> str:
    cores, nodes = (f"{count} {name}{'s' * (count > 1)}" for count, name in
                    ((chip["cores"], "core"), (chip["nodes"], "memory node")))  # fmt: skip
    return (
        f"{cores} of {chip['rows']} x {chip['cols']}, {nodes} of {chip['bytes_per_cycle']:g} bytes a cycle and "
        f"{chip['latency_cycles']} cycles latency"
    )


def _class_row(kind: str, of: ClassCorrection) -> list[str]:
    held, low, high = of.held_out, *of.errors
    errors = [percent(held.mae), signed(held.bias), f"{signed(held.worst)} {held.worst_layer}"] if held else ["-"] * 3
    tried = f"{held.layers} of {held.networks} networks" if held else "-"
    if of.why_raw:
        errors[0] = f"raw: {of.why_raw}"
    raw = percent(held.raw_mae) if held else "-"
    return [kind, str(of.layers), tried, raw, *errors, f"{of.least:,}..{of.most:,}", f"{signed(low)}..{signed(high)}"]


def _factor_row(kind: str, of: ClassCorrection) -> list[str]:
    def cell(term: str) -> str:
        if term not in of.factors:
            return ""
        low, high = of.intervals[term]
        return f"{of.factors[term]:.3g} ({low:.3g}..{high:.3g})"

    return [kind, *(cell(term) for term in TERMS)]


def _network_row(net: str, rows: Sequence[Mapping[str, Any]]) -> list[str] | None:
    own = [row for row in rows if row["network"] == net and row["held_out"] is not None]
    if not own:
        return None
    rtl = sum(row["rtl"] for row in own)

    def total(name: str) -> str:
        return signed(sum(row[name] for row in own) / rtl - 1)

    def mean(name: str) -> str:
        return percent(sum(abs(row[name] / row["rtl"] - 1) for row in own) / len(own))

    return [net, str(len(own)), f"{rtl:,}", total("raw"), total("held_out"), mean("raw"), mean("held_out")]


def _worst(rows: Sequence[Mapping[str, Any]]) -> list[list[str]]:
    held = [row for row in rows if row["held_out"] is not None]
    held.sort(key=lambda row: -abs(row["held_out"] / row["rtl"] - 1))
    return [
        [row["network"], row["layer"], row["kind"], f"{row['rtl']:,}", signed(row["raw"] / row["rtl"] - 1),
         signed(row["held_out"] / row["rtl"] - 1)]
        for row in held[:WORST]
    ]  # fmt: skip
