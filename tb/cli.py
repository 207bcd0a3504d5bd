"""The command line: `python -m tb.cli sim --net vgg16 --cores 4`.

Exit status: 0 every bit equal; 1 a bit differs, the simulation failed, or an imported network is not the model;
2 bad input; 130 interrupted.
"""

from __future__ import annotations

import json
import math
import shlex
import signal
import sys
import tempfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from estimator.coefficients import DEFAULT_PATH
from estimator.energy import SETS, write_ert
from golden.onnx_import import Shapes
from golden.pruning.pruning import TABLES
from golden.zoo import ZOO
from rtl.contract.errors import SystomeshError
from rtl.contract.params import default_chip
from scheduler.schedule import SCHEDULES, usual_schedule
from scheduler.schedule import schedule as make_plan
from scheduler.work.activations import ACTIVATIONS, Detail
from scheduler.work.options import BALANCES, SKIPS, SparseOptions
from tb.bench.baseline import baseline_of
from tb.bench.campaign import Campaign, Case
from tb.bench.compare import RunChange, compare, describe_verdict, parse_tolerance, print_changes
from tb.bench.console import CampaignConsole
from tb.bench.energy import report_energies
from tb.bench.records import kept_runs
from tb.bench.speed import measure_blocks, measure_speed, print_speed
from tb.bench.table import print_report, record, require_writable, write_report
from tb.errors import BenchError, RunError, named_storage, storage_error
from tb.experiment.catalogue import EXPERIMENTS, find_experiment
from tb.experiment.run import run_experiment
from tb.files import named
from tb.foreign.correction import FOLDER as CORRECTIONS
from tb.foreign.correction import save
from tb.foreign.environment import require_package, run_tool
from tb.foreign.export import export as export_inputs
from tb.foreign.export import print_missing
from tb.foreign.page import write_page
from tb.foreign.tool import Target
from tb.foreign.tools import TOOLS, find_tool
from tb.fuzz.campaign import KINDS, parse_seeds
from tb.fuzz.campaign import fuzz as run_fuzz
from tb.fuzz.campaign import replay as replay_program
from tb.fuzz.chips import FUZZ_CHIPS
from tb.model.build import SIMULATORS, build_model, emit_chip
from tb.report.check import CHECK, facts_of, print_check
from tb.report.files import outputs, require_pictures, write_output
from tb.report.html.report import write_html
from tb.report.nets import print_nets, zoo_sizes
from tb.report.progress import ConsoleWatcher, pipe_relay
from tb.report.provenance import commit
from tb.report.record import FILES, REPORT, RunRecord
from tb.report.terminal import print_summary, print_waves
from tb.run.capacity import parse_batch, parse_jobs, processors
from tb.run.draft import Draft
from tb.run.energies import prices_of
from tb.run.estimate import estimate_request
from tb.run.options import RunOptions
from tb.run.presets import NAMED_CHIPS, chip_named
from tb.run.request import Request, chip_of
from tb.run.run import Run
from tb.run.timelines import timeline_file
from tb.run.training import trainer
from tb.run.waves import window_around
from tb.run.workload import DEFAULT_SEED, FALLBACKS, OnnxOptions, load_workload, require_network
from tb.sim.job import plan_job
from tb.sim.settings import MemorySettings
from tb.structure.inventory import print_inventory, take_inventory
from tb.timeline.files import FORMS, parse_form

__all__ = ["app", "main", "parse_shapes"]

FULL_NETS = "lenet5,squeezenet1_1,mobilenet_v2,resnet18,googlenet"
"""Networks that validate a full calibration."""
INTERRUPTED = 130
"""Exit status of an interrupted command."""

app = typer.Typer(add_completion=False, no_args_is_help=True, pretty_exceptions_enable=False)

Net = Annotated[
    str,
    typer.Option(
        help=f"Network of the zoo ({', '.join(sorted(ZOO))}), an .onnx file, a topology of SCALE-Sim (.csv) or a "
        "workload of ZigZag or Stream (.yaml)."
    ),
]
Cores = Annotated[int, typer.Option(help="Cores of the preset chip; 4 is a 2x2 mesh.")]
ChipFile = Annotated[
    Path | None,
    typer.Option(
        help=f"The chip, instead of --cores: one of {', '.join(NAMED_CHIPS)} (cores with the sparse engine), or a TOML "
        "file that describes it."
    ),
]
Simulator = Annotated[str, typer.Option(help=f"Simulator: {' or '.join(SIMULATORS)}.")]


Launches = Annotated[
    int | None,
    typer.Option(
        help="Launches of --schedule fused, cut where nothing stays on the chip; as many as there can be otherwise."
    ),
]
ShapeText = Annotated[
    str | None,
    typer.Option(help="Input C,H,W of an .onnx file that leaves it open; of several inputs a=1,128,b=1,128."),
]
InputValues = Annotated[
    str | None,
    typer.Option(
        "--input", help="Values of inputs of an .onnx file that are no pictures, for good: sr=16000 or a=1,b=0.5."
    ),
]
Calibration = Annotated[
    str | None, typer.Option(help="Pictures a,b that set the ranges of a float .onnx file; --image otherwise.")
]
Percentile = Annotated[float, typer.Option(help="Part of the values, in %, within these ranges; 100 is min-max.")]
Fallback = Annotated[
    str,
    typer.Option(help="Nodes of an .onnx file that the chip cannot run: host (ONNX Runtime computes them) or refuse."),
]
Picture = Annotated[
    str | None,
    typer.Option(
        help="Picture, .npy file, or .npz file with several inputs by name; of a batch one for each: a,b,...; a "
        "photograph otherwise."
    ),
]
Batch = Annotated[
    str | None, typer.Option(help="Number of pictures that go through one plan, each checked; 1 otherwise.")
]
EnergySet = Annotated[
    str | None,
    typer.Option(
        help=f"Constants for energies: {', '.join(SETS)}, a .toml file, an Accelergy ERT as .yaml; all sets otherwise."
    ),
]
Prune = Annotated[
    str | None,
    typer.Option(
        help=f"Prune the weights: a published table of densities ({', '.join(TABLES)}; :weights or :inputs behind it "
        "for these alone), one density such as 0.3, two of weights and inputs such as 0.3,0.5, or an .npz with a bool "
        "array for each tensor to prune, True where a weight stays. Not of .onnx files."
    ),
]
RunAhead = Annotated[
    int | None,
    typer.Option(
        help="Items by which PEs of sparse engines may be ahead of the slowest one, 0 for lockstep; 4 otherwise."
    ),
]
Skip = Annotated[
    str, typer.Option(help=f"Whose zeros sparse engines leave out: {', '.join(SKIPS)}; other zeros are multiplied.")
]
Balance = Annotated[
    str,
    typer.Option(
        help=f"How filters share the columns of sparse engines: {', '.join(BALANCES)}. Lanes rotate in any case."
    ),
]
Known = Annotated[
    Detail,
    typer.Option(
        help="What cycles of sparse engines are predicted by: which activations are zero, how many of each channel, or "
        "how many of each tensor."
    ),
]
Profile = Annotated[bool, typer.Option(help="Compile the model with profile feedback: slower to build, 10 % faster.")]


@app.command()
def sim(
    context: typer.Context,
    net: Net = "vgg16",
    cores: Cores = 4,
    chip: ChipFile = None,
    sim: Simulator = "verilator",
    weights: Annotated[Path | None, typer.Option(help=".npz with the weights; seeded ones otherwise.")] = None,
    image: Picture = None,
    batch: Batch = None,
    seed: Annotated[int | None, typer.Option(help=f"Seed of the weights; {DEFAULT_SEED} otherwise.")] = None,
    prune: Prune = None,
    shape: ShapeText = None,
    input_values: InputValues = None,
    calibration: Calibration = None,
    percentile: Percentile = 100.0,
    fallback: Fallback = FALLBACKS[0],
    layers: Annotated[str | None, typer.Option(help="Only these layers: a, a,b or a..c.")] = None,
    name: Annotated[str | None, typer.Option(help="Name of the run; results are in runs/NAME.")] = None,
    latency: Annotated[int, typer.Option(help="Latency of the external memory in cycles.")] = 64,
    bandwidth: Annotated[
        float | None,
        typer.Option(help="Bytes per cycle of each memory node, at most twice its port's width; once otherwise."),
    ] = None,
    schedule: Annotated[
        str | None,
        typer.Option(
            help=f"Kind of schedule: {', '.join(SCHEDULES)}, or a .toml file as the command schedule writes it. fused "
            "keeps tensors on the chip; layers gives each layer a launch. apart gives each operator a launch, sums and "
            "max pools too, and quantises float networks so; quantised .onnx files have their sums apart anyway and "
            "keep their rounding. Otherwise fused, but layers with --no-fuse and on chips with unlike cores or "
            "core.marks = 0."
        ),
    ] = None,
    launches: Launches = None,
    fuse: Annotated[bool, typer.Option(help="Compute max pools in the launch of the convolution before.")] = True,
    overlap: Annotated[
        bool, typer.Option(help="Load, compute and store at the same time; otherwise one after the other in each core.")
    ] = True,
    run_ahead: RunAhead = None,
    skip: Skip = SKIPS[0],
    balance: Balance = BALANCES[0],
    activations: Known = ACTIVATIONS[0],
    jobs: Annotated[
        str | None,
        typer.Option(help="Simulator processes that share the layers; one for each processor otherwise, 1 with waves."),
    ] = None,
    energy: EnergySet = None,
    counters: Annotated[
        bool, typer.Option(help="Build the chip with counters of all events that energies are made of.")
    ] = False,
    profile: Profile = False,
    trace: Annotated[
        str | None,
        typer.Option(
            help="Record a timeline: 1 for runs/NAME/trace.pftrace, which ui.perfetto.dev opens, or json for "
            "trace.json, which chrome://tracing opens offline. What each unit of each core does and waits for, memory "
            "nodes, links, and beside it what the estimator expected. Verilator only; cycles stay what they are."
        ),
    ] = None,
    interval: Annotated[
        int, typer.Option(help="Cycles between the counts of a timeline (flits, DRAM bytes, busy PEs).")
    ] = 1_000,
    report: Annotated[bool, typer.Option(help="Write runs/NAME/report.html.")] = True,
    waves: Annotated[
        str | None,
        typer.Option(
            help="Record waves in runs/NAME/waves: 1, or the first and the last cycle of a launch, 12000..13500. Of a "
            "run that failed the launch that failed runs again, of one that ended well all of them."
        ),
    ] = None,
    scope: Annotated[
        str | None,
        typer.Option(help="Record these units alone: core0.compute,router_0_1; compute means that of every core."),
    ] = None,
    memories: Annotated[bool, typer.Option(help="Record the words of all memories, too (large).")] = False,
    fresh: Annotated[bool, typer.Option(help="Do not go on from an earlier, interrupted run.")] = False,
    progress_fd: Annotated[int | None, typer.Option(hidden=True, help="Descriptor that takes the progress.")] = None,
) -> None:
    """Run a network through the RTL and compare every value with the golden model."""
    request = Request(
        net=net, cores=cores, chip=chip, sim=sim, weights=weights, image=image, batch=parse_batch(batch), seed=seed,
        onnx=_onnx_options(shape, input_values, calibration, percentile, fallback), layers=layers, name=name,
        prune=prune, latency=latency, bandwidth=bandwidth, schedule=schedule, launches=launches, fuse=fuse,
        overlap=overlap, sparse=SparseOptions(run_ahead, skip, balance, activations), jobs=parse_jobs(jobs),
        energy=energy, counters=counters, profile=profile, waves=waves, scope=scope, memories=memories,
        trace=parse_form(trace), interval=interval, report=report, fresh=fresh,
    )  # fmt: skip
    options, console = request.options, Console()
    watcher = _watcher(console, progress_fd)
    try:
        summary = Run(options, request.load, net, watcher).execute()
    finally:
        watcher.done()
    print_summary(summary, console)
    written = [name for name in FILES if report or name != REPORT]
    console.print(f"written: {', '.join(written)} in {options.folder}", highlight=False, soft_wrap=True)
    if options.trace is not None:
        line = f"timeline: {timeline_file(options)}; {FORMS[options.trace].opens}"
        console.print(line, highlight=False, soft_wrap=True)
    for dump in summary.waves:
        print_waves(options.folder / dump, console)
    if options.waves and not summary.waves:
        console.print(f"no waves: no launch that ran has a cycle in WAVES={waves}", highlight=False)
    if summary.failed_launch and not summary.waves and sim == SIMULATORS[0]:
        again = f"waves of {summary.failed_launch} around it: {_again(context, summary.failed_cycle)}"
        console.print(again, markup=False, highlight=False, soft_wrap=True)
    if not summary.bit_exact:
        raise typer.Exit(1)


@app.command(name="report")
def report_runs(
    runs: Annotated[
        str | None, typer.Option(help="Names a,b of runs, or paths of their folders; the first is the measure.")
    ] = None,
    out: Annotated[Path | None, typer.Option(help="The page; report.html in the folder of one run otherwise.")] = None,
) -> None:
    """Write the page of a run again, or of several side by side: runs that have come to their ends."""
    names = [name.strip() for name in (runs or "").split(",") if name.strip()]
    if not names or (out is None and len(names) > 1):
        raise BenchError(f"give RUNS={runs or 'a,b'} and OUT={out or 'page.html'}; of one run OUT may be left out")
    records = [RunRecord.load(name) for name in names]
    page = out or RunRecord.folder(names[0]) / REPORT
    try:
        write_html(page, records)
    except OSError as error:
        raise storage_error(error, str(page)) from error
    Console().print(f"report: {page}", highlight=False, soft_wrap=True)


@app.command()
def check(
    net: Net = "vgg16",
    cores: Cores = 4,
    chip: ChipFile = None,
    weights: Annotated[Path | None, typer.Option(help=".npz with the weights; seeded ones otherwise.")] = None,
    image: Picture = None,
    batch: Batch = None,
    prune: Prune = None,
    shape: ShapeText = None,
    input_values: InputValues = None,
    calibration: Calibration = None,
    percentile: Percentile = 100.0,
    fallback: Fallback = FALLBACKS[0],
    schedule: Annotated[str | None, typer.Option(help="Kind of schedule, as of sim.")] = None,
    layers: Annotated[str | None, typer.Option(help="Only these layers, as of sim.")] = None,
    overlap: Annotated[bool, typer.Option(help="As of sim.")] = True,
    run_ahead: RunAhead = None,
    skip: Skip = SKIPS[0],
    balance: Balance = BALANCES[0],
    activations: Known = ACTIVATIONS[0],
    latency: Annotated[int, typer.Option(help="Latency of the external memory in cycles.")] = 64,
    bandwidth: Annotated[float | None, typer.Option(help="Bytes per cycle of each memory node.")] = None,
    energy: EnergySet = None,
    name: Annotated[str | None, typer.Option(help="Name of the run: its figures are in runs/NAME/check.json.")] = None,
    fingerprint: Annotated[
        bool, typer.Option(help="Also tell the fingerprint of what sim would simulate, for which it generates the RTL.")
    ] = False,
    progress_fd: Annotated[int | None, typer.Option(hidden=True, help="Descriptor that takes the progress.")] = None,
) -> None:
    """Everything but the simulation: what would run where and why, estimated cycles and DRAM bytes, int8 error."""
    request = Request(
        net=net, cores=cores, chip=chip, weights=weights, image=image, batch=parse_batch(batch), prune=prune,
        onnx=_onnx_options(shape, input_values, calibration, percentile, fallback), name=name, latency=latency,
        bandwidth=bandwidth, schedule=schedule, layers=layers, overlap=overlap,
        sparse=SparseOptions(run_ahead, skip, balance, activations), energy=energy,
    )  # fmt: skip
    options, console = request.options, Console()
    watcher = _watcher(console, progress_fd)
    try:
        summary = estimate_request(request, watcher, identify=fingerprint)
    finally:
        watcher.done()
    print_check(summary, console)
    file = options.folder / CHECK
    write_output(file, json.dumps(facts_of(summary), indent=1) + "\n")
    console.print(f"figures: {file}", highlight=False)


@app.command(name="schedule")
def write_plan(
    net: Net = "vgg16",
    cores: Cores = 4,
    chip: ChipFile = None,
    layers: Annotated[str | None, typer.Option(help="Only these layers: a, a,b or a..c.")] = None,
    latency: Annotated[int, typer.Option(help="Latency of the external memory in cycles.")] = 64,
    bandwidth: Annotated[float | None, typer.Option(help="Bytes per cycle of each memory node.")] = None,
    schedule: Annotated[
        str, typer.Option(help="What to draw: a kind of schedule, or a .toml file; only fused can be written as one.")
    ] = "fused",
    launches: Launches = None,
    batch: Annotated[str | None, typer.Option(help="Number of pictures that go through one plan; 1 otherwise.")] = None,
    core: Annotated[int | None, typer.Option(help="Core whose scratchpad the picture shows; 0 otherwise.")] = None,
    out: Annotated[
        str, typer.Option(help="Files a,b: the schedule as .toml to read and edit, its picture as .svg.")
    ] = "runs/plan.toml",
) -> None:
    """Write the schedule of a network: a file to edit, which sim --schedule FILE runs, and a picture of it."""
    request = Request(
        net=net, cores=cores, chip=chip, layers=layers, latency=latency, bandwidth=bandwidth, schedule=schedule,
        launches=launches, batch=parse_batch(batch),
    )  # fmt: skip
    files = outputs(out, schedule, core, request.options.chip.n_cores)
    draft, console = Draft(request), Console()
    of_batch = f" BATCH={request.batch}" if request.batch > 1 else ""
    for file in files:
        if file.suffix == ".toml":
            write_output(file, draft.text)
            line = f"schedule: {file}; run it with make sim NET={net} SCHEDULE={file}{of_batch}"
            console.print(line, highlight=False, soft_wrap=True)
        else:
            write_output(file, draft.picture(core or 0))
            console.print(f"picture: {file}", highlight=False, soft_wrap=True)


def _again(context: typer.Context, cycle: int | None) -> str:
    """The command that runs what was run with waves around a cycle, for `make`."""
    words = ["make", str(context.info_name)]
    for parameter in context.command.params:
        source = context.get_parameter_source(str(parameter.name))
        given = source is not None and source.name == "COMMANDLINE"  # Typer has a Click of its own
        if given and parameter.name not in ("waves", "fresh", "jobs", "progress_fd"):
            name, value = parameter.opts[0].removeprefix("--"), context.params[str(parameter.name)]
            words.append(f"{name.upper()}={int(value) if isinstance(value, bool) else shlex.quote(str(value))}")
    return " ".join([*words, f"WAVES={window_around(cycle)}"])


def _watcher(console: Console, progress_fd: int | None) -> ConsoleWatcher:
    """What shows the progress of a command, and passes it on to whoever gave a descriptor."""
    return ConsoleWatcher(console) if progress_fd is None else ConsoleWatcher(console, pipe_relay(progress_fd))


@app.command(name="energy")
def price_events(
    nets: Annotated[str, typer.Option(help="Networks of the zoo: a,b,...")] = ",".join(sorted(ZOO)),
    cores: Cores = 4,
    chip: ChipFile = None,
    schedule: Annotated[str | None, typer.Option(help="Kind of schedule, as of sim.")] = None,
    energy: EnergySet = None,
    ert: Annotated[Path | None, typer.Option(help="Write the chip's prices here, as an Accelergy ERT.")] = None,
    out: Annotated[Path | None, typer.Option(help="Write the table here, as OUT.md.")] = None,
) -> None:
    """Energy of networks by class from the events of their programs; nothing is simulated."""
    params = chip_of(cores, chip)
    prices = prices_of(params, energy)
    console = Console()
    if ert is not None:
        write_output(ert, write_ert(prices[0]))
        console.print(f"prices of {prices[0].name}: {ert}", highlight=False, soft_wrap=True)
        return
    options = RunOptions(name="energy", chip=params, schedule=schedule or usual_schedule(params), energy=energy)
    report_energies(nets.split(","), options, console, out)


@app.command()
def nets() -> None:
    """List the networks of the zoo with their sizes."""
    print_nets(zoo_sizes(), Console())


@app.command()
def emit(
    out: Annotated[Path, typer.Option(help="Folder for the Verilog files.")],
    cores: Cores = 4,
    chip: ChipFile = None,
) -> None:
    """Write the chip's Verilog."""
    from rtl.emit import emit as emit_verilog

    try:
        emitted = emit_verilog(chip_of(cores, chip), out)
    except OSError as error:
        raise BenchError(f"cannot write {out}: {error.strerror or error}") from error
    for file in emitted.files:
        typer.echo(str(file))


@app.command()
def build(cores: Cores = 4, chip: ChipFile = None, sim: Simulator = "verilator", profile: Profile = False) -> None:
    """Build the simulation model into the cache."""
    params = chip_of(cores, chip)
    model = build_model(emit_chip(params), sim, training=trainer(params), profile=profile)
    how = ["cached" if model.cached else f"built in {model.build_s:.1f} s", model.made]
    typer.echo(f"{model.directory} ({'; '.join(filter(None, how))})")


@app.command()
def bench(
    nets: Annotated[str | None, typer.Option(help="Networks a,b of the zoo; all of them otherwise.")] = None,
    cores: Annotated[str, typer.Option(help="Core counts of the preset chips, such as 1,4,16.")] = "4",
    jobs: Annotated[int, typer.Option(help="Runs at a time, which divide the processors; a run alone has all.")] = 1,
    schedule: Annotated[
        str | None, typer.Option(help=f"Kinds of schedule a,b: {', '.join(SCHEDULES)}; that of sim otherwise.")
    ] = None,
    against: Annotated[
        Path | None, typer.Option(help="Compare with an earlier OUT.json, by network and layer; status 1 if worse.")
    ] = None,
    tolerance: Annotated[str, typer.Option(help="Percent more cycles or DRAM bytes that are not worse yet.")] = "0",
    out: Annotated[Path, typer.Option(help="The report: OUT.md and OUT.json.")] = Path("runs/bench"),
) -> None:
    """Run networks of the zoo, those that are not up to date, and write one table of all of them.

    The exit status is 1 if a run fails, or is worse than the earlier one that it is compared with.
    """
    cases = _cases(nets, cores, schedule)
    campaign, limit = Campaign(jobs), parse_tolerance(tolerance)
    require_writable(out)
    before = baseline_of(against, cases, whole_zoo=nets is None) if against is not None else []
    revision = commit()
    console = Console()
    watcher = CampaignConsole(cases, console)
    try:
        results = campaign.run(cases, watcher)
    finally:
        watcher.done()
    records = [record(result) for result in results]
    print_report(records, console)
    table, data = write_report(out, records, revision)
    console.print(f"table: {table}, figures: {data}", highlight=False)
    changes: list[RunChange] = []
    if against is not None:
        changes = compare(before, kept_runs(records))
        print_changes(changes, console)
        console.print(describe_verdict(changes, len(cases), limit, str(against)), highlight=False, soft_wrap=True)
    if any(result.failure is not None for result in results) or any(change.worse(limit) for change in changes):
        raise typer.Exit(1)


@app.command()
def experiment(
    name: Annotated[str | None, typer.Option(help=f"Which: {', '.join(EXPERIMENTS)}.")] = None,
    only: Annotated[
        str | None,
        typer.Option(help="Run these alone: groups of points, or names of runs with *, a,b,...; all otherwise."),
    ] = None,
    nets: Annotated[str | None, typer.Option(help="And of these the networks a,b,... alone.")] = None,
    jobs: Annotated[int | None, typer.Option(help="Runs at a time; one for each processor otherwise.")] = None,
    rtl: Annotated[bool, typer.Option(help="Simulate; otherwise write the page from what is there.")] = True,
    estimates: Annotated[bool, typer.Option(help="Estimate what has not been run; otherwise leave it out.")] = True,
    out: Annotated[
        Path | None, typer.Option(help="The report: OUT.md, OUT.json and OUT.svg; docs/experiments/NAME otherwise.")
    ] = None,
) -> None:
    """Run an experiment on the RTL, what is not up to date of it, and write its page, its records and its picture.

    An interrupted one goes on where it was: give the same command again.
    """
    chosen = find_experiment(name)
    points = chosen.select(only, nets) if rtl else []
    campaign = Campaign(processors() if jobs is None else jobs)
    place = out or Path("docs/experiments") / chosen.name
    require_writable(place)
    console = Console()
    book = run_experiment(chosen, points, place, campaign, console, estimates=estimates)
    for suffix in (".md", ".json", ".svg"):
        console.print(f"written: {named(place, suffix)}", highlight=False, soft_wrap=True)
    for each in book.failed:
        console.print(f"{each.point.name}: FAILED: {each.failure}", markup=False, highlight=False)
    if book.failed:
        raise typer.Exit(1)


@app.command()
def export(
    tool: Annotated[str | None, typer.Option(help=f"Which: {', '.join(TOOLS)}.")] = None,
    out: Annotated[Path | None, typer.Option(help="Folder for its inputs.")] = None,
    net: Net = "vgg16",
    cores: Cores = 1,
    chip: ChipFile = None,
    shape: ShapeText = None,
    latency: Annotated[int, typer.Option(help="Latency of the external memory in cycles.")] = 64,
    bandwidth: Annotated[float | None, typer.Option(help="Bytes per cycle of each memory node.")] = None,
    run: Annotated[bool, typer.Option(help="Run the tool on them, if it is a package of PyPI.")] = False,
) -> None:
    """Write another tool's own inputs for a chip and a network, and say what they cannot express."""
    if tool is None or out is None:
        raise BenchError(f"give TOOL={tool or '|'.join(TOOLS)} and OUT={out or 'folder'}")
    find_tool(tool)
    require_network(net)
    params = chip_of(cores, chip)
    settings = MemorySettings(latency_cycles=latency, bytes_per_cycle=bandwidth)
    settings.require_port(params.link_bytes)
    onnx, console = OnnxOptions(parse_shapes(shape)), Console()
    if run:
        require_package(tool)
    graph = load_workload(net, onnx=onnx, fuse=False).graph
    try:
        manifest, missing = export_inputs(tool, Target(params, settings), net, graph, out)
    except OSError as error:
        raise storage_error(error, str(out)) from error
    print_missing(tool, manifest, missing, out, console)
    if run:
        console.print(f"running {tool} ...", highlight=False)
        run_tool(tool, out)


@app.command()
def calibrate(
    kernels: Annotated[str, typer.Option(help="quick, in minutes, or full.")] = "quick",
    chips: Annotated[
        str | None, typer.Option(help="TOML files of the chips whose kernels are fitted, a,b,...; the usual otherwise.")
    ] = None,
    unseen: Annotated[
        str | None, typer.Option(help="Of chips whose kernels only judge; the usual otherwise, none of none.")
    ] = None,
    nets: Annotated[
        str | None, typer.Option(help="Networks of the zoo to validate with, a,b,...; none simulates nothing.")
    ] = None,
    cores: Annotated[str, typer.Option(help="Cores of the preset chips that these run on.")] = "1,4",
    mappings: Annotated[int, typer.Option(help="Layers, at least, to run with 20 mappings each.")] = 0,
    jobs: Annotated[str | None, typer.Option(help="Processes at once; one for each processor otherwise.")] = None,
    out: Annotated[
        Path | None, typer.Option(help="The report: OUT.md, OUT.json, OUT.svg; docs/calibration of full otherwise.")
    ] = None,
    coefficients: Annotated[
        Path | None, typer.Option(help="File of coefficients to write; of full that of the estimator otherwise.")
    ] = None,
    tools: Annotated[
        str | None, typer.Option(help=f"Correct other people's models a,b instead: {', '.join(TOOLS)}.")
    ] = None,
    results: Annotated[
        str | None, typer.Option(help="Folders a,b of their inputs (export), in which they were run.")
    ] = None,
    runs: Annotated[Path, typer.Option(help="Folder of the runs on the RTL to compare with.")] = Path("runs"),
) -> None:
    """Fit the estimator's coefficients to kernels on the RTL, and validate them with networks that were never fitted.

    An interrupted one goes on where it was: give the same command again. With TOOLS= and RESULTS= it fits corrections
    of other people's models to the cycles of the RTL.
    """
    if tools is not None or results is not None:
        if tools is None or results is None:
            raise BenchError(f"give TOOLS={tools or ','.join(TOOLS)} and RESULTS={results or 'folder'}, of make export")
        _calibrate_tools(tools, results, runs, out or CORRECTIONS)
        return
    if kernels not in ("quick", "full"):
        raise BenchError(f"KERNELS={kernels}: give quick or full")
    require_pictures()
    # SciPy and Matplotlib, for which no other command should wait.
    from tb.calibration.chips import chips_of, unseen_chips_of
    from tb.calibration.console import print_calibration
    from tb.calibration.run import FOLDER, Plan
    from tb.calibration.run import calibrate as run_calibration

    full = kernels == "full"
    chosen = [] if nets == "none" else _cases(nets or ("lenet5" if not full else FULL_NETS), cores)
    place = out or (Path("docs/calibration") if full else FOLDER / "quick")
    target = coefficients or (DEFAULT_PATH if full else FOLDER / "coefficients.json")
    if mappings and target.resolve() != DEFAULT_PATH:
        raise BenchError(f"MAPPINGS={mappings} judges what the scheduler chooses: it goes with KERNELS=full alone")
    require_writable(place)
    plan = Plan(
        full, chips_of(chips, full=full), {} if unseen == "none" else unseen_chips_of(unseen, full=full),
        [(case.net, case.cores) for case in chosen], mappings,
        parse_jobs(jobs) or processors(), place, target,
    )  # fmt: skip
    console = Console()
    found = run_calibration(plan, lambda line: console.print(line, markup=False, highlight=False, soft_wrap=True))
    console.print(f"written: {target}, {place}.md, {place}.json, {place}.svg", highlight=False, soft_wrap=True)
    print_calibration(found, console)


def _calibrate_tools(tools: str, results: str, runs: Path, out: Path) -> None:
    from tb.foreign.calibrate import calibrate_tool, print_correction  # SciPy, for which no other command should wait

    names, console = [name.strip() for name in tools.split(",")], Console()
    for name in names:
        find_tool(name)
    for name in names:
        correction = calibrate_tool(name, [Path(folder.strip()) for folder in results.split(",")], runs, console)
        print_correction(correction, console)
        files = save(correction, out), write_page(correction, out)
        console.print(f"written: {', '.join(map(str, files))}", highlight=False, soft_wrap=True)


@app.command()
def speed(
    net: Net = "vgg16",
    layer: Annotated[str, typer.Option(help="Layer to simulate.")] = "conv4_1",
    cores: Cores = 4,
    chip: ChipFile = None,
    prune: Prune = None,
    profile: Profile = False,
    by_block: Annotated[bool, typer.Option(help="Sample where the time goes (builds a second model).")] = True,
) -> None:
    """Measure the simulation speed: the bench against a bare C++ loop over the same model, and the time by block."""
    params = chip_of(cores, chip)
    workload = load_workload(net, layers=layer, prune=prune)
    plan = make_plan(workload.graph, params)
    design = emit_chip(params)
    with tempfile.TemporaryDirectory(prefix="systomesh-speed-") as name:
        folder = Path(name)
        whole = plan_job(plan, workload.image, folder)
        job = replace(whole, launches=whole.launches[:1])
        model = build_model(design, training=trainer(params), profile=profile)
        found = measure_speed(model, job, folder / "work")
        blocks = measure_blocks(build_model(design, places=True), job, folder / "work") if by_block else {}
    print_speed(layer, model, found, blocks, Console())


def _cases(nets: str | None, cores: str, schedules: str | None = None) -> list[Case]:
    """Every network on every chip with every kind of schedule, small networks first."""
    chosen = [size.name for size in zoo_sizes()] if nets is None else [net.strip() for net in nets.split(",")]
    for net in chosen:
        if net not in ZOO:
            raise BenchError(f"NETS: unknown network {net!r}; choose from {', '.join(sorted(ZOO))}")
    counts = [count.strip() for count in cores.split(",")]
    for count in counts:
        if not count.isdecimal():
            raise BenchError(f"CORES={cores}: give core counts such as 1,4,16")
        default_chip(int(count))
    kinds = [None] if schedules is None else [kind.strip() for kind in schedules.split(",")]
    for kind in kinds:
        if kind is not None and kind not in SCHEDULES:
            raise BenchError(f"SCHEDULE={schedules}: give kinds out of {', '.join(SCHEDULES)}, separated by commas")
    cases = [Case(net, int(count), kind) for net in chosen for count in counts for kind in kinds]
    return list({case.name: case for case in cases}.values())


@app.command()
def fuzz(
    seeds: Annotated[str, typer.Option(help="Seeds: a number, or a..b.")] = "0..9",
    chip: Annotated[
        str | None,
        typer.Option(
            help=f"One of {', '.join(FUZZ_CHIPS)}, which take turns otherwise; or one of {', '.join(NAMED_CHIPS)}, or "
            "a TOML file."
        ),
    ] = None,
    sim: Simulator = "verilator",
    kind: Annotated[str, typer.Option(help=f"{', '.join(KINDS)} or all.")] = "all",
    replay: Annotated[Path | None, typer.Option(help="Run this saved program again, instead of seeds.")] = None,
    out: Annotated[Path, typer.Option(help="Folder for the reproducers of failures.")] = Path("runs/fuzz"),
) -> None:
    """Run random programs on the RTL and compare every byte with the golden machine."""
    if sim not in SIMULATORS:
        raise BenchError(f"unknown simulator {sim!r}: use one of {', '.join(SIMULATORS)}")
    if replay is not None:
        differences = replay_program(replay, simulator=sim, folder=out)
        for line in differences or ["as the machine says"]:
            typer.echo(f"{replay}: {line}")
        raise typer.Exit(1 if differences else 0)
    if kind not in (*KINDS, "all"):
        raise BenchError(f"unknown kind {kind!r}: use one of {', '.join(KINDS)} or all")
    report = run_fuzz(
        parse_seeds(seeds),
        chips=FUZZ_CHIPS if chip is None else {Path(chip).stem: chip_named(chip, FUZZ_CHIPS)},
        simulator=sim,
        kinds=KINDS if kind == "all" else (kind,),
        folder=out,
        say=typer.echo,
    )
    typer.echo(report.describe())
    if report.failures:
        raise typer.Exit(1)


@app.command()
def inventory(cores: Cores = 4, chip: ChipFile = None) -> None:
    """Read a chip's Verilog back: modules, ports, state bits and faults, beside what the parameters say."""
    found = take_inventory(chip_of(cores, chip))
    print_inventory(found, Console())
    if not found.good:
        sys.exit(1)


def _onnx_options(
    shape: str | None, values: str | None, calibration: str | None, percentile: float, fallback: str
) -> OnnxOptions:
    files = tuple(Path(file) for file in calibration.split(",")) if calibration else ()
    return OnnxOptions(parse_shapes(shape), files, percentile, fallback, values=parse_values(values))


def parse_shapes(text: str | None) -> Shapes | None:
    """Shapes by input; without names, under the empty one."""
    if text is None:
        return None
    shapes: dict[str, list[str]] = {}
    name = ""
    for part in text.split(","):
        before, given, size = part.rpartition("=")
        name = before.strip() if given else name
        shapes.setdefault(name, []).extend(size.lower().strip(" ()").split("x"))
    if not all(size.isdecimal() and 0 < int(size) < 1 << 31 for sizes in shapes.values() for size in sizes):
        raise BenchError(f"SHAPE={text}: give C,H,W such as 3,224,224; of several inputs a=1,128,b=1,128")
    return {name: tuple(map(int, sizes)) for name, sizes in shapes.items()}


def parse_values(text: str | None) -> dict[str, float]:
    """Values of inputs by name: a=1,b=0.5.

    Raises
    ------
    BenchError
        If that is no list of names and finite numbers.
    """
    values: dict[str, float] = {}
    for part in text.split(",") if text is not None else ():
        name, given, value = part.rpartition("=")
        try:
            values[name.strip()] = number = float(value)
        except ValueError:
            number = math.inf
        if not given or not name.strip() or not math.isfinite(number):
            raise BenchError(f"INPUT={text}: give names and numbers, such as sr=16000 or a=1,b=0.5")
    return values


def _terminated(*_: object) -> None:
    raise KeyboardInterrupt


def main(command: Callable[[], object] = app) -> None:
    """Run the command line; errors that a user can act upon are one line and status 2."""
    signal.signal(signal.SIGTERM, _terminated)
    errors = Console(stderr=True, soft_wrap=True)
    try:
        with named_storage():
            command()
    except RunError as error:
        errors.print(f"systomesh: {error}", style="red", markup=False, highlight=False)
        sys.exit(1)
    except SystomeshError as error:
        errors.print(f"systomesh: {error}", style="red", markup=False, highlight=False)
        sys.exit(2)
    except SystemExit as ended:
        if ended.code == INTERRUPTED:  # Typer turns KeyboardInterrupt into it
            errors.print("systomesh: interrupted; the same command goes on from here", markup=False)
        raise


if __name__ == "__main__":
    main()
