"""Two netlists with the same registers, compared for ever: outputs, and what each register becomes.

Both become one graph of AND gates, over inputs and registers that they share. Choices and bit logic are gates; of
every other cell (sums, products, comparisons, memories, what is inside) it is only known that equal arguments give
equal results. Where equal ends are not equal gates, a SAT solver is asked whether they can differ. Since both start
in the same state, what is equal for every state stays equal.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import reduce
from pathlib import Path
from typing import Any

from tb.model.yosys import run_yosys
from tests.mutation.graph import FALSE, TRUE, Graph, Oracle

__all__ = ["Modules", "Place", "differences", "less", "read_modules"]

Modules = Mapping[str, Mapping[str, Any]]
"""Modules in yosys' JSON, by name."""
Place = tuple[str, int]
"""A bit of a net, by name."""
End = tuple[str, ...]
Presumed = Callable[[Graph, Callable[[str], list[int]]], Iterable[int]]

_CELLS = ("proc -norom", "memory_collect", "opt_clean")


def read_modules(designs: Mapping[str, Sequence[str]], folder: Path) -> dict[str, dict[str, Any]]:
    """By key of ``designs``: the modules that these commands of yosys read, taken apart into cells."""
    script = []
    for name, read in designs.items():
        script += [*read, f"write_json {name}.json", "design -reset"]
    run_yosys(script, folder, name="designs")
    return {name: json.loads((folder / f"{name}.json").read_text())["modules"] for name in designs}


def differences(
    one: Modules,
    other: Modules,
    *,
    same: Mapping[Place, Place] | None = None,
    law: tuple[str, str] | None = None,
    below: Mapping[str, int] | None = None,
    presumed: Presumed | None = None,
) -> list[str]:
    """What is not equal in both, a line each.

    Parameters
    ----------
    same
        Registers of ``other`` by place, and those of ``one`` that they stand for (default: of equal names).
    law : (input, input)
        The second is high whenever the first is.
    below
        Registers of ``one`` by name, and what they are always less than, which is shown, too.
    presumed : (graph, word by name) -> literals
        What is true of nets of ``one`` in every state that is reached.
    """
    found = [f"{name} is in one of the two only" for name in sorted(one.keys() ^ other.keys())]
    for name in sorted(one.keys() & other.keys()):
        found += [
            f"{name}: {' '.join(end)}"
            for end in _module_differences(one[name], other[name], same, law, below or {}, presumed)
        ]
    return found


def _module_differences(
    one: Mapping[str, Any],
    other: Mapping[str, Any],
    same: Mapping[Place, Place] | None,
    law: tuple[str, str] | None,
    below: Mapping[str, int],
    presumed: Presumed | None,
) -> Iterator[End]:
    shared = _Shared()
    registers = {place: bit for bit, places in _registers(one).items() for place in places}
    states = {bit: shared.graph.free() for bit in registers.values()}
    twins: dict[Any, Any] = {}
    for bit, places in _registers(other).items():
        for place in places:
            twin = registers.get(place if same is None else same.get(place, place))
            if twin is not None:
                twins[bit] = twin
    left = _Logic(one, shared, states)
    right = _Logic(other, shared, {bit: states[twin] for bit, twin in twins.items()})
    if law is not None:
        condition, holds = (shared.function("", name, 0) for name in law)
        shared.graph.laws.append(shared.graph.disj(condition ^ 1, holds))
    words = {name: one["netnames"][name]["bits"] for name in below}
    for name, bits in words.items():
        shared.graph.laws.append(less(shared.graph, [states[bit] for bit in bits], below[name]))
    if presumed is not None:
        shared.graph.laws += presumed(shared.graph, left.word)
    with Oracle(shared.graph) as oracle:
        becomes = left.next_states() if below else {}
        for name, bits in words.items():
            following = [becomes[bit][1][-1] for bit in bits]
            if oracle.possible(less(shared.graph, following, below[name]) ^ 1):
                yield "register", name, f"is not always below {below[name]}"
        for end, (a, b) in _pairs(left, right, twins):
            if a is None or b is None or a[0] != b[0] or len(a[1]) != len(b[1]):
                yield *end, "is not alike"
                continue
            for at, (x, y) in enumerate(zip(a[1], b[1], strict=True)):
                differ = shared.graph.differ(x, y)
                if differ != FALSE and oracle.possible(differ):
                    yield *end, f"[{at}]"


def less(graph: Graph, word: Sequence[int], bound: int) -> int:
    """Whether a word is one of the numbers below a bound."""
    return graph.any(
        graph.all(bit ^ (1 - (number >> at & 1)) for at, bit in enumerate(word)) for number in range(bound)
    )


def _registers(module: Mapping[str, Any]) -> dict[Any, list[Place]]:
    """Bits that registers drive, and their names."""
    found = {bit: [] for cell in module["cells"].values() if "dff" in cell["type"] for bit in cell["connections"]["Q"]}
    for name, net in module["netnames"].items():
        for at, bit in enumerate(net["bits"]):
            if bit in found and not net["hide_name"]:
                found[bit].append((name, at))
    return found


Value = tuple[Any, Sequence[int]]
"""What must be the same, and literals."""


def _pairs(
    left: _Logic, right: _Logic, twins: Mapping[Any, Any]
) -> Iterator[tuple[End, tuple[Value | None, Value | None]]]:
    """Ends of both: outputs and what goes into memories and instances, and the next states of registers."""
    one, other = left.ends(), right.ends()
    for end in one | other:
        yield end, (one.get(end), other.get(end))
    becomes, is_to_be = left.next_states(), right.next_states()
    names = _registers(right.module)
    for bit, twin in twins.items():
        name, at = names[bit][0]
        (kind, start), wires = becomes[twin]
        if start in (None, "x"):  # left open
            start = is_to_be[bit][0][1]
        yield ("register", f"{name}[{at}]"), (((kind, start), wires), is_to_be[bit])


class _Shared:
    """The graph, and functions of which it is only known that equal arguments give equal results."""

    def __init__(self) -> None:
        self.graph = Graph()
        self._results: dict[tuple[Any, ...], int] = {}

    def function(self, *key: Any) -> int:
        if key not in self._results:
            self._results[key] = self.graph.free()
        return self._results[key]


class _Logic:
    """Nets of a module as literals."""

    def __init__(self, module: Mapping[str, Any], shared: _Shared, states: Mapping[Any, int]) -> None:
        self.module, self._shared = module, shared
        self._literals: dict[Any, int] = {"0": FALSE, "1": TRUE} | dict(states)
        self._drivers: dict[Any, tuple[Mapping[str, Any], str, int]] = {}
        for name, port in module["ports"].items():
            if port["direction"] == "input":
                self._results("", name, port["bits"])
        for name, cell in module["cells"].items():
            for port, bits in cell["connections"].items():
                if cell["port_directions"][port] != "output":
                    continue
                if _whole(cell):
                    self._results(name, port, bits)
                elif "dff" not in cell["type"]:
                    self._drivers |= {bit: (cell, port, at) for at, bit in enumerate(bits)}

    def _results(self, owner: str, port: str, bits: Sequence[Any]) -> None:
        self._literals |= {bit: self._shared.function(owner, port, at) for at, bit in enumerate(bits)}

    def word(self, name: str) -> list[int]:
        """A net."""
        return self._all(self.module["netnames"][name]["bits"])

    def ends(self) -> dict[End, Value]:
        """Outputs, and what goes into memories and instances."""
        found: dict[End, Value] = {
            ("output", name): (None, self._all(port["bits"]))
            for name, port in self.module["ports"].items()
            if port["direction"] == "output"
        }
        for name, cell in self.module["cells"].items():
            if _whole(cell):
                settings = cell["type"], *_settings(cell)
                wires = cell["connections"].items()
                for port, bits in wires:
                    if cell["port_directions"][port] == "input":
                        found[name, port] = settings, self._all(bits)
        return found

    def next_states(self) -> dict[Any, Value]:
        """By the bit that a register drives: how it starts and follows its clock, and what it becomes."""
        starts = {}
        for net in self.module["netnames"].values():
            starts |= dict(zip(net["bits"], reversed(net["attributes"].get("init", "")), strict=False))
        found: dict[Any, Value] = {}
        for cell in self.module["cells"].values():
            if "dff" in cell["type"]:
                wires = cell["connections"]
                kind = cell["type"], *(setting for setting in _settings(cell) if setting[0] != "WIDTH")
                control = self._all([bit for port in sorted(wires.keys() - {"D", "Q"}) for bit in wires[port]])
                for bit, following in zip(wires["Q"], wires["D"], strict=True):
                    found[bit] = (kind, starts.get(bit)), [*control, self._literal(following)]
        return found

    def _all(self, bits: Sequence[Any]) -> list[int]:
        return [self._literal(bit) for bit in bits]

    def _literal(self, wanted: Any) -> int:
        """Of a bit, after everything that it needs."""
        waiting = [wanted]
        while waiting:
            bit = waiting[-1]
            if bit in self._literals:
                waiting.pop()
            elif bit not in self._drivers:  # of an undefined bit it is known that it is one
                self._literals[bit] = self._shared.function("undefined")
            elif missing := [one for one in self._operands(bit) if one not in self._literals]:
                waiting += missing
            else:
                self._literals[bit] = self._made(bit)
        return self._literals[wanted]

    def _operands(self, bit: Any) -> list[Any]:
        """Bits that a bit depends on, through one cell."""
        cell, _, at = self._drivers[bit]
        wires = cell["connections"]
        if cell["type"] in ("$mux", "$pmux"):
            return [*wires["S"], wires["A"][at], *wires["B"][at :: len(wires["A"])]]
        return [one for port, bits in wires.items() if cell["port_directions"][port] == "input" for one in bits]

    def _made(self, bit: Any) -> int:
        cell, port, at = self._drivers[bit]
        wires, kind, graph = cell["connections"], cell["type"], self._shared.graph
        if kind in ("$mux", "$pmux"):
            result = self._literals[wires["A"][at]]
            for select, chosen in zip(reversed(wires["S"]), reversed(wires["B"][at :: len(wires["A"])]), strict=True):
                result = graph.choose(self._literals[select], self._literals[chosen], result)
            return result
        operands = {name: [self._literals[one] for one in bits] for name, bits in wires.items() if name in "AB"}
        if kind in _BY_BIT and len({*map(len, operands.values()), len(wires["Y"])}) == 1:
            return reduce(_BY_BIT[kind](graph), [words[at] for words in operands.values()])
        if kind in _OF_ALL and at == 0:
            return _OF_ALL[kind](graph)(operands["A"])
        if kind in ("$add", "$sub", "$mul"):
            signed = tuple(cell["parameters"][f"{name}_SIGNED"].endswith("1") for name in "AB")
            words = [_shortened(operands[name], sign) for name, sign in zip("AB", signed, strict=True)]
            if kind == "$mul" and all(signed):  # it fits into as many bits as its operands have
                at = min(at, sum(map(len, words)) - 1)
            # A bit depends on those up to its own place, whatever the widths.
            return self._shared.function(kind, *map(_extended, words, signed, [at + 1] * 2))
        inputs = sorted(name for name in wires if cell["port_directions"][name] == "input")
        arguments = tuple((name, *(self._literals[one] for one in wires[name])) for name in inputs)
        return self._shared.function(kind, _settings(cell), arguments, port, at)


_BY_BIT: dict[str, Callable[[Graph], Callable[[int, int], int]]] = {
    "$and": lambda graph: graph.conj,
    "$or": lambda graph: graph.disj,
    "$xor": lambda graph: graph.differ,
    "$_AND_": lambda graph: graph.conj,
}
_OF_ALL: dict[str, Callable[[Graph], Callable[[Sequence[int]], int]]] = {
    "$reduce_or": lambda graph: graph.any,
    "$reduce_bool": lambda graph: graph.any,
    "$reduce_and": lambda graph: graph.all,
    "$logic_not": lambda graph: lambda bits: graph.any(bits) ^ 1,
    "$_NOT_": lambda graph: lambda bits: bits[0] ^ 1,
}


def _whole(cell: Mapping[str, Any]) -> bool:
    """A memory, or an instance of a module."""
    return cell["type"] == "$mem_v2" or not cell["type"].startswith("$") or cell["type"].startswith("$paramod")


def _shortened(word: Sequence[int], signed: bool) -> Sequence[int]:
    """A number without bits that only repeat its sign."""
    size = len(word)
    while size > 1 and word[size - 1] == (word[size - 2] if signed else FALSE):
        size -= 1
    return word[:size]


def _extended(word: Sequence[int], signed: bool, bits: int) -> tuple[int, ...]:
    """The lowest bits of a number."""
    return (*word[:bits], *[word[-1] if signed else FALSE] * (bits - len(word)))


def _settings(cell: Mapping[str, Any]) -> tuple[tuple[str, str], ...]:
    """Parameters; of numbers, which frontends write with more or fewer zeros, the digits that count."""
    return tuple(
        (name, value.lstrip("0") if set(value) <= {"0", "1"} else value)
        for name, value in sorted(cell["parameters"].items())
    )
