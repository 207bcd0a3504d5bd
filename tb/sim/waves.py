"""The recorder of waves in this process: tb/hdl/waves.cpp, in a model for Verilator built with ``waves=True``."""

from __future__ import annotations

import ctypes

from tb.sim.driver import TransportError
from tb.sim.job import Recording

__all__ = ["start_recording", "stop_recording"]

_FOREVER = (1 << 64) - 1


def start_recording(wanted: Recording) -> None:
    """Record the launch that starts next.

    Raises
    ------
    TransportError
        If the model records no waves.
    """
    try:
        start = ctypes.CDLL(None).systomesh_waves_open
    except AttributeError:
        raise TransportError("this model records no waves: build it with waves=True") from None
    start.argtypes = [ctypes.c_char_p, ctypes.c_char_p, ctypes.c_uint64, ctypes.c_uint64]
    wanted.path.parent.mkdir(parents=True, exist_ok=True)
    wanted.path.unlink(missing_ok=True)
    end = _FOREVER if wanted.last is None else wanted.last + 1
    start(str(wanted.path).encode(), " ".join(wanted.scopes).encode(), wanted.first, end)


def stop_recording() -> None:
    """End the recording, if it has not come to its end."""
    ctypes.CDLL(None).systomesh_waves_close()
