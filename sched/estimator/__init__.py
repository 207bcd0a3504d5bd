"""Prediction of cycles and traffic of the scheduler's programs, from their instructions alone."""

from estimator.bands import Bands, Residual
from estimator.coefficients import Coefficients, EngineCycles, Evidence, Provenance
from estimator.estimates import Program, Unrated, activity, estimate, fastest
from estimator.timeline import Estimate, EstimateError
from estimator.timing import MemoryTiming
from estimator.trace import Place, Trace

__all__ = [
    "Bands",
    "Coefficients",
    "EngineCycles",
    "Estimate",
    "EstimateError",
    "Evidence",
    "MemoryTiming",
    "Place",
    "Program",
    "Provenance",
    "Residual",
    "Trace",
    "Unrated",
    "activity",
    "estimate",
    "fastest",
]
