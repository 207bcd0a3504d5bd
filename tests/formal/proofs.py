"""All proofs."""

from tests.formal import arrays, links, network, ports, queues, router, tokens

__all__ = ["PROOFS"]

PROOFS = [*queues.PROOFS, *ports.PROOFS, *network.PROOFS, *links.PROOFS, *router.PROOFS, *tokens.PROOFS, *arrays.PROOFS]
