"""The memories inside the cores, read and written by the bench while nothing runs.

On Verilator tb/hdl/inside.cpp finds the bytes themselves (in models built with ``optimise=False``, whose RAMs are
public); elsewhere words go one by one through cocotb's handles.
"""

from __future__ import annotations

import ctypes
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from cocotb.triggers import Timer

from rtl.contract.params import ChipParams
from tb.sim.driver import TransportError

__all__ = ["CoreImage", "Inside"]


@dataclass(frozen=True, eq=False)
class CoreImage:
    """Contents of a core's memories.

    Attributes
    ----------
    act, weight, param : uint8[bytes]
    acc : int32[entries, C]
    """

    act: np.ndarray
    weight: np.ndarray
    param: np.ndarray
    acc: np.ndarray


@dataclass(frozen=True, eq=False)
class _Ram:
    """Bytes of one RAM, and what puts changed ones back."""

    words: np.ndarray
    """uint8[words, word bytes]."""
    commit: Callable[[], None]


class Inside:
    """Finds the RAMs of every core below the top level `dut`."""

    def __init__(self, dut: Any, chip: ChipParams) -> None:
        self._dut = dut
        self._chip = chip

    async def read(self) -> list[CoreImage]:
        """Contents of all cores."""
        rams = self._rams()
        images = []
        for core, params in enumerate(self._chip.cores):
            pads = {
                name: np.stack([rams[core, f"{name}.even"].words, rams[core, f"{name}.odd"].words], axis=1)
                for name in ("act", "weight")
            }
            banks = [rams[core, f"acc.bank{i}"].words for i in range(2)]
            acc = np.concatenate(banks).view("<i4").reshape(params.acc_entries, params.cols)
            param = rams[core, "param"].words.reshape(-1)
            images.append(CoreImage(pads["act"].reshape(-1), pads["weight"].reshape(-1), param.copy(), acc.copy()))
        return images

    async def write(self, images: list[CoreImage]) -> None:
        """Replace the contents of all cores."""
        rams = self._rams()
        for core, image in enumerate(images):
            parts = {"param": image.param}
            for name, pad in (("act", image.act), ("weight", image.weight)):
                shape = rams[core, f"{name}.even"].words.shape
                words = pad.reshape(shape[0], 2, shape[1])
                parts |= {f"{name}.even": words[:, 0], f"{name}.odd": words[:, 1]}
            halves = np.split(np.ascontiguousarray(image.acc).view(np.uint8), 2)
            parts |= {f"acc.bank{i}": half for i, half in enumerate(halves)}
            for name, part in parts.items():
                ram = rams[core, name]
                ram.words[:] = part.reshape(ram.words.shape)
                ram.commit()
        await Timer(1, unit="ns")

    def _rams(self) -> dict[tuple[int, str], _Ram]:
        """RAMs by core and place in it."""
        return self._verilator_rams() or self._handle_rams()

    def _verilator_rams(self) -> dict[tuple[int, str], _Ram]:
        try:
            library = ctypes.CDLL(None)
            find = library.systomesh_inside
        except AttributeError:
            return {}
        found: dict[tuple[int, str], _Ram] = {}

        @ctypes.CFUNCTYPE(None, ctypes.c_char_p, ctypes.c_void_p, ctypes.c_uint32, ctypes.c_uint32)
        def one(name: bytes, data: int, words: int, word_bytes: int) -> None:
            place = re.fullmatch(r".*\.core_(\d+)\..*logic\.(.*)\.ram", name.decode())
            if place:
                view = np.ctypeslib.as_array((ctypes.c_uint8 * (words * word_bytes)).from_address(data))
                found[int(place[1]), place[2]] = _Ram(view.reshape(words, word_bytes), lambda: None)

        find(one)
        if not found:
            raise TransportError("this model keeps its memories to itself: build it with optimise=False")
        return found

    def _handle_rams(self) -> dict[tuple[int, str], _Ram]:
        found = {}
        places = ("act.even", "act.odd", "weight.even", "weight.odd", "param", "acc.bank0", "acc.bank1")
        for core in range(self._chip.n_cores):
            logic = getattr(self._dut.chip, f"core_{core}").logic
            for place in places:
                handle = logic
                for part in place.split("."):
                    handle = getattr(handle, part)
                found[core, place] = _handle_ram(handle.ram.mem)
        return found


def _handle_ram(array: Any) -> _Ram:
    """A RAM behind a cocotb handle; undefined bits read as zeros."""
    handles = [array[i] for i in range(len(array))]
    size = len(handles[0]) // 8
    raw = b"".join(int(str(h.value).translate(_DEFINED), 2).to_bytes(size, "little") for h in handles)
    words = np.frombuffer(raw, np.uint8).reshape(-1, size).copy()

    def commit() -> None:
        for handle, word in zip(handles, words, strict=True):
            handle.value = int.from_bytes(word.tobytes(), "little")

    return _Ram(words, commit)


_DEFINED = str.maketrans("xzXZuU", "000000")
