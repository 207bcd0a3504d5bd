"""Campaigns over many networks, and measurements of simulation speed."""
