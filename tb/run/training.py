"""The run from which a model with profile feedback learns what is taken how often: LeNet-5, layer by layer."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from pathlib import Path

from rtl.contract.params import ChipParams
from scheduler.schedule import schedule
from tb.model.build import Model, Training
from tb.run.workload import load_workload
from tb.sim.job import plan_job
from tb.sim.session import run_job

__all__ = ["trainer"]

NET = "lenet5"
"""Convolutions, pools and fully connected layers in some ten thousand cycles."""


def trainer(chip: ChipParams) -> Training:
    """Runs the network on that chip, in any of its models."""

    def train(model: Model, environment: Mapping[str, str]) -> None:
        workload = load_workload(NET)
        plan = schedule(workload.graph, chip)
        with tempfile.TemporaryDirectory(prefix="systomesh-training-") as name:
            run_job(model, plan_job(plan, workload.image, Path(name)), Path(name) / "work", env=environment)

    return train
