"""Random ONNX models, float and QDQ, through everything but the simulation: ONNX Runtime on the unchanged file judges.

python -m tests.onnx_campaign --seeds 0..4999 --jobs 2
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import traceback
from collections import Counter
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

from golden.errors import GoldenError
from rtl.contract.params import default_chip
from scheduler.schedule import schedule
from tb.errors import RunError
from tb.fuzz.campaign import parse_seeds
from tb.run.workload import load_workload
from tests.onnx_random import quantised_random_model, random_model

__all__ = ["main", "outcome"]

FORMS = {"float": random_model, "QDQ": quantised_random_model}
HOSTED = "runs on the chip; its largest part: "
CHUNK = 20


def outcome(form: str, seed: int, folder: Path) -> str:
    """What became of a model: "runs", "hosted" where no layer is for the chip, or the line of what is wrong."""
    path = folder / "model.onnx"
    path.write_bytes(FORMS[form](seed, 30 if seed % 4 == 0 else 10).SerializeToString())
    try:
        workload = load_workload(str(path))
        schedule(workload.graph, default_chip(4))
    except RunError as error:
        return f"{form} {seed}: wrong: {error}"
    except GoldenError as error:
        return "hosted" if HOSTED in str(error) else f"{form} {seed}: refused: {error}"
    except Exception:
        return f"{form} {seed}: {traceback.format_exc(limit=-3)}"
    found = workload.judgement
    if found is None or found.refusal:
        return f"{form} {seed}: not judged: {found and found.refusal}"
    if form == "QDQ" and not (found.ties or found.saturated) and any(output.differ for output in workload.outputs):
        return f"{form} {seed}: outputs differ without a tie: {[o.name for o in workload.outputs if o.differ]}"
    return "runs"


def _chunk(seeds: list[int]) -> list[str]:
    with tempfile.TemporaryDirectory(prefix="systomesh-onnx-") as folder:
        return [outcome(form, seed, Path(folder)) for seed in seeds for form in FORMS]


def main() -> int:
    """Run the seeds; a line for each model that is wrong, and exit status 1."""
    parser = argparse.ArgumentParser(prog="python -m tests.onnx_campaign", description=__doc__.partition("\n")[0])
    parser.add_argument("--seeds", default="0..49", help="a number, or a..b; each is a float and a QDQ model")
    parser.add_argument("--jobs", type=int, default=2)
    arguments = parser.parse_args()
    seeds = list(parse_seeds(arguments.seeds))
    chunks = [seeds[first : first + CHUNK] for first in range(0, len(seeds), CHUNK)]
    found: Counter[str] = Counter()
    with ProcessPoolExecutor(arguments.jobs) as pool:
        for lines in pool.map(_chunk, chunks):
            for line in lines:
                known = line in ("runs", "hosted")
                found[line if known else "wrong"] += 1
                if not known:
                    print(line, flush=True)
            print(f"{found.total()} of {len(FORMS) * len(seeds)}", file=sys.stderr, flush=True)
    total = found.total()
    hosted = f"{found['hosted']} have no layer for the chip"
    print(f"{total} random models: {found['runs']} run, {hosted}, {found['wrong']} wrong")
    return 1 if found["wrong"] else 0


if __name__ == "__main__":
    sys.exit(main())
