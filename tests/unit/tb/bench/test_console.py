"""Progress of campaigns: what reaches the terminal."""

from __future__ import annotations

import io

from rich.console import Console

from tb.bench.campaign import Case, CaseResult
from tb.bench.console import CampaignConsole


def test_campaign_shows_a_line_for_each_run() -> None:
    cases = [Case("lenet5", 1), Case("lenet5", 4), Case("alexnet", 1)]
    console = Console(file=io.StringIO(), width=120)
    watcher = CampaignConsole(cases, console)
    summary = {"cycles": 1000, "efficiency": 0.5}
    for case in cases:
        watcher.start(case)
        watcher.progress(case, "conv1", 0.5)
    watcher.finish(CaseResult(cases[0], summary))
    watcher.finish(CaseResult(cases[1], summary, kept=True))
    watcher.finish(CaseResult(cases[2], None, "no compiler"))
    watcher.done()
    assert console.file.getvalue().splitlines() == [
        "lenet5-1cores: begins",
        "lenet5-4cores: begins",
        "alexnet-1cores: begins",
        "lenet5-1cores: 1,000 cycles, efficiency 50.0 %, bits equal",
        "lenet5-4cores: 1,000 cycles, efficiency 50.0 %, bits equal (up to date)",
        "alexnet-1cores: FAILED, no compiler",
    ]
