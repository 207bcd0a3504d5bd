"""What exporters of other tools write, with the plain command: slow tests, which install these tools once."""

from __future__ import annotations

import pytest

from tests.exporters import TOOLS, Tool, exported
from tests.exporters.__main__ import checked

pytestmark = pytest.mark.slow


@pytest.mark.parametrize("tool", TOOLS, ids=lambda tool: tool.name)
def test_every_exported_model_is_what_onnx_runtime_computes(tool: Tool) -> None:
    for name, path in exported(tool).items():
        summary = checked(path)
        assert summary.onnxruntime is not None, name
        assert summary.onnxruntime["refusal"] == "", name
        assert summary.onnxruntime["values"] > 0, name
        assert summary.estimated_cycles > 0, name
