"""Models of older operator sets in a newer one, by onnx's own converter, as far as that leaves their meaning."""

from collections.abc import Sequence

import numpy as np
import onnx
from onnx import version_converter

from golden.errors import OnnxError
from golden.int8.fallback import Port, RuntimeRefusal
from golden.onnx_import.feeds import sample_feeds
from golden.onnx_import.trial import try_model

__all__ = ["FIRST_OPSET", "convert", "near"]

FIRST_OPSET = 13
"""The oldest operator set whose operators the import knows."""
TARGET_OPSET = 17
TOLERANCE = 1e-4
"""Part of an output's largest value by which the converted model may differ; kernels may sum in another order."""


def convert(proto: onnx.ModelProto, inputs: Sequence[Port]) -> tuple[onnx.ModelProto, bool]:
    """The model in an operator set that the import knows, and whether that could be done.

    A model that the converter cannot convert, or not without changing what ONNX Runtime computes on an input, stays as
    it is: the chip then gets the operators that never changed.

    Raises
    ------
    OnnxError
        If the model names no operator set.
    """
    versions = [entry.version for entry in proto.opset_import if entry.domain in ("", "ai.onnx")]
    if not versions:
        raise OnnxError(f"model {proto.graph.name!r} names no operator set; export it again")
    if min(versions) >= FIRST_OPSET:
        return proto, True
    try:
        made = version_converter.convert_version(proto, TARGET_OPSET)
        return (made, True) if _same(proto, made, inputs) else (proto, False)
    except Exception:  # the converter raises whatever its adapters do, RuntimeError mostly
        return proto, False


def _same(old: onnx.ModelProto, new: onnx.ModelProto, inputs: Sequence[Port]) -> bool:
    """Whether both compute the same of seeded inputs."""
    names = [value.name for value in old.graph.output]
    if names != [value.name for value in new.graph.output]:
        return False
    feeds = sample_feeds(inputs)
    try:
        before, after = (try_model(proto.SerializeToString(), feeds, names) for proto in (old, new))
    except RuntimeRefusal:
        return False
    return all(near(a, b) for a, b in zip(before, after, strict=True))


def near(a: np.ndarray, b: np.ndarray) -> bool:
    """Whether two outputs are one but for the order of sums."""
    if a.shape != b.shape or a.dtype != b.dtype or a.dtype.kind not in "fiub":
        return False
    with np.errstate(all="ignore"):
        reach = float(np.nan_to_num(np.abs(a.astype(np.float64))).max(initial=0.0)) or 1.0
        return bool(np.allclose(a.astype(np.float64), b, rtol=0, atol=TOLERANCE * reach, equal_nan=True))
