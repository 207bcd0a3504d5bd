"""Chips that come with the project."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from rtl.contract.params import ParameterError
from tb.fuzz.chips import FUZZ_CHIPS
from tb.run.presets import NAMED_CHIPS, chip_named, preset_chip


@pytest.mark.parametrize("name", NAMED_CHIPS)
def test_sparse_chips_are_the_dense_ones_with_as_many_multipliers_and_bytes(name: str) -> None:
    sparse = chip_named(name)
    dense = preset_chip(int(name.removeprefix("sparse")))
    (core,), (other,) = set(sparse.cores), set(dense.cores)
    assert core.sparse_lanes * core.sparse_columns == other.rows * other.cols == 256
    assert core.acc_entries * core.cols == other.acc_entries * other.cols
    assert replace(core, engines=other.engines, rows=16, cols=16, acc_entries=1024) == other
    assert replace(sparse, cores=dense.cores) == dense


def test_names_stand_beside_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("sparse4.toml").write_text("mesh_width = 1\nmesh_height = 1")
    Path("nameless").write_text("mesh_width = 2\nmesh_height = 1")
    assert chip_named("sparse4").n_cores == 4
    assert chip_named(Path("sparse4.toml")).n_cores == 1
    assert chip_named("nameless").n_cores == 2
    assert chip_named("1x1_sparse", FUZZ_CHIPS) == FUZZ_CHIPS["1x1_sparse"]
    with pytest.raises(ParameterError, match="unknown chip 'sparse2': use one of sparse1, sparse4, sparse16, or a"):
        chip_named("sparse2")
