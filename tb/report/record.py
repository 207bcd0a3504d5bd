"""The record of a run: all that its folder says of it, and from which its report can be made again."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from tb.errors import BenchError
from tb.files import write_atomically
from tb.report.layers import layers_csv
from tb.report.mesh import Mesh
from tb.report.summary import Summary

__all__ = ["FILES", "REPORT", "RunRecord"]

SUMMARY, MESH, LAYERS = "summary.json", "mesh.json", "layers.csv"
REPORT = "report.html"
FILES = (SUMMARY, MESH, LAYERS, REPORT)
"""What is written of every run, the summary last and behind waves and timeline: where it is, the run has come to its
end and all of its files are there."""


@dataclass(frozen=True)
class RunRecord:
    """A run that has come to its end."""

    name: str
    summary: Summary
    mesh: Mesh

    def save(self, folder: Path) -> None:
        """Write all files but the report, each whole or not at all."""
        self.mesh.save(folder / MESH)
        write_atomically(folder / LAYERS, layers_csv(self.summary, self.mesh).encode())
        self.summary.save(folder / SUMMARY)

    @staticmethod
    def folder(name: str, runs_dir: Path = Path("runs")) -> Path:
        """The folder of a run of that name, or of that path."""
        return Path(name) if "/" in name else runs_dir / name

    @classmethod
    def load(cls, name: str, runs_dir: Path = Path("runs")) -> RunRecord:
        """Read a run of that name, or in a folder of that path.

        Raises
        ------
        BenchError
            If it is not there, has not come to its end, or was written by another version.
        """
        folder = cls.folder(name, runs_dir)
        if not folder.is_dir():
            raise BenchError(f"RUNS={name}: there is no folder {folder}; make sim NAME={folder.name} makes a run")
        try:
            return cls(folder.name, Summary.load(folder / SUMMARY), Mesh.load(folder / MESH))
        except FileNotFoundError as error:
            if (folder / SUMMARY).exists():
                raise BenchError(_older(name)) from error
            raise BenchError(
                f"RUNS={name}: {folder} has no {SUMMARY}, so the run did not come to its end; give its command again, "
                "it goes on where it was"
            ) from error
        except (ValueError, KeyError, TypeError) as error:
            raise BenchError(_older(name)) from error


def _older(name: str) -> str:
    return (
        f"RUNS={name}: its files were written by another version of systomesh; give its command again, launches that "
        "are still the same are kept"
    )
