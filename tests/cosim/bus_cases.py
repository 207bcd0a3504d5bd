"""What tests/cosim/bus_bench.py runs on a chip: layers by the scheduler, with the memory behind each launch."""

from __future__ import annotations

import numpy as np

from golden.machine import Machine
from rtl.contract.params import ChipParams
from scheduler import schedule
from tests.cases import random_case
from tests.cosim.bus_bench import BusCase

__all__ = ["bus_cases"]

LAYERS = {"short": ("conv3x3", 2_000), "reads while it writes": ("deep", 20_000)}
"""Kinds and sizes of the layers."""


def bus_cases(chip: ChipParams) -> dict[str, BusCase]:
    """The bench's cases by name."""
    return {name: _case(chip, *layer) for name, layer in LAYERS.items()}


def _case(chip: ChipParams, kind: str, budget_macs: int) -> BusCase:
    case = random_case(12, kind=kind, chip=chip, budget_macs=budget_macs)
    plan = schedule(case.graph, chip)
    image = plan.memory_image(case.image)
    memory, expected = image.copy(), []
    for launch in plan.launches:
        assert Machine(chip).run(memory, launch.program_base, launch.program_stride).ok
        expected.append(memory.copy())
    assert not np.array_equal(image, memory)
    return BusCase(chip, image, [(launch.program_base, launch.program_stride) for launch in plan.launches], expected)
