"""The run from which a model with profile feedback learns what is taken how often: LeNet-5, layer by layer."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from rtl.params import ChipParams
from scheduler.schedule import schedule
from tb.build import Model, Training
from tb.job import Job, LaunchJob, MemoryFile, save_job
from tb.session import run_test_module
from tb.workload import load_workload

__all__ = ["trainer"]

NET = "lenet5"
"""Convolutions, pools and fully connected layers in some ten thousand cycles."""


def trainer(chip: ChipParams) -> Training:
    """Runs the network on that chip, in any of its models."""

    def train(model: Model, environment: Mapping[str, str]) -> None:
        workload = load_workload(NET)
        plan = schedule(workload.graph, chip)
        with tempfile.TemporaryDirectory(prefix="systomesh-training-") as name:
            folder = Path(name)
            np.save(folder / "memory.npy", plan.memory_image(workload.image))
            launches = tuple(
                LaunchJob(item.name, item.program_base, item.program_stride, folder / f"{number}")
                for number, item in enumerate(plan.launches)
            )
            job = Job(chip, plan.dram_bytes, launches, (MemoryFile(0, folder / "memory.npy"),))
            save_job(job, folder / "job.pickle")
            run_test_module(
                model, "tb.bench", folder / "work", plusargs=[f"+job={folder / 'job.pickle'}"], env=dict(environment)
            )

    return train
