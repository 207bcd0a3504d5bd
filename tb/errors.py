"""Errors of the bench that a user can act on: one line each, with the remedy."""

from __future__ import annotations

import errno
from collections.abc import Iterator
from contextlib import contextmanager

from rtl.contract.errors import SystomeshError

__all__ = ["STORAGE_ERRORS", "BenchError", "RunError", "ToolError", "named_storage", "storage_error"]

STORAGE_ERRORS: set[int | None] = {
    None,  # NumPy's, where a file takes less than it should
    errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOTDIR, errno.EEXIST,
}  # fmt: skip
"""Numbers of the errors of a disk that is full, or no place to write."""


class BenchError(SystomeshError):
    """Bad input or a missing condition; the message is one line that says what to do (exit status 2)."""


class ToolError(BenchError):
    """A program that the bench needs is missing or does not work; the message names the remedy."""


class RunError(SystomeshError):
    """A simulation that failed for a reason of its own: the run counts as failed (exit status 1)."""


def storage_error(error: OSError, what: str) -> BenchError:
    """The line for a file or folder, `what`, that cannot be written."""
    reason = error.strerror or str(error)
    return BenchError(f"cannot write {what}: {reason}; free some space there or choose another place")


@contextmanager
def named_storage() -> Iterator[None]:
    """Errors of a disk within become a `BenchError` with its line."""
    try:
        yield
    except OSError as error:
        if error.errno not in STORAGE_ERRORS:
            raise
        raise storage_error(error, error.filename or "the results") from error
