"""Hand-written programs: instructions by name into the streams of the units, and into memory."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from golden.machine import Machine, Result
from rtl.contract.codec import encode
from rtl.contract.isa import INSTRUCTION_BYTES, Opcode, Unit
from rtl.contract.params import ChipParams

__all__ = ["Assembler"]

Wait = int | tuple[int, int]
Signal = tuple[int, int] | None


class Assembler:
    """Collects the instruction streams of a chip; END is added at the end of each."""

    def __init__(self, chip: ChipParams) -> None:
        self.chip = chip
        self.streams: dict[tuple[int, Unit], list[bytes]] = {(c, u): [] for c in range(chip.n_cores) for u in Unit}

    def emit(
        self,
        at: int,
        unit: Unit,
        opcode: Opcode,
        /,
        wait: Sequence[Wait] = (),
        signal: Sequence[Signal] = (),
        **fields: Any,
    ) -> None:
        """Append an instruction to the stream of a unit of core `at`.

        Parameters
        ----------
        wait : up to three of token or (first, count)
        signal : up to three of (token, core) or None
        """
        for i, entry in enumerate(wait):
            first, count = entry if isinstance(entry, tuple) else (entry, 1)
            fields |= {f"wait{i}_first": first, f"wait{i}_count": count}
        for i, target in enumerate(signal):
            if target is not None:
                fields |= {f"signal{i}_valid": 1, f"signal{i}_token": target[0], f"signal{i}_core": target[1]}
        self.streams[at, unit].append(encode(opcode, **fields))

    def load(self, at: int, /, *, cores: Sequence[int] | None = None, token: int | None = None, **fields: Any) -> None:
        """LOAD to `cores` (default: itself), one run unless told otherwise, completing with `token`."""
        mask = sum(1 << c for c in ([at] if cores is None else cores))
        if token is not None:
            fields |= {"token_valid": 1, "token": token}
        self.emit(at, Unit.LOAD, Opcode.LOAD, **{"cores": mask, "runs": 1, "traffic": 1, **fields})

    def setup(self, at: int, /, **fields: Any) -> None:
        """SETUP of a 1x1 kernel unless told otherwise."""
        unit = {
            "kernel_h": 1,
            "kernel_w": 1,
            "stride_h": 1,
            "stride_w": 1,
            "dilation_h": 1,
            "dilation_w": 1,
            "out_w": 1,
            "in_w": 1,
        }
        self.emit(at, Unit.COMPUTE, Opcode.SETUP, **{**unit, **fields})

    def compute(self, at: int, /, **fields: Any) -> None:
        self.emit(at, Unit.COMPUTE, Opcode.COMPUTE, **{"blocks": 1, "out_h": 1, "in_h": 1, **fields})

    def store(self, at: int, /, **fields: Any) -> None:
        """STORE of one pixel, all lanes, no clamping, unless told otherwise."""
        lanes = self.chip.cores[at].drain_lanes(self.chip.link_bytes)
        usual = {"pixels": 1, "groups": 1, "lanes": lanes, "lo": -128, "hi": 127, "traffic": 2}
        self.emit(at, Unit.STORE, Opcode.STORE, **{**usual, **fields})

    def table(self, at: int, /, **fields: Any) -> None:
        self.emit(at, Unit.STORE, Opcode.TABLE, **fields)

    def pool(self, at: int, /, **fields: Any) -> None:
        """POOL of a 1x1 window over a 1x1 map unless told otherwise."""
        names = ("kernel_h", "kernel_w", "stride_h", "stride_w", "in_h", "in_w", "out_w")
        self.emit(at, Unit.STORE, Opcode.POOL, **{**dict.fromkeys(names, 1), **fields})

    def sync(self, at: int, unit: Unit, /, **fields: Any) -> None:
        self.emit(at, unit, Opcode.SYNC, **fields)

    def place(self, memory: np.ndarray, base: int) -> int:
        """Write all streams into memory from `base` on; returns the stride."""
        longest = max(map(len, self.streams.values())) + 1
        stride = -(-longest * INSTRUCTION_BYTES // 64) * 64
        for (core, unit), stream in self.streams.items():
            code = b"".join([*stream, encode(Opcode.END)])
            at = base + (3 * core + unit) * stride
            memory[at : at + len(code)] = np.frombuffer(code, np.uint8)
        return stride

    def run(self, memory: np.ndarray, base: int | None = None, **options: Any) -> Result:
        """Place at `base` (default: the second half of memory) and run on the machine."""
        base = len(memory) // 2 if base is None else base
        return Machine(self.chip).run(memory, base, self.place(memory, base), **options)
