"""A pruning of a network: what is asked for, read from a published table, a density or a file of masks."""

import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from golden.errors import PruneError
from golden.net.archive import read_arrays
from golden.net.graph import Conv2d, Graph, Linear
from golden.pruning.magnitude import keep_largest
from golden.pruning.shift import set_by_biases, shift_biases

__all__ = ["TABLES", "Pruning", "load_pruning"]

_FOLDER = Path(__file__).parent / "tables"

TABLES = tuple(sorted(path.stem for path in _FOLDER.glob("*.toml")))
"""Names of the published tables of densities."""


@dataclass(frozen=True, eq=False)
class Pruning:
    """What becomes zero in a network: weights, and activations as far as biases decide it. Biases are never pruned.

    Attributes
    ----------
    note : str
        What is asked for and where that comes from, in one line.
    weights : dict of str to float
        The part of its weights that each layer keeps at most, by the layer's name; their largest magnitudes.
    inputs : dict of str to float
        The part of its input that is not zero in int8, of the layers whose input a ReLU's bias sets.
    masks : dict of str to bool array
        True where a weight stays, by the names of the weights; these tensors are not pruned by magnitude.
    """

    graph: Graph
    note: str
    weights: Mapping[str, float]
    inputs: Mapping[str, float] = field(default_factory=dict)
    masks: Mapping[str, np.ndarray] = field(default_factory=dict)

    def asked(self, layer: str) -> dict[str, float]:
        """Densities of weights and inputs that a layer should have, as far as they are given.

        `layer` is a node of the graph, or of the quantised one, where a layer with a sum is named after both.
        """
        name = layer.split("+")[0]
        wanted = {"weights": self.weights, "inputs": self.inputs}
        return {what: densities[name] for what, densities in wanted.items() if name in densities}

    def prune(self, weights: dict[str, np.ndarray]) -> None:
        """Make weights zero, in place; `weights` are those of `golden.net.weights`."""
        for layer, key in _weight_keys(self.graph).items():
            if key in self.masks:
                weights[key][~self.masks[key]] = 0
            elif layer in self.weights:
                keep_largest(weights[key], self.weights[layer])

    def set_inputs(self, weights: dict[str, np.ndarray], image: np.ndarray) -> None:
        """Shift biases of the pruned network, in place, so that `inputs` hold on a picture float32[C, H, W]."""
        if self.inputs:
            shift_biases(self.graph, weights, self.inputs, image)


def load_pruning(text: str, graph: Graph) -> Pruning:
    """The pruning that `PRUNE=` names.

    Parameters
    ----------
    text : str
        One of `TABLES`, perhaps with ``:weights`` or ``:inputs`` behind it for these alone; one density of all layers'
        weights; two, with a comma between, of weights and of the inputs that a ReLU's bias sets; or an .npz file with
        masks, bool arrays under names of weights. Weights without a mask stay as they are.

    Raises
    ------
    PruneError
        If it is none of these, or does not fit the network.
    """
    table, _, part = text.partition(":")
    if table in TABLES and part in ("", "weights", "inputs"):
        return _of_table(table, part, graph)
    if text.lower().endswith(".npz"):
        return _of_masks(Path(text), graph)
    try:
        densities = [float(word) for word in text.split(",")]
        weights, *inputs = densities
        (of_inputs,) = inputs or (None,)
    except ValueError:
        raise PruneError(
            f"PRUNE={text}: give a table of densities ({', '.join(TABLES)}), one density such as 0.3, two of weights "
            "and of inputs such as 0.3,0.5, or an .npz file of masks"
        ) from None
    if not all(0 < density <= 1 for density in densities):  # NaN neither
        raise PruneError(f"PRUNE={text}: a density must be above 0 and at most 1; 0.3 keeps 30 % of each layer")
    note = f"{100 * weights:.4g} % of each layer's weights"
    kept = dict.fromkeys(_weight_keys(graph), weights)
    if of_inputs is None:
        return Pruning(graph, note, kept)
    note += f", {100 * of_inputs:.4g} % of inputs behind a ReLU"
    return Pruning(graph, note, kept, dict.fromkeys(set_by_biases(graph, kept), of_inputs))


def _weight_keys(graph: Graph) -> dict[str, str]:
    """The name of its weights, by the name of each convolution and fully connected layer."""
    return {
        node.name: next(iter(graph.node_tensors(node))) for node in graph.nodes if isinstance(node, Conv2d | Linear)
    }


def _of_table(name: str, part: str, graph: Graph) -> Pruning:
    """Of a table, or of its ``weights`` or ``inputs`` alone."""
    table: dict[str, Any] = tomllib.loads((_FOLDER / f"{name}.toml").read_text())
    networks = {key: value for key, value in table.items() if isinstance(value, dict)}
    layers = networks.get(graph.name, {})
    if set(layers) != set(_weight_keys(graph)):
        raise PruneError(
            f"PRUNE={name} has densities for {' and '.join(networks)} of the zoo, not for {graph.name}; give one "
            "density such as PRUNE=0.3"
        )
    inputs = {layer: row["inputs"] for layer, row in layers.items() if "inputs" in row}
    weights = {layer: row["weights"] for layer, row in layers.items()}
    notes = {"weights": f"weights as in {table['source']}", "inputs": f"inputs: {table['inputs_source']}"}
    note = f"{name}: {'; '.join(text for what, text in notes.items() if part in ('', what))}"
    return Pruning(graph, note, {} if part == "inputs" else weights, {} if part == "weights" else inputs)


def _of_masks(path: Path, graph: Graph) -> Pruning:
    keys = _weight_keys(graph)
    shapes = graph.tensors

    def choose(names: list[str]) -> Iterable[str]:
        for name in names:
            if name not in keys.values():
                example = next(iter(keys.values()), "")
                raise PruneError(f"mask {name!r} is of no weights of {graph.name}; name masks like {example!r}")
        return names

    masks = read_arrays(path, "masks", "PRUNE", PruneError, choose)
    if not masks:
        raise PruneError(f"masks file {str(path)!r} holds no mask; give at least one bool array")
    for name, mask in masks.items():
        if mask.dtype != bool:
            raise PruneError(f"mask {name!r} has type {mask.dtype}; save it as bool, True where a weight stays")
        if mask.shape != shapes[name]:
            raise PruneError(
                f"mask {name!r} has shape {mask.shape}, the weights have {shapes[name]}; give a mask of their shape"
            )
    densities = {layer: float(masks[key].mean()) for layer, key in keys.items() if key in masks}
    return Pruning(graph, f"masks of {path}", densities, masks=masks)
