"""Fixtures shared by all rooms."""

from __future__ import annotations

import hashlib
import importlib.util
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import settings

from facegate_edge import _manifest as m

from . import material as materials

if TYPE_CHECKING:
    from collections.abc import Callable

# onnxruntime's wheels report each session to their maker unless told not to, and tests touch no network.
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")

# The same examples every time: a red run can be repeated, and a green one is not luck.
settings.register_profile("facegate", derandomize=True, deadline=None, print_blob=True)
settings.load_profile("facegate")


def _shared() -> Path | None:
    """The folder with real models and photographs, which is not part of the project."""
    named = os.environ.get("FACEGATE_SHARED")
    candidates = [Path(named)] if named else [parent / "shared" for parent in Path(__file__).resolve().parents[1:3]]
    return next((c for c in candidates if (c / "models").is_dir() and (c / "faces").is_dir()), None)


@pytest.fixture(scope="session")
def shared() -> Path:
    """Real ONNX models (models/) and photographs (faces/); skips where they are absent."""
    found = _shared()
    if found is None:
        pytest.skip("needs real models and photographs: put them in ../shared or name the folder in FACEGATE_SHARED")
    return found


@pytest.fixture(scope="session")
def reference_models() -> Path:
    """The folder of the project's own models, as the installed package has it."""
    package = importlib.util.find_spec("facegate_convert").submodule_search_locations[0]
    return Path(package) / "reference"


@pytest.fixture(scope="session")
def onnx_path(request, reference_models) -> Callable[[str], Path]:
    """A function: an ONNX file's name -> where it is.

    "reference/..." is one of the project's own models; all other names are real models' under ../shared/models.
    """

    def path(name: str) -> Path:
        if not name.startswith("reference/"):
            return request.getfixturevalue("shared") / "models" / name
        return reference_models.parent / name

    return path


@pytest.fixture(scope="session")
def rendered(tmp_path_factory) -> materials.Rendered:
    """The reference models, and rendered people to try them on."""
    return materials.Rendered(tmp_path_factory.mktemp("rendered"))


@pytest.fixture(scope="session")
def material_of(request) -> Callable[[str], materials.Rendered | materials.Real]:
    """A function: "rendered" or "real" -> models and pictures to try them on; real ones are skipped where absent."""
    made = {}

    def get(kind: str) -> materials.Rendered | materials.Real:
        if kind not in made:
            fixture = request.getfixturevalue("rendered" if kind == "rendered" else "shared")
            made[kind] = fixture if kind == "rendered" else materials.Real(fixture)
        return made[kind]

    return get


@pytest.fixture(scope="session", params=materials.KINDS)
def material(request, material_of) -> materials.Rendered | materials.Real:
    """Models and pictures to try them on: the project's own always, real ones where they are."""
    return material_of(request.param)


RECOGNIZER = b"recognizer " * 20  # no model: whoever reads a bundle never looks into one
DETECTOR = b"detector " * 30
LIVENESS = b"liveness " * 10
TEMPLATE_LENGTH = 128


def _model(
    role: str, family: str, data: bytes, side: int, outputs: dict[str, tuple[int, ...]], **info: Any
) -> m.ModelInfo:
    tensor = m.TensorInfo("image", (1, side, side, 3), "float32")
    return m.ModelInfo(
        role=role,
        family=family,
        precision="float32",
        file=f"models/{role}.tflite",
        size=len(data),
        sha256=hashlib.sha256(data).hexdigest(),
        input=m.InputInfo(tensor, "RGB", (127.5, 127.5, 127.5), (1 / 128, 1 / 128, 1 / 128)),
        outputs=tuple(m.TensorInfo(name, shape, "float32") for name, shape in outputs.items()),
        provenance=m.ModelProvenance("0" * 64, "Apache-2.0", True, "0.1.0", "", {"out": {"cosine_min": 0.999}}),
        **info,
    )


@pytest.fixture(scope="session")
def make_manifest() -> Callable[..., m.Manifest]:
    """Makes a valid manifest of the given roles; keywords replace its fields."""
    points = ((38.3, 51.7), (73.5, 51.5), (56.0, 71.7), (41.5, 92.4), (70.7, 92.2))
    recognizer = _model(
        "recognizer",
        "arcface",
        RECOGNIZER,
        112,
        {"embedding": (1, TEMPLATE_LENGTH)},
        recognizer=m.RecognizerInfo("embedding", TEMPLATE_LENGTH, "test-space", points),
    )
    heads = tuple(m.DetectorHead(s, f"score_{s}", f"box_{s}", f"points_{s}") for s in (8, 16))
    outputs = {}
    for stride, rows in ((8, 32), (16, 8)):
        outputs |= {f"score_{stride}": (rows, 1), f"box_{stride}": (rows, 4), f"points_{stride}": (rows, 10)}
    detector = _model(
        "detector",
        "scrfd",
        DETECTOR,
        32,
        outputs,
        detector=m.DetectorInfo(heads, (8, 16), 2, (), (0.1, 0.2), 0.5, 0.4),
    )
    liveness = _model(
        "liveness",
        "minifasnet",
        LIVENESS,
        80,
        {"logits": (1, 3)},
        liveness=m.LivenessInfo("logits", 3, 1, 2.7, square=False, border="shift"),
    )
    models = {"detector": detector, "recognizer": recognizer, "liveness": liveness}

    def make(*roles: str, **changes: Any) -> m.Manifest:
        points = tuple(
            m.OperatingPoint(fmr, threshold, fmr * 2, 0.01, 0.005, 0.02, 3000, 100_000, "1" * 64)
            for fmr, threshold in ((1e-3, 0.5), (1e-4, 0.6))
        )
        fields: dict[str, Any] = {
            "format": m.FORMAT_VERSION,
            "name": "test",
            "version": "1.2.3",
            "created": "2026-01-02T03:04:05Z",
            "minimum_runtime": "0.1.0",
            "target": "generic",
            "models": tuple(models[role] for role in roles or ("detector", "recognizer")),
            "operating_points": points,
            "intended_use": "tests",
            "prohibited_uses": ("emotion recognition",),
        }
        return m.Manifest(**(fields | changes))

    return make


@pytest.fixture(scope="session")
def model_bytes() -> dict[str, bytes]:
    """What stands for the models of `make_manifest`'s bundles."""
    return {"detector": DETECTOR, "recognizer": RECOGNIZER, "liveness": LIVENESS}
