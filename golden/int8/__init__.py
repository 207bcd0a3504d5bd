"""Quantised networks: how they come from float ones, and their exact integer mathematics."""
