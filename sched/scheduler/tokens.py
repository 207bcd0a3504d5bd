"""Which token counter means what in a launch; the same on every core that takes part."""

from __future__ import annotations

from dataclasses import dataclass

from rtl.params import ChipParams
from scheduler.mapping import Mapping

__all__ = ["TokenMap"]


@dataclass(frozen=True)
class TokenMap:
    """First counter of each class.

    Loads from different memory nodes arrive in any order, so ready tokens are per memory node; free tokens are per
    member of the leader's group.

    Attributes
    ----------
    memories : tuple of int
        Memory nodes in use.
    act_members, weight_members : int
        Cores that share activation loads; cores that share weight and parameter loads.
    spread_weights : bool
        Weight loads take all memory nodes in turn, instead of the leader's own one.
    """

    memories: tuple[int, ...]
    homes: tuple[int, ...]
    act_members: int
    weight_members: int
    spread_weights: bool

    acc_ready = 0
    acc_free = 1
    param_ready = 2
    act_ready = 3

    @property
    def weight_ready(self) -> int:
        return self.act_ready + len(self.memories)

    @property
    def act_free(self) -> int:
        return self.weight_ready + len(self.memories)

    @property
    def weight_free(self) -> int:
        return self.act_free + self.act_members

    @property
    def param_free(self) -> int:
        return self.weight_free + self.weight_members

    @property
    def used(self) -> int:
        return self.param_free + self.weight_members

    @staticmethod
    def of(mapping: Mapping, chip: ChipParams) -> TokenMap:
        """The map for a mapping; memory nodes are left out where counters are too few."""
        act = mapping.g_oc if mapping.work.shared_input else 1
        spread = mapping.g_oc < len(chip.memory_nodes)
        homes = chip.home_memory
        count = min(len(chip.memory_nodes), max(1, (chip.tokens - 3 - act - 2 * mapping.g_row) // 2))
        return TokenMap(tuple(range(count)), homes, act, mapping.g_row, spread)

    def act_memory(self, leader: int, number: int) -> int:
        """Index in `memories` for load `number` of a leader."""
        return (self.homes[leader] + number) % len(self.memories)

    def weight_memory(self, leader: int, number: int) -> int:
        """Index in `memories` for weight load `number` of a leader."""
        return (self.homes[leader] + (number if self.spread_weights else 0)) % len(self.memories)

    @staticmethod
    def wait(slot: int, first: int, count: int) -> dict[str, int]:
        """Wait range `slot` of an instruction."""
        return {f"wait{slot}_first": first, f"wait{slot}_count": count}

    @staticmethod
    def signal(slot: int, token: int, core: int) -> dict[str, int]:
        """Signal `slot` of an instruction."""
        return {f"signal{slot}_valid": 1, f"signal{slot}_token": token, f"signal{slot}_core": core}
