"""What cores, links and memory nodes did in a run, out of counters, marks and programs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from estimator.events import Events
from rtl.contract.activity import by_cause
from rtl.contract.marks import Interval
from rtl.contract.params import ChipParams
from rtl.contract.routing import links, neighbour, node_port
from tb.report.mesh import LaunchLoad, Load, Mesh, MeshLink, MeshMemory
from tb.report.summary import CAUSES
from tb.run.counts import LaunchEvents
from tb.sim.job import LaunchResult

__all__ = ["launch_load", "mesh_of"]


def mesh_of(chip: ChipParams, launches: Sequence[LaunchLoad | None]) -> Mesh:
    """The mesh of a chip with these loads."""
    nodes = [MeshMemory(node.x, node.y, node.side.name.lower()) for node in chip.memory_nodes]
    return Mesh(chip.mesh_width, chip.mesh_height, nodes, _links(chip), launches)


def launch_load(
    chip: ChipParams, result: LaunchResult, events: LaunchEvents, marked: Sequence[Interval]
) -> LaunchLoad:
    """Loads of a launch and, where their cycles are known apart, of its parts.

    Cycles are the hardware's. So are flits and bytes: those of the parts are their programs', which the counters equal
    (`tb.run.counts`); blocks of instructions that fetch units read ahead go to the last part.

    Parameters
    ----------
    marked : sequence of Interval
        Of each part; of none where these are not known apart.
    """
    parts, whole = events.parts, events.whole
    cores, routers = result.counters["core"], result.counters["router"]
    ahead = [whole.ahead(core, counters["flits_in"]) or 0 for core, counters in enumerate(cores)]
    blocked = [router["blocked"] for router in routers]
    causes = [by_cause(counters) for counters in cores]
    found = [*parts[:-1], parts[-1].fetching(ahead)]
    return LaunchLoad(
        _load(chip, result.cycles, [_causes(core) for core in causes], whole.fetching(ahead), blocked),
        [
            _load(chip, interval.cycles, [_causes(core) for core in interval.cores], some)
            for interval, some in zip(marked, found, strict=True)
        ] if marked else [],
    )  # fmt: skip


def _load(
    chip: ChipParams, cycles: float, cores: list[list[float]], events: Events, blocked: list[int] | None = None
) -> Load:
    routed = [events.routes.out[link.y * chip.mesh_width + link.x][link.port] for link in links(chip)]
    sent = [events.flits_out(node) for node in range(chip.n_nodes)]
    nodes = range(len(chip.memory_nodes))
    return Load(
        cycles, cores, [*routed, *sent],
        [sum(count for (node, _), count in events.read_bytes.items() if node == each) for each in nodes],
        [sum(count for (node, _), count in events.write_bytes.items() if node == each) for each in nodes],
        blocked,
    )  # fmt: skip


def _links(chip: ChipParams) -> list[MeshLink]:
    """Every direction of every link: out of the routers, then into them from cores and memory nodes by number."""
    nodes = {node_port(chip, core): f"core {core}" for core in range(chip.n_cores)}
    nodes |= {
        node_port(chip, chip.memory_node_id(memory)): f"memory {memory}" for memory in range(len(chip.memory_nodes))
    }

    def router(x: int, y: int) -> str:
        return f"router {y * chip.mesh_width + x}"

    outward = [
        MeshLink(link.x, link.y, link.port.name.lower(), True, router(link.x, link.y),
                 router(*onward) if (onward := neighbour(chip, *link)) else nodes[link])
        for link in links(chip)
    ]  # fmt: skip
    return outward + [
        MeshLink(link.x, link.y, link.port.name.lower(), False, name, router(link.x, link.y))
        for link, name in nodes.items()
    ]


def _causes(counts: Mapping[str, float]) -> list[float]:
    return [counts[cause] for cause in CAUSES]
