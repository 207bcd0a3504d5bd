"""Tables in Markdown."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence

__all__ = ["table"]


def table(header: Sequence[str], rows: Iterable[Sequence[str]], texts: int | Collection[str] = 1) -> str:
    """A table, its lines ended.

    Parameters
    ----------
    texts : int or collection of str
        Columns of text: so many first ones, or those of these names. The others are numbers, which stand on the right.
    """
    is_text = [number < texts if isinstance(texts, int) else name in texts for number, name in enumerate(header)]
    rules = [":---" if text else "---:" for text in is_text]
    return "".join("| " + " | ".join(row) + " |\n" for row in (header, rules, *rows))
