"""From converted models to a bundle, and back."""

from __future__ import annotations

import dataclasses
import datetime as dt
import os
from dataclasses import dataclass
from typing import TYPE_CHECKING

from facegate_convert._bundle_writer import write_bundle
from facegate_convert._files import write_file
from facegate_convert._options import for_role
from facegate_convert.errors import BuildError, DynamicShapeError, ModelFileError
from facegate_edge._manifest import FORMAT_VERSION, ROLES, Manifest, ModelInfo, OperatingPoint
from facegate_edge._targets import GENERIC
from facegate_edge._version import VERSION

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from facegate_convert._convert import Conversion, Options
    from facegate_convert._options import Progress
    from facegate_convert._report import Report
    from facegate_edge._keys import SigningKey

PROHIBITED_USES = (
    "inferring gender, age, race, ethnicity or emotion",
    "recognizing people who have not consented to enrolment",
    "surveillance of publicly accessible places",
)
_ZIP_MAGIC = b"PK"


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class Model:
    """A model as it goes into a bundle.

    Attributes:
        info: its manifest entry.
        data: the TFLite flatbuffer.
        report: of its conversion, if it was converted just now.
        target: name of the device profile that it was converted for.
    """

    info: ModelInfo
    data: bytes
    report: Report | None = None
    target: str = GENERIC

    def __repr__(self) -> str:
        return f"Model({self.info.role}, {self.info.family}, {self.info.precision})"


def load_models(path: Path, options: Options | None = None, *, progress: Progress | None = None) -> tuple[Model, ...]:
    """The models in a bundle, or the one of an ONNX file, converted on the way.

    Args:
        path: a bundle (signed or not; whoever builds a new one vouches for it) or an ONNX file, told by content.
        options: for an ONNX file.
        progress: likewise.

    Raises:
        ModelFileError: the file cannot be read.
        ConvertError, BundleError: one of their subclasses, by what is wrong with it.
    """
    from facegate_convert._convert import convert  # noqa: PLC0415 - only for ONNX files

    if not _is_bundle(path):
        conversion = convert(path, options, progress=progress)
        return (Model(conversion.info, conversion.model, conversion.report, conversion.report.target["name"]),)
    from facegate_edge._bundle import open_bundle  # noqa: PLC0415

    with open_bundle(path, development=True) as bundle:
        manifest = bundle.manifest
        return tuple(
            Model(info, bytes(bundle.model_bytes(info.role)), target=manifest.target) for info in manifest.models
        )


def _is_bundle(path: Path) -> bool:
    try:
        # Without waiting for somebody to write to a pipe: what is no regular file is refused where it is read.
        with os.fdopen(os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC), "rb") as file:
            return file.read(2) == _ZIP_MAGIC
    except OSError as error:
        raise ModelFileError(f"{path} cannot be read: {error.strerror}", hint="check the path") from error


def load_all(paths: Sequence[Path], options: Options, *, progress: Progress | None = None) -> list[Model]:
    """The models of several files, as `load_models` gives them, in the order of the roles.

    A detector among them finds the faces in the calibration photographs of the others. The input size of `options` is
    for detectors; models of another role have their own.
    """
    from facegate_convert._families import recognize  # noqa: PLC0415 - only for ONNX files
    from facegate_convert._graph import load_graph  # noqa: PLC0415

    found: list[Model] = []
    sources: list[tuple[int, Path]] = []
    for path in paths:
        if _is_bundle(path):
            found += load_models(path)
        else:
            match = recognize(load_graph(path, input_size=_size_for(path, options)))
            sources.append((ROLES.index(match.role), path))
    for role, path in sorted(sources, key=lambda s: s[0]):
        detector = next(((m.info, m.data) for m in found if m.info.role == "detector"), None)
        chosen = for_role(options, ROLES[role])
        chosen = dataclasses.replace(chosen, detector=detector, input_size=_size_for(path, options))
        found += load_models(path, chosen, progress=progress)
    return sorted(found, key=lambda model: ROLES.index(model.info.role))


def _size_for(path: Path, options: Options) -> tuple[int, int] | None:
    """The input size to read an ONNX file with: that of the options only if the model leaves its own open."""
    from facegate_convert._graph import load_graph  # noqa: PLC0415 - only for ONNX files

    try:
        load_graph(path)
    except DynamicShapeError:
        return options.input_size
    return None


def save(conversion: Conversion, path: Path) -> None:
    """Write a converted model: as TFLite alone if the name ends in `.tflite`, else as an unsigned bundle of one model.

    The bundle holds everything that `bundle build` needs; the TFLite file is for other tools.

    Raises:
        OutputFileError: it cannot be written; then there is no half file.
    """
    if path.suffix == ".tflite":
        write_file(path, [conversion.model])
        return
    info = conversion.info
    build(
        path,
        [Model(info, conversion.model)],
        name=f"{info.family}-{info.precision}",
        version="0.0.0",
        intended_use="",
        target=conversion.report.target["name"],
    )


def build(
    path: Path,
    models: Sequence[Model],
    *,
    name: str,
    version: str,
    intended_use: str,
    target: str = GENERIC,
    operating_points: Sequence[OperatingPoint] = (),
    key: SigningKey | None = None,
) -> str:
    """Write a bundle of models; the same models and arguments give the same bytes if SOURCE_DATE_EPOCH is set.

    Args:
        path: the `.fgb` file.
        models: at most one for each role.
        name: lower-case letters, digits, dots and dashes.
        version: a semantic version.
        intended_use: what the bundle was built and measured for, in a sentence.
        target: a device profile's name.
        operating_points: measured with these very models.
        key: who signs; None leaves the bundle unsigned.

    Returns:
        The bundle's id.

    Raises:
        BuildError: the models do not make a bundle.
        BundleError: one of its subclasses, as `write_bundle` raises them.
    """
    manifest = draft(
        models,
        name=name,
        version=version,
        intended_use=intended_use,
        target=target,
        operating_points=operating_points,
    )
    return write_bundle(path, manifest, {model.info.role: model.data for model in models}, key)


def draft(
    models: Sequence[Model],
    *,
    name: str = "draft",
    version: str = "0.0.0",
    intended_use: str = "",
    target: str = GENERIC,
    operating_points: Sequence[OperatingPoint] = (),
) -> Manifest:
    """The manifest of a bundle of models. Raises BuildError if two have the same role."""
    by_role: dict[str, Model] = {}
    for model in models:
        if model.info.role in by_role:
            raise BuildError(f"two models are a {model.info.role}", hint="a bundle has one model for each role")
        by_role[model.info.role] = model
    ordered = [by_role[role] for role in ROLES if role in by_role]
    return Manifest(
        format=FORMAT_VERSION,
        name=name,
        version=version,
        created=created(),
        minimum_runtime=VERSION,
        target=target,
        models=tuple(model.info for model in ordered),
        operating_points=tuple(operating_points),
        intended_use=intended_use,
        prohibited_uses=PROHIBITED_USES,
    )


def check_pipeline(models: Sequence[Model]) -> None:
    """Refuse models that cannot work together on a device.

    Raises:
        BuildError: a detector or recogniser is missing, or the detector gives no landmarks to align faces by.
    """
    roles = {model.info.role: model.info for model in models}
    for role, what in (("detector", "find faces"), ("recognizer", "tell people apart")):
        if role not in roles:
            raise BuildError(f"there is no {role} among the models", hint=f"a bundle needs one to {what}")
    detector = roles["detector"].detector
    if detector is None or any(head.landmarks is None for head in detector.heads):
        raise BuildError(
            "the detector gives no landmarks, and without them faces cannot be aligned for the recogniser",
            hint="use a detector with 5 landmarks, such as YuNet, RetinaFace, or SCRFD with keypoints",
        )


def built_for(models: Sequence[Model], target: str) -> tuple[str, ...]:
    """What to know of models that were converted for another device than the bundle is for, a sentence each."""
    return tuple(
        f"the {model.info.role} was converted for {model.target}, the bundle is for {target}: its speed was not judged "
        "for that"
        for model in models
        if model.target not in (GENERIC, target)
    )


def created() -> str:
    """Now, or SOURCE_DATE_EPOCH if that is set (https://reproducible-builds.org/specs/source-date-epoch/), RFC 3339.

    Raises:
        BuildError: SOURCE_DATE_EPOCH is no number of seconds.
    """
    epoch = os.environ.get("SOURCE_DATE_EPOCH")
    try:
        seconds = dt.datetime.now(dt.timezone.utc).timestamp() if epoch is None else int(epoch)
        moment = dt.datetime.fromtimestamp(seconds, dt.timezone.utc)
    except (ValueError, OverflowError, OSError):
        raise BuildError("SOURCE_DATE_EPOCH is no time", hint="it is a number of seconds since 1970") from None
    return moment.strftime("%Y-%m-%dT%H:%M:%SZ")
