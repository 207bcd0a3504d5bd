"""Figures of the page, a file each: what plotly.js draws, and the same numbers as a table."""
