"""A calibration from kernels to page: what is measured already is not measured again."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from estimator import Coefficients, Provenance
from rtl.contract.params import ChipParams, default_chip
from tb.calibration.fit import Fit, Sample, fit, predictor
from tb.calibration.kernels import kernels_of
from tb.calibration.layers import load_networks, measure_network
from tb.calibration.mappings import measure_mappings
from tb.calibration.measure import KernelBook, measure
from tb.calibration.page import page
from tb.calibration.picture import picture
from tb.calibration.record import Calibration, JudgedKernel
from tb.calibration.validation import bands_of, folds_of, judge
from tb.files import named, write_atomically
from tb.model.hardware import hardware_fingerprint
from tb.report.provenance import commit

__all__ = ["FOLDER", "Plan", "calibrate", "write_report"]

FOLDER = Path("runs/calibration")
SEED = 1

Say = Callable[[str], None]


@dataclass(frozen=True)
class Plan:
    """What a calibration is to do.

    Attributes
    ----------
    chips : dict of str to ChipParams
        Whose kernels are fitted, by name; those of `unseen` only judge.
    networks : sequence of (str, int)
        Networks of the zoo and cores of the preset chips to simulate; whatever was simulated before counts too.
    mappings : int
        Layers, at least, to run with several mappings each; for coefficients that the scheduler uses.
    jobs : int
        Processes of the fit, and simulators of a network.
    out : Path
        The report: OUT.md, OUT.json and OUT.svg.
    coefficients : Path
        File to write.
    """

    full: bool
    chips: dict[str, ChipParams]
    unseen: dict[str, ChipParams]
    networks: Sequence[tuple[str, int]]
    mappings: int
    jobs: int
    out: Path
    coefficients: Path


def calibrate(plan: Plan, say: Say = lambda _: None) -> Calibration:
    """Measure what is not known, fit, validate, and write the coefficients and the report.

    An interrupted one goes on where it was: kernels are kept in `runs/calibration`, networks in the folders of their
    runs.

    Raises
    ------
    RunError
        If the RTL differs in a bit from what it should compute.
    """
    provenance = Provenance.load()
    designed = provenance.designed(Coefficients.load())
    samples, others = _measured(plan.chips, plan, say), _measured(plan.unseen, plan, say)
    with predictor(samples, plan.jobs) as predict:
        before = predict(designed)
        fitted = fit(samples, predict, designed, SEED, say)
    say(fitted.describe())
    with predictor(others) as predict:
        unseen = predict(designed), predict(fitted.coefficients)
    kernels = (*_judged(samples, before, fitted.predicted, True), *_judged(others, *unseen, False))
    for net, cores in plan.networks:
        say(f"simulating {net} on {cores} cores")
        measure_network(net, f"{cores}cores", default_chip(cores), FOLDER / "layers", jobs=plan.jobs)
    networks = load_networks(FOLDER / "layers")
    held_out = folds_of([network.net for network in networks], SEED)
    layers = tuple(judge(networks, designed, fitted.coefficients, held_out, say))
    found = Calibration(
        commit=commit(), hardware=hardware_fingerprint(), kernels_set="full" if plan.full else "quick", seed=SEED,
        message=fitted.describe(), values=_changes(designed, fitted), evidence=fitted.evidence, kernels=kernels,
        held_out=held_out, layers=layers, bands=bands_of(layers),
    )  # fmt: skip
    _write(plan, found, fitted)
    if plan.mappings:  # chosen with the new coefficients
        found = replace(found, mappings=measure_mappings(plan.mappings, FOLDER / "mappings", plan.jobs, say))
        _report(plan, found)
    return found


def _judged(
    samples: Sequence[Sample], before: Iterable[float], after: Iterable[float], fitted: bool
) -> Iterator[JudgedKernel]:
    for sample, old, new in zip(samples, before, after, strict=True):
        kernel = sample.kernel
        yield JudgedKernel(sample.chip, kernel.effect, kernel.name, sample.cycles, float(old), float(new), fitted)


def _measured(chips: Mapping[str, ChipParams], plan: Plan, say: Say) -> list[Sample]:
    """All kernels of some chips with their cycles."""
    book = KernelBook.load(FOLDER / "kernels.json")
    samples = []
    for name, chip in chips.items():
        kernels = list(kernels_of(chip, full=plan.full))
        measure(kernels, book, FOLDER, lambda line, name=name: say(f"{name}: {line}"))
        samples += [Sample(kernel, name, cycles) for kernel in kernels if (cycles := book.of(kernel)) is not None]
    return samples


def _changes(designed: Coefficients, fitted: Fit) -> dict[str, tuple[float, float]]:
    after = fitted.coefficients.values()
    return {name: (value, after[name]) for name, value in designed.values().items()}


def _write(plan: Plan, found: Calibration, fitted: Fit) -> None:
    """The coefficients, the records, the page and the picture."""
    provenance = Provenance(
        hardware=found.hardware, commit=found.commit, seed=found.seed, chips=tuple(plan.chips), held_out=found.held_out,
        evidence=found.evidence, bands=found.bands,
    )  # fmt: skip
    count = sum(kernel.fitted for kernel in found.kernels)
    origin = f"fitted to {count} kernels" if fitted.improved else "read off the design"
    plan.coefficients.parent.mkdir(parents=True, exist_ok=True)
    replace(fitted.coefficients, origin=origin).save(plan.coefficients, provenance)
    _report(plan, found)


def _report(plan: Plan, found: Calibration) -> None:
    found.save(named(plan.out, ".json"))
    write_report(found, plan.out)


def write_report(found: Calibration, out: Path) -> None:
    """The page and the picture of a record."""
    svg = named(out, ".svg")
    write_atomically(svg, picture(found).encode())
    write_atomically(named(out, ".md"), page(found, svg.name).encode())
