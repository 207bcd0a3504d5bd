"""Compute engines, behind the one interface through which the compute unit drives them."""
