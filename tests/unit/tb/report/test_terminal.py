"""The report of a run: at every width figures stay whole, and what an ONNX model adds is said."""

from __future__ import annotations

import io
import re
from dataclasses import asdict, replace
from typing import Any

import pytest
from rich.console import Console

from golden.int8.quant import QuantisationError
from golden.onnx_import import Judgement
from tb.report.summary import CAUSES, LayerSummary, Summary
from tb.report.terminal import print_summary, shorten
from tb.run.workload import OutputFacts

NAMES = [
    "/model/features/features.0/features.0.0/Conv+/model/features.0.2/Add_output_quantized_maxpool",
    "/model/features/features.17/conv/conv.2/Conv",
    "conv1",
]
CYCLES = 12_345_678


def _summary(**changes: Any) -> Summary:
    causes = dict.fromkeys(CAUSES, 1.0) | {"stream": 100.0, "wait_weight": 50.0}
    layers = [
        LayerSummary(name, "conv+maxpool", CYCLES, CYCLES, 64_000, 0.5, {"weight": 123_456_789}, True, 1.5, causes)
        for name in NAMES
    ]
    kinds = "AveragePool + Reshape + Transpose + Softmax + Mul + ReduceMean"
    head = LayerSummary("/head/ReduceMean", "host", 0, 0, 0, 0.0, {}, True, 0.0, mapping=kinds, host_bytes=9)
    layers.append(replace(head, on_host=True))
    return replace(
        Summary(
            net="model.onnx", cores=4, array="16x16", sim="verilator", schedule="layer by layer", seed=1, pe_count=1024,
            memory={}, lower_bound_cycles=9.0, build_s=1.0, schedule_s=2.0, golden_s=3.0, bit_exact=True, layers=layers,
            nodes=4,
        ),
        **changes,
    )  # fmt: skip


def _shown(summary: Summary, width: int, *, terminal: bool = True) -> str:
    console = Console(file=io.StringIO(), width=width, force_terminal=terminal, color_system=None)
    print_summary(summary, console)
    return re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", console.file.getvalue())


@pytest.mark.parametrize(("width", "terminal"), [*((width, True) for width in (60, 80, 100, 120, 200)), (80, False)])
def test_names_give_way_to_figures(width: int, terminal: bool) -> None:
    shown = _shown(_summary(), width, terminal=terminal)
    lines = shown.splitlines()
    assert max(map(len, lines)) <= (width if terminal else 112)
    (header,) = (number for number, line in enumerate(lines) if line.split()[:2] == ["layer", "op"])
    rows = lines[header + 2 : header + 2 + len(NAMES)]
    for name, row in zip(NAMES, rows, strict=True):
        shortened, op, *figures = row.split()
        head, _, tail = shortened.partition("\u2026")
        assert name.startswith(head)
        assert name.endswith(tail)
        assert min(len(name), 14) <= len(shortened)
        assert op == "conv+maxpool"
        whole = {f"{CYCLES:,}", "+0.0", "50.0", "%", "123.46", "wait_weight", "32.1", "equal"}
        assert set(figures) <= whole, "no figure is cut"
        assert {f"{CYCLES:,}", "+0.0", "equal"} <= set(figures)
        assert width < 80 or {"50.0", "123.46"} <= set(figures)
    assert any(line.split()[:2] == ["total", f"{3 * CYCLES:,}"] for line in lines)
    if width == 200:
        assert all(name in shown for name in NAMES)


def test_energy_is_one_line_by_set_and_what_takes_most() -> None:
    summary = _summary(energy_units={"mine": "pJ", "relative": "MAC"})
    assert "energy" not in _shown(summary, 200)
    spent = {"mine": {"mac": 64_000.0, "dram": 192_000.0}, "relative": {"mac": 64_000.0, "dram": 0.0}}
    summary.layers[0] = replace(summary.layers[0], energy=spent)
    line = "energy, for ratios between runs: mine 1.33 pJ/MAC (dram 75 %), relative 0.33 MAC/MAC (mac 100 %)"
    assert line in _shown(summary, 200)
    figures = summary.as_dict()["energy"]["mine"]
    assert (figures["unit"], figures["total"], figures["edp"]) == ("pJ", 256_000.0, 256_000.0 * 3 * CYCLES)
    assert summary.as_dict()["layers"][0]["edp"]["relative"] == 64_000.0 * CYCLES


@pytest.mark.parametrize(("weights", "shown"), [(0.95, False), (0.5, True)])
def test_densities_are_told_of_networks_with_many_zeros(weights: float, shown: bool) -> None:
    layer = {"weights": weights, "inputs": 0.5, "n_weights": 300, "macs": 100}
    dense = {"weights": weights, "inputs": 1.0, "n_weights": 100, "macs": 300}
    text = _shown(_summary(densities={"a": layer, "b": dense}), 200)
    line = f"{100 * weights:.1f} % of 400 weights are not zero; if zeros fall independently, neither operand of "
    assert (line + f"{87.5 * weights:.1f} % of the multiply-accumulates" in text) == shown
    assert (f"a  weights {100 * weights:.1f} %" in text) == shown


@pytest.mark.parametrize("width", range(1, 9))
def test_text_is_shortened_in_its_middle(width: int) -> None:
    text = shorten("abcdefg", width)
    assert len(text) == min(width, 7)
    assert text == "abcdefg" if width >= 7 else "\u2026" in text
    assert text == "ab\u2026fg" or width != 5


def test_outputs_of_a_model_are_listed_where_there_are_several() -> None:
    error = QuantisationError(0.01, 0.5)
    outputs = [
        OutputFacts("map", (1, 6, 1, 1), "t", "layer", error),
        OutputFacts("flat", (1, 6), "t", "layer", error),
        OutputFacts("image", (1, 3, 8, 8), "image", "input", None),
        OutputFacts("k", (2,), None, "constant", None),
        OutputFacts("integers", (1, 5), "u", "layer", None),
    ]
    shown = _shown(_summary(outputs=[asdict(output) for output in outputs]), 160)
    assert "output map (1, 6, 1, 1): 1.00 % of the outputs' root mean square, at most 0.5 in a value" in shown
    assert "output flat (1, 6): the values of map" in shown
    assert "output image (1, 3, 8, 8): the input itself" in shown
    assert "output k (2,): a constant" in shown
    assert "output integers (1, 5): tensor u" in shown
    assert "output map" not in _shown(_summary(outputs=[asdict(outputs[0])]), 160)


@pytest.mark.parametrize(
    ("judgement", "line"),
    [
        (Judgement(real=True, values=1234, output_difference=2e-7),
         "1,234 float values of the imported layers agree; outputs differ by 2e-07 of their largest value at most"),
        (Judgement(values=1234, output_difference=0.0), "1,234 int8 values of the imported layers are equal"),
        (Judgement(values=1234, ties=3, output_difference=1.0),
         "1,234 int8 values of the imported layers are equal but for 3 rounding ties; outputs differ by 1 steps at "
         "most"),
        (Judgement(values=9, ties=3, saturated=2),
         "9 int8 values of the imported layers are equal but for 3 rounding ties and 2 where its sums saturate on this "
         "processor"),
    ],
)  # fmt: skip
def test_comparison_with_onnx_runtime_is_told(judgement: Judgement, line: str) -> None:
    shown = _shown(_summary(onnxruntime=asdict(judgement)), 200)
    assert f"ONNX Runtime on the unchanged file: {line}\n" in shown


def test_levels_that_differ_and_files_that_do_not_run_are_told() -> None:
    levels = Judgement(values=9, levels=("'y' by up to 1 in 2 of 9 values (ORT_ENABLE_ALL)",))
    shown = _shown(_summary(onnxruntime=asdict(levels)), 200)
    assert "ONNX Runtime's optimisations change its results: 'y' by up to 1 in 2 of 9 values (ORT_ENABLE_ALL)" in shown
    refused = _shown(_summary(onnxruntime=asdict(Judgement("no kernel"))), 200)
    assert "not compared with ONNX Runtime, which does not run the file: no kernel" in refused
