"""The preset chips other than the default one run a small network, and one large layer, bit for bit, in as many cycles
as are kept: `make cycles` keeps them anew.

In the regression the smallest of several cores and the largest: `tests/system/test_bench.py` runs that of one core.
"""

from __future__ import annotations

from functools import cache
from pathlib import Path

import pytest

from tb.api.baseline import Baseline
from tb.run.options import RunOptions
from tb.run.presets import preset_chip
from tb.run.run import Run
from tb.run.workload import Workload, load_workload

LAYER = "conv5_1"
"""Of VGG-16: 512 channels in and out, so that 16 cores have work too."""


@cache
def workload(net: str) -> Workload:
    return load_workload(net, layers=LAYER if net == "vgg16" else None)


@pytest.mark.parametrize(
    "cores", [2, 16, *(pytest.param(cores, marks=pytest.mark.slow) for cores in (1, 8))]
)  # fmt: skip
def test_preset_runs_lenet5_and_a_layer_of_vgg16(cores: int, tmp_path: Path, baseline: Baseline) -> None:
    chip = preset_chip(cores)
    for net in ("lenet5", "vgg16"):
        name = f"{net}-{cores}cores" + f"-{LAYER}" * (net == "vgg16")
        options = RunOptions(name, chip, runs_dir=tmp_path, optimise=False)  # building costs more than simulating
        summary = Run(options, lambda net=net: workload(net), net).execute()
        assert summary.failure is None
        assert summary.bit_exact
        assert summary.cores == cores
        assert summary.macs == workload(net).graph.macs
        baseline(summary)
    assert summary.estimate_error == pytest.approx(0, abs=0.15)
    # A large layer keeps the arrays busy however many there are.
    assert summary.utilization > 0.85
