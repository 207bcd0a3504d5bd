"""The choice of how a model is compiled."""

from __future__ import annotations

import pytest

from tb.model.recipe import FLAT_BYTES, FLAT_CORES, PROFILE_PAYS_CYCLES, Recipe, choose_recipe


@pytest.mark.parametrize(
    ("equal_cores", "options", "expected", "why"),
    [
        (4, {}, Recipe(flat=True), ""),
        (FLAT_CORES, {"cycles": PROFILE_PAYS_CYCLES - 1}, Recipe(flat=True), ""),
        (FLAT_CORES + 1, {}, Recipe(flat=False), f"{FLAT_CORES + 1} equal cores"),
        (2, {"core_bytes": FLAT_BYTES // 2}, Recipe(flat=True), ""),
        (2, {"core_bytes": FLAT_BYTES // 2 + 1}, Recipe(flat=False), "2 equal large cores"),
        (1, {"core_bytes": 2 * FLAT_BYTES}, Recipe(flat=True), ""),
        (4, {"cycles": PROFILE_PAYS_CYCLES}, Recipe(profile=True), "300 M cycles pay for it"),
        (64, {"profile": True}, Recipe(flat=False, profile=True), "64 equal cores, asked for"),
        (1, {"optimise": False}, Recipe(optimise=False), "for a short run"),
        (2, {"optimise": False}, Recipe(flat=False, optimise=False), "for a short run"),
        (64, {"seen": True}, Recipe(flat=True), "its inside is seen"),
        (2, {"seen": True, "optimise": False, "profile": True}, Recipe(optimise=False), "its inside is seen"),
    ],
)
def test_the_chip_and_the_length_of_the_run_decide(equal_cores, options, expected, why) -> None:
    recipe = choose_recipe(equal_cores, **options)
    assert (recipe.flat, recipe.optimise, recipe.profile) == (expected.flat, expected.optimise, expected.profile)
    assert recipe.why == why
    assert why in recipe.describe()


def test_whether_a_profile_is_possible_is_asked_only_where_a_long_run_gains_by_it() -> None:
    asked: list[bool] = []

    def cannot() -> bool:
        asked.append(True)
        return False

    assert choose_recipe(4, cycles=PROFILE_PAYS_CYCLES - 1, can_profile=cannot) == Recipe()
    assert not asked
    assert choose_recipe(4, cycles=PROFILE_PAYS_CYCLES, can_profile=cannot) == Recipe()
    assert asked
