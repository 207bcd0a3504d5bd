"""What the host sees: control registers, status and error codes, counters. RTL and host driver share it.

AXI4-Lite, 32-bit registers. Counters and debug words are read one at a time: write COUNTER_SELECT
(block << 8 | index), read COUNTER_LOW, then COUNTER_HIGH (48 bits in all; reading is exact while the
chip is stopped). Counters are cleared by a start. A chip on which a core has marks has a third field in
COUNTER_SELECT (entry << 16 | block << 8 | index): the entry of the trace memory that the words of `CoreTrace` show.
"""

from __future__ import annotations

from enum import IntEnum, IntFlag

__all__ = [
    "COUNTER_BITS",
    "DATA_COUNTERS",
    "ENGINE_PIXELS",
    "ID_VALUE",
    "NO_NODE",
    "NO_UNIT",
    "START_CYCLES",
    "STATIC_COUNTERS",
    "BlockKind",
    "Control",
    "CoreCounter",
    "CoreDebug",
    "CoreTrace",
    "EngineCounter",
    "ErrorCode",
    "EventCounter",
    "MemoryCounter",
    "Register",
    "RouterCounter",
    "RouterEvent",
    "Status",
    "UnitState",
    "block_index",
    "compute_counters",
    "router_counters",
]

ID_VALUE = 0x5359_4D31  # "SYM1"
COUNTER_BITS = 48
NO_NODE = 0xFF
"""In ERROR, of a run that no node ended."""
NO_UNIT = 3
"""In ERROR, of an error that no unit made: arriving flits, tokens, program streams."""


class Register(IntEnum):
    """Byte offsets."""

    ID = 0x00
    """Reads ID_VALUE."""
    CONTROL = 0x04
    """Write-only bits of `Control`; reads zero."""
    STATUS = 0x08
    """Bits of `Status`."""
    ERROR = 0x0C
    """First error: code in bits 7:0 (`ErrorCode`), node in 15:8 (or NO_NODE), unit in 17:16 (or NO_UNIT)."""
    PROGRAM_BASE = 0x10
    """Byte address of the first instruction stream (a multiple of 64)."""
    PROGRAM_STRIDE = 0x14
    """Bytes from one stream to the next; stream of core i, unit u is number 3*i + u."""
    WATCHDOG = 0x18
    """Cycles without any progress after which the run ends in error; 0 switches it off."""
    CYCLES_LOW = 0x1C
    CYCLES_HIGH = 0x20
    """Cycles from start to done (or error, or now)."""
    COUNTER_SELECT = 0x24
    """Index in bits 7:0, block in 15:8 (`block_index`); on a chip with marks, entry of a trace memory in 23:16."""
    COUNTER_LOW = 0x28
    COUNTER_HIGH = 0x2C
    ACTIVE_CORES_LOW = 0x30
    ACTIVE_CORES_HIGH = 0x34
    """Cores that a start starts, a bit each (reset: all)."""


class Control(IntFlag):
    START = 1
    CLEAR_IRQ = 2
    RESET = 4
    """Returns everything but these registers to its state after reset."""


class Status(IntFlag):
    BUSY = 1
    DONE = 2
    ERROR = 4
    IRQ = 8


class ErrorCode(IntEnum):
    """Why a run stopped."""

    NONE = 0
    ILLEGAL_OPCODE = 1
    """Opcode unknown, or not for this unit."""
    ILLEGAL_FIELD = 2
    """A field outside its meaning: a zero count, an unknown core, memory node, token or traffic class."""
    ACT_RANGE = 3
    WEIGHT_RANGE = 4
    ACC_RANGE = 5
    PARAM_RANGE = 6
    """An address outside that memory, by an instruction of this core or a flit sent to it."""
    TOKEN_OVERFLOW = 7
    MISALIGNED = 8
    """A DRAM address that is not a multiple of link_bytes."""
    AXI_READ = 9
    AXI_WRITE = 10
    """The external memory answered with an error."""
    WATCHDOG = 11
    WEIGHT_LISTS = 12
    """Weights of a sparse engine that contradict themselves: lists shorter than their masks, or a lane left out."""


class BlockKind(IntEnum):
    """Order of the blocks in COUNTER_SELECT: all cores, all routers, all memory nodes."""

    CORE = 0
    ROUTER = 1
    MEMORY = 2


def block_index(kind: BlockKind, index: int, n_cores: int) -> int:
    """Block number for COUNTER_SELECT."""
    return (0, n_cores, 2 * n_cores)[kind] + index


class CoreCounter(IntEnum):
    """Counters of a core; cycles unless said otherwise."""

    COMPUTE_STREAM = 0
    """The compute unit issues a pixel."""
    COMPUTE_WAIT_ACT = 1
    COMPUTE_WAIT_WEIGHT = 2
    COMPUTE_WAIT_ACC = 3
    """Its next instruction waits for tokens of range 0, 1 or 2 (the first unmet one counts)."""
    COMPUTE_WEIGHT_STALL = 4
    """A pass waits for its weights to enter the array."""
    COMPUTE_FETCH = 5
    """No instruction is there yet."""
    COMPUTE_OVERHEAD = 6
    """Any other cycle between start and the unit's END."""
    COMPUTE_DONE = 7
    """After the unit's END, until the whole chip is done."""
    ARRAY_PIXELS = 8
    """Pixels sent through the array (events)."""
    TAP_PIXELS = 9
    """Pixels sent through the tap unit (events)."""
    PASSES = 10
    """Passes (events)."""
    LOAD_WAIT = 11
    LOAD_NOC = 12
    """The load unit waits for tokens; for the network."""
    STORE_DRAIN = 13
    """The store unit issues an accumulator entry."""
    STORE_WAIT = 14
    STORE_NOC = 15
    """The store unit waits for tokens; for the network."""
    ACC_CONFLICT = 16
    """A drain read gives way to the engine in the same bank."""
    ACT_READS = 17
    ACT_WRITES = 18
    WEIGHT_READS = 19
    WEIGHT_WRITES = 20
    ACC_READS = 21
    ACC_WRITES = 22
    """Accesses of one word (events)."""
    FLITS_IN = 23
    FLITS_OUT = 24
    INSTRUCTIONS = 25
    """All units (events)."""


ENGINE_PIXELS = (CoreCounter.ARRAY_PIXELS, CoreCounter.TAP_PIXELS, 26, 27, 28, 29, 30, 31)
"""Counter of the pixels sent through an engine (events), by the engine's code; 0 of an engine that a core lacks."""


class EventCounter(IntEnum):
    """Further counters of a core: events alone, which its instructions determine; only with `ChipParams.counters`."""

    TAP_MACS = 48
    """Columns of the tap unit's window that are multiplied and added, in all lanes at once: 1 for an update without a
    window, kernel_w for one with a window."""
    TAP_MAXIMA = 49
    """The same of updates that are maxima."""
    ACT_SPLIT_READS = 50
    """Of ACT_READS, those whose R bytes lie in two words of max(R, link_bytes) bytes."""
    PARAM_READS = 51
    """Flits of parameters: for each group of a STORE those that hold the parameters of drain_lanes channels; for a
    TABLE its 256 bytes."""
    PARAM_WRITES = 52
    """Flits that arrive in the parameter memory."""
    TABLE_READS = 53
    """Flits of a STORE that go through the activation table, in all lanes at once."""
    TABLE_WRITES = 54
    """Entries of the activation table written, in all lanes at once."""
    FLITS_TO_CORES = 55
    """Of FLITS_OUT, those of packets to cores: data of STOREs, and signals; to several cores at once counts once."""
    POST_FLITS = 56
    """Flits of STOREs that post-processing makes, in all lanes at once."""


class EngineCounter(IntEnum):
    """Counters of one engine, which every core with it has.

    The first two are events, which instructions and data determine, whatever the timing. PE-cycles are cycles, each
    counted once for every PE in it; those of an engine at work are the first four together.
    """

    SPARSE_PAIRS = 57
    """Products."""
    SPARSE_EMPTY = 58
    """Items without a pair, each counted once for every PE that has none: PE-cycles, too."""
    SPARSE_STARVED = 59
    """PE-cycles in which a PE waits for an item, while any item or update is under way."""
    SPARSE_BLOCKED = 60
    """PE-cycles in which a PE is done with the last item of a pixel, and its sums of the pixel before are still to be
    collected."""
    SPARSE_FULL = 61
    """Cycles in which an item waits for a slot, or for the slowest PE to be no more than ``run_ahead`` items behind."""


STATIC_COUNTERS = frozenset({
    CoreCounter.INSTRUCTIONS, CoreCounter.PASSES, *ENGINE_PIXELS, CoreCounter.STORE_DRAIN, CoreCounter.ACT_READS,
    CoreCounter.ACT_WRITES, CoreCounter.WEIGHT_READS, CoreCounter.WEIGHT_WRITES, CoreCounter.ACC_READS,
    CoreCounter.ACC_WRITES, *EventCounter,
})  # fmt: skip
"""Numbers of the counters of a core that its program decides, whatever the data and the timing.

So are FLITS_IN and FLITS_OUT, but for the blocks of instructions that its fetch unit reads behind an END."""


DATA_COUNTERS = frozenset({EngineCounter.SPARSE_PAIRS, EngineCounter.SPARSE_EMPTY})
"""Numbers of the counters of a core that its program and its data decide, whatever the timing."""


class UnitState(IntEnum):
    """What a unit's issue stage does."""

    DECODE = 0
    """It takes the next instruction, or waits for it to be fetched."""
    WAIT = 1
    """An instruction waits for tokens, or for the unit."""
    ENDED = 2
    FAILED = 3


class CoreDebug(IntEnum):
    """State words of a core, behind the counters, for the report on a hung run."""

    LOAD_STATE = 32
    COMPUTE_STATE = 33
    STORE_STATE = 34
    """Bits 3:0 opcode of the current instruction, 7:4 `UnitState`, 10:8 unmet waits, 47:16 instructions done."""
    TOKENS_NONZERO_LOW = 35
    TOKENS_NONZERO_HIGH = 36
    """A bit per token counter; counters 0..47, then 48..95."""
    OUTSTANDING = 37
    """Write packets not yet acknowledged (15:0), program reads under way (31:16)."""


class CoreTrace(IntEnum):
    """Words of a core's trace memory; only where `CoreParams.marks` is not 0, elsewhere they read 0.

    An active core's eight COMPUTE counters grow by one in all in each cycle of a launch but the first, that of the
    start itself. So the cycle of a mark, counted as CYCLES is, is the sum of the words of its entry and START_CYCLES.
    """

    PASSED = 38
    """Marks that the program has passed since the start, one that comes again each time, modulo 256; of no entry."""
    COMPUTE = 40
    """Word COMPUTE + c of an entry: `CoreCounter` c at its mark, for each of the eight COMPUTE counters. The entry of
    mark m is m % marks; one that no mark has written since power-up holds anything."""


START_CYCLES = 1
"""Of CYCLES, those in which a core does not count yet."""


def compute_counters() -> tuple[CoreCounter, ...]:
    """The COMPUTE counters, of which exactly one grows in each cycle, in the order of their numbers from 0 on."""
    return tuple(counter for counter in CoreCounter if counter.name.startswith("COMPUTE_"))


class RouterCounter(IntEnum):
    """Flits sent through each output port, in the order of `rtl.contract.params.Direction`; then blocked cycles."""

    FLITS_LOCAL = 0
    FLITS_NORTH = 1
    FLITS_EAST = 2
    FLITS_SOUTH = 3
    FLITS_WEST = 4
    BLOCKED = 5
    """Cycles in which some flit waits for an output."""


class RouterEvent(IntEnum):
    """Further counter of a router; only with `ChipParams.counters`."""

    FLITS_IN = 6
    """Flits that came in by all input ports: each is buffered once, and leaves by one port or by several."""


def router_counters(*, events: bool) -> dict[str, int]:
    """Numbers of the counters of a router by name; `events`: of a chip with `ChipParams.counters`."""
    return {counter.name: int(counter) for counter in (*RouterCounter, *(RouterEvent if events else ()))}


class MemoryCounter(IntEnum):
    """Bytes by `rtl.contract.isa.TrafficClass` (reads 0..4, writes 8..12), then cycles."""

    READ_BYTES = 0
    WRITE_BYTES = 8
    READ_STALL = 16
    """Read data wait for the network."""
    WRITE_STALL = 17
    """Write data wait for the memory."""
    READ_IDLE = 18
    """No read is under way or queued."""
