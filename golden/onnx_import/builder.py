"""The builder of a quantised graph: its draft, its names, and the operands of the model's operators."""

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np

from golden.int8.fallback import Port
from golden.int8.qgraph import QTensor
from golden.int8.qnodes import QNode
from golden.int8.requant import INT8
from golden.onnx_import.attributes import Names
from golden.onnx_import.draft import Draft
from golden.onnx_import.islands import OnHost
from golden.onnx_import.model import QUANTISED_OPS, Model, Op, require_bounded
from golden.onnx_import.operands import constant, optional_constant
from golden.onnx_import.values import (
    NO_PADDING,
    Activation,
    Fixed,
    Pending,
    QParams,
    Target,
    Value,
    params_of,
    require_same,
)
from golden.onnx_import.walk import VIEWS

__all__ = ["Builder", "QuantisedDraft"]


@dataclass
class QuantisedDraft(Draft):
    """A quantised graph under construction."""

    values: dict[str, Value | OnHost]
    """What each ONNX value is, by its name."""
    tensors: dict[str, QTensor] = field(default_factory=dict)
    unsigned: dict[str, bool] = field(default_factory=dict)
    """Tensors that ONNX holds as uint8."""
    nodes: list[QNode] = field(default_factory=list)
    hosted: dict[str, None] = field(default_factory=dict)
    """Tensors that the host writes, so that it need not read them."""
    roots: dict[str, Activation] = field(default_factory=dict)
    """What a tensor that a table writes is a function of, through other tables too."""


class Builder:
    """Makes tensors and nodes, and reads operands. Names are used once, whatever becomes of what bore them."""

    def __init__(self, model: Model) -> None:
        self.model = model
        self.draft = QuantisedDraft(dict(model.constants))
        self.names = Names()
        self.origins: dict[str, str] = {}
        """Name of the operator that a node comes of, by the latter's name."""
        self._tensor_names = Names()

    # Operands

    def value(self, op: Op, index: int = 0) -> Value | OnHost:
        """What an operand is."""
        return self.draft.values[op.inputs[index]]

    def constant(self, op: Op, index: int) -> np.ndarray:
        """A constant operand; refuses a computed one."""
        return constant(self.draft.values, op, index)

    def optional(self, op: Op, index: int) -> np.ndarray | None:
        """A constant operand that may be left out."""
        return optional_constant(self.draft.values, op, index)

    def params(self, op: Op, scale: int, zero: int) -> QParams:
        """Parameters of an activation, from the operands of these indices."""
        return params_of(
            op, op.inputs[scale], self.constant(op, scale), op.inputs[zero] if op.has(zero) else "",
            self.optional(op, zero),
        )  # fmt: skip

    def activation(self, op: Op, index: int, params: QParams | None = None) -> Activation:
        """A computed operand; with `params`, the quantised one that an operator reads with these."""
        name, value = op.inputs[index], self.value(op, index)
        if not isinstance(value, Activation) or value.real != (params is None):
            op.cannot(
                f"input {name!r} is {'a constant' if isinstance(value, Fixed | np.ndarray) else 'not quantised'}",
                "every operator needs quantised operands: put QuantizeLinear and DequantizeLinear around it",
            )
        if params is not None:
            require_same(op, name, value.params, params)
        return value

    def reader_params(self, name: str) -> QParams | None:
        """Parameters with which the first reader of a quantised value takes it; of scales and zero points, none."""
        for op in self.model.ops:
            for index, read in enumerate(op.inputs):
                if read != name:
                    continue
                found = None
                if op.kind in (*VIEWS, "MaxPool", "Pad"):
                    found = self.reader_params(op.outputs[0])
                elif op.kind in QUANTISED_OPS and index % 3 == (2 if op.kind == "QLinearConcat" else 0):
                    found = self.params(op, index + 1, index + 2)
                if found is not None:
                    return found
        return None

    # The graph

    def name(self, op: Op) -> str:
        """A fresh name for a node that an operator becomes."""
        name = self.names.new(op.name)
        self.origins[name] = op.name
        return name

    def tensor(self, name: str, chw: tuple[int, int, int], params: QParams) -> str:
        """A new tensor for an ONNX value; its name."""
        require_bounded(f"value {name!r}", chw)
        safe = self._tensor_names.new(name)
        self.draft.tensors[safe] = QTensor(safe, chw, float(params.scale), params.zero_point)
        self.draft.unsigned[safe] = params.unsigned
        return safe

    def add(self, node: QNode) -> None:
        """Append a node."""
        self.draft.nodes.append(node)

    def write(self, name: str, pending: Pending, params: QParams) -> Activation:
        """Quantise a pending result: its node writes a new tensor."""
        lo, hi = params.bound(pending.lo, INT8[0]), params.bound(pending.hi, INT8[1])
        tensor = self.tensor(name, pending.chw, params)
        pending.emit(Target(tensor, params, lo, hi))
        return Activation(tensor, pending.chw, pending.shape, params, last=pending.last and pending.chw[1:] != (1, 1))

    def port(self, name: str) -> Port | None:
        """How the host reads a value that is a tensor of the chip."""
        value = self.draft.values[name]
        if not isinstance(value, Activation) or value.real or value.padding != NO_PADDING:
            return None
        if value.tensor in self.draft.hosted:
            return None
        return Port(name, value.shape, "uint8" if value.params.unsigned else "int8", value.last)

    def is_tensor(self, tensor: str) -> Callable[[str], bool]:
        """Whether an ONNX value holds the integers of a tensor."""

        def holds(name: str) -> bool:
            value = self.draft.values.get(name)
            return isinstance(value, Activation) and not value.real and value.tensor == tensor

        return holds
