"""Prediction of cycles and traffic of the scheduler's programs, from their instructions alone."""

from estimator.calibrate import Fit, Sample, calibrate
from estimator.coefficients import Coefficients, EngineCycles
from estimator.estimates import Program, estimate, fastest
from estimator.timeline import Estimate, EstimateError
from estimator.timing import MemoryTiming

__all__ = [
    "Coefficients",
    "EngineCycles",
    "Estimate",
    "EstimateError",
    "Fit",
    "MemoryTiming",
    "Program",
    "Sample",
    "calibrate",
    "estimate",
    "fastest",
]
