"""The forms of a timeline's file."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from tb.errors import BenchError
from tb.timeline.chrome import chrome_trace
from tb.timeline.events import Timeline

__all__ = ["FORMS", "Form", "parse_form"]


@dataclass(frozen=True)
class Form:
    """One form.

    Attributes
    ----------
    suffix : str
        Of the file, with its dot.
    opens : str
        How the file is opened, in words.
    write : callable
        The bytes of the file, of a timeline.
    """

    suffix: str
    opens: str
    write: Callable[[Timeline], bytes]


def _perfetto(timeline: Timeline) -> bytes:
    from tb.timeline.perfetto import perfetto_trace  # protobuf, for which no run without a timeline should wait

    return perfetto_trace(timeline)


FORMS = {
    "perfetto": Form(
        ".pftrace", "open it at https://ui.perfetto.dev (Open trace file; it stays on your machine)", _perfetto
    ),
    "json": Form(
        ".json", "open it offline at chrome://tracing in any Chromium, or at https://ui.perfetto.dev", chrome_trace
    ),
}


def parse_form(text: str | None) -> str | None:
    """The form that TRACE= asks for: 1 the usual one, json the other, 0 none.

    Raises
    ------
    BenchError
        For anything else.
    """
    if text in (None, "0"):
        return None
    if text == "1":
        return "perfetto"
    if text not in FORMS:
        raise BenchError(f"TRACE={text}: give 1 (Perfetto), json (chrome://tracing) or 0")
    return text
