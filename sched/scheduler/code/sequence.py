"""Order of everything in a part of a launch: steps, loads, and which waits for which.

Every core computes, tile by tile, output block by output block, the steps of the block, chunk by chunk. A step has a
*position*, the same on all cores: ``(tile * blocks + block) * steps + step``. A mapping with `blocks_first` takes the
blocks one by one, each over all tiles: ``(block * tiles + tile) * steps + step``. With `in_pairs` two tiles take each
step one after the other: ``((tile // 2 * blocks + block) * steps + step) * 2 + tile % 2``.

A residual is one more step of every block, in turn the last one and the first one, so that the compute unit changes
engines once for every block and not twice.

Scratchpad slots form rings, one for activations, one for weights (unless all weights are resident), and one for a
residual, which each core loads for itself. What an earlier part of the launch left in the scratchpad is not loaded.
Load number q goes to slot q modulo the number of slots, behind the steps that used load q - slots. Cores that need the
same data form a group with a leader, whose load unit asks for it once for all members: it waits for a free token of
every member, and the last flit gives every member a ready token. A slot that was never used is free from the start;
loads into such slots are paced by the steps of the leader instead.

Why nothing can deadlock: a load may start behind position e (its slot's last use on any member, or the step that paces
it) and is needed at position u > e (its first use on any member). Every load stream is sorted by (e + 1/2, u), so
e + 1/2 for loads, the position itself for COMPUTE and a quarter more for STORE order all instructions of all cores such
that each waits only for earlier ones, and every stream follows that order. Parts of a launch follow each other in
every stream, and wait for nothing of later parts: with the number of the part in front the order holds for all.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from operator import attrgetter
from typing import Any

from rtl.contract.params import ChipParams
from scheduler.map.mapping import Mapping
from scheduler.map.tokens import TokenMap
from scheduler.work.passes import OutBlock, Step

__all__ = ["START", "Group", "Load", "ParamLoad", "Sequence", "Visit"]

START = -1.0
"""Position before all steps."""

Place = tuple[int, int]
"""(row part, channel part) of a core."""


@dataclass(slots=True, eq=False)
class Load:
    """One load of a ring.

    Attributes
    ----------
    number : int
        In the ring.
    tile : int
        Of its first use.
    key
        What is loaded.
    first : int
        Position of the first use.
    last : dict of int to int
        Position of the last use, by number of the member.
    start : float
        Position behind which it may start.
    waits_free, waits_pace : bool
        For which tokens it waits.
    frees : bool
        A later load waits for its slot.
    slot : int
        Scratchpad byte.
    """

    number: int
    tile: int
    key: Any
    first: int
    last: dict[int, int] = field(default_factory=dict)
    start: float = START
    waits_free: bool = False
    waits_pace: bool = False
    frees: bool = False
    slot: int = 0


@dataclass(slots=True, eq=False)
class Visit:
    """One step of one core: a COMPUTE, or (step None) the release of a load that only other members need.

    Attributes
    ----------
    tile, block : int
        Numbers of the tile in its row part and of the block in its channel part.
    unit : int
        Number of this block of this tile among those of the core.
    chunk : int
        Of the step.
    adds : bool
        It adds the residual.
    starts, ends : bool
        The first step of the block, the last one.
    act, weight, residual
        Loads that it uses; None where it has none, as `act` is of an input that is there already.
    """

    position: int
    tile: int
    block: int
    step: Step | None
    chunk: int = 0
    unit: int = 0
    adds: bool = False
    starts: bool = False
    ends: bool = False
    act: Load | None = None
    weight: Load | None = None
    residual: Load | None = None


@dataclass(eq=False)
class Group:
    """Cores that share the loads of a ring; the leader asks for them."""

    leader: int
    cores: list[int]
    row: int
    channel: int
    loads: list[Load]

    def member(self, core: int) -> int:
        return self.cores.index(core)


@dataclass(frozen=True)
class ParamLoad:
    """A group of parameter sets.

    Attributes
    ----------
    tile, group : int
        For which stores; with a single group, for all tiles.
    sets : tuple of int
    first, last : int
        Positions of the blocks whose stores use it.
    """

    tile: int
    group: int
    sets: tuple[int, ...]
    first: int
    last: int


class Sequence:
    """Steps and loads of all cores of a mapping.

    Attributes
    ----------
    visits : dict of (row part, channel part) to list of Visit
    acts, weights, residuals : dict of int to Group
        By core.
    paced : dict of (core, position) to int
        Signal with which a step lets a load go.
    params : dict of int to list of ParamLoad
        By channel part.
    """

    def __init__(self, mapping: Mapping, chip: ChipParams) -> None:
        self.mapping = mapping
        self.tokens = TokenMap.of(mapping, chip)
        self.blocks = mapping.blocks_per_core
        # Room for releases behind the steps; and so every block's last step is followed by a free position.
        self.steps = mapping.steps_per_block + len(mapping.chunks) + (mapping.work.residual is not None)
        rows, channels = range(mapping.g_row), range(mapping.g_oc)
        self._uses: dict[tuple[Place, str], list[tuple[Visit, Any]]] = {}
        self.visits = {(r, o): list(self._visits(r, o)) for r in rows for o in channels}
        self.positions = {
            self.core(place): {visit.position for visit in visits if visit.step is not None}
            for place, visits in self.visits.items()
        }
        self.paced: dict[tuple[int, int], int] = {}
        self.acts: dict[int, Group] = {}
        self.weights: dict[int, Group] = {}
        self.residuals: dict[int, Group] = {}
        for r in rows if not mapping.work.source.resident else ():
            sharers = [[(r, o) for o in channels]] if self.tokens.act_members > 1 else [[(r, o)] for o in channels]
            for places in sharers:
                self._form_group(places, self.core(places[0]), "act", self.acts, mapping.act_slots, mapping.slot_bytes,
                                 mapping.budget.act.first)  # fmt: skip
        for o in channels:
            leader = TokenMap.weight_leader(mapping, o)
            slots = 0 if mapping.weights_resident else mapping.weight_slots
            self._form_group([(r, o) for r in rows], leader, "weight", self.weights, slots, mapping.weight_slot_bytes,
                             mapping.budget.weight.first)  # fmt: skip
        residual = mapping.work.residual
        for place in self.visits if residual is not None and not residual.source.resident else ():
            slots, size = mapping.residual_slots, mapping.residual_slot_bytes
            self._form_group([place], self.core(place), "residual", self.residuals, slots, size, mapping.residual_ring)
        for group in {id(group): group for group in self.acts.values()}.values():
            self._pace(group)
        self.params = {o: list(self._params(o)) for o in channels}

    def core(self, place: Place) -> int:
        r, o = place
        return self.mapping.cores[r * self.mapping.g_oc + o]

    def channel_part(self, core: int) -> int:
        return self.mapping.cores.index(core) % self.mapping.g_oc

    def position(self, tile: int, block: int) -> int:
        """Of a block's first step; of two tiles that take turns, that of the first one."""
        together = self.mapping.together
        if self.mapping.blocks_first:
            return (block * self.mapping.tiles + tile) * self.steps
        return (tile // together * self.blocks + block) * self.steps * together

    # --- steps --------------------------------------------------------------------------------------------------

    def _visits(self, r: int, o: int) -> Iterator[Visit]:
        """Visits of a core in order; what they use is noted, by key, for the loads that are formed of it."""
        mapping, blocks, residual = self.mapping, self.mapping.channel_parts[o], self.mapping.work.residual
        acts, weights, residuals = (self._uses.setdefault(((r, o), kind), []) for kind in ("act", "weight", "residual"))
        steps = [mapping.chunk_steps(block) for block in blocks]
        together = mapping.together
        pair: list[Visit] = []
        for number, (t, j) in enumerate(mapping.units(o)):
            at, block = self.position(t, j) + t % together, blocks[j]
            leads = residual is not None and number // together % 2 == 1
            visits: list[Visit] = []
            for index, (chunk, step) in enumerate(steps[j], leads):
                visit = Visit(at + together * index, t, j, step, chunk, number)
                visits.append(visit)
                if not mapping.work.source.resident:
                    acts.append((visit, (t, chunk) if mapping.act_resident else (t, j, chunk)))
                if step.weight_bytes:
                    weights.append((visit, self._weight_key(t, j, block, step)))
            if residual is not None:
                index = 0 if leads else len(visits)
                visit = Visit(at + together * index, t, j, residual.step(block), unit=number, adds=True)
                visits.insert(0 if leads else len(visits), visit)
                if not residual.source.resident:
                    word = residual.word(block)
                    residuals.append((visit, (j, t, word) if mapping.blocks_first else (t, word)))
            visits[0].starts = visits[-1].ends = True
            pair += visits
            if (t + 1) % together and t + 1 < mapping.tiles:
                continue
            yield from sorted(pair, key=attrgetter("position"))
            pair = []
            if j == len(blocks) - 1 and not mapping.act_resident and self.tokens.act_members > 1:
                # Other members have one block more; this one only lets go of their chunks.
                for more in range(len(blocks), self.blocks):
                    for chunk in range(len(mapping.chunks)):
                        visit = Visit(self.position(t, more) + chunk, t, more, None, chunk)
                        acts.append((visit, (t, more, chunk)))
                        yield visit

    def _weight_key(self, t: int, j: int, block: OutBlock, step: Step) -> tuple[int, ...]:
        """Equal for steps that use one load of weights."""
        key = (block.weights, step.weight, step.weight_bytes)
        if self.mapping.weights_resident:
            return key
        return (j, *key) if self.mapping.blocks_first else (t // self.mapping.together, j, *key)

    # --- loads --------------------------------------------------------------------------------------------------

    def _form_group(
        self, places: list[Place], leader: int, kind: str, table: dict[int, Group], slots: int, slot_bytes: int,
        base: int,
    ) -> None:  # fmt: skip
        """Loads in the order of first use, with their slots from `base` on; without slots, loads stay where they are
        put."""
        cores = [self.core(place) for place in places]
        by_key: dict[Any, Load] = {}
        for member, place in enumerate(places):
            for visit, key in self._uses[place, kind]:
                load = by_key.get(key)
                if load is None:
                    load = by_key[key] = Load(0, visit.tile, key, visit.position)
                elif visit.position < load.first:
                    load.first = visit.position
                load.last[member] = visit.position
                setattr(visit, kind, load)
        loads = sorted(by_key.values(), key=lambda load: load.first)
        place_at = base
        for number, load in enumerate(loads):
            load.number = number
            if not slots:
                load.slot = place_at
                place_at += -(-load.key[-1] // self.mapping.work.weight_align) * self.mapping.work.weight_align
                continue
            # Tokens carry no names: all members use all loads, and free their slots in the order of the ring.
            assert len(load.last) == len(cores)
            assert not number or all(load.last[m] > loads[number - 1].last[m] for m in load.last)
            load.slot = base + number % slots * slot_bytes
            load.frees = number + slots < len(loads)
            if number >= slots:
                load.start = float(max(loads[number - slots].last.values()))
                assert load.start < load.first, "a load waits for a step that needs it"
                load.waits_free = True
        group = Group(leader, cores, places[0][0], places[0][1], loads)
        table.update(dict.fromkeys(cores, group))

    def _pace(self, group: Group) -> None:
        """Let the first loads start one by one, so that those of all leaders do not queue in front of each other."""
        pace, start = self.mapping.pace, START
        for load in group.loads:
            if pace and load.number >= pace and not load.waits_free:
                earlier = group.loads[load.number - pace]
                step, frees = earlier.first, earlier.frees and earlier.last[0] == earlier.first
                if not (frees and step + 1 not in self.positions[group.leader]):  # else no signal is left
                    self.paced[group.leader, step] = 2 if frees else 0
                    load.waits_pace = True
                    load.start = float(step)
            # Ready tokens carry no names either, so loads leave in the order of the ring.
            load.start = start = max(start, load.start)

    # --- parameters ---------------------------------------------------------------------------------------------

    def param_groups(self, o: int) -> list[tuple[int, ...]]:
        """Parameter sets of a channel part, in groups that are loaded together."""
        sets, size = sorted({block.params for block in self.mapping.channel_parts[o]}), self.mapping.param_group
        return [tuple(sets[first : first + size]) for first in range(0, len(sets), size)]

    def _params(self, o: int) -> Iterator[ParamLoad]:
        """Loads of parameters in order: each once, or for every tile anew if there are several and tiles come first."""
        groups = self.param_groups(o)
        of_set = {number: index for index, group in enumerate(groups) for number in group}
        users = [of_set[block.params] for block in self.mapping.channel_parts[o]]
        mapping = self.mapping
        again = len(groups) > 1 and not mapping.blocks_first
        for t in range(mapping.tiles if again else 1):
            for index, sets in enumerate(groups):
                mine = [j for j, user in enumerate(users) if user == index]
                yield ParamLoad(t, index, sets, self.position(t, mine[0]), self.position(t, mine[-1] + 1) - 1)
