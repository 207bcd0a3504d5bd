"""What a plan looks like for layers that matter, and what is refused."""

from dataclasses import replace

import numpy as np
import pytest

from estimator import MemoryTiming, estimate
from golden.int8.qgraph import QGraph
from golden.int8.qnodes import QConv
from rtl.contract.codec import decode
from rtl.contract.isa import Opcode, TrafficClass, Unit
from rtl.contract.params import ChipParams, CoreParams, default_chip
from scheduler import Packed, PlanError, schedule
from scheduler.group import pool_candidates
from scheduler.kinds.layers import Layers
from scheduler.map.mapping import Mapping
from scheduler.map.search import best_mappings
from scheduler.map.split import shares
from scheduler.map.tokens import TokenMap
from scheduler.schedule import schedule_kind, usual_schedule
from scheduler.work.work import Work
from tests.cases import GraphBuilder

BUDGET = 10**10


def conv(shape: tuple[int, int, int], filters: int, kernel: int = 3, **options: object) -> QGraph:
    builder = GraphBuilder(np.random.default_rng(0), shape, BUDGET)
    pad = kernel // 2
    target = builder.conv("in", filters, (kernel, kernel), padding=(pad, pad, pad, pad), **options)  # type: ignore[arg-type]
    return builder.graph("net", target)


def fc(channels: int, filters: int) -> QGraph:
    builder = GraphBuilder(np.random.default_rng(0), (channels, 1, 1), BUDGET)
    return builder.graph("net", builder.conv("in", filters, (1, 1), op="fc"))


def cycles(graph: QGraph, chip: ChipParams, memory: MemoryTiming | None = None) -> float:
    (launch,) = schedule(graph, chip, memory).launches
    return estimate(launch, chip, memory).cycles


@pytest.mark.parametrize(
    ("shape", "filters"),
    [((64, 112, 112), 128), ((128, 56, 56), 256), ((256, 28, 28), 512), ((512, 14, 14), 512)],
    ids=["conv2_1", "conv3_1", "conv4_1", "conv5_1"],
)
def test_vgg_convolutions_keep_the_arrays_busy(shape: tuple[int, int, int], filters: int) -> None:
    graph, chip = conv(shape, filters), default_chip(4)
    assert graph.macs / chip.pes / cycles(graph, chip) >= 0.96


def test_four_cores_are_nearly_four_times_as_fast_as_one() -> None:
    graph = conv((256, 28, 28), 256)
    one = cycles(graph, default_chip(1), MemoryTiming(64, 8.0))  # as much bandwidth per core
    assert one / cycles(graph, default_chip(4)) >= 3.9


@pytest.mark.parametrize(
    ("shape", "filters", "kernel", "memory", "gain"),
    [
        ((128, 28, 28), 128, 3, MemoryTiming(bytes_per_cycle=2), 0.07),  # tall tiles: few rows cross the ports twice
        ((128, 28, 28), 512, 1, MemoryTiming(bytes_per_cycle=4), 0.005),
        ((384, 13, 13), 64, 1, MemoryTiming(latency_cycles=2000), 0.03),  # more loads ahead
    ],
)
def test_plans_are_made_for_the_memory(
    shape: tuple[int, int, int], filters: int, kernel: int, memory: MemoryTiming, gain: float
) -> None:
    graph, chip = conv(shape, filters, kernel), default_chip(4)
    (usual,) = schedule(graph, chip).launches
    assert cycles(graph, chip, memory) <= (1 - gain) * estimate(usual, chip, memory).cycles


def test_fully_connected_layers_use_the_memory_to_the_full() -> None:
    graph, chip = fc(4096, 1024), default_chip(4)
    ideal = (4096 * 1024 + 4096 + 1024) / chip.dram_bytes_per_cycle
    assert ideal / cycles(graph, chip) >= 0.95


def test_shallow_inputs_are_packed() -> None:
    graph, chip = conv((3, 32, 32), 64), default_chip(4)
    plan = schedule(graph, chip)
    assert isinstance(plan.tensors["in"].layout, Packed)
    passes = 0
    for raw in plan.launches[0].streams[0, Unit.COMPUTE]:
        opcode, fields = decode(raw)
        if opcode == Opcode.SETUP:
            passes = fields["kernel_h"] * fields["kernel_w"]
    assert passes <= 3


def depthwise(channels: int, size: int, stride: int, kernel: int = 3) -> QGraph:
    return conv((channels, size, size), channels, kernel, stride=(stride, stride), groups=channels, op="depthwise")


@pytest.mark.parametrize(
    ("channels", "size", "stride"),
    [(32, 112, 1), (64, 112, 2), (128, 56, 1), (128, 56, 2), (256, 28, 1), (256, 28, 2), (512, 14, 1)],
)
def test_depthwise_layers_are_limited_by_memory(channels: int, size: int, stride: int) -> None:
    graph, chip = depthwise(channels, size, stride), default_chip(4)
    (launch,) = schedule(graph, chip).launches
    predicted = estimate(launch, chip)
    assert min(predicted.memory_busy) >= 0.87
    assert predicted.compute["stream"] < 0.75 * predicted.cycles
    ideal = channels * (size**2 + (size // stride) ** 2) / chip.dram_bytes_per_cycle
    assert ideal / predicted.cycles >= 0.8


@pytest.mark.parametrize(
    ("columns", "stride", "kernel", "window"), [(1, 1, 3, 0), (2, 1, 3, 0), (3, 1, 3, 1), (3, 3, 3, 0), (5, 1, 5, 1)]
)
def test_kernel_rows_go_through_the_window_where_it_is_faster(
    columns: int, stride: int, kernel: int, window: int
) -> None:
    chip = default_chip(1, CoreParams(tap_columns=columns))
    (launch,) = schedule(depthwise(16, 12, stride, kernel), chip).launches
    setups = [fields for opcode, fields in map(decode, launch.streams[0, Unit.COMPUTE]) if opcode == Opcode.SETUP]
    assert {fields["window"] for fields in setups} == {window}


def test_shared_inputs_are_loaded_once_for_all() -> None:
    """Both memory traffic and the destinations of loads show the multicast."""
    graph, chip = conv((512, 14, 14), 512), default_chip(4)
    (launch,) = schedule(graph, chip).launches
    masks = set()
    for (_, unit), stream in launch.streams.items():
        if unit == Unit.LOAD:
            masks |= {fields["cores"].bit_count() for opcode, fields in map(decode, stream) if opcode == Opcode.LOAD}
    assert max(masks) > 1
    moved = estimate(launch, chip).dram_bytes
    assert moved["ifmap"] + moved["weight"] < 1.2 * (512 * 14 * 14 + 512 * 512 * 9)


def test_cores_without_work_only_end() -> None:
    plan = schedule(conv((16, 1, 1), 16, 1), default_chip(4))
    idle = [core for core in range(4) if len(plan.launches[0].streams[core, Unit.COMPUTE]) == 1]
    assert len(idle) == 3
    for core in idle:
        for unit in Unit:
            assert [decode(raw)[0] for raw in plan.launches[0].streams[core, unit]] == [Opcode.END]


def test_unequal_cores_never_share_a_load() -> None:
    small, large = CoreParams(8, 8), CoreParams(16, 16)
    chip = replace(default_chip(4), cores=(large, small, small, large))
    plan = schedule(conv((64, 14, 14), 64), chip)
    for (_, unit), stream in plan.launches[0].streams.items():
        for opcode, fields in map(decode, stream if unit == Unit.LOAD else []):
            if opcode == Opcode.LOAD:
                cores = {chip.cores[core] for core in range(4) if fields["cores"] >> core & 1}
                assert len(cores) == 1


def test_dead_tensors_give_their_space_away() -> None:
    builder = GraphBuilder(np.random.default_rng(0), (16, 32, 32), BUDGET)
    name = "in"
    for _ in range(6):
        name = builder.pool("maxpool", name, (1, 1), (1, 1))
    plan = schedule(builder.graph("net", name), default_chip(1))
    assert max(place.end for place in plan.tensors.values()) <= 2 * 16 * 32 * 32
    assert plan.live_after(2) == (plan.graph.nodes[2].output,)


def test_concatenation_of_whole_blocks_costs_no_launch() -> None:
    builder = GraphBuilder(np.random.default_rng(0), (16, 4, 4), BUDGET)
    a, b = builder.conv("in", 32, (1, 1)), builder.conv("in", 20, (1, 1))
    plan = schedule(builder.graph("net", builder.concat(a, b)), default_chip(1))
    assert len(plan.launches) == 2
    assert plan.launches[1].nodes == (b, plan.graph.outputs[0])
    assert plan.tensors[b].addr == plan.tensors[a].end


def with_table(graph: QGraph) -> QGraph:
    node = graph.nodes[-1]
    assert isinstance(node, QConv)
    table = np.arange(127, -129, -1).astype(np.int8)
    return replace(graph, nodes=(*graph.nodes[:-1], replace(node, requant=replace(node.requant, table=table))))


def test_a_table_is_copied_once_a_launch_and_core() -> None:
    graph, chip = with_table(conv((32, 14, 14), 64)), default_chip(4)
    (launch,) = schedule(graph, chip).launches
    for core in range(chip.n_cores):
        stream = [decode(raw) for raw in launch.streams[core, Unit.STORE]]
        opcodes = [opcode for opcode, _ in stream]
        assert opcodes[0] == Opcode.TABLE
        assert opcodes.count(Opcode.TABLE) == 1
        assert {fields["table"] for opcode, fields in stream if opcode == Opcode.STORE} == {1}
    plain = schedule(conv((32, 14, 14), 64), chip).launches[0]
    assert all(decode(raw)[0] != Opcode.TABLE for stream in plain.streams.values() for raw in stream)
    assert estimate(launch, chip).cycles == pytest.approx(estimate(plain, chip).cycles, abs=300)


CORE = CoreParams(16, 16)


@pytest.mark.parametrize(
    ("graph", "core", "parameter"),
    [
        (conv((64, 20, 20), 16, 11), replace(CORE, act_bytes=1024), "core.act_bytes"),
        (conv((64, 4, 4), 64), replace(CORE, rows=64, cols=64, weight_bytes=4096), "core.weight_bytes"),
        (conv((64, 4, 4), 256), replace(CORE, rows=64, cols=64, param_blocks=4), "core.param_blocks"),
        (with_table(conv((64, 4, 4), 32)), replace(CORE, param_blocks=2), "core.param_blocks"),
    ],
    ids=["act", "weight", "param", "table"],
)
def test_a_layer_that_cannot_fit_is_refused(graph: QGraph, core: CoreParams, parameter: str) -> None:
    with pytest.raises(PlanError, match=f"layer 'conv0' does not fit: .* raise {parameter}"):
        schedule(graph, default_chip(1, core))


def test_a_dense_layer_of_a_shallow_input_costs_little_more_than_one_of_a_vector() -> None:
    """Its bytes lie as densely: not a channel in each storage block."""

    def dense(shape: tuple[int, int, int]) -> QGraph:
        builder = GraphBuilder(np.random.default_rng(0), shape, BUDGET)
        return builder.graph("net", builder.conv("in", 64, shape[1:], op="fc"))

    of_map, of_vector = (cycles(dense(shape), default_chip(2)) for shape in ((1, 28, 28), (784, 1, 1)))
    assert of_map < 1.3 * of_vector


def test_unequal_cores_share_a_layer_in_proportion_to_their_speed() -> None:
    small, large = CoreParams(8, 8), CoreParams(16, 16)
    graph = conv((64, 40, 28), 64)
    alone = cycles(graph, default_chip(2, large))
    both = cycles(graph, replace(default_chip(4), cores=(large, small, small, large)))
    assert both < 0.9 * alone


def test_loads_into_slots_that_were_never_used_start_one_by_one() -> None:
    """Else those of all leaders would queue in front of each other: some wait for the steps of their leader."""
    (launch,) = schedule(conv((64, 56, 56), 64), default_chip(4)).launches
    pace = TokenMap(1, 1, 1, {}, {}, False, False, False, {}, False).pace
    paced = []
    for core in range(4):
        loads = [fields for opcode, fields in map(decode, launch.streams[core, Unit.LOAD]) if opcode == Opcode.LOAD]
        acts = [fields for fields in loads if fields["traffic"] == TrafficClass.IFMAP]
        waits = [(fields["wait0_first"], fields["wait0_count"]) == (pace, 1) for fields in acts]
        assert not any(waits[:1])
        paced += waits
    assert any(paced)


def test_shares_are_in_proportion_and_complete() -> None:
    assert shares(10, [1.0, 1.0]) == [(0, 5), (5, 10)]
    assert shares(10, [4.0, 1.0]) == [(0, 8), (8, 10)]
    assert shares(1, [1.0, 9.0]) == [(0, 0), (0, 1)]


def test_layers_of_one_kind_are_mapped_alike_and_searched_once() -> None:
    builder = GraphBuilder(np.random.default_rng(0), (32, 12, 12), BUDGET)
    target = "in"
    for _ in range(3):
        target = builder.conv(target, 32, (3, 3), padding=(1, 1, 1, 1))
    graph = builder.graph("net", builder.conv(target, 32, (1, 1)))
    searched = []

    def search(work: Work, *arguments: object) -> list[Mapping]:
        searched.append(work.name)
        return best_mappings(work, *arguments)  # type: ignore[arg-type]

    launches = schedule(graph, default_chip(4), kind=Layers(search=search)).launches
    assert len({launch.mapping for launch in launches[:3]}) == 1
    assert searched == [launches[0].name, launches[3].name]


def pooled_chain(
    kernel: int = 3, stride: int = 2, padding: int = 0, op: str = "maxpool", conv: int = 3
) -> GraphBuilder:
    """in -> conv0 -> pool1 of 56 x 56 pixels."""
    builder = GraphBuilder(np.random.default_rng(0), (32, 56, 56), BUDGET)
    builder.conv("in", 32, (conv, conv), padding=(conv // 2,) * 4)
    builder.pool(op, "conv0", (kernel, kernel), (stride, stride), (padding,) * 4)
    return builder


def test_a_pool_joins_its_convolution_and_saves_its_launch() -> None:
    builder, chip = pooled_chain(), default_chip(4)
    graph = builder.graph("net", builder.conv("maxpool1", 16, (1, 1)))
    together, apart = schedule(graph, chip), schedule(graph, chip, kind=schedule_kind("layers", pools=False))
    assert [launch.name for launch in together.launches] == ["conv0+maxpool1", "conv2"]
    assert together.launches[0].nodes == ("conv0", "maxpool1")
    assert [launch.name for launch in apart.launches] == ["conv0", "maxpool1", "conv2"]
    assert "conv0" not in together.tensors
    assert together.written(together.launches[0]) == ["maxpool1"]
    assert together.live_after(0) == ("maxpool1",)
    assert together.live_after(-1) == ("in",)
    pair = sum(estimate(launch, chip).cycles for launch in apart.launches[:2])
    assert estimate(together.launches[0], chip).cycles < pair


def test_a_pool_that_drains_too_slowly_stays_alone() -> None:
    """9 cycles for each pixel of the convolution, against its 2 passes, and 3 of a launch that only pools."""
    builder = pooled_chain(stride=1, padding=1, conv=1)
    graph = builder.graph("net", "maxpool1")
    assert len(list(pool_candidates(graph))) == 1
    assert len(schedule(graph, default_chip(4)).launches) == 2


def test_only_a_convolution_that_nothing_else_reads_takes_a_pool() -> None:
    read_twice = pooled_chain()
    after = read_twice.conv("conv0", 8, (1, 1))
    depthwise = GraphBuilder(np.random.default_rng(0), (16, 20, 20), BUDGET)
    depthwise.pool("maxpool", depthwise.conv("in", 16, (3, 3), groups=16, op="depthwise"), (2, 2), (2, 2))
    residual = GraphBuilder(np.random.default_rng(0), (16, 20, 20), BUDGET)
    residual.pool("maxpool", residual.conv("in", 16, (1, 1), residual="in"), (2, 2), (2, 2))
    graphs = [
        read_twice.graph("read twice", "maxpool1", after),
        pooled_chain().graph("an output", "conv0", "maxpool1"),
        pooled_chain(op="avgpool").graph("average", "avgpool1"),
        pooled_chain(kernel=8).graph("a kernel of 8", "maxpool1"),
        pooled_chain(kernel=2, padding=2).graph("windows outside", "maxpool1"),
        pooled_chain(kernel=2, stride=8).graph("a stride of 8", "maxpool1"),
        depthwise.graph("depthwise", "maxpool1"),
        with_table(pooled_chain().graph("a table that may fall", "maxpool1")),
        residual.graph("a residual", "maxpool1"),
    ]
    assert [graph.name for graph in graphs if list(pool_candidates(graph))] == []


def with_table(graph: QGraph) -> QGraph:
    """The same with an activation table behind its first node."""
    first = graph.nodes[0]
    assert isinstance(first, QConv)
    table = np.arange(-128, 128).astype(np.int8)[::-1]
    return replace(graph, nodes=(replace(first, requant=replace(first.requant, table=table)), *graph.nodes[1:]))


def test_a_pool_too_large_for_the_accumulators_stays_alone() -> None:
    core = CoreParams(8, 8, acc_entries=32)
    graph = pooled_chain(kernel=5, stride=2).graph("net", "maxpool1")
    assert len(schedule(graph, default_chip(1, core)).launches) == 2


def test_layers_share_launches_where_the_chip_can_tell_them_apart() -> None:
    plain, marked = CoreParams(), CoreParams(marks=16)
    assert usual_schedule(default_chip(4, marked)) == "fused"
    assert usual_schedule(default_chip(4, plain)) == "layers"
    assert usual_schedule(default_chip(4, marked), pools=False) == "layers"
    mixed = replace(default_chip(2), cores=(marked, CoreParams(8, 8, marks=16)))
    assert usual_schedule(mixed) == "layers"
