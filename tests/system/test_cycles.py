"""Small networks on the default chip by the usual schedule take as many cycles, layer by layer, as tests/cycles.json
keeps: a change of timing is a decision, which `make cycles` writes down."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tb.api.baseline import Baseline
from tb.api.results import RunResult


@pytest.mark.parametrize("net", ["lenet5", "squeezenet1_1"])
def test_network_takes_the_cycles_that_are_kept(
    net: str, run: Callable[..., RunResult], baseline: Baseline
) -> None:
    result = run(net, cores=4)
    assert result.bit_exact, result.verdict
    assert result.summary.kind == "fused"
    baseline(result)
