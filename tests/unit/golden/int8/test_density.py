"""Densities of quantised layers, against loops over single values."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from golden.int8.density import densities
from golden.int8.qnodes import QConv
from tb.run.workload import load_workload


@pytest.mark.parametrize("batch", [1, 2])
def test_densities_count_what_is_not_zero(batch: int) -> None:
    work = load_workload("lenet5", prune="0.4", layers="pool1..fc1", batch=batch)
    moved = {name: replace(tensor, zero_point=3) for name, tensor in work.graph.tensors.items()}  # not its layers' own
    found = densities(replace(work.graph, tensors=moved), work.expected, batch)
    assert list(found) == ["conv2", "fc1"]
    for node in work.graph.nodes:
        if isinstance(node, QConv):
            weights = [value for value in node.weight.flat if value != 0]
            names = [node.input] if batch == 1 else [f"{node.input}@1", f"{node.input}@2"]
            inputs = [value for name in names for value in work.expected[name].flat]
            live = [value for value in inputs if value != node.pad_value]
            density = found[node.name]
            assert density.weights == len(weights) / node.weight.size == 0.4
            assert density.inputs == len(live) / len(inputs)
            assert 0 < density.inputs < 1
            assert (density.n_weights, density.macs) == (node.weight.size, node.weight.size * np.prod(node.out_hw))
