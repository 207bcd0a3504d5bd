"""Multiply-accumulates of ONNX nodes, and which of them the chip does."""

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from golden.int8.fallback import HostPart, Tail
from golden.onnx_import.model import Model, Op
from golden.onnx_import.walk import CONVERSIONS, VIEWS

__all__ = ["HostNode", "Share", "macs_of", "share_of", "why_nothing"]


@dataclass(frozen=True)
class HostNode:
    """A node of the model that the host computes.

    Attributes
    ----------
    name, kind : str
    macs : int
        Multiply-accumulates.
    why : str
        Why the chip does not; empty where what it reads is on the host anyway.
    """

    name: str
    kind: str
    macs: int
    why: str


@dataclass(frozen=True)
class Share:
    """How a model is divided between chip and host.

    Attributes
    ----------
    nodes, macs : int
        Of the whole model; views, constants and conversions between integers and reals are no nodes.
    host : tuple of HostNode
        In the order of the model.
    """

    nodes: int
    macs: int
    host: tuple[HostNode, ...]


def share_of(model: Model, refusals: Mapping[str, str], parts: Iterable[HostPart | Tail]) -> Share:
    """What the parts for the host are of a model."""
    hosted = {name for part in parts for name in part.nodes}
    counted = [op for op in model.ops if op.kind not in (*VIEWS, *CONVERSIONS)]
    host = tuple(
        HostNode(op.name, op.kind, macs_of(model, op), refusals.get(op.name, "")) for op in counted if op.name in hosted
    )
    return Share(len(counted), sum(macs_of(model, op) for op in counted), host)


def why_nothing(model: Model, refusals: Mapping[str, str]) -> str:
    """Why the chip cannot run, of the nodes that it refused, the one with most work, or else most constants.

    Work that nobody can know comes first: that of branches.
    """
    refused = [op for op in model.ops if op.name in refusals]
    if not refused:
        return "its outputs are its inputs or constants"

    def size(op: Op) -> tuple[bool, int, int]:
        constants = sum(model.constants[name].size for name in op.reads if name in model.constants)
        return op.kind == "If", macs_of(model, op), constants

    return refusals[max(refused, key=size).name]


def macs_of(model: Model, op: Op) -> int:
    """Multiply-accumulates of a node, of products with a kernel or a matrix; 0 where its shapes are not known."""
    kind = op.kind

    def shape(index: int) -> tuple[int, ...] | None:
        name = op.inputs[index] if op.has(index) else ""
        return model.constants[name].shape if name in model.constants else model.shapes.get(name)

    out = model.shapes.get(op.outputs[0])
    weight = shape(3 if kind in ("QLinearConv", "QLinearMatMul", "QGemm") else 1)
    first = shape(0)
    if out is None or weight is None or first is None:
        return 0
    if kind in ("Conv", "ConvInteger", "QLinearConv", "FusedConv"):
        return math.prod(out) * math.prod(weight[1:])
    if kind == "ConvTranspose":
        return math.prod(first) * math.prod(weight[1:])
    if kind in ("MatMul", "MatMulInteger", "QLinearMatMul", "DynamicQuantizeMatMul", "MatMulIntegerToFloat"):
        return math.prod(out) * first[-1]
    if kind in ("Gemm", "QGemm", "FusedGemm", "FusedMatMul"):
        return math.prod(out) * first[0 if op.attributes.get("transA", 0) else -1]
    if kind in ("LSTM", "GRU", "RNN"):
        recurrent = shape(2)
        return math.prod(first[:2]) * (math.prod(weight) + math.prod(recurrent or ()))
    return 0
