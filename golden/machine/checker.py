"""Words in which rules of instructions are written: a core, a unit and an opcode, and what must hold of them."""

from golden.machine.operands import Fields
from golden.machine.state import CoreState
from rtl.contract.isa import Opcode, TrafficClass, Unit
from rtl.contract.params import ChipParams
from rtl.contract.regs import ErrorCode

__all__ = ["Checker"]


class Checker:
    """Who asks about an instruction, so that a rule reads as one line."""

    def __init__(self, core: CoreState, chip: ChipParams, unit: Unit, opcode: Opcode) -> None:
        self.core, self.chip, self.unit, self.opcode = core, chip, unit, opcode

    def require(self, condition: bool, what: str, code: ErrorCode = ErrorCode.ILLEGAL_FIELD) -> None:
        if not condition:
            raise self.core.fault(code, self.unit, f"{self.opcode.name}: {what}")

    def nonzero(self, fields: Fields, *names: str) -> None:
        for name in names:
            self.require(fields[name] != 0, f"{name} is 0")

    def token(self, token: int) -> None:
        self.require(token < self.chip.tokens, f"no token {token} among {self.chip.tokens}")

    def a_core(self, core: int) -> None:
        self.require(core < self.chip.n_cores, f"no core {core} among {self.chip.n_cores}")

    def memory(self, fields: Fields) -> None:
        count = len(self.chip.memory_nodes)
        self.require(fields["memory"] < count, f"no memory node {fields['memory']} among {count}")
        self.require(fields["traffic"] < len(TrafficClass), f"no traffic class {fields['traffic']}")

    def aligned(self, address: int) -> None:
        size = self.chip.link_bytes
        self.require(address % size == 0, f"DRAM address {address:#x}, flits of {size} bytes", ErrorCode.MISALIGNED)

    def accumulators(self, base: int, pixels: int) -> None:
        """A region lies in one bank, and so inside the memory."""
        bank, entries = self.core.params.acc_bank_entries, self.core.params.acc_entries
        inside = base < entries and base % bank + pixels <= bank
        what = f"accumulators {base}..{base + pixels - 1}, banks of {bank}, {entries} in all"
        self.require(inside, what, ErrorCode.ACC_RANGE)

    def parameters(self, base: int, blocks: int) -> None:
        have = self.core.params.param_blocks
        what = f"parameter blocks {base}..{base + blocks - 1} of {have}"
        self.require(base + blocks <= have, what, ErrorCode.PARAM_RANGE)
