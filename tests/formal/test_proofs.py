"""The proofs as tests: the quick ones in the regression, all of them with ``-m slow`` or ``make formal``."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.formal.equality import EQUALITIES, Equality, check_equality
from tests.formal.harness import Harness
from tests.formal.proofs import PROOFS
from tests.formal.prover import Bug, Proof, check
from tests.formal.queues import fifo


@pytest.fixture(scope="module")
def pool() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(2) as pool:
        yield pool


@pytest.mark.parametrize(
    "proof",
    [pytest.param(proof, marks=() if proof.quick else pytest.mark.slow, id=proof.block) for proof in PROOFS],
)
def test_properties_hold_and_seeded_bugs_are_found(proof: Proof, pool: ThreadPoolExecutor) -> None:
    bad = [line for line in check(proof, pool)() if not line.passed]
    assert not bad


@pytest.mark.parametrize(
    "equality",
    [pytest.param(one, marks=() if one.quick else pytest.mark.slow, id=one.block) for one in EQUALITIES],
)
def test_both_forms_are_equal_and_seeded_faults_are_found(equality: Equality, pool: ThreadPoolExecutor) -> None:
    assert [line for line in check_equality(equality, pool)() if not line.passed] == []


def test_a_false_property_an_unfound_bug_and_an_unreached_cover_are_failures(pool: ThreadPoolExecutor) -> None:
    def harness() -> Harness:
        h = fifo(1)
        h.properties.clear()
        h.covers.clear()
        h.always("never more than a word", h.free(2, "level") <= 2)
        h.always("a register keeps its value", h.past(1, "one") <= 1)
        h.cover("both", h.past(1, "other") > 1)
        return h

    bug = Bug("rtl.lib.fifo", "self.level.eq(push)", "self.level.eq(0)")
    bugs = {"never more than a word": [bug], "a register keeps its value": [bug]}
    outcomes = check(Proof("Fifo", harness, 1, bugs, bug_steps=3), pool)()
    assert [(line.name, line.holds, line.bugs_found, line.passed) for line in outcomes] == [
        ("never more than a word", False, 1, False),
        ("a register keeps its value", False, 0, False),
        ("both", False, 0, False),
    ]


def test_contradicting_assumptions_leave_covers_unreached(pool: ThreadPoolExecutor) -> None:
    def harness() -> Harness:
        h = fifo(1)
        h.assume(h.free(1, "never") & ~h.free(1, "always") & (h.past(1, "one") == 1))
        return h

    (proof,) = (proof for proof in PROOFS if proof.block == "Fifo, depth 1")
    vacuous = Proof("Fifo", harness, 1, proof.bugs, bug_steps=3)
    assert not any(line.passed for line in check(vacuous, pool)())


def test_a_bug_without_its_place_is_refused() -> None:
    with (
        pytest.raises(ValueError, match=r"rtl\.lib\.fifo has 0 places 'no such text': a seeded bug needs one"),
        Bug("rtl.lib.fifo", "no such text", "").seeded(),
    ):
        pass
