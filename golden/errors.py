"""Errors that a user can cause and repair: one line with the offending value and the remedy."""

from rtl.contract.errors import SystomeshError

__all__ = [
    "DisagreementError", "GoldenError", "GraphError", "ImageError", "LayerListError", "OnnxError", "PruneError",
    "QuantError", "UnknownNetworkError", "UnsupportedError", "WeightError",
]  # fmt: skip


class GoldenError(SystomeshError, ValueError):
    """Base of every error of this package that a user can act upon."""


class GraphError(GoldenError):
    """A layer graph contradicts itself."""


class QuantError(GoldenError):
    """A network cannot be expressed in int8 arithmetic, or a quantised node breaks its own rules."""


class WeightError(GoldenError):
    """Weights are missing, surplus, misshapen or unreadable."""


class PruneError(GoldenError):
    """A pruning is none, or does not fit the network."""


class ImageError(GoldenError):
    """An input picture cannot be read or does not fit the network."""


class LayerListError(GoldenError):
    """A list of layers cannot be read, breaks its format, or asks for what the chip has no layer for."""


class OnnxError(GoldenError):
    """An ONNX file cannot be read, contradicts itself, or asks for what the chip cannot do."""

    def __init__(self, message: str) -> None:
        # Names and the messages of the onnx package may hold line breaks and control characters.
        super().__init__("".join(c if c.isprintable() else " " for c in message))


class UnsupportedError(OnnxError):
    """A valid ONNX node that the chip cannot run; the host can."""


class DisagreementError(Exception):
    """An imported network computes something else than the model it was imported from; no input can mend that."""


class UnknownNetworkError(GoldenError):
    """The zoo has no network of that name."""
