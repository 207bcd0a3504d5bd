"""Networks from ONNX files: quantised ones as they are, float ones as a graph to quantise."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from golden.graph import Graph
from golden.onnx_import.floats import import_float
from golden.onnx_import.model import read
from golden.onnx_import.quantised import import_quantised
from golden.qgraph import QGraph

__all__ = ["FloatModel", "QuantisedModel", "load_onnx"]


@dataclass(frozen=True, eq=False)
class QuantisedModel:
    """A model that brings its own scales.

    Attributes
    ----------
    unsigned : dict of str to bool
        Tensors that ONNX holds as uint8; here they are int8, 128 lower.
    """

    graph: QGraph
    unsigned: dict[str, bool]


@dataclass(frozen=True, eq=False)
class FloatModel:
    """A model to be quantised after training."""

    graph: Graph
    weights: dict[str, np.ndarray]


def load_onnx(path: str | Path, shape: tuple[int, ...] | None = None) -> QuantisedModel | FloatModel:
    """Import an ONNX file.

    Parameters
    ----------
    shape : (C, H, W), (F,) or the same behind a batch of 1, optional
        Of the input; needed where the file leaves it open.

    Raises
    ------
    OnnxError
        In one line, with the node or tensor and the remedy.
    """
    model = read(path, shape)
    if model.quantised:
        return QuantisedModel(*import_quantised(model))
    return FloatModel(*import_float(model))
