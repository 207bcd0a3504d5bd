"""Forms of a network, compared: which pools are joined with the convolution in front, how the input is stored."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from functools import cached_property
from operator import itemgetter

from estimator import MemoryTiming
from golden.int8.qgraph import QGraph
from golden.int8.qnodes import QPool
from rtl.contract.params import ChipParams
from scheduler.choose import Chooser
from scheduler.errors import PlanError
from scheduler.fuse.decide import Decider
from scheduler.fuse.form import Findings, Form, Terms, byte_cycles
from scheduler.fuse.stay import require_equal_cores
from scheduler.group import Pools, pool_candidates
from scheduler.place import input_layouts, likely_layout
from scheduler.plan.repeated import repeated_macs
from scheduler.rounds import require_batch

__all__ = ["Forms"]


WORSE = 1.02
"""A form that is predicted so much dearer needs no estimate: predictions of two forms err alike, within 1.2 %."""


class Forms:
    """Forms of one network, which share what they find of every kind of layer.

    Parameters
    ----------
    batch : int
        Number of pictures.

    Raises
    ------
    PlanError
        If the batch is none, or the cores differ.
    """

    def __init__(self, terms: Terms, graph: QGraph, chip: ChipParams, memory: MemoryTiming, batch: int = 1) -> None:
        require_batch(batch)
        require_equal_cores(chip)
        self.terms, self.graph, self.chip, self.memory, self.batch = terms, graph, chip, memory, batch
        self.candidates: Pools = {node.name: pool for node, pool in pool_candidates(graph)}
        self._findings = Findings(Chooser(chip, memory, terms.policy))

    def form(self, pools: Pools, input_layout: str) -> Form:
        """The network with these pools joined, and its input stored so."""
        return Form(self.terms, self.graph, self.chip, self.memory, self.batch, pools, input_layout, self._findings)

    def decider(self, pools: Pools | None = None, input_layout: str | None = None) -> Decider:
        """What decides for a form; for the one that seems best, as far as nothing is said.

        Parameters
        ----------
        pools : dict of str to QPool, optional
            By the name of a convolution, the maximum pool that its part computes too; those with which it costs less
            than before the pool, if they are not given.
        input_layout : str, optional
            Of `scheduler.place.input_layouts`.
        """
        layout = input_layout or likely_layout(self.graph, self.chip, byte_cycles(self.chip, self.memory))
        return Decider(self.form(self._joined(layout) if pools is None else pools, layout))

    def settled(self) -> Decider:
        """What decides for the form that seems best, or for another one, if its whole plan is estimated cheaper, and
        as fast.

        What a pool costs, and what a layout of the input, depends on what stays on the chip around it and on how many
        pictures go together, which is not known when these are chosen.
        """
        best = likely = self.decider()
        for pools, layout in self._others(likely.form):
            other = self.decider(pools, layout)
            with suppress(PlanError):  # a convolution with its pool may not fit
                if (
                    other.predicted < WORSE * likely.predicted
                    and other.total < best.total
                    and other.cycles <= (1 + self.terms.policy.alike) * likely.cycles
                ):
                    best = other
        return self._within_limit(self._pool_by_pool(best))

    def _pool_by_pool(self, best: Decider) -> Decider:
        """The same with some pools the other way about, each that is then predicted and estimated to cost less.

        Where tiles of a convolution share windows of its pool, rows are computed twice; a pool of its own whose input
        stays on the chip does not, and what stays is decided by the whole plan.
        """
        for name, pool in self.candidates.items():
            if name == self._first or not _overlap(pool):
                continue
            other = self.decider(self._turned(best.form.pools, name), best.form.input_layout)
            with suppress(PlanError):
                if other.predicted < best.predicted and other.total < best.total:
                    best = other
        return best

    def _within_limit(self, best: Decider) -> Decider:
        """The same with pools apart, those first that cost least for what they save, until the plan does no more
        multiply-accumulates again than it may; unless it would cost more than that share of everything."""
        if not best.form.pools:
            return best
        share, dearest = self.terms.repeated, (1 + self.terms.repeated) * best.total
        allowed = share * self.batch * sum(node.macs for node in self.graph.nodes)
        likely, again = best, _repeated(best)
        while again > allowed:
            found: list[tuple[float, float, Decider]] = []
            for name in best.form.pools:
                other = self.decider(self._turned(best.form.pools, name), best.form.input_layout)
                with suppress(PlanError):
                    left = _repeated(other)
                    if left < again:
                        found.append(((other.total - best.total) / (again - left), left, other))
            _, again, best = min(found, key=itemgetter(0), default=(0.0, 0.0, likely))
            if best.total > dearest or best is likely:
                return likely
        return best

    @cached_property
    def _first(self) -> str | None:
        """The first reader of the network's input."""
        return next((node.name for node in self.graph.nodes if self.graph.input in node.inputs), None)

    def _turned(self, joined: Pools, name: str) -> Pools:
        """Joined pools, with that of one convolution the other way about."""
        return {other: pool for other, pool in self.candidates.items() if (other in joined) != (other == name)}

    def _joined(self, input_layout: str) -> Pools:
        """Pools that cost less with the convolution in front: rows of several cores are computed twice there."""
        if not self.candidates:
            return {}
        together, apart = (self.form(pools, input_layout) for pools in (self.candidates, dict[str, QPool]()))
        return {
            name: pool
            for name, pool in self.candidates.items()
            if together.least(together.numbered(name))
            <= apart.least_of_two(apart.numbered(name), apart.numbered(pool.name))
        }

    def _others(self, likely: Form) -> Iterator[tuple[Pools, str]]:
        """Other ways to store the input, with or without the first pool in its convolution; of batches all pools."""
        joined, candidates = likely.pools, self.candidates
        forms: list[Pools] = [joined]
        if (first := self._first) is not None and first in candidates:
            forms.append(self._turned(joined, first))
        if self.batch > 1 and candidates not in forms:
            forms.append(candidates)
        layouts = list(input_layouts(self.graph, self.chip))
        for layout in layouts[1:] or layouts:  # dense rows are fewer bytes and fewer passes than blocks
            yield from ((pools, layout) for pools in forms if (pools, layout) != (joined, likely.input_layout))


def _overlap(pool: QPool) -> bool:
    """Whether neighbouring windows share rows or columns."""
    return pool.kernel[0] > pool.stride[0] or pool.kernel[1] > pool.stride[1]


def _repeated(decider: Decider) -> float:
    """Multiply-accumulates that a plan does again, as far as that is known."""
    return repeated_macs(decider.plan) or 0.0
