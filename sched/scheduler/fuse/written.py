"""A fused schedule as a file that a person reads and edits: launches of layers, how each is split, what stays.

    network = "resnet50"

    [[launch]]
    layers = [
        { name = "conv1+maxpool", split = [1, 4], output = "rows" },  # 218,014 cycles, keeps 50,176 bytes a core
        { name = "layer1.0.conv1", split = [1, 4], output = "dram" },
    ]

``split`` is (channel parts, row parts). ``output`` says where the layer's output stays: "dram"; "whole", on every core;
or "rows", on each core those that its readers take there, which must all have one split. A maximum pool may be
computed with the convolution in front, "conv1+maxpool", or be a layer of its own behind it.
"""

from __future__ import annotations

import json
import tomllib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from golden.int8.qnodes import QConv, QHost, QPool
from scheduler.errors import PlanError
from scheduler.fuse.operations import Operation
from scheduler.fuse.search import Choice
from scheduler.fuse.stay import WHOLE, Grid, Stay, Stays, row_parts

__all__ = ["check_cuts", "joined", "read", "write"]

DRAM, WHOLE_MAP, ROWS = "dram", "whole", "rows"


def write(network: str, stays: Stays, choices: Mapping[int, Choice], launches: Sequence[Sequence[int]]) -> str:
    """The text of a file; comments say what each layer is predicted to cost, and what its output takes."""
    lines = [
        "# A fused schedule: edit it, and give it as SCHEDULE=. Of each layer, split = [channel parts, row parts] over",
        '# the cores; output = "dram", "whole" (on every core) or "rows" (on each core, those that its readers take;',
        "# they must have one split). A launch may be cut wherever nothing stays.",
        f"network = {json.dumps(network)}",
    ]
    for numbers in launches:
        if isinstance(stays.steps[numbers[0]].node, QHost):
            continue
        lines += ["", "[[launch]]", "layers = ["]
        lines += [f"    {_line(stays, number, choices[number])}" for number in numbers]
        lines.append("]")
    return "\n".join(lines) + "\n"


def _line(stays: Stays, number: int, choice: Choice) -> str:
    step = stays.steps[number]
    stay = DRAM if choice.stay is None else WHOLE_MAP if choice.stay == WHOLE else ROWS
    facts = [f"{choice.cost:,.0f} cycles"] if choice.cost else []
    if choice.stay and stays.tensors.first[stays.tensors.root(step.output)] == number:
        facts.append(f"keeps {stays.nbytes(stays.tensors.root(step.output), choice.stay):,} bytes a core")
    comment = f"  # {', '.join(facts)}" if facts else ""
    return f'{{ name = {json.dumps(step.label)}, split = {list(choice.grid)}, output = "{stay}" }},{comment}'


def read(text: str, network: str, stays: Stays) -> tuple[dict[int, Choice], list[list[int]]]:
    """Choices of every operation of the chip, and the operations of every launch.

    Raises
    ------
    PlanError
        If it is no such file, or of other layers, or says what cannot be; names launch, layer, rule and remedy.
    """
    return _Reader(text, network, stays).read()


def joined(text: str, candidates: Iterable[tuple[QConv, QPool]]) -> dict[str, QPool]:
    """The maximum pools of a file that are computed with the convolution in front: "conv1+pool1" is one layer."""
    return {node.name: pool for node, pool in candidates if json.dumps(f"{node.name}+{pool.name}") in text}


class _Reader:
    def __init__(self, text: str, network: str, stays: Stays) -> None:
        self.stays, self.network = stays, network
        try:
            self.data = tomllib.loads(text)
        except tomllib.TOMLDecodeError as error:
            raise PlanError(f"it is no TOML: {error}") from error

    def read(self) -> tuple[dict[int, Choice], list[list[int]]]:
        if self.data.get("network") != self.network:
            raise PlanError(
                f"it is a schedule of network = {self.data.get('network')!r}, not of {self.network!r}; write another"
            )
        rows = list(self._rows())
        launches = self._launches([name for _, name, _, _ in rows], [launch for launch, _, _, _ in rows])
        numbers = [number for launch in launches for number in launch]
        grids = {number: self._grid(number, row) for number, row in zip(numbers, rows, strict=True)}
        choices = {
            number: Choice(grids[number], self._stay(number, row, grids), 0.0, 0)
            for number, row in zip(numbers, rows, strict=True)
        }
        self._check_parts(choices, dict(zip(numbers, rows, strict=True)))
        return choices, launches

    def _rows(self) -> Iterator[tuple[int, str, Any, Any]]:
        """(launch, name, split, output) of every layer."""
        launches = self.data.get("launch")
        if not isinstance(launches, list):
            raise PlanError("it has no [[launch]]; each launch is one, with layers = [...]")
        for launch, entry in enumerate(launches, 1):
            layers = entry.get("layers") if isinstance(entry, dict) else None
            if not isinstance(layers, list) or not layers:
                raise PlanError(f"launch {launch} has no layers; give layers = [...], or take it out")
            for layer in layers:
                if not isinstance(layer, dict) or not {"name", "split", "output"} == layer.keys():
                    raise PlanError(f"launch {launch}: {layer!r} must have name, split and output, and nothing else")
                yield launch, str(layer["name"]), layer["split"], layer["output"]

    def _launches(self, names: list[str], launches: list[int]) -> list[list[int]]:
        """Operations of every launch; all of the network's, in its order."""
        wanted = [(n, step) for n, step in enumerate(self.stays.steps) if not isinstance(step.node, QHost)]
        found: list[list[int]] = []
        for place, (name, launch) in enumerate(zip(names, launches, strict=True)):
            if place >= len(wanted) or name != wanted[place][1].label:
                expected = f"{wanted[place][1].label!r} comes here" if place < len(wanted) else "no layer is left"
                raise PlanError(f"launch {launch}: layer {name!r}, but {expected}: layers keep the network's order")
            number = wanted[place][0]
            fresh = not place or launch != launches[place - 1]
            if not fresh and number != found[-1][-1] + 1:
                raise PlanError(f"launch {launch}: the host computes something before {name!r}; begin a launch there")
            if fresh:
                found.append([])
            found[-1].append(number)
        if len(names) < len(wanted):
            raise PlanError(
                f"layer {wanted[len(names)][1].label!r} is missing; every layer of the network must be there"
            )
        return found

    def _grid(self, number: int, row: tuple[int, str, Any, Any]) -> Grid:
        launch, name, split, _ = row
        allowed = self.stays.grids(number)
        if not isinstance(split, list) or tuple(split) not in allowed:
            some = ", ".join(str(list(grid)) for grid in allowed)
            raise PlanError(f"launch {launch}, layer {name!r}: split = {split} cannot be; it can be {some}")
        return split[0], split[1]

    def _stay(self, number: int, row: tuple[int, str, Any, Any], grids: Mapping[int, Grid]) -> Stay:
        launch, name, _, output = row
        where = f"launch {launch}, layer {name!r}"
        if output not in (DRAM, WHOLE_MAP, ROWS):
            raise PlanError(f'{where}: output = {output!r}; it must be "{DRAM}", "{WHOLE_MAP}" or "{ROWS}"')
        if output == DRAM:
            return None
        root = self.stays.tensors.root(self.stays.steps[number].output)
        options = self.stays.options(root)
        readers = [reader for reader in self.stays.tensors.readers.get(root, []) if reader in grids]
        if options == [None] or not readers:
            raise PlanError(f'{where}: output = "{output}", but it cannot stay on the chip; use "{DRAM}"')
        if output == WHOLE_MAP:
            return WHOLE
        splits = {reader: row_parts(grids[reader]) for reader in readers}
        if len(set(splits.values())) > 1:
            some = ", ".join(f"{self.stays.steps[reader].label} has {list(grids[reader])}" for reader in readers)
            raise PlanError(f'{where}: output = "{ROWS}" needs readers of one split, but {some}; use "{WHOLE_MAP}"')
        (stay,) = set(splits.values())
        if stay not in options:
            raise PlanError(f'{where}: its readers cannot all take rows of the split {list(stay)}; use "{WHOLE_MAP}"')
        return stay

    def _check_parts(self, choices: Mapping[int, Choice], rows: Mapping[int, tuple[int, str, Any, Any]]) -> None:
        """Tensors written by several layers stay in one place, and every core has room for what is alive."""
        tensors, capacity = self.stays.tensors, self.stays.core.act_bytes
        stay_of: dict[str, Stay] = {}
        for number, choice in choices.items():
            launch, name, _, _ = rows[number]
            where = f"launch {launch}, layer {name!r}"
            root = tensors.root(self.stays.steps[number].output)
            if stay_of.setdefault(root, choice.stay) != choice.stay:
                raise PlanError(f"{where}: its output is a part of one that stays elsewhere; give all parts one output")
            alive = {name: stay for name, stay in stay_of.items() if stay and tensors.last[name] >= number}
            once = self.stays.in_place(number, alive)
            used = sum(self.stays.nbytes(name, stay) for name, stay in alive.items() if name != once)
            if used > capacity:
                kept = ", ".join(f"{name} ({self.stays.nbytes(name, stay):,})" for name, stay in alive.items())
                raise PlanError(
                    f"{where}: {used:,} bytes stay on a core, which has {capacity:,}: {kept}; put one of them into DRAM"
                )


def check_cuts(steps: Sequence[Operation], launches: Sequence[Sequence[int]], alive: Sequence[bool]) -> None:
    """Refuse launches that end while something stays."""
    for number, launch in enumerate(launches, 1):
        if alive[launch[-1]]:
            raise PlanError(
                f"launch {number} ends behind layer {steps[launch[-1]].label!r} while tensors stay on the chip; "
                "put them into DRAM, or go on with the launch"
            )
