"""Runs programs on the RTL: many of one chip in one simulation, each from reset and with memories full of noise."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from rtl.contract.params import ChipParams
from tb.fuzz.judge import REGION, Expectation
from tb.fuzz.program import MEMORY_BYTES
from tb.model.build import Model, build_model, emit_chip
from tb.sim.job import LaunchJob, LaunchResult, MemoryFile, ProcessJob, Region
from tb.sim.session import run_job

__all__ = ["Verdict", "model_of", "run_programs"]

WATCHDOG_CYCLES = 5_000
LIMIT_CYCLES = 400_000


@dataclass(frozen=True, eq=False)
class Verdict:
    """What came of one program."""

    expectation: Expectation
    launch: LaunchResult
    differences: list[str]


def model_of(chip: ChipParams, simulator: str = "verilator") -> Model:
    """The model of a chip: quick to build, and open to the bench."""
    return build_model(emit_chip(chip), simulator, memory_bytes=MEMORY_BYTES, optimise=False)


def run_programs(
    model: Model, expectations: Sequence[Expectation], folder: Path, *, reset: bool | Sequence[bool] = True
) -> list[Verdict]:
    """Run programs of one chip one after another and compare each with what is expected.

    Parameters
    ----------
    folder : Path
        For files; removed at the end.
    reset : bool or one for each program
        Reset the chip before the program; otherwise it comes right behind the one before, with its memory settings.

    Raises
    ------
    RunError
        If the simulator fails.
    """
    resets = [reset] * len(expectations) if isinstance(reset, bool) else list(reset)
    launches = []
    folder = folder.resolve()
    folder.mkdir(parents=True, exist_ok=True)
    try:
        for number, (expectation, fresh) in enumerate(zip(expectations, resets, strict=True)):
            program = expectation.program
            np.save(folder / f"{number}.npy", program.image(program.origin))
            launches.append(
                LaunchJob(
                    f"{number} {program.name}",
                    program.origin + program.program_base,
                    program.program_stride,
                    folder / f"result{number}",
                    (Region(REGION, program.origin, MEMORY_BYTES),),
                    watchdog_cycles=WATCHDOG_CYCLES,
                    limit_cycles=LIMIT_CYCLES,
                    memory=(MemoryFile(program.origin, folder / f"{number}.npy"),),
                    settings=program.settings if fresh else None,
                    inside_seed=program.seed,
                    marks=program.marks,
                )
            )
        chip = expectations[0].program.chip
        memory_bytes = MEMORY_BYTES + max(expectation.program.origin for expectation in expectations)
        results = run_job(model, ProcessJob(chip, memory_bytes, tuple(launches), keep_going=True), folder / "work")
        assert [result.name for result in results] == [launch.name for launch in launches]
        return [
            Verdict(expectation, result, expectation.differences(result, launch.result_dir))
            for expectation, result, launch in zip(expectations, results, launches, strict=True)
        ]
    finally:
        shutil.rmtree(folder, ignore_errors=True)
