"""Maximum pools in front of concatenations instead of behind them: an exact change of the quantised graph.

Pools work channel by channel, so ``maxpool(concat(a, b)) = concat(maxpool(a), maxpool(b))``. In front, a pool has a
convolution for a neighbour, whose launch can compute it too.
"""

from dataclasses import replace

from golden.int8.qgraph import QGraph
from golden.int8.qnodes import QConcat, QNode, QPool

__all__ = ["pools_before_concats"]


def pools_before_concats(graph: QGraph) -> QGraph:
    """Split every maximum pool that alone reads a concatenation; the concatenation then makes the pool's output.

    Tensors that both graphs have hold the same values. The output of the old concatenation is gone, and the parts of
    the pool are new: ``<pool>.0``, ``<pool>.1``, ... as nodes, and likewise as tensors.
    """
    while (pair := _find(graph)) is not None:
        graph = _swap(graph, *pair)
    return graph


def _find(graph: QGraph) -> tuple[QConcat, QPool] | None:
    for node in graph.nodes:
        if isinstance(node, QConcat) and node.output not in graph.outputs:
            readers = [other for other in graph.nodes if node.output in other.inputs]
            if len(readers) == 1 and isinstance(readers[0], QPool) and readers[0].op == "maxpool":
                return node, readers[0]
    return None


def _swap(graph: QGraph, concat: QConcat, pool: QPool) -> QGraph:
    tensors = {name: tensor for name, tensor in graph.tensors.items() if name != concat.output}
    size = graph.tensors[pool.output].shape[1:]
    parts: dict[str, QPool] = {}
    for number, name in enumerate(dict.fromkeys(concat.inputs)):
        output = f"{pool.output}.{number}"
        while output in tensors:
            output += "_"
        source = graph.tensors[name]
        tensors[output] = replace(source, name=output, shape=(source.shape[0], *size))
        parts[name] = replace(pool, name=f"{pool.name}.{number}", input=name, output=output)
    joined = replace(concat, inputs=tuple(parts[name].output for name in concat.inputs), output=pool.output)
    nodes: list[QNode] = []
    for node in graph.nodes:
        if node is pool:
            nodes += [*parts.values(), joined]
        elif node is not concat:
            nodes.append(node)
    return QGraph(graph.name, graph.input, graph.outputs, tensors, tuple(nodes))
