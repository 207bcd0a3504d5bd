"""onnx's own tests of single operators: results of the chip are onnx's, and the document counts them right."""

from pathlib import Path

from tests.onnx_backend import table

DOCUMENT = Path(__file__).parents[4] / "docs" / "operators.md"


def test_document_counts_onnx_tests() -> None:
    """Whatever runs on the chip is compared on the way."""
    assert table() in DOCUMENT.read_text(), "write docs/operators.md anew: python -m tests.onnx_backend"
