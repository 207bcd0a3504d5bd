"""What became of the mutants of a group, kept on disk as it comes, so that an interrupted campaign goes on."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tb.files import write_atomically
from tb.model.cache import content_key
from tb.report.provenance import commit
from tests.mutation.software.campaign import ROOT, Judged
from tests.mutation.software.equivalent import EQUIVALENT
from tests.mutation.software.groups import Group
from tests.mutation.software.operators import Mutant

__all__ = ["TARGET", "Results"]

TARGET = 0.95
"""Part of the random mutants not known to be equivalent that the tests must kill; of the seeded faults, all."""


class Results:
    """Verdicts on the mutants of one group, and ``<folder>/<group>.json``, which holds them.

    A verdict holds for as long as the mutated module, all that it works with, and the tests are what they were: of a
    killed one the file of the test that killed it.

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
        self._mutants, self._commit = mutants, commit("tests")
        sources = _sources()
        self._all_tests = content_key([*sources, *(ROOT / test for test in group.tests)])
        self._by_test = {test: content_key([*sources, test, ROOT / test]) for test in group.tests}
        kept = json.loads(self.path.read_text())["verdicts"] if self.path.exists() else []
        self.killers = [verdict["killer"] for verdict in kept if verdict["killer"]]
        known = {verdict["key"]: verdict["killer"] for verdict in kept}
        self.judged: list[Judged] = []
        self.waiting: list[Mutant] = []
        for mutant in mutants:
            keys = (_key(mutant, context) for context in (self._all_tests, *self._by_test.values()))
            killer = next((known[key] for key in keys if key in known), None)
            if killer is None:
                self.waiting.append(mutant)
            else:
                self.judged.append(Judged(mutant, killer))

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
                {"key": _key(one.mutant, self._context(one.killer)), **_place(one.mutant), "killer": one.killer}
                for one in self.judged
            ],
        }
        write_atomically(self.path, (json.dumps(content, indent=1) + "\n").encode())

    def _context(self, killer: str) -> str:
        """What a verdict depends on beside the mutant."""
        return self._by_test.get(killer.partition("::")[0], self._all_tests)


def _key(mutant: Mutant, context: str) -> str:
    return content_key([context, mutant.module, mutant.source])


def _place(mutant: Mutant) -> dict[str, Any]:
    return {"file": mutant.module, "line": mutant.line, "text": mutant.text, "change": mutant.change}


def _sources() -> list[str | Path]:
    """Whatever a verdict depends on beside the mutant and the tests."""
    files = {path for folder in ("golden", "sched", "rtl") for path in (ROOT / folder).rglob("*.py")}
    files |= {*(ROOT / "tests").glob("*.py"), ROOT / "tests/unit/sched/replay.py"}
    files.add(Path(__file__).with_name("campaign.py"))
    return [part for path in sorted(files) for part in (path.name, path)]
