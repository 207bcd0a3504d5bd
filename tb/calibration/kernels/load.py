"""Kernels of LOADs: sizes, runs, ways, chains, several receivers, several nodes, and links that flows share."""

from __future__ import annotations

from collections.abc import Iterator

from rtl.contract.isa import Engine, Space
from rtl.contract.params import ChipParams
from tb.calibration.kernels.sketch import READ_BYTES, Kernel, Sketch, farthest_node
from tb.fuzz.program import DATA_BYTES

__all__ = ["load_kernels"]


def load_kernels(chip: ChipParams, *, full: bool) -> Iterator[Kernel]:
    """LOADs of one core; of several cores from one node; from several nodes; over the same links."""
    most = DATA_BYTES // chip.link_bytes
    for flits, count in ((1, 1), (1, 8), (8, 8), (32, 4), (33, 4), (128, 1), (512, 4), (2048, 1)) if full else (
        (1, 8), (32, 4), (512, 2),
    ):  # fmt: skip
        yield _loads(chip, min(flits, most), count, 0, "near")
    for run, runs in ((1, 32), (4, 32), (16, 16), (5, 64)) if full else ((4, 32), (1, 32)):
        sketch = Sketch(chip)
        for _ in range(3):
            sketch.load(0, run * runs, 0, runs=runs, gap=2)
        yield sketch.kernel("load runs", f"3 of {runs} runs of {run} flits")
    far = farthest_node(chip, 0)
    for node in dict.fromkeys([0, far]):
        yield _chain(chip, node)
    yield _computed(chip)
    if chip.n_cores > 1:
        yield _loads(chip, 32, 4, far, "far")
        yield from _multicast(chip, full=full)
        yield from _shared(chip, full=full)


def _loads(chip: ChipParams, flits: int, count: int, node: int, where: str) -> Kernel:
    sketch = Sketch(chip)
    for _ in range(count):
        sketch.load(0, flits, node)
    return sketch.kernel("load", f"{count} of {flits} flits, {where}")


def _chain(chip: ChipParams, node: int) -> Kernel:
    """Each LOAD waits for the data of the one before."""
    sketch = Sketch(chip)
    before: int | None = None
    for _ in range(5):
        token = sketch.load(0, 8, node, wait=before)[0]
        if before is not None:
            sketch.taken(0, before)
        before = token
    return sketch.kernel("load chain", f"5 of 8 flits, node {node}")


def _computed(chip: ChipParams) -> Kernel:
    """COMPUTEs that wait for LOADs in a ring of two slots."""
    sketch = Sketch(chip)
    free = sketch.token(0)
    sketch.setup(0, Engine.ARRAY, 32)
    for number in range(6):
        token = sketch.load(0, 64, 0, wait=free if number > 1 else None)[0]
        sketch.taken(0, token)
        sketch.compute(0, 1, 4, wait=token, read=free if number < 4 else None)
    return sketch.kernel("load to compute", "6 of 64 flits, 4 passes of 32 pixels")


def _multicast(chip: ChipParams, *, full: bool) -> Iterator[Kernel]:
    """One core asks for all; and each core in turn asks for all, of different nodes."""
    everyone = range(chip.n_cores)
    for flits, count in ((1, 4), (16, 4), (32, 4), (256, 4)) if full else ((32, 4), (256, 4)):
        sketch = Sketch(chip)
        for _ in range(count):
            sketch.load(0, flits, 0, to=everyone)
        yield sketch.kernel("multicast", f"{count} of {flits} flits to all")
    row = range(chip.mesh_width)
    sketch = Sketch(chip)
    for _ in range(4):
        sketch.load(0, 128, 0, to=row)
    yield sketch.kernel("multicast", "4 of 128 flits to a row")
    nodes = len(chip.memory_nodes)
    if nodes > 1:
        for flits in (16, 128) if full else (128,):
            sketch = Sketch(chip)
            for node in range(nodes):
                for _ in range(3):
                    sketch.load(min(node, chip.n_cores - 1), flits, node, to=everyone)
            yield sketch.kernel("multicasts", f"of every node, 3 of {flits} flits to all")
        sketch = Sketch(chip)
        for node in range(nodes):
            core = chip.n_cores - 1 - node
            for _ in range(4):
                sketch.load(core, 64, node, to=everyone if node % 2 else None, space=Space.ACT)
        yield sketch.kernel("multicasts", "beside loads of one core, 4 of 64 flits")


def _shared(chip: ChipParams, *, full: bool) -> Iterator[Kernel]:
    """Nodes to one core; cores at one node; all at home; flows over one link, and crossing ones."""
    nodes, cores = len(chip.memory_nodes), chip.n_cores
    counts = range(2, nodes + 1) if full and nodes <= 4 else dict.fromkeys([2, nodes])
    for count in counts if nodes > 1 else ():
        for flits in (16, 128) if full else (64,):
            for core in dict.fromkeys([0, cores // 2]) if full else [0]:
                sketch = Sketch(chip)
                for _ in range(12 // count + 1):
                    for node in range(count):
                        sketch.load(core, flits, node)
                yield sketch.kernel("nodes to one core", f"{count} nodes, {flits} flits, core {core}")
    for count in dict.fromkeys([2, min(4, cores), cores]):
        for flits in (8, 64) if full else (64,):
            sketch = Sketch(chip)
            for core in range(count):
                for _ in range(4):
                    sketch.load(core, flits, 0)
            yield sketch.kernel("cores at one node", f"{count} cores, 4 of {flits} flits")
    sketch = Sketch(chip)
    for core in range(cores):
        for _ in range(4):
            sketch.load(core, 64, chip.home_memory[core])
    yield sketch.kernel("all cores at home", "4 of 64 flits")
    if nodes > 1:
        for flits in (16, 128) if full else (64,):
            yield _flows(chip, flits, crossing=False)
            yield _flows(chip, flits, crossing=True)
        sketch = Sketch(chip)
        for core in range(cores):
            for number in range(6):
                sketch.load(core, 48, (core + number) % nodes)
        yield sketch.kernel("all cores at all nodes", "6 of 48 flits")
        sketch = Sketch(chip, cores)
        for core in range(cores):
            for number in range(4):
                sketch.load(core, 48, (core + number) % nodes)
                sketch.store(core, 16, (core + number + 1) % nodes, writer=core)
        yield sketch.kernel("loads and stores of all cores", "4 of 48 and of 16 flits")
    assert 128 * chip.link_bytes <= READ_BYTES


def _flows(chip: ChipParams, flits: int, *, crossing: bool) -> Kernel:
    """Every core from the node farthest from it, or each from the node of the opposite core's home."""
    sketch = Sketch(chip)
    cores = chip.n_cores
    for core in range(cores):
        node = chip.home_memory[cores - 1 - core] if crossing else farthest_node(chip, core)
        for _ in range(3):
            sketch.load(core, flits, node)
    return sketch.kernel("crossing flows" if crossing else "flows from afar", f"3 of {flits} flits a core")
