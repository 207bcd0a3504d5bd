"""ONNX Runtime in a process of its own, for the first contact with a model: a damaged one may bring it down.

The process is started once and anew after a crash. Messages are pickled, each behind its length.
"""

from __future__ import annotations

import atexit
import pickle
import struct
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import IO, Any

import numpy as np

from golden.int8.fallback import RuntimeRefusal, run_model

__all__ = ["Seen", "try_model", "try_shapes"]

_LENGTH = struct.Struct("<Q")


@dataclass(frozen=True)
class Seen:
    """Shape and NumPy data type of a value; `object` for what is no tensor."""

    shape: tuple[int, ...]
    dtype: str


def try_model(model: bytes, feeds: Mapping[str, np.ndarray], outputs: Sequence[str]) -> list[np.ndarray]:
    """Outputs of a serialised model, as `run_model` gives them.

    Raises
    ------
    RuntimeRefusal
        If ONNX Runtime refuses the model, or dies of it.
    """
    return _ask(model, feeds, outputs, False)


def try_shapes(model: bytes, feeds: Mapping[str, np.ndarray], outputs: Sequence[str]) -> list[Seen]:
    """Shapes of outputs; raises as `try_model`."""
    return [Seen(*facts) for facts in _ask(model, feeds, outputs, True)]


def _ask(model: bytes, feeds: Mapping[str, np.ndarray], outputs: Sequence[str], shapes: bool) -> list:
    global _process
    if _process is None or _process.poll() is not None:
        _process = subprocess.Popen(
            [sys.executable, "-m", __name__], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
        )
    assert _process.stdin is not None
    assert _process.stdout is not None
    try:
        _send(_process.stdin, (model, dict(feeds), list(outputs), shapes))
        answer = _receive(_process.stdout)
    except (EOFError, OSError):
        _process.kill()
        _process.communicate()
        raise RuntimeRefusal("it brings ONNX Runtime down") from None
    if isinstance(answer, str):
        raise RuntimeRefusal(answer)
    return answer


_process: subprocess.Popen[bytes] | None = None


@atexit.register
def _end() -> None:
    if _process is not None:
        _process.communicate()


def _send(pipe: IO[bytes], message: object) -> None:
    data = pickle.dumps(message, protocol=5)
    pipe.write(_LENGTH.pack(len(data)))
    pipe.write(data)
    pipe.flush()


def _receive(pipe: IO[bytes]) -> Any:
    head = pipe.read(_LENGTH.size)
    if len(head) < _LENGTH.size:
        raise EOFError
    (size,) = _LENGTH.unpack(head)
    data = pipe.read(size)
    if len(data) < size:
        raise EOFError
    return pickle.loads(data)


def _serve() -> None:
    """Answer until the parent is gone; nothing but answers goes to the pipe."""
    while True:
        try:
            model, feeds, outputs, shapes = _receive(sys.stdin.buffer)
        except EOFError:
            return
        try:
            values = run_model(model, feeds, outputs)
            answer: object = [(value.shape, str(value.dtype)) for value in values] if shapes else values
        except RuntimeRefusal as refusal:
            answer = str(refusal)
        _send(sys.stdout.buffer, answer)


if __name__ == "__main__":
    _serve()
