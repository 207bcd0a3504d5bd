"""Faults from outside: upset bits, killed processes."""
