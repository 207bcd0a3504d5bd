"""All proofs."""

from tests.formal import (
    arrays,
    clears,
    control,
    fetching,
    links,
    memories,
    network,
    ports,
    queues,
    router,
    sparse,
    stores,
    tokens,
    traces,
    units,
)

__all__ = ["PROOFS"]

PROOFS = [
    proof
    for module in (
        queues,
        ports,
        network,
        links,
        router,
        tokens,
        arrays,
        sparse,
        units,
        fetching,
        stores,
        traces,
        memories,
        control,
        clears,
    )
    for proof in module.PROOFS
]
