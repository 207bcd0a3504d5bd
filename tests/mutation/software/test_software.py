"""A few seeded faults, and that the campaign can tell a test that looks from one that does not."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.mutation.software.campaign import ROOT, Judged, mutants_of
from tests.mutation.software.equivalent import EQUIVALENT
from tests.mutation.software.groups import GROUPS, Group
from tests.mutation.software.operators import Mutant, random_mutants, seeded_mutant
from tests.mutation.software.results import Results

SOURCE = '''"""Text."""
def scale(x: int, limit: int = 7) -> int:
    """At most 3."""
    if x < limit and x != 2:
        x += 1
    raise_to = min(x, 5) * 4
    if raise_to > 90:
        raise ValueError(f"{raise_to + 1} exceeds {80 + 10}")
    return raise_to
'''

IN_A_PROCESS = """
import sys
from pathlib import Path
import rtl.contract.marks
from tests.mutation.software.campaign import survives
from tests.mutation.software.groups import GROUPS
from tests.mutation.software.operators import seeded_mutant
tests, folder, module, old, new = sys.argv[1:]
mutant = seeded_mutant(module, Path(module).read_text(), old, new, "a fault")
print(survives(mutant, [tests], Path(folder)))
"""


A_SHIFT_LESS = ("golden/int8/requant.py", "MAX_SHIFT = 63", "MAX_SHIFT = 62")


def judged(bench: Path, module: str, old: str, new: str) -> subprocess.CompletedProcess[str]:
    """A process that prints whether a file of tests lets such a mutant live."""
    command = [sys.executable, "-c", IN_A_PROCESS, str(bench), str(bench.parent / "logs"), module, old, new]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)


def test_every_group_has_a_dozen_seeded_faults_that_are_still_in_the_source() -> None:
    for name, group in GROUPS.items():
        assert len(group.seeded) >= 12, name
        assert all((ROOT / test).exists() for test in group.tests)
        mutants = mutants_of(group, 2 * len(group.modules), seed=1)
        assert len(mutants) == len(group.seeded) + 2 * len(group.modules)
        for mutant in mutants:
            compile(mutant.source, mutant.module, "exec")


def test_what_is_called_equivalent_is_still_in_the_source() -> None:
    for module, text, _, change in EQUIVALENT:
        assert text in map(str.strip, (ROOT / module).read_text().splitlines()), (module, text)
        before = change.partition(" -> ")[0]
        assert before in text or (before.isdigit() and hex(int(before)) in text)


def test_mutants_differ_in_one_place_and_leave_texts_alone() -> None:
    mutants = random_mutants("m.py", SOURCE, 100, seed=1)
    changes = {mutant.change for mutant in mutants}
    assert changes == {
        "7 -> 8", "x < limit -> x <= limit", "x != 2 -> x == 2", "x < limit and x != 2 -> x < limit or x != 2",
        "if x < limit and x != 2 -> if not (x < limit and x != 2)", "2 -> 3", "x += 1 -> x -= 1", "x += 1 -> pass",
        "1 -> 2", "min -> max", "5 -> 6", "min(x, 5) * 4 -> min(x, 5) + 4", "4 -> 5", "raise_to > 90 -> raise_to >= 90",
        "90 -> 91", "if raise_to > 90 -> if not raise_to > 90",
    }  # fmt: skip
    for mutant in mutants:
        compile(mutant.source, "m.py", "exec")
    assert random_mutants("m.py", SOURCE, 5, seed=1) == mutants[:5]
    assert random_mutants("m.py", SOURCE, 5, seed=2) != mutants[:5]


def test_a_seeded_fault_that_the_source_has_outgrown_is_an_error() -> None:
    with pytest.raises(ValueError, match="'y' stands there 0 times"):
        seeded_mutant("m.py", "x = 1", "y", "z", "what")


def results(folder: Path, mutants: list[Mutant], **tests: str) -> Results:
    """With files of tests by name."""
    files = [folder / f"{name}.py" for name in tests]
    for file, text in zip(files, tests.values(), strict=True):
        file.write_text(text)
    return Results("it", Group((), tuple(map(str, files)), ()), mutants, 1, folder)


def test_an_interrupted_campaign_goes_on_until_tests_change(tmp_path: Path) -> None:
    fault = seeded_mutant("m.py", SOURCE, "limit: int = 7", "limit: int = 9", "a higher limit")
    mutants = [fault, *random_mutants("m.py", SOURCE, 3, seed=1)]
    first = results(tmp_path, mutants, one="pass", other="pass")
    assert first.waiting == mutants
    killer = f"{tmp_path}/one.py::test_limit"
    first.add(Judged(fault, killer))
    first.add(Judged(mutants[2], ""))
    assert (first.counts(seeded=True), first.counts(seeded=False), first.score) == ((1, 1), (0, 1), 0)
    again = results(tmp_path, mutants, one="pass", other="pass")
    assert (again.waiting, again.survivors) == ([mutants[1], mutants[3]], [mutants[2]])
    assert again.killers == [killer]
    assert not again.met
    kept = json.loads((tmp_path / "it.json").read_text())
    assert kept["survivors"] == [
        {"file": "m.py", "line": mutants[2].line, "text": mutants[2].text, "change": mutants[2].change}
    ]
    assert (kept["waiting"], kept["seeded"], kept["random"]) == (
        2, {"killed": 1, "judged": 1}, {"killed": 0, "judged": 1},
    )  # fmt: skip
    more = results(tmp_path, mutants, one="pass", other="pass  # and more")
    assert (more.waiting, more.judged) == (mutants[1:], again.judged[:1])  # what lived may be killed now
    changed = results(tmp_path, mutants, one="pass  # less", other="pass")
    assert (changed.waiting, changed.killers) == (mutants, [killer])


@pytest.mark.parametrize(("lives", "met"), [((), True), ((0,), False), ((1,), True), ((1, 2), False)])
def test_the_target_is_all_seeded_faults_and_most_random_ones(
    lives: tuple[int, ...], met: bool, tmp_path: Path
) -> None:
    fault = seeded_mutant("m.py", SOURCE, "limit: int = 7", "limit: int = 9", "a higher limit")
    mutants = [fault, *random_mutants("m.py", (ROOT / "golden/net/window.py").read_text(), 20, seed=1)]
    of_all = results(tmp_path, mutants, one="pass")
    for number, mutant in enumerate(mutants):
        assert not of_all.met
        of_all.add(Judged(mutant, "" if number in lives else "a test"))
    assert of_all.met == met


@pytest.mark.parametrize(("test", "survived"), [("assert Requant(*FINE, shift=SHIFT)", "False"), ("pass", "True")])
def test_a_test_that_looks_kills_and_one_that_does_not_lets_live(test: str, survived: str, tmp_path: Path) -> None:
    bench = tmp_path / "test_it.py"
    bench.write_text(
        "import numpy as np\nfrom golden.int8.requant import Requant\n"
        f"def test_largest_shift():\n    {test.replace('*FINE, shift=SHIFT', _ARGUMENTS)}\n"
    )
    done = judged(bench, *A_SHIFT_LESS)
    assert done.stdout == f"{survived}\n", done.stdout + done.stderr


def test_a_module_that_the_campaign_has_imported_itself_is_mutated_all_the_same(tmp_path: Path) -> None:
    bench = tmp_path / "test_it.py"
    bench.write_text(
        "from rtl.contract import activity, marks\nfrom rtl.contract.isa import TrafficClass\n"
        "def test_its_users_have_it_too():\n    assert marks.Activity is activity.Activity\n"
        "def test_counts():\n    assert set(activity.by_class([2] * len(TrafficClass)).values()) == {2}\n"
    )
    done = judged(bench, "rtl/contract/activity.py", "int(counts[traffic])", "int(counts[traffic]) + 1")
    assert done.stdout == "False\n", done.stdout + done.stderr
    (notes,) = (bench.parent / "logs").glob("*.json")
    assert json.loads(notes.read_text())["failed"].endswith("::test_counts")


def test_tests_that_never_import_the_module_are_refused(tmp_path: Path) -> None:
    bench = tmp_path / "test_it.py"
    bench.write_text("def test_nothing():\n    pass\n")
    done = judged(bench, *A_SHIFT_LESS)
    assert "CampaignError: golden/int8/requant.py: the tests" in done.stderr


_ARGUMENTS = "np.array([1 << 23], np.int32), np.array([63], np.int32), 0"
