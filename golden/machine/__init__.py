"""Bit-exact interpreter of the chip's programs, in NumPy.

It knows `rtl.contract.isa`, `rtl.contract.params` and the codes of `rtl.contract.regs`, and nothing of the RTL or
of the layer mathematics in `golden.int8.ops`: where the three agree, all are right.
"""

from golden.machine.faults import Fault
from golden.machine.machine import Machine
from golden.machine.result import Blocked, Result
from golden.machine.state import TOKEN_MAX, CoreState, fresh_cores

__all__ = ["TOKEN_MAX", "Blocked", "CoreState", "Fault", "Machine", "Result", "fresh_cores"]
