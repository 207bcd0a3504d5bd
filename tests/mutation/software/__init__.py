"""Mutation of the software: small faults in golden.int8.ops, golden.machine, the scheduler and the estimator."""
