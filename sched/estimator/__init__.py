"""Prediction of cycles and traffic of the scheduler's programs, from their instructions alone."""

from estimator.calibrate import Fit, Sample, calibrate
from estimator.coefficients import Coefficients, EngineCycles
from estimator.estimates import Program, activity, estimate, fastest
from estimator.timeline import Estimate, EstimateError
from estimator.timing import MemoryTiming
from estimator.trace import Trace

__all__ = [
    "Coefficients",
    "EngineCycles",
    "Estimate",
    "EstimateError",
    "Fit",
    "MemoryTiming",
    "Program",
    "Sample",
    "Trace",
    "activity",
    "calibrate",
    "estimate",
    "fastest",
]
