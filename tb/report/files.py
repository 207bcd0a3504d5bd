"""The files that commands write: those of a schedule, which are wanted and what goes together; pictures."""

from __future__ import annotations

from pathlib import Path

from tb.errors import BenchError

__all__ = ["outputs", "require_pictures", "write_output"]


def outputs(out: str, schedule: str, core: int | None, n_cores: int) -> list[Path]:
    """The files of OUT=a,b: schedules as .toml first, then pictures as .svg.

    Parameters
    ----------
    schedule : str
        What they are of; only a fused one can be written.
    core : int, optional
        Which one of `n_cores` the picture shows, if that was said.

    Raises
    ------
    BenchError
        For other files, for what cannot be written, and for a core that is not there or that nothing shows.
    """
    files = [Path(name.strip()) for name in out.split(",")]
    for file in files:
        if file.suffix not in (".toml", ".svg"):
            raise BenchError(
                f"OUT={file}: give a .toml file for the schedule, an .svg file for its picture, or both a,b"
            )
        if file.suffix == ".toml" and schedule != "fused":
            raise BenchError(f"OUT={file}: SCHEDULE={schedule} is drawn alone; give an .svg file, or SCHEDULE=fused")
    if core is not None and all(file.suffix == ".toml" for file in files):
        raise BenchError(f"CORE={core} is of the picture; give an .svg file, too, or leave it out")
    if core is not None and not 0 <= core < n_cores:
        raise BenchError(f"CORE={core}: the chip has cores 0 to {n_cores - 1}")
    return sorted(files, key=lambda file: file.suffix != ".toml")


def require_pictures() -> None:
    """Refuse to go on where no picture can be drawn: nobody wants to know that hours later.

    Raises
    ------
    BenchError
        If Matplotlib is missing.
    """
    try:
        import matplotlib  # noqa: F401 - whether it is there
    except ModuleNotFoundError as error:
        raise BenchError(f"pictures need {error.name}, which is not installed: run make setup") from error


def write_output(file: Path, text: str) -> None:
    """Write a file, and its folder if that is missing.

    Raises
    ------
    BenchError
        If it cannot be written.
    """
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
    except OSError as error:
        raise BenchError(f"cannot write {file}: {error.strerror or error}") from error
