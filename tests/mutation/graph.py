"""Logic as a graph of two-input AND gates, each gate once, and a SAT solver that looks at parts of it.

A literal is an integer: twice the number of a node, plus one if inverted. `FALSE` and `TRUE` are the literals of
node 0. Equal gates get equal literals, so what two copies of a circuit share costs a solver nothing.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence

from pysat.solvers import Solver

__all__ = ["FALSE", "TRUE", "Graph", "Oracle"]

FALSE, TRUE = 0, 1
_CONFLICTS = 5000
"""Between two looks at the clock."""


class Graph:
    """Gates and free inputs; and `laws`, literals that every model makes true."""

    def __init__(self) -> None:
        self.gates: list[tuple[int, int] | None] = [None]
        """Operands by node; None: a free input."""
        self.laws: list[int] = []
        self._known: dict[tuple[int, int], int] = {}

    def free(self) -> int:
        """A new input."""
        self.gates.append(None)
        return 2 * len(self.gates) - 2

    def conj(self, a: int, b: int) -> int:
        if a > b:
            a, b = b, a
        if a == FALSE or a ^ b == 1:
            return FALSE
        if a in (TRUE, b):
            return b
        found = self._known.get((a, b))
        if found is None:
            self.gates.append((a, b))
            found = self._known[a, b] = 2 * len(self.gates) - 2
        return found

    def disj(self, a: int, b: int) -> int:
        return self.conj(a ^ 1, b ^ 1) ^ 1

    def differ(self, a: int, b: int) -> int:
        if a < 2 or b < 2 or a >> 1 == b >> 1:
            return a ^ b if a < 2 or b < 2 else (a ^ b) & 1
        sign, a, b = (a ^ b) & 1, a & ~1, b & ~1
        return self.conj(self.conj(a, b) ^ 1, self.conj(a ^ 1, b ^ 1) ^ 1) ^ sign

    def choose(self, select: int, one: int, zero: int) -> int:
        if one == zero:
            return one
        return self.disj(self.conj(select, one), self.conj(select ^ 1, zero))

    def any(self, literals: Iterable[int]) -> int:
        """Whether one of them is true; a balanced tree."""
        row = list(dict.fromkeys(literals))
        while len(row) > 1:
            pairs = [self.disj(a, b) for a, b in zip(row[::2], row[1::2], strict=False)]
            row = pairs + row[len(row) & ~1 :]
        return row[0] if row else FALSE

    def all(self, literals: Iterable[int]) -> int:
        return self.any(one ^ 1 for one in literals) ^ 1

    def words_differ(self, a: Sequence[int], b: Sequence[int]) -> int:
        return self.any(self.differ(x, y) for x, y in zip(a, b, strict=True))

    def product(self, a: Sequence[int], b: Sequence[int]) -> list[int]:
        """Of numbers that are as wide as their product; it wraps."""
        total = [FALSE] * len(a)
        for place, bit in enumerate(b):
            carry = FALSE
            for at in range(place, len(a)):
                addend = self.conj(a[at - place], bit)
                x = self.differ(total[at], addend)
                both = self.conj(total[at], addend)
                total[at], carry = self.differ(x, carry), self.disj(both, self.conj(x, carry))
        return total


class Oracle:
    """A SAT solver that knows those gates of a graph that it was asked about."""

    def __init__(self, graph: Graph, deadline: float = float("inf")) -> None:
        self._graph, self._deadline = graph, deadline
        self._solver = Solver("cadical195")
        self._solver.add_clause([-1])  # node 0 is false
        self._encoded = {0}
        self._laws = 0
        self._model: list[int] = []
        self._core: set[int] = set()

    def __enter__(self) -> Oracle:
        return self

    def __exit__(self, *exception: object) -> None:
        self._solver.delete()

    def _literal(self, literal: int) -> int:
        """As the solver writes it, with all gates behind it encoded."""
        waiting = [literal >> 1]
        while waiting:
            node = waiting.pop()
            if node in self._encoded:
                continue
            self._encoded.add(node)
            gate = self._graph.gates[node]
            if gate is not None:
                y, (a, b) = node + 1, (self._written(one) for one in gate)
                self._solver.append_formula([[-y, a], [-y, b], [y, -a, -b]])
                waiting += [gate[0] >> 1, gate[1] >> 1]
        return self._written(literal)

    @staticmethod
    def _written(literal: int) -> int:
        return -((literal >> 1) + 1) if literal & 1 else (literal >> 1) + 1

    def demand(self, literal: int) -> None:
        """From now on it is true."""
        self._solver.add_clause([self._literal(literal)])

    def demand_one_of(self, literals: Iterable[int]) -> None:
        """From now on at least one of them is true."""
        self._solver.add_clause([self._literal(one) for one in literals])

    def possible(self, *literals: int) -> bool | None:
        """Whether all can be true at once, together with the laws; None: not known in time."""
        for law in self._graph.laws[self._laws :]:
            self.demand(law)
        self._laws = len(self._graph.laws)
        assumptions = [self._literal(one) for one in literals]
        while time.process_time() < self._deadline:
            self._solver.conf_budget(_CONFLICTS)
            found = self._solver.solve_limited(assumptions=assumptions)
            if found is not None:
                self._model = self._solver.get_model() if found else []
                self._core = set() if found else set(self._solver.get_core() or [])
                return found
        return None

    def value(self, literal: int) -> bool:
        """In the model of the last answer; what was never asked about is as if its node were 0."""
        node = literal >> 1
        known = node in self._encoded and node < len(self._model)
        return (known and self._model[node] > 0) != bool(literal & 1)

    def know(self, literals: Iterable[int]) -> None:
        """Have values of these in all models."""
        for one in literals:
            self._literal(one)

    def knows(self, literal: int) -> bool:
        """Whether anything asked so far depends on it."""
        return literal >> 1 in self._encoded

    def needed(self, literals: Iterable[int]) -> list[int]:
        """Those without which the last answer might have been yes."""
        return [one for one in literals if self._written(one) in self._core]
