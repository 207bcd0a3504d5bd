"""Prediction of cycles and traffic of the scheduler's programs, from their instructions alone."""

from estimator.calibrate import Fit, Sample, calibrate
from estimator.coefficients import Coefficients
from estimator.timeline import Estimate, EstimateError, estimate
from estimator.timing import MemoryTiming

__all__ = [
    "Coefficients",
    "Estimate",
    "EstimateError",
    "Fit",
    "MemoryTiming",
    "Sample",
    "calibrate",
    "estimate",
]
