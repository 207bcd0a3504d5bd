"""Closed forms of transfers: where bursts end, routers on the way, cycles of a STORE."""

from estimator.transfers import bursts, store_cycles
from tests.unit.sched.estimator.handmade import ONE


def test_bursts_end_at_page_boundaries() -> None:
    fields = {"dram_addr": 4096 - 64, "runs": 1, "run_flits": 4 + 256 + 33, "dram_stride": 0}
    assert bursts(ONE, fields) == 1 + 8 + 2
    assert bursts(ONE, {**fields, "runs": 3, "dram_addr": 0, "run_flits": 10, "dram_stride": 256}) == 3
    assert bursts(ONE, {**fields, "runs": 3, "dram_addr": 0, "run_flits": 10, "dram_stride": 250}) == 1 + 2 + 1
    assert bursts(ONE, {**fields, "runs": 640, "dram_addr": 0, "run_flits": 10, "dram_stride": 256}) == 640


def test_a_pooled_pixel_takes_all_of_its_window() -> None:
    assert (store_cycles(100), store_cycles(100, (3, 2))) == (100, 600)
