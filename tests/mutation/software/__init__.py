"""Mutation of the software: small faults in golden.ops, golden.machine, the scheduler and the estimator."""
