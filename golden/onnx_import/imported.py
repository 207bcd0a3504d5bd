"""What an import makes of a model."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from golden.errors import OnnxError
from golden.int8.fallback import Feeds, HostPart, Port, Tail, as_int8
from golden.int8.qgraph import QGraph, fed
from golden.net.graph import Graph
from golden.onnx_import.model import Model
from golden.onnx_import.work import Share, why_nothing

__all__ = ["FloatModel", "Output", "QuantisedModel", "computed_outputs", "nothing_runs"]


@dataclass(frozen=True)
class Output:
    """One output of a model.

    Attributes
    ----------
    name : str
        Name of the ONNX value.
    shape : tuple of int or None
        As ONNX sees it; None where the data decide it.
    value : str or None
        The value of the graph that holds its elements; None for what the host has or computes, and for a constant.
    constant : bool
    layer : str or None
        The value of the graph whose real numbers these are, where the host has no more to do than to see them so.
    """

    name: str
    shape: tuple[int, ...] | None
    value: str | None
    constant: bool = False
    layer: str | None = None
    last: bool = False
    """Whether ONNX sees the channels of that value last."""


@dataclass(frozen=True, eq=False)
class _Imported:
    """What both kinds of model have."""

    inputs: tuple[Port, ...]
    """Inputs of the model."""
    head: HostPart
    """What the host makes of these for the graph's input."""
    outputs: tuple[Output, ...]
    """Outputs of the model, in its order; the graph puts out those that the chip computes, and what `tail` reads."""
    tail: Tail | None
    """What the host computes of the graph's outputs in the end."""
    share: Share
    """How the model is divided."""
    refusals: dict[str, str]
    """Why the chip cannot run ONNX nodes, by name."""
    pictures: int
    """How many pictures the file takes at once."""
    taken: tuple[Mapping[str, bool], ...]
    """The branches of the file that are taken: `golden.onnx_import.branches`."""
    origins: dict[str, str]
    """Name of the ONNX node that a node of the graph comes of, by the latter's name."""
    fixed: Feeds
    """Inputs of the file that are constants here."""

    def ports(self) -> dict[str, Port]:
        """How ONNX sees what the graph puts out, by the graph's names."""
        ports = {
            output.value: Port(output.name, output.shape or (), "float32", output.last)
            for output in self.outputs
            if output.value is not None
        }
        return ports | ({name: port for port, name in self.tail.inputs} if self.tail else {})

    def results(self, feeds: Feeds, values: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        """Outputs of the model that are no constants, given ONNX values by the graph's names."""
        behind = self.tail.run(values, feeds) if self.tail else {}
        chip = {
            output.name: self._seen(output, values[output.value]) for output in self.outputs if output.value is not None
        }
        return {output.name: (chip | behind)[output.name] for output in self.outputs if not output.constant}

    def _seen(self, output: Output, value: np.ndarray) -> np.ndarray:
        """An output out of the ONNX value of `ports`, which may have its channels elsewhere."""
        assert output.value is not None
        held = self.ports()[output.value].held(value)
        return Port(output.name, output.shape or (), str(value.dtype), output.last).seen(held)

    def source(self, feeds: Feeds) -> np.ndarray:
        """The graph's input as ONNX sees it."""
        return self.head.run([], feeds)


@dataclass(frozen=True, eq=False)
class QuantisedModel(_Imported):
    """A model that brings its own scales."""

    graph: QGraph
    unsigned: dict[str, bool]
    """Tensors that ONNX holds as uint8; here they are int8, 128 lower."""
    names: dict[str, str]
    """Name of the ONNX value that holds the integers of a tensor, by tensor."""
    scales: dict[str, tuple[float, int]]
    """Scale and zero point of inputs of the model that are quantised already, by name."""
    last: frozenset[str] = frozenset()
    """Of the graph's values, those whose channels ONNX sees last."""

    def bound(self, feeds: Sequence[Feeds]) -> QGraph:
        """The graph, its host given the inputs of every picture."""
        return fed(self.graph, feeds)

    def image(self, feeds: Feeds) -> np.ndarray:
        """The graph's input int8[C, H, W]."""
        return self.head.output.held(as_int8(self.source(feeds)))

    def onnx_values(self, tensors: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        """ONNX values of what the graph puts out, given int8[C, H, W] by tensor."""
        return {
            name: replace(port, dtype="uint8" if self.unsigned[name] else "int8").to_model(tensors[name], 1.0, 0)
            for name, port in self.ports().items()
            if name in tensors
        }


@dataclass(frozen=True, eq=False)
class FloatModel(_Imported):
    """A model to be quantised after training."""

    graph: Graph
    weights: dict[str, np.ndarray]
    names: dict[str, str]
    """Name of the ONNX value that holds the elements of a value of the graph, by the latter."""
    folded: dict[str, np.ndarray]
    """Sum float64[O] of the magnitudes of what is in the bias of a layer, where that is a sum."""
    dynamic: frozenset[str]
    """Layers whose input the file quantises as it comes, so that its values are not those of real numbers."""
    last: frozenset[str] = frozenset()
    """Of the graph's values, those whose channels ONNX sees last."""

    def onnx_values(self, values: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        """ONNX values of what the graph puts out, given float[C, H, W] by value."""
        return {name: port.of_reals(values[name]) for name, port in self.ports().items() if name in values}

    def bound(self, feeds: Feeds) -> Graph:
        """The graph, its host given the inputs of a picture."""
        return self.graph.fed(feeds)

    def image(self, feeds: Feeds) -> np.ndarray:
        """The graph's input float32[C, H, W]."""
        return self.head.output.held(self.source(feeds).astype(np.float32))


def computed_outputs(
    model: Model, outputs: Sequence[Output], read: Iterable[str], refusals: dict[str, str]
) -> tuple[str, ...]:
    """What the graph has to compute: the outputs of the model, and what the host reads for others; each value once.

    Raises
    ------
    OnnxError
        If that is nothing; with the reason for the largest node.
    """
    values = [output.value for output in outputs if output.value is not None]
    computed = tuple(dict.fromkeys([*values, *read]))
    if not computed:
        raise OnnxError(nothing_runs(model, refusals))
    return computed


def nothing_runs(model: Model, refusals: dict[str, str]) -> str:
    """What to say of a model of which the chip computes nothing."""
    return f"nothing of model {model.name!r} runs on the chip; its largest part: {why_nothing(model, refusals)}"
