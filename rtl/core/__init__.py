"""The units of a core: fetch, issue, load, compute, store, and the memories, tokens and network port between them."""
