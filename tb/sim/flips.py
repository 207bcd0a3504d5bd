"""Single bits of the running chip, or of its memory, inverted at a given cycle: upsets, as radiation causes them.

A model built with ``open_state=True`` (Verilator) gives access to the registers of the datapath, found in the emitted
Verilog by tb/model/registers.py, and to all RAMs of the cores.
"""

from __future__ import annotations

import ctypes
import random
import re
from dataclasses import dataclass
from typing import Any

import numpy as np

from tb.sim.driver import TransportError

__all__ = ["TARGETS", "State"]

_TARGETS = {
    "activations": r"\.logic\.act\.(even|odd)\.ram\.mem$",
    "weights": r"\.logic\.weight\.(even|odd)\.ram\.mem$",
    "accumulators": r"\.logic\.acc\.bank[01]\.ram\.mem$",
    "parameters": r"\.logic\.param\b.*\.mem$",
    "registers": r"\.logic\..*(?<!\.mem)$",
}
TARGETS = (*_TARGETS, "dram")
"""The places where a bit may be inverted."""

@dataclass(frozen=True, eq=False)
class _Variable:
    name: str
    raw: np.ndarray
    """uint8[words, bytes of a word]."""
    bits: int
    """Number of bits of a word."""

    @property
    def size(self) -> int:
        return len(self.raw) * self.bits

    def flip(self, bit: int) -> str:
        """Invert one bit; the words of a memory or array follow one another."""
        word, place = divmod(bit, self.bits)
        self.raw[word, place // 8] ^= 1 << place % 8
        return f"{self.name}[{word}] bit {place}" if len(self.raw) > 1 else f"{self.name} bit {place}"


class State:
    """The state of the model in this process, by target.

    Raises
    ------
    TransportError
        If the model keeps its state to itself.
    """

    def __init__(self) -> None:
        found: list[_Variable] = []

        @ctypes.CFUNCTYPE(
            None, ctypes.c_char_p, ctypes.c_char_p, ctypes.c_void_p, ctypes.c_uint32, ctypes.c_uint32, ctypes.c_uint32
        )
        def one(scope: bytes, name: bytes, data: int, words: int, bits: int, word_bytes: int) -> None:
            view = np.ctypeslib.as_array((ctypes.c_uint8 * (words * word_bytes)).from_address(data))
            found.append(_Variable(f"{scope.decode()}.{name.decode()}", view.reshape(words, word_bytes), bits))

        try:
            ctypes.CDLL(None).systomesh_state(one)
        except AttributeError:
            raise TransportError("this model keeps its state to itself: build it with open_state=True") from None
        found.sort(key=lambda variable: variable.name)
        self._targets = {
            target: [variable for variable in found if re.search(pattern, variable.name)]
            for target, pattern in _TARGETS.items()
        }

    def bits(self, target: str) -> int:
        """Bits that a target has."""
        return sum(variable.size for variable in self._targets[target])

    def flip(self, target: str, seed: int, dram: Any) -> str:
        """Invert a bit of the target, drawn by `seed`, every bit as likely as any other; says which it was.

        Parameters
        ----------
        dram : uint8[N]
            The external memory.
        """
        rng = random.Random(seed)
        if target == "dram":
            address, bit = divmod(rng.randrange(8 * len(dram)), 8)
            dram[address] ^= 1 << bit
            return f"dram[{address}] bit {bit}"
        at = rng.randrange(self.bits(target))
        for variable in self._targets[target]:
            if at < variable.size:
                return variable.flip(at)
            at -= variable.size
        raise AssertionError("unreachable: the draw is below the number of bits")
