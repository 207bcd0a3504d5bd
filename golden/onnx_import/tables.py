"""Element-wise functions of one quantised tensor: all that ONNX computes between it and another one is a table.

Whatever the operators between are, their int8 input has 256 values, so ONNX Runtime computes the table: it is given
just these operators, quantisation included, and computes them one by one.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from golden.int8.fallback import run_part
from golden.int8.qnodes import QAdd, QConv, QNode, QPool
from golden.int8.requant import INT8, TABLE_ENTRIES, Requant
from golden.onnx_import.model import Model, Op
from golden.onnx_import.values import Curve
from golden.onnx_import.walk import VIEWS

__all__ = ["compute_table", "identity", "merge_tables"]


def compute_table(
    model: Model, op: Op, curve: Curve, is_source: Callable[[str], bool], *, unsigned: bool
) -> np.ndarray:
    """Entries int8[256] of the quantised value that `op` puts out.

    Parameters
    ----------
    is_source : callable
        Whether an ONNX value holds the integers of the curve's source.
    unsigned : bool
        Whether the value is uint8.
    """
    nodes, constants, sources = _between(model, op, is_source)
    shape = [1, 1, 16, 16] if len(curve.shape) == 4 else [1, TABLE_ENTRIES]
    kinds = [TensorProto.UINT8 if flag else TensorProto.INT8 for flag in (curve.source.params.unsigned, unsigned)]
    graph = helper.make_graph(
        nodes, "table", [helper.make_tensor_value_info(name, kinds[0], shape) for name in sources],
        [helper.make_tensor_value_info(op.outputs[0], kinds[1], None)],
        [numpy_helper.from_array(model.constants[name], name) for name in constants],
    )  # fmt: skip
    proto = helper.make_model(graph, opset_imports=list(model.opsets), ir_version=model.ir_version)
    levels = np.arange(TABLE_ENTRIES) + (0 if curve.source.params.unsigned else INT8[0])
    dtype = np.uint8 if curve.source.params.unsigned else np.int8
    feeds = dict.fromkeys(sources, levels.astype(dtype).reshape(shape))
    value = run_part(proto.SerializeToString(), feeds, op.outputs[0])
    if value.size != TABLE_ENTRIES or value.dtype != (np.uint8 if unsigned else np.int8):
        op.cannot(f"of 256 values it makes {value.dtype}{value.shape}", "it must work element by element")
    return (value.reshape(-1).astype(np.int16) + (INT8[0] if unsigned else 0)).astype(np.int8)


def _between(
    model: Model, last: Op, is_source: Callable[[str], bool]
) -> tuple[list[onnx.NodeProto], list[str], list[str]]:
    """Nodes up to `last`, in order, and the constants and source values that they read."""
    made = {name: op for op in model.ops for name in op.outputs}
    wanted, waiting = {last.outputs[0]}, [last]
    constants: dict[str, None] = {}
    sources: dict[str, None] = {}
    while waiting:
        for name in filter(None, waiting.pop().inputs):
            if name in model.constants:
                constants[name] = None
            elif is_source(name):
                sources[name] = None
            elif name not in wanted:
                wanted.add(name)
                waiting.append(made[name])
    nodes = [
        # What only changes the shape would not fit that of the table.
        helper.make_node("Identity", op.inputs[:1], op.outputs[:1]) if op.kind in VIEWS else op.proto
        for op in model.ops
        if wanted.intersection(op.outputs)
    ]
    return nodes, list(constants), list(sources)


def identity(channels: int, zero_point: int) -> Requant:
    """Requantisation of an average over one tap to the value itself."""
    return Requant.from_scale(np.ones(channels), zero_point)


def merge_tables(nodes: Iterable[QNode], outputs: Sequence[str]) -> list[QNode]:
    """Nodes without those that nothing reads, and tables moved into the requantisation before them where it can be."""
    alive: list[QNode] = []
    readers = Counter(outputs)
    for node in reversed(list(nodes)):
        if readers[node.output]:
            readers.update(node.inputs)
            alive.append(node)
    merged: dict[str, QNode] = {}  # by output, in order
    for node in reversed(alive):
        table = _lone_table(node)
        before = merged.get(node.inputs[0]) if node.inputs else None
        if table is not None and readers[node.inputs[0]] == 1 and isinstance(before, QConv | QPool | QAdd):
            requant = before.requant
            if requant is not None:  # else a maximum pool
                if requant.table is not None:
                    table = table[requant.table.astype(np.int16) - INT8[0]]
                del merged[node.inputs[0]]
                merged[node.output] = replace(before, output=node.output, requant=replace(requant, table=table))
                continue
        merged[node.output] = node
    return list(merged.values())


def _lone_table(node: QNode) -> np.ndarray | None:
    """The table of a node that is nothing else."""
    if not isinstance(node, QPool) or node.requant is None or node.kernel != (1, 1) or node.stride != (1, 1):
        return None
    requant, plain = node.requant, identity(1, node.pad_value)
    alike = (requant.multiplier == plain.multiplier).all() and (requant.shift == plain.shift).all()
    same = (requant.zero_point, requant.lo, requant.hi) == (plain.zero_point, *INT8) and node.bias == -node.pad_value
    return requant.table if alike and same and not any(node.padding) else None
