"""What a manifest must satisfy beyond the types of its fields."""

from __future__ import annotations

import math
import re
from typing import TYPE_CHECKING, Any

from facegate_edge import _archive
from facegate_edge._manifest import ARITHMETICS, COLORS, DTYPES, FAMILIES, FORMAT_VERSION, PRECISIONS, ROLES
from facegate_edge.errors import ManifestError, ProhibitedModelError

if TYPE_CHECKING:
    from collections.abc import Iterable

    from facegate_edge._manifest import (
        DetectorHead,
        DetectorInfo,
        InputInfo,
        LivenessInfo,
        Manifest,
        ModelInfo,
        OperatingPoint,
        RecognizerInfo,
        TensorInfo,
    )

__all__ = ["check_manifest", "check_prohibited", "prohibited_inference", "version_tuple"]

# Semantic Versioning 2.0.0 without build metadata and leading zeros; the bounds keep the numbers sane.
_SEMVER = re.compile(r"(0|[1-9]\d{0,5})\.(0|[1-9]\d{0,5})\.(0|[1-9]\d{0,5})(?:-[0-9A-Za-z.-]{1,40})?", re.ASCII)
_NAME = re.compile(r"[a-z0-9][a-z0-9._-]{0,63}", re.ASCII)
_CREATED = re.compile(
    r"\d{4}-(?:0[1-9]|1[0-2])-(?:0[1-9]|[12]\d|3[01])T(?:[01]\d|2[0-3]):[0-5]\d:[0-5]\d(?:\.\d{1,6})?Z", re.ASCII
)
_SHA256 = re.compile(r"[0-9a-f]{64}", re.ASCII)
_SPACE = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:+-]{0,127}", re.ASCII)
_GATE = re.compile(r"[a-z0-9][a-z0-9@._-]{0,63}", re.ASCII)
_MAX_SIDE = 4096
_MAX_ELEMENTS = 1 << 26
_MAX_RANK = 8
_MAX_TEMPLATE = 4096
_CHANNELS = 3
_LANDMARKS = 5

# Words that name what a model infers about a person beyond who it is, looked for in roles, families, file names, names
# of outputs. Whole words only: "image" and "average" hold "age".
_PROHIBITED = {
    "gender": ("gender", "genders", "sex"),
    "age": ("age", "ages", "agegroup"),
    "gender and age": ("genderage", "agegender"),
    "race": ("race", "races", "ethnicity", "ethnic", "fairface", "nationality", "skintone"),
    "emotion": ("emotion", "emotions", "expression", "fer", "fer2013", "ferplus", "affect", "mood", "sentiment"),
    "religion": ("religion",),
}
_WORDS = {word: what for what, words in _PROHIBITED.items() for word in words}


def prohibited_inference(names: Iterable[str]) -> str | None:
    """What a model of these names says it infers about people ("gender", "age", ...), or None.

    Args:
        names: role, family, file name, names of outputs: what a model's author called things.
    """
    for name in names:
        # "genderAge", "gender_age-v2" and "GenderAge" are all two words; so is "fc1_age".
        spaced = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", " ", name[:200])
        for word in re.split(r"[^a-z0-9]+|(?<=[a-z])(?=\d)", spaced.lower()):
            if word in _WORDS:
                return _WORDS[word]
    return None


def check_prohibited(document: dict[str, Any]) -> None:
    """Refuse, by name, models that infer more than identity. Raises ProhibitedModelError.

    Takes raw JSON, so that such a model is refused for what it is and not because its role is unknown.
    """
    models = document.get("models")
    for model in models if isinstance(models, list) else ():
        if not isinstance(model, dict):
            continue
        outputs = model.get("outputs")
        names = [model.get("role"), model.get("family"), model.get("file")]
        names += [o.get("name") for o in outputs if isinstance(o, dict)] if isinstance(outputs, list) else []
        what = prohibited_inference(n for n in names if isinstance(n, str))
        if what is not None:
            raise ProhibitedModelError(
                f"the bundle holds a model that infers {what}",
                hint="Facegate answers who somebody is and nothing else about them; remove the model",
            )


def version_tuple(text: str) -> tuple[int, int, int] | None:
    """Major, minor and patch of a semantic version, or None if it is none. A pre-release counts as its release."""
    match = _SEMVER.fullmatch(text)
    return (int(match[1]), int(match[2]), int(match[3])) if match else None


def check_manifest(manifest: Manifest) -> None:
    """Refuse a manifest whose fields have the right types and impossible values. Raises ManifestError."""
    _require(manifest.format == FORMAT_VERSION, "format", f"this must be {FORMAT_VERSION}")
    _match(_NAME, manifest.name, "name")
    _match(_SEMVER, manifest.version, "version")
    _match(_SEMVER, manifest.minimum_runtime, "minimum_runtime")
    _match(_CREATED, manifest.created, "created")
    _match(_NAME, manifest.target, "target")
    limit = _archive.MAX_MEMBERS - 2
    _require(1 <= len(manifest.models) <= limit, "models", f"a bundle has 1 to {limit} models")
    _unique([m.role for m in manifest.models], "models", "role")
    _unique([m.file for m in manifest.models], "models", "file")
    for i, model in enumerate(manifest.models):
        _check_model(model, f"models[{i}]")
    _unique([p.fmr for p in manifest.operating_points], "operating_points", "fmr")
    for i, point in enumerate(manifest.operating_points):
        _check_point(point, f"operating_points[{i}]")


def _check_model(model: ModelInfo, path: str) -> None:
    _one_of(model.role, ROLES, f"{path}.role")
    _one_of(model.family, FAMILIES[model.role], f"{path}.family")
    _one_of(model.arithmetic, ARITHMETICS, f"{path}.arithmetic")
    if model.arithmetic == "float16":
        _require(
            model.precision == "float16", f"{path}.arithmetic", "only a float16 model can be calculated in float16"
        )
    _one_of(model.precision, PRECISIONS, f"{path}.precision")
    named = model.file.startswith("models/") and _archive.MEMBER_NAME.fullmatch(model.file) is not None
    _require(named, f"{path}.file", "this must be models/NAME.tflite in lower-case letters, digits, dots and dashes")
    _require(1 <= model.size <= _archive.MAX_MODEL, f"{path}.size", f"this must be 1 to {_archive.MAX_MODEL} bytes")
    _match(_SHA256, model.sha256, f"{path}.sha256")
    _match(_SHA256, model.provenance.source_sha256, f"{path}.provenance.source_sha256")
    if model.provenance.calibration:
        _match(_SHA256, model.provenance.calibration, f"{path}.provenance.calibration")
    _require(bool(model.provenance.licence), f"{path}.provenance.licence", 'this must not be empty: say "unknown"')
    _unique(list(model.provenance.allowances), f"{path}.provenance.allowances", "name")
    for i, gate in enumerate(model.provenance.allowances):
        _match(_GATE, gate, f"{path}.provenance.allowances[{i}]")
    _check_input(model.input, f"{path}.input")
    _require(bool(model.outputs), f"{path}.outputs", "a model has at least one output")
    _unique([t.name for t in model.outputs], f"{path}.outputs", "name")
    for i, tensor in enumerate(model.outputs):
        _check_tensor(tensor, f"{path}.outputs[{i}]")
    for role in ROLES:
        _require(
            (getattr(model, role) is not None) == (role == model.role),
            f"{path}.{role}",
            "of detector, recognizer and liveness, the one of the model's role is set and no other",
        )
    outputs = {t.name: t for t in model.outputs}
    if model.detector is not None:
        _check_detector(model.detector, model, outputs, f"{path}.detector")
    if model.recognizer is not None:
        _check_recognizer(model.recognizer, model, outputs, f"{path}.recognizer")
    if model.liveness is not None:
        _check_liveness(model.liveness, outputs, f"{path}.liveness")


def _check_tensor(tensor: TensorInfo, path: str) -> None:
    _require(0 < len(tensor.name) <= 200, f"{path}.name", "this must be 1 to 200 characters")  # noqa: PLR2004
    _require(1 <= len(tensor.shape) <= _MAX_RANK, f"{path}.shape", f"a tensor has 1 to {_MAX_RANK} dimensions")
    _require(all(1 <= n <= _MAX_ELEMENTS for n in tensor.shape), f"{path}.shape", "every dimension must be at least 1")
    _require(math.prod(tensor.shape) <= _MAX_ELEMENTS, f"{path}.shape", f"more than {_MAX_ELEMENTS} elements")
    _one_of(tensor.dtype, DTYPES, f"{path}.dtype")
    quantization, field = tensor.quantization, f"{path}.quantization"
    _require((quantization is not None) == (tensor.dtype != "float32"), field, "integer tensors have one, others not")
    if quantization is not None:
        _require(0 < quantization.scale <= 1e6, f"{field}.scale", "this must be above 0")  # noqa: PLR2004
        low = -128 if tensor.dtype == "int8" else 0
        _require(low <= quantization.zero_point <= low + 255, f"{field}.zero_point", f"outside {tensor.dtype}")


def _check_input(info: InputInfo, path: str) -> None:
    _check_tensor(info.tensor, f"{path}.tensor")
    shape = info.tensor.shape
    image = len(shape) == 4 and shape[0] == 1 and shape[3] == _CHANNELS and max(shape[1:3]) <= _MAX_SIDE  # noqa: PLR2004
    _require(image, f"{path}.tensor.shape", f"this must be (1, H, W, 3) with sides up to {_MAX_SIDE}")
    _one_of(info.color, COLORS, f"{path}.color")
    for i in range(_CHANNELS):
        _require(abs(info.mean[i]) <= 1e4, f"{path}.mean[{i}]", "this is no pixel value")  # noqa: PLR2004
        _require(0 < info.scale[i] <= 1e4, f"{path}.scale[{i}]", "this must be above 0")  # noqa: PLR2004


def _check_detector(info: DetectorInfo, model: ModelInfo, outputs: dict[str, TensorInfo], path: str) -> None:
    height, width = model.input.tensor.shape[1:3]
    _require(1 <= len(info.strides) <= 8, f"{path}.strides", "a detector has 1 to 8 strides")  # noqa: PLR2004
    for i, stride in enumerate(info.strides):
        _require(1 <= stride <= min(height, width), f"{path}.strides[{i}]", "this does not fit the input")
    _unique(list(info.strides), f"{path}.strides", "stride")
    _require(1 <= info.anchors <= 16, f"{path}.anchors", "this must be 1 to 16")  # noqa: PLR2004
    _require(0 < info.score_threshold < 1, f"{path}.score_threshold", "this must be between 0 and 1")
    _require(0 < info.nms_iou < 1, f"{path}.nms_iou", "this must be between 0 and 1")
    prior_based = model.family == "retinaface"
    if prior_based:
        _require(len(info.min_sizes) == len(info.strides), f"{path}.min_sizes", "one list for each stride")
        for i, sizes in enumerate(info.min_sizes):
            _require(1 <= len(sizes) <= 16, f"{path}.min_sizes[{i}]", "1 to 16 sizes a stride")  # noqa: PLR2004
            _require(all(0 < s <= _MAX_SIDE for s in sizes), f"{path}.min_sizes[{i}]", "sizes in pixels, above 0")
        _require(all(0 < v <= 1 for v in info.variances), f"{path}.variances", "this must be above 0 and at most 1")
        expected: tuple[int, ...] = (0,)
        rows = [sum(_cells(height, width, s) * len(z) for s, z in zip(info.strides, info.min_sizes, strict=True))]
    else:
        expected = info.strides
        rows = [_cells(height, width, s) * info.anchors for s in info.strides]
    found = tuple(head.stride for head in info.heads)
    _require(found == expected, f"{path}.heads", f"heads of the strides {expected} are needed in this order")
    for i, (head, count) in enumerate(zip(info.heads, rows, strict=True)):
        _check_head(head, count, model.family, outputs, f"{path}.heads[{i}]")


def _check_head(head: DetectorHead, rows: int, family: str, outputs: dict[str, TensorInfo], path: str) -> None:
    columns = {"score": 2 if family == "retinaface" else 1, "box": 4, "landmarks": 10, "objectness": 1}
    _require((head.objectness is not None) == (family == "yunet"), f"{path}.objectness", "YuNet has it, others not")
    for field, width in columns.items():
        name = getattr(head, field)
        if name is None:
            continue
        tensor = _output(name, outputs, f"{path}.{field}")
        _require(
            math.prod(tensor.shape) == rows * width,
            f"{path}.{field}",
            f"the output {name[:80]!r} has {math.prod(tensor.shape)} values, not {rows} rows of {width}",
        )


def _check_recognizer(info: RecognizerInfo, model: ModelInfo, outputs: dict[str, TensorInfo], path: str) -> None:
    tensor = _output(info.output, outputs, f"{path}.output")
    _require(
        1 <= info.template_length <= _MAX_TEMPLATE, f"{path}.template_length", f"this must be 1 to {_MAX_TEMPLATE}"
    )
    _require(
        math.prod(tensor.shape) == info.template_length,
        f"{path}.template_length",
        f"the output {info.output[:80]!r} has {math.prod(tensor.shape)} values",
    )
    _match(_SPACE, info.template_space, f"{path}.template_space")
    height, width = model.input.tensor.shape[1:3]
    _require(len(info.landmarks) == _LANDMARKS, f"{path}.landmarks", "five points are needed")
    for i, (x, y) in enumerate(info.landmarks):
        _require(0 <= x < width and 0 <= y < height, f"{path}.landmarks[{i}]", "this is outside the input")
    _unique(list(info.landmarks), f"{path}.landmarks", "point")


def _check_liveness(info: LivenessInfo, outputs: dict[str, TensorInfo], path: str) -> None:
    tensor = _output(info.output, outputs, f"{path}.output")
    _require(2 <= info.classes <= 16, f"{path}.classes", "this must be 2 to 16")  # noqa: PLR2004
    _require(math.prod(tensor.shape) == info.classes, f"{path}.classes", "the output has another number of values")
    _require(0 <= info.live_class < info.classes, f"{path}.live_class", "there is no such class")
    _require(0.5 <= info.crop_scale <= 10, f"{path}.crop_scale", "this must be 0.5 to 10")  # noqa: PLR2004
    _one_of(info.border, ("shift", "reflect"), f"{path}.border")


def _check_point(point: OperatingPoint, path: str) -> None:
    _require(0 < point.fmr < 1, f"{path}.fmr", "this must be between 0 and 1")
    _require(-1 <= point.threshold <= 1, f"{path}.threshold", "a similarity is -1 to 1")
    for field in ("fmr_upper", "fnmr", "fnmr_low", "fnmr_high"):
        _require(0 <= getattr(point, field) <= 1, f"{path}.{field}", "a rate is 0 to 1")
    _require(point.fnmr_low <= point.fnmr <= point.fnmr_high, f"{path}.fnmr", "this is outside its own interval")
    if not point.dataset:
        # Stated by somebody, not measured: then it must claim nothing but that.
        claims = (point.genuine, point.impostor, point.fmr_upper, point.fnmr_low, point.fnmr_high)
        _require(claims == (0, 0, 1.0, 0.0, 1.0), f"{path}.dataset", "figures without a dataset are no measurement")
        return
    for field in ("genuine", "impostor"):
        _require(getattr(point, field) >= 1, f"{path}.{field}", "a rate without comparisons is no measurement")
    _match(_SHA256, point.dataset, f"{path}.dataset")


def _cells(height: int, width: int, stride: int) -> int:
    """Cells of a stride's grid: convolutions with padding round up."""
    return math.ceil(height / stride) * math.ceil(width / stride)


def _output(name: str, outputs: dict[str, TensorInfo], path: str) -> TensorInfo:
    tensor = outputs.get(name)
    if tensor is None:
        raise ManifestError(f"{path}: the model has no output {name[:80]!r}")
    return tensor


def _require(condition: bool, path: str, problem: str) -> None:
    if not condition:
        raise ManifestError(f"{path}: {problem}", hint="build the bundle again with `facegate bundle build`")


def _match(pattern: re.Pattern[str], text: str, path: str) -> None:
    _require(pattern.fullmatch(text) is not None, path, f"{text[:80]!r} is not of the form that this field has")


def _one_of(text: str, allowed: tuple[str, ...], path: str) -> None:
    _require(text in allowed, path, f"{text[:80]!r} is none of {', '.join(allowed)}")


def _unique(values: list[Any], path: str, what: str) -> None:
    _require(len(set(values)) == len(values), path, f"two have the same {what}")
