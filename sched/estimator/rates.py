"""How transfers that go at the same time share links and memories."""

from __future__ import annotations

from collections.abc import Sequence

from estimator.routes import Route, Routes

__all__ = ["Rate", "Rates", "fair_rates"]

EPSILON = 1e-6

Rate = tuple[float, int]
"""Flits per cycle of a transfer, and the link that allows no more; -1 if none does."""


class Rates:
    """Rates of sets of transfers, each set found once.

    Parameters
    ----------
    bandwidth : float
        Flits per cycle of a memory node, reads and writes together.
    """

    def __init__(self, routes: Routes, bandwidth: float) -> None:
        self._bandwidth = bandwidth
        self._first_memory = routes.n_links
        self._kinds: dict[tuple[int, float], int] = {}
        self._of: list[tuple[Route, float]] = []
        self._shares: list[int] = []
        """Of each kind, the bit mask of its links; that of its memory comes behind them."""
        self._alone: list[Rate] = []
        """Of each kind, its rate if it shares nothing."""
        self._found: dict[tuple[int, ...], list[Rate]] = {}
        self._known: dict[tuple[int, ...], list[Rate]] = {}
        """Those of transfers that share something with each other."""

    def kind(self, route: Route, limit: float) -> int:
        """Number of all transfers that go this way and at most so fast."""
        key = route.index, limit
        if key not in self._kinds:
            self._kinds[key] = len(self._of)
            if route.memory >= 0:
                limit = min(limit, self._bandwidth)
            self._of.append((route, limit))
            # At two flits a cycle, reads and writes do not meet.
            scarce = route.memory >= 0 and self._bandwidth < 2
            self._shares.append(route.mask | (1 << self._first_memory + route.memory if scarce else 0))
            self._alone.append((limit, route.links[-1] if route.writes and limit == self._bandwidth < 1 else -1))
        return self._kinds[key]

    def rates(self, kinds: tuple[int, ...]) -> list[Rate]:
        """For each transfer, given by its kind."""
        found = self._found.get(kinds)
        if found is None:
            found = self._found[kinds] = self._find(kinds)
        return found

    def _find(self, kinds: tuple[int, ...]) -> list[Rate]:
        shares, once, twice = self._shares, 0, 0
        for kind in kinds:
            twice |= once & shares[kind]
            once |= shares[kind]
        out = [self._alone[kind] for kind in kinds]
        if not twice:
            return out
        # Groups that share nothing with each other.
        groups: list[tuple[int, list[int]]] = []
        for number, kind in enumerate(kinds):
            mask = shares[kind] & twice
            if mask:
                members = [number]
                apart = []
                for group in groups:
                    if group[0] & mask:
                        mask |= group[0]
                        members = group[1] + members
                    else:
                        apart.append(group)
                groups = apart
                groups.append((mask, members))
        for mask, members in groups:
            key = tuple([kinds[number] for number in members])
            found = self._known.get(key)
            if found is None:
                found = self._known[key] = fair_rates([self._of[kind] for kind in key], mask, self._bandwidth)
            for number, rate in zip(members, found, strict=True):
                out[number] = rate
        return out


def fair_rates(flows: Sequence[tuple[Route, float]], shared: int, bandwidth: float) -> list[Rate]:
    """Rates of transfers that go certain ways, each at most so fast.

    All grow until a link, or the memory of a node, carries no more. The planes take turns at a link, and reads and
    writes at a memory, however many there are of each: so each grows as its share of its own plane allows, where that
    is most crowded.

    Parameters
    ----------
    shared : int
        Bit mask of the links that matter.
    bandwidth : float
        Flits per cycle of a memory node, reads and writes together.
    """
    users: dict[int, list[int]] = {}  # memories have negative numbers
    links_of: list[list[int]] = []
    for number, (route, _) in enumerate(flows):
        mask, own = route.mask & shared, list[int]()
        links_of.append(own)
        while mask:
            link = mask.bit_length() - 1
            mask ^= 1 << link
            own.append(link)
            if link in users:
                users[link].append(number)
            else:
                users[link] = [number]
        if route.memory >= 0 and bandwidth < 2:
            link = -2 - route.memory
            own.append(link)
            users.setdefault(link, []).append(number)
    crowd = [1] * len(flows)
    planes = [route.plane for route, _ in flows]
    for link, some in users.items():
        responses = sum([planes[number] for number in some])
        requests = len(some) - responses
        for number in some if link >= 0 and (responses > 1 or requests > 1) else ():
            of_plane = responses if planes[number] else requests
            if of_plane > crowd[number]:
                crowd[number] = of_plane
    weights = [1.0 / count for count in crowd]
    left = {link: bandwidth if link < 0 else 1.0 for link in users}
    weight_of = {link: sum([weights[number] for number in some]) for link, some in users.items()}
    rates: list[Rate] = [(0.0, -1)] * len(flows)
    waiting = {number: limit * count for number, ((_, limit), count) in enumerate(zip(flows, crowd, strict=True))}
    level = 0.0
    while waiting:
        most = min(waiting.values())
        shares = [(left[link] / weight, link) for link, weight in weight_of.items()]
        if shares:
            most = min(most, min(shares)[0])
        level = max(level, most)
        reached = level + EPSILON
        full = [link for share, link in shares if share <= reached]
        frozen = [number for number, own in waiting.items() if own <= reached]
        frozen += [number for link in full for number in users[link]]
        for number in frozen:
            if number not in waiting:
                continue
            del waiting[number]
            weight = weights[number]
            rate = level * weight
            rates[number] = rate, _held(flows[number][0], full) if full else -1
            if not waiting:
                break
            for link in links_of[number]:
                left[link] -= rate
                if link in weight_of:
                    weight_of[link] -= weight
                    if weight_of[link] < EPSILON:
                        del weight_of[link]
    return rates


def _held(route: Route, full: list[int]) -> int:
    """Of the links that carry no more, the first one on a way; of a memory, the link that leads to it."""
    before = route.before
    held = [(before[link].bit_count(), link) for link in full if link in before]
    if held:
        return min(held)[1]
    return route.links[-1] if route.writes and -2 - route.memory in full else -1
