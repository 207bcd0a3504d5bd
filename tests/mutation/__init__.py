"""Mutation of the hardware: small faults in each block's netlist, which the block's own bench must notice."""
