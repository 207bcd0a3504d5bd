"""Fair shares of links."""

from __future__ import annotations

from estimator.rates import fair_rates
from estimator.routes import Route


def test_what_shares_a_way_is_held_at_its_beginning() -> None:
    """Links behind it carry as much, but nobody waits for them."""
    way, before = (5, 2, 7), {5: 0, 2: 1 << 5, 7: 1 << 5 | 1 << 2}
    flows = [(Route(number, 1, way, before), 1.0) for number in range(2)]
    assert fair_rates(flows, bandwidth=1.0) == [(0.5, 5), (0.5, 5)]
