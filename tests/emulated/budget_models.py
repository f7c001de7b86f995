"""The models whose runs are counted: the project's own, and real ones where they lie beside the project.

Those that are not there as TFLite are converted here; int8 ones are calibrated on noise, because what a run takes does
not depend on the values in it. What is made is kept beside the emulated machines.
"""

from __future__ import annotations

import hashlib
import importlib.util
import json
import os
import tempfile
import zipfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from counting import ROOT
from errors import MachineError

REFERENCE = ROOT / "converters/facegate_convert/reference"
SHARED = Path(os.environ.get("FACEGATE_SHARED") or ROOT.parent / "shared") / "models"
ROLES = ("detector", "recognizer", "liveness")
PRECISIONS = ("float32", "int8")
NOISE = 12  # pictures


@dataclass(frozen=True, slots=True)
class Model:
    """A model in one precision.

    Attributes:
        name: "reference/ROLE/PRECISION" or "real/NAME/PRECISION".
        source: the ONNX file, or the bundle that has it.
        size: (width, height) of its input.
    """

    name: str
    source: Path
    size: tuple[int, int]

    @property
    def precision(self) -> str:
        """float32 or int8."""
        return self.name.rsplit("/", 1)[1]

    @property
    def role(self) -> str:
        """The middle of the name."""
        return self.name.split("/")[1]

    def missing(self) -> str:
        """Why it cannot be counted here; empty if it can."""
        if not self.source.exists():
            return f"{self.source.name} is not there: put the real models into {SHARED}"
        if self.source.suffix == ".onnx":
            for needed in ("facegate_convert", "onnx", "ai_edge_quantizer"):
                if importlib.util.find_spec(needed) is None:
                    return f"{needed} is not installed: pip install 'facegate[convert]'"
        return ""


_SIZES = {"detector": (320, 320), "recognizer": (112, 112), "liveness": (80, 80)}
_REAL = {
    "mobilefacenet-relu6": ("mobilefacenet-foamliu/mobilefacenet_dynbatch.onnx", (112, 112)),
    "mobilefacenet-prelu": ("mobilefacenet-zqcnn/mobilefacenet_zqcnn.onnx", (112, 112)),
    "scrfd-500m": ("scrfd-500m/scrfd_500m_bnkps_shape320x320.onnx", (320, 320)),
    "yunet-n": ("yunet/yunet_n_320_320.onnx", (320, 320)),
    "minifasnet-v2": ("minifasnet/2.7_80x80_MiniFASNetV2.onnx", (80, 80)),
}


def models() -> tuple[Model, ...]:
    """All of them, also those that are not there."""
    bundle = ROOT / "sdk/facegate/reference.fgb"
    own = [
        Model(
            f"reference/{role}/{precision}",
            bundle if precision == "int8" else REFERENCE / f"{role}.onnx",
            _SIZES[role],
        )
        for role in ROLES
        for precision in PRECISIONS
    ]
    real = [
        Model(f"real/{name}/{precision}", SHARED / path, size)
        for name, (path, size) in _REAL.items()
        for precision in PRECISIONS
    ]
    return (*own, *real)


def tflite(model: Model, cache: Path) -> Path:
    """The model's TFLite file, converted at the first time.

    Args:
        model: one that is not `missing`.
        cache: folder of what is made.

    Raises:
        MachineError: the conversion failed.
    """
    digest = hashlib.sha256(model.source.read_bytes()).hexdigest()[:16]
    path = cache / f"{model.name.replace('/', '-')}-{digest}.tflite"
    if path.exists():
        return path
    cache.mkdir(parents=True, exist_ok=True)
    content = _from_bundle(model) if model.source.suffix == ".fgb" else _converted(model)
    new = path.with_suffix(f".{os.getpid()}")
    new.write_bytes(content)
    new.replace(path)
    return path


def _from_bundle(model: Model) -> bytes:
    with zipfile.ZipFile(model.source) as bundle:
        entries = json.loads(bundle.read("manifest.json"))["models"]
        return bundle.read(next(entry["file"] for entry in entries if entry["role"] == model.role))


def _converted(model: Model) -> bytes:
    from PIL import Image  # noqa: PLC0415

    from facegate_convert._convert import Options, convert  # noqa: PLC0415 - heavy, and only where it is needed
    from facegate_convert.errors import ConvertError  # noqa: PLC0415

    rng = np.random.default_rng(0)
    with tempfile.TemporaryDirectory(prefix="noise-") as folder:
        for number in range(NOISE):
            coarse = Image.fromarray(rng.integers(0, 256, (16, 16, 3), np.uint8))
            coarse.resize(model.size, Image.Resampling.BICUBIC).save(Path(folder, f"{number}.png"))
        options = Options(
            precision=model.precision,
            calibration=Path(folder) if model.precision == "int8" else None,
            input_size=model.size,
            measure_latency=False,
            allow_drift=True,
            allow_slower=True,
            allow_partitions=True,
        )
        try:
            return convert(model.source, options).model
        except ConvertError as error:
            raise MachineError(f"{model.name} cannot be converted: {error}", error.hint) from error
