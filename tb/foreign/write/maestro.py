"""Inputs of MAESTRO: hardware, and a network of layers with a weight-stationary dataflow."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from tb.foreign.shapes import LayerShape, Missing
from tb.foreign.tool import Entry, Target
from tb.foreign.write.alike import alike

__all__ = ["write_maestro"]

CHIP = (
    Missing("array", "a number of PEs; rows and columns are a cluster's and their number"),
    Missing("cores and mesh", "one network of a bandwidth"),
    Missing("memories", "one of a PE, one of all; in elements"),
    Missing("filling, draining, waiting", "one figure a layer"),
    Missing("memory latency", "there is none"),
    Missing("tap unit", "pools are no layers; depthwise layers have a dataflow of their own"),
    Missing("instructions", "nothing is fetched, no launch begins or ends"),
)

WEIGHTS_STAY = """\
        SpatialMap(1,1) K;
        TemporalMap({rows},{rows}) C;
        TemporalMap(Sz(R),Sz(R)) R;
        TemporalMap(Sz(S),Sz(S)) S;
        TemporalMap(Sz(R),1) Y;
        TemporalMap(Sz(S),1) X;
        Cluster({rows}, P);
        SpatialMap(1,1) C;
        TemporalMap(Sz(R),1) Y;
        TemporalMap(Sz(S),1) X;
        TemporalMap(Sz(R),Sz(R)) R;
        TemporalMap(Sz(S),Sz(S)) S;
"""
CHANNELS_APART = """\
        SpatialMap(1,1) C;
        TemporalMap(Sz(R),1) Y;
        TemporalMap(Sz(S),1) X;
        TemporalMap(Sz(R),Sz(R)) R;
        TemporalMap(Sz(S),Sz(S)) S;
"""


def write_maestro(
    target: Target, net: str, layers: Sequence[LayerShape], folder: Path
) -> tuple[list[Entry], list[Missing]]:
    """Write the inputs; the layers that they hold, and what they cannot say. Layers alike are one."""
    core, held, missing = target.chip.cores[0], [], list(CHIP)
    for layer in layers:
        why = f"{layer.operator}: no layer of its" if layer.kind == "pool" else ""
        if layer.groups > 1 and layer.kind != "depthwise":
            why = f"{layer.groups} groups: a layer has none"
        if layer.dilation != (1, 1):
            why = f"dilation {layer.dilation}: there is none"
        if why:
            missing.append(Missing(layer.name, why))
        else:
            held.append(layer)
    entries, kinds = alike(held)
    elements = core.act_bytes + core.weight_bytes
    rate = max(1, round(target.rate))
    (folder / "hardware.m").write_text(
        f"num_pes: {core.pes}\nl1_size_cstr: 2\nl2_size_cstr: {elements}\n"
        f"noc_bw_cstr: {core.rows + core.cols}\noffchip_bw_cstr: {rate}\n"
    )
    text = [_layer(number, layer, core.rows) for number, layer in enumerate(kinds)]
    (folder / "mapping.m").write_text("Network systomesh {\n" + "".join(text) + "}\n")
    return entries, missing


def _layer(number: int, layer: LayerShape, rows: int) -> str:
    """Sizes of inputs with padding, as many rows as outputs need."""
    deep = layer.kind == "depthwise"
    height, width = (1, 1) if layer.operator == "fc" else layer.reach
    tall, wide = (1, 1) if layer.operator == "fc" else layer.kernel
    channels = layer.depth if layer.operator == "fc" else layer.channels
    filters = layer.filters // layer.channels if deep else layer.filters
    flow = CHANNELS_APART if deep else WEIGHTS_STAY.format(rows=rows)
    return (
        f"Layer L{number} {{\nType: {'DSCONV' if deep else 'CONV'}\n"
        f"Stride {{ X: {layer.stride[1]}, Y: {layer.stride[0]} }}\n"
        f"Dimensions {{ K: {filters}, C: {channels}, R: {tall}, S: {wide}, Y: {height}, X: {width} }}\n"
        f"Dataflow {{\n{flow}}}\n}}\n"
    )
