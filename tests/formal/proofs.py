"""All proofs."""

from tests.formal import arrays, network, ports, queues, tokens

__all__ = ["PROOFS"]

PROOFS = [*queues.PROOFS, *ports.PROOFS, *network.PROOFS, *tokens.PROOFS, *arrays.PROOFS]
