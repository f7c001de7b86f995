"""A folder of photographs through a hosted endpoint: one file of features each, which can be gone on with later."""

from __future__ import annotations

import io
import json
import os
from collections import deque
from concurrent.futures import ThreadPoolExecutor, wait
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from functools import partial
from queue import SimpleQueue
from typing import TYPE_CHECKING, Any, TextIO

import numpy as np

from facegate_convert._files import write_file
from facegate_convert._hosted._crop import EXPANSION, crop_face, encode_png, shrink, upright_rgb
from facegate_convert._images import file_sha256, list_images
from facegate_convert.errors import CropError, DatasetError, FeatureError, OutputFileError
from facegate_edge.errors import FrameError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from concurrent.futures import Future
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
_LAST_SECONDS = 5.0  # for what is under way when something fails
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
    clients: Sequence[FeatureClient],
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
        clients: of the endpoint, all alike; so many requests are under way at a time.
        detector: finds the faces here; None if the photographs are crops already, which are sent as they are, scaled
            down to 256 pixels.
        lawful_basis: why faces of these people may be sent there, in words; it is noted.
        progress: called with (photographs done, photographs in all).

    Raises:
        DatasetError: the folder cannot be read or holds no photographs, or two have one name but for the suffix.
        OutputFileError: `target` holds something else, or cannot be written.
        EndpointError, FeatureError: what the client raises; what was answered so far is kept.
    """
    paths = list_images(images)
    if not paths:
        raise DatasetError(f"{images} holds no photographs", hint="name a folder of image files")
    names = _feature_names(images, paths)
    about = {
        "format": _FORMAT,
        "model_name": clients[0].model_name,
        "detector": detector.info.sha256 if detector is not None else None,
        "expansion": EXPANSION if detector is not None else None,
        "lawful_basis": lawful_basis,
    }
    file, done = _open_journal(target, about)
    before = 0
    with file, _Asking(clients) as asking, ExitStack() as stack:
        record = _Record(file, target, len(paths), progress)
        detect = stack.enter_context(_Faces(detector)) if detector is not None else None
        for path in paths:
            digest, name = file_sha256(path), names[path]
            known = done.get(name)
            if known is not None and known[0] == digest:
                before += 1
                record.count(known[1])
                continue
            outcome, png = _look(path, detect)
            if png is None:
                record.add(name, digest, outcome, None)
            else:
                asking.ask(png, partial(record.answered, name, digest))
        asking.finish()
    feature, here, there, unreadable = (record.counts[outcome] for outcome in OUTCOMES)
    return Collected(len(paths), feature, here, there, unreadable, before, record.length)


class _Record:
    """What is done, in files and figures."""

    def __init__(self, journal: TextIO, target: Path, total: int, progress: Callable[[int, int], None] | None) -> None:
        self._journal = journal
        self._target = target
        self._total = total
        self._progress = progress
        self.counts = dict.fromkeys(OUTCOMES, 0)
        self.length: int | None = None

    def answered(self, name: str, digest: str, feature: npt.NDArray[np.float32] | None) -> None:
        """The endpoint has answered for a photograph."""
        if feature is not None:
            if self.length not in (None, feature.size):  # two clients, two first answers
                raise FeatureError("features of one model have two lengths", hint="ask whoever runs the endpoint")
            self.length = feature.size
        self.add(name, digest, "no face found by the endpoint" if feature is None else "feature", feature)

    def add(self, name: str, digest: str, outcome: str, feature: npt.NDArray[np.float32] | None) -> None:
        """Keep what became of a photograph: the feature first, then the note that it is done."""
        _save(self._target / name, np.empty(0, np.float32) if feature is None else feature)
        self._journal.write(json.dumps({"feature": name, "sha256": digest, "outcome": outcome}) + "\n")
        self._journal.flush()
        self.count(outcome)

    def count(self, outcome: str) -> None:
        """One more photograph is done."""
        self.counts[outcome] += 1
        if self._progress:
            self._progress(sum(self.counts.values()), self._total)


class _Asking:
    """Several requests at a time, each with a client of its own; answers come in the order of the questions."""

    def __init__(self, clients: Sequence[FeatureClient]) -> None:
        self._pool = ThreadPoolExecutor(len(clients))
        self._clients = tuple(clients)
        self._idle: SimpleQueue[FeatureClient] = SimpleQueue()
        for client in clients:
            self._idle.put(client)
        self._ahead = 2 * len(clients)
        self._waiting: deque[tuple[Future[Any], Callable[[Any], None]]] = deque()

    def ask(self, png: bytes, tell: Callable[[Any], None]) -> None:
        """Send a crop as soon as a client is free; hand on the oldest answer if many are under way."""
        self._waiting.append((self._pool.submit(self._send, png), tell))
        if len(self._waiting) > self._ahead:
            self._hand_on()

    def finish(self) -> None:
        """Hand on all answers."""
        while self._waiting:
            self._hand_on()

    def _send(self, png: bytes) -> npt.NDArray[np.float32] | None:
        client = self._idle.get()
        try:
            return client.features(png)
        finally:
            self._idle.put(client)

    def _hand_on(self) -> None:
        future, tell = self._waiting.popleft()
        tell(future.result())

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, _: object, __: object) -> None:
        # After a failure: nothing more is sent, and what is answered all the same is kept. After Ctrl-C nobody waits.
        self._pool.shutdown(wait=False, cancel_futures=True)
        if kind is not None:
            if issubclass(kind, Exception):
                wait([future for future, _ in self._waiting], timeout=_LAST_SECONDS)
            for client in self._clients:
                client.stop()
        self._pool.shutdown()
        for future, tell in self._waiting:
            if not future.cancelled() and future.exception() is None:
                tell(future.result())
        self._waiting.clear()


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


def _look(path: Path, faces: _Faces | None) -> tuple[str, bytes | None]:
    """The crop of a photograph as PNG; without one, why there is none."""
    from facegate_edge import load_image  # noqa: PLC0415

    try:
        frame = load_image(path)
        pixels = upright_rgb(frame)
        if faces is None:
            return "", encode_png(shrink(pixels))
        box = faces.largest(frame)
        return ("no face found here", None) if box is None else ("", encode_png(crop_face(pixels, box)))
    except FrameError:
        return "cannot be read", None
    except CropError:  # a box beside the image
        return "no face found here", None


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
