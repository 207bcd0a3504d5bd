"""`make check` of what exporters of other tools write, and a table of it.

python -m tests.exporters --out docs/exporters
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from golden.int8.quant import QuantisationError
from tb.files import write_atomically
from tb.report.markdown import table
from tb.report.provenance import commit
from tb.report.summary import Summary, percent
from tb.run.facts import estimated_summary
from tb.run.options import RunOptions
from tb.run.preparation import schedule_on_chip
from tb.run.presets import preset_chip
from tb.run.workload import load_workload
from tests.exporters import TOOLS, exported

CORES = 4
_COLUMNS = ("model and exporter", "MACs on the chip", "nodes on the host", "estimated cycles", "int8 error")


def checked(path: Path) -> Summary:
    """What `make check` finds on the preset chip."""
    options = RunOptions(name="check", chip=preset_chip(CORES))
    return estimated_summary(path.name, options, *schedule_on_chip(load_workload(str(path)), options))


def _row(name: str, summary: Summary) -> tuple[str, ...]:
    share = summary.share or {}
    host, macs = share["host"], share["macs"]
    kinds = ", ".join(dict.fromkeys(node["kind"] for node in host))
    error = QuantisationError(**summary.quantisation_error) if summary.quantisation_error else None
    return (
        name, percent(1 - sum(node["macs"] for node in host) / macs, 2),
        f"{len(host)} of {share['nodes']}" + (f" ({kinds})" if kinds else ""), f"{summary.estimated_cycles:,}",
        percent(error.relative, 2) if error else "-",
    )  # fmt: skip


def main() -> int:
    """Export and check all; the exit status is 1 where one fails."""
    parser = argparse.ArgumentParser(prog="python -m tests.exporters", description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--out", type=Path, help="the table: OUT.md")
    arguments = parser.parse_args()
    rows, failed = [], 0
    for tool in TOOLS:
        for name, path in exported(tool).items():
            try:
                rows.append(_row(name, checked(path)))
                print("  ".join(rows[-1]), flush=True)
            except Exception as error:  # one line a model; the next ones go on
                failed += 1
                print(f"{name}: {type(error).__name__}: {error}", flush=True)
    if arguments.out:
        versions = "; ".join(", ".join(tool.packages) for tool in TOOLS)
        note = (
            f"Small models as exporters write them, with a batch of any size, on the preset chip of {CORES} cores, at "
            f"commit {commit()}: {versions}. `python -m tests.exporters --out docs/exporters` installs each tool in an "
            "environment of its own and makes this table; torchscript is `torch.onnx.export(dynamo=False)`, dynamo "
            "`dynamo=True`. Cycles are the estimator's, the error is that of int8 on seeded values. ONNX Runtime "
            "confirms every file, and `pytest -m slow tests/system/test_exporters.py` holds it."
        )
        write_atomically(arguments.out.with_suffix(".md"), f"{note}\n\n{table(_COLUMNS, rows)}".encode())
    print(f"{len(rows)} exported models run, {failed} do not")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
