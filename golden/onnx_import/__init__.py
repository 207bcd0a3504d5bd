"""Networks from ONNX files: quantised ones as they are, float ones as a graph to quantise."""

from collections.abc import Mapping
from pathlib import Path

from golden.errors import OnnxError
from golden.onnx_import.feeds import load_feeds, sample_feeds
from golden.onnx_import.floats import import_float
from golden.onnx_import.imported import FloatModel, Output, QuantisedModel
from golden.onnx_import.judge import Judgement, Reference, judge_float, judge_quantised
from golden.onnx_import.model import Shapes
from golden.onnx_import.quantised import import_quantised
from golden.onnx_import.reading import read
from golden.onnx_import.work import HostNode, Share

__all__ = [
    "FloatModel", "HostNode", "Judgement", "Output", "QuantisedModel", "Reference", "Shapes", "Share", "judge_float",
    "judge_quantised", "load_feeds", "load_onnx", "sample_feeds",
]  # fmt: skip


def load_onnx(
    path: str | Path,
    shapes: Shapes | tuple[int, ...] | None = None,
    *,
    refuse: bool = False,
    banned: Mapping[str, str] | None = None,
    values: Mapping[str, float] | None = None,
) -> QuantisedModel | FloatModel:
    """Import an ONNX file; nodes that the chip cannot run become nodes for the host.

    Parameters
    ----------
    shapes : mapping of str to tuple, or (C, H, W), (F,) or the same behind a batch of 1, optional
        Of inputs by name, or of the one input; needed where the file leaves more than the batch open.
    refuse : bool
        Refuse nodes that the chip cannot run, all at once.
    banned : mapping of str to str, optional
        Why nodes are to stay on the host, by name.
    values : mapping of str to float, optional
        Of every element of inputs, by name; these are constants then.

    Raises
    ------
    OnnxError
        In one line, with the node or tensor and the remedy.
    """
    given = {"": tuple(shapes)} if shapes is not None and not isinstance(shapes, Mapping) else shapes
    model = read(path, given, banned=banned, values=values)
    made = import_quantised(model) if model.quantised else import_float(model)
    if refuse and made.share.host:
        reasons = [node.why or f"node {node.name!r} ({node.kind}): it reads the host's" for node in made.share.host]
        raise OnnxError(
            f"{len(reasons)} of {made.share.nodes} nodes cannot run on the chip; leave FALLBACK out, and the host runs "
            f"them: {' | '.join(reasons)}"
        )
    return made
