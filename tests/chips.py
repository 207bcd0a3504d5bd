"""Random chips, and a few fixed ones: those of the random programs and those of networks, so that all share builds."""

from dataclasses import replace

from rtl.contract.params import CoreParams, default_chip
from tb.fuzz.chips import CHIPS, random_chip

__all__ = ["CHIPS", "FOUR_CORES", "MULTICAST_CORE", "SMALL_CORE", "TWO_CORES", "random_chip"]

SMALL_CORE = CoreParams(8, 8, act_bytes=4 * 1024, weight_bytes=16 * 1024, acc_entries=128, param_blocks=64, marks=32)
"""Whose activations of random networks fit in part alone, so that every mode of staying on the chip occurs."""
MULTICAST_CORE = replace(SMALL_CORE, multicast=True)
TWO_CORES = default_chip(2, SMALL_CORE, link_bytes=8)
FOUR_CORES = default_chip(4, MULTICAST_CORE, link_bytes=8)
