"""The interface behind which a compute engine sits: operand streams in, accumulator updates out.

An engine knows nothing of addresses, kernels or padding. `rtl.core.streamer` brings it the pixels of pass after
pass, `rtl.core.weight_loader` the weights of the same passes, and what it makes of them goes to the accumulator:

    weights --> [        ]
                [ engine ] --> update
    pixels  --> [        ]

Rules
    Order       Passes are processed in order, and one update comes out for every pixel, in order. There is none
                for a pixel with ``skip``, which only moves the tap unit's window on.
    Weights     A pass has a number of rows of C bytes (the array: R; the tap unit: one, or one for each
                column of the window, none in mode MAX); ``weights_more`` is low with the last. Once the
                first row of a pass is accepted the others follow in consecutive cycles, and the engine
                accepts them. So the array may start a pass before all of its weights are there. Rows for a
                window may end short of the pass, where the weight scratchpad does.
    Pixels      ``first`` marks the first pixel of a pass. The engine holds it (``ready`` low) until the
                weights of that pass are there, or will be in time; it alone decides. Weights of one or more
                later passes may be accepted meanwhile. ``ready`` may depend on the payload, never on
                ``valid``. A pixel may come in any cycle; gaps are allowed everywhere.
    Tag         Travels with the pixel and comes out, unchanged, beside its update. Whatever an engine does
                to the order inside, updates of one address must come out in order.
    Update      Never back-pressured: one update per cycle at most. ``data`` has C lanes of int32.
    Latency     Any, and it need not be constant. ``idle`` is high when no accepted pixel is still to come
                out; the streamer switches engines only then. Weights held for a later pass do not count.

So a sparse engine may take several cycles for a pixel (``ready`` low), a compute-in-memory engine may be slow
to take weights, and an array of another shape gives R and C of its own to `CoreParams`.
"""

from __future__ import annotations

from amaranth.hdl import unsigned
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out
from amaranth.utils import exact_log2

from rtl.contract.params import CoreParams

__all__ = ["EngineSignature", "pixel_layout", "tag_layout"]


def tag_layout(core: CoreParams) -> data.StructLayout:
    """What the accumulator must know of an update."""
    return data.StructLayout(
        {
            "addr": unsigned(exact_log2(core.acc_entries)),
            "overwrite": unsigned(1),
            "is_max": unsigned(1),
            "last": unsigned(1),
            # The last update of an instruction.
        }
    )


def pixel_layout(core: CoreParams) -> data.StructLayout:
    """One pixel of a pass: R activations and its tag."""
    return data.StructLayout(
        {
            "act": unsigned(8 * core.rows),
            "first": unsigned(1),
            "shift": unsigned(5),
            # Left shift of the products; only the tap unit has one, and the next two.
            "skip": unsigned(1),
            "columns": unsigned(core.tap_columns - 1),
            # Bit k - 1: the window reaches back to the k-th pixel before this one.
            "tag": tag_layout(core),
        }
    )


class EngineSignature(wiring.Signature):
    """Ports of an engine, seen from the engine itself."""

    def __init__(self, core: CoreParams) -> None:
        self.core = core
        super().__init__(
            {
                "weights": In(stream.Signature(unsigned(8 * core.cols))),
                "weights_more": In(1),
                "pixels": In(stream.Signature(pixel_layout(core))),
                "update": Out(
                    wiring.Signature({"valid": Out(1), "data": Out(32 * core.cols), "tag": Out(tag_layout(core))})
                ),
                "idle": Out(1),
            }
        )
