"""The runner of the long campaigns: results are kept, failures do not stop it, nothing that passed is run again."""

from __future__ import annotations

from pathlib import Path

import pytest
from rich.console import Console

from tests.nightly.__main__ import Campaign, last_outcome, main, markdown, run_campaigns

GOOD = Campaign("good one", "-c print('first');print('all_hold')")
BAD = Campaign("bad", "-c print('two_fail');raise(SystemExit(3))")
SILENT = Campaign("silent", "-c raise(SystemExit(4))")


def run(campaigns: list[Campaign], folder: Path, revision: str = "abc", *, fresh: bool = False) -> list[bool]:
    outcomes = run_campaigns(campaigns, folder, revision, Console(quiet=True), fresh=fresh)
    return [outcome.passed for outcome in outcomes]


def test_results_are_kept_and_a_failure_does_not_stop_the_others(tmp_path: Path) -> None:
    assert run([SILENT, BAD, GOOD], tmp_path) == [False, False, True]
    outcomes = [last_outcome(campaign, tmp_path) for campaign in (SILENT, BAD, GOOD)]
    assert [outcome and outcome.result for outcome in outcomes] == ["exit status 4", "two_fail", "all_hold"]
    assert (tmp_path / "good-one.log").read_text() == "first\nall_hold\n"
    table = markdown([outcome for outcome in outcomes if outcome])
    assert [("FAILED" in line, "passed" in line) for line in table.splitlines()[-3:]] == [
        (True, False),
        (True, False),
        (False, True),
    ]


def test_only_what_has_not_passed_on_this_commit_is_run(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    def ran(revision: str = "abc", *, fresh: bool = False) -> list[str]:
        capfd.readouterr()
        run([GOOD, BAD], tmp_path, revision, fresh=fresh)
        return capfd.readouterr().out.split()

    both, failed = ["first", "all_hold", "two_fail"], ["two_fail"]
    assert ran() == both
    assert ran() == failed
    assert ran(fresh=True) == both
    assert ran("def") == both
    assert ran("def-dirty") == both
    assert ran("def-dirty") == both


def test_a_damaged_or_outdated_result_is_none(tmp_path: Path) -> None:
    run([GOOD], tmp_path)
    assert last_outcome(Campaign(GOOD.name, "-c pass"), tmp_path) is None
    record = tmp_path / "good-one.json"
    record.write_text(record.read_text()[:-20])
    assert last_outcome(GOOD, tmp_path) is None


def test_an_unknown_campaign_is_named(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--only", "fuzz,fuzzy"]) == 2
    assert capsys.readouterr().out.startswith("systomesh: ONLY=fuzzy: use formal, fuzz,")
