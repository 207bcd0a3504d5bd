"""The parts of a launch behind each other in every stream, and what keeps one part from overtaking another.

Parts share the scratchpads, so a core may neither read what another has not yet stored, nor overwrite what another has
still to read. Two kinds of counters, one of each for every core, see to that (`scheduler.map.budget.Barriers`):

computes
    Behind its last STORE of a part, a core gives every core a token; the token for a core that it stores to comes with
    the last flit. A compute unit starts a part when it has the tokens of the part before from all cores. By then all
    cores have computed that part and all before, and what they stored has arrived: whatever died by then may be
    overwritten, and whatever was stored may be read.
loads
    Behind the same STORE a core tells all load units. These run ahead: they start the loads of a part when all cores
    are done with the part before the one before, whose halves of the weights and parameters it takes over. Tensors may
    have to wait longer: for the part in front, if that still uses the scratchpad to which they go, and if the launch
    itself has written them to DRAM, for the part that did so and the acknowledgement of its bytes.

Nothing waits for a later part, so the order that `scheduler.code.sequence` shows for a part holds for the launch.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from rtl.contract.codec import encode, encode_fields, signal_bits, wait_bits
from rtl.contract.isa import Opcode, Unit
from rtl.contract.params import ChipParams
from scheduler.code.emit import Emitted, Streams
from scheduler.map.budget import Barriers, Range
from scheduler.map.mapping import Mapping
from scheduler.plan.residence import Residence
from scheduler.work.sink import MemorySink, ScratchpadSink
from scheduler.work.source import ResidentSource

__all__ = ["PARTS_APART", "link"]

PARTS_APART = 2
"""A part may take the weight and parameter memory, and the counters, of the part so many before it."""

SIGNALS = 3
"""Of an instruction."""


def link(parts: Sequence[Sequence[Mapping]], emitted: Sequence[Sequence[Emitted]], chip: ChipParams) -> Streams:
    """Streams of every core and unit, without END.

    Parameters
    ----------
    parts, emitted : sequence of sequence
        Mappings of each part, and what they were emitted to. A single part has nothing to wait for.
    """
    return _Linker(parts, chip).streams(emitted)


class _Linker:
    def __init__(self, parts: Sequence[Sequence[Mapping]], chip: ChipParams) -> None:
        self.parts, self.chip = parts, chip
        self.barriers = Barriers.of(chip)
        self.written = [_written_before(parts, number) for number in range(len(parts))]
        """By part, the last part in front that wrote to DRAM what it reads; -1 for none."""
        self.before_reads = [
            number - 1 if number and _loads_over(parts[number], parts[number - 1]) else self.written[number]
            for number in range(len(parts))
        ]
        """By part, the last one that must be done before it reads tensors."""
        self.awaited = max(max(number - PARTS_APART, self.before_reads[number]) for number in range(len(parts)))
        """The last part for which load units wait."""
        self.passed = -1
        """The last part for which they have waited so far."""

    def streams(self, emitted: Sequence[Sequence[Emitted]]) -> Streams:
        streams: Streams = {(core, unit): [] for core in range(self.chip.n_cores) for unit in Unit}
        for number, mappings in enumerate(emitted):
            before, reads = self._load_waits(number - PARTS_APART), self._load_waits(self.before_reads[number])
            for core in range(self.chip.n_cores):
                own = next((part for part in mappings if (core, Unit.LOAD) in part.streams), Emitted())
                loads = own.streams.get((core, Unit.LOAD), [])
                first = own.first_read.get(core, len(loads))
                streams[core, Unit.LOAD] += [*before, *loads[:first], *reads, *loads[first:]]
                streams[core, Unit.COMPUTE] += self._compute_waits(number)
                streams[core, Unit.COMPUTE] += own.streams.get((core, Unit.COMPUTE), [])
                stores = list(own.streams.get((core, Unit.STORE), []))
                streams[core, Unit.STORE] += self._with_signals(number, core, stores, own.last_store.get(core, {}))
        return streams

    # --- waits --------------------------------------------------------------------------------------------------

    def _compute_waits(self, number: int) -> list[bytes]:
        return [_wait(self.barriers.computes[(number - 1) % 2])] if number else []

    def _load_waits(self, part: int) -> list[bytes]:
        """Of a load unit that goes on once a part, and so all parts before, are done."""
        waits = [_wait(self.barriers.loads)] * max(0, part - self.passed)
        self.passed = max(self.passed, part)
        return waits

    # --- signals ------------------------------------------------------------------------------------------------

    def _with_signals(self, number: int, core: int, stores: list[bytes], last: dict[int, int]) -> list[bytes]:
        """The STOREs of a part with what tells the others that they are done."""
        if number == len(self.parts) - 1:
            return stores
        token = self.barriers.computes[number % 2].first + core
        others = []
        for target in range(self.chip.n_cores):
            if target in last:
                bits = encode_fields(Opcode.STORE, token_valid=1, token=token)
                word = int.from_bytes(stores[last[target]], "little") | bits
                stores[last[target]] = encode(Opcode.STORE, word)
            else:
                others.append(target)
        stores += _signals(others, token, fence=False)
        if number <= self.awaited:
            fence = number in self.written
            stores += _signals(range(self.chip.n_cores), self.barriers.loads.first + core, fence)
        return stores


def _wait(counters: Range) -> bytes:
    return encode(Opcode.SYNC, wait_bits(0, counters.first, counters.size))


def _signals(cores: Iterable[int], token: int, fence: bool) -> list[bytes]:
    """A token for each of the cores; with a fence, once all writes are acknowledged."""
    targets, words = list(cores), list[bytes]()
    for first in range(0, len(targets), SIGNALS):
        events = 0
        for number, core in enumerate(targets[first : first + SIGNALS]):
            events |= signal_bits(number, token, core)
        words.append(encode(Opcode.SYNC, events, fence=int(fence and not words)))
    return words


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


def _used(mapping: Mapping) -> Iterator[Range]:
    """Ranges of the activation scratchpads that a mapping uses."""
    work = mapping.work
    if work.in_memory:
        yield mapping.budget.act
    residences = [work.source, None if work.residual is None else work.residual.source]
    for source in residences:
        if isinstance(source, ResidentSource):
            yield _place(source.residence)
    if isinstance(work.sink, ScratchpadSink):
        yield _place(work.sink.residence)


def _place(residence: Residence) -> Range:
    return Range(residence.addr, residence.addr + residence.nbytes)
