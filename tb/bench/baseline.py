"""The earlier runs that a bench is compared with."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from tb.bench.campaign import Case
from tb.bench.compare import require_alike
from tb.bench.records import KeptRun, asked_of, kept_runs, read_records
from tb.errors import BenchError
from tb.run.facts import asked_facts

__all__ = ["baseline_of"]


def baseline_of(file: Path, cases: Sequence[Case], *, whole_zoo: bool) -> list[KeptRun]:
    """Those of an earlier bench that were asked for as the cases are; of the whole zoo also networks that it had.

    Raises
    ------
    BenchError
        If the file is no bench's, or holds none of the cases, or one on another chip, memory or schedule.
    """
    what = f"AGAINST={file}"
    renew = "write one with make bench OUT=..., on the commit to compare with"
    runs = kept_runs(read_records(file, what, renew))
    asked = {case.name: asked_of(asked_facts(case.request.options, 1)) for case in cases}
    found = [run for run in runs if run.name in asked]
    for run in found:
        require_alike(run, asked[run.name], what, renew)
    if not found:
        kinds = sorted({run.asked["kind"] for run in runs})
        cores = sorted({run.cores for run in runs})
        nets = dict.fromkeys(run.net for run in runs)
        raise BenchError(
            f"{what} has none of these runs, but NETS={','.join(nets)} CORES={','.join(map(str, cores))} "
            f"SCHEDULE={','.join(kinds)}; choose some of them, or {renew}"
        )
    if whole_zoo:
        like = {(case.cores, asked[case.name]["kind"]) for case in cases}
        found += [run for run in runs if run.name not in asked and (run.cores, run.asked["kind"]) in like]
    return found
