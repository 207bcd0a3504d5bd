"""What became of the mutants of a group, kept on disk as it comes, so that an interrupted campaign goes on."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tb.bench_report import commit
from tb.cache import content_key
from tb.job import write_atomically
from tests.mutation.software.campaign import ROOT, Judged
from tests.mutation.software.equivalent import EQUIVALENT
from tests.mutation.software.groups import Group
from tests.mutation.software.operators import Mutant

__all__ = ["TARGET", "Results"]

TARGET = 0.95
"""Part of the random mutants not known to be equivalent that the tests must kill; of the seeded faults, all."""
_COMMIT_SOURCES = ("rtl", "golden", "sched", "tb", "tests")


class Results:
    """Verdicts on the mutants of one group, and ``<folder>/<group>.json``, which holds them.

    A verdict holds for as long as the mutated module, all that it works with, and the tests are what they were.

    Attributes
    ----------
    judged : list of Judged
        Of the mutants of this campaign: those that the file knew, and those added.
    waiting : list of Mutant
        Those that the file does not know.
    killers : list of str
        Test that killed each mutant that the file holds, outdated or not.
    """

    def __init__(self, name: str, group: Group, mutants: Sequence[Mutant], seed: int, folder: Path) -> None:
        self.name, self.seed, self.path = name, seed, folder / f"{name}.json"
        self._mutants, self._commit = mutants, commit(_COMMIT_SOURCES)
        self._context = content_key(_sources(group))
        kept = json.loads(self.path.read_text())["verdicts"] if self.path.exists() else []
        self.killers = [verdict["killer"] for verdict in kept if verdict["killer"]]
        known = {verdict["key"]: verdict["killer"] for verdict in kept}
        self.judged = [Judged(mutant, known[key]) for mutant in mutants if (key := self._key(mutant)) in known]
        self.waiting = [mutant for mutant in mutants if self._key(mutant) not in known]

    @property
    def survivors(self) -> list[Mutant]:
        return [one.mutant for one in self.judged if one.survived]

    @property
    def equivalent(self) -> list[Mutant]:
        return [one.mutant for one in self.judged if one.equivalent]

    def counts(self, *, seeded: bool) -> tuple[int, int]:
        """Killed, and all but the equivalent, of the faults seeded by hand or of the random ones."""
        judged = [one for one in self.judged if one.mutant.seeded is seeded and not one.equivalent]
        return sum(not one.survived for one in judged), len(judged)

    @property
    def score(self) -> float:
        """Killed part of the random ones."""
        killed, judged = self.counts(seeded=False)
        return killed / judged if judged else 1.0

    @property
    def met(self) -> bool:
        killed, judged = self.counts(seeded=True)
        return killed == judged and self.score >= TARGET and not self.waiting

    def add(self, judged: Judged) -> None:
        self.judged.append(judged)
        self.waiting.remove(judged.mutant)
        self.save()

    def save(self) -> None:
        """Write the file."""
        content = {
            "group": self.name,
            "commit": self._commit,
            "seed": self.seed,
            "mutants": len(self._mutants),
            "waiting": len(self.waiting),
            "seeded": dict(zip(("killed", "judged"), self.counts(seeded=True), strict=True)),
            "random": dict(zip(("killed", "judged"), self.counts(seeded=False), strict=True)),
            "equivalent": [{**_place(mutant), "reason": EQUIVALENT[mutant.key]} for mutant in self.equivalent],
            "survivors": [_place(mutant) for mutant in self.survivors],
            "kills": dict(Counter(one.killer for one in self.judged if one.killer).most_common()),
            "verdicts": [
                {"key": self._key(one.mutant), **_place(one.mutant), "killer": one.killer} for one in self.judged
            ],
        }
        write_atomically(self.path, (json.dumps(content, indent=1) + "\n").encode())

    def _key(self, mutant: Mutant) -> str:
        return content_key([self._context, mutant.module, mutant.source])


def _place(mutant: Mutant) -> dict[str, Any]:
    return {"file": mutant.module, "line": mutant.line, "text": mutant.text, "change": mutant.change}


def _sources(group: Group) -> list[str | Path]:
    """Whatever a verdict depends on, but for the mutant itself."""
    folders = ("golden", "sched", "rtl", "tests/unit/sched")
    files = {path for folder in folders for path in (ROOT / folder).rglob("*.py")}
    files |= {*(ROOT / "tests").glob("*.py"), *(ROOT / test for test in group.tests)}
    files.add(Path(__file__).with_name("campaign.py"))
    return [part for path in sorted(files) for part in (path.name, path)]
