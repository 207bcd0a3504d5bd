"""Parts of ONNX models that the host computes with ONNX Runtime, before, between and behind the runs of the chip."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from golden.errors import OnnxError
from golden.int8.requant import dequantize, quantize

__all__ = [
    "INTEGERS", "LEVELS", "MEANING", "REALS", "Feeds", "HostPart", "Port", "RuntimeRefusal", "Tail", "as_int8",
    "run_model", "run_part", "runtime_identity",
]  # fmt: skip

ERROR_LENGTH = 200
REALS = ("float32", "float16", "float64")
"""Data types of values that the chip holds with a scale."""
INTEGERS = ("int8", "uint8")
"""Data types of values that the chip holds as they are."""

Feeds = Mapping[str, np.ndarray]
"""Values of a model's own inputs, by name."""

LEVELS = ("ORT_DISABLE_ALL", "ORT_ENABLE_BASIC", "ORT_ENABLE_EXTENDED", "ORT_ENABLE_ALL")
"""How far ONNX Runtime may rewrite a model before it runs it."""
MEANING = LEVELS[0]
"""The level that computes what the model's operators say, one by one."""


class RuntimeRefusal(Exception):
    """ONNX Runtime's reason, in one short line, why it does not run a model."""


def storage_shape(shape: tuple[int, ...]) -> tuple[int, int, int]:
    """(C, H, W) as which the chip holds an ONNX value of any shape, its elements in order."""
    sizes = (*(shape[1:] if shape[:1] == (1,) else shape), 1, 1, 1)
    return sizes[0], sizes[1], math.prod(sizes[2:])


def as_int8(value: np.ndarray) -> np.ndarray:
    """The chip's integers for ONNX's: int8 as they are, uint8 moved down by 128."""
    return (value.astype(np.int16) - 128 * (value.dtype == np.uint8)).astype(np.int8)


@dataclass(frozen=True)
class Port:
    """How a part of a model sees one tensor of the chip.

    Attributes
    ----------
    name : str
        Of the ONNX value.
    shape : tuple of int
        Of the ONNX value; the chip holds the same elements in the same order, but where `last`.
    dtype : str
        "int8" and "uint8" are the chip's integers (uint8 moved down by 128), one of `REALS` is what they stand for.
    """

    name: str
    shape: tuple[int, ...]
    dtype: str
    last: bool = False
    """Whether the last dimension is that of the channels: the chip then holds [C, H, W] of what ONNX sees as
    [H, W, C]."""

    @property
    def chw(self) -> tuple[int, int, int]:
        """Shape on the chip: a batch of 1 is dropped, missing dimensions are 1, surplus ones are the map's width."""
        if not self.last:
            return storage_shape(self.shape)
        height, width, rest = storage_shape((1, *self.shape[self.shape[0] == 1 : -1]))
        return self.shape[-1], height, width * rest

    def seen(self, value: np.ndarray) -> np.ndarray:
        """The ONNX value that any[C, H, W] is."""
        return (value.transpose(1, 2, 0) if self.last else value).reshape(self.shape)

    def held(self, value: np.ndarray) -> np.ndarray:
        """The same the other way round: any[C, H, W] of an ONNX value."""
        channels, height, width = self.chw
        return value.reshape(height, width, channels).transpose(2, 0, 1) if self.last else value.reshape(self.chw)

    def to_model(self, raw: np.ndarray, scale: float, zero_point: int) -> np.ndarray:
        """The ONNX value that int8[C, H, W] stands for."""
        if self.dtype in REALS:
            return self.of_reals(dequantize(raw, scale, zero_point))
        if self.dtype == "uint8":
            return (self.seen(raw).astype(np.int16) + 128).astype(np.uint8)
        return self.seen(raw)

    def of_reals(self, values: np.ndarray) -> np.ndarray:
        """The ONNX value of real numbers float[C, H, W]."""
        with np.errstate(over="ignore"):  # of float16
            return self.seen(values).astype(self.dtype)

    def from_model(self, value: np.ndarray, scale: float, zero_point: int) -> np.ndarray:
        """int8[C, H, W] of an ONNX value; what is no number becomes the zero point."""
        value = self.held(value)
        if self.dtype in REALS:
            return quantize(np.nan_to_num(value.astype(np.float64)), scale, zero_point)
        return as_int8(value)


@dataclass(frozen=True, eq=False)
class HostPart:
    """One or more operators with their constants, as a model of its own with one output.

    Attributes
    ----------
    name : str
        Of its last operator.
    kinds : tuple of str
        Its operators, in order; what only quantises and dequantises is left out of both.
    model : bytes
        Serialised ONNX model.
    inputs : tuple of Port
        Tensors of the chip that it reads.
    output : Port
    given : tuple of str
        Inputs of the whole model that it reads besides.
    nodes : tuple of str
        Names of the ONNX nodes in it, views left out.
    """

    name: str
    kinds: tuple[str, ...]
    model: bytes
    inputs: tuple[Port, ...]
    output: Port
    given: tuple[str, ...] = ()
    nodes: tuple[str, ...] = ()

    def run(self, values: Sequence[np.ndarray], given: Feeds | None = None) -> np.ndarray:
        """The output, given the ONNX values of the inputs in their order, and those of the model's own inputs."""
        feeds = {name: (given or {})[name] for name in self.given}
        if self.output.name in feeds:
            value = feeds[self.output.name]
        else:
            feeds |= {port.name: value for port, value in zip(self.inputs, values, strict=True)}
            value = run_part(self.model, feeds, self.output.name)
        if value.size != math.prod(self.output.shape) or value.dtype != self.output.dtype:
            raise OnnxError(
                f"value {self.output.name!r} came out of ONNX Runtime as {value.dtype}{value.shape}, not as "
                f"{self.output.dtype}{self.output.shape}: its shape depends on the data; give the model fixed shapes"
            )
        return value


@dataclass(frozen=True, eq=False)
class Tail:
    """What the host computes behind the last run of the chip: outputs of a model that no tensor of the chip is.

    Attributes
    ----------
    model : bytes
        Serialised ONNX model.
    inputs : tuple of (Port, str)
        How it sees tensors of the chip, and their names in the graph.
    outputs : tuple of str
        Names of the ONNX values.
    given : tuple of str
        Inputs of the whole model that it reads besides.
    nodes : tuple of str
        Names of the ONNX nodes in it, views left out.
    """

    model: bytes
    inputs: tuple[tuple[Port, str], ...]
    outputs: tuple[str, ...]
    given: tuple[str, ...]
    nodes: tuple[str, ...]

    def run(self, values: Mapping[str, np.ndarray], given: Feeds) -> dict[str, np.ndarray]:
        """The outputs, given ONNX values by the graph's name of their tensor."""
        feeds = {name: given[name] for name in self.given}
        feeds |= {port.name: values[name].reshape(port.shape) for port, name in self.inputs}
        passed = {name: feeds[name] for name in self.outputs if name in feeds}
        wanted = [name for name in self.outputs if name not in passed]
        try:
            found = run_model(self.model, feeds, wanted) if wanted else []
        except RuntimeRefusal as error:
            raise OnnxError(
                f"ONNX Runtime cannot compute the outputs {', '.join(wanted)} ({error}); give another SHAPE or IMAGE"
            ) from error
        return passed | dict(zip(wanted, found, strict=True))


def run_part(model: bytes, feeds: Mapping[str, np.ndarray], output: str) -> np.ndarray:
    """One output of a serialised model, as the model means it.

    Raises
    ------
    OnnxError
        If ONNX Runtime refuses the model or fails.
    """
    try:
        (value,) = run_model(model, feeds, [output])
    except RuntimeRefusal as error:
        raise OnnxError(f"ONNX Runtime cannot compute {output!r} ({error}); give another SHAPE or IMAGE") from error
    return value


def runtime_identity() -> tuple[str, str]:
    """What determines the bits that the host computes, beside the model: ONNX Runtime's version and level."""
    import onnxruntime  # takes half a second, and few networks need it

    return onnxruntime.__version__, MEANING


def run_model(
    model: bytes | str, feeds: Mapping[str, np.ndarray], outputs: Sequence[str], level: str = MEANING
) -> list[np.ndarray]:
    """Outputs of a model, serialised or in a file, by ONNX Runtime on one thread: the same bits every time.

    Parameters
    ----------
    level : str
        One of LEVELS. With `MEANING` every operator is computed on its own: the kernels that ONNX Runtime otherwise
        fuses round at other places, and some compute something else.

    Raises
    ------
    RuntimeRefusal
        If ONNX Runtime refuses the model or fails.
    """
    import onnxruntime  # takes half a second, and few networks need it

    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = getattr(onnxruntime.GraphOptimizationLevel, level)
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.use_deterministic_compute = True
    options.log_severity_level = 4
    try:
        session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
        values = session.run(list(outputs), dict(feeds))
    except Exception as error:  # its exceptions have no base of their own
        raise RuntimeRefusal(" ".join(str(error).split())[:ERROR_LENGTH]) from error
    return [_tensor(value) for value in values]


def _tensor(value: object) -> np.ndarray:
    """A value as an array; of a sequence, a map or an absent optional value, an array of one object."""
    if isinstance(value, np.ndarray):
        return value
    made = np.empty((), dtype=object)
    made[()] = value
    return made
