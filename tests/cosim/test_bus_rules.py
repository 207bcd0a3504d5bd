"""The checkers of the buses: legal traffic passes, and every rule of every channel can be broken and is named."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import pytest

from tb.model.build import SIMULATORS, build_model
from tb.sim.buses import CHANNELS, RULES
from tb.sim.settings import MemorySettings
from tests.cosim.bus_traffic import AXI, BEATS, BURSTS, BYTES, LITE, Traffic
from tests.cosim.cocotb_entry import HDL_DIR, run_with_cocotb_test
from tests.cosim.stand_in import MEMORY_BYTES, STAND_IN

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


BUGS = {
    "valid in reset": (
        "m1_axi_awvalid = awvalid;",
        "m1_axi_awvalid = awvalid || rst;",
        "memory node 1: AW, valid in reset",
    ),
    "offer withdrawn": (
        "= put != take;",
        "= put != take && cycles[0];",
        "memory node 1: W, valid withdrawn before ready",
    ),
    "word changed": (
        "= buffer[take[7:0]];",
        "= buffer[take[7:0]] ^ cycles;",
        "memory node 1: W, changed before it was accepted",
    ),
    "last beat": ("== BURST - 1)", "== BURST - 2)", "memory node 1: W, LAST at the wrong beat"),
    "burst": ("m1_axi_awburst = 2'b01", "m1_axi_awburst = 2'b10", "memory node 1: AW, a burst that is not INCR"),
    "width": ("m1_axi_awsize = SIZE[2:0]", "m1_axi_awsize = 3'd3", "memory node 1: AW, beats narrower than the bus"),
    "length": ("BURST = 16", "BURST = 32", "memory node 0: AR, a burst longer than max_packet_flits"),
    "undefined word": ("= buffer[take[7:0]];", "= buffer[take[7:0] + 1];", "memory node 1: W, undefined bits"),
    "end before the answers": (
        "bvalid && words <= BURST",
        "bvalid && words <= 2 * BURST",
        "memory node 1 had bursts without an answer when the program was done",
    ),
    "answer of control": (
        "assign s_axil_bresp = 0;",
        "assign s_axil_bresp = 1;",
        "register 0x04 answered a write with response 1",
    ),
}


@pytest.mark.parametrize("bug", BUGS)
def test_bug_of_a_chip_is_named_by_port_channel_rule_and_cycle(bug: str, tmp_path: Path, copy) -> None:
    """The copy engine with a line changed, in the same bench as every chip."""
    old, new, found = BUGS[bug]
    (source,) = STAND_IN.sources
    text = source.read_text()
    assert text.count(old) >= 1
    broken = tmp_path / source.name
    broken.write_text(text.replace(old, new))
    model = build_model(replace(STAND_IN, sources=(broken,)), "icarus", memory_bytes=MEMORY_BYTES)
    result, _, _ = copy(model, 1024, settings=MemorySettings(latency_cycles=100, stall_256=60))
    assert not result.ok
    port, by_checker, rest = found.partition(": ")
    rule = re.escape(f"{port} broke the rules of its bus: channel {rest}, in cycle ") + r"\d+"
    assert re.fullmatch(rule if by_checker else re.escape(found), result.violation), result.violation
