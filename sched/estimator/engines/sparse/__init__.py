"""The sparse engine's cycles: the recursion that the RTL follows, and what passes take by samples of it."""
