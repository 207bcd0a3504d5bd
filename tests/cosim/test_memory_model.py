"""The external memory model, seen through a copy engine with the chip's ports."""

from __future__ import annotations

import numpy as np
import pytest

from tb.model.build import Model, build_model
from tb.sim.settings import MemorySettings
from tests.cosim.stand_in import MEMORY_BYTES, STAND_IN

SIZE = 8192
BEATS = SIZE // 16
ENGINE_CYCLES = 8
"""What the copy engine itself adds to a copy."""


def test_every_byte_arrives_at_one_beat_a_cycle(stand_in_model: Model, copy) -> None:
    latency = 20
    result, arrived, sent = copy(stand_in_model, SIZE, settings=MemorySettings(latency_cycles=latency))
    assert result.ok
    np.testing.assert_array_equal(arrived, sent)
    assert BEATS + 2 * latency <= result.cycles <= BEATS + 2 * latency + ENGINE_CYCLES


@pytest.mark.parametrize("latency", [2, 3, 100])
def test_latency_is_as_set(fast_stand_in_model: Model, copy, latency: int) -> None:
    result, arrived, sent = copy(fast_stand_in_model, 16, settings=MemorySettings(latency_cycles=latency))
    np.testing.assert_array_equal(arrived, sent)
    assert 2 * latency <= result.cycles <= 2 * latency + ENGINE_CYCLES


@pytest.mark.parametrize("bandwidth", [16, 12, 8, 0.75])
def test_bandwidth_limits_reads_and_writes_of_a_node_together(fast_stand_in_model: Model, copy, bandwidth) -> None:
    settings = MemorySettings(latency_cycles=4, bytes_per_cycle=bandwidth)
    result, arrived, sent = copy(fast_stand_in_model, SIZE, same_node=True, settings=settings)
    np.testing.assert_array_equal(arrived, sent)
    ideal = 2 * SIZE / bandwidth
    assert ideal <= result.cycles + 16 / bandwidth
    assert result.cycles <= ideal * 1.02 + 30


def test_bandwidth_of_two_nodes_is_separate(fast_stand_in_model: Model, copy) -> None:
    result, _, _ = copy(
        fast_stand_in_model, SIZE, settings=MemorySettings(latency_cycles=4, bytes_per_cycle=8)
    )
    assert SIZE / 8 <= result.cycles <= SIZE / 8 + 30


@pytest.mark.parametrize("seed", [1, 2])
@pytest.mark.parametrize("stall", [40, 200])
def test_stalls_change_times_but_not_bytes(stand_in_model: Model, copy, stall: int, seed: int) -> None:
    settings = MemorySettings(latency_cycles=5, stall_256=stall, seed=seed)
    result, arrived, sent = copy(stand_in_model, 2048, settings=settings)
    assert result.ok
    np.testing.assert_array_equal(arrived, sent)
    assert result.cycles > 128 * 256 / (256 - stall)


def test_both_simulators_need_the_same_cycles(copy) -> None:
    settings = MemorySettings(latency_cycles=9, bytes_per_cycle=12.5, stall_256=60, seed=5)
    models = [build_model(STAND_IN, simulator, memory_bytes=MEMORY_BYTES) for simulator in ("verilator", "icarus")]
    cycles = {copy(model, 2048, same_node=True, settings=settings)[0].cycles for model in models}
    assert len(cycles) == 1


def test_address_beyond_the_memory_is_answered_with_an_error(stand_in_model: Model, copy) -> None:
    result, arrived, _ = copy(stand_in_model, 1024, target=MEMORY_BYTES - 512)
    assert arrived is None
    assert (result.outcome["status"], result.outcome["error"]) == ("error", "AXI_WRITE")


def test_broken_axi_rule_is_named(stand_in_model: Model, copy) -> None:
    result, _, _ = copy(stand_in_model, 1024, target=0x40FF0)  # bursts from here cross 4 KB
    assert not result.ok
    assert "memory node 1 broke the rules of its bus: channel AW, a burst crosses 4 KB, in cycle " in result.violation
    assert result.failed_cycle is not None
    since_reset = int(result.violation.rpartition(" ")[2])
    assert 0 < result.failed_cycle < since_reset
