"""Kernels on the RTL: each run once, its bits compared with the machine's, its cycles kept."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, fields
from pathlib import Path
from tempfile import TemporaryDirectory

from rtl.contract.params import ChipParams, CoreParams
from tb.calibration.kernels import Kernel
from tb.errors import BenchError, RunError
from tb.files import write_atomically
from tb.fuzz.judge import Expectation, Rejected, expect_legal
from tb.fuzz.runner import model_of, run_programs
from tb.model.cache import content_key
from tb.model.hardware import hardware_fingerprint

__all__ = ["KernelBook", "measure"]

_BATCH = 16
"""Kernels of one simulation; what is done is kept after each."""


@dataclass
class KernelBook:
    """Cycles of kernels by all that they depend on, in a file.

    Attributes
    ----------
    cycles : dict of str to int
        By the key of the kernel.
    """

    file: Path
    cycles: dict[str, int] = field(default_factory=dict)

    @classmethod
    def load(cls, file: Path) -> KernelBook:
        """What a file holds; nothing if there is none.

        Raises
        ------
        BenchError
            If it is something else.
        """
        try:
            return cls(file, {str(key): int(value) for key, value in json.loads(file.read_text()).items()})
        except FileNotFoundError:
            return cls(file)
        except (OSError, ValueError, AttributeError, TypeError) as error:
            raise BenchError(f"{file} holds no cycles of kernels: {error}; remove it") from error

    def save(self) -> None:
        """Add what is known to the file, beside what others have put there meanwhile."""
        self.cycles = KernelBook.load(self.file).cycles | self.cycles
        write_atomically(self.file, (json.dumps(self.cycles, indent=0) + "\n").encode())

    def of(self, kernel: Kernel) -> int | None:
        """Measured cycles; None if they are not known."""
        return self.cycles.get(kernel_key(kernel))


def kernel_key(kernel: Kernel) -> str:
    """Digest of program, chip, memory and hardware."""
    streams = [(core, int(unit), b"".join(codes)) for (core, unit), codes in sorted(kernel.streams.items())]
    chip = {**_own(kernel.chip), "cores": [_own(core) for core in kernel.chip.cores]}
    return content_key([hardware_fingerprint(), repr(chip), repr(kernel.settings), repr(streams)])


def _own(params: ChipParams | CoreParams) -> dict[str, object]:
    """Fields that are not at their defaults: one that is added later, with a default, changes no key."""
    values = {item.name: (getattr(params, item.name), item.default) for item in fields(params)}
    return {name: value for name, (value, default) in values.items() if value != default}


def measure(
    kernels: Sequence[Kernel], book: KernelBook, folder: Path, say: Callable[[str], None] = lambda _: None
) -> None:
    """Run the kernels of one chip that the book does not have, and keep their cycles.

    Parameters
    ----------
    folder : Path
        Where files of the simulation are for as long as it takes.

    Raises
    ------
    RunError
        If the RTL differs from the machine in any bit of memory, scratchpads or counters.
    """
    left = [kernel for kernel in kernels if book.of(kernel) is None]
    if not left:
        return
    say(f"building the model of {len(left)} kernels")
    model = model_of(left[0].chip)
    folder.mkdir(parents=True, exist_ok=True)
    done = 0
    for first in range(0, len(left), _BATCH):
        batch = left[first : first + _BATCH]
        with TemporaryDirectory(prefix="kernels-", dir=folder) as work:
            verdicts = run_programs(model, [_expected(each) for each in batch], Path(work) / "job")
        for kernel, verdict in zip(batch, verdicts, strict=True):
            if verdict.differences:
                raise RunError(f"kernel {kernel.name!r}: the RTL is not the machine: {verdict.differences[0]}")
            book.cycles[kernel_key(kernel)] = verdict.launch.cycles
        book.save()
        done += len(batch)
        say(f"{done} of {len(left)} kernels, bits equal")


def _expected(kernel: Kernel) -> Expectation:
    try:
        return expect_legal(kernel.program, orders=1)
    except Rejected as error:
        raise RunError(f"kernel {kernel.name!r} has no single result: {error}") from error
