"""A fused schedule as a file that a person reads and edits: launches of layers, how each is split, what stays.

    network = "resnet50"
    input = "folded"

    [[launch]]
    layers = [
        { name = "conv1+maxpool", split = [1, 4], output = "rows" },  # 218,014 cycles, keeps 50,176 bytes a core
        { name = "layer1.0.conv1", split = [1, 4], output = "dram" },
    ]

``input`` says how the network's input is stored (`scheduler.place.input_layouts`); without it, as seems best.
``split`` is (channel parts, row parts). ``output`` says where the layer's output stays: "dram"; "whole", on every core;
or "rows", on each core those that its readers take there, which must all have one split. A maximum pool may be
computed with the convolution in front, "conv1+maxpool", or be a layer of its own behind it. Two or three layers behind
each other may be done strip by strip: the output of all but the last is then "strips", and the last says how many
``strips`` there are, as in

        { name = "conv1_1", split = [1, 4], output = "strips" },
        { name = "conv1_2+pool1", split = [1, 4], output = "rows", strips = 7 },

``tiles = n`` says in how many tiles, one below the other, each core computes its rows (of each strip); without it they
are as many as are cheapest.

Of a batch, the file says for how many pictures it is, ``batch = 4``, and each launch how many of them it computes at
once, ``pictures = 2``: these share out the cores evenly, so that splits are over the cores of one. Otherwise it is one.
"""

from __future__ import annotations

import json
import tomllib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from golden.int8.qnodes import QConv, QHost, QPool
from scheduler.errors import PlanError
from scheduler.fuse.operations import Operation
from scheduler.fuse.search import Choice
from scheduler.fuse.stay import WHOLE, Grid, Stay, Stays, row_parts
from scheduler.fuse.strips import Chain, Strips
from scheduler.map.mapping import Mapping as Mapped
from scheduler.plan.layout import even_split

__all__ = ["check_batch", "check_cuts", "input_layout", "joined", "read", "write"]

DRAM, WHOLE_MAP, ROWS, STRIPS = "dram", "whole", "rows", "strips"
KEYS, OPTIONAL = {"name", "split", "output"}, {"strips", "tiles"}


class _Row(NamedTuple):
    """A layer of the file, and the launch in which it is."""

    launch: int
    pictures: int
    name: str
    split: Any
    output: Any
    strips: Any = None
    tiles: Any = None

    @property
    def where(self) -> str:
        return f"launch {self.launch}, layer {self.name!r}"


def write(
    network: str,
    batch: int,
    stays: Mapping[int, Stays],
    choices: Mapping[int, Choice],
    launches: Sequence[Sequence[int]],
    mappings: Mapping[int, Mapped],
    layout: str | None = None,
) -> str:
    """The text of a file; comments say what each layer is predicted to cost, its tiles, and what its output takes.

    Parameters
    ----------
    stays : dict of int to Stays
        By the number of pictures that are computed together.
    mappings : dict of int to Mapping
        How each operation is done; of strips, the first.
    layout : str, optional
        Of the network's input.
    """
    lines = [
        "# A fused schedule: edit it, and give it as SCHEDULE=. Of each layer, split = [channel parts, row parts] over",
        '# the cores; output = "dram", "whole" (on every core) or "rows" (on each core, those that its readers take;',
        '# they must have one split) or "strips", with strips = n at the last of the layers that are done by strips. A',
        "# launch may be cut wherever nothing stays. tiles = n cuts the rows of each core into so many tiles.",
        f"network = {json.dumps(network)}",
        *([] if layout is None else [f"input = {json.dumps(layout)}"]),
    ]
    if batch > 1:
        lines += ["# Pictures: how many a launch computes at once; splits are over the cores of each."]
        lines += [f"batch = {batch}"]
    for numbers in launches:
        if isinstance(stays[1].steps[numbers[0]].node, QHost):
            continue
        pictures = choices[numbers[0]].pictures
        lines += ["", "[[launch]]", *([f"pictures = {pictures}"] if batch > 1 else []), "layers = ["]
        lines += [f"    {_line(stays[pictures], number, choices[number], mappings[number])}" for number in numbers]
        lines.append("]")
    return "\n".join(lines) + "\n"


def _line(stays: Stays, number: int, choice: Choice, mapping: Mapped) -> str:
    step = stays.steps[number]
    stay = DRAM if choice.stay is None else WHOLE_MAP if choice.stay == WHOLE else ROWS
    more = ""
    if choice.chain is not None:
        last = number == choice.chain.end - 1
        stay, more = (stay, f", strips = {choice.chain.strips}") if last else (STRIPS, "")
    tiling = mapping.tiling
    if choice.tiles is not None:
        more += f", tiles = {choice.tiles}"
    height = max(tile.store_rows for tile in tiling.parts[0])
    facts = [f"{choice.cost:,.0f} cycles"] if choice.cost else []
    facts.append(f"tiles = {tiling.tiles_y} of {height} {'row' if height == 1 else 'rows'}")
    if stay not in (DRAM, STRIPS) and choice.stay and stays.tensors.first[stays.tensors.root(step.output)] == number:
        facts.append(f"keeps {stays.nbytes(stays.tensors.root(step.output), choice.stay):,} bytes a core")
    split = [mapping.g_oc, len(tiling.row_parts)]
    comment = f"  # {', '.join(facts)}" if facts else ""
    return f'{{ name = {json.dumps(step.label)}, split = {split}, output = "{stay}"{more} }},{comment}'


def read(text: str, network: str, stays: Mapping[int, Stays]) -> tuple[dict[int, Choice], list[list[int]]]:
    """Choices of every operation of the chip, and the operations of every launch.

    Parameters
    ----------
    stays : dict of int to Stays
        By the number of pictures that may be computed together.

    Raises
    ------
    PlanError
        If it is no such file, or of other layers, or says what cannot be; names launch, layer, rule and remedy.
    """
    return _Reader(text, network, stays).read()


def check_batch(text: str, batch: int) -> None:
    """Refuse a file of another number of pictures."""
    own = _parsed(text).get("batch", 1)
    if not isinstance(own, int) or own < 1:
        raise PlanError(f"batch = {own!r}; it must be the number of pictures, 1 or more")
    if own != batch:
        given = f"BATCH={batch}" if batch > 1 else "one picture"
        raise PlanError(
            f"it is a schedule of {f'batch = {own}' if own > 1 else 'one picture'}, not of {given}; "
            f"{f'give BATCH={own}' if own > 1 else 'leave BATCH out'}, or write another with make schedule"
        )


def joined(text: str, candidates: Iterable[tuple[QConv, QPool]]) -> dict[str, QPool]:
    """The maximum pools of a file that are computed with the convolution in front: "conv1+pool1" is one layer."""
    return {node.name: pool for node, pool in candidates if json.dumps(f"{node.name}+{pool.name}") in text}


def input_layout(text: str, layouts: Iterable[str]) -> str | None:
    """How a file wants the network's input to be stored; None if it does not say.

    Raises
    ------
    PlanError
        If it is none of these layouts.
    """
    found = _parsed(text).get("input")
    if found is None or found in (names := list(layouts)):
        return found
    raise PlanError(f"input = {found!r}: this network's input can be stored {' or '.join(names)}")


def _parsed(text: str) -> dict[str, Any]:
    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise PlanError(f"it is no TOML: {error}") from error


class _Reader:
    def __init__(self, text: str, network: str, stays: Mapping[int, Stays]) -> None:
        self.stays, self.network = stays, network
        self.steps, self.tensors = stays[1].steps, stays[1].tensors
        self.data = _parsed(text)

    def read(self) -> tuple[dict[int, Choice], list[list[int]]]:
        if self.data.get("network") != self.network:
            raise PlanError(
                f"it is a schedule of network = {self.data.get('network')!r}, not of {self.network!r}; write another"
            )
        rows = list(self._rows())
        launches = self._launches(rows)
        numbers = [number for launch in launches for number in launch]
        by_number = dict(zip(numbers, rows, strict=True))
        grids = {number: self._grid(number, row) for number, row in by_number.items()}
        chains = self._chains(by_number, grids)
        choices = {
            number: Choice(
                grids[number],
                self._stay(number, row, grids, chains),
                0.0,
                0,
                chain=chains.get(number),
                pictures=row.pictures,
                tiles=self._tiles(number, row, grids[number], chains.get(number)),
                written=True,
            )
            for number, row in by_number.items()
        }
        self._check_parts(choices, by_number)
        return choices, launches

    def _rows(self) -> Iterator[_Row]:
        """Every layer."""
        launches = self.data.get("launch")
        if not isinstance(launches, list):
            raise PlanError("it has no [[launch]]; each launch is one, with layers = [...]")
        for launch, entry in enumerate(launches, 1):
            layers = entry.get("layers") if isinstance(entry, dict) else None
            if not isinstance(layers, list) or not layers:
                raise PlanError(f"launch {launch} has no layers; give layers = [...], or take it out")
            if unknown := entry.keys() - {"layers", "pictures"}:
                raise PlanError(f"launch {launch}: {min(unknown)} is nothing that a launch has; take it out")
            pictures = entry.get("pictures", 1)
            if not isinstance(pictures, int) or pictures not in self.stays:
                some = ", ".join(map(str, self.stays))
                raise PlanError(f"launch {launch}: pictures = {pictures!r} cannot be done at once; it can be {some}")
            for layer in layers:
                if not isinstance(layer, dict) or layer.keys() - OPTIONAL != KEYS:
                    raise PlanError(
                        f"launch {launch}: {layer!r} must have name, split, output, perhaps strips and tiles, no more"
                    )
                yield _Row(
                    launch,
                    pictures,
                    str(layer["name"]),
                    layer["split"],
                    layer["output"],
                    layer.get("strips"),
                    layer.get("tiles"),
                )

    def _launches(self, rows: list[_Row]) -> list[list[int]]:
        """Operations of every launch; all of the network's, in its order."""
        names, launches = [row.name for row in rows], [row.launch for row in rows]
        wanted = [(n, step) for n, step in enumerate(self.steps) if not isinstance(step.node, QHost)]
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

    def _grid(self, number: int, row: _Row) -> Grid:
        split = row.split
        allowed = self.stays[row.pictures].grids(number)
        if not isinstance(split, list) or tuple(split) not in allowed:
            some = ", ".join(str(list(grid)) for grid in allowed)
            raise PlanError(f"{row.where}: split = {split} cannot be; it can be {some}")
        return split[0], split[1]

    def _chains(self, rows: Mapping[int, _Row], grids: Mapping[int, Grid]) -> dict[int, Chain]:
        """By operation, the chain in which it is."""
        found: dict[int, Chain] = {}
        first: int | None = None
        for number, row in rows.items():
            if row.output == STRIPS:
                if row.strips is not None:
                    raise PlanError(f"{row.where}: strips = {row.strips!r} belongs to the last layer of them")
                first = number if first is None else first
                continue
            if first is not None:
                chain = self._chain(first, number + 1, rows, grids)
                found.update(dict.fromkeys(range(first, number + 1), chain))
            elif row.strips is not None:
                raise PlanError(
                    f'{row.where}: strips = {row.strips!r}, but the layer before has no output = "{STRIPS}"'
                )
            first = None
        if first is not None:
            raise PlanError(
                f'{rows[first].where}: output = "{STRIPS}", but no layer behind it ends them with strips = n'
            )
        return found

    def _chain(self, first: int, end: int, rows: Mapping[int, _Row], grids: Mapping[int, Grid]) -> Chain:
        """Operations [first, end) strip by strip."""
        row, parts = rows[end - 1], grids[first][1]
        for number in range(first, end):
            if grids[number] != (1, parts):
                raise PlanError(
                    f"{rows[number].where}: split = {list(grids[number])}; layers done by strips need one [1, n]"
                )
        if any(rows[number].launch != row.launch for number in range(first, end)):
            raise PlanError(f"{row.where}: strips that begin in another launch; put the layers into one")
        if end not in self.stays[row.pictures].chains(first, parts):
            raise PlanError(
                f"{rows[first].where}: it cannot be done by strips up to {row.name!r}: two or three convolutions or "
                f'pools can, each the only reader of the one before; use "{DRAM}", "{WHOLE_MAP}" or "{ROWS}"'
            )
        if not isinstance(row.strips, int) or row.strips < 2:
            raise PlanError(f"{row.where}: strips = {row.strips!r}; it must be 2 or more")
        height = self.tensors.shape(self.steps[end - 1].output)[1] // parts
        if row.strips > height:
            raise PlanError(f"{row.where}: strips = {row.strips}, but a core has only {height} rows; use fewer")
        chain = Chain(first, end, parts, row.strips)
        try:
            Strips(self.stays[row.pictures], chain).require_possible()
        except PlanError as error:
            raise PlanError(f"{row.where}: {error}") from error
        return chain

    def _stay(self, number: int, row: _Row, grids: Mapping[int, Grid], chains: Mapping[int, Chain]) -> Stay:
        where, output = row.where, row.output
        if output == STRIPS:
            return grids[number]
        if output not in (DRAM, WHOLE_MAP, ROWS):
            raise PlanError(f'{where}: output = {output!r}; it must be "{DRAM}", "{WHOLE_MAP}", "{ROWS}" or "{STRIPS}"')
        if output == DRAM:
            return None
        root = self.tensors.root(self.steps[number].output)
        options = self.stays[row.pictures].options(root)
        readers = [reader for reader in self.tensors.readers.get(root, []) if reader in grids]
        if options == [None] or not readers:
            raise PlanError(f'{where}: output = "{output}", but it cannot stay on the chip; use "{DRAM}"')
        if output == WHOLE_MAP:
            return WHOLE
        splits = {reader: row_parts(grids[reader]) for reader in readers}
        if len(set(splits.values())) > 1:
            some = ", ".join(f"{self.steps[reader].label} has {list(grids[reader])}" for reader in readers)
            raise PlanError(f'{where}: output = "{ROWS}" needs readers of one split, but {some}; use "{WHOLE_MAP}"')
        (stay,) = set(splits.values())
        if stay not in options:
            raise PlanError(f'{where}: its readers cannot all take rows of the split {list(stay)}; use "{WHOLE_MAP}"')
        ends = {chains[reader].end for reader in readers if reader in chains and reader < chains[reader].end - 1}
        if len(ends) > 1:
            raise PlanError(f'{where}: several readers are done by strips; use "{WHOLE_MAP}" or "{DRAM}"')
        return (*stay, *ends) if ends else stay  # pyright: ignore[reportReturnType]  # at most one end

    def _tiles(self, number: int, row: _Row, grid: Grid, chain: Chain | None) -> int | None:
        """Row tiles of each core, or of each strip of it."""
        if row.tiles is None:
            return None
        if not isinstance(row.tiles, int) or row.tiles < 1:
            raise PlanError(f"{row.where}: tiles = {row.tiles!r}; it must be 1 or more, or left out")
        if chain is None:
            parts, what = even_split(self.tensors.shape(self.steps[number].output)[1], grid[1]), "core"
        else:
            strips = Strips(self.stays[row.pictures], chain).computed[number]
            parts, what = (part for parts in strips for part in parts), "strip"
        fewest = min(end - first for first, end in parts)
        if row.tiles > fewest:
            rows = "1 row" if fewest == 1 else f"{fewest} rows"
            raise PlanError(f"{row.where}: tiles = {row.tiles}, but a {what} has only {rows} to compute; use fewer")
        return row.tiles

    def _check_chains(
        self, choices: Mapping[int, Choice], rows: Mapping[int, _Row], stay_of: Mapping[str, Stay]
    ) -> None:
        """Chains find what they read where they can read it."""
        for number, choice in choices.items():
            chain = choice.chain
            if chain is None or chain.first != number:
                continue
            name = self.stays[choice.pictures].chain_can_read(number, chain.end, chain.row_parts, stay_of.get)
            if name is not None:
                raise PlanError(
                    f"{rows[number].where}: layers done by strips cannot read the rows of {name!r}; keep it "
                    f'"{WHOLE_MAP}"'
                )

    def _check_parts(self, choices: Mapping[int, Choice], rows: Mapping[int, _Row]) -> None:
        """Tensors written by several layers stay in one place, and every core has room for what is alive."""
        tensors, capacity = self.tensors, self.stays[1].core.act_bytes
        stay_of: dict[str, Stay] = {}
        for number, choice in choices.items():
            where = rows[number].where
            root = tensors.root(self.steps[number].output)
            if stay_of.setdefault(root, choice.stay) != choice.stay:
                raise PlanError(f"{where}: its output is a part of one that stays elsewhere; give all parts one output")
            if choice.chain is not None and number < choice.chain.end - 1:
                continue
            first = number if choice.chain is None else choice.chain.first
            sizes = self._sizes(first, number, stay_of, choice)
            if sum(sizes.values()) > capacity:
                kept = ", ".join(f"{name} ({nbytes:,})" for name, nbytes in sizes.items())
                raise PlanError(
                    f"{where}: {sum(sizes.values()):,} bytes stay on a core, which has {capacity:,}: {kept}; put one "
                    "of them into DRAM" + (", or use more strips" if choice.chain else "")
                )
        self._check_chains(choices, rows, stay_of)

    def _sizes(self, first: int, last: int, stay_of: Mapping[str, Stay], choice: Choice) -> dict[str, int]:
        """Bytes of every core that are taken while some operations run, by tensor."""
        stays, tensors, chain = self.stays[choice.pictures], self.tensors, choice.chain
        inside = {} if chain is None else {stays.steps[n].output: n for n in range(first, last)}
        alive = {
            name: stay for name, stay in stay_of.items() if stay and tensors.last[name] >= first and name not in inside
        }
        once = None if chain else stays.in_place(last, alive, choice.grid)
        sizes = {name: stays.nbytes(name, stay) for name, stay in alive.items() if name != once}
        if chain is not None:
            sizes.update({name: Strips(stays, chain).nbytes(number) for name, number in inside.items()})
        return sizes


def check_cuts(steps: Sequence[Operation], launches: Sequence[Sequence[int]], alive: Sequence[bool]) -> None:
    """Refuse launches that end while something stays."""
    for number, launch in enumerate(launches, 1):
        if alive[launch[-1]]:
            raise PlanError(
                f"launch {number} ends behind layer {steps[launch[-1]].label!r} while tensors stay on the chip; "
                "put them into DRAM, or go on with the launch"
            )
