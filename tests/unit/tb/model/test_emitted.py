"""The hardware of the preset chips is what was decided: the Verilog of every module is the kept one, byte for byte."""

from __future__ import annotations

import json

import pytest

from tests.emitted import CORES, KEPT, digests, tools


@pytest.mark.parametrize("cores", CORES)
def test_verilog_of_preset_chips_is_the_kept_one(cores: int) -> None:
    kept = json.loads(KEPT.read_text())
    if kept["tools"] != tools():
        pytest.skip(f"kept with {kept['tools']}, here are {tools()}")
    wanted, found = kept["modules"][f"{cores}"], digests(cores)
    changed = sorted(name for name in wanted.keys() | found.keys() if wanted.get(name) != found.get(name))
    assert changed == [], "if the hardware was meant to change: python -m tests.emitted"
