"""The draft of an import: what it has made so far, with transactions."""

from collections.abc import Iterator
from contextlib import contextmanager
from copy import copy
from dataclasses import dataclass, fields

__all__ = ["Draft"]


@dataclass
class Draft:
    """What an import has made so far, in the fields of a subclass; values in its containers are never changed."""

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """All or nothing: an error within leaves every field as it was before."""
        saved = {item.name: copy(getattr(self, item.name)) for item in fields(self)}
        try:
            yield
        except BaseException:
            for name, value in saved.items():
                setattr(self, name, value)
            raise
