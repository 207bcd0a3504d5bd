"""The layers of a run as a table: rows in Python, CSV, or a DataFrame."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, overload

from tb.errors import BenchError
from tb.report.files import write_output
from tb.report.layers import layer_columns, layer_rows, layers_csv
from tb.report.summary import LayerSummary, Summary

if TYPE_CHECKING:
    import pandas  # pyright: ignore[reportMissingImports] - not a dependency

__all__ = ["LayerTable"]


class LayerTable(Sequence[LayerSummary]):
    """Layers in the order in which they are computed, as far as they are known apart within their launches."""

    def __init__(self, summary: Summary) -> None:
        self._summary = summary
        self._rows = summary.rows

    def __len__(self) -> int:
        return len(self._rows)

    @overload
    def __getitem__(self, index: int) -> LayerSummary: ...
    @overload
    def __getitem__(self, index: slice) -> list[LayerSummary]: ...
    def __getitem__(self, index: int | slice) -> LayerSummary | list[LayerSummary]:
        return self._rows[index]

    def named(self, name: str) -> LayerSummary:
        """The first layer of that name.

        Raises
        ------
        BenchError
            If there is none.
        """
        for row in self._rows:
            if row.name == name:
                return row
        raise BenchError(f"there is no layer {name!r}; there are {', '.join(row.name for row in self._rows)}")

    def records(self) -> list[dict[str, Any]]:
        """A flat dictionary for each layer, under the names of layers.csv; None for what is not known of it."""
        columns = layer_columns(self._summary)
        return [{column.key: column.value(row) for column in columns} for row in layer_rows(self._summary)]

    def to_csv(self, path: str | Path | None = None) -> str:
        """The records as CSV, names first; also written to a file, if one is named."""
        text = layers_csv(self._summary)
        if path is not None:
            write_output(Path(path), text)
        return text

    def to_pandas(self) -> pandas.DataFrame:
        """The records as a DataFrame.

        Raises
        ------
        BenchError
            If pandas is missing.
        """
        try:
            import pandas  # pyright: ignore[reportMissingImports] - not a dependency
        except ModuleNotFoundError as error:
            raise BenchError(f"{error.name} is not installed: pip install pandas, or take to_csv()") from error
        return pandas.DataFrame(self.records())

    def __repr__(self) -> str:
        return f"<{len(self)} layers: {', '.join(row.name for row in self._rows)}>"
