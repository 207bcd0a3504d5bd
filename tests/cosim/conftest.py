"""Fixtures of the co-simulation tests: models are built once and shared through the build cache."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from rtl.contract.params import ChipParams
from tb.model.build import Model, build_model
from tb.sim.job import LaunchJob, LaunchResult, MemoryFile, ProcessJob, Region
from tb.sim.session import run_job
from tb.sim.settings import MemorySettings
from tests.cosim.stand_in import MEMORY_BYTES, SAME_NODE, SOURCE, STAND_IN, TARGET


@pytest.fixture(scope="session", params=["verilator", "icarus"])
def stand_in_model(request: pytest.FixtureRequest) -> Model:
    """The bench around the copy engine."""
    return build_model(STAND_IN, request.param, memory_bytes=MEMORY_BYTES)


@pytest.fixture(scope="session")
def fast_stand_in_model() -> Model:
    """The same on Verilator alone."""
    return build_model(STAND_IN, "verilator")


Copy = Callable[..., tuple[LaunchResult, np.ndarray | None, np.ndarray]]


@pytest.fixture
def copy(tmp_path: Path) -> Copy:
    """Copies random bytes through the engine: (result, what arrived or None, what was sent)."""

    def run(
        model: Model,
        size: int,
        *,
        same_node: bool = False,
        settings: MemorySettings | None = None,
        target: int = TARGET,
        **launch_options: int,
    ) -> tuple[LaunchResult, np.ndarray | None, np.ndarray]:
        data = np.random.default_rng(size).integers(0, 256, max(size, 16), dtype=np.uint8)
        np.save(tmp_path / "data.npy", data)
        launch = LaunchJob(
            "copy", SOURCE, size, tmp_path / "copy", (Region("out", target, size),),
            active_cores=target | (SAME_NODE if same_node else 0),
        )  # fmt: skip
        launch = replace(launch, **launch_options)
        job = ProcessJob(
            ChipParams(), MEMORY_BYTES, (launch,), (MemoryFile(SOURCE, tmp_path / "data.npy"),),
            settings or MemorySettings(),
        )  # fmt: skip
        (result,) = run_job(model, job, tmp_path / "work")
        output = tmp_path / "copy" / "out.npy"
        return result, np.load(output) if output.exists() else None, data

    return run
