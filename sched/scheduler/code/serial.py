"""The serial arm of a mapping: load, compute, store, then the next load; at most one unit of a core works at a time.

The positions of a mapping (`scheduler.code.sequence`) are cut into *phases*, the same on all its cores: as many output
blocks as there are accumulator banks, or fewer steps if a load would take a slot that a step of the same phase still
reads. Instructions stay in their streams, but a unit's order is by phase, and all tokens are given anew:

load -> compute
    Whatever arrives at a core in a phase brings tokens, and its compute unit takes them all before its first COMPUTE,
    behind that of the stores in front: what it waits for is counted as it is.
compute -> store
    The last COMPUTE of a phase lets the store unit go, once its accumulators are written.
store -> load, compute
    Behind the STOREs of a phase, when its writes are acknowledged and what went to cores has left, the store unit lets
    its own compute unit go, and the load unit of every core that loads for this one in the next phase. A load unit
    waits for all cores to which it loads in a phase.

Nothing can deadlock: all that a phase waits for is of the same phase and comes before in the order load, compute,
store, or of an earlier one; and every stream is in the order of phases. So what kept slots, banks and parameters from
being overwritten is implied, and its counters serve for the tokens between store and load units.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence
from itertools import zip_longest

from rtl.contract.codec import encode, encode_fields, fields_of, opcode_of, signal_bits, wait_bits
from rtl.contract.isa import INSTRUCTION_BYTES, Opcode, Space, Unit
from rtl.contract.params import ChipParams
from scheduler.code.emit import Emitted
from scheduler.code.sync import ranges_of, signals, wait, waits
from scheduler.map.budget import Range
from scheduler.map.mapping import Mapping
from scheduler.map.tokens import TokenMap

__all__ = ["phase_starts", "serialise"]

Words = dict[int, list[tuple[int, bytes]]]
"""By phase, instructions with their number in the stream that they come from."""

ACTIVATIONS, WEIGHTS, ACCUMULATORS = range(3)
"""Ranges of a compute unit's wait, by what its stall counters call them (`rtl.contract.isa`)."""

NOTHING = Range(0, 0)

_SYNC = fields_of(Opcode.SYNC)
_LOAD = fields_of(Opcode.LOAD)


def _mask(names: Iterable[str]) -> int:
    fields = [_SYNC[name] for name in names]
    return sum((1 << field.width) - 1 << field.offset for field in fields)


_WAITS = _mask(name for name in _SYNC if name.startswith("wait"))
_SIGNALS = _mask(name for name in _SYNC if name.startswith("signal"))
_TOKEN = encode_fields(Opcode.LOAD, token_valid=1, token=(1 << _LOAD["token"].width) - 1)


def phase_starts(spans: Iterable[tuple[float, int]], block_positions: int, banks: int, end: int) -> list[int]:
    """First positions of the phases of a mapping.

    Parameters
    ----------
    spans : iterable of (float, int)
        Of all loads, the position behind which each may start, and the one at which it is needed.
    block_positions, banks : int
        Positions of an output block, and of how many the accumulators hold the sums.
    end : int
        Behind the last position.
    """
    starts = [0]

    def cut_blocks(position: int) -> None:
        """Begin phases up to that of a position, where nothing but the banks ends them."""
        while (limit := (starts[-1] // block_positions + banks) * block_positions) <= position:
            starts.append(limit)

    for start, needed in sorted(spans, key=lambda span: span[1]):
        cut_blocks(needed)
        if start >= starts[-1]:
            starts.append(needed)
    cut_blocks(end - 1)
    return starts


def serialise(emitted: Emitted, mapping: Mapping, chip: ChipParams) -> Emitted:
    """The same instructions with such tokens; SYNCs come and go."""
    return _Serial(emitted, mapping, chip).emitted()


class _Serial:
    def __init__(self, emitted: Emitted, mapping: Mapping, chip: ChipParams) -> None:
        self.old, self.mapping, self.tokens = emitted, mapping, TokenMap.of(mapping, chip)
        end = 1 + max(position for positions in emitted.positions.values() for position in positions)
        blocks = len(mapping.budget.acc.banks) // mapping.together
        starts = phase_starts(emitted.spans, emitted.block_positions, blocks, end)
        self.words = {place: self._by_phase(place, starts) for place in emitted.streams}
        self.arrivals: dict[tuple[int, int], Counter[tuple[int, int]]] = defaultdict(Counter)
        """Tokens that come with the data of a (core, phase), each behind the range of a wait that is for such data."""
        self.targets: dict[tuple[int, int], set[int]] = {}
        """Cores to which a (core, phase) loads, and itself."""
        for core in mapping.cores:
            for phase in self.words[core, Unit.LOAD]:
                self._keep_last_tokens(core, phase)
        self.phases = {core: self._phases(core) for core in mapping.cores}
        self.awaited: dict[tuple[int, int], list[int]] = defaultdict(list)
        """Counters for which the loads of a (core, phase) wait."""
        self.told: dict[tuple[int, int], list[tuple[int, int]]] = defaultdict(list)
        """Tokens (counter, core) that end a (core, phase)."""
        self._let_loads_go()

    def emitted(self) -> Emitted:
        out = Emitted(self.old.block_positions, rates=self.old.rates)
        for core in self.mapping.cores:
            out.streams[core, Unit.LOAD] = list(self._loads(core))
            out.streams[core, Unit.COMPUTE] = list(self._computes(core))
            out.streams[core, Unit.STORE], out.last_store[core] = self._stores(core)
            if core in self.old.first_read:
                out.first_read[core] = 0
        return out

    # --- phases -------------------------------------------------------------------------------------------------

    def _by_phase(self, place: tuple[int, Unit], starts: Sequence[int]) -> Words:
        """Instructions of a stream without waits and signals; SYNCs, which have nothing else, are left out."""
        found: Words = {}
        stream = zip(self.old.positions[place], self.old.streams[place], strict=True)
        for number, (position, word) in enumerate(stream):
            if (opcode := opcode_of(word)) != Opcode.SYNC:
                phase = bisect_right(starts, position) - 1
                found.setdefault(phase, []).append((number, _without_events(word, opcode)))
        return dict(sorted(found.items()))

    def _phases(self, core: int) -> list[int]:
        """In which something arrives at a core, or it computes or stores."""
        found = {phase for target, phase in self.arrivals if target == core}
        return sorted(found.union(self.words[core, Unit.COMPUTE], self.words[core, Unit.STORE]))

    def _keep_last_tokens(self, core: int, phase: int) -> None:
        """Loads from one memory node to the same cores arrive in order: the last one's token stands for all."""
        words = self.words[core, Unit.LOAD][phase]
        loads = [int.from_bytes(word, "little") for _, word in words]
        last = {(_field(load, "memory"), _field(load, "cores")): place for place, load in enumerate(loads)}
        self.targets[core, phase] = {core}
        for (_, cores), place in last.items():
            assert _field(loads[place], "token_valid"), "the last load of a phase brings no token"
            targets = [target for target in self.mapping.cores if cores >> target & 1]
            self.targets[core, phase].update(targets)
            kind = ACTIVATIONS if _field(loads[place], "space") == Space.ACT else WEIGHTS
            for target in targets:
                self.arrivals[target, phase][kind, _field(loads[place], "token")] += 1
        ends = set(last.values())
        for place, (number, word) in enumerate(words):
            words[place] = number, word if place in ends else _without(word, _TOKEN)

    def _let_loads_go(self) -> None:
        """Loads wait for the last phase in front of every core to which they go, unless they have done so."""
        for core in self.mapping.cores:
            phases = self.words[core, Unit.LOAD]
            members = sorted(set().union(*(self.targets[core, phase] for phase in phases)))
            seen: dict[int, int] = {}
            for phase in phases:
                for target in sorted(self.targets[core, phase]):
                    place = bisect_left(self.phases[target], phase) - 1
                    before = self.phases[target][place] if place >= 0 else -1
                    if before > seen.get(target, -1):
                        seen[target] = before
                        counter = self.tokens.act_free + members.index(target)
                        assert counter < self.tokens.param_free, "too few counters"
                        self.awaited[core, phase].append(counter)
                        self.told[target, before].append((counter, core))

    # --- streams ------------------------------------------------------------------------------------------------

    def _loads(self, core: int) -> Iterator[bytes]:
        for phase, words in self.words[core, Unit.LOAD].items():
            yield from waits(ranges_of(self.awaited[core, phase]))
            yield from (word for _, word in words)

    def _computes(self, core: int) -> Iterator[bytes]:
        done = signal_bits(2, self.tokens.acc_ready, core)
        for phase in self.phases[core]:
            if phase != self.phases[core][0]:
                yield encode(Opcode.SYNC, wait_bits(ACCUMULATORS, self.tokens.acc_free, 1))
            yield from _arrived(self.arrivals[core, phase])
            words = [word for _, word in self.words[core, Unit.COMPUTE].get(phase, [])]
            yield from words[:-1]
            yield _with(words[-1], done) if words else signals([(self.tokens.acc_ready, core)])[0]

    def _stores(self, core: int) -> tuple[list[bytes], dict[int, int]]:
        """Instructions, and the number of the last STORE to each core that they store to."""
        out: list[bytes] = []
        numbers: dict[int, int] = {}
        computed = wait_bits(0, self.tokens.acc_ready, 1)
        for phase in self.phases[core]:
            words = self.words[core, Unit.STORE].get(phase, [])
            numbers.update((number, len(out) + place) for place, (number, _) in enumerate(words))
            out += [_with(word, 0 if place else computed) for place, (_, word) in enumerate(words)]
            if not words:
                out.append(wait(Range(self.tokens.acc_ready, self.tokens.acc_ready + 1)))
            told = self.told[core, phase]
            if phase != self.phases[core][-1]:
                told = [(self.tokens.acc_free, core), *told]
            out += signals(told, fence=True)
        return out, {target: numbers[number] for target, number in self.old.last_store[core].items()}


def _arrived(tokens: Counter[tuple[int, int]]) -> Iterator[bytes]:
    """Waits for tokens, of which some may come several times."""
    left = Counter(tokens)
    while left:
        kinds = (ranges_of(token for of, token in left if of == kind) for kind in (ACTIVATIONS, WEIGHTS))
        yield from (wait(*pair) for pair in zip_longest(*kinds, fillvalue=NOTHING))
        left -= Counter(dict.fromkeys(left, 1))


def _field(bits: int, name: str) -> int:
    """A field of a LOAD."""
    place = _LOAD[name]
    return bits >> place.offset & (1 << place.width) - 1


def _without_events(word: bytes, opcode: Opcode) -> bytes:
    return _without(word, _WAITS | (_SIGNALS if "signal0_valid" in fields_of(opcode) else 0))


def _without(word: bytes, mask: int) -> bytes:
    return (int.from_bytes(word, "little") & ~mask).to_bytes(INSTRUCTION_BYTES, "little")


def _with(word: bytes, bits: int) -> bytes:
    return (int.from_bytes(word, "little") | bits).to_bytes(INSTRUCTION_BYTES, "little")
