"""How transfers that go at the same time share links and memories."""

from __future__ import annotations

from collections.abc import Sequence

from estimator.routes import Route, Routes, bits

__all__ = ["Rate", "Rates", "fair_rates"]

EPSILON = 1e-6

Rate = tuple[float, int]
"""Flits per cycle of a transfer, and the link that allows no more; -1 if none does."""


_Resource = tuple[int, int, int]
"""What transfers share: bit masks of them and of its links, and the number of a memory, if it has no links."""


class Rates:
    """Rates of sets of transfers, each set found once.

    Parameters
    ----------
    bandwidth : float
        Flits per cycle of a memory node, reads and writes together.

    Attributes
    ----------
    shares : list of int
        Of each kind, the bit mask of its links; that of its memory comes behind them.
    """

    def __init__(self, routes: Routes, bandwidth: float) -> None:
        self.shares: list[int] = []
        self._bandwidth = bandwidth
        self._first_memory = routes.n_links
        self._kinds: dict[tuple[int, float], int] = {}
        self._of: list[tuple[Route, float]] = []
        self._alone: list[Rate] = []
        """Of each kind, its rate if it shares nothing."""
        self._found: dict[tuple[int, ...], list[Rate]] = {}
        self._known: dict[tuple[int, ...], list[Rate]] = {}
        """Of those that share something with each other."""

    def kind(self, route: Route, limit: float) -> int:
        """Number of all transfers that go this way and at most so fast."""
        key = route.index, limit
        kind = self._kinds.get(key)
        if kind is None:
            kind = self._kinds[key] = len(self._of)
            if route.memory >= 0:
                limit = min(limit, self._bandwidth)
            self._of.append((route, limit))
            # At two flits a cycle, reads and writes do not meet.
            scarce = route.memory >= 0 and self._bandwidth < 2
            self.shares.append(route.mask | (1 << self._first_memory + route.memory if scarce else 0))
            self._alone.append((limit, route.links[-1] if route.writes and limit == self._bandwidth < 1 else -1))
        return kind

    def rates(self, kinds: tuple[int, ...]) -> list[Rate]:
        """For each transfer, given by its kind."""
        found = self._found.get(kinds)
        if found is None:
            found = self._found[kinds] = self._find(kinds)
        return found

    def _find(self, kinds: tuple[int, ...]) -> list[Rate]:
        # Groups that share nothing with each other.
        groups: list[tuple[int, list[int]]] = []
        taken = 0
        for number, kind in enumerate(kinds):
            shares, members = self.shares[kind], [number]
            if shares & taken:
                for group in [group for group in groups if group[0] & shares]:
                    shares |= group[0]
                    members = group[1] + members
                    groups.remove(group)
            taken |= shares
            groups.append((shares, members))
        out = [self._alone[kind] for kind in kinds]
        for _, members in groups:
            if len(members) == 1:
                continue
            key = tuple([kinds[number] for number in members])
            found = self._known.get(key)
            if found is None:
                found = self._known[key] = fair_rates([self._of[kind] for kind in key], self._bandwidth)
            for number, rate in zip(members, found, strict=True):
                out[number] = rate
        return out


def fair_rates(flows: Sequence[tuple[Route, float]], bandwidth: float) -> list[Rate]:
    """Rates of transfers that go certain ways, each at most so fast.

    All grow until a link, or the memory of a node, carries no more. The planes take turns at a link, and reads and
    writes at a memory, however many there are of each: so each grows as its share of its own plane allows, where that
    is most crowded.

    Parameters
    ----------
    bandwidth : float
        Flits per cycle of a memory node, reads and writes together.
    """
    scarce = _bundles(flows)
    crowd = _crowd(flows, scarce)
    weights = [1.0 / count for count in crowd]
    if bandwidth < 2:
        scarce += _memories(flows, scarce if bandwidth >= 1 else [])
    # Sums are made in this order, so that the last bit is the same whatever else is shared.
    scarce.sort(key=_by_first_user)
    uses: list[list[int]] = [[] for _ in flows]
    users_of, left, weight_of = [], [], []
    for place, (users, links, _) in enumerate(scarce):
        numbers = bits(users)
        for number in numbers:
            uses[number].append(place)
        users_of.append(numbers)
        left.append(1.0 if links else bandwidth)
        weight_of.append(sum([weights[number] for number in numbers]))
    rates: list[Rate] = [(0.0, -1)] * len(flows)
    waiting = {number: flow[1] * crowd[number] for number, flow in enumerate(flows)}
    carry = list(range(len(scarce)))  # those of which something is left
    level = 0.0
    while waiting:
        most = min(waiting.values())
        shares = [left[place] / weight_of[place] for place in carry]
        if shares:
            most = min(most, min(shares))
        level = max(level, most)
        reached = level + EPSILON
        frozen = [number for number, own in waiting.items() if own <= reached]
        full_links, full_memories = 0, 0
        for place, share in zip(carry, shares, strict=True):
            if share <= reached:
                _, links, memory = scarce[place]
                full_links |= links
                full_memories |= 0 if links else 1 << memory
                frozen += users_of[place]
        for number in frozen:
            if number in waiting:
                del waiting[number]
                weight = weights[number]
                rate = level * weight
                rates[number] = rate, _held(flows[number][0], full_links, full_memories)
                for place in uses[number]:
                    left[place] -= rate
                    weight_of[place] -= weight
        carry = [place for place in carry if weight_of[place] >= EPSILON]
    return rates


def _by_first_user(one: _Resource) -> tuple[int, int]:
    users, links, _ = one
    return users & -users, -links.bit_length()


def _bundles(flows: Sequence[tuple[Route, float]]) -> list[_Resource]:
    """Links that the same transfers share; those that carry only part of what others do are never full before them,
    and are left out."""
    users_of: dict[int, int] = {}
    for number, (route, _) in enumerate(flows):
        user = 1 << number
        for link in route.links:
            if link in users_of:
                users_of[link] |= user
            else:
                users_of[link] = user
    bundles: dict[int, int] = {}
    for link, users in users_of.items():
        if users & users - 1:
            bundles[users] = bundles.get(users, 0) | 1 << link
    out = []
    for users, links in bundles.items():
        for other in bundles:
            if users & other == users != other:
                break
        else:
            out.append((users, links, -1))
    return out


def _memories(flows: Sequence[tuple[Route, float]], links: Sequence[_Resource]) -> list[_Resource]:
    """Memories of transfers, but those that carry no more than some links that carry as much at most."""
    users_of: dict[int, int] = {}
    for number, (route, _) in enumerate(flows):
        if route.memory >= 0:
            users_of[route.memory] = users_of.get(route.memory, 0) | 1 << number
    out = []
    for memory, users in users_of.items():
        for other, _, _ in links:
            if users & other == users:
                break
        else:
            out.append((users, 0, memory))
    return out


def _crowd(flows: Sequence[tuple[Route, float]], bundles: Sequence[_Resource]) -> list[int]:
    """Of each transfer, how many of its plane share a link, where they are most."""
    crowd = [1] * len(flows)
    responses = 0
    for number, (route, _) in enumerate(flows):
        responses |= route.plane << number
    planes = [plane for users, _, _ in bundles for plane in (users & responses, users & ~responses)]
    planes.sort(key=int.bit_count, reverse=True)
    done = 0
    for plane in planes:
        count = plane.bit_count()
        if count < 2:
            break
        for number in bits(plane & ~done):
            crowd[number] = count
        done |= plane
    return crowd


def _held(route: Route, full: int, memories: int) -> int:
    """Of the links that carry no more, the first one on a way; of a memory, the link that leads to it."""
    if route.mask & full:
        for link in route.in_order:
            if full >> link & 1:
                return link
    return route.links[-1] if route.writes and memories >> route.memory & 1 else -1
