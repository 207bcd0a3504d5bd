"""The report of a coverage campaign: a table for the terminal and pages to browse."""

from __future__ import annotations

import html
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from tests.coverage.exclusions import EXCLUSIONS, Exclusion
from tests.coverage.functional import Cover
from tests.coverage.points import KINDS, Point

__all__ = ["TARGETS", "Part", "Rtl", "covers_part", "judge", "write_pages"]

TARGETS = {"line": 0.95, "branch": 0.95, "toggle": 0.90, "functional points": 1.0, "functional crosses": 0.90}


@dataclass(frozen=True)
class Part:
    """Covered points of all."""

    covered: int
    total: int

    @property
    def share(self) -> float:
        return self.covered / self.total if self.total else 1.0

    def __str__(self) -> str:
        return f"{100 * self.share:.1f} % ({self.covered:,} of {self.total:,})"


@dataclass(frozen=True, eq=False)
class Rtl:
    """Points of the hardware, exclusions applied."""

    hits: Mapping[Point, int]
    excluded: Mapping[Exclusion, int]
    """Points that each exclusion took away."""
    hit_though_excluded: Mapping[Exclusion, int]
    everything: Mapping[str, Part]
    """By kind, with nothing left out."""

    @property
    def unused(self) -> list[Exclusion]:
        """Exclusions that match nothing: to be removed."""
        return [exclusion for exclusion, count in self.excluded.items() if not count]

    def part(self, kind: str, module: str | None = None) -> Part:
        counts = [n for p, n in self.hits.items() if p.kind == kind and module in (None, p.module)]
        return Part(sum(n > 0 for n in counts), len(counts))

    def modules(self) -> dict[str, dict[str, Part]]:
        """Parts of each module by kind."""
        totals: Counter[tuple[str, str]] = Counter()
        covered: Counter[tuple[str, str]] = Counter()
        for point, count in self.hits.items():
            totals[point.module, point.kind] += 1
            covered[point.module, point.kind] += count > 0
        names = sorted({module for module, _ in totals})
        return {name: {kind: Part(covered[name, kind], totals[name, kind]) for kind in KINDS} for name in names}


def judge(hits: Mapping[Point, int], exclusions: Iterable[Exclusion] = EXCLUSIONS) -> Rtl:
    """Take the excluded points away; the first exclusion that matches a point takes it."""
    exclusions = tuple(exclusions)
    excluded = dict.fromkeys(exclusions, 0)
    though = dict.fromkeys(exclusions, 0)
    kept = {}
    counted = {(point.module, point.name) for point in hits if point.kind == "toggle"}
    for point, count in hits.items():
        exclusion = next((e for e in exclusions if e.matches(point, counted)), None)
        if exclusion is None:
            kept[point] = count
        else:
            excluded[exclusion] += 1
            though[exclusion] += count > 0
    total = Counter(point.kind for point in hits)
    covered = Counter(point.kind for point, count in hits.items() if count)
    return Rtl(kept, excluded, though, {kind: Part(covered[kind], total[kind]) for kind in KINDS})


def covers_part(covers: Iterable[Cover], *, crosses: bool) -> Part:
    """All bins of the points, or of the crosses."""
    chosen = [cover for cover in covers if cover.is_cross == crosses]
    return Part(sum(cover.covered for cover in chosen), sum(len(cover.hits) for cover in chosen))


def write_pages(
    folder: Path, rtl: Rtl, covers: Iterable[Cover], sources: Mapping[tuple[str, str], str], note: str
) -> Path:
    """Write index.html and a page for each module; the path of the index."""
    folder.mkdir(parents=True, exist_ok=True)
    covers = list(covers)
    rows = []
    for number, (module, parts) in enumerate(rtl.modules().items()):
        page = f"module{number}.html"
        _write(folder / page, module, _module_page(rtl, module, sources))
        link = f'<a href="{page}">{html.escape(module)}</a>'
        rows.append([link, *(_bar(parts[kind], TARGETS[kind]) for kind in KINDS)])
    totals = [[kind, _bar(rtl.part(kind), TARGETS[kind]), str(rtl.everything[kind])] for kind in KINDS]
    totals += [
        [f"functional {name}", _bar(covers_part(covers, crosses=crosses), TARGETS[f"functional {name}"]), ""]
        for name, crosses in (("points", False), ("crosses", True))
    ]
    functional = [
        [html.escape(c.name), "cross" if c.is_cross else "point",
         _bar(Part(c.covered, len(c.hits)), TARGETS[f"functional {'crosses' if c.is_cross else 'points'}"]),
         html.escape(", ".join(map(_bin, c.missed)))]
        for c in covers
    ]  # fmt: skip
    left_out = [
        [html.escape(e.describe()), f"{count:,}", f"{rtl.hit_though_excluded[e]:,}", html.escape(e.reason)]
        for e, count in rtl.excluded.items()
    ]
    body = "".join(
        [
            f"<p>{html.escape(note)}</p>",
            _table(["", "covered", "with nothing left out"], totals),
            "<h2>Modules</h2><p>Modules of several chips are one if they declare the same signals (the digits behind # "
            "tell others apart).</p>",
            _table(["module", *KINDS], rows),
            "<h2>Functional</h2>",
            _table(["name", "", "bins hit", "missed"], functional),
            "<h2>Exclusions</h2>",
            _table(["points", "taken away", "of these hit", "reason"], left_out),
        ]
    )
    _write(folder / "index.html", "Coverage", body)
    return folder / "index.html"


def _bin(value: object) -> str:
    return " x ".join(map(str, value)) if isinstance(value, tuple) else str(value)


def _module_page(rtl: Rtl, module: str, sources: Mapping[tuple[str, str], str]) -> str:
    name = module.partition("#")[0]
    places = {
        signal: place.rpartition("site-packages/")[2] for (of, signal), place in sources.items() if _same(of, name)
    }
    missed = sorted(point for point, count in rtl.hits.items() if point.module == module and not count)
    rows = [[kind, html.escape(signal), html.escape(what), html.escape(places.get(signal, ""))]
            for kind, signal, what in _rows(missed)]  # fmt: skip
    return (
        '<p><a href="index.html">all modules</a></p>'
        f"<p>{len(missed):,} points were missed. The source is where the signal is declared.</p>"
        + _table(["kind", "signal", "what", "source"], rows)
    )


def _rows(missed: Iterable[Point]) -> list[tuple[str, str, str]]:
    """Kind, signal and what was missed; all bits of a signal in one row for each direction."""
    rows: list[tuple[str, str, str]] = []
    bits: dict[tuple[str, str], list[int]] = {}
    for point in missed:
        if point.kind == "toggle":
            bits.setdefault((point.name, point.detail.rpartition("]")[2]), []).append(point.bit)
        else:
            rows.append((point.kind, point.name, point.detail))
    return rows + [("toggle", name, f"{direction} of bit {_ranges(own)}") for (name, direction), own in bits.items()]


def _ranges(numbers: Iterable[int]) -> str:
    """2, 5-7 for 2, 5, 6 and 7."""
    runs: list[list[int]] = []
    for number in sorted(numbers):
        if runs and number == runs[-1][-1] + 1:
            runs[-1].append(number)
        else:
            runs.append([number])
    return ", ".join(str(run[0]) if len(run) == 1 else f"{run[0]}-{run[-1]}" for run in runs)


def _same(module: str, merged: str) -> bool:
    """Whether a module of the Verilog is called so after merging the cores."""
    head, _, tail = merged.partition("_core")
    return module == merged or (
        module.startswith(f"{head}_core_") and module.partition("_core_")[2].lstrip("0123456789") == tail
    )


def _bar(part: Part, target: float) -> str:
    kind = "met" if part.share >= target else "missed"
    return f'<span class="{kind}">{part}</span>' if part.total else "-"


def _table(head: list[str], rows: list[list[str]]) -> str:
    cells = "".join(f"<tr>{''.join(f'<td>{cell}</td>' for cell in row)}</tr>\n" for row in rows)
    return f"<table><tr>{''.join(f'<th>{cell}</th>' for cell in head)}</tr>\n{cells}</table>"


def _write(path: Path, title: str, body: str) -> None:
    style = (
        "body{font:14px sans-serif;margin:2em}table{border-collapse:collapse}"
        "td,th{border:1px solid #ccc;padding:2px 8px;text-align:left;vertical-align:top}"
        ".met{color:#070}.missed{color:#b00}"
    )
    path.write_text(
        f"<!doctype html><meta charset=utf-8><title>{html.escape(title)}</title><style>{style}</style>"
        f"<h1>{html.escape(title)}</h1>{body}\n"
    )
