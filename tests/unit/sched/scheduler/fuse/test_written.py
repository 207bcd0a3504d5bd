"""Fused schedules as files: what is written is read back, what is edited is done, what cannot be is refused."""

import re
import tomllib
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from estimator import MemoryTiming
from rtl.contract.params import CoreParams, default_chip
from scheduler import Plan, PlanError
from scheduler.fuse.decide import Decider
from scheduler.fuse.forms import Forms
from scheduler.fuse.search import Choice
from scheduler.fuse.written import read, write
from scheduler.group import pool_candidates
from scheduler.kinds.fused import Fused
from scheduler.kinds.written import Written, write_schedule
from scheduler.place import input_layouts
from tests.cases import Case, GraphBuilder, random_image
from tests.networks import random_network
from tests.unit.sched.test_fused import run

CORE = CoreParams(8, 8, act_bytes=8 * 1024, weight_bytes=16 * 1024, acc_entries=128, param_blocks=64)
CHIP = default_chip(2, CORE, link_bytes=8)
SLOW = MemoryTiming(bytes_per_cycle=1)


def streams(plan: Plan) -> list[bytes]:
    return [b"".join(launch.streams[place]) for launch in plan.launches for place in sorted(launch.streams)]


def text_of(decider: Decider, choices: dict[int, Choice], launches: list[list[int]], layout: str | None = None) -> str:
    """The file of these choices, of one picture."""
    mappings = decider.writer.mappings(choices, launches)
    return write(decider.form.graph.name, 1, {1: decider.form.stays}, choices, launches, mappings, layout)


def chain() -> Case:
    """Three layers; all that is between them fits into the scratchpads."""
    rng = np.random.default_rng(0)
    builder = GraphBuilder(rng, (16, 10, 10), 10**9)
    first = builder.conv("in", 16, (3, 3), padding=(1, 1, 1, 1))
    second = builder.conv(first, 16, (3, 3), padding=(1, 1, 1, 1))
    graph = builder.graph("chain", builder.conv(second, 24, (1, 1)))
    return Case(0, "chain", CHIP, graph, random_image(rng, graph))


@pytest.mark.parametrize("seed", range(5))
def test_what_is_written_is_read_back(seed: int, tmp_path: Path) -> None:
    case = random_network(seed, CHIP)
    file = tmp_path / "plan.toml"
    file.write_text(write_schedule(case.graph, CHIP, SLOW))
    plan, again = Fused().plan(case.graph, CHIP, SLOW), Written(file).plan(case.graph, CHIP, SLOW)
    assert [launch.nodes for launch in again.launches] == [launch.nodes for launch in plan.launches]
    assert set(again.tensors) == set(plan.tensors)
    assert streams(again) == streams(plan)


def test_what_is_edited_is_done(tmp_path: Path) -> None:
    """A tensor more in DRAM, another split: other programs, the same results."""
    case = chain()
    file = tmp_path / "plan.toml"
    text = write_schedule(case.graph, CHIP, SLOW)
    first, second = case.graph.nodes[:2]
    assert text.count('output = "dram" }') == 1
    line = re.compile(rf'(name = "{first.name}".*output = )"\w+"')
    file.write_text(line.sub(r'\1"dram"', text))
    plan = Written(file).plan(case.graph, CHIP, SLOW)
    assert first.output in plan.tensors
    assert second.output not in plan.tensors
    run(case, plan, 1)
    edited = re.sub(r"split = \[\d, \d\]", "split = [2, 1]", text).replace('"rows"', '"whole"')
    file.write_text(edited)
    plan = Written(file).plan(case.graph, CHIP, SLOW)
    (launch,) = plan.launches
    assert all("2 x 1 cores" in part.mapping for part in launch.parts)
    run(case, plan, 1)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ('network = "chain"', 'network = "vgg16"', "schedule of network = 'vgg16', not of 'chain'"),
        ('"conv1"', '"conv9"', r"launch 1: layer 'conv9', but 'conv1' comes here"),
        (r"split = \[\d, \d\]", "split = [3, 1]", r"'conv0': split = \[3, 1\] cannot be; it can be \[1, 1\], \["),
        (r'output = "\w+"', 'output = "here"', "output = 'here'; it must be \"dram\", .*\"rows\" or \"strips\""),
        ('output = "dram"', 'output = "whole"', "'conv2': output = \"whole\", but it cannot stay on the chip"),
        (r"    \{ name = \"conv2\".*\n", "", "layer 'conv2' is missing"),
        (r"(    \{ name = \"conv1\")", "]\n[[launch]]\nlayers = [\n\\1", "launch 1 ends behind layer 'conv0' while"),
        ("layers", "groups", "launch 1 has no layers"),
        ("split", "cores", "must have name, split, output, perhaps strips and tiles, no more"),
        (r"\]\n", "\n", "it is no TOML"),
    ],
)  # fmt: skip
def test_what_cannot_be_is_refused(old: str, new: str, message: str, tmp_path: Path) -> None:
    case = chain()
    file = tmp_path / "plan.toml"
    text, changes = re.subn(old, new, write_schedule(case.graph, CHIP, SLOW))
    assert changes
    file.write_text(text)
    with pytest.raises(PlanError, match=message) as refusal:
        Written(file).plan(case.graph, CHIP, SLOW)
    assert str(refusal.value).startswith(f"SCHEDULE={file}: ")


@pytest.mark.parametrize("seed", range(3))
def test_tiles_that_are_as_they_were_change_nothing(seed: int, tmp_path: Path) -> None:
    """Of every layer, as the comment says; what is read is written again."""
    case, file = random_network(seed, CHIP), tmp_path / "plan.toml"
    text, changes = re.subn(r" \},(  # .*)(tiles = \d+) of", r", \2 },\1\2 of", write_schedule(case.graph, CHIP, SLOW))
    assert changes == text.count("name = ")
    file.write_text(text)
    assert streams(Written(file).plan(case.graph, CHIP, SLOW)) == streams(Fused().plan(case.graph, CHIP, SLOW))
    decider = Forms(Fused(), case.graph, CHIP, SLOW).settled()
    choices, launches = read(text, case.graph.name, {1: decider.form.stays})
    choices = decider.priced(choices, launches)
    again = text_of(decider, choices, launches, tomllib.loads(text).get("input"))
    assert tomllib.loads(again) == tomllib.loads(text)


@pytest.mark.parametrize("counts", [(1, 2, 3), (5, 5, 5), (3, 4, 1)])
def test_rows_are_cut_into_as_many_tiles_as_written(counts: tuple[int, ...], tmp_path: Path) -> None:
    """In one launch, and each layer with one of its own, of which the split is as written, too."""
    case, file = chain(), tmp_path / "plan.toml"
    layers = [f'name = "conv{n}", split = [1, 2], tiles = {count}, output = ' for n, count in enumerate(counts)]
    for outputs, border in ((("rows", "rows", "dram"), ","), (("dram",) * 3, "]\n[[launch]]\nlayers = [")):
        lines = [f'{{ {layer}"{output}" }}' for layer, output in zip(layers, outputs, strict=True)]
        file.write_text(f'network = "chain"\n[[launch]]\nlayers = [{border.join(lines)}]')
        plan = Written(file).plan(case.graph, CHIP, SLOW)
        done = [part.mapping for launch in plan.launches for part in launch.parts]
        for mapping, count in zip(done, counts, strict=True):
            assert "1 x 2 cores" in mapping
            assert f" {count} tiles of {-(-5 // count)} x 10," in mapping
        run(case, plan, 1)


@pytest.mark.parametrize(
    ("tiles", "message"),
    [
        ("0", "launch 1, layer 'conv1': tiles = 0; it must be 1 or more, or left out"),
        ('"many"', "launch 1, layer 'conv1': tiles = 'many'; it must be 1 or more, or left out"),
        ("6", "launch 1, layer 'conv1': tiles = 6, but a core has only 5 rows to compute; use fewer"),
    ],
)
def test_tiles_that_cannot_be_are_refused(tiles: str, message: str, tmp_path: Path) -> None:
    case, file = chain(), tmp_path / "plan.toml"
    text = write_schedule(case.graph, CHIP, SLOW)
    edited = re.sub(r"split = \[\d, \d\]", "split = [1, 2]", text).replace('"whole"', '"rows"')
    file.write_text(edited.replace('name = "conv1"', f'name = "conv1", tiles = {tiles}'))
    with pytest.raises(PlanError, match=message):
        Written(file).plan(case.graph, CHIP, SLOW)


def test_tiles_that_do_not_fit_are_refused_and_the_remedies_work(tmp_path: Path) -> None:
    """A column of all rows is more than a bank of accumulators."""
    rng, file = np.random.default_rng(0), tmp_path / "plan.toml"
    builder = GraphBuilder(rng, (8, 140, 4), 10**9)
    graph = builder.graph("tall", builder.conv(builder.conv("in", 8, (3, 3), padding=(1, 1, 1, 1)), 8, (1, 1)))
    case = Case(0, "tall", CHIP, graph, random_image(rng, graph))
    text = """network = "tall"
[[launch]]
layers = [
    { name = "conv0", split = [1, 2], output = "rows", tiles = 1 },
    { name = "conv1", split = [1, 2], output = "dram" },
]"""
    file.write_text(text)
    line = "launch 1, layer 'conv0' does not fit in 1 tile; give more tiles, or leave tiles out"
    with pytest.raises(PlanError, match=line):
        Written(file).plan(graph, CHIP, SLOW)
    for remedy in ("tiles = 4", ""):
        file.write_text(text.replace(", tiles = 1", f", {remedy}" if remedy else ""))
        run(case, Written(file).plan(graph, CHIP, SLOW), 1)


STRIPS = """
network = "chain"
[[launch]]
layers = [
    { name = "conv0", split = [1, 2], output = "strips" },
    { name = "conv1", split = [1, 2], output = "rows", strips = 2 },
    { name = "conv2", split = [1, 2], output = "dram" },
]
"""


@pytest.mark.parametrize("tiles", [None, 1, 2])
def test_strips_are_done_as_written(tiles: int | None, tmp_path: Path) -> None:
    case, file = chain(), tmp_path / "plan.toml"
    file.write_text(STRIPS.replace("strips = 2", f"strips = 2, tiles = {tiles}") if tiles else STRIPS)
    plan = Written(file).plan(case.graph, CHIP, SLOW)
    (launch,) = plan.launches
    strips = [part.mapping.split(":")[0] for part in launch.parts]
    assert strips[:4] == ["strip 1 of 2", "strip 1 of 2", "strip 2 of 2", "strip 2 of 2"]
    assert [part.name for part in launch.parts[:4]] == ["conv0", "conv1", "conv0", "conv1"]
    assert all(f" {tiles or 1} tiles of" in launch.parts[number].mapping for number in (1, 3))
    assert sum(part.macs for part in launch.parts) == sum(node.macs for node in case.graph.nodes)
    run(case, plan, 1)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("strips = 2", "strips = 1", "layer 'conv1': strips = 1; it must be 2 or more"),
        ("strips = 2", "strips = 6", "layer 'conv1': strips = 6, but a core has only 5 rows; use fewer"),
        ("strips = 2", "strips = 5", "layer 'conv1': strips of 'conv0' are too low; use fewer than 5"),
        ("strips = 2", "strips = 2, tiles = 3", "tiles = 3, but a strip has only 2 rows to compute; use fewer"),
        (", strips = 2", "", "layer 'conv1': strips = None; it must be 2 or more"),
        ('"strips"', '"rows"', 'strips = 2, but the layer before has no output = "strips"'),
        ('"strips" }', '"strips", strips = 2 }', "layer 'conv0': strips = 2 belongs to the last layer of them"),
        ("split = [1, 2]", "split = [2, 1]", r"split = \[2, 1\]; layers done by strips need one \[1, n\]"),
        ('"rows", strips = 2', '"strips"', "layer 'conv2': strips = None"),
        ('"dram"', '"strips"', "layer 'conv2': output = \"strips\", but no layer behind it ends them"),
        ('    { name = "conv1"', ']\n[[launch]]\nlayers = [\n    { name = "conv1"', "strips that begin in another"),
    ],
)
def test_strips_that_cannot_be_are_refused(old: str, new: str, message: str, tmp_path: Path) -> None:
    case, file = chain(), tmp_path / "plan.toml"
    file.write_text(STRIPS.replace(old, new))
    with pytest.raises(PlanError, match=message):
        Written(file).plan(case.graph, CHIP, SLOW)


def test_what_does_not_fit_is_named(tmp_path: Path) -> None:
    case, file = chain(), tmp_path / "plan.toml"
    text = write_schedule(case.graph, CHIP, SLOW)
    file.write_text(re.sub(r"split = \[\d, \d\]", "split = [2, 1]", text).replace('"rows"', '"whole"'))
    small = replace(CHIP, cores=(replace(CORE, act_bytes=2048),) * 2)
    with pytest.raises(PlanError, match=r"layer 'conv1': 3,200 bytes stay on a core, which has 2,048: conv0 .1,600"):
        Written(file).plan(case.graph, small, SLOW)


def test_a_file_that_is_not_there() -> None:
    with pytest.raises(PlanError, match=r"cannot read SCHEDULE=nowhere\.toml: No such file"):
        Written(Path("nowhere.toml")).plan(chain().graph, CHIP, SLOW)


@pytest.mark.parametrize("cores", [2, 16])
def test_a_pool_is_joined_with_its_convolution_or_not_as_the_file_says(cores: int, tmp_path: Path) -> None:
    """Rows of 13 that overlap: on sixteen cores most rows of the convolution would be computed twice."""
    chip = default_chip(cores, replace(CORE, act_bytes=16 * 1024, acc_entries=256), link_bytes=8, tokens=128)
    rng = np.random.default_rng(1)
    builder = GraphBuilder(rng, (32, 13, 13), 10**9)
    at = builder.conv("in", 32, (3, 3), padding=(1, 1, 1, 1))
    graph = builder.graph("pooled", builder.conv(builder.pool("maxpool", at, (3, 3), (2, 2), (0, 0, 0, 0)), 16, (1, 1)))
    case = Case(0, "pooled", chip, graph, random_image(rng, graph))
    candidates = {node.name: pool for node, pool in pool_candidates(graph)}
    assert len(candidates) == 1
    memory = MemoryTiming(bytes_per_cycle=8)
    costs = {}
    for pools in (candidates, {}):
        decider = Forms(Fused(), graph, chip, memory).decider(pools)
        choices = decider.choices
        launches = decider.launches(choices)
        file = tmp_path / "plan.toml"
        file.write_text(text_of(decider, choices, launches))
        plan = Written(file).plan(graph, chip, memory)
        assert ["+" in step.label for step in decider.form.steps] == ([True, False] if pools else [False] * 3)
        run(case, plan, order_seed=1)
        costs[len(pools)] = sum(choice.cost for choice in choices.values())
    chosen = Forms(Fused(), graph, chip, memory).decider().form.pools
    assert costs[len(chosen)] == min(costs.values())


def test_the_input_is_stored_as_the_file_says(tmp_path: Path) -> None:
    """A kernel of 7x7 on three channels: the plan stores dense rows or folded ones, whichever is cheapest."""
    rng = np.random.default_rng(2)
    builder = GraphBuilder(rng, (3, 20, 20), 10**9)
    at = builder.conv("in", 16, (7, 7), stride=(2, 2), padding=(3, 3, 3, 3))
    at = builder.pool("maxpool", at, (3, 3), (2, 2), (1, 1, 1, 1))
    graph = builder.graph("shallow", builder.conv(at, 16, (1, 1)))
    case = Case(0, "shallow", CHIP, graph, random_image(rng, graph))
    file = tmp_path / "plan.toml"
    file.write_text(text := write_schedule(graph, CHIP, SLOW))
    settled = Forms(Fused(), graph, CHIP, SLOW).settled()
    assert f'input = "{settled.form.input_layout}"' in text
    assert streams(Written(file).plan(graph, CHIP, SLOW)) == streams(Fused().plan(graph, CHIP, SLOW))
    totals = {}
    for layout in input_layouts(graph, CHIP):
        decider = Forms(Fused(), graph, CHIP, SLOW).decider(settled.form.pools, layout)
        totals[layout] = decider.total
        file.write_text(text_of(decider, *decider.decided(), layout))
        plan = Written(file).plan(graph, CHIP, SLOW)
        assert plan.tensors["in"].layout == input_layouts(graph, CHIP)[layout]
        run(case, plan, order_seed=2)
    assert settled.total == min(totals.values())
    assert len(set(totals.values())) == len(totals) == 3
    file.write_text(re.sub(r'input = ".*"', 'input = "folder"', text))
    with pytest.raises(PlanError, match=r"input = 'folder': this network's input can be stored blocked or packed or"):
        Written(file).plan(graph, CHIP, SLOW)
