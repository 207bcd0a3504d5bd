"""Actions of a chip's components: how often each is done in a launch, and which constant is its price.

Names are those of an energy reference table: equal cores share a component, ``chip.core_<kind>.<part>``, as they share
a Verilog module. Idle lanes and padding are counted, for the hardware computes them.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from estimator.energy.constants import SIZED, ConstantSet
from estimator.events import UPDATES, Events
from rtl.contract.engines import ENGINES
from rtl.contract.params import ChipParams, CoreParams
from rtl.contract.regs import CoreCounter, EngineCounter, EventCounter

__all__ = ["CLASSES", "Action", "actions_of"]

CLASSES: tuple[str, ...] = (
    "mac", "registers", "activations", "weights", "accumulators", "post-processing", "instructions", "network", "dram",
    "static",
)  # fmt: skip
"""What energy is spent on, for reports."""

Count = Callable[[Events, float], float]
"""How often an action is done: events of a launch, and its cycles."""


@dataclass(frozen=True, eq=False)
class Action:
    """One action of one component.

    Attributes
    ----------
    component, name : str
    of : str
        One of `CLASSES`.
    constant : str
        One of `estimator.energy.constants.CONSTANTS`.
    amount : float
        Of what the constant is for, in one action: bytes, lanes, or 1.
    bank_bytes : float
        Size of the memory bank that is accessed, where the constant grows with it.
    count : Count
    """

    component: str
    name: str
    of: str
    constant: str
    amount: float
    count: Count
    bank_bytes: float = 0.0

    def price(self, constants: ConstantSet) -> float:
        """Energy of one action, in the set's unit."""
        constant = constants.constants[self.constant]
        each = constant.sized(self.bank_bytes) if self.constant in SIZED else constant.value
        return self.amount * each


def actions_of(chip: ChipParams) -> tuple[Action, ...]:
    """All actions of a chip; together they price every event."""
    kinds = list(dict.fromkeys(chip.cores))
    found: list[Action] = []
    for number, core in enumerate(kinds):
        members = [index for index, other in enumerate(chip.cores) if other == core]
        found += _of_core(f"chip.core_{number}", core, members, chip.link_bytes)
    size = float(chip.link_bytes)
    return (
        *found,
        Action("chip.router", "flit", "network", "router_byte", size, lambda e, _: e.routes.into.total()),
        Action("chip.link", "flit", "network", "link_byte", size, lambda e, _: e.routes.hops),
        Action("chip.dram", "read_byte", "dram", "dram_read_byte", 1.0, lambda e, _: e.read_bytes.total()),
        Action("chip.dram", "write_byte", "dram", "dram_write_byte", 1.0, lambda e, _: e.write_bytes.total()),
    )


def _of_core(name: str, core: CoreParams, members: Sequence[int], link_bytes: int) -> list[Action]:
    """Actions of equal cores together."""

    def count(*counters: int) -> Count:
        return lambda events, _: sum(events.counts[core][number] for core in members for number in counters)

    def memory(part: str, of: str, bank: float, read: tuple[float, Count], write: tuple[float, Count]) -> list[Action]:
        return [
            Action(f"{name}.{part}", what, of, f"sram_{what}_byte", nbytes, times, bank)
            for what, (nbytes, times) in (("read", read), ("write", write))
        ]

    entry, lanes, flit = 4.0 * core.cols, core.drain_lanes(link_bytes), float(link_bytes)
    found = [
        Action(f"{name}.weights", "load_row", "registers", "register_byte", 2.0 * core.cols,
               count(CoreCounter.WEIGHT_READS)),
        *memory("act", "activations", core.act_bytes / 2,
                (core.act_word_bytes(link_bytes), count(CoreCounter.ACT_READS, EventCounter.ACT_SPLIT_READS)),
                (flit, count(CoreCounter.ACT_WRITES))),
        *memory("weight", "weights", core.weight_bytes / 2,
                (core.cols, count(CoreCounter.WEIGHT_READS)), (flit, count(CoreCounter.WEIGHT_WRITES))),
        *memory("acc", "accumulators", core.acc_bank_entries * entry,
                (entry, count(CoreCounter.ACC_READS)), (entry, count(CoreCounter.ACC_WRITES))),
        Action(f"{name}.acc", "add", "accumulators", "add", core.cols, count(CoreCounter.ACC_WRITES)),
        *memory("param", "post-processing", 8.0 * core.param_blocks * link_bytes,
                (flit, count(EventCounter.PARAM_READS)), (flit, count(EventCounter.PARAM_WRITES))),
        *memory("table", "post-processing", 256.0,
                (lanes, count(EventCounter.TABLE_READS)), (lanes, count(EventCounter.TABLE_WRITES))),
        Action(f"{name}.post", "flit", "post-processing", "requantise", lanes, count(EventCounter.POST_FLITS)),
        Action(f"{name}.units", "instruction", "instructions", "instruction", 1.0, count(CoreCounter.INSTRUCTIONS)),
        Action(f"{name}.all", "cycle", "static", "core_cycle", len(members), lambda _, cycles: cycles),
    ]  # fmt: skip
    for engine in core.engines:
        found += _of_engine(f"{name}.{engine}", engine, core, count)
    return found


def _of_engine(name: str, engine: str, core: CoreParams, count: Callable[..., Count]) -> list[Action]:
    """Multiplications, comparisons and registers of an engine; one from outside is priced as a row of its lanes."""
    pixels, lanes = count(ENGINES[engine].pixels_counter), ENGINES[engine].lanes(core)
    if engine == "array":
        # Each PE passes on an activation and a partial sum.
        return [
            Action(name, "mac", "mac", "mac", core.pes, pixels),
            Action(name, "shift", "registers", "register_byte", 5.0 * core.pes, pixels),
        ]
    if engine == "tap":
        # A pixel moves through all columns of the window; an update waits in a register.
        return [
            Action(name, "mac", "mac", "mac", lanes, count(EventCounter.TAP_MACS)),
            Action(name, "maximum", "mac", "maximum", lanes, count(EventCounter.TAP_MAXIMA)),
            Action(name, "shift", "registers", "register_byte", lanes * (core.tap_columns + 4.0), pixels),
        ]
    if engine == "sparse":
        return _of_sparse(name, core, count)
    return [
        Action(name, "mac", "mac", "mac", lanes, pixels),
        Action(name, "shift", "registers", "register_byte", 5.0 * lanes, pixels),
    ]


def _of_sparse(name: str, core: CoreParams, count: Callable[..., Count]) -> list[Action]:
    """Actions of the sparse engine: by pair, by item (its pixels are items), and by update.

    A pair takes a weight from the PE's list, an activation from a slot, clears its bit of the mask, and adds to a sum
    of 32 bits. An item takes the masks of all PEs out of their memory and goes into a slot with them: R activations of
    9 bits, less zero, and a bit for each of R x C weights. An update takes the sums of all PEs through a register of
    their own, and adds up the lanes.
    """
    spec = ENGINES["sparse"]
    items, updates = count(spec.pixels_counter), count(UPDATES + spec.code)
    masks = core.rows * core.cols / 8
    positions = core.rows * core.cols / (core.sparse_lanes * core.sparse_columns)
    pair = 1.0 + 1.0 + positions / 8 + 4.0
    return [
        Action(name, "mac", "mac", "mac", 1.0, count(EngineCounter.SPARSE_PAIRS)),
        Action(name, "pair", "registers", "register_byte", pair, count(EngineCounter.SPARSE_PAIRS)),
        Action(name, "read_masks", "weights", "sram_read_byte", masks, items, core.sparse_items * masks),
        Action(name, "slot", "registers", "register_byte", core.rows * 9 / 8 + masks, items),
        Action(name, "collect", "registers", "register_byte", 4.0 * core.sparse_lanes * core.cols, updates),
        Action(name, "add", "accumulators", "add", (core.sparse_lanes - 1.0) * core.cols, updates),
    ]
