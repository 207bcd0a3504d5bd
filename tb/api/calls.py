"""The calls of `import systomesh`: each asks what a command of `make` asks, and gives an object instead of a table.

Every error that a user can act upon is a `SystomeshError` whose message is the command's one line.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from rich.console import Console

from rtl.contract.params import ChipParams, chip_from_table
from scheduler.work.activations import ACTIVATIONS, Detail
from scheduler.work.options import BALANCES, SKIPS, SparseOptions
from tb.api.results import EstimateResult, RunResult, ScheduleResult
from tb.errors import BenchError, named_storage
from tb.report.progress import ConsoleWatcher, is_live
from tb.report.watcher import Watcher
from tb.run.draft import Draft
from tb.run.estimate import estimate_request
from tb.run.request import Request, chip_of
from tb.run.run import Run
from tb.run.workload import FALLBACKS, OnnxOptions
from tb.timeline.files import parse_form

__all__ = ["chip", "estimate", "run", "schedule"]

File = str | Path
Shape = tuple[int, ...] | Mapping[str, tuple[int, ...]]


def chip(source: int | File | None = None, /, **fields: Any) -> ChipParams:
    """A chip: the preset of so many cores, that of a TOML file, or one of the fields that such a file may have.

    `chip(4)`, `chip("my.toml")`, `chip(mesh_width=2, mesh_height=1, core={"rows": 8, "cols": 8})`.

    Raises
    ------
    SystomeshError
        For a file that cannot be read, an unknown field or a value outside its rule.
    """
    if source is not None and fields:
        raise BenchError(f"give {source!r} or fields of a chip ({', '.join(fields)}), not both")
    if source is None:
        return chip_from_table(fields)
    return chip_of(source, None) if isinstance(source, int) else chip_of(0, Path(source))


def run(
    net: File,
    *,
    cores: int = 4,
    chip: File | ChipParams | None = None,
    schedule: File | None = None,
    layers: str | None = None,
    batch: int = 1,
    image: File | Sequence[File] | None = None,
    weights: File | None = None,
    prune: File | float | None = None,
    seed: int | None = None,
    shape: Shape | None = None,
    input: Mapping[str, float] | None = None,
    calibration: Sequence[File] = (),
    percentile: float = 100.0,
    fallback: str = FALLBACKS[0],
    latency: int = 64,
    bandwidth: float | None = None,
    launches: int | None = None,
    fuse: bool = True,
    overlap: bool = True,
    run_ahead: int | None = None,
    skip: str = SKIPS[0],
    balance: str = BALANCES[0],
    activations: Detail = ACTIVATIONS[0],
    energy: File | None = None,
    sim: str = "verilator",
    counters: bool = False,
    profile: bool = False,
    waves: bool | str = False,
    scope: str | None = None,
    memories: bool = False,
    trace: bool | str = False,
    interval: int = 1_000,
    report: bool = True,
    optimise: bool = True,
    jobs: int | None = None,
    name: str | None = None,
    runs_dir: File = "runs",
    fresh: bool = False,
    progress: bool | None = None,
) -> RunResult:
    """Run a network through the RTL and compare every value with the golden model: `make sim`.

    Parameters
    ----------
    net : str
        A network of the zoo, an .onnx file, or a list of layers as .csv or .yaml.
    cores, chip
        The preset of so many cores; or a TOML file, or a chip as `systomesh.chip` makes it.
    image, weights, prune, seed, shape, input, calibration, percentile, fallback, layers, batch, schedule, launches,
    fuse, overlap, run_ahead, skip, balance, activations, energy, sim, counters, profile, waves, scope, memories, trace,
    interval, report, jobs, name, fresh
        As the options of `make sim` (README). `shape` is a tuple, or one for each input by name.
    latency : int
        Of the external memory, in cycles.
    bandwidth : float, optional
        Bytes per cycle of each memory node; the width of its port otherwise.
    optimise : bool
        Off: the model builds faster and runs slower, for a few thousand cycles.
    runs_dir : path
        Where runs/NAME is; launches that an earlier run there finished are kept.
    progress : bool, optional
        Whether to show what is done and how long the rest takes; on terminals and in notebooks otherwise.

    Returns
    -------
    RunResult
        Also of a run that failed or of which bits differ: `verdict` says so.

    Raises
    ------
    SystomeshError
        For what cannot be run; nothing is simulated then.
    """
    onnx = _onnx(shape, input, calibration, percentile, fallback)
    request = Request(
        net=str(net), cores=cores, chip=_chip(chip), sim=sim, weights=_path(weights), prune=_text(prune),
        image=_images(image), batch=batch, seed=seed, onnx=onnx, layers=layers, name=name, latency=latency,
        bandwidth=bandwidth, schedule=_text(schedule), launches=launches, fuse=fuse, overlap=overlap,
        sparse=SparseOptions(run_ahead, skip, balance, activations), jobs=jobs,
        energy=_text(energy), counters=counters, profile=profile, waves=_switch(waves), scope=scope,
        memories=memories, trace=parse_form(_switch(trace)), interval=interval, report=report, fresh=fresh,
        optimise=optimise, runs_dir=Path(runs_dir),
    )  # fmt: skip
    options = request.options
    watcher = _watcher(progress)
    try:
        with named_storage():
            return RunResult(Run(options, request.load, str(net), watcher).execute(), options.folder)
    finally:
        watcher.done()


def estimate(
    net: File,
    *,
    cores: int = 4,
    chip: File | ChipParams | None = None,
    schedule: File | None = None,
    layers: str | None = None,
    batch: int = 1,
    image: File | Sequence[File] | None = None,
    weights: File | None = None,
    prune: File | float | None = None,
    shape: Shape | None = None,
    input: Mapping[str, float] | None = None,
    calibration: Sequence[File] = (),
    percentile: float = 100.0,
    fallback: str = FALLBACKS[0],
    latency: int = 64,
    bandwidth: float | None = None,
    launches: int | None = None,
    fuse: bool = True,
    overlap: bool = True,
    run_ahead: int | None = None,
    skip: str = SKIPS[0],
    balance: str = BALANCES[0],
    activations: Detail = ACTIVATIONS[0],
    energy: File | None = None,
    progress: bool | None = None,
) -> EstimateResult:
    """All of `run` but the model and its simulation, in seconds: `make check`. Parameters are those of `run`.

    Raises
    ------
    SystomeshError
        For what cannot be run.
    """
    request = Request(
        net=str(net), cores=cores, chip=_chip(chip), weights=_path(weights), prune=_text(prune), image=_images(image),
        batch=batch, onnx=_onnx(shape, input, calibration, percentile, fallback), layers=layers, latency=latency,
        bandwidth=bandwidth, schedule=_text(schedule), launches=launches, fuse=fuse, overlap=overlap,
        sparse=SparseOptions(run_ahead, skip, balance, activations), energy=_text(energy),
    )  # fmt: skip
    watcher = _watcher(progress)
    try:
        return EstimateResult(estimate_request(request, watcher))
    finally:
        watcher.done()


def schedule(
    net: File,
    *,
    cores: int = 4,
    chip: File | ChipParams | None = None,
    schedule: File = "fused",
    layers: str | None = None,
    batch: int = 1,
    latency: int = 64,
    bandwidth: float | None = None,
    launches: int | None = None,
) -> ScheduleResult:
    """The schedule of a network, as text to edit, as a plan and as a picture: `make schedule`.

    Parameters are those of `run`. It is searched when the result is asked for one of its forms.

    Raises
    ------
    SystomeshError
        For what cannot be scheduled so.
    """
    request = Request(
        net=str(net), cores=cores, chip=_chip(chip), layers=layers, batch=batch, latency=latency, bandwidth=bandwidth,
        schedule=_text(schedule), launches=launches,
    )  # fmt: skip
    return ScheduleResult(Draft(request), request.options)


def _chip(chip: File | ChipParams | None) -> Path | ChipParams | None:
    return chip if isinstance(chip, ChipParams) else _path(chip)


def _path(file: File | None) -> Path | None:
    return None if file is None else Path(file)


def _switch(option: bool | str) -> str | None:
    """As the command line has it: True is 1."""
    return "1" if option is True else option or None


def _text(file: File | float | None) -> str | None:
    return None if file is None else str(file)


def _images(image: File | Sequence[File] | None) -> str | None:
    """Pictures as `Request` takes them, with commas between."""
    if image is None or isinstance(image, str | Path):
        return _text(image)
    return ",".join(map(str, image))


def _onnx(
    shape: Shape | None, values: Mapping[str, float] | None, calibration: Sequence[File], percentile: float,
    fallback: str,
) -> OnnxOptions:  # fmt: skip
    shapes = None if shape is None else dict(shape) if isinstance(shape, Mapping) else {"": tuple(shape)}
    return OnnxOptions(shapes, tuple(map(Path, calibration)), percentile, fallback, values=dict(values or {}))


def _watcher(progress: bool | None) -> Watcher:
    """What shows the progress, on standard error so that a script's own output stays its own."""
    console = Console(stderr=True)
    return ConsoleWatcher(console) if (is_live(console) if progress is None else progress) else Watcher()
