"""Branches that shapes and constants decide: an `If` of a known condition gives way to the nodes of its branch."""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Set
from itertools import count

import onnx
from onnx import helper

from golden.onnx_import.model import Model

__all__ = ["decided", "inlined"]

Decisions = Mapping[str, bool]
"""Which branch is taken, by the first output of an `If`."""


def decided(model: Model) -> dict[str, bool]:
    """The decisions that a folded model knows."""
    conditions = {
        op.outputs[0]: model.constants[op.inputs[0]]
        for op in model.ops
        if op.kind == "If" and op.inputs[0] in model.constants
    }
    return {name: bool(value.reshape(-1)[0]) for name, value in conditions.items() if value.size == 1}


def inlined(proto: onnx.ModelProto, rounds: Iterable[Decisions]) -> onnx.ModelProto:
    """The model with the branches that are taken in the place of the `If`s, round by round: branches may hold others.

    Shapes that the file gives for values and outputs are forgotten, for some are those of both branches. Names of a
    branch that other values have too get a suffix, always the same one.
    """
    made = onnx.ModelProto()
    made.CopyFrom(proto)
    for decisions in rounds:
        graph = made.graph
        known = {value.name for value in graph.input} | {tensor.name for tensor in graph.initializer}
        known |= {name for node in graph.node for name in node.output}
        known |= {name for name, times in Counter(_inner(graph)).items() if times > 1}
        nodes: list[onnx.NodeProto] = []
        for node in graph.node:
            taken = decisions.get(node.output[0]) if node.op_type == "If" and node.output else None
            if taken is None:
                nodes.append(node)
            else:
                nodes += _branch(graph, node, taken, known)
        named: set[str] = set()
        for node in nodes:
            if node.name:
                node.name = _unused(node.name, named)
                named.add(node.name)
        nodes = [onnx.NodeProto.FromString(node.SerializeToString()) for node in nodes]
        del graph.node[:]
        graph.node.extend(nodes)
        del graph.value_info[:]
        for value in graph.output:
            value.type.tensor_type.ClearField("shape")
    return made


def _graphs(node: onnx.NodeProto) -> list[onnx.GraphProto]:
    """The graphs inside a node."""
    return [
        graph
        for attribute in node.attribute
        for graph in ([attribute.g] if attribute.HasField("g") else []) + list(attribute.graphs)
    ]


def _inner(graph: onnx.GraphProto) -> Iterator[str]:
    """Names of values in the graphs inside a graph's nodes, as often as they are given."""
    for inner in (inner for node in graph.node for inner in _graphs(node)):
        yield from (value.name for value in inner.input)
        yield from (tensor.name for tensor in inner.initializer)
        yield from (name for node in inner.node for name in node.output if name)
        yield from _inner(inner)


def _branch(graph: onnx.GraphProto, node: onnx.NodeProto, taken: bool, known: set[str]) -> list[onnx.NodeProto]:
    """The nodes of a branch, in terms of the graph around it, which gets its initialisers."""
    wanted = "then_branch" if taken else "else_branch"
    branch = next(attribute.g for attribute in node.attribute if attribute.name == wanted)
    own = [*(tensor.name for tensor in branch.initializer), *(name for n in branch.node for name in n.output if name)]
    names = {}
    for name in own:
        names[name] = _unused(name, known)
        known.add(names[name])
    for tensor in branch.initializer:
        made = graph.initializer.add()
        made.CopyFrom(tensor)
        made.name = names[tensor.name]
    nodes = [_renamed(inner, names) for inner in branch.node]
    for value, output in zip(branch.output, node.output, strict=True):
        if output:
            nodes.append(helper.make_node("Identity", [names.get(value.name, value.name)], [output], output))
    return nodes


def _unused(name: str, known: Set[str]) -> str:
    """The name, or with the first number that makes it one of its own."""
    return next(found for n in count(1) if (found := name if n == 1 else f"{name}_{n}") not in known)


def _renamed(node: onnx.NodeProto, names: Mapping[str, str]) -> onnx.NodeProto:
    """A copy with other names of values, in the graphs inside it too."""
    made = onnx.NodeProto()
    made.CopyFrom(node)
    made.input[:] = [names.get(name, name) for name in node.input]
    made.output[:] = [names.get(name, name) for name in node.output]
    for graph in _graphs(made):
        own = {name for inner in graph.node for name in inner.output}
        own |= {value.name for value in graph.input} | {tensor.name for tensor in graph.initializer}
        outer = {name: new for name, new in names.items() if name not in own}
        nodes = [_renamed(inner, outer) for inner in graph.node]
        del graph.node[:]
        graph.node.extend(nodes)
        for value in graph.output:
            value.name = outer.get(value.name, value.name)
    return made
