"""COMPUTE: the engine of the last SETUP adds up operands, and its sums go into the accumulators later."""

from dataclasses import dataclass

from golden.machine.engines import Sums, engine_of
from golden.machine.operands import Fields
from golden.machine.state import CoreState
from rtl.contract.regs import CoreCounter

__all__ = ["Update", "commit", "compute"]


@dataclass(frozen=True, eq=False)
class Update:
    """Accumulator update of a COMPUTE, to be written once its pipeline has run dry."""

    acc_base: int
    accumulate: bool
    sums: Sums


def compute(core: CoreState, fields: Fields) -> Update:
    """Read all operands of a COMPUTE, whose fields are checked, and work out its accumulator update.

    Raises
    ------
    Fault
        WEIGHT_RANGE or ACT_RANGE.
    """
    geometry = core.geometry
    assert geometry is not None
    spec, engine = engine_of(geometry["engine"])
    sums = engine.run(core, geometry, fields)
    passes, pixels = engine.extent(geometry, fields)
    core.counts[spec.pixels_counter] += passes * pixels
    core.counts[CoreCounter.PASSES] += passes
    # An update of each output pixel in each pass; the first pass of one that does not accumulate only writes.
    updates = len(sums.values)
    core.counts[CoreCounter.ACC_WRITES] += passes * updates
    core.counts[CoreCounter.ACC_READS] += (passes if fields["accumulate"] else passes - 1) * updates
    return Update(fields["acc_base"], bool(fields["accumulate"]), sums)


def commit(core: CoreState, update: Update) -> None:
    """Write a finished update into the accumulators."""
    sums = update.sums
    pixels, lanes = sums.values.shape
    region = slice(update.acc_base, update.acc_base + pixels)
    acc, defined = core.acc[region], core.acc_defined[region]
    if update.accumulate:
        sums.combine(acc[:, :lanes], sums.values, out=acc[:, :lanes])
    else:
        acc[:, :lanes] = sums.values
        defined[:, :lanes] = True
    acc[:, lanes:] = core.undefined
    defined[:, lanes:] = False
