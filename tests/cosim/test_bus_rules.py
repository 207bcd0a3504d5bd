"""The checkers of the buses: legal traffic passes, and every rule of every channel can be broken and is named."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tb.build import SIMULATORS
from tb.buses import CHANNELS, RULES
from tests.cosim.bus_traffic import AXI, BEATS, BURSTS, BYTES, LITE, Traffic
from tests.cosim.cocotb_entry import HDL_DIR, run_with_cocotb_test

CHECKS = HDL_DIR / "systomesh_bus_check.v"
CHECKERS = {"systomesh_axi_check": AXI, "systomesh_axil_check": LITE}


@pytest.mark.parametrize("simulator", SIMULATORS)
@pytest.mark.parametrize("checker", CHECKERS)
def test_legal_traffic_passes_and_each_broken_rule_is_named(checker: str, simulator: str, tmp_path: Path) -> None:
    sizes = {"BYTES": BYTES, "BEATS": BEATS, "BURSTS": BURSTS} if CHECKERS[checker] is AXI else {}
    run_with_cocotb_test(
        simulator, checker, "tests.cosim.bus_rules", [CHECKS], tmp_path, expected_tests=2, parameters=sizes
    )


@pytest.mark.parametrize(("checker", "traffic"), CHECKERS.items())
def test_each_check_has_traffic_that_breaks_it(checker: str, traffic: Traffic) -> None:
    """No check is left out: channel and rule of each one in the Verilog."""
    text = CHECKS.read_text()
    numbers = {name: int(value) for name, value in re.findall(r"`define (\w+) +\d'd(\d+)", text)}
    (body,) = re.findall(rf"module {checker}\b.*?endmodule", text, re.DOTALL)
    checks = set()
    for channel, rule in re.findall(r"`BROKEN\(`?(\w+), `(\w+)\)", body):
        for name in ("AR", "AW") if channel == "channel" else (channel,):
            checks.add((CHANNELS[numbers[name]], RULES[numbers[rule] - 1]))
    assert len(checks) >= 18
    assert checks == {(case.channel, case.rule) for case in traffic.broken}
