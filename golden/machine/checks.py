"""Rules that an instruction must keep before its unit starts on it.

Order of the checks, so that an instruction with several faults has one answer: opcode, waits, signals,
the fields of the instruction, alignment, then ranges. Rules that only one engine has stand in its file
(`golden.machine.engines`). Addresses of activations and weights of a COMPUTE are checked where they are read
(`golden.machine.operands`); a LOAD's and a remote STORE's target addresses where the flits arrive
(`CoreState.write_flits`).
"""

from collections.abc import Callable

from golden.machine.checker import Checker
from golden.machine.engines import MODELS
from golden.machine.operands import Fields
from golden.machine.state import CoreState
from rtl.contract.codec import store_cores, table_blocks
from rtl.contract.engines import ENGINES
from rtl.contract.isa import Opcode, Unit
from rtl.contract.params import ChipParams
from rtl.contract.regs import ErrorCode

__all__ = ["check_fields", "check_prefix"]

_ALLOWED = {
    Unit.LOAD: {Opcode.END, Opcode.SYNC, Opcode.LOAD},
    Unit.COMPUTE: {Opcode.END, Opcode.SYNC, Opcode.SETUP, Opcode.COMPUTE},
    Unit.STORE: {Opcode.END, Opcode.SYNC, Opcode.STORE, Opcode.POOL, Opcode.TABLE},
}


def check_prefix(core: CoreState, chip: ChipParams, unit: Unit, opcode: Opcode, fields: Fields) -> None:
    """Check opcode and wait ranges: what must be right before an instruction can wait."""
    check = Checker(core, chip, unit, opcode)
    check.require(opcode in _ALLOWED[unit], "not for this unit", ErrorCode.ILLEGAL_OPCODE)
    for i in range(3):
        first, count = fields[f"wait{i}_first"], fields[f"wait{i}_count"]
        what = f"waits for tokens {first}..{first + count - 1} of {chip.tokens}"
        check.require(count == 0 or first + count <= chip.tokens, what)


def check_fields(core: CoreState, chip: ChipParams, unit: Unit, opcode: Opcode, fields: Fields) -> None:
    """Check everything else that the instruction alone decides."""
    check = Checker(core, chip, unit, opcode)
    if "signal0_valid" in fields:
        for i in range(3):
            if fields[f"signal{i}_valid"]:
                check.token(fields[f"signal{i}_token"])
                check.a_core(fields[f"signal{i}_core"])
    rule = _RULES.get(opcode)
    if rule is not None:
        rule(check, fields)


def _sync(check: Checker, fields: Fields) -> None:
    check.require(not fields["fence"] or check.unit == Unit.STORE, "only the store unit has a fence")
    mark, marks = fields["mark"], check.core.params.marks
    if mark and marks:
        check.require(check.unit == Unit.COMPUTE, f"mark {mark}, only the compute unit has marks")
        check.require(mark <= marks, f"mark {mark}, the trace memory has entries for 1..{marks}")


def _load(check: Checker, fields: Fields) -> None:
    check.nonzero(fields, "cores", "runs", "run_flits")
    check.a_core(fields["cores"].bit_length() - 1)
    check.memory(fields)
    check.scratchpad(fields["space"])
    if fields["token_valid"]:
        check.token(fields["token"])
    check.aligned(fields["dram_addr"])


def _setup(check: Checker, fields: Fields) -> None:
    check.nonzero(fields, "kernel_h", "kernel_w", "out_w")
    spec = ENGINES.by_code(fields["engine"])
    check.require(spec is not None, f"no engine {fields['engine']}")
    assert spec is not None
    check.require(spec.name in check.core.params.engines, f"the core has no engine {spec.name}")
    unknown = fields["options"] >> spec.options.size
    check.require(unknown == 0, f"options {fields['options']:#x}, {spec.name} has {spec.options.size} bits of them")
    MODELS[spec.name].check_setup(check, fields)


def _compute(check: Checker, fields: Fields) -> None:
    geometry = check.core.geometry
    check.require(geometry is not None, "comes before any SETUP")
    assert geometry is not None
    check.nonzero(fields, "blocks", "out_h")
    core, spec = check.core.params, ENGINES.by_code(geometry["engine"])
    if spec is not None and spec.lists is not None:
        most, rounds = spec.lists.rounds(core), fields["rounds"]
        check.require(rounds <= most, f"lists of {rounds} rounds, {spec.name} holds {most}")
    cols = core.cols
    check.require(fields["weight_base"] % cols == 0, f"weight_base is not a multiple of {cols}")
    check.accumulators(fields["acc_base"], fields["out_h"] * geometry["out_w"])


def _store(check: Checker, fields: Fields) -> None:
    core, size = check.core.params, check.chip.link_bytes
    check.nonzero(fields, "pixels", "groups", "lanes")
    lanes, groups = core.drain_lanes(size), core.drain_groups(size)
    check.require(fields["groups"] <= groups, f"{fields['groups']} groups, an entry drains in {groups}")
    check.require(fields["lanes"] <= lanes, f"{fields['lanes']} lanes, the unit has {lanes}")
    check.require(fields["lane_offset"] + fields["lanes"] <= size, "lanes beyond the flit")
    if fields["to_core"]:
        targets = store_cores(fields, core)
        check.a_core(targets[-1])
        planes = {check.chip.cores[target].act_groups(size) for target in targets}
        alike = not fields["planar"] or len(planes) == 1
        check.require(alike, f"planar, for cores {list(targets)}, whose act_groups differ")
        check.scratchpad(fields["space"])
        if fields["token_valid"]:
            check.token(fields["token"])
    else:
        check.memory(fields)
        check.aligned(fields["addr"])
    entries = fields["pixels"]
    if fields["pooled"]:
        pool = check.core.pool
        check.require(pool is not None, "pooled, and comes before any POOL")
        assert pool is not None
        entries = pool["in_h"] * pool["in_w"]
    check.accumulators(fields["acc_base"], entries)
    check.parameters(fields["param_base"], fields["groups"])


def _table(check: Checker, fields: Fields) -> None:
    check.parameters(fields["param_base"], table_blocks(check.chip.link_bytes))


def _pool(check: Checker, fields: Fields) -> None:
    check.nonzero(fields, "kernel_h", "kernel_w", "stride_h", "stride_w", "in_h", "in_w", "out_w")
    for pad, kernel in (("pad_top", "kernel_h"), ("pad_left", "kernel_w")):
        check.require(fields[pad] < fields[kernel], f"{pad} {fields[pad]} reaches over a kernel of {fields[kernel]}")


_RULES: dict[Opcode, Callable[[Checker, Fields], None]] = {
    Opcode.SYNC: _sync,
    Opcode.LOAD: _load,
    Opcode.SETUP: _setup,
    Opcode.COMPUTE: _compute,
    Opcode.STORE: _store,
    Opcode.POOL: _pool,
    Opcode.TABLE: _table,
}
