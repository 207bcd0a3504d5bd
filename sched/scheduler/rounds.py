"""Batches of pictures: how many are computed together, and the rounds in which all of them have their turn.

Pictures that are computed together divide the cores evenly: each is computed by cores of its own, which load its
tensors, and all load weights and parameters once. One picture at a time has all cores.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

from golden.int8.batch import for_people, of_picture
from golden.int8.qgraph import QGraph
from golden.int8.qnodes import QHost, QNode
from rtl.contract.params import ChipParams
from scheduler.errors import PlanError
from scheduler.plan.program import HostStep, Placement

__all__ = [
    "host_steps",
    "name_of",
    "nodes_of",
    "pictures_at_once",
    "require_batch",
    "require_own_launches",
    "rounds",
    "tensors_of",
]


def require_batch(batch: int) -> None:
    """Refuse what is no number of pictures."""
    if batch < 1:
        raise PlanError(f"BATCH={batch}: give the number of pictures, 1 or more")


def require_own_launches(launches: int | None, batch: int) -> None:
    """Refuse a batch in a given number of launches: layers in different rounds can share none."""
    if batch > 1 and launches is not None:
        raise PlanError(f"LAUNCHES={launches} goes with one picture, not with BATCH={batch}; leave one of the two out")


def pictures_at_once(batch: int, chip: ChipParams) -> list[int]:
    """How many pictures may be computed together: all rounds have as many. On unlike cores one at a time."""
    most = min(batch, chip.n_cores) if len(set(chip.cores)) == 1 else 1
    return [count for count in range(1, most + 1) if batch % count == 0]


def rounds(batch: int, at_once: int) -> Iterator[range]:
    """Pictures of each round, from 1 on."""
    for first in range(1, batch + 1, at_once):
        yield range(first, first + at_once)


def name_of(name: str, pictures: range, batch: int) -> str:
    """What a launch for some pictures of a batch is called: ``conv1@1..4``."""
    return for_people(of_picture(name, picture, batch) for picture in pictures)


def nodes_of(nodes: Iterable[QNode], pictures: range, batch: int) -> tuple[str, ...]:
    """Names of nodes of one picture, for some pictures of a batch."""
    names = [node.name for node in nodes]
    return tuple(of_picture(name, picture, batch) for picture in pictures for name in names)


def tensors_of(placements: Mapping[str, Placement], batch: int) -> dict[str, Placement]:
    """Where the tensors of all pictures lie, each by its own name."""
    return {
        of_picture(name, picture, batch): placement.picture(picture - 1)
        for picture in range(1, batch + 1)
        for name, placement in placements.items()
    }


def host_steps(node: QHost, done: Iterable[QNode], graph: QGraph) -> Iterator[HostStep]:
    """Steps of the host that compute a node for every picture.

    Parameters
    ----------
    done : iterable of QNode
        Nodes that are complete behind it.
    graph : QGraph
        Of the whole batch.
    """
    batch, names = len(graph.inputs), tuple(done)
    of = {each.name: each for each in graph.nodes}
    for pictures in rounds(batch, 1):
        own = of[of_picture(node.name, pictures[0], batch)]
        assert isinstance(own, QHost)
        yield HostStep(own.name, nodes_of(names, pictures, batch), own)
