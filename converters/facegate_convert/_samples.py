"""What a conversion is measured on: calibration inputs and those held back, labelled pairs, true faces, attacks."""

from __future__ import annotations

import csv
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from facegate_convert._calibration import Preparer, prepare, sample_name, synthetic_inputs
from facegate_convert._images import file_sha256
from facegate_convert.errors import DatasetError
from facegate_edge.errors import FrameError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    import numpy as np
    import numpy.typing as npt

    from facegate_convert._calibration import Crops
    from facegate_edge._manifest import ModelInfo

    Array = npt.NDArray[np.float32]
    Tell = Callable[[int, int], None]
    Model = tuple[ModelInfo, bytes]

_HOLDOUT_FROM = 32  # with fewer inputs, holding some back would cost more than it shows
_BOX = ("x1", "y1", "x2", "y2")
_POINTS = tuple(
    f"{axis}_{point}" for point in ("left_eye", "right_eye", "nose", "left_mouth", "right_mouth") for axis in "xy"
)
LIVE = "live"


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class Inputs:
    """Inputs of a model, and what a report calls them.

    Attributes:
        arrays: float32 (1, H, W, 3) each.
        samples: names made of the photographs' hashes.
    """

    arrays: tuple[Array, ...]
    samples: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.arrays)

    def __repr__(self) -> str:
        return f"Inputs({len(self)})"


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class Samples:
    """What there is to calibrate and to compare on.

    Attributes:
        fit: what is calibrated on; empty without photographs.
        held_out: what is compared on.
        described: what the latter is.
        crops: the photographs, None if there are none: then `held_out` is synthetic, and shows arithmetic only.
        same: whether `held_out` was calibrated on, too.
    """

    fit: Inputs
    held_out: Inputs
    described: str
    crops: Crops | None
    same: bool

    @property
    def real(self) -> bool:
        """Whether these are photographs."""
        return self.crops is not None

    def __repr__(self) -> str:
        return f"Samples({len(self.fit)} to fit, {len(self.held_out)} held out)"


def split(crops: Crops | None, info: ModelInfo) -> Samples:
    """Divide prepared photographs: from 32 inputs on, a quarter is held back."""
    if crops is None:
        arrays = synthetic_inputs(info)
        held_out = Inputs(arrays, tuple(f"synthetic {n + 1}" for n in range(len(arrays))))
        described = f"{len(arrays)} synthetic images (give --calibration for figures that mean something)"
        return Samples(Inputs((), ()), held_out, described, None, same=False)
    everything = Inputs(crops.inputs, crops.samples)
    if len(everything) < _HOLDOUT_FROM:
        described = f"the {len(everything)} calibration inputs themselves"
        return Samples(everything, everything, described, crops, same=True)
    held_out = Inputs(crops.inputs[::4], crops.samples[::4])
    places = [place for place in range(len(everything)) if place % 4]
    fit = Inputs(tuple(crops.inputs[p] for p in places), tuple(crops.samples[p] for p in places))
    return Samples(fit, held_out, f"{len(held_out)} inputs held back from calibration", crops, same=False)


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class LabeledPairs:
    """Faces of which is known who is who.

    Attributes:
        inputs: the largest face of each photograph that shows one.
        genuine, impostor: index pairs into them.
        failed: photographs without a usable face; comparisons with them are left out.
        fingerprint: of the comparisons (`_comparisons`).
    """

    inputs: Inputs
    genuine: tuple[tuple[int, int], ...]
    impostor: tuple[tuple[int, int], ...]
    failed: int
    fingerprint: str

    def __repr__(self) -> str:
        return f"LabeledPairs({len(self.genuine)} genuine, {len(self.impostor)} impostor)"


def labeled_pairs(
    pairs: Path | None, images: Path, model: Model, detector: Model | None, *, infer: bool = False, tell: Tell
) -> LabeledPairs:
    """Prepare the photographs of a pairs file or of a folder for each identity for a recogniser.

    Raises:
        DatasetError: see `_comparisons`.
        CalibrationError: faces would have to be found, and there is no detector.
    """
    from facegate_convert._comparisons import read_identities, read_pairs  # noqa: PLC0415 - not on every way here
    from facegate_edge import load_image  # noqa: PLC0415

    comparisons = read_identities(images) if pairs is None else read_pairs(pairs, images, infer=infer)
    arrays: list[Array] = []
    samples: list[str] = []
    place: dict[int, int] = {}
    with Preparer(*model, detector) as preparer:
        for number, path in enumerate(comparisons.images):
            tell(number, len(comparisons.images))
            try:
                value = preparer.largest(load_image(path))
            except FrameError:
                continue
            if value is not None:
                place[number] = len(arrays)
                arrays.append(value)
                samples.append(sample_name(file_sha256(path)))

    def usable(wanted: Sequence[tuple[int, int]]) -> tuple[tuple[int, int], ...]:
        return tuple((place[a], place[b]) for a, b in wanted if a in place and b in place)

    return LabeledPairs(
        Inputs(tuple(arrays), tuple(samples)),
        usable(comparisons.genuine),
        usable(comparisons.impostor),
        len(comparisons.images) - len(arrays),
        comparisons.fingerprint,
    )


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class TrueFaces:
    """Photographs of which is known where their faces are.

    Attributes:
        inputs: one for each photograph, letterboxed.
        boxes: for each, float32 (N, 4), x1, y1, x2, y2 in pixels of the input.
        points: for each, float32 (N, 5, 2), or None where the file gives none.
    """

    inputs: Inputs
    boxes: tuple[Array, ...]
    points: tuple[Array | None, ...]

    def __repr__(self) -> str:
        return f"TrueFaces({sum(len(b) for b in self.boxes)} in {len(self.inputs)} photographs)"


def true_faces(table: Path, model: Model, *, tell: Tell) -> TrueFaces:
    """Read a CSV file of true faces, and prepare its photographs for a detector.

    A row is a face: `file,x1,y1,x2,y2`, and perhaps `x_left_eye,y_left_eye,...,x_right_mouth,y_right_mouth` (left and
    right as seen in the image), all in pixels of the upright photograph. Files are looked for in the table's folder. A
    photograph that shows nobody has one row with an empty box.

    Raises:
        DatasetError: the file cannot be read, a row is not understood, or a photograph is missing or unreadable.
    """
    import numpy as np  # noqa: PLC0415 - the command line's help must not wait for it

    from facegate_edge import load_image  # noqa: PLC0415

    by_file = _truth_rows(table)
    arrays: list[Array] = []
    samples: list[str] = []
    boxes: list[Array] = []
    points: list[Array | None] = []
    with Preparer(*model, None) as preparer:
        for number, (name, rows) in enumerate(by_file.items()):
            tell(number, len(by_file))
            path = table.parent / name
            try:
                value, scale = preparer.whole(load_image(path))
            except (FrameError, OSError) as error:
                raise DatasetError(
                    f"{table} names {path}, which is no photograph that can be read",
                    hint="its files are looked for beside it",
                ) from error
            arrays.append(value)
            samples.append(sample_name(file_sha256(path)))
            values = np.array([row[:4] for row in rows], np.float32).reshape(-1, 4) * np.float32(scale)
            boxes.append(values)
            complete = all(len(row) == len(_BOX + _POINTS) for row in rows)
            five = np.array([row[4:] for row in rows if complete], np.float32).reshape(-1, 5, 2)
            points.append(five * np.float32(scale) if complete else None)
    return TrueFaces(Inputs(tuple(arrays), tuple(samples)), tuple(boxes), tuple(points))


def _truth_rows(table: Path) -> dict[str, list[tuple[float, ...]]]:
    """The faces by file name: 4 numbers each, or 14 with points."""
    try:
        with table.open(newline="", encoding="utf-8-sig") as file:
            reader = csv.DictReader(file)
            columns, rows = reader.fieldnames or (), list(reader)
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise DatasetError(
            f"{table} cannot be read: {type(error).__name__}",
            hint="it is a CSV file in UTF-8 with the header file,x1,y1,x2,y2",
        ) from error
    missing = [name for name in ("file", *_BOX) if name not in columns]
    if missing or not rows:
        raise DatasetError(
            f"{table} has {'no rows' if not missing else 'no column ' + ', '.join(missing)}",
            hint="it has a header file,x1,y1,x2,y2 and a row for each face",
        )
    wanted = (*_BOX, *_POINTS) if all(name in columns for name in _POINTS) else _BOX
    found: dict[str, list[tuple[float, ...]]] = {}
    for line, row in enumerate(rows, start=2):
        faces = found.setdefault((row["file"] or "").strip(), [])
        texts = [(row[name] or "").strip() for name in wanted]
        if not any(texts[:4]):
            continue
        try:
            numbers = tuple(float(text) for text in (texts if all(texts) else texts[:4]))
        except ValueError:
            numbers = ()
        if not numbers or not all(map(math.isfinite, numbers)) or numbers[0] >= numbers[2] or numbers[1] >= numbers[3]:
            raise DatasetError(f"{table}, line {line}: no box", hint="a box is x1,y1,x2,y2 with x1 < x2 and y1 < y2")
        faces.append(numbers)
    return found


def attacks(folder: Path, model: Model, detector: Model | None, *, tell: Tell) -> dict[str, Inputs]:
    """Prepare a folder `live` and a folder for each species of attack for a liveness model, by folder.

    Raises:
        DatasetError: there is no folder `live`, or none beside it.
        CalibrationError: a folder holds nothing usable.
    """
    kinds = sorted(p.name for p in folder.iterdir() if p.is_dir()) if folder.is_dir() else []
    if LIVE not in kinds or len(kinds) < 2:  # noqa: PLR2004
        raise DatasetError(
            f"{folder} holds {len(kinds)} folders, {'one' if LIVE in kinds else 'none'} of them called {LIVE}",
            hint=f"it has a folder {LIVE} of live faces and one for each species of attack, e.g. print and screen",
        )
    found = {}
    for number, kind in enumerate(kinds):
        crops = prepare(folder / kind, *model, detector)
        found[kind] = Inputs(crops.inputs, crops.samples)
        tell(number + 1, len(kinds))
    return found
