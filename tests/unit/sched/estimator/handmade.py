"""Hand-made programs for tests of the estimator, and coefficients with which everything takes its own time only."""

from dataclasses import dataclass

from estimator import Coefficients, MemoryTiming, Unrated
from rtl.contract.codec import encode
from rtl.contract.isa import Opcode, Space, TrafficClass, Unit
from rtl.contract.params import ChipParams, default_chip

__all__ = ["EXACT", "FOUR", "ONE", "QUICK", "SETUP", "TWO", "Handmade", "compute", "load"]

EXACT = Coefficients.load().with_values(
    {name: 0.0 for name in Coefficients.load().values() if name != "load_issue"}
)  # fmt: skip
"""Everything takes its own time only."""

ONE, TWO, FOUR = (default_chip(cores) for cores in (1, 2, 4))
QUICK = MemoryTiming(0)
SETUP = encode(Opcode.SETUP, kernel_h=3, kernel_w=3, stride_h=1, stride_w=1, out_w=20, in_w=20)


@dataclass(frozen=True)
class Handmade(Unrated):
    """Streams of core 0; END is added, and to all other streams."""

    chip: ChipParams
    load: tuple[bytes, ...] = ()
    compute: tuple[bytes, ...] = ()
    store: tuple[bytes, ...] = ()

    @property
    def streams(self) -> dict[tuple[int, Unit], list[bytes]]:
        end = encode(Opcode.END)
        all_streams = {(core, unit): [end] for core in range(self.chip.n_cores) for unit in Unit}
        for unit, stream in zip(Unit, (self.load, self.compute, self.store), strict=True):
            all_streams[0, unit] = [*stream, end]
        return all_streams


def compute(**fields: int) -> bytes:
    return encode(Opcode.COMPUTE, **{"blocks": 2, "out_h": 10, "in_h": 10, **fields})


def load(**fields: int) -> bytes:
    values = {"cores": 1, "runs": 1, "run_flits": 1000, "space": Space.ACT, "traffic": TrafficClass.IFMAP}
    return encode(Opcode.LOAD, **{**values, **fields})
