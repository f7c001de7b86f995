"""What a conversion is asked for: options, presets, and how they change what was recognised."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from facegate_convert import _families, _statements
from facegate_convert.errors import ConvertError

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from facegate_convert._families import Match
    from facegate_convert._graph import Graph
    from facegate_edge._manifest import ModelInfo

    Progress = Callable[[str, int, int], None]

PRESETS: dict[str, tuple[_families.Triple, _families.Triple]] = {
    "arcface": ((127.5,) * 3, (1 / 127.5,) * 3),
    "imagenet": (
        (255 * 0.485, 255 * 0.456, 255 * 0.406),
        (1 / (255 * 0.229), 1 / (255 * 0.224), 1 / (255 * 0.225)),
    ),
    "raw": ((0.0,) * 3, (1.0,) * 3),
    "unit": ((0.0,) * 3, (1 / 255,) * 3),
}


@dataclass(frozen=True, slots=True)
class Options:
    """What a conversion is asked for beyond the model itself.

    Attributes:
        precision: one of `_quantize.CHOICES`; "auto" lets the conversion choose for the target.
        target: name of the device profile that the model is for (`facegate_edge.targets`).
        via: how the float32 model is made of the ONNX file, one of `_source.WAYS`.
        input_size: (width, height) for models that leave it open.
        color, mean, scale, preprocess: override what the graph shows or the family assumes; `preprocess` names a mean
            and a scale of PRESETS.
        crop_scale: for liveness models, overrides the family's.
        calibration: folder of photographs; int8 needs it, the others are measured on it.
        detector: finds the faces in them (ONNX file, bundle, or entry and bytes); not needed for a detector, or if all
            photographs have the size of the model's input (crops that are aligned already).
        pairs, images, infer_pairs: labelled photographs that a recogniser's decisions are judged on: a pairs file and
            its folder, or without a file a folder for each identity; `infer_pairs` adds what follows from the list.
        truth: CSV file of the faces that really are in the photographs beside it, for a detector.
        attacks: folder of a folder `live` and one for each species of attack, for a liveness model.
        float16_arithmetic: let a float16 model be calculated in float16 where the target's cores can; no gate of the
            build host sees what that changes.
        size_budget: bytes that a mixed model may have; None leaves it to the search.
        licence: SPDX expression of the weights' licence; "unknown" takes what the file says (`_statements`).
        commercial_use: whether it allows commercial use, None if unknown.
        demonstration: the model is good for demonstrations only, also if its file does not say so.
        allow_drift: do not refuse a model that decides otherwise than its source.
        allow_slower: do not refuse a model that is slower than its target's profile allows.
        allow_partitions: do not refuse a model that XNNPACK takes in more pieces than its float32 form.
        strict: also refuse what too few photographs leave open, and gates that could not be run.
        measure_latency: time the model on this machine, for the speed gate and the report.
    """

    precision: str = "float32"
    target: str = "generic"
    via: str = "own"
    input_size: tuple[int, int] | None = None
    color: str | None = None
    mean: tuple[float, float, float] | None = None
    scale: tuple[float, float, float] | None = None
    preprocess: str | None = None
    crop_scale: float | None = None
    calibration: Path | None = None
    detector: Path | tuple[ModelInfo, bytes] | None = None
    pairs: Path | None = None
    images: Path | None = None
    infer_pairs: bool = False
    truth: Path | None = None
    attacks: Path | None = None
    float16_arithmetic: bool = False
    size_budget: int | None = None
    licence: str = _statements.UNKNOWN
    commercial_use: bool | None = None
    demonstration: bool = False
    allow_drift: bool = False
    allow_slower: bool = False
    allow_partitions: bool = False
    strict: bool = False
    measure_latency: bool = True

    @property
    def allowed(self) -> frozenset[str]:
        """The options of the gates that may fail, e.g. {"--allow-drift"}."""
        given = (
            ("--allow-drift", self.allow_drift),
            ("--allow-slower", self.allow_slower),
            ("--allow-partitions", self.allow_partitions),
        )
        return frozenset(option for option, allow in given if allow)


# Labelled photographs are for one role each.
_LABELS = {"pairs": "recognizer", "images": "recognizer", "truth": "detector", "attacks": "liveness"}


def for_role(options: Options, role: str) -> Options:
    """The options without labelled photographs that models of this role have no use for."""
    useless: dict[str, Any] = {name: None for name, wanted in _LABELS.items() if wanted != role}
    if role != "recognizer":
        useless["infer_pairs"] = False
    return dataclasses.replace(options, **useless)


def check_role(options: Options, role: str) -> None:
    """Refuse labelled photographs that would not be looked at: whoever gave them takes the model for judged on them.

    Raises:
        ConvertError: there are such.
    """
    for name, wanted in _LABELS.items():
        if getattr(options, name) is not None and wanted != role:
            raise ConvertError(
                f"--{name} is for a {wanted}'s model, and this one is a {role}'s: nothing would be judged on it",
                hint=f"leave --{name} away, or name the model that it is for",
            )


def adjust(match: Match, options: Options) -> Match:
    """The match with what the caller knows better than the graph; what is stated is no longer assumed.

    Raises:
        ConvertError: if an option makes no sense for this model.
    """
    stated = match.preprocessing
    if options.preprocess is not None:
        if options.preprocess not in PRESETS:
            raise ConvertError(
                f"there is no preset {options.preprocess!r}", hint=f"the presets are {', '.join(PRESETS)}"
            )
        mean, scale = PRESETS[options.preprocess]
        stated = dataclasses.replace(stated, mean=mean, scale=scale)
    if options.scale is not None and not all(0 < s < 1e4 for s in options.scale):  # noqa: PLR2004
        raise ConvertError("a scale lies above 0", hint="(pixel - mean) * scale is what the model is fed")
    stated = _families.Preprocessing(
        options.color or stated.color, options.mean or stated.mean, options.scale or stated.scale
    )
    liveness = match.liveness
    if options.crop_scale is not None:
        if liveness is None:
            raise ConvertError("--crop-scale is for liveness models", hint=f"this model is a {match.role}")
        liveness = dataclasses.replace(liveness, crop_scale=options.crop_scale)
    given = {
        "colour order": options.color,
        "normalisation": options.preprocess or options.mean or options.scale,
        "crop": options.crop_scale,
    }
    assumptions = tuple(a for a in match.assumptions if not any(a.startswith(w) for w, v in given.items() if v))
    shown = not any(a.startswith("normalisation") for a in match.assumptions)
    own = (match.preprocessing.mean, match.preprocessing.scale)
    if shown and (stated.mean, stated.scale) != own:
        expected = _families.describe(match.preprocessing)
        said = f"normalisation as you state it, against the graph, which begins with its own and expects {expected}"
        assumptions = (*assumptions, said)
    return dataclasses.replace(match, preprocessing=stated, assumptions=assumptions, liveness=liveness)


def with_statements(options: Options, graph: Graph) -> Options:
    """The options with what the file says about itself: its licence if the caller gave none, and a mark for good."""
    licence = options.licence if options.licence != _statements.UNKNOWN else _statements.licence_of(graph.metadata)
    demonstration = options.demonstration or _statements.is_demonstration(graph.metadata)
    return dataclasses.replace(options, licence=licence, demonstration=demonstration)
