"""Outputs of MAESTRO: ``mapping.csv``, a line a layer."""

from __future__ import annotations

from pathlib import Path

from tb.errors import BenchError
from tb.foreign.read.files import number, read_text, table
from tb.foreign.tool import Manifest, Prediction

__all__ = ["COLUMNS", "read_maestro"]

TENSORS = ("input", "filter", "output")
COLUMNS = (
    "Neural Network Name", "Layer Number", "NumPEs", "Runtime (Cycles)", "Activity count-based Energy (nJ)",
    "Throughput (MACs/Cycle)", "Throughput Per Energy (GMACs/s*J)", "Area", "Power", "NoC BW Req (Elements/cycle)",
    "Avg BW Req", "Peak BW Req", "Vector Width", "Offchip BW Req (Elements/cycle)", "L2 SRAM Size Req (Bytes)",
    "L1 SRAM Size Req (Bytes)", "Multicasting Factor (Weight)", "Multicasting Factor (Input)",
    "Num Total Input Pixels", "Num Total Weight Pixels", "Ops/J", "Num MACs", "PE power", "L1 power", "L2 power",
    "NOC power",
    *(f"{tensor} {what}" for tensor in TENSORS for what in
      ("l1 read", "l1 write", "l2 read", "l2 write", "reuse factor")),
    "Ingress Delay (Min)", "Ingress Delay (Max)", "Ingress Delay (Avg)", "Egress Delay (Min)", "Egress Delay (Max)",
    "Egress Delay (Avg)", "Compute Delay (Min)", "Compute Delay (Max)", "Compute Delay (Avg)",
    "Avg number of utilized PEs", "Arithmetic Intensity",
)  # fmt: skip
TWICE = "Compute Delay (Min), Compute Delay (Min)"
"""So MAESTRO heads minimum and maximum."""


def read_maestro(folder: Path, manifest: Manifest) -> list[Prediction]:
    """One prediction a layer; one figure, which is computation.

    Raises
    ------
    BenchError
        If the file is not there; for an unknown column, or other layers than were written.
    """
    path = folder / "mapping.csv"
    text = read_text(path).replace(TWICE, "Compute Delay (Min), Compute Delay (Max)", 1)
    rows = {row["Layer Number"]: row for row in table(text, COLUMNS, str(path))}
    found = []
    for entry in manifest.entries:
        name = f"L{entry.line}"
        if name not in rows:
            raise BenchError(f"{path} has no layer {name}; run MAESTRO with the inputs of this folder")
        found.append(manifest.prediction(entry, number(rows[name], "Runtime (Cycles)", path), 0.0, 0.0))
    return found
