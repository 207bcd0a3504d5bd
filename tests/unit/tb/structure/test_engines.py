"""The inventory of cores with other engines than usual."""

from __future__ import annotations

import pytest

from rtl.contract.params import ChipParams, CoreParams, Direction, MemoryNodeParams
from tb.structure.inventory import take_inventory
from tests.third_engine import row_registered


@pytest.mark.parametrize("engines", [("tap",), ("array", "row")], ids="+".join)
def test_a_core_has_the_state_of_its_engines_alone(engines: tuple[str, ...]) -> None:
    with row_registered():
        core = CoreParams(4, 4, 1024, 1024, 32, 2, queue_depth=4, engines=engines)
        west = MemoryNodeParams(0, 0, Direction.WEST)
        sizes = {"max_packet_flits": 8, "vc_depth": 8, "memory_queue_depth": 2, "outstanding_bursts": 4, "tokens": 16}
        inventory = take_inventory(ChipParams(1, 1, (core,), (west,), link_bytes=4, **sizes))
    assert inventory.differences == []
    assert inventory.faults == []
    kinds = {"SystolicArray": "array", "TapUnit": "tap", "Row": "row"}
    found = {kinds[kind] for (_, kind), row in inventory.rows.items() if kind in kinds and row.instances}
    assert found == set(engines)
