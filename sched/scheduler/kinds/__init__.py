"""Kinds of schedule: each a way from a graph to a plan."""
