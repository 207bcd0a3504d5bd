"""The one way in which a program goes wrong: an error code, with where and why."""

from rtl.contract.isa import Unit
from rtl.contract.regs import ErrorCode

__all__ = ["Fault"]


class Fault(Exception):
    """Error that stops a run.

    Attributes
    ----------
    code : ErrorCode
    node : int
        The core that reports it, or ``n_cores + m`` for memory node m.
    unit : Unit or None
        The unit whose instruction it is; None for what arrives from the network or happens in a memory node.
    """

    def __init__(self, code: ErrorCode, node: int, unit: Unit | None, why: str) -> None:
        super().__init__(why)
        self.code = code
        self.node = node
        self.unit = unit
