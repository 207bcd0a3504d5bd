"""What a calibration tells its user at the end."""

from __future__ import annotations

from rich.console import Console

from tb.calibration.record import Calibration
from tb.calibration.validation import coverage, errors_by, team
from tb.report.summary import percent, signed

__all__ = ["print_calibration"]


def print_calibration(found: Calibration, console: Console) -> None:
    """The coefficients, the errors by chip and cores, and what is open."""
    lines = [f"{name}: {before:g} -> {after:g}" for name, (before, after) in found.values.items()]
    lines.append(found.message)
    open_ones = [name for name, evidence in found.evidence.items() if not evidence.kernels]
    if open_ones:
        lines.append(f"no kernel constrains {', '.join(open_ones)}")
    if found.layers:
        part, known = coverage(found.layers)
        lines.append(f"bands of 90 %: {percent(part)} of {known} held-out layers lie inside" if known else "no bands")
    for chip in found.chips:
        errors, note = found.kernel_errors(chip), "" if found.is_fitted(chip) else ", never fitted"
        lines.append(f"kernels on {chip}{note}: {errors.count}, mean error {percent(errors.mean)}")
    for name, errors in errors_by(found.layers, team).items():
        lines.append(
            f"layers never fitted, {name}: {errors.count}, bias {signed(errors.bias)}, mean {percent(errors.mean)}, "
            f"95 % below {percent(errors.p95)}, worst {signed(errors.worst)}"
        )
    if found.mappings:
        lost = [mapping.lost for mapping in found.mappings]
        mean = sum(lost) / len(lost)
        lines.append(f"mappings of {len(lost)} layers: mean loss {percent(mean, 2)}, worst {percent(max(lost), 2)}")
    for line in lines:
        console.print(line, markup=False, highlight=False, soft_wrap=True)
