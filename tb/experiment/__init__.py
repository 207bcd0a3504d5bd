"""Experiments: questions to the chip that take many runs, each on the RTL, answered in a page and a picture.

An experiment is a folder here with its points, its page and its picture, and a line in `catalogue.py`; what runs it,
keeps its records and writes its files is the same for all.
"""
