"""A folder of photographs through a hosted endpoint: one file of features each, which can be gone on with later."""

from __future__ import annotations

import io
import json
import os
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from facegate_convert._files import write_file
from facegate_convert._hosted._crop import EXPANSION, crop_face, encode_png, upright_rgb
from facegate_convert._images import file_sha256, list_images
from facegate_convert.errors import CropError, DatasetError, OutputFileError
from facegate_edge.errors import FrameError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    import numpy.typing as npt
    from typing_extensions import Self

    from facegate_convert._bundles import Model
    from facegate_convert._hosted._client import FeatureClient
    from facegate_edge import Detector, Frame

__all__ = ["JOURNAL", "Collected", "collect_features"]

JOURNAL = "features.jsonl"
"""In the folder of features: a first line about all of them, then one for each photograph that is done."""
_FORMAT = 1
OUTCOMES = ("feature", "no face found here", "no face found by the endpoint", "cannot be read")


@dataclass(frozen=True, slots=True)
class Collected:
    """What became of a folder of photographs.

    Attributes:
        images: photographs in all.
        features: how many have a feature.
        no_face_here: in how many the detector on this machine found none; nothing of them was sent.
        no_face_there: for how many the endpoint answered with an empty feature.
        unreadable: files that are no images.
        before: how many had been done by an earlier run.
        length: D, None if there is no feature.
    """

    images: int
    features: int
    no_face_here: int
    no_face_there: int
    unreadable: int
    before: int
    length: int | None

    def to_dict(self) -> dict[str, object]:
        """For JSON."""
        return asdict(self)


def collect_features(
    images: Path,
    target: Path,
    client: FeatureClient,
    detector: Model | None,
    *,
    lawful_basis: str,
    progress: Callable[[int, int], None] | None = None,
) -> Collected:
    """Ask an endpoint for the feature of the largest face of each photograph in a folder.

    `target/<path without suffix>.npy` holds the feature, float32 (D,), or nothing, float32 (0,), if no face was found.
    What is done is noted in `target/features.jsonl`; a run that was broken off goes on from there. Nothing in the
    folder says where the endpoint is. Only the owner can read it.

    Args:
        images: folder of photographs, with subfolders.
        target: folder for the features; made if it is not there.
        client: of the endpoint.
        detector: finds the faces here; None if the photographs are crops already, which are sent as they are, scaled
            down to 256 pixels.
        lawful_basis: why faces of these people may be sent there, in words; it is noted.
        progress: called with (photographs done, photographs in all).

    Raises:
        DatasetError: the folder cannot be read or holds no photographs, or two have one name but for the suffix.
        OutputFileError: `target` holds something else, or cannot be written.
        EndpointError, FeatureError: what the client raises; what was done so far is kept.
    """
    paths = list_images(images)
    if not paths:
        raise DatasetError(f"{images} holds no photographs", hint="name a folder of image files")
    names = _feature_names(images, paths)
    about = {
        "format": _FORMAT,
        "model_name": client.model_name,
        "detector": detector.info.sha256 if detector is not None else None,
        "expansion": EXPANSION if detector is not None else None,
        "lawful_basis": lawful_basis,
    }
    journal, done = _open_journal(target, about)
    counts = dict.fromkeys(OUTCOMES, 0)
    before = 0
    with journal, ExitStack() as stack:
        detect = stack.enter_context(_Faces(detector)) if detector is not None else None
        for number, path in enumerate(paths, 1):
            digest, name = file_sha256(path), names[path]
            known = done.get(name)
            if known is not None and known[0] == digest:
                outcome = known[1]
                before += 1
            else:
                outcome, feature = _one(path, detect, client)
                _save(target / name, feature)
                line = json.dumps({"feature": name, "sha256": digest, "outcome": outcome})
                journal.write(line + "\n")
                journal.flush()
            counts[outcome] += 1
            if progress:
                progress(number, len(paths))
    features, here, there, unreadable = (counts[outcome] for outcome in OUTCOMES)
    return Collected(len(paths), features, here, there, unreadable, before, client.length)


class _Faces:
    """A detector on its own."""

    def __init__(self, model: Model) -> None:
        from facegate_edge import Detector, make_engine  # noqa: PLC0415 - the engine is loaded where it is used

        self._engine = make_engine(model.data, threads=2)
        self._detector: Detector = Detector(model.info, self._engine)

    def largest(self, frame: Frame) -> npt.NDArray[np.float32] | None:
        faces = self._detector.detect(frame)
        boxes = [face.box for face in faces]
        return max(boxes, key=lambda b: float((b[2] - b[0]) * (b[3] - b[1]))) if boxes else None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._engine.close()


def _one(path: Path, faces: _Faces | None, client: FeatureClient) -> tuple[str, npt.NDArray[np.float32]]:
    """What becomes of one photograph, and its feature, empty if there is none."""
    from facegate_convert._hosted._crop import shrink  # noqa: PLC0415
    from facegate_edge import load_image  # noqa: PLC0415

    nothing = np.empty(0, np.float32)
    try:
        frame = load_image(path)
        pixels = upright_rgb(frame)
        if faces is None:
            crop = shrink(pixels)
        else:
            box = faces.largest(frame)
            if box is None:
                return "no face found here", nothing
            crop = crop_face(pixels, box)
    except FrameError:
        return "cannot be read", nothing
    except CropError:  # a box beside the image
        return "no face found here", nothing
    feature = client.features(encode_png(crop))
    return ("no face found by the endpoint", nothing) if feature is None else ("feature", feature)


def _feature_names(folder: Path, paths: Sequence[Path]) -> dict[Path, str]:
    """Where the feature of each photograph goes. Raises DatasetError if two would have the same place."""
    names = {path: path.relative_to(folder).with_suffix(".npy").as_posix() for path in paths}
    if len(set(names.values())) < len(names):
        raise DatasetError(
            "two photographs in one folder have the same name but for the suffix",
            hint="each photograph's feature is named after it: rename one of them",
        )
    return names


def _save(path: Path, feature: npt.NDArray[np.float32]) -> None:
    buffer = io.BytesIO()
    np.save(buffer, feature, allow_pickle=False)
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise OutputFileError(
            f"{path.parent} cannot be made: {error.strerror}", hint="choose another folder"
        ) from error
    write_file(path, [buffer.getvalue()], mode=0o600)


def _open_journal(target: Path, about: dict[str, object]) -> tuple[Any, dict[str, tuple[str, str]]]:
    """The journal, open for more lines, and what it says is done: feature's name -> photograph's sha256, outcome."""
    path = target / JOURNAL
    done: dict[str, tuple[str, str]] = {}
    try:
        target.mkdir(mode=0o700, parents=True, exist_ok=True)
        if path.exists():
            whole, done = _read_journal(path, about)
            os.truncate(path, whole)
        elif any(target.iterdir()):
            raise OutputFileError(f"{target} holds something else", hint="name a new folder")
        descriptor = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    except OSError as error:
        if isinstance(error, OutputFileError):
            raise
        raise OutputFileError(f"{target} cannot be written: {error.strerror}", hint="choose another folder") from error
    journal = os.fdopen(descriptor, "a", encoding="ascii")
    if not path.stat().st_size:
        journal.write(json.dumps(about) + "\n")
        journal.flush()
    return journal, done


def _read_journal(path: Path, about: dict[str, object]) -> tuple[int, dict[str, tuple[str, str]]]:
    """Bytes of complete lines, and what they say. Raises OutputFileError if they are about something else."""
    done: dict[str, tuple[str, str]] = {}
    whole = 0
    with path.open("rb") as file:
        for line in file:
            if not line.endswith(b"\n"):
                break  # broken off while it was written
            try:
                entry = json.loads(line)
                if not whole:
                    right = entry == about
                else:
                    right = entry["outcome"] in OUTCOMES
                    done[entry["feature"]] = (entry["sha256"], entry["outcome"])
            except (ValueError, KeyError, TypeError):
                right = False
            if not right:
                raise OutputFileError(
                    f"{path.parent} holds features that were made in another way",
                    hint="model, detector and lawful basis must be the same to go on; or name a new folder",
                )
            whole += len(line)
    return whole, done
