"""Outputs of Stream (commit 28fb901): ``L<n>/summary.yaml``, of a workload that is one layer."""

from __future__ import annotations

from pathlib import Path

import yaml

from tb.errors import BenchError
from tb.foreign.read.files import read_text, value_at
from tb.foreign.tool import Manifest, Prediction, strict

__all__ = ["read_stream"]

KEYS = ("total_latency",)


def read_stream(folder: Path, manifest: Manifest) -> list[Prediction]:
    """One prediction a layer; Stream does not tell computation from waiting there.

    Raises
    ------
    BenchError
        If a file is not there or no such file; for an unknown key.
    """
    found = []
    for entry in manifest.entries:
        path = folder / f"L{entry.line}" / "summary.yaml"
        try:
            data = yaml.safe_load(read_text(path))
        except yaml.YAMLError as error:
            raise BenchError(f"{path} is no YAML ({' '.join(str(error).split())}); run Stream again") from error
        if not isinstance(data, dict):
            raise BenchError(f"{path} is no summary; take Stream's own output")
        strict(str(path), list(data), KEYS, "key")
        found.append(manifest.prediction(entry, value_at(data, KEYS, path), 0.0, 0.0))
    return found
