"""Workloads of ZigZag and Stream: YAML, a loop nest a layer.

The format is that of ZigZag 3.9.1, ``workload_validator.py`` and ``workload_factory.py``; Stream reads the same. Layers
name what they read, so that they chain. Where a file gives no padding, a layer has as much as it needs beyond what its
source makes, evenly around the map. Keys, loops, operators and precisions that do not map are refused by name.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import PurePath
from typing import Any, NoReturn

import yaml

from golden.errors import GraphError, LayerListError
from golden.layer_lists.network import Grower, ListedNetwork
from golden.net.graph import Add, AvgPool, Conv2d, Flatten, Linear, MaxPool, Node
from golden.net.window import Padding

__all__ = ["read_workload"]

KEYS = (
    "id", "name", "operator_type", "equation", "dimension_relations", "loop_dims", "loop_sizes", "operand_precision",
    "operand_source", "pr_loop_dims", "pr_loop_sizes", "padding",
)  # fmt: skip
REQUIRED = ("id", "operator_type", "equation", "loop_dims", "loop_sizes", "operand_precision")
CONVOLUTIONS = ("Conv", "Conv_downsample")
MAXIMA = ("Pooling", "Pool", "MaxPool")
MEANS = ("AveragePool", "GlobalAveragePool")
LOOPS = {
    **dict.fromkeys(CONVOLUTIONS, ("B", "G", "K", "C", "OY", "OX", "FY", "FX")),
    **dict.fromkeys((*MAXIMA, *MEANS), ("B", "G", "OY", "OX", "FY", "FX")),
    "Gemm": ("B", "C", "K"),
    "Add": ("B", "G", "OY", "OX"),
}
"""Loops that a layer of each operator may have."""
BITS = {"W": (8, 0), "I": (8,), "O_final": (8,)}
"""Precisions that the chip has; sums ("O") are int32 whatever the file says. A pool has no weights, of 0 bits."""
EQUATION = re.compile(r"O((?:\[\w+\])+)\+?=(\w)((?:\[\w*\])+)([*+])(\w)((?:\[\w*\])+)")
RELATION = re.compile(r"(\w+)=(?:(\d+)\*)?(\w+)\+(?:(\d+)\*)?(\w+)")
INDICES = {"O": "b g k oy ox", "W": "b g k c fy fx oy ox", "I": "b g c iy ix oy ox"}
"""Indices that each operand may have."""


def read_workload(text: str, file: str) -> ListedNetwork:
    """A network of the layers of a workload.

    Raises
    ------
    LayerListError
        For what is no workload, or does not map; with the layer.
    """
    try:
        layers = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise LayerListError(f"{file} is no YAML ({' '.join(str(error).split())}); mend it") from error
    if not isinstance(layers, list) or not layers or not all(isinstance(layer, dict) for layer in layers):
        raise LayerListError(f"{file} is no workload of ZigZag or Stream; give a list of layers with their loops")
    grower = Grower(PurePath(file).stem)
    made: dict[int, str] = {}
    for layer in layers:
        _Layer(layer, file).append(grower, made)
    pools = sum(layer["operator_type"] in MAXIMA[:2] for layer in layers)
    note = "workload of ZigZag or Stream: seeded weights and inputs"
    return grower.finish(f"{note}; {pools} pools of no kind are maxima" if pools else note)


class _Layer:
    """One layer of a file, checked."""

    def __init__(self, layer: Mapping[str, Any], file: str) -> None:
        self.label = f"{file}, layer {layer.get('name') or layer.get('id')!r}"
        for key in layer:
            if key not in KEYS:
                self.fail(f"unknown key {key!r}", f"known are {', '.join(KEYS)}")
        for key in REQUIRED:
            if key not in layer:
                self.fail(f"{key} is missing", "add it")
        self.id = layer["id"]
        self.name = str(layer.get("name") or f"Layer{self.id}")
        self.kind = layer["operator_type"]
        if self.kind not in LOOPS:
            self.fail(f"operator {self.kind!r} does not map", f"the chip has {', '.join(LOOPS)}")
        self.loops = self._sizes(layer, "loop_dims", "loop_sizes")
        self._check_loops()
        self._check_equation(str(layer["equation"]))
        self._check_precision(layer["operand_precision"])
        self.stride, self.dilation = self._relations(layer.get("dimension_relations") or [])
        self.sources = layer.get("operand_source") or {}
        self.given = self._sizes(layer, "pr_loop_dims", "pr_loop_sizes")
        self.around = self._paddings(layer)

    def fail(self, what: str, remedy: str) -> NoReturn:
        raise LayerListError(f"{self.label}: {what}; {remedy}")

    def _sizes(self, layer: Mapping[str, Any], names: str, sizes: str) -> dict[str, int]:
        dims, values = layer.get(names) or [], layer.get(sizes) or []
        whole = isinstance(values, list) and all(type(value) is int and value > 0 for value in values)
        if not whole or (values and len(dims) != len(values)):
            self.fail(f"{sizes} is {values} for {dims}", "give a whole number of at least 1 for each")
        return dict(zip(dims, values, strict=bool(values)))

    def _check_loops(self) -> None:
        for loop, size in self.loops.items():
            if loop not in LOOPS[self.kind]:
                self.fail(f"loop {loop!r} of {self.kind} does not map", f"it may have {', '.join(LOOPS[self.kind])}")
            if loop == "B" and size > 1 and self.kind != "Gemm":
                self.fail(f"a batch of {size}", "give B: 1, and BATCH= to the command")

    def _check_equation(self, equation: str) -> None:
        found = EQUATION.fullmatch("".join(equation.split()))
        if found is None:
            self.fail(f"equation {equation!r} does not map", "give O[..] += W[..] * I[..] or O[..] = W[..] + I[..]")
        output, first, one, sign, second, two = found.groups()
        operands = {"O": output, first: one, second: two}
        if set(operands) != {"O", "W", "I"} or (sign == "+") != (self.kind == "Add"):
            self.fail(f"equation {equation!r} does not map to {self.kind}", "its operands are O, W and I")
        for operand, indices in operands.items():
            for index in filter(None, re.findall(r"\[(\w*)\]", indices)):
                if index not in INDICES[operand].split():
                    self.fail(f"index {index!r} of {operand} does not map", f"it may have {INDICES[operand]}")

    def _check_precision(self, bits: Mapping[str, Any]) -> None:
        for operand, allowed in BITS.items():
            if operand in bits and bits[operand] not in allowed:
                self.fail(f"{operand} of {bits[operand]} bits does not map", f"the chip has {allowed[0]}")
        for operand in bits:
            if operand not in (*BITS, "O"):
                self.fail(f"precision of unknown operand {operand!r}", f"known are {', '.join(BITS)}, O")

    def _relations(self, relations: Sequence[str]) -> tuple[dict[str, int], dict[str, int]]:
        """Strides and dilations by axis."""
        stride, dilation = {"x": 1, "y": 1}, {"x": 1, "y": 1}
        for relation in relations:
            found = RELATION.fullmatch("".join(relation.split()).lower())
            axis = found and found[1][-1]
            if found is None or (found[1], found[3], found[5]) != (f"i{axis}", f"o{axis}", f"f{axis}"):
                self.fail(f"dimension relation {relation!r} does not map", "give ix=s*ox+d*fx and iy=s*oy+d*fy")
            stride[found[1][-1]], dilation[found[1][-1]] = int(found[2] or 1), int(found[4] or 1)
        return stride, dilation

    def _paddings(self, layer: Mapping[str, Any]) -> dict[str, tuple[int, int]] | None:
        """Rows or columns before and behind the map by axis; None where the file does not say."""
        pairs = layer.get("padding")
        if pairs is None:
            return None
        dims = layer.get("pr_loop_dims") or []
        whole = isinstance(pairs, list) and all(isinstance(p, list) and len(p) == 2 and min(p) >= 0 for p in pairs)
        if not whole or len(pairs) != len(dims):
            self.fail(f"padding {pairs} for pr_loop_dims {dims}", "give [before, behind] for each")
        return {str(dim).lower()[-1]: (pair[0], pair[1]) for dim, pair in zip(dims, pairs, strict=True)}

    def append(self, grower: Grower, made: dict[int, str]) -> None:
        """Append it to the network; `made` has the values of the layers so far by id."""
        if type(self.id) is not int or self.id in made:
            self.fail(f"id {self.id!r} is taken, or no number", "give every layer its own")
        name = grower.unique(self.name)
        try:
            node = self._node(grower, name, made)
            shape = grower.add(node)
        except GraphError as error:
            self.fail(str(error), "it does not map")
        size = self.loops.get
        wanted = (self._channels(), size("OY", 1), size("OX", 1))
        if self.kind != "Gemm" and shape != wanted:
            self.fail(f"it puts out {shape}, but its loops say {wanted}", "mend loops, strides or padding")
        made[self.id] = name

    def _channels(self) -> int:
        return self.loops.get("G", 1) * self.loops.get("K", 1)

    def _node(self, grower: Grower, name: str, made: Mapping[int, str]) -> Node:
        size, kind = self.loops.get, self.kind
        groups = size("G", 1)
        if kind == "Add":
            shape = (groups, size("OY", 1), size("OX", 1))
            a, b = (self._source(grower, made, operand, shape, name) for operand in ("I", "W"))
            return Add(name, a, b)
        if kind == "Gemm":
            return self._product(grower, name, made)
        kernel, stride = (size("FY", 1), size("FX", 1)), (self.stride["y"], self.stride["x"])
        channels = groups * size("C", 1)
        source, padding = self._map(grower, made, channels, name)
        if kind in MAXIMA:
            return MaxPool(name, source, kernel, stride, padding)
        if kind in MEANS:
            return AvgPool(name, source, kernel, stride, padding)
        if grower.shapes[source] == (channels, 1, 1) and kernel == (1, 1) and groups == 1:
            return Linear(name, source, size("K", 1))
        dilation = (self.dilation["y"], self.dilation["x"])
        return Conv2d(name, source, self._channels(), kernel, stride, padding, dilation, groups)

    def _product(self, grower: Grower, name: str, made: Mapping[int, str]) -> Node:
        """B x C times C x K: a full connection, or a 1x1 convolution on a map of B pixels."""
        rows, depth, columns = (self.loops.get(loop, 1) for loop in ("B", "C", "K"))
        source = self._source(grower, made, "I", (depth, 1, rows), name)
        channels, height, width = grower.shapes[source]
        if rows == 1 and channels * height * width == depth:
            if height * width > 1:
                flat = grower.unique(f"{name}.flatten")
                grower.add(Flatten(flat, source))
                source = flat
            return Linear(name, source, columns)
        if (channels, height * width) != (depth, rows):
            self.fail(f"it reads {grower.shapes[source]}, but its loops say B={rows}, C={depth}", "mend the loops")
        return Conv2d(name, source, columns, (1, 1))

    def _source(
        self, grower: Grower, made: Mapping[int, str], operand: str, shape: tuple[int, int, int], name: str
    ) -> str:
        """What an operand reads: another layer, or an input of its own."""
        source = self.sources.get(operand, self.id)
        if source == self.id:
            return grower.fresh(shape, grower.unique(f"{name}.{operand}"))
        if source not in made:
            self.fail(f"{operand} comes of layer {source!r}, which is not there yet", "order layers by what they read")
        return made[source]

    def _map(self, grower: Grower, made: Mapping[int, str], channels: int, name: str) -> tuple[str, Padding]:
        """The map that a window moves over, and its padding."""
        need = {axis: self._reach(axis) for axis in "yx"}
        around = self.around or {}
        alone = {axis: self.given.get(f"I{axis.upper()}", need[axis] - sum(around.get(axis, (0, 0)))) for axis in "yx"}
        source = self._source(grower, made, "I", (channels, alone["y"], alone["x"]), name)
        have = dict(zip("yx", grower.shapes[source][1:], strict=True))
        if grower.shapes[source][0] != channels:
            self.fail(f"it reads {grower.shapes[source][0]} channels, but its loops say {channels}", "mend the loops")
        if self.around is None:
            lacks = {axis: max(0, need[axis] - have[axis]) for axis in "yx"}
            around = {axis: (lack - lack // 2, lack // 2) for axis, lack in lacks.items()}
        (top, bottom), (left, right) = (around.get(axis, (0, 0)) for axis in "yx")
        return source, (top, left, bottom, right)

    def _reach(self, axis: str) -> int:
        """Rows or columns, with padding, that the outputs need."""
        out, taps = self.loops.get(f"O{axis.upper()}", 1), self.loops.get(f"F{axis.upper()}", 1)
        return self.stride[axis] * (out - 1) + self.dilation[axis] * (taps - 1) + 1
