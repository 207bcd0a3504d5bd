"""The examples of docs/python.md and docs/regression.md, run as they stand there, from empty folders."""

from __future__ import annotations

import csv
import json
import os
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

DOCS = Path(__file__).parents[2] / "docs"


def _example(page: str) -> str:
    (code,) = re.findall(r"^```python\n(.*?)^```$", (DOCS / page).read_text(), re.DOTALL | re.MULTILINE)
    return code


def _python(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(p for p in sys.path if p)}
    return subprocess.run(
        [sys.executable, *arguments], cwd=folder, env=environment, capture_output=True, text=True, check=False
    )


def test_python_example_runs_and_agrees_with_the_files_of_its_run(tmp_path: Path) -> None:
    (tmp_path / "example.py").write_text(_example("python.md"))
    done = _python(tmp_path, "example.py")
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    facts = json.loads((tmp_path / "runs" / "lenet5-1cores" / "summary.json").read_text())
    assert lines[0].startswith(f"{facts['estimated_cycles']} cycles expected, between (")
    assert lines[1] == f"every bit equal {facts['cycles']} runs/lenet5-1cores/summary.json"
    assert [line.split()[0] for line in lines[2:7]] == ["conv1+pool1", "conv2+pool2", "fc1", "fc2", "fc3"]
    assert sum(int(line.split()[1]) for line in lines[2:7]) == facts["cycles"]
    assert lines[7] == "[['conv1+pool1', 'conv2+pool2', 'fc1', 'fc2', 'fc3']]"
    assert lines[8] == "core.rows is 3: it must be a power of two from 4 to 64"
    rows = list(csv.DictReader((tmp_path / "layers.csv").open()))
    assert sum(int(row["cycles"]) for row in rows) == facts["cycles"]
    moved = sum(int(row[f"{name}_bytes"]) for row in rows for name in facts["dram_bytes"])
    assert moved == sum(facts["dram_bytes"].values())
    assert tomllib.loads((tmp_path / "plan.toml").read_text())["network"] == "lenet5"
    assert done.stderr == ""  # no terminal, so no progress


def test_a_users_test_passes_as_kept_and_fails_where_a_layer_has_become_slower(tmp_path: Path) -> None:
    first, second = tmp_path / "first", tmp_path / "second"
    first.mkdir()
    (first / "test_timing.py").write_text(_example("regression.md"))
    kept = _python(first, "-m", "pytest", "-q", "-p", "no:cacheprovider", "--systomesh-update")
    assert kept.returncode == 0, kept.stdout + kept.stderr
    assert f"systomesh: figures are kept in {first / 'cycles.json'}" in kept.stdout
    shutil.copytree(first, second, ignore=shutil.ignore_patterns("__pycache__"))
    (second / "test_timing.py").rename(second / "test_slower.py")
    text = (second / "cycles.json").read_text()
    (cycles,) = re.findall(r'\["conv2\+pool2", (\d+),', text)
    (second / "cycles.json").write_text(text.replace(f'2", {cycles},', f'2", {int(cycles) - 1},'))
    # One simulation for both: they ask for the same.
    judged = _python(tmp_path, "-m", "pytest", "-q", "-p", "no:cacheprovider")
    assert judged.returncode == 1, judged.stdout + judged.stderr
    assert "1 failed, 1 passed" in judged.stdout
    assert re.search(rf"conv2\+pool2 +{int(cycles) - 1:,} -> {int(cycles):,} \+0\.\d\d %", judged.stdout)
    assert "if that is meant, keep it anew: pytest --systomesh-update" in judged.stdout


def test_the_plugin_imports_nothing_of_the_project_before_a_fixture_is_asked_for(tmp_path: Path) -> None:
    (tmp_path / "test_other.py").write_text(
        "import sys\n\n\ndef test_light():\n"
        "    ours = {name for name in sys.modules if name.split('.')[0] in "
        "('estimator', 'golden', 'numpy', 'onnx', 'rich', 'rtl', 'scheduler', 'systomesh', 'tb')}\n"
        "    assert ours == {'tb', 'tb.api', 'tb.api.plugin'}\n"
    )
    done = _python(tmp_path, "-m", "pytest", "-q", "-p", "no:cacheprovider")
    assert done.returncode == 0, done.stdout + done.stderr
