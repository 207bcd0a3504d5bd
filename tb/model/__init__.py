"""Simulation models: tools, recipes, builds and the cache of what was built."""
