"""All proofs."""

from tests.formal import arrays, links, network, ports, queues, tokens

__all__ = ["PROOFS"]

PROOFS = [*queues.PROOFS, *ports.PROOFS, *network.PROOFS, *links.PROOFS, *tokens.PROOFS, *arrays.PROOFS]
