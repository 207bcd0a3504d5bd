"""`tb.cli bench` on real runs: figures in both files, and nothing is simulated twice."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path


def _bench(folder: Path) -> str:
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(p for p in sys.path if p)}
    command = [sys.executable, "-m", "tb.cli", "bench", "--nets", "lenet5", "--cores", "1"]
    return subprocess.run(command, cwd=folder, env=environment, check=True, capture_output=True, text=True).stdout


def test_lenet5_is_run_once_and_reported(tmp_path: Path) -> None:
    assert "(up to date)" not in _bench(tmp_path)
    summary = json.loads((tmp_path / "runs" / "lenet5-1cores" / "summary.json").read_text())
    first = json.loads((tmp_path / "runs" / "bench.json").read_text())
    (run,) = first["runs"]
    assert (run["net"], run["cores"], run["bit_exact"], run["failure"]) == ("lenet5", 1, True, None)
    assert run["cycles"] == summary["cycles"]
    assert run["dram_bytes"] == summary["dram_bytes"]
    assert run["worst_layer"]["name"] in {layer["name"] for layer in summary["layers"]}
    assert f"| lenet5 | 1 | {run['cycles']:,} |" in (tmp_path / "runs" / "bench.md").read_text()
    log = tmp_path / "runs" / "lenet5-1cores" / "bench.log"
    log.unlink()
    assert "(up to date)" in _bench(tmp_path)
    assert not log.exists()
    assert json.loads((tmp_path / "runs" / "bench.json").read_text()) == first
