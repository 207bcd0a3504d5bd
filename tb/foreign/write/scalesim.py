"""Inputs of SCALE-Sim 3.0.0: configuration, topology, layout, and a script that runs it without its traces."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from tb.foreign.shapes import LayerShape, Missing
from tb.foreign.tool import Entry, Target

__all__ = ["RUN_NAME", "write_scalesim"]

RUN_NAME = "systomesh"
"""Folder of its reports, in `results`."""

CONFIGURATION = """\
[general]
run_name = {name}

[architecture_presets]
ArrayHeight = {rows}
ArrayWidth = {cols}
IfmapSramSzkB = {ifmap}
FilterSramSzkB = {filters}
OfmapSramSzkB = {ofmap}
IfmapOffset = 0
FilterOffset = 10000000
OfmapOffset = 20000000
Bandwidth = {rate}
Dataflow = ws
MemoryBanks = 1
ReadRequestBuffer = 60
WriteRequestBuffer = 60

[layout]
IfmapCustomLayout = False
IfmapSRAMBankBandwidth = {rate}
IfmapSRAMBankNum = 1
IfmapSRAMBankPort = 1
FilterCustomLayout = False
FilterSRAMBankBandwidth = {rate}
FilterSRAMBankNum = 1
FilterSRAMBankPort = 1

[sparsity]
SparsitySupport = False
SparseRep = ellpack_block
OptimizedMapping = False
BlockSize = 8
RandomNumberGeneratorSeed = 40

[run_presets]
InterfaceBandwidth = USER
UseRamulatorTrace = False
"""
"""Keys as ``scale_config.py`` reads them. With USER, reads take the banks' bandwidth and writes that of Bandwidth."""

COLUMNS = (
    "Layer name", "IFMAP Height", "IFMAP Width", "Filter Height", "Filter Width", "Channels", "Num Filter", "Strides",
)  # fmt: skip
LAYOUT_COLUMNS = 21

SCRIPT = '''\
"""Runs SCALE-Sim here; its own command always writes traces of every cycle, this does not.

Two of its methods are replaced by others that say the same sooner: no progress bar is made for every cycle, and a
buffer's lines are found by address instead of one by one.
"""

import scalesim.memory.read_buffer as reading
import scalesim.memory.write_buffer as writing
from scalesim.scale_sim import scalesim

_prepare = reading.read_buffer.prepare_hashed_buffer


def _prepare_with_index(buffer):
    _prepare(buffer)
    buffer.lines_of = {}
    for line, held in buffer.hashed_buffer.items():
        for address in held:
            buffer.lines_of.setdefault(address, []).append(line)


def _hit(buffer, address):
    start, end = buffer.active_buffer_set_limits
    if start < end:
        return any(start <= line < end for line in buffer.lines_of.get(address, ()))
    return any(line >= start or line < end for line in buffer.lines_of.get(address, ()))


reading.read_buffer.prepare_hashed_buffer = _prepare_with_index
reading.read_buffer.active_buffer_hit = _hit
reading.tqdm = writing.tqdm = lambda lines, **options: lines

if __name__ == "__main__":
    scalesim(True, False, "scale.cfg", "topology.csv", "layout.csv").run_scale(top_path="results")
'''

CHIP = (
    Missing("cores and mesh", "one array; packets, routers and multicast are not modelled"),
    Missing("memory", "three ports of their own, for inputs, filters and outputs; here one node has them all"),
    Missing("memory latency", "a word comes with the next cycle; there are no bursts"),
    Missing("shadow weights", "an array is filled anew for every fold; here weights come while it computes"),
    Missing("tap unit", "depthwise layers and pools run on the array, one filter at a time, or not at all"),
    Missing("instructions", "nothing is fetched, no launch begins or ends"),
)


def write_scalesim(
    target: Target, net: str, layers: Sequence[LayerShape], folder: Path
) -> tuple[list[Entry], list[Missing]]:
    """Write the inputs; the layers that they hold, and what they cannot say.

    SCALE-Sim takes a quarter of a millisecond a cycle. So layers alike have one line, and a depthwise layer has one
    filter, which counts as often as it has channels: "DP" in its name would make it so many equal lines.
    """
    core = target.chip.cores[0]
    missing, entries = list(CHIP), []
    lines: dict[tuple[int, ...], int] = {}
    for layer in layers:
        why = _why_not(layer)
        if why:
            missing.append(Missing(layer.name, why))
            continue
        line = lines.setdefault(_sizes(layer), len(lines))
        entries.append(Entry(layer, line, layer.channels if layer.kind == "depthwise" else 1))
    rate = max(1, round(target.rate))
    if rate != target.rate:
        missing.append(Missing("memory bandwidth", f"whole words a cycle: {rate} for {target.rate:g}"))
    sizes = {"ifmap": core.act_bytes, "filters": core.weight_bytes, "ofmap": 4 * core.acc_entries * core.cols}
    memories = {name: max(1, count // 1024) for name, count in sizes.items()}
    configuration = CONFIGURATION.format(name=RUN_NAME, rows=core.rows, cols=core.cols, rate=rate, **memories)
    (folder / "scale.cfg").write_text(configuration)
    named = [f"L{number}, {', '.join(map(str, sizes))}," for sizes, number in lines.items()]
    (folder / "topology.csv").write_text("\n".join([", ".join(COLUMNS) + ",", *named]) + "\n")
    layout = [",".join(["name", *["1"] * (LAYOUT_COLUMNS - 1)]) + ","] * (1 + len(lines))
    (folder / "layout.csv").write_text("\n".join(layout) + "\n")
    (folder / "run.py").write_text(SCRIPT)
    return entries, missing


def _why_not(layer: LayerShape) -> str:
    """Why a layer has no line; empty if it has one."""
    if layer.kind == "pool":
        return f"{layer.operator}: there are no pools"
    if layer.dilation != (1, 1):
        return f"dilation {layer.dilation}: there is none"
    if layer.stride[0] != layer.stride[1]:
        return f"stride {layer.stride}: there is one for both axes"
    if layer.kind != "depthwise" and layer.groups > 1:
        return f"{layer.groups} groups: there are none"
    return ""


def _sizes(layer: LayerShape) -> tuple[int, ...]:
    """Of its line: maps with padding, as many rows as outputs need, so that rounding up gives no more."""
    if layer.operator == "fc":
        return (1, 1, 1, 1, layer.depth, layer.filters, 1)
    if layer.kind == "depthwise":
        return (*layer.reach, *layer.kernel, 1, layer.filters // layer.channels, layer.stride[0])
    return (*layer.reach, *layer.kernel, layer.channels, layer.filters, layer.stride[0])
