"""Everything that is claimed of the reference models, measured on identities and scenes that no training saw."""

from __future__ import annotations

import hashlib
import json
import shutil
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from facegate_train import _cache, _figures, _measure, _sets
from facegate_train._pictures import SPECIES
from facegate_train._warp import Batch, alignment, plain_table
from facegate_train.errors import CacheError, TrainError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    import numpy.typing as npt

    from facegate_train._cache import Cache, Recipe

    Progress = Callable[[str, int, int], None]

ROLES = ("detector", "recognizer", "liveness")
PRECISIONS = ("float32", "int8")
TARGET_BPCER = 0.025  # on the validation split: half of what is allowed on the test split
_CALIBRATION = 200
_RUNTIME_THRESHOLD = 0.7  # of the YuNet family in a manifest


@dataclass(frozen=True, slots=True)
class Setup:
    """Where things are and how they are run.

    Attributes:
        models: folder of the three ONNX files.
        cache: folder of rendered pictures.
        workers: processes that render.
        threads: CPU threads of a model.
        stale: take pictures of another version of the renderer as they are.
        share: of the pictures, for a trial; 1 for what is reported.
    """

    models: Path
    cache: Path
    workers: int = 2
    threads: int = 2
    stale: bool = False
    share: float = 1.0

    def pictures(self, recipe: Recipe, progress: Progress | None) -> Cache:
        """The cached pictures of a recipe, rendered if need be."""
        return _cache.ensure(self.scaled(recipe), self.cache, workers=self.workers, stale=self.stale, progress=progress)

    def scaled(self, recipe: Recipe) -> Recipe:
        """The recipe, smaller in a trial."""
        return recipe if self.share == 1 else _sets.scaled(recipe, self.share)


def evaluate(setup: Setup, roles: tuple[str, ...] = ROLES, *, progress: Progress | None = None) -> dict[str, Any]:
    """Measure the models; the figures as JSON values.

    Raises:
        TrainError: a model is missing, or pictures cannot be had.
        ConvertError: a model cannot be converted.
    """
    figures: dict[str, Any] = {"renderer": _cache.renderer_fingerprint(), "share": setup.share, "models": {}}
    detectors: dict[str, _measure.Converted] = {}
    for role in ROLES:
        # The detector is needed for the recogniser too: it finds the landmarks.
        if role not in roles and not (role == "detector" and "recognizer" in roles):
            continue
        path = setup.models / f"{role}.onnx"
        if not path.is_file():
            raise TrainError(f"there is no {path}", hint=f"train it: python -m facegate_train {role}")
        calibration = _calibration(role, setup, progress)
        models, facts = {}, {}
        for precision in PRECISIONS:
            if progress:
                progress(f"converting the {role} to {precision}", 0, 0)
            models[precision], facts[precision] = _measure.convert(path, precision, calibration)
        if role == "detector":
            detectors = models
        if role not in roles:
            continue
        found = _MEASURES[role](models, setup, progress, detectors)
        data = path.read_bytes()
        figures["models"][role] = {
            "sha256": hashlib.sha256(data).hexdigest(),
            "bytes": len(data),
            "training": training_of(data),
            "conversion": facts,
            "figures": found,
        }
    return figures


def training_of(data: bytes) -> dict[str, Any]:
    """What an exported model says of its training."""
    import onnx  # noqa: PLC0415 - slow to load

    marks = {entry.key: entry.value for entry in onnx.load_from_string(data).metadata_props}
    found: dict[str, Any] = json.loads(marks.get("facegate.training", "{}"))
    return found


def _calibration(role: str, setup: Setup, progress: Progress | None) -> Path:
    """A folder of pictures of the training split, as PNG, to find int8 ranges with; rendered for it if need be.

    By the renderer of now, whatever the training pictures were made by.
    """
    recipe = setup.scaled(_sets.TRAIN[role])
    settings = hashlib.sha256(json.dumps(recipe.settings, sort_keys=True).encode()).hexdigest()[:8]
    folder = setup.cache / f"calibration-{role}-{_cache.renderer_fingerprint()}-{settings}"
    if not folder.is_dir():
        save_calibration(role, recipe, folder, progress)
    return folder


def save_calibration(role: str, recipe: Recipe, folder: Path, progress: Progress | None = None) -> None:
    """Write pictures for int8 calibration: frames, or crops exactly as the model is fed; of rendered faces only.

    Raises:
        CacheError: the folder cannot be written.
    """
    from PIL import Image  # noqa: PLC0415 - only here

    partial = folder.with_name(folder.name + ".partial")
    numbers = np.linspace(0, recipe.count - 1, min(_CALIBRATION, recipe.count), dtype=int).tolist()
    try:
        shutil.rmtree(partial, ignore_errors=True)
        partial.mkdir(parents=True)
        for done, number in enumerate(numbers):
            Image.fromarray(_calibration_picture(role, recipe.make(number))).save(partial / f"{number:06d}.png")
            if progress:
                progress(f"rendering pictures to calibrate the {role} with", done + 1, len(numbers))
        partial.rename(folder)
    except OSError as error:
        raise CacheError(f"{folder} cannot be written: {error}", hint="name another folder with --cache") from error


def _calibration_picture(role: str, sample: Mapping[str, npt.NDArray[Any]]) -> npt.NDArray[np.uint8]:
    pixels = np.ascontiguousarray(sample["pixels"])
    if role == "detector":
        return pixels
    if role == "liveness":
        return np.ascontiguousarray(pixels[1])
    batch = Batch(1, 112, "RGB")
    matrix, samples = alignment(sample["landmarks"])
    batch.put(0, pixels, matrix, plain_table(0.0, 1.0), samples)
    return np.asarray(batch.array[0], np.uint8)


Models = dict[str, _measure.Converted]


def _detector(models: Models, setup: Setup, progress: Progress | None, _: Models) -> dict[str, Any]:
    validation = setup.pictures(_sets.VALIDATION_EMPTY, progress)
    frames = setup.pictures(_sets.TEST_FRAMES, progress)
    empty = setup.pictures(_sets.TEST_EMPTY, progress)
    found = {}
    for precision, model in models.items():
        tuned = _measure.detections(model, validation, threads=setup.threads, progress=progress)
        threshold = max(_figures.detection_threshold(tuned), 0.0)
        on_test = _measure.detections(model, frames, threads=setup.threads, progress=progress)
        on_empty = _measure.detections(model, empty, threads=setup.threads, progress=progress)
        found[precision] = {
            # What a device runs with no option set, and the lowest threshold that the validation split allows.
            "default": _figures.detection(on_test, on_empty, _RUNTIME_THRESHOLD),
            "tuned": _figures.detection(on_test, on_empty, threshold),
            "validation_false_faces": sum(int((f.scores >= _RUNTIME_THRESHOLD).sum()) for f in tuned),
        }
    return found


def _recognizer(models: Models, setup: Setup, progress: Progress | None, detectors: Models) -> dict[str, Any]:
    cache = setup.pictures(_sets.TEST_PORTRAITS, progress)
    occluded = setup.pictures(_sets.TEST_OCCLUDED, progress)
    truth = cache.all("landmarks")
    poses = cache.all("pose")
    found: dict[str, Any] = {}
    for precision, model in models.items():
        exact = _measure.templates(model, cache, truth, threads=setup.threads, progress=progress)
        threshold = _figures.impostor_threshold(exact)
        points = _measure.found_landmarks(detectors[precision], cache, _RUNTIME_THRESHOLD, threads=setup.threads)
        detected = _measure.templates(model, cache, points, threads=setup.threads, progress=progress)
        own = _figures.impostor_threshold(detected)
        near = np.abs(poses[:, 0]) <= 20  # noqa: PLR2004
        hidden = _measure.templates(model, occluded, occluded.all("landmarks"), threads=setup.threads)
        found[precision] = {
            "true_landmarks": _figures.recognition(exact, threshold),
            "detected_landmarks": _figures.recognition(detected, own),
            "nearly_frontal": _figures.recognition(_subset(detected, near), own),
            "occluded": _figures.recognition(hidden, threshold),
        }
    return found


def _subset(templates: _figures.Templates, keep: npt.NDArray[np.bool_]) -> _figures.Templates:
    return _figures.Templates(templates.vectors[keep], templates.identity[keep], templates.monk[keep])


def _liveness(models: Models, setup: Setup, progress: Progress | None, _: Models) -> dict[str, Any]:
    validation = setup.pictures(_sets.VALIDATION_LIVENESS, progress)
    test = setup.pictures(_sets.TEST_LIVENESS, progress)
    species = test.all("species")
    found = {}
    for precision, model in models.items():
        tuned = _measure.live_scores(model, validation, threads=setup.threads)
        threshold = _figures.liveness_threshold(tuned[validation.all("species") < 0], TARGET_BPCER)
        scores = _measure.live_scores(model, test, threads=setup.threads)
        found[precision] = _figures.liveness(scores, species, SPECIES, threshold)
    return found


_MEASURES = {"detector": _detector, "recognizer": _recognizer, "liveness": _liveness}
