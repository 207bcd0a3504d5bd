"""All experiments, by name."""

from __future__ import annotations

from tb.errors import BenchError
from tb.experiment.experiment import Experiment
from tb.experiment.fusion import FUSION
from tb.experiment.sparse import SPARSE

__all__ = ["EXPERIMENTS", "find_experiment"]

EXPERIMENTS = {experiment.name: experiment for experiment in (FUSION, SPARSE)}


def find_experiment(name: str | None) -> Experiment:
    """The experiment of a name.

    Raises
    ------
    BenchError
        If there is none; it says which there are.
    """
    if name not in EXPERIMENTS:
        known = ", ".join(f"{each.name} ({each.question})" for each in EXPERIMENTS.values())
        raise BenchError(f"NAME={name or ''}: give the name of an experiment: {known}")
    return EXPERIMENTS[name]
