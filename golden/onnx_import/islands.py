"""Islands of the host: parts of a model, cut out between tensors of the chip, that ONNX Runtime can run alone."""

import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

import numpy as np
import onnx
from onnx import helper, numpy_helper

from golden.errors import OnnxError, UnsupportedError
from golden.int8.fallback import DTYPES, HostPart, Port, run_part
from golden.onnx_import.model import Model, Op, require_bounded

__all__ = ["OnHost", "cut", "fold", "largest_refusal"]

PortOf = Callable[[str], Port | None]
"""The tensor of the chip that holds an ONNX value, if one does."""


@dataclass(frozen=True)
class OnHost:
    """A value that only the host can compute; it becomes a tensor when the chip needs it."""


def fold(model: Model, op: Op, constants: Callable[[str], bool]) -> dict[str, np.ndarray] | None:
    """Outputs of a node whose inputs are all constants, computed once and for all; else None."""
    if not all(constants(name) for name in op.inputs if name):
        return None
    part = _Slice(model, lambda _: None)
    part.add(op)
    serialised = part.serialise({name: None for name in op.outputs if name})
    return {name: _run(op, serialised, {}, name) for name in op.outputs if name}


def cut(model: Model, op: Op, name: str, port_of: PortOf) -> tuple[HostPart, tuple[str, ...]]:
    """The part of a model that computes one value out of tensors of the chip, and the values it reads.

    Raises
    ------
    UnsupportedError
        If its result is no tensor of the chip; it may still be an input of other nodes on the host.
    OnnxError
        If the part reads something that no tensor holds, or ONNX Runtime refuses it.
    """
    part = _Slice(model, port_of)
    part.add(op)
    serialised = part.serialise({name: None})
    feeds = {port.name: np.zeros(port.shape, port.dtype) for port in part.ports.values()}
    # A trial run says what shape inference cannot: contributed operators, shapes that depend on constants.
    value = _run(op, serialised, feeds, name)
    if str(value.dtype) not in DTYPES or not value.size:
        raise UnsupportedError(
            f"node {op.name!r} ({op.kind}): the host would hand {name!r} to the chip as {value.dtype}{value.shape}; "
            f"only {', '.join(DTYPES)} can pass"
        )
    require_bounded(f"value {name!r}", value.shape)
    output = Port(name, value.shape, str(value.dtype))
    nodes = [op for op in part.ops() if op.kind not in ("DequantizeLinear", "QuantizeLinear")] or [op]
    kinds = tuple(node.kind for node in nodes)
    return HostPart(nodes[-1].name, kinds, serialised, tuple(part.ports.values()), output), tuple(part.ports)


def _run(op: Op, model: bytes, feeds: dict[str, np.ndarray], name: str) -> np.ndarray:
    try:
        with np.errstate(all="ignore"):
            return run_part(model, feeds, name)
    except OnnxError as error:
        raise OnnxError(f"node {op.name!r} ({op.kind}) can run neither on the chip nor on the host: {error}") from error


def largest_refusal(parts: Iterable[HostPart], refusals: Mapping[str, str]) -> str:
    """Why the chip cannot run, of the nodes of these parts, the one with most constants."""
    sizes: dict[str, int] = {}
    for part in parts:
        graph = onnx.load_model_from_string(part.model).graph
        constants = {tensor.name: math.prod(tensor.dims) for tensor in graph.initializer}
        for node in graph.node:
            sizes[node.name or node.output[0]] = sum(constants.get(name, 0) for name in node.input)
    refused = [name for name in sizes if name in refusals]
    return refusals[max(refused, key=lambda name: sizes[name])]


class _Slice:
    """Nodes upstream of a value, back to tensors of the chip and constants."""

    def __init__(self, model: Model, port_of: PortOf) -> None:
        self._model, self._port_of = model, port_of
        self._ops: set[int] = set()
        self._constants: set[str] = set()
        self.ports: dict[str, Port] = {}

    def add(self, op: Op) -> None:
        """Take a node and what it needs."""
        waiting = [op]
        while waiting:
            op = waiting.pop()
            if id(op) in self._ops:
                continue
            self._ops.add(id(op))
            for name in filter(None, op.inputs):
                port = self._port_of(name)
                if name in self._model.constants:
                    self._constants.add(name)
                elif port is not None:
                    self.ports[name] = port
                elif name in self._model.maker:
                    waiting.append(self._model.maker[name])
                else:
                    raise OnnxError(
                        f"node {op.name!r} ({op.kind}): it reads {name!r} before the model quantises it; only what "
                        "follows the first QuantizeLinear can run on the host"
                    )

    def ops(self) -> list[Op]:
        """The nodes, in the order of the model, which is topological."""
        return [op for op in self._model.ops if id(op) in self._ops]

    def serialise(self, outputs: Iterable[str]) -> bytes:
        """The slice as a model of its own, serialised."""
        model = self._model
        results = [onnx.ValueInfoProto(name=name) for name in outputs]
        sources = [
            helper.make_tensor_value_info(p.name, helper.np_dtype_to_tensor_dtype(np.dtype(p.dtype)), p.shape)
            for p in self.ports.values()
        ]
        constants = [numpy_helper.from_array(model.constants[name], name) for name in sorted(self._constants)]
        graph = helper.make_graph([op.proto for op in self.ops()], "host", sources, results, constants)
        return helper.make_model(
            graph, opset_imports=list(model.opsets), ir_version=model.ir_version
        ).SerializeToString()
