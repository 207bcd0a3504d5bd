"""Calibration of the estimator: micro-kernels on the RTL, the fit of the coefficients to them, and what it is worth.

`kernels/` are the programs, a file for each part of the chip; `measure.py` runs them; `fit.py` fits; `layers.py` takes
the layers of networks, which are never fitted, from runs; `validation.py` makes bands of their errors; `page.py` and
`picture.py` write what came of it.
"""
