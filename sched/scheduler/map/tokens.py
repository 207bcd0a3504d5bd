"""Which token counter means what in a part of a launch, who leads a group, and which memory node serves it."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

from rtl.contract.codec import signal_bits, wait_bits
from rtl.contract.params import ChipParams
from scheduler.map.budget import BOTH_BANKS
from scheduler.map.mapping import Mapping

__all__ = ["TokenMap"]

COMMON = 2
"""Counters of parameters and of pacing."""


@dataclass(frozen=True)
class TokenMap:
    """First counter of each class, the same on every core that takes part.

    Loads from different memory nodes arrive in any order, so ready tokens are per memory node; free tokens are per
    member of the leader's group. Pace tokens go from a leader's compute unit to its load unit.

    Attributes
    ----------
    memories : int
        Memory nodes in use.
    act_members, weight_members : int
        Cores that share activation loads; cores that share weight and parameter loads.
    residuals : bool
        Every core adds a residual, whose weights come with the parameters' group.
    act_base, weight_base, residual_base : dict of int to int
        Memory node of a leader's first load.
    spread_acts, spread_weights, spread_residuals : bool
        Loads of a leader take all memory nodes in turn. Otherwise each leader keeps to one node, which is better where
        that loads all nodes alike: two nodes never send to the same core in each other's way.
    first : int
        First of all but those of the accumulators.
    accumulators : int
        First of their two.
    loads_acts, loads_residual : bool
        Whether the input is loaded, and the residual by every core for itself, and neither is there already.
    """

    memories: int
    act_members: int
    weight_members: int
    act_base: dict[int, int]
    weight_base: dict[int, int]
    spread_acts: bool
    spread_weights: bool
    residuals: bool
    residual_base: dict[int, int]
    spread_residuals: bool

    first: int = BOTH_BANKS.tokens.end
    accumulators: int = BOTH_BANKS.token
    loads_acts: bool = True
    loads_residual: bool = True

    wait = staticmethod(wait_bits)
    signal = staticmethod(signal_bits)

    @cached_property
    def acc_ready(self) -> int:
        return self.accumulators

    @cached_property
    def acc_free(self) -> int:
        return self.acc_ready + 1

    @cached_property
    def param_ready(self) -> int:
        return self.first

    @cached_property
    def pace(self) -> int:
        return self.param_ready + 1

    @cached_property
    def act_ready(self) -> int:
        return self.pace + 1

    @cached_property
    def weight_ready(self) -> int:
        return self.act_ready + (self.memories if self.loads_acts else 0)

    @cached_property
    def act_free(self) -> int:
        return self.weight_ready + self.memories

    @cached_property
    def weight_free(self) -> int:
        return self.act_free + self.act_members

    @cached_property
    def param_free(self) -> int:
        return self.weight_free + self.weight_members

    @cached_property
    def residual_weights(self) -> int:
        return self.param_free + self.weight_members

    @cached_property
    def residual_free(self) -> int:
        return self.residual_weights + 1

    @cached_property
    def residual_ready(self) -> int:
        return self.residual_free + 1

    @cached_property
    def end(self) -> int:
        """Behind the last counter."""
        if not self.residuals:
            return self.residual_weights
        return self.residual_ready + self.memories if self.loads_residual else self.residual_free

    @property
    def used(self) -> int:
        """Counters in all, without those of the accumulators."""
        return self.end - self.first

    @staticmethod
    def of(mapping: Mapping, chip: ChipParams) -> TokenMap:
        """The map for a mapping; memory nodes are left out where counters are too few."""
        g_oc, g_row = mapping.g_oc, mapping.g_row
        shared = mapping.work.shared_input
        residual, loads_acts = mapping.work.residual, not mapping.work.source.resident
        residuals, loads_residual = residual is not None, residual is not None and not residual.source.resident
        act = (g_oc if shared else 1) if loads_acts else 0
        left = mapping.budget.tokens.size - COMMON - act - 2 * g_row - residuals - loads_residual
        count = min(len(chip.memory_nodes), max(1, left // (1 + loads_acts + loads_residual)))
        act_leaders = [mapping.cores[r * g_oc] for r in range(g_row)] if shared else list(mapping.cores)
        spread_weights = g_oc % count > 0 and not (mapping.one_by_one and g_oc < count)
        weight_leaders = [TokenMap.weight_leader(mapping, o) for o in range(g_oc)]
        return TokenMap(
            count, act, g_row, _bases(act_leaders, count, chip), _bases(weight_leaders, count, chip),
            len(act_leaders) % count > 0, spread_weights, residuals, _bases(list(mapping.cores), count, chip),
            len(mapping.cores) % count > 0, mapping.budget.tokens.first, mapping.budget.acc.token,
            loads_acts, loads_residual,
        )  # fmt: skip

    @staticmethod
    def weight_leader(mapping: Mapping, o: int) -> int:
        """Core that loads weights and parameters of a channel part."""
        return mapping.cores[o % mapping.g_row * mapping.g_oc + o]

    def act_memory(self, leader: int, number: int) -> int:
        """Memory node for activation load `number` of a leader."""
        return (self.act_base[leader] + (number if self.spread_acts else 0)) % self.memories

    def weight_memory(self, leader: int, number: int) -> int:
        """Memory node for weight load `number` of a leader."""
        return (self.weight_base[leader] + (number if self.spread_weights else 0)) % self.memories

    def residual_memory(self, core: int, number: int) -> int:
        """Memory node for residual load `number` of a core."""
        return (self.residual_base[core] + (number if self.spread_residuals else 0)) % self.memories


def _bases(leaders: list[int], memories: int, chip: ChipParams) -> dict[int, int]:
    """A memory node for each leader: its home if that spreads them evenly, else one after the other."""
    homes = [chip.home_memory[leader] % memories for leader in leaders]
    most = -(-len(leaders) // memories)
    if max(homes.count(home) for home in homes) <= most:
        return dict(zip(leaders, homes, strict=True))
    return {leader: rank % memories for rank, leader in enumerate(leaders)}
