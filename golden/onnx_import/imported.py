"""What an import makes of a model."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from golden.errors import OnnxError
from golden.int8.fallback import Port
from golden.int8.qgraph import QGraph
from golden.net.graph import Graph
from golden.onnx_import.model import Model

__all__ = ["FloatModel", "Output", "QuantisedModel", "computed_outputs"]


@dataclass(frozen=True)
class Output:
    """One output of a model.

    Attributes
    ----------
    name : str
        Name of the ONNX value.
    shape : tuple of int
        As ONNX sees it.
    value : str or None
        The value of the graph that holds its elements, its input perhaps; None for a constant.
    """

    name: str
    shape: tuple[int, ...]
    value: str | None
    last: bool = False
    """Whether ONNX sees the channels of that value last."""


@dataclass(frozen=True, eq=False)
class QuantisedModel:
    """A model that brings its own scales."""

    graph: QGraph
    unsigned: dict[str, bool]
    """Tensors that ONNX holds as uint8; here they are int8, 128 lower."""
    input: Port
    outputs: tuple[Output, ...]
    """Outputs of the model, in its order; those that layers compute are the outputs of the graph."""
    names: dict[str, str]
    """Name of the ONNX value that holds the integers of a tensor, or the real values of an unscaled one, by tensor."""
    refusals: dict[str, str]
    """Why the chip cannot run an ONNX node that the host runs, by the node's name."""
    unscaled: tuple[str, ...] = ()
    """Real outputs of the host, whose scales are to be set by `golden.onnx_import.settle`."""
    last: frozenset[str] = frozenset()
    """Tensors of the graph whose channels ONNX sees last."""


@dataclass(frozen=True, eq=False)
class FloatModel:
    """A model to be quantised after training."""

    graph: Graph
    weights: dict[str, np.ndarray]
    input: Port
    outputs: tuple[Output, ...]
    """Outputs of the model, in its order; those that layers compute are the outputs of the graph."""
    names: dict[str, str]
    """Name of the ONNX value that holds the elements of a value of the graph, by the latter."""
    folded: dict[str, np.ndarray]
    """Sum float64[O] of the magnitudes of what is in the bias of a layer, where that is a sum."""
    refusals: dict[str, str]
    """Why the chip cannot run an ONNX node that the host runs, by the node's name."""
    last: frozenset[str] = frozenset()
    """Values of the graph whose channels ONNX sees last."""


def computed_outputs(model: Model, outputs: Sequence[Output], source: str) -> tuple[str, ...]:
    """What the graph has to compute for the outputs of a model, each value once; `source` is the graph's input.

    Raises
    ------
    OnnxError
        If that is nothing.
    """
    values = [output.value for output in outputs if output.value is not None]
    computed = tuple(value for value in dict.fromkeys(values) if value != source)
    if not computed:
        raise OnnxError(f"model {model.name!r} computes nothing: its outputs are its input or constants")
    return computed
