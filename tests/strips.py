"""Plans in which as much as possible is done strip by strip, whatever it costs."""

from __future__ import annotations

from contextlib import suppress

from scheduler import Plan, PlanError
from scheduler.fuse.decide import Decider
from scheduler.fuse.search import Choice
from scheduler.fuse.strips import Chain

__all__ = ["plan_of_strips"]


def plan_of_strips(decider: Decider, longest: bool, pictures: int = 1) -> Plan:
    """Everything in DRAM but for chains, as many as can be, the longest or the shortest, in as few strips as fit."""
    cores, search = decider.form.chip.n_cores // pictures, decider.form.searches[pictures]
    choices: dict[int, Choice] = {}
    while len(choices) < len(decider.form.steps):
        number = len(choices)
        ends = sorted(search.stays.chains(number, cores), reverse=longest)
        for chain in (Chain(number, end, cores, strips) for end in ends for strips in (3, 5, 7, 9)):
            last = (Choice((1, cores), None, 0.0, 0, chain=chain),)
            inside = (Choice((1, cores), (1, cores), 0.0, 0, chain=chain),) * (chain.end - number - 1)
            with suppress(PlanError):
                search.strips(chain).require_possible()
                found = dict(enumerate(inside + last, number))
                choices |= search.priced(found, ())
                break
        else:
            choices[number] = Choice((1, 1), None, 0.0, 0, pictures=pictures)
    assert any(choice.chain for choice in choices.values())
    return decider.writer.plan(choices, decider.launches(choices))
