"""The tools that the project knows, by name. A new one is a file in `write` and in `read`, and a line here."""

from __future__ import annotations

from tb.errors import BenchError
from tb.foreign.read.maestro import read_maestro
from tb.foreign.read.onnxim import read_onnxim
from tb.foreign.read.scalesim import read_scalesim
from tb.foreign.read.stream import read_stream
from tb.foreign.read.timeloop import read_timeloop
from tb.foreign.read.zigzag import read_zigzag
from tb.foreign.tool import Tool
from tb.foreign.write.maestro import write_maestro
from tb.foreign.write.onnxim import write_onnxim
from tb.foreign.write.scalesim import write_scalesim
from tb.foreign.write.stream import write_stream
from tb.foreign.write.timeloop import write_timeloop
from tb.foreign.write.zigzag import write_zigzag

__all__ = ["TOOLS", "find_tool"]

TOOLS = {
    "scalesim": Tool(
        "SCALE-Sim", "3.0.0", write_scalesim, read_scalesim, "python run.py",
        ("scalesim==3.0.0", "numpy==1.26.4", "pandas==2.2.3"),
    ),
    "zigzag": Tool(
        "ZigZag", "3.9.1", write_zigzag, read_zigzag, "python run.py", ("zigzag-dse==3.9.1", "six==1.17.0")
    ),
    "stream": Tool(
        "Stream", "28fb901", write_stream, read_stream,
        "its API with hardware.yaml, L<n>/workload.yaml and L<n>/mapping.yaml, for every n; summary.yaml into L<n>",
    ),
    "timeloop": Tool(
        "Timeloop", "3", write_timeloop, read_timeloop,
        "timeloop-mapper arch.yaml constraints.yaml mapper.yaml L<n>/problem.yaml -o L<n>, for every n",
    ),
    "onnxim": Tool(
        "ONNXim", "a1e8629", write_onnxim, read_onnxim,
        "Simulator --config config.json --models_list L<n>/models.json > L<n>/log.txt, for every n",
    ),
    "maestro": Tool(
        "MAESTRO", "1", write_maestro, read_maestro,
        "maestro --HW_file=hardware.m --Mapping_file=mapping.m --print_res_csv_file=true",
    ),
}  # fmt: skip


def find_tool(name: str) -> Tool:
    """The tool of that name.

    Raises
    ------
    BenchError
        If there is none.
    """
    if name not in TOOLS:
        raise BenchError(f"unknown tool {name!r}; choose one of {', '.join(TOOLS)}")
    return TOOLS[name]
