"""Where a float model may be cut earlier: values before one that the host has, of which the chip can make it."""

import math
from collections.abc import Mapping, Sequence

from golden.onnx_import.islands import OnHost
from golden.onnx_import.model import FLOAT_OPS, LAYERS, Model, Op
from golden.onnx_import.walk import VIEWS

__all__ = ["earlier"]

OPERATORS = 64
"""Most that are looked at on the way back."""
TRIES = 3
"""Cuts that are tried: each is imported, and its part for the host run."""


def earlier(
    model: Model, name: str, values: Mapping[str, object], refusals: Mapping[str, str]
) -> list[tuple[str, Sequence[Op]]]:
    """Values from which alone the chip may compute `name`, and the operators between, in the order of the model.

    None has more elements, so that no more crosses; what has fewest comes first, and then what is farther back. All of
    it is on the host, but only because nothing before it was on the chip.

    Parameters
    ----------
    values : mapping of str to object
        What each value is by now: `OnHost`, or something of the chip.
    refusals : mapping of str to str
        Why the chip cannot run nodes, by name.
    """
    place = {id(op): index for index, op in enumerate(model.ops)}
    largest = _size(model, name)
    frontier, ops = {name}, list[Op]()
    found: list[tuple[int, str, Sequence[Op]]] = []
    while len(ops) < OPERATORS:
        value = max(frontier, key=lambda value: place[id(model.maker[value])] if value in model.maker else -1)
        op = model.maker.get(value)
        if op is None or op.kind not in FLOAT_OPS or op.kind in LAYERS or op.outputs[1:] or op.name in refusals:
            break
        ops.append(op)
        frontier.remove(value)
        frontier.update(read for read in op.reads if read not in model.constants)
        if not all(isinstance(values.get(read), OnHost) for read in frontier):
            break
        if len(frontier) == 1 and op.kind not in VIEWS:
            (root,) = frontier
            if 0 < _size(model, root) <= largest:
                found.append((_size(model, root), root, tuple(reversed(ops))))
    found.sort(key=lambda each: (each[0], -len(each[2])))
    return [(root, between) for _, root, between in found[:TRIES]]


def _size(model: Model, name: str) -> int:
    """Elements; 0 where they are not known."""
    return math.prod(model.shapes.get(name, (0,)))
