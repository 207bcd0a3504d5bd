"""Arrays of an .npz file that a user gives."""

import zlib
from collections.abc import Callable, Iterable
from pathlib import Path
from zipfile import BadZipFile

import numpy as np

from golden.errors import GoldenError

__all__ = ["read_arrays"]


def read_arrays(
    path: str | Path, what: str, option: str, refusal: type[GoldenError], choose: Callable[[list[str]], Iterable[str]]
) -> dict[str, np.ndarray]:
    """Arrays of an .npz file by name: those that `choose` takes of all names; the others are not read.

    Parameters
    ----------
    what, option : str
        What the file holds and the option that names it, for messages.
    refusal : type
        Raised if the file cannot be read; `choose` raises it if the names do not do.
    """
    try:
        archive = np.load(path, allow_pickle=False)
        if not isinstance(archive, np.lib.npyio.NpzFile):
            raise refusal(f"{what} file {str(path)!r} is a single array; save all with numpy.savez")
        with archive:
            return {key: archive[key] for key in choose(archive.files)}
    except FileNotFoundError:
        raise refusal(f"{what} file {str(path)!r} does not exist; check {option}") from None
    except refusal:
        raise
    except (OSError, ValueError, EOFError, BadZipFile, zlib.error) as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise refusal(f"{what} file {str(path)!r} is not a readable .npz ({reason}); save it again") from error
