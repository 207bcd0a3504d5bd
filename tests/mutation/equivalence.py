"""Is a mutant that no test noticed any different from the block?

Two copies of the netlist, one without and one with the mutant, get the same inputs, any inputs at all. Of an interface
with a `valid`, the other outputs are compared while it is high: else they mean nothing. What else the block's contract
says (`tests.mutation.blocks`) is presumed only for mutants that are not proved equal without it, and the judgement
says so.

`EQUAL`
    Proved for all inputs, for ever: by what stays equal from one cycle to the next (`tests.mutation.induction`).
`DIFFERENT`
    Inputs are known after which an output differs: random ones, or what SAT found (`tests.mutation.search`). They
    were replayed on the compiled netlist, which is that of the campaign.
`BOUNDED`
    SAT found none in the first `Judgement.cycles` cycles; what lies behind them is open.
`UNDECIDED`
    Not even one cycle in the time allowed; or `Judgement.doubt`.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, replace
from enum import Enum
from pathlib import Path

import numpy as np

from tests.mutation.circuit import load_circuit
from tests.mutation.induction import candidates, proved
from tests.mutation.model import Model, build_library
from tests.mutation.netlist import MutatedNetlist
from tests.mutation.pair import Pair
from tests.mutation.search import Inputs, search
from tests.mutation.simulation import Lanes, Simulation, apart, literals, values_of

__all__ = ["Judge", "Judgement", "Verdict"]

_CONDITIONS = (0, 8)
"""Of candidates, for one proof after the other: tracing back finds most of them by itself, but not hundreds."""
_RANDOM_CYCLES, _RANDOM_WORDS, _RANDOM_SEEDS = 100, 4, (2, 3)


class Verdict(Enum):
    EQUAL = "equivalent"
    DIFFERENT = "different"
    BOUNDED = "not told apart"
    UNDECIDED = "undecided"


@dataclass(frozen=True)
class Judgement:
    verdict: Verdict
    cycles: int = 0
    """DIFFERENT: after which an output differs; BOUNDED: in which they are equal."""
    contract: str | None = None
    """What was presumed, because they differ, or might, without it."""
    doubt: str | None = None
    """UNDECIDED: why nothing is claimed, if it was not the time."""

    def __str__(self) -> str:
        return f"{self._text()}, presumed that {self.contract}" if self.contract else self._text()

    def _text(self) -> str:
        match self.verdict:
            case Verdict.BOUNDED:
                return f"not told apart in {self.cycles} cycles"
            case Verdict.DIFFERENT:
                return f"different in cycle {self.cycles}"
            case _:
                return f"{self.verdict.value}: {self.doubt}" if self.doubt else self.verdict.value


class Judge:
    """Of all mutants of one netlist."""

    def __init__(self, netlist: MutatedNetlist, directory: Path) -> None:
        self._netlist = netlist
        self._circuit = load_circuit(netlist, directory)

    def judge(self, number: int, *, cycles: int = 40, timeout_s: float = 60) -> Judgement:
        """Compare a mutant with the block; see the module for what is claimed.

        ``cycles`` is how far SAT looks, and ``timeout_s`` for how long; so long a proof may take, too, and once more
        with what is known of the block's flags.
        """
        if not self._circuit.judgeable(number):
            return Judgement(Verdict.UNDECIDED, doubt="it inverts a clock")
        judgement = self._judged(Pair.of(self._circuit, number, self._netlist), cycles, timeout_s)
        if judgement.verdict is Verdict.EQUAL or not self._netlist.contract:
            return judgement
        pair = Pair.of(self._circuit, number, self._netlist, contract=True)
        return replace(self._judged(pair, cycles, timeout_s), contract=self._netlist.contract)

    def _judged(self, pair: Pair, cycles: int, timeout_s: float) -> Judgement:
        inputs = _random_inputs(pair)
        if inputs is not None:
            return self._different(pair, inputs)
        deadline = time.process_time() + timeout_s
        for place, conditions in enumerate(_CONDITIONS):
            share = (deadline - time.process_time()) / (len(_CONDITIONS) - place)
            if proved(pair, candidates(pair, conditions), time.process_time() + share):
                return Judgement(Verdict.EQUAL)
        if proved(pair, candidates(pair, 0, flags=True), time.process_time() + timeout_s):
            return Judgement(Verdict.EQUAL)
        searched = search(pair, cycles=cycles, deadline=time.process_time() + timeout_s)
        if searched.inputs is not None:
            return self._different(pair, searched.inputs)
        return Judgement(Verdict.BOUNDED, searched.cycles) if searched.cycles else Judgement(Verdict.UNDECIDED)

    def _different(self, pair: Pair, inputs: Inputs) -> Judgement:
        cycle = self._replayed(pair, inputs)
        if cycle is None:
            return Judgement(Verdict.UNDECIDED, doubt="the inputs found do not tell it apart in the compiled netlist")
        return Judgement(Verdict.DIFFERENT, cycle)

    def _replayed(self, pair: Pair, inputs: Inputs) -> int | None:
        """The first cycle in which the compiled netlist's outputs differ."""
        netlist = replace(self._netlist, ports=self._netlist.ports + self._netlist.watched)
        ports, library = netlist.ports, build_library(netlist)
        copies = [Model(library, ports, number) for number in (0, pair.number)]
        outputs = [port.name for port in ports if not port.is_input]
        for cycle, driven in enumerate(inputs):
            words = [driven.get(port.name, 0) for port in ports if port.is_input]
            block, mutant = (dict(zip(outputs, copy.step(0, words), strict=True)) for copy in copies)
            if any(block[one.port] != mutant[one.port] and (not one.valid or block[one.valid]) for one in pair.shown):
                return cycle
            for copy in copies:
                copy.step(1, words)
        return None


def _random_inputs(pair: Pair) -> Inputs | None:
    """Random inputs that tell them apart, if some do."""
    for seed in _RANDOM_SEEDS:
        simulation = Simulation(pair, words=_RANDOM_WORDS, seed=seed)
        driven = []
        for values in simulation.run(_RANDOM_CYCLES):
            driven.append(simulation.driven())
            lanes = _told_apart(pair, values) & simulation.allowed
            if lanes.any():
                word = int(np.flatnonzero(lanes)[0])
                lane = 64 * word + (int(lanes[word]) & -int(lanes[word])).bit_length() - 1
                return [simulation.inputs_of(lane, one) for one in driven]
    return None


def _told_apart(pair: Pair, values: Lanes) -> Lanes:
    """By machine word: the pairs in which an output differs."""
    half = values.shape[1] // 2
    found = np.zeros(half, np.uint64)
    for shown in pair.shown:
        differs = np.bitwise_or.reduce(apart(values_of(values, literals(shown.bits))), axis=0)
        found |= differs & values_of(values, literals([shown.means]))[0, :half]
    return found
