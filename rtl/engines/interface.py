"""The interface behind which a compute engine sits: operand streams in, accumulator updates out.

An engine knows nothing of addresses, kernels or padding. `rtl.core.streamer` brings it the pixels of pass after
pass, `rtl.core.weight_loader` the weights of the same passes, and what it makes of them goes to the accumulator:

    weights --> [        ]
                [ engine ] --> update
    pixels  --> [        ]

Rules
    Order       Passes are processed in order, and one update comes out for every pixel, in order. There is none
                for a pixel with ``skip``, which only moves a window on.
    Weights     A pass has a number of rows of C bytes (`EngineSpec.weight_rows`; with a window so many for each
                of its columns; none if the job reads none); ``weights_more`` is low with the last. Once the
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
    Lists       For an engine with `EngineSpec.lists` a pass is a block. Every pixel comes as its kernel positions
                (items), with ``last_item`` on the last one, with which it makes its one update; ``zero`` is the value
                of padding. Behind the weights of the kernel positions come the rows with ``weights_tail``. If such
                an engine does not take a pixel, it says why: ``starved``, the weights of its pass are not there;
                ``contradicts``, they are there and wrong, and the pixel will never be taken; neither, it is busy.
    Latency     Any, and it need not be constant. ``idle`` is high when no accepted pixel is still to come
                out; the streamer switches engines only then. Weights held for a later pass do not count.

What an engine wants streamed, its class says: whether passes are whole kernel rows (`EngineHardware.window`), whether
updates are maxima (`EngineHardware.is_max`), and which of its options come with each pixel. So the sparse engine takes
several cycles for an item (``ready`` low), a compute-in-memory engine may be slow to take weights, and an array of
another shape gives R and C of its own to `CoreParams`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from amaranth.hdl import Const, Shape, Value, unsigned
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out
from amaranth.utils import exact_log2

from rtl.contract.engines import EngineSpec, SetupFields
from rtl.contract.params import CoreParams
from rtl.contract.regs import EngineCounter, EventCounter

__all__ = ["EngineHardware", "EngineSignature", "pixel_layout", "tag_layout"]


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


def pixel_layout(
    core: CoreParams, *, columns: int = 0, options: Mapping[str, Any] | None = None, items: bool = False
) -> data.StructLayout:
    """One pixel of a pass: R activations and its tag.

    Parameters
    ----------
    columns : of the widest window; 0 if there is none.
    options : shapes by name of what else comes with a pixel.
    items : kernel positions follow one another inside a pixel (`EngineSpec.lists`).

    Members without bits are left out: Verilog has no such wires.
    """
    members = {
        "act": unsigned(8 * core.rows),
        "first": unsigned(1),
        "options": data.StructLayout(options or {}),
        # Of the SETUP in force: `EngineHardware.pixel_options`.
        "skip": unsigned(min(columns, 1)),
        "columns": unsigned(max(columns - 1, 0)),
        # Bit k - 1: the window reaches back to the k-th pixel before this one.
        "zero": unsigned(8 * items),
        # Value of padding.
        "last_item": unsigned(int(items)),
        "tag": tag_layout(core),
    }
    return data.StructLayout({name: shape for name, shape in members.items() if Shape.cast(shape).width})


class EngineSignature(wiring.Signature):
    """Ports of an engine, seen from the engine itself."""

    def __init__(self, core: CoreParams, pixel: data.StructLayout, events: Mapping[EngineCounter, int]) -> None:
        self.core = core
        of_lists = {"weights_tail": In(1), "starved": Out(1), "contradicts": Out(1)}
        layout = data.StructLayout({counter.name: unsigned(bits) for counter, bits in events.items()})
        super().__init__(
            {
                "weights": In(stream.Signature(unsigned(8 * core.cols))),
                "weights_more": In(1),
                **(of_lists if "last_item" in dict(pixel) else {}),
                **({"events": Out(layout)} if events else {}),
                "pixels": In(stream.Signature(pixel)),
                "update": Out(
                    wiring.Signature({"valid": Out(1), "data": Out(32 * core.cols), "tag": Out(tag_layout(core))})
                ),
                "idle": Out(1),
            }
        )


class EngineHardware(wiring.Component):
    """Base of the engines' components: the ports, and what the class wants streamed.

    Attributes
    ----------
    spec : EngineSpec
    pixel_options : tuple of str
        Names of the options that each pixel brings along, as ``pixels.payload.options``.
    """

    spec: ClassVar[EngineSpec]
    pixel_options: ClassVar[tuple[str, ...]] = ()

    def __init__(self, *, core: CoreParams) -> None:
        self.core = core
        super().__init__(EngineSignature(core, self.pixel(core), self.event_bits(core)))

    @classmethod
    def pixel(cls, core: CoreParams) -> data.StructLayout:
        """Layout of the pixels that the engine takes."""
        options = {name: cls.spec.options[name].shape for name in cls.pixel_options}
        items = cls.spec.lists is not None
        return pixel_layout(core, columns=cls.window_columns(core), options=options, items=items)

    @classmethod
    def event_bits(cls, core: CoreParams) -> Mapping[EngineCounter, int]:
        """Bits of what each of `EngineSpec.counters` may grow by in a cycle."""
        return {}

    @classmethod
    def window_columns(cls, core: CoreParams) -> int:
        """Columns of its widest window; 0: it has none, and every pass is one kernel position."""
        return 0

    @classmethod
    def window(cls, setup: SetupFields) -> Value:
        """Whether the passes of a SETUP are whole kernel rows, streamed by input columns (`rtl.core.streamer`)."""
        return Const(0)

    @classmethod
    def is_max(cls, setup: SetupFields) -> Value:
        """Whether its updates are maxima, not sums."""
        return Const(0)

    @classmethod
    def operations(cls, pixel: data.View) -> Mapping[EventCounter, Value]:
        """How many operations of each kind of `EngineSpec.operations` one of its pixels stands for, less than 16.

        Parameters
        ----------
        pixel : of the streamer, with what all engines of the core want (`rtl.core.streamer.streamed_layout`).
        """
        return {}
