"""The page of the experiment on fused schedules. Every figure comes from the records; targets and the paper's figures
are constants, and nothing else is."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from tb.experiment.fusion.points import (
    BATCH,
    CURVE_RATES,
    HEADLINE_RATE,
    KINDS,
    NETS,
    ZOO_NETS,
    cores16,
    default,
    headline,
    small,
)
from tb.experiment.point import Point
from tb.experiment.records import Book, Figure, Record, combine, speed_up
from tb.experiment.text import (
    Targets,
    change,
    condition,
    count,
    geometric,
    mean,
    megabytes,
    millions,
    percent,
    seconds,
    times,
    times_exactly,
    verdict,
)
from tb.report.markdown import table
from tb.report.summary import CAUSES

__all__ = ["page"]

PAPER_BYTES, PAPER_SPEED = -0.32, 1.6
"""Deep Fusion (NPC 2019): memory accesses and speed against the unfused network, mean of its networks."""
PAPER_BYTES_50, PAPER_SPEED_50 = -0.56, 2.62
"""Its best network, ResNet-50."""

TARGET_MB = {
    "resnet50": 28.0, "resnet18": 13.0, "googlenet": 8.2, "squeezenet1_1": 1.9, "mobilenet_v1": 5.2,
    "mobilenet_v2": 4.8, "vgg16": 143.0, "vgg11": 135.5, "alexnet": 62.3,
}  # fmt: skip
"""DRAM traffic of the fused network on the headline chip."""
TARGET_DEFAULT = {
    "resnet50": 4.25e6, "googlenet": 1.70e6, "mobilenet_v1": 0.76e6, "mobilenet_v2": 0.56e6, "squeezenet1_1": 0.40e6,
}  # fmt: skip
"""Cycles of the fused network on the default chip."""
ARMS = [(kind, overlap) for kind in KINDS for overlap in (False, True)]


def page(book: Book) -> str:
    """The page, in Markdown."""
    return "\n".join(
        [_introduction(book), _targets(book), _bytes(book), _cycles(book), _losses(book), _costs(book),
         *_energy(book), _curve(book), _default(book), _cores16(book), _differences()]
    )  # fmt: skip


def _cycles_of(record: Record) -> float:
    return record.cycles


def _megabytes_of(record: Record) -> float:
    return record.megabytes


def _saved(before: Record, after: Record) -> float:
    """Change of the DRAM traffic."""
    return after.megabytes / before.megabytes - 1


def _over_nets(
    book: Book, function: Callable[[Record, Record], float], first: Callable[[str], Point],
    second: Callable[[str], Point], nets: Sequence[str] = NETS,
) -> list[Figure]:  # fmt: skip
    return [book.figure(function, first(net), second(net)) for net in nets]


def _arm(kind: str, overlap: bool = True) -> Callable[[str], Point]:
    return lambda net: headline(net, kind, overlap=overlap)


def _introduction(book: Book) -> str:
    return f"""# Fused schedules: what keeping tensors on the chip saves

Made by `make experiment NAME=fusion`, which runs what is not up to date and writes this page, `fusion.json` (every
point with its figures and the `make sim` command that gives them) and `fusion.svg`; nothing here is typed by hand but
the targets and the paper's figures. Commit {book.commit}.

{condition(book)}
![DRAM traffic, cycles, and speed against the balance of the machine](fusion.svg)

The mechanism of Deep Fusion (NPC 2019) is reproduced on our own chip; its platform is not. *Headline chip*: 2 x 2
cores of 16 x 16 PEs with 512 KB of activations each, and {HEADLINE_RATE} B/cycle for each of two memory nodes: 256
multiply-accumulates a byte.
*Default chip*: the preset of 4 cores, 256 KB, 16 B/cycle a node. Batch 1, 224 x 224, int8, seeded weights. Three
schedules, all with the same search for splits and tiles:

- **apart**: a launch for each operator, residual sums and max pools too. The usual meaning of unfused.
- **layers**: a launch a layer, with its residual sum and, where that is faster, its max pool. The stronger baseline.
- **fused**: many layers a launch; tensors stay in the scratchpads where that is cheaper.

Each is run *overlapped* (load, compute and store units at once) and *serial* (one after the other in every core).
DRAM bytes are of all classes, programs included. "Mean" is arithmetic unless it says geometric.
"""


def _targets(book: Book) -> str:
    targets = Targets()
    row = targets.line
    apart, layers, fused = (_arm(kind) for kind in KINDS)
    saved, saved_layers = _over_nets(book, _saved, apart, fused), _over_nets(book, _saved, layers, fused)
    faster = _over_nets(book, speed_up, apart, fused)
    diagonal = _over_nets(book, speed_up, _arm("apart", False), fused)
    first = "resnet50"
    row("DRAM traffic, mean of nine, against apart", combine(mean, *saved), change, -0.45, paper=change(PAPER_BYTES),
        at_least=False)  # fmt: skip
    row("the same, against layers", combine(mean, *saved_layers), change, -0.40, at_least=False)
    row("ResNet-50, against apart", saved[0], change, None, paper=change(PAPER_BYTES_50))
    row("ResNet-50 with 256 KB, against apart", book.figure(_saved, small(first, "apart"), small(first, "fused")),
        change, PAPER_BYTES_50, paper=change(PAPER_BYTES_50), at_least=False)  # fmt: skip
    row("ResNet-50 with 256 KB, MB", book.figure(_megabytes_of, small(first, "fused")), megabytes, 30.6,
        at_least=False)  # fmt: skip
    row("ResNet-50, cycles", book.figure(_cycles_of, fused(first)), millions, 8.3e6, at_least=False)
    row("ResNet-50, speed against apart, both overlapped", faster[0], times_exactly, 2.1, paper=times(PAPER_SPEED_50))
    stronger = book.figure(speed_up, layers(first), fused(first))
    row("ResNet-50, against layers, both overlapped", stronger, times_exactly, 1.7)
    row("ResNet-50, apart serial -> fused overlapped", diagonal[0], times_exactly, 2.65, paper=times(PAPER_SPEED_50))
    row("speed, mean of nine, against apart, both overlapped", combine(mean, *faster), times_exactly, 2.0,
        paper=times(PAPER_SPEED))  # fmt: skip
    row("the same, geometric mean", combine(geometric, *faster), times_exactly, 1.8)
    row("mean of nine, apart serial -> fused overlapped", combine(mean, *diagonal), times_exactly, None,
        paper=times(PAPER_SPEED))  # fmt: skip
    batches = [headline(first, kind, batch=BATCH) for kind in ("apart", "fused")]
    row(f"ResNet-50, batch of {BATCH}, MB a picture", book.figure(_megabytes_of, batches[1]), megabytes, 11.0,
        at_least=False)  # fmt: skip
    row("the same, cycles a picture", book.figure(_cycles_of, batches[1]), millions, 4.7e6, at_least=False)
    row("the same, speed against the batch apart, both overlapped", book.figure(speed_up, *batches), times_exactly,
        2.62, paper=times(PAPER_SPEED_50))  # fmt: skip
    ratios = _over_nets(book, speed_up, lambda net: default(net, "layers"), lambda net: default(net, "fused"))
    row("default chip, least speed of the nine against layers", combine(min, *ratios), times_exactly,
        1.0)  # fmt: skip
    repeated = [book.figure(lambda record: record.repeated, fused(net)) for net in NETS]
    row("multiply-accumulates done again, the most of the nine fused", combine(max, *repeated), change, 0.01,
        at_least=False)  # fmt: skip
    errors = [book.figure(lambda record: abs(record.estimate_error or 0.0), fused(net)) for net in NETS]
    run = all((record := book.good(fused(net))) is not None and record.estimate_error is not None for net in NETS)
    row("error of the estimate, the largest of the nine fused", combine(max, *errors) if run else Figure(None), change,
        0.03, at_least=False)  # fmt: skip
    row("ResNet-50, schedule, s", book.figure(lambda record: record.facts["schedule_s"], fused(first)), seconds, 20.0,
        at_least=False)  # fmt: skip
    gain = combine(lambda before, after: 100 * (after - before), *_means16(book))
    row("16 cores, geometric mean of the efficiency, points above layers", gain, lambda value: f"{value:+.1f}", 10.0)
    return (
        "## Against the targets, and the paper\n\n"
        + targets.table("Deep Fusion")
        + "\nThe paper's figures stand beside those that are closest in meaning; see [what differs](#what-differs).\n"
    )


def _bytes(book: Book) -> str:
    rows = []
    columns: list[list[Figure]] = []
    for net in NETS:
        points = [headline(net, kind) for kind in KINDS]
        moved = [book.figure(_megabytes_of, point) for point in points]
        shares = [book.figure(_saved, point, points[2]) for point in points[:2]]
        columns.append(shares)
        fused = book.good(points[2])
        classes = "-" if fused is None else " + ".join(megabytes(value / 1e6) for value in fused.dram_bytes.values())
        if fused is not None and moved[2].estimated:
            classes = f"*{classes}*"
        rows.append(
            [net, *(figure.text(megabytes) for figure in moved), classes, megabytes(TARGET_MB[net]),
             verdict(moved[2], most=TARGET_MB[net]), *(share.text(change) for share in shares)]
        )  # fmt: skip
    against = [combine(mean, *figures).text(change) for figures in zip(*columns, strict=True)]
    rows.append(["**mean**", *[""] * 6, *against])
    header = ["network", *(f"{kind}, MB" for kind in KINDS), "fused: weights + ifmaps + ofmaps + psums + programs",
              "target", "", "against apart", "against layers"]  # fmt: skip
    lines = ["## DRAM bytes, headline chip, overlapped", "", table(header, rows)]
    for rate, kind in ((HEADLINE_RATE, "256 KB scratchpads, otherwise the same"),):
        moved = [book.figure(_megabytes_of, small("resnet50", schedule)) for schedule in KINDS]
        took = [book.figure(_cycles_of, small("resnet50", schedule)) for schedule in KINDS]
        both = [[figure.text(form) for figure in figures] for form, figures in ((megabytes, moved), (count, took))]
        rows = [["MB", *both[0]], ["cycles", *both[1]]]
        lines += [f"ResNet-50 with {kind} ({rate} B/cycle a node):", "", table(["", *KINDS], rows)]
    return "\n".join(lines)


def _cycles(book: Book) -> str:
    rows = []
    columns: list[list[Figure]] = []
    for net in NETS:
        took = [book.figure(_cycles_of, headline(net, kind, overlap=overlap)) for kind, overlap in ARMS]
        fused = headline(net, "fused")
        speeds = [
            book.figure(speed_up, headline(net, kind, overlap=overlap), fused)
            for kind, overlap in (("apart", True), ("layers", True), ("apart", False))
        ]
        columns.append(speeds)
        rows.append([net, *(figure.text(count) for figure in took), *(speed.text(times) for speed in speeds)])
    for name, function in (("mean", mean), ("geometric mean", geometric)):
        means = [combine(function, *figures).text(times) for figures in zip(*columns, strict=True)]
        rows.append([f"**{name}**", *[""] * len(ARMS), *means])
    arms = [f"{kind}, {'overlapped' if overlap else 'serial'}" for kind, overlap in ARMS]
    header = ["network", *arms, "fused against apart", "against layers", "apart serial -> fused overlapped"]
    lines = ["## Cycles, headline chip", "", table(header, rows)]
    batches = [headline("resnet50", kind, batch=BATCH) for kind in ("apart", "fused")]
    rows = [
        [kind, book.figure(_cycles_of, point).text(count), book.figure(_megabytes_of, point).text(megabytes)]
        for kind, point in zip(("apart", "fused"), batches, strict=True)
    ]
    rows.append(["**fused against apart**", book.figure(speed_up, *batches).text(times),
                 book.figure(_saved, *batches).text(change)])  # fmt: skip
    lines += [f"ResNet-50, a batch of {BATCH}, overlapped; a picture:", "", table(["", "cycles", "MB"], rows)]
    return "\n".join(lines)


def _losses(book: Book) -> str:
    rows = []
    for net in NETS:
        for kind, overlap in ARMS:
            point = headline(net, kind, overlap=overlap)
            spent = [
                book.figure(lambda record, cause=cause: record.facts["compute_cycles"][cause], point)
                for cause in CAUSES
            ]
            texts = [figure.text(lambda value: f"{value / 1e3:,.0f}") for figure in spent]
            rows.append([net, f"{kind}, {'overlapped' if overlap else 'serial'}", *texts])
    header = ["network", "schedule", *CAUSES.values()]
    return (
        "## Where the cycles go, headline chip\n\nThousands of cycles of the compute units by cause, mean over the "
        "cores; all but streaming are stalls, and a line adds up to the run's cycles.\n\n" + table(header, rows, 2)
    )


def _costs(book: Book) -> str:
    rows = []
    for net in NETS:
        points = [headline(net, kind) for kind in KINDS]
        repeated = [book.figure(lambda record: record.repeated, point) for point in points]
        errors = [book.figure(lambda record: record.estimate_error, point) for point in points]
        took = [book.figure(lambda record: record.facts["schedule_s"], point) for point in points]
        rows.append(
            [net, *(figure.text(lambda value: f"{100 * value:.2f} %") for figure in repeated),
             *(figure.text(change) for figure in errors), *(figure.text(seconds) for figure in took)]
        )  # fmt: skip
    header = ["network", *(f"{what}, {kind}" for what in ("done again", "estimate", "schedule s") for kind in KINDS)]
    return (
        "## What it costs, headline chip, overlapped\n\nMultiply-accumulates that are done again, of the network's "
        "(rows that two cores compute, and windows of max pools that tiles share, which `layers` has too); error of "
        "the estimated cycles; processor time to find and write the schedule.\n\n" + table(header, rows)
    )


def _energy(book: Book) -> list[str]:
    """What the sets of constants say of energies; nothing until some run has told its own."""
    rows = []
    for net in NETS:
        pairs = [(_arm("fused")(net), _arm(kind)(net)) for kind in ("apart", "layers")]
        verdicts = [book.comparison(*pair, figure) for figure in ("total", "edp") for pair in pairs]
        if any(verdict is not None for verdict in verdicts):
            rows.append([net, *("-" if verdict is None else f"{verdict}" for verdict in verdicts)])
    if not rows:
        return []
    header = ["network", "energy against apart", "against layers", "EDP against apart", "against layers"]
    return [
        f"""## Energy, headline chip, overlapped

Events of the programs, equal to the RTL's counters, at the prices of all named sets of constants
([energy](../energy.md)); from the least to the largest change. Where the sets disagree on the sign it is undecided.

{table(header, rows)}
"""
    ]


def _curve(book: Book) -> str:
    lines = [
        "## Against the balance of the machine",
        "",
        "The headline chip at other memory rates, overlapped: speed of fused against apart, and against layers. The "
        "scheduler plans for each rate anew.",
        "",
    ]
    for base in ("apart", "layers"):
        rows, columns = [], []
        for net in NETS:
            speeds = [
                book.figure(speed_up, headline(net, base, rate=rate), headline(net, "fused", rate=rate))
                for rate in CURVE_RATES
            ]
            columns.append(speeds)
            rows.append([net, *(speed.text(times) for speed in speeds)])
        for name, function in (("mean", mean), ("geometric mean", geometric)):
            means = [combine(function, *figures).text(times) for figures in zip(*columns, strict=True)]
            rows.append([f"**{name}**", *means])
        header = [f"against {base}", *(f"{2 * rate} B/cycle, {512 // rate} MAC/B" for rate in CURVE_RATES)]
        lines.append(table(header, rows))
    rows = []
    for kind in KINDS:
        points = [headline("resnet50", kind, rate=rate) for rate in CURVE_RATES]
        rows.append([kind, *(book.figure(_cycles_of, point).text(millions) for point in points)])
        rows.append([f"{kind}, MB", *(book.figure(_megabytes_of, point).text(megabytes) for point in points)])
    lines.append(table(["ResNet-50, cycles", *(f"{2 * rate} B/cycle" for rate in CURVE_RATES)], rows))
    return "\n".join(lines)


def _default(book: Book) -> str:
    rows, slower = [], []
    ratios = []
    for net in NETS:
        points = [default(net, kind) for kind in ("layers", "fused")]
        took = [book.figure(_cycles_of, point) for point in points]
        moved = [book.figure(_megabytes_of, point) for point in points]
        ratio = book.figure(speed_up, *points)
        ratios.append(ratio)
        target = TARGET_DEFAULT.get(net)
        if ratio.value is not None and ratio.value < 1:
            slower.append(f"{net} ({ratio.text(lambda value: change(1 / value - 1))} cycles)")
        rows.append(
            [net, *(figure.text(count) for figure in took), millions(target) if target else "",
             verdict(took[1], most=target) if target else "", ratio.text(times),
             *(figure.text(megabytes) for figure in moved)]
        )  # fmt: skip
    for name, function in (("mean", mean), ("geometric mean", geometric)):
        rows.append([f"**{name}**", "", "", "", "", combine(function, *ratios).text(times), "", ""])
    header = ["network", "layers", "fused", "target", "", "speed", "layers, MB", "fused, MB"]
    known = sum(ratio.value is not None for ratio in ratios)
    word = f"Slower fused than layer by layer: {', '.join(slower) or 'none'}, of {known} networks that are known."
    return (
        "## The default chip\n\n16 B/cycle a node: its arrays are what limits it, so there is little time to gain."
        f"\n\n{table(header, rows)}\n{word}\n"
    )


def _bounded(bound: Record, run: Record) -> float:
    """Efficiency of a run against the bound of another schedule's."""
    return bound.facts["lower_bound_cycles"] / run.cycles


def _means16(book: Book) -> list[Figure]:
    """Geometric means over the zoo on 16 cores of the efficiency against the bound of `layers`: of that, and fused."""
    return [
        combine(geometric, *(book.figure(_bounded, cores16(net, "layers"), cores16(net, kind)) for net in ZOO_NETS))
        for kind in ("layers", "fused")
    ]


def _cores16(book: Book) -> str:
    rows = []
    own: list[Figure] = []
    for net in ZOO_NETS:
        points = [cores16(net, kind) for kind in ("layers", "fused")]
        took = [book.figure(_cycles_of, point) for point in points]
        efficiency = [book.figure(_bounded, points[0], point) for point in points]
        own.append(book.figure(_bounded, points[1], points[1]))
        rows.append(
            [net, *(figure.text(count) for figure in took), book.figure(speed_up, *points).text(times),
             *(figure.text(percent) for figure in (*efficiency, own[-1]))]
        )  # fmt: skip
    means = [*_means16(book), combine(geometric, *own)]
    rows.append(["**geometric mean**", "", "", "", *(figure.text(percent) for figure in means)])
    header = ["network", "layers, cycles", "fused, cycles", "speed", "layers, efficiency", "fused, by the same bound",
              "fused, by its own bound"]  # fmt: skip
    return (
        "## 16 cores\n\nThe preset of 16 cores, 16 B/cycle for each of eight memory nodes. Efficiency is the lower "
        "bound of the cycles / the cycles. The bound of `layers` counts all tensors as DRAM traffic, as in "
        "[docs/bench.md](../bench.md), and is one yardstick for both; by its own bound, which leaves out what stays "
        f"on the chip, the fused plan has more to reach.\n\n{table(header, rows)}"
    )


def _differences() -> str:
    return """## What differs

- The paper's platform and its unfused baseline are not public in detail: only its abstract's figures are used here.
  `apart` is what it most likely compared with; `layers` is a stronger baseline, and both are in every table.
- Its machine balance is unknown. Accelerators of that time and kind had some 600 multiply-accumulates a byte of
  memory bandwidth; the headline chip has 256, and the curve shows what other balances do.
- At batch 1, with load, compute and store overlapped in both arms, a speed-up cannot exceed the ratio of the bytes
  once memory is what limits both. The pair of figures of the paper (-56 % bytes, 2.62x) asks for more than that ratio
  (2.27x), so its baseline was probably not fully overlapped; *apart serial -> fused overlapped* is shown beside it for
  that reason, and named so.
- Our networks are int8 with seeded weights; cycles and bytes do not depend on values. Its networks are not the same
  nine.
- DRAM is a latency and a rate for each memory node, without banks and refresh; what the host does between launches is
  not counted, in any arm.
- Sums round on their own in `apart`, so it is another quantised network: its bits are checked against its own golden
  graph.
"""
