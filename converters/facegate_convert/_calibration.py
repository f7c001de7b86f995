"""Photographs as model inputs, prepared by the runtime's own kernels: what a model is calibrated and compared on."""

from __future__ import annotations

import contextlib
import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from facegate_convert._images import file_sha256, list_images
from facegate_convert.errors import CalibrationError
from facegate_edge.errors import FrameError, KernelError

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path
    from types import TracebackType

    import numpy as np
    import numpy.typing as npt
    from typing_extensions import Self

    from facegate_edge._kernels import Letterbox
    from facegate_edge._manifest import ModelInfo
    from facegate_edge._values import Face, Frame

    Array = npt.NDArray[np.float32]

MAX_BYTES = 192 << 20  # of inputs held in memory: 1300 crops of 112x112, 160 images of 320x320, 40 of 640x640
MIN_FACE = 40.0  # pixels: a smaller face, enlarged, has other statistics than the ones that will be enrolled


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class Crops:
    """Prepared photographs.

    Attributes:
        inputs: float32 (1, H, W, 3) each, normalised as the model is fed.
        samples: what a report calls each of them: the first 12 hex digits of its photograph's sha256, with #2, #3, ...
            for further faces; never a name.
        fingerprint: sha256 (hex) over the sorted sha256s of the photographs that were read.
        images: photographs that were read; files of the same bytes are one.
        unreadable: files that are no images; left out.
        without_face: photographs without a usable face; left out.
        left_out: photographs not looked at, because the inputs would not fit in memory.
        names: names of the unreadable files, for the person who owns the folder.
    """

    inputs: tuple[Array, ...]
    samples: tuple[str, ...]
    fingerprint: str
    images: int
    unreadable: int
    without_face: int
    left_out: int
    names: tuple[str, ...]

    def __repr__(self) -> str:
        return f"Crops({len(self.inputs)} inputs from {self.images} photographs)"


def prepare(
    folder: Path,
    info: ModelInfo,
    data: bytes,
    detector: tuple[ModelInfo, bytes] | None = None,
    *,
    progress: Callable[[int, int], None] | None = None,
) -> Crops:
    """Read a folder of photographs as inputs of a model.

    A detector is fed whole photographs, letterboxed. Other models are fed faces: a photograph of exactly the input's
    size is taken as a crop that is aligned already; from any other, every face of at least 40 pixels is aligned as on
    the device, which takes a detector.

    Args:
        folder: of photographs, with subfolders.
        info: manifest entry of the float32 model.
        data: its bytes.
        detector: manifest entry and bytes of a detector; None if all photographs are aligned crops or whole images.
        progress: called with (photographs done, photographs in all).

    Raises:
        CalibrationError: if nothing usable is in the folder, or a detector is missing.
        DatasetError: if the folder cannot be read.
    """
    from facegate_edge import load_image  # noqa: PLC0415 - the command line's help must not wait for numpy

    paths = list_images(folder)
    if not paths:
        raise CalibrationError(f"{folder} holds no photographs", hint="name a folder of JPEG or PNG files")
    inputs: list[Array] = []
    samples: list[str] = []
    hashes, unreadable, without_face, looked_at = [], [], 0, 0
    with Preparer(info, data, detector) as preparer:
        for done, path in enumerate(paths):
            if sum(value.nbytes for value in inputs) >= MAX_BYTES:
                break
            looked_at += 1
            try:
                frame = load_image(path)
            except FrameError:
                unreadable.append(str(path.relative_to(folder)))
                continue
            digest = file_sha256(path)
            if digest in hashes:  # what is held back would be calibrated on, too
                continue
            hashes.append(digest)
            found = preparer.inputs(frame)
            without_face += not found
            inputs += found
            samples += [sample_name(hashes[-1], face) for face in range(len(found))]
            if progress:
                progress(done + 1, len(paths))
    if not hashes:
        raise CalibrationError(
            f"none of the {len(paths)} files in {folder} is an image that can be read", hint="check the folder"
        )
    if not inputs:
        raise CalibrationError(
            f"no usable face was found in the {len(hashes)} photographs of {folder}",
            hint=f"use photographs with faces of at least {MIN_FACE:.0f} pixels, upright",
        )
    return Crops(
        tuple(inputs),
        tuple(samples),
        hashlib.sha256("".join(sorted(hashes)).encode()).hexdigest(),
        len(hashes),
        len(unreadable),
        without_face,
        len(paths) - looked_at,
        tuple(unreadable),
    )


def sample_name(sha256: str, face: int = 0) -> str:
    """What a report calls a face of a photograph: whoever has the photograph finds it, nobody else learns anything."""
    return f"{sha256[:12]}#{face + 1}" if face else sha256[:12]


def synthetic_inputs(info: ModelInfo, count: int = 8) -> tuple[Array, ...]:
    """Images for comparing arithmetic where no photographs are at hand: smooth random fields, always the same.

    They are good for holding a float32 model against its source, never for calibration.
    """
    import numpy as np  # noqa: PLC0415
    from PIL import Image  # noqa: PLC0415

    random = np.random.default_rng(20260)
    height, width = info.input.tensor.shape[1:3]
    found = []
    for index in range(count):
        cells = 4 << (index % 4)
        coarse = Image.fromarray(random.integers(0, 256, (cells, cells, 3), dtype=np.uint8))
        pixels = np.asarray(coarse.resize((width, height), Image.Resampling.BICUBIC), np.float32)
        mean, scale = (np.array(v, np.float32) for v in (info.input.mean, info.input.scale))
        found.append(((pixels - mean) * scale)[None])
    return tuple(found)


class Preparer:
    """Turns one frame after another into inputs, by the very classes that a device runs."""

    def __init__(self, info: ModelInfo, data: bytes, detector: tuple[ModelInfo, bytes] | None) -> None:
        from facegate_edge import make_engine  # noqa: PLC0415
        from facegate_edge._aligner import Aligner  # noqa: PLC0415
        from facegate_edge._detector import Detector  # noqa: PLC0415
        from facegate_edge._liveness import Liveness  # noqa: PLC0415

        height, width = info.input.tensor.shape[1:3]
        self._size = (width, height)
        self._role = info.role
        self._scale = 1.0
        self._detector: Detector | None = None
        with contextlib.ExitStack() as stack:
            engine = stack.enter_context(make_engine(data))
            self._buffer: npt.NDArray[Any] = engine.inputs[info.input.tensor.name]
            if info.role == "detector":
                self._whole = Detector(info, engine)
            elif info.role == "recognizer":
                self._aligner = Aligner(info, self._buffer)
            else:
                self._liveness = Liveness(info, engine)
            self._crop = _kernels_letterbox(info, self._buffer)
            if detector is not None:
                self._detector = Detector(detector[0], stack.enter_context(make_engine(detector[1])))
            self._engines = stack.pop_all()

    def inputs(self, frame: Frame) -> list[Array]:
        """The inputs that a photograph gives, each a copy.

        Raises:
            CalibrationError: faces would have to be found, and there is no detector.
        """
        if self._role == "detector":
            self._scale = self._whole.preprocess(frame)
            return [self._buffer.copy()]
        if frame.size == self._size:
            self._crop.run(frame)
            return [self._buffer.copy()]
        if self._detector is None:
            raise CalibrationError(
                f"the calibration photographs are no crops of {self._size[0]}x{self._size[1]}, so faces must be found",
                hint="give --detector with a detector's ONNX file or bundle",
            )
        found = []
        for face in self._detector.detect(frame):
            x1, y1, x2, y2 = face.box.tolist()
            if min(x2 - x1, y2 - y1) >= MIN_FACE and (value := self._face(frame, face)) is not None:
                found.append(value)
        return found

    def whole(self, frame: Frame) -> tuple[Array, float]:
        """A detector's input for a photograph, and the scale from the photograph to it."""
        (value,) = self.inputs(frame)
        return value, self._scale

    def largest(self, frame: Frame) -> Array | None:
        """The input for the largest face of a photograph, as a device enrols it; None without a usable face."""
        if frame.size == self._size or self._detector is None:
            return self.inputs(frame)[0]
        faces = self._detector.detect(frame)
        if not faces:
            return None
        return self._face(frame, max(faces, key=lambda f: float((f.box[2] - f.box[0]) * (f.box[3] - f.box[1]))))

    def _face(self, frame: Frame, face: Face) -> Array | None:
        try:
            if self._role == "recognizer":
                self._aligner.align(frame, face)
            else:
                self._liveness.check(frame, face)
        except KernelError:  # landmarks that coincide, a box that is empty: no usable face
            return None
        found: Array = self._buffer.copy()
        return found

    def __enter__(self) -> Self:
        return self

    def __exit__(self, t: type[BaseException] | None, v: BaseException | None, tb: TracebackType | None) -> None:
        self._engines.close()


def _kernels_letterbox(info: ModelInfo, buffer: npt.NDArray[Any]) -> Letterbox:
    """Crops that are aligned already only need their pixels normalised: a letterbox of the very same size does that."""
    from facegate_edge._kernels import Letterbox  # noqa: PLC0415
    from facegate_edge._model import input_target  # noqa: PLC0415

    return Letterbox(input_target(info.input, buffer))
