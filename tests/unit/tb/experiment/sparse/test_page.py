"""The page and picture of the experiment on sparse engines, from made-up records."""

from __future__ import annotations

from dataclasses import replace

import pytest

from golden.zoo import load
from tb.experiment.point import Point
from tb.experiment.records import ESTIMATE, RTL, Book, Record
from tb.experiment.sparse import SPARSE
from tb.experiment.sparse.layers import conv_cycles, layer_errors, layers_of
from tb.experiment.sparse.points import CONVOLUTIONS, SETS, dense, grid, sparse

CONV, FC = 3_000_000, 1_000_000
SPEED = {0: 1.5, 1: 2.5, 2: 3.0, 4: 3.25, 8: 3.3, None: 1.0}


def record(point: Point, source: str = RTL) -> Record:
    """Convolutions are faster by `SPEED`, and the fully connected layer by 4; estimates are 2 % too high."""
    on_sparse = point.chip.startswith("sparse")
    figures = {
        "pairs": 200, "skipped": 800, "empty": 100, "starved": 50, "blocked": 25, "resting": 25, "weight_bytes": 45,
        "dense_weight_bytes": 100,
    }  # fmt: skip
    cycles = {"conv": round(CONV / SPEED[point.sparse.run_ahead]), "fc": FC // 4 if on_sparse else FC}
    layers = [
        {"name": op, "op": op, "cycles": count, "estimated_cycles": round(1.02 * count), "macs": 1000,
         "sparse": figures if on_sparse else {}, "energy": {}}
        for op, count in cycles.items()
    ]  # fmt: skip
    total = sum(cycles.values())
    energy = {name: {"total": 1.0 if on_sparse else ratio} for name, ratio in zip(SETS, (3.0, 4.0, 5.0), strict=True)}
    facts = {
        "batch": 1, "cycles": total, "estimated_cycles": 1.02 * total, "macs": 2000, "sim_s": total / 80_000,
        "dram_bytes": {"weight": 5_000_000}, "energy": energy, "layers": layers, "sparse": figures,
    }  # fmt: skip
    return Record(point, source, facts, "key", "v1")


def book(*left_out: Point, estimated: tuple[Point, ...] = ()) -> Book:
    records = {
        point: record(point, ESTIMATE if point in estimated else RTL)
        for point in SPARSE.points
        if point not in left_out
    }
    return Book("sparse", "key", "v1", SPARSE.points, records)


def test_targets_are_judged_by_the_records() -> None:
    text = SPARSE.page(book())
    assert "| VGG-16, convolutions over dense |  | >= 3.000x | 3.250x | met |" in text
    # 4 M cycles against 3 / 3.25 + 1 / 4 M.
    assert "| VGG-16, whole network |  | >= 3.300x | 3.410x | met |" in text
    assert "| AlexNet, convolutions, lockstep (s = 0) over dense |  | <= 1.800x | 1.500x | met |" in text
    assert "| error of the estimate of a layer, the largest |  | <= +5.0 % | +2.0 % | met |" in text
    assert "| AlexNet, energy of dense over sparse, least of the sets |  | >= 2.00x | 3.00x | met |" in text
    assert "| simulation of one sparse core, cycles/s |  | >= 50,000 | 80,000 | met |" in text


def test_layers_stand_side_by_side() -> None:
    text = SPARSE.page(book())
    assert "| conv | 3,000,000 | 923,077 | 3.25x | 20.0 % | 45.0 % |" in text
    assert "| fc | 1,000,000 | 250,000 | 4.00x | 20.0 % | 45.0 % |" in text


def test_estimates_are_no_measurements() -> None:
    whole = (sparse("vgg16"), dense("vgg16"))
    text = SPARSE.page(book(estimated=whole))
    assert "| VGG-16, whole network |  | >= 3.300x | *3.410x* | *met* |" in text
    assert "| error of the estimate of a layer, the largest |  | <= +5.0 % | - | - |" in text
    assert "0 missing" in text
    missing = SPARSE.page(book(whole[0]))
    assert "| VGG-16, whole network |  | >= 3.300x | - | - |" in missing


def test_strips_of_a_layer_are_one_layer() -> None:
    """What the estimate gives one of them too much and the next too little is no error of the layer."""
    made = record(sparse("vgg16"))
    strip = {**made.facts["layers"][0], "cycles": 1000}
    strips = [{**strip, "estimated_cycles": estimated} for estimated in (1300, 740)]
    assert layer_errors(replace(made, facts={**made.facts, "layers": strips})) == {"conv": pytest.approx(0.02)}


def test_layers_are_kept_apart_where_their_cycles_are_known() -> None:
    part = {"name": "a", "op": "conv+maxpool", "cycles": 5, "estimated_cycles": 6, "macs": 9, "sparse": {"pairs": 3}}
    whole = {"name": "a..b", "op": "conv+maxpool, fc", "cycles": 9, "estimated_cycles": 9, "macs": 12}
    rest = {**part, "name": "b", "op": "fc", "cycles": 4}
    apart = layers_of({"layers": [{**whole, "parts": [part, rest]}]})
    assert [layer["name"] for layer in apart["layers"]] == ["a", "b"]
    assert conv_cycles(Record(dense("alexnet"), RTL, apart, "key", "v1")) == 5
    together = layers_of({"layers": [{**whole, "parts": [{**part, "cycles": None}, rest]}]})
    assert [layer["name"] for layer in together["layers"]] == ["a..b"]


def test_points_are_told_apart_by_name_and_named_as_commands() -> None:
    names = [point.name for point in SPARSE.points]
    assert len(set(names)) == len(names)
    point = sparse("alexnet", layers=CONVOLUTIONS["alexnet"], skip="weights")
    assert point.command.endswith("LAYERS=features.0..features.12 PRUNE=han2015 RUN_AHEAD=4 SKIP=weights")
    for net, layers in CONVOLUTIONS.items():
        assert {*layers.split("..")} <= {node.name for node in load(net).nodes}
    assert grid(0.25, 0.5, 0).options[-6:] == ("--layers", "features.8", "--prune", "0.25,0.5", "--run-ahead", "0")


def test_picture_is_the_same_for_the_same_records() -> None:
    pytest.importorskip("matplotlib")
    known = book(sparse("resnet50"))
    assert SPARSE.picture(known) == SPARSE.picture(known)
    assert "conv" in SPARSE.picture(known)
