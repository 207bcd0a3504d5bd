"""Max pools fused wherever that is possible, not only where it is faster: what is slow must be right too."""

import sys
from dataclasses import replace

import pytest

from golden.int8.pools import pools_before_concats
from scheduler.group import pool_candidates
from tests.cases import Case

__all__ = ["fuse_all_pools"]


def fuse_all_pools(case: Case, monkeypatch: pytest.MonkeyPatch) -> Case:
    """The case with pools in front of concatenations; the scheduler fuses every pool from now on."""
    # The package's attribute of that name is the function.
    module = sys.modules["scheduler.schedule"]
    monkeypatch.setattr(module, "_choose_pools", lambda graph, *_: {c.name: p for c, p in pool_candidates(graph)})
    return replace(case, graph=pools_before_concats(case.graph))
