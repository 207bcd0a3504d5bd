"""Prediction of cycles and traffic of the scheduler's programs, from their instructions alone."""

from estimator.calibrate import Fit, Sample, calibrate
from estimator.coefficients import Coefficients
from estimator.memory import MemoryTiming
from estimator.timeline import Estimate, EstimateError, estimate

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
