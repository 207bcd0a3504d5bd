"""The parts of a launch behind each other in every stream, and what keeps one part from overtaking another.

Parts share the scratchpads, so a core may neither read what another has not yet stored, nor overwrite what another has
still to read. Counters (`scheduler.map.budget.Barriers`) see to that:

data
    The last STORE of a part from one core to another brings a token with its last flit.
computed
    Behind its last STORE of a part, a core tells all compute units that it has computed the part. On larger chips it
    tells the store units of its row; each of these, once it knows that of the whole row, tells its column for the row.
    A compute unit starts a part when it knows that of all cores and the part before, and has the data of those that
    store to it. Whatever died with the part before may then be overwritten, and whatever was stored may be read. Both
    are needed: the data for one core may have come long before another is done with its own, and what a core tells may
    overtake its data. For that reason what the part before has stored may not be overwritten yet but by the core
    where it is, which has waited for it: it may still be on its way to others. What the one before that has stored is
    there: all cores have computed the part in between, and began it with their data.
done
    As it starts a part, a compute unit tells its own load unit, which so knows as much of all cores. Load units run
    ahead: they start the loads of a part when all cores are done with the part before the one before, whose halves of
    the weights and parameters it takes over, or with the part in front, if one of the two takes more of the weights
    than a half. Tensors may have to wait longer: for the part in front, if that still uses the scratchpad to which they
    go, and if the launch itself has written them to DRAM, for the part that did so. Constants of the part that wait for
    nothing in it are loaded before that.
written
    Behind a part that wrote to DRAM what later ones read, a core tells all load units, in the same way as that it has
    computed, that its bytes are acknowledged.

Every counter is that of one sender, or of one row through the core of it in the own column. Tokens of one kind from one
core to another take one way, so none overtakes another, and a core that is ahead by a part never stands for one that is
behind. Nothing waits for a later part, so the order that `scheduler.code.sequence` shows for a part holds for the
launch: a store unit waits for its row when all its STOREs of the part are under way.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import product
from typing import NamedTuple

from rtl.contract.codec import encode, encode_fields
from rtl.contract.isa import Opcode, Unit
from rtl.contract.params import ChipParams
from scheduler.code.emit import Emitted, Streams
from scheduler.code.sync import ranges_of, signals, syncs, wait, waits
from scheduler.map.budget import Barriers, Range
from scheduler.map.mapping import Mapping
from scheduler.plan.residence import Residence
from scheduler.work.sink import MemorySink
from scheduler.work.source import ResidentSource

__all__ = ["PARTS_APART", "Linked", "link"]

PARTS_APART = 2
"""A part may take the weight and parameter memory, and the counters, of the part so many before it."""


class Linked(NamedTuple):
    """Streams of a launch.

    Attributes
    ----------
    streams : dict of (core, Unit) to list of bytes
        Of every core and unit, without END.
    borders : dict of (core, Unit) to list of int
        Of every stream, the number of the instruction behind each part.
    rates : dict of int to list of float
        As of `Emitted`.
    """

    streams: Streams
    borders: dict[tuple[int, Unit], list[int]]
    rates: dict[int, list[float]]


def link(
    parts: Sequence[Sequence[Mapping]], emitted: Sequence[Sequence[Emitted]], chip: ChipParams, *, overlap: bool = True
) -> Linked:
    """Streams of every core and unit.

    Cores with a trace memory note what they did at the end of each part, at its number from 1 on as a mark.

    Parameters
    ----------
    parts, emitted : sequence of sequence
        Mappings of each part, and what they were emitted to. A single part has nothing to wait for.
    overlap : bool
        Without, load units do not run ahead: they start a part when all cores are done with the one in front, to the
        last acknowledgement.
    """
    return _Linker(parts, chip, overlap).streams(emitted)


class _Linker:
    def __init__(self, parts: Sequence[Sequence[Mapping]], chip: ChipParams, overlap: bool) -> None:
        self.parts, self.chip, self.overlap = parts, chip, overlap
        self.ahead = PARTS_APART if overlap else 1
        """Load units start a part when the part so many before it is done."""
        self.barriers = Barriers.of(chip)
        self.written = [_written_before(parts, number) for number in range(len(parts))]
        """By part, the last part in front that wrote to DRAM what it reads; -1 for none."""
        self.before_loads = [
            number - (1 if number and _share_weights(parts[number - 1], parts[number]) else self.ahead)
            for number in range(len(parts))
        ]
        """By part, the last one that must be done before it loads anything."""
        self.before_reads = [
            number - 1 if number and _loads_over(parts[number], parts[number - 1]) else self.written[number]
            for number in range(len(parts))
        ]
        """By part, the last one that must be done before it reads tensors."""
        self.awaited = max(map(max, self.before_loads, self.before_reads))
        """The last part for which load units wait."""
        self.passed = -1
        """The last part for which they have waited so far."""

    def streams(self, emitted: Sequence[Sequence[Emitted]]) -> Linked:
        streams: Streams = {(core, unit): [] for core in range(self.chip.n_cores) for unit in Unit}
        borders: dict[tuple[int, Unit], list[int]] = {place: [] for place in streams}
        rates: dict[int, list[float]] = {}
        arriving: dict[int, list[int]] = {core: [] for core in range(self.chip.n_cores)}
        for number, mappings in enumerate(emitted):
            before, reads = self._load_waits(self.before_loads[number]), self._load_waits(self.before_reads[number])
            begins = {core: self._compute_waits(number, core, arriving[core]) for core in range(self.chip.n_cores)}
            arriving = {core: [] for core in range(self.chip.n_cores)}
            for core in range(self.chip.n_cores):
                own = next((part for part in mappings if (core, Unit.LOAD) in part.streams), None)
                computes, stores = (own.streams[core, u] for u in (Unit.COMPUTE, Unit.STORE)) if own else ([], [])
                last = own.last_store[core] if own else {}
                constants, others = _apart(own, core, wait=bool(reads)) if own else ([], [])
                streams[core, Unit.LOAD] += [*before, *constants, *reads, *others]
                streams[core, Unit.COMPUTE] += [*begins[core], *computes]
                streams[core, Unit.STORE] += self._with_data_tokens(number, core, stores, last)
                if told := self._tell_all(number, core):
                    if own is None:  # it is done when it has come there, and so has what others stored to it
                        streams[core, Unit.COMPUTE] += signals([(self.barriers.idle.first, core)])
                        streams[core, Unit.STORE].append(wait(self.barriers.idle))
                    streams[core, Unit.STORE] += told
                for target in last:
                    arriving[target].append(core)
            for core, own_rates in (item for part in mappings for item in part.rates.items()):
                rates.setdefault(core, []).extend(own_rates)
            for place, stream in streams.items():
                borders[place].append(len(stream))
        for core in range(self.chip.n_cores):
            if mark := self._mark(len(self.parts), core):
                streams[core, Unit.COMPUTE].append(encode(Opcode.SYNC, mark=mark))
        return Linked(streams, borders, rates)

    # --- waits --------------------------------------------------------------------------------------------------

    def _compute_waits(self, number: int, core: int, sources: list[int]) -> list[bytes]:
        """Of a compute unit that goes on once the part in front is computed and its data have come from the sources."""
        if not number:
            return []
        ranges = [self.barriers.computed, *ranges_of(self.barriers.data.first + source for source in sources)]
        done = [(self.barriers.done.first, core)] if number - 1 <= self.awaited else []
        return syncs(ranges, done, mark=self._mark(number, core))

    def _mark(self, part: int, core: int) -> int:
        """Mark at the end of so many parts; 0 without one."""
        count = len(self.parts)
        return part if 1 < count < self.chip.cores[core].marks else 0

    def _load_waits(self, part: int) -> list[bytes]:
        """Of a load unit that goes on once a part, and so all parts before, are done."""
        found: list[bytes] = []
        for passed in range(self.passed + 1, part + 1):
            found += waits([self.barriers.done, *([self.barriers.written] if passed in self.written else [])])
        self.passed = max(self.passed, part)
        return found

    # --- signals ------------------------------------------------------------------------------------------------

    def _with_data_tokens(self, number: int, core: int, stores: list[bytes], last: dict[int, int]) -> list[bytes]:
        """The STOREs of a part, the last to each core with a token.

        One to several cores is the last to each of them: they hold the same rows, so that all STOREs are alike to them.
        """
        stores = list(stores)
        for place in set(last.values()) if number < len(self.parts) - 1 else ():
            bits = encode_fields(Opcode.STORE, token_valid=1, token=self.barriers.data.first + core)
            stores[place] = encode(Opcode.STORE, int.from_bytes(stores[place], "little") | bits)
        return stores

    def _tell_all(self, number: int, core: int) -> list[bytes]:
        """What the store unit of a core does so that all cores know that it is done with a part."""
        if number == len(self.parts) - 1:
            return []
        told = self._tell(self.barriers.computed, core, fence=not self.overlap)
        if number in self.written:
            told += self._tell(self.barriers.written, core, fence=True)
        return told

    def _tell(self, counters: Range, core: int, fence: bool = False) -> list[bytes]:
        """Tell all cores, or first the row, and the column once the whole row has told."""
        chip, row = self.chip, self.barriers.row
        (x, y), cores = chip.position(core), range(chip.n_cores)
        if not row.size:
            return signals([(counters.first + core, target) for target in cores], fence)
        others = [other for other in cores if chip.position(other)[1] == y and other != core]
        column = [other for other in cores if chip.position(other)[0] == x and other != core]
        known = ranges_of(row.first + chip.position(other)[0] for other in others)
        return [
            *signals([(row.first + x, other) for other in others], fence),
            *syncs(known, [(counters.first + y, other) for other in (*column, core)]),
        ]


def _apart(part: Emitted, core: int, *, wait: bool) -> tuple[list[bytes], list[bytes]]:
    """LOADs of a core that need not wait for tensors, and the others.

    Constants are loaded early if tensors have to wait; otherwise in the order in which they are needed.
    """
    loads, first = part.streams[core, Unit.LOAD], part.first_read.get(core)
    if first is None:
        return loads, []
    early = part.free_constants.get(core, []) if wait else []
    behind = set(range(first, len(loads))).difference(early)
    return [*loads[:first], *(loads[n] for n in early)], [loads[n] for n in sorted(behind)]


def _written_before(parts: Sequence[Sequence[Mapping]], number: int) -> int:
    """The last part in front of one that wrote to DRAM what it reads; -1 for none."""
    read = [placement for mapping in parts[number] for placement in mapping.work.in_memory]
    for earlier in range(number - 1, -1, -1):
        for mapping in parts[earlier]:
            sink = mapping.work.sink
            if isinstance(sink, MemorySink) and any(sink.placement.overlaps(placement) for placement in read):
                return earlier
    return -1


def _loads_over(part: Sequence[Mapping], before: Sequence[Mapping]) -> bool:
    """Whether tensors go to where the part in front still reads, writes or loads."""
    used = [place for mapping in before for place in _used(mapping)]
    return any(
        mapping.budget.act.first < end and first < mapping.budget.act.end
        for mapping in part
        if mapping.work.in_memory
        for first, end in used
    )


def _share_weights(part: Sequence[Mapping], other: Sequence[Mapping]) -> bool:
    """Whether two parts use the same weight scratchpad."""
    ranges = [[mapping.budget.weight for mapping in mappings] for mappings in (part, other)]
    return any(one.first < two.end and two.first < one.end for one, two in product(*ranges))


def _used(mapping: Mapping) -> Iterator[Range]:
    """Ranges of the activation scratchpads that a mapping uses."""
    work = mapping.work
    if work.in_memory:
        yield mapping.budget.act
    residences = [work.source, None if work.residual is None else work.residual.source]
    for source in residences:
        if isinstance(source, ResidentSource):
            yield _place(source.residence)
    yield from map(_place, work.sink.residences)


def _place(residence: Residence) -> Range:
    return Range(residence.addr, residence.addr + residence.nbytes)
