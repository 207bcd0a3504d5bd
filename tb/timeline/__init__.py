"""Timelines of runs: what every unit does when, in the RTL and in the estimate, as files that trace viewers open."""
