"""Lists of layers of other tools on the RTL, whole: every bit, and a launch for each layer."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from tb.errors import BenchError
from tb.run.options import RunOptions
from tb.run.run import Run
from tb.run.workload import load_workload
from tests.cases import CHIPS
from tests.unit.golden.layer_lists.test_scalesim import HEADER
from tests.unit.golden.layer_lists.test_zigzag import network

TOPOLOGY = HEADER + (
    "Conv1, 18, 18, 3, 3, 3, 8, 2\nConv2DP, 10, 10, 3, 3, 16, 2, 1,\nConv3, 8, 8, 1, 1, 24, 20, 2,#up\n"
    "FC, 1, 1, 1, 1, 100, 30, 1, 1:1,\n"
)
PRODUCTS = "Layer,M,N,K,\nqkv,20,24,16,\nmlp,13,8,40,\n"


@pytest.mark.parametrize("file", ["conv.csv", "gemm.csv", "chain.yaml"])
def test_every_bit_of_a_list_of_layers_is_equal(file: str, tmp_path: Path) -> None:
    text = {"conv.csv": TOPOLOGY, "gemm.csv": PRODUCTS, "chain.yaml": yaml.safe_dump(network())}[file]
    (tmp_path / file).write_text(text)
    options = RunOptions("test", CHIPS["2x1_16x4"], runs_dir=tmp_path / "runs", optimise=False)
    summary = Run(options, lambda: load_workload(str(tmp_path / file), batch=2), file).execute()
    assert summary.first_difference is None
    assert summary.bit_exact
    launches = {layer.name.split("@")[0] for layer in summary.layers if not layer.on_host}
    if file.endswith(".csv"):
        assert launches == {line.split(",")[0] for line in text.splitlines()[1:]}


def test_layers_are_chosen_by_their_names_and_have_no_weights_of_their_own(tmp_path: Path) -> None:
    (tmp_path / "net.csv").write_text(TOPOLOGY)
    work = load_workload(str(tmp_path / "net.csv"), layers="Conv3,FC")
    assert [node.name for node in work.graph.nodes if node.op != "host"] == ["Conv3", "FC"]
    with pytest.raises(BenchError, match=r"WEIGHTS=w.npz makes no sense: .* gives sizes alone"):
        load_workload(str(tmp_path / "net.csv"), weights=Path("w.npz"))
    with pytest.raises(BenchError, match="net has no layer 'Conv9'; it has Conv1"):
        load_workload(str(tmp_path / "net.csv"), layers="Conv9")
