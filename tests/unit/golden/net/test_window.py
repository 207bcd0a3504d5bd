"""What sliding windows take of the machine that runs them."""

import tracemalloc

import numpy as np
import pytest

from golden.net.window import correlate

BLOCK_ELEMENTS = 1 << 13


@pytest.mark.parametrize(
    ("shape", "filters", "kernel"), [((32, 48, 48), 64, 3), ((1024, 1, 1), 512, 1)], ids=["windows", "weights"]
)
def test_blocks_bound_the_memory_of_a_correlation(shape, filters, kernel, monkeypatch):
    """Beside the map in float32 and the output there are some blocks, and not the 2 MB of all windows or weights."""
    monkeypatch.setattr("golden.net.window.BLOCK_ELEMENTS", BLOCK_ELEMENTS)
    x, weight = np.ones(shape, np.int8), np.ones((filters, shape[0], kernel, kernel), np.int8)
    tracemalloc.start()
    try:
        out = correlate(x, weight)
        _, peak_bytes = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert (out == shape[0] * kernel**2).all()
    assert peak_bytes < 4 * x.size + out.nbytes + 4 * 4 * BLOCK_ELEMENTS
