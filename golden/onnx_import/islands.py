"""Islands of the host: parts of a model, cut out between tensors of the chip, that ONNX Runtime can run alone."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from onnx import helper

from golden.errors import OnnxError, UnsupportedError
from golden.int8.fallback import INTEGERS, REALS, HostPart, Port, Tail, run_part
from golden.onnx_import.folding import submodel
from golden.onnx_import.model import Model, Op, require_bounded
from golden.onnx_import.walk import CONVERSIONS, VIEWS

__all__ = ["OnHost", "cut", "tail"]

PortOf = Callable[[str], Port | None]
"""The tensor of the chip that holds an ONNX value, if one does."""


@dataclass(frozen=True)
class OnHost:
    """A value that the host has: an input of the model, or what only it can compute.

    It becomes a tensor of the chip when the chip needs it; what passes from host to host never does.
    """


def cut(model: Model, name: str, port_of: PortOf) -> tuple[HostPart, tuple[str, ...]]:
    """The part of a model that computes one value out of tensors of the chip and inputs of the model, and the values
    that it reads of the chip.

    Raises
    ------
    UnsupportedError
        If its result can be no tensor of the chip; it may still be an input of other nodes on the host.
    OnnxError
        If ONNX Runtime refuses it.
    """
    whole = {port.name: port for port in model.inputs}
    if name in model.loose:
        raise UnsupportedError(f"value {name!r} has a shape that depends on the data; only the host can read it")
    if name in whole:
        _require_held(name, whole[name].dtype, whole[name].shape)
        return HostPart(name, (), b"", (), whole[name], (name,)), ()
    part = _Slice(model, port_of)
    part.add([name])
    op = model.maker[name]
    feeds = {port.name: np.zeros(port.shape, port.dtype) for port in part.ports.values()}
    feeds |= {given: model.sample[given] for given in part.given}
    # A trial run says what shape inference cannot: contributed operators, shapes that depend on constants.
    serialised = part.serialise([name])
    value = _run(op, serialised, feeds, name)
    _require_held(name, str(value.dtype), value.shape)
    nodes = part.nodes() or (op,)
    kinds = tuple(node.kind for node in nodes)
    output = Port(name, value.shape, str(value.dtype))
    made = HostPart(
        nodes[-1].name, kinds, serialised, tuple(part.ports.values()), output, tuple(part.given),
        tuple(node.name for node in part.nodes()),
    )  # fmt: skip
    return made, tuple(part.ports)


def tail(model: Model, names: Sequence[str], port_of: PortOf, tensor_of: Callable[[str], str]) -> Tail:
    """What the host computes at the end: outputs of the model that are no tensors of the chip."""
    part = _Slice(model, port_of)
    part.add(names)
    inputs = tuple((port, tensor_of(name)) for name, port in part.ports.items())
    nodes = tuple(node.name for node in part.nodes())
    made = [name for name in names if name in model.maker]
    return Tail(part.serialise(made) if made else b"", inputs, tuple(names), tuple(part.given), nodes)


def _require_held(name: str, dtype: str, shape: tuple[int, ...]) -> None:
    """Refuse what the chip cannot hold."""
    if dtype not in (*REALS, *INTEGERS) or 0 in shape:
        raise UnsupportedError(
            f"value {name!r} is {dtype}{shape}; only {', '.join((*REALS, *INTEGERS))} can be tensors of the chip"
        )
    require_bounded(f"value {name!r}", shape)


def _run(op: Op, model: bytes, feeds: Mapping[str, np.ndarray], name: str) -> np.ndarray:
    try:
        with np.errstate(all="ignore"):
            return run_part(model, feeds, name)
    except OnnxError as error:
        raise OnnxError(f"node {op.name!r} ({op.kind}) can run neither on the chip nor on the host: {error}") from error


class _Slice:
    """Nodes upstream of values, back to tensors of the chip, inputs of the model and constants."""

    def __init__(self, model: Model, port_of: PortOf) -> None:
        self._model, self._port_of = model, port_of
        self._ops: set[int] = set()
        self.ports: dict[str, Port] = {}
        self.given: dict[str, Port] = {}

    def add(self, names: Iterable[str]) -> None:
        """Take what computes some values, whether the chip has these or not."""
        model, whole = self._model, {port.name: port for port in self._model.inputs}
        waiting = [model.maker[name] for name in names if name in model.maker]
        self.given |= {name: whole[name] for name in names if name in whole}
        while waiting:
            op = waiting.pop()
            if id(op) in self._ops:
                continue
            self._ops.add(id(op))
            for name in op.reads:
                if name in model.constants:
                    continue
                port = self._port_of(name)
                if port is not None:
                    self.ports[name] = port
                elif name in whole:
                    self.given[name] = whole[name]
                else:
                    waiting.append(model.maker[name])

    def _all(self) -> list[Op]:
        """In the order of the model, which is topological."""
        return [op for op in self._model.ops if id(op) in self._ops]

    def nodes(self) -> tuple[Op, ...]:
        """The nodes that compute something: neither views nor conversions between integers and reals."""
        return tuple(op for op in self._all() if op.kind not in (*VIEWS, *CONVERSIONS))

    def serialise(self, outputs: Iterable[str]) -> bytes:
        """The slice as a model of its own, serialised."""
        sources = [
            helper.make_tensor_value_info(p.name, helper.np_dtype_to_tensor_dtype(np.dtype(p.dtype)), p.shape)
            for p in (*self.ports.values(), *self.given.values())
        ]
        try:
            return submodel(self._model, self._all(), sources, outputs).SerializeToString()
        except ValueError as error:
            raise OnnxError(
                f"the host's part of {self._model.name!r} is too large for one message ({error})"
            ) from error
