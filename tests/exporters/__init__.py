"""Models as exporters of other tools write them: pinned versions, each tool in an environment of its own."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from tb.model.cache import default_cache_dir

__all__ = ["TOOLS", "Tool", "exported"]


@dataclass(frozen=True)
class Tool:
    """One tool with its exporters.

    Attributes
    ----------
    script : str
        Beside this file; writes its models into the folder that it is given.
    packages : tuple of str
        What pip installs, with versions.
    files : tuple of str
        What it writes, as MODEL-EXPORTER; the batch of each is open.
    """

    script: str
    packages: tuple[str, ...]
    files: tuple[str, ...]

    @property
    def name(self) -> str:
        """Of the environment."""
        return self.packages[0].replace("==", "-")


TOOLS = (
    Tool(
        "with_torch.py",
        ("torch==2.13.0", "onnxscript==0.7.2", "onnx==1.23.2"),
        tuple(
            f"{model}-{exporter}"
            for model in ("residual", "gated", "segmenting", "signal", "attention")
            for exporter in ("torchscript", "dynamo")
        ),
    ),
    Tool(
        "with_keras.py",
        ("tensorflow-cpu==2.19.1", "tf2onnx==1.17.0", "keras==3.15.1"),
        tuple(f"{model}-tf2onnx" for model in ("residual", "gated", "segmenting", "signal")),
    ),
)


def exported(tool: Tool) -> dict[str, Path]:
    """The files of a tool, by name; the environment is made once, in the cache folder, and so are they.

    Raises
    ------
    subprocess.CalledProcessError
        If pip cannot install the tool, or it cannot export.
    """
    script = Path(__file__).with_name(tool.script)
    folder = default_cache_dir() / "exporters" / tool.name
    paths = {name: folder / f"{name}.onnx" for name in tool.files}
    written = folder / tool.script
    if not written.exists() or written.read_bytes() != script.read_bytes():
        environment = folder / "environment"
        python = environment / "bin" / "python"
        if not (environment / ".ready").exists():
            subprocess.run([sys.executable, "-m", "venv", "--clear", str(environment)], check=True)
            subprocess.run([str(python), "-m", "pip", "install", "-qq", *tool.packages], check=True)
            (environment / ".ready").touch()
        subprocess.run([str(python), str(script), str(folder)], check=True, capture_output=True, cwd=folder)
        written.write_bytes(script.read_bytes())
    return paths
