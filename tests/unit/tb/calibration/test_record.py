"""The record of a calibration survives its file, and the page says what it holds."""

from dataclasses import replace

import pytest

from estimator import Bands, Evidence
from tb.calibration.page import page
from tb.calibration.picture import picture
from tb.calibration.record import Calibration, JudgedKernel, JudgedMapping
from tb.calibration.validation import JudgedLayer, coverage, errors_by, folds_of, team
from tb.errors import BenchError


def layer(number: int, error: float, net: str = "a") -> JudgedLayer:
    cycles = 4000 + number
    before, after, low, high = (round(cycles * factor, 4) for factor in (1.2, 1 + error, 0.9, 1.05))
    return JudgedLayer(
        net, "4cores", 4, "layers", f"conv{number}", "conv", "2 x 2", cycles, before, after, low, high,
        "router 1 east", 0.75, 0.5, {"stream": 3000.0, "wait_act": 1000.0}, {"stream": 3000.0, "wait_act": 500.0},
    )  # fmt: skip


def found() -> Calibration:
    layers = (layer(1, 0.10), layer(2, -0.05), layer(3, 0.01, "b"))
    layers = (replace(layers[0], high=3900.0), *layers[1:])
    mapping = JudgedMapping("a", "4cores", "conv1", "conv", 1020, ((1.0, 1000), (2.0, 1020)))
    return Calibration(
        "abc", "def", "full", 1, "the fit lowers the cost", {"hop": (3.0, 2.0), "signal": (8.0, 8.0)},
        {"hop": Evidence(3.0, (1.5, 2.5), ("load",)), "signal": Evidence(8.0)},
        (JudgedKernel("one", "load", "load 1", 200, 220.0, 202.0, fitted=False),), (("a",), ("b",)), layers,
        Bands({"all": (0.9, 1.1)}, {"all": 3}), (mapping,),
    )  # fmt: skip


def test_a_record_survives_its_file(tmp_path) -> None:
    found().save(tmp_path / "x.json")
    assert Calibration.load(tmp_path / "x.json") == found()


@pytest.mark.parametrize("text", ["", "{}", "[]", '{"kernels": 3}'])
def test_another_file_is_refused(tmp_path, text: str) -> None:
    (tmp_path / "x.json").write_text(text)
    with pytest.raises(BenchError, match=r"run make calibrate"):
        Calibration.load(tmp_path / "x.json")


def test_errors_are_signed_and_bands_counted() -> None:
    layers = found().layers
    errors = errors_by(layers, team)["2-8 cores"]
    assert errors.bias == pytest.approx(0.02)
    assert errors.mean == pytest.approx(0.16 / 3)
    assert errors.worst == pytest.approx(0.10)
    assert coverage(layers) == (pytest.approx(2 / 3), 3)


def test_the_page_says_what_was_found() -> None:
    text = page(found(), "x.svg")
    for part in (
        "No kernel constrains signal",
        "1.5 to 2.5",
        "+10.0 %",
        "router 1 east 0.75 (thought 0.00), blocked 0.50",
        "2.00 %",
        "66.7 %",
    ):
        assert part in text
    assert picture(found()) == picture(found())


def test_folds_hold_every_network_once_and_follow_the_seed() -> None:
    names = ["e", "a", "d", "b", "c", "a"]
    assert sorted(sum(folds_of(names, 1), ())) == ["a", "b", "c", "d", "e"]
    assert folds_of(names, 1) == folds_of(reversed(names), 1)
