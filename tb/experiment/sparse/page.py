"""The page of the experiment on sparse engines. Every figure comes from the records; targets and the papers' figures
are constants, and nothing else is."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from golden.zoo import ZOO
from tb.experiment.point import Point
from tb.experiment.records import Book, Figure, Record, combine, speed_up
from tb.experiment.sparse.layers import conv_cycles, conv_figures, layer_errors, of_layer
from tb.experiment.sparse.masks import LAYERS, MASKS
from tb.experiment.sparse.points import (
    AHEADS,
    CONVOLUTIONS,
    DENSITIES,
    DEPTHS,
    GRID_LAYER,
    ITEMS,
    NETS,
    SETS,
    USUAL_AHEAD,
    dense,
    grid,
    sparse,
    unpruned,
    varied,
)
from tb.experiment.sparse.recursion import BALANCE_ARMS, MASK_AHEADS, PORTS
from tb.experiment.text import Targets, change, condition, count, mean, megabytes, percent, times, times_exactly
from tb.report.markdown import table
from tb.report.summary import IDLE

__all__ = ["page"]

TITLES = {"vgg16": "VGG-16", "alexnet": "AlexNet", "resnet50": "ResNet-50, 80 %"}
CONV_TARGETS = {"vgg16": 3.0, "alexnet": 2.3}
MEAN_TARGET = 2.5
WHOLE_TARGETS = {"vgg16": 3.3, "resnet50": 3.2, "alexnet": 3.0}
FLEXFLOW_PRO, SCNN = "> 2.5x, 2.7x", "2x, 2.3x"
"""Performance, and energy efficiency: FlexFlow-Pro (IEEE TC 2019) against the sparse accelerators of its day, SCNN
(ISCA 2017) over a dense design."""
PARTS = {"alexnet": "AlexNet, convolutions", "vgg16": "VGG-16, conv4_2"}


def page(book: Book) -> str:
    """The page, in Markdown."""
    parts = (
        _introduction, _targets, _headline, _layers, _zoo, _runahead, _onesided, _grid, _depth, _idle, _energy,
        _recursion, _differences,
    )  # fmt: skip
    return "\n".join(part(book) for part in parts)


# --- figures --------------------------------------------------------------------------------------------------------


def _conv_speed_up(slow: Record, fast: Record) -> float:
    return conv_cycles(slow) / conv_cycles(fast)


def _rest_speed_up(slow: Record, fast: Record) -> float | None:
    """Of everything but convolutions: fully connected layers, and pools of their own; None where there is nothing."""
    rest = fast.cycles - conv_cycles(fast)
    return (slow.cycles - conv_cycles(slow)) / rest if rest else None


def _saving(name: str) -> Callable[[Record, Record], float]:
    """Energy of one run over another's, by a set of constants."""
    return lambda more, less: more.energies()[name] / less.energies()[name]


def _least_saving(more: Record, less: Record) -> float:
    return min(_saving(name)(more, less) for name in more.energies())


def _hz(record: Record) -> float | None:
    """Simulated cycles a second; None of an estimate."""
    return record.facts["cycles"] / record.facts["sim_s"] if record.facts.get("sim_s") else None


def _worst_layer(record: Record) -> float | None:
    """Largest error of the estimate of a convolution or fully connected layer; None of an estimate."""
    if record.estimate_error is None:
        return None
    return max(map(abs, layer_errors(record).values()))


def _done(record: Record) -> float | None:
    """Products done, of all; None where no layer runs on a sparse engine."""
    figures = record.facts["sparse"]
    total = figures["pairs"] + figures["skipped"]
    return figures["pairs"] / total if total else None


def _texts(figures: Sequence[Figure], form: Callable[[float], str]) -> list[str]:
    return [figure.text(form) for figure in figures]


# --- parts ----------------------------------------------------------------------------------------------------------


def _introduction(book: Book) -> str:
    return f"""# Sparse engines: what skipping zeros gains, and running ahead

Made by `make experiment NAME=sparse`, which runs what is not up to date and writes this page, `sparse.json` (every
point with its figures and the `make sim` command that gives them) and `sparse.svg`; nothing here is typed by hand but
the targets and the papers' figures. Commit {book.commit}.

{condition(book)}
![Speed over dense, over run-ahead, and over densities](sparse.svg)

The mechanism of FlexFlow-Pro (IEEE TC 68(6), 2019) is reproduced on our own chip: zeros of weights and of activations
are skipped, and processing elements run ahead of the slowest one by up to s items (s = 0 is lockstep). Its figures are
against the sparse accelerators of its day. **Here the baseline is our own dense chip** with as many multipliers
(4 x 256) in arrays of 16 x 16, and the same scratchpads, links and DRAM (two memory nodes of 16 B/cycle): `default`
against `sparse4`. Both compute the same pruned network, every bit compared with the same golden tensors, by fused
schedules that are searched for each chip. Weights are pruned to published densities, biases shifted to published
densities of activations ([pruned networks](../sparse.md)); weights are seeded, so densities are imposed and nothing is
said of accuracy. **Cycles of sparse cores depend on values**: on other pictures, or other weights of the same
densities, they differ. Batch 1, 224 x 224, int8.
"""


def _targets(book: Book) -> str:
    targets = Targets()
    row = targets.line
    convs = {net: book.figure(_conv_speed_up, dense(net), sparse(net)) for net in NETS}
    for net, limit in CONV_TARGETS.items():
        row(f"{TITLES[net]}, convolutions over dense", convs[net], times_exactly, limit)
    row("mean of the two", combine(mean, *(convs[net] for net in CONV_TARGETS)), times_exactly, MEAN_TARGET,
        paper=FLEXFLOW_PRO)  # fmt: skip
    for net, limit in WHOLE_TARGETS.items():
        row(f"{TITLES[net]}, whole network", book.figure(speed_up, dense(net), sparse(net)), times_exactly, limit)
    ones = [
        book.figure(_conv_speed_up, dense(net, layers=layers), _ones(net, layers))
        for net, layers in CONVOLUTIONS.items()
    ]
    row("nothing to skip, over dense, the least", combine(min, *ones), times_exactly, 0.95)
    for net, layers in CONVOLUTIONS.items():
        lockstep = book.figure(_conv_speed_up, dense(net, layers=layers), sparse(net, layers=layers, ahead=0))
        row(f"{PARTS[net]}, lockstep (s = 0) over dense", lockstep, times_exactly, 1.8, at_least=False)
        late = book.figure(
            lambda four, eight: conv_cycles(four) / conv_cycles(eight) - 1,
            *(sparse(net, layers=layers, ahead=ahead) for ahead in (USUAL_AHEAD, max(AHEADS))),
        )
        row(f"{PARTS[net]}, cycles of s = {USUAL_AHEAD} against s = {max(AHEADS)}", late, change, 0.03, at_least=False)
    errors = [book.figure(_worst_layer, sparse(net)) for net in NETS]
    row("error of the estimate of a layer, the largest", combine(max, *errors), change, 0.05, at_least=False)
    for net in NETS:
        row(f"{TITLES[net]}, energy of dense over sparse, least of the sets",
            book.figure(_least_saving, dense(net), sparse(net)), times, 2.0,
            paper=SCNN if net == "vgg16" else "")  # fmt: skip
    flow = [
        book.figure(_least_saving, dense(net, layers=layers), _ones(net, layers))
        for net, layers in CONVOLUTIONS.items()
    ]
    row("of that the dataflow's: nothing to skip, least of the sets", combine(min, *flow), times)
    row("simulation of one sparse core, cycles/s", book.figure(_hz, varied("sparse1")), count, 50_000)
    return (
        "## Against the targets, and the papers\n\n"
        + targets.table("FlexFlow-Pro, SCNN")
        + "\nThe papers' figures stand beside those that are closest in meaning; see [what differs](#what-differs).\n"
    )


def _ones(net: str, layers: str) -> Point:
    """Weights as they are, and no activation left out."""
    return sparse(net, layers=layers, prune=None, skip="weights")


def _headline(book: Book) -> str:
    rows = []
    for net in NETS:
        points = {"dense": dense(net), "lockstep": sparse(net, ahead=0), "relaxed": sparse(net)}
        for name, point in points.items():
            rows.append(
                [net if name == "dense" else "", f"{name}{_ahead(point)}",
                 book.figure(lambda record: record.cycles, point).text(count),
                 *(book.figure(each, points["dense"], point).text(times)
                   for each in (speed_up, _conv_speed_up, _rest_speed_up)),
                 book.figure(lambda record: record.megabytes, point).text(megabytes),
                 "" if name == "dense" else book.figure(_done, point).text(percent),
                 book.figure(lambda record: record.estimate_error, point).text(change)]
            )  # fmt: skip
    header = ["network", "chip", "cycles", "over dense", "convolutions", "the rest", "DRAM MB", "products done",
              "estimate"]  # fmt: skip
    return (
        "## Whole networks\n\nProducts done: of all multiply-accumulates of the layers on sparse engines. The rest: "
        "fully connected layers, which wait for their weights, and pools of their own.\n\n" + table(header, rows, 2)
    )


def _layers(book: Book) -> str:
    lines = [
        "## Layers",
        "",
        "Cycles of layers with weights, with what is computed along with them, on both chips, where they are known "
        "apart. Weights: bytes of masks and lists against those of dense weights.",
        "",
    ]
    for net in NETS:
        points = dense(net), sparse(net)
        record = book.good(points[1])
        names = dict.fromkeys(layer["name"].split("+")[0] for layer in record.facts["layers"]) if record else ()
        rows = [row for name in names if (row := _layer(book, points, name)) is not None]
        header = [net, "dense", f"sparse, s = {USUAL_AHEAD}", "over dense", "products done", "weights"]
        lines += [f"<details><summary>{TITLES[net]}</summary>", "", table(header, rows), "</details>", ""]
    return "\n".join(lines)


def _layer(book: Book, points: tuple[Point, Point], name: str) -> list[str] | None:
    """A line of a layer; None of one without weights."""

    def figure(function: Callable[[Mapping[str, float]], float], point: Point) -> Figure:
        def of(record: Record) -> float | None:
            known = of_layer(record, name)
            return None if known is None else function(known)

        return book.figure(of, point)

    took = [figure(lambda known: known["cycles"], point) for point in points]
    if took[1].value is None:
        return None
    done = figure(lambda known: known["pairs"] / (known["pairs"] + known["skipped"]), points[1])
    weights = figure(lambda known: known["weight_bytes"] / known["dense_weight_bytes"], points[1])
    return [name, *_texts(took, count), combine(lambda slow, fast: slow / fast, *took).text(times), done.text(percent),
            weights.text(percent)]  # fmt: skip


def _zoo(book: Book) -> str:
    rows = []
    for net in ZOO:
        points = unpruned(net)
        took = [book.figure(lambda record: record.cycles, point) for point in points]
        rows.append(
            [net, *_texts(took, count), book.figure(speed_up, *points).text(times),
             book.figure(_done, points[1]).text(percent),
             *(book.figure(lambda record: record.megabytes, point).text(megabytes) for point in points),
             book.figure(lambda record: record.estimate_error, points[1]).text(change)]
        )  # fmt: skip
    header = ["network", "dense", f"sparse, s = {USUAL_AHEAD}", "over dense", "products done", "MB dense", "MB sparse",
              "estimate"]  # fmt: skip
    return (
        "## Networks that nobody pruned\n\nThe zoo as it is: zeros are those that ReLUs leave of seeded weights and "
        "those to which weights round. Layers that would be slower on the sparse engine run dense on the same core, as "
        "predicted. Products done: of the layers on sparse engines.\n\n" + table(header, rows)
    )


def _ahead(point: Point) -> str:
    return "" if point.sparse.run_ahead is None else f", s = {point.sparse.run_ahead}"


def _runahead(book: Book) -> str:
    rows = []
    for net, layers in CONVOLUTIONS.items():
        points = [sparse(net, layers=layers, ahead=ahead) for ahead in AHEADS]
        rows.append([PARTS[net], *_texts([book.figure(conv_cycles, point) for point in points], count)])
        speeds = [book.figure(_conv_speed_up, dense(net, layers=layers), point) for point in points]
        rows.append(["over dense", *_texts(speeds, times)])
        rows.append(["over lockstep", *_texts([book.figure(_conv_speed_up, points[0], p) for p in points], times)])
    return "## Run-ahead\n\nCycles of the convolutions; one plan and one build, SETUPs differ.\n\n" + table(
        ["", *(f"s = {ahead}" for ahead in AHEADS)], rows
    )


def _onesided(book: Book) -> str:
    rows = []
    for net, layers in CONVOLUTIONS.items():
        arms = {
            "both skipped": (dense(net, layers=layers), sparse(net, layers=layers)),
            "weights alone": (dense(net, layers=layers), sparse(net, layers=layers, skip="weights")),
            "activations alone": (dense(net, layers=layers), sparse(net, layers=layers, skip="activations")),
            "nothing to skip": (dense(net, layers=layers), _ones(net, layers)),
            "both, filters in their order": (dense(net, layers=layers), sparse(net, layers=layers, balance="none")),
        }
        for name, (slow, fast) in arms.items():
            share = book.figure(_done, fast)
            rows.append([PARTS[net], name, share.text(percent), book.figure(_conv_speed_up, slow, fast).text(times),
                         combine(lambda done: 1 / done, share).text(times)])  # fmt: skip
    return (
        f"## One side alone, and without balance\n\ns = {USUAL_AHEAD}. *Weights alone*: the same masks, products with "
        "activations that are zero are done. *Activations alone*: every weight is in the lists, those that are zero "
        "too. *Nothing to skip*: weights are not pruned, and all activations count; some seeded weights round to zero "
        "all the same. *In their order*: heavy and light filters do not share columns; lanes rotate all the same, for "
        "that is in the hardware. Ideal is what a perfect balance and no waiting would give. The dense chip takes as "
        "long for all.\n\n" + table(["", "skipped", "products done", "over dense", "ideal"], rows, 2)
    )


def _grid(book: Book) -> str:
    weights, acts = DENSITIES
    baseline = dense("alexnet", layers=GRID_LAYER, schedule="layers")
    rows = []
    for kept in weights:
        cells = []
        for live in acts:
            relaxed, lockstep = (
                book.figure(speed_up, baseline, grid(kept, live, ahead)).text(times) for ahead in (USUAL_AHEAD, 0)
            )
            cells.append(f"{relaxed} ({lockstep})")
        rows.append([f"weights {100 * kept:g} %", *cells])
    return (
        f"## Densities\n\n`{GRID_LAYER}` of AlexNet (3 x 3, 384 channels to 256) over the dense twin, s = "
        f"{USUAL_AHEAD}, in brackets lockstep. At 100 % of the activations biases move until nothing is cut off; what "
        "rounds to zero is skipped.\n\n" + table(["", *(f"activations {100 * live:g} %" for live in acts)], rows)
    )


def _depth(book: Book) -> str:
    def line(name: str, chips: Sequence[str]) -> list[list[str]]:
        figures = [book.figure(speed_up, varied("dense1"), varied(chip)) for chip in chips]
        return [[name, *_texts(figures, times)]]

    depths = [f"sparse1_depth{depth}" if depth != 96 else "sparse1" for depth in DEPTHS]
    items = [f"sparse1_items{count}" if count != 16 else "sparse1" for count in ITEMS]
    return (
        f"## Local stores\n\nOther builds of the engine, one core, `{GRID_LAYER}` of AlexNet pruned by han2015, s = "
        f"{USUAL_AHEAD}, over a dense core. A pass holds as many kernel positions as its lists allow.\n\n"
        + table(["weights a PE", *map(str, DEPTHS)], line("over dense", depths))
        + "\n"
        + table(["items a pass, at most", *map(str, ITEMS)], line("over dense", items))
    )


def _idle(book: Book) -> str:
    rows = []
    for ahead in (0, USUAL_AHEAD):
        point = sparse("alexnet", schedule="layers", ahead=ahead)
        every = book.figure(lambda record: _cells(record), point)
        shares = [
            combine(
                lambda whole, part: part / whole,
                every,
                book.figure(lambda record, cause=cause: conv_figures(record, cause), point),
            )
            for cause in ("pairs", *IDLE)
        ]
        known = (record := book.good(point)) is not None and "starved" in record.facts["sparse"]
        rows.append([f"s = {ahead}", *(_texts(shares, percent) if known else ["-"] * len(shares))])
    return (
        "## Why PEs are idle\n\nAlexNet's convolutions, a launch for each: PE-cycles by what they are spent on.\n\n"
        + table(["", "products", *IDLE.values()], rows)
    )


def _cells(record: Record) -> float | None:
    """PE-cycles of the convolutions, with and without a product; None where they are not known."""
    if "starved" not in record.facts["sparse"]:
        return None
    return sum(conv_figures(record, cause) for cause in ("pairs", *IDLE))


def _energy(book: Book) -> str:
    rows = []
    for net in NETS:
        figures = [book.figure(_saving(name), dense(net), sparse(net)) for name in SETS]
        rows.append([TITLES[net], *_texts(figures, times)])
    for net, layers in CONVOLUTIONS.items():
        pairs = {
            "": (dense(net, layers=layers), sparse(net, layers=layers)),
            ", nothing to skip": (dense(net, layers=layers), _ones(net, layers)),
        }
        for name, (more, less) in pairs.items():
            rows.append(
                [f"{PARTS[net]}{name}", *_texts([book.figure(_saving(each), more, less) for each in SETS], times)]
            )
    return (
        "## Energy\n\nEnergy of the dense chip over that of the sparse one, by each set of constants "
        "([energy](../energy.md)): events of both, products as the machine counts them. Lines with nothing to skip are "
        "what the dataflow alone does: an accumulator is read and written once a pass of many items, and an activation "
        "read serves 64 filters.\n\n" + table(["", *SETS], rows)
    )


def _recursion(book: Book) -> str:
    balance = [["over dense", *_texts([book.study("balance", arm) for arm in BALANCE_ARMS], times)]]
    ports = [["over dense", *_texts([book.study("ports", str(port)) for port in PORTS], times)]]
    masks = [
        [kind, *_texts([book.study(f"masks {kind}", str(ahead)) for ahead in MASK_AHEADS], times)] for kind in MASKS
    ]
    return (
        "## What no build has\n\n**By the recursion that the RTL follows cycle by cycle, not simulated**, on masks of "
        f"AlexNet's {', '.join(LAYERS)} pruned by han2015, s = {USUAL_AHEAD} where nothing else is said: over an array "
        "that never waits, and without waits for weights. *Correlated*: filters and channels differ in density, "
        "activations are smooth blobs; *Bernoulli*: each zero is drawn for itself; both as dense as the real masks.\n\n"
        + table(["balance", *BALANCE_ARMS], balance)
        + "\n"
        + table(["port, B/cycle", *map(str, PORTS)], ports)
        + "\n"
        + table(["masks", *(f"s = {ahead}" for ahead in MASK_AHEADS)], masks)
    )


def _differences(book: Book) -> str:
    return """## What differs

- FlexFlow-Pro's 2.5x and 2x are against sparse accelerators of its day, SCNN's 2.7x and 2.3x over a dense design of its
  own; ours are over our own dense chip. What is reproduced is the mechanism: items, slots, run-ahead, back-pressure.
- Wider ports (R and C of 64, not 16) come with the sparse engine, as one item is a scratchpad word. The line with
  nothing to skip shows what they do on their own.
- Densities are those of Han et al. (VGG-16, AlexNet) and of IntelLabs/distiller (ResNet-50, 80 %; activations there are
  reconstructed), imposed on seeded weights by magnitude. How zeros are spread is that of seeded weights.
- Energies are events at published constants of other designs: ratios only, and only where all sets agree. Multiplexers,
  the counting of ranks, clock and leakage are in none of them.
- DRAM is a latency and a rate for each memory node; what the host does between launches is not counted, in any arm.
"""
