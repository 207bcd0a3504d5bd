"""All proofs."""

from tests.formal import arrays, control, links, memories, network, ports, queues, router, tokens, units

__all__ = ["PROOFS"]

PROOFS = [
    proof
    for module in (queues, ports, network, links, router, tokens, arrays, units, memories, control)
    for proof in module.PROOFS
]
