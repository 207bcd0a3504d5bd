"""Simulator processes: the host driver, its transport, what one is asked to do and what it reports."""
