"""Model cards, written from measured figures: no figure in them is typed by hand."""

# ruff: noqa: E501, ISC004 - sentences of a card are read whole
from __future__ import annotations

from typing import TYPE_CHECKING, Any

from facegate_convert._files import write_file
from facegate_train._figures import EYE_DISTANCES
from facegate_train._pictures import DARK

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

TARGETS = {"fnmr": 0.01, "spread": 1.25, "recall": 0.99, "false_faces": 0.01, "landmarks": 0.03, "attack": 0.05}
INT8_POINTS = 0.005

_LIMITS = """## Limits

- It was trained on rendered faces only and knows rendered faces only. It is **not for people**: what it says of a
  photograph of a real person means nothing.
- It is a demonstration: the file says so (`facegate.demonstration`), a bundle with it says so, and every decision made
  with it says so.
- Pictures, identities and attacks all come from one renderer. The figures say how well the model knows that renderer's
  world on people and scenes that it never saw, and nothing about another world.
"""

_ABOUT = {
    "detector": (
        "Finds faces and their five landmarks in a picture of 320x320.",
        "YuNet's outputs (class, objectness, box and five landmarks at strides 8, 16 and 32; one anchor a cell), on plain "
        "3x3 convolutions with batch normalisation and ReLU. One net for all strides: it looks at the picture, at its half and at its quarter. Input BGR, pixels 0..255.",
        "Class and objectness by quality focal loss, boxes by EIoU, landmarks by wing loss over the face's size. Faces are "
        "assigned to cells by size and place. Random cuts, mirror, turn, zoom, color and noise.",
    ),
    "recognizer": (
        "Turns a face, aligned to 112x112 by five landmarks, into 128 values whose direction tells people apart.",
        "Residual 3x3 convolutions with batch normalisation and ReLU, then MobileFaceNet's global depthwise convolution "
        "and a linear layer. Input RGB, (pixel - 127.5) / 127.5.",
        "Cosine margin (CosFace) over the training identities; the margin rises from a fifth to three fifths of the steps. Beside it, and with a weight that falls, the shape of the head (lengths of nose, jaw, brows and the like, as rendered; not skin tone, not age, no color) is predicted from the embedding by a layer that is thrown away. Faces are aligned "
        "by the runtime's own kernel at landmarks displaced as a detector displaces them, in the first half of the training to fewer pixels; mirror, color, noise, erased rectangles.",
    ),
    "liveness": (
        "Tells a rendered live face from a rendered print, screen replay or paper mask, in one frame.",
        "MiniFASNet's input and outputs (80x80, a crop of 2.7 times the face; classes paper, live, screen) on residual 3x3 "
        "convolutions, a depthwise stage with PReLU, and a global depthwise convolution. Input BGR, pixels 0..255.",
        "Cross entropy with smoothed labels. Crops are cut by the runtime's own kernel around boxes displaced as a detector "
        "displaces them; mirror, shift, gain and offset.",
    ),
}


def write_cards(figures: dict[str, Any], folder: Path) -> None:
    """Write `<role>.md` for each model in the figures.

    Raises:
        OutputFileError: a file cannot be written.
    """
    for role, model in figures["models"].items():
        write_file(folder / f"{role}.md", [card(role, model).encode()])


def card(role: str, model: dict[str, Any]) -> str:
    """The card of one model: Markdown."""
    what, architecture, method = _ABOUT[role]
    training = model["training"]
    lines = [
        f"# Reference {role}",
        "",
        what,
        "",
        "| | |",
        "|---|---|",
        f"| file | `{role}.onnx`, {model['bytes']:,} bytes, sha256 `{model['sha256']}` |",
        "| licence | Apache-2.0, weights and code; no foreign weights, no personal data |",
        f"| parameters | {training['parameters']:,} |",
        f"| int8 | {model['conversion']['int8']['bytes']:,} bytes, XNNPACK takes it in "
        f"{model['conversion']['int8']['partitions']} piece(s) |",
        f"| made by | {_made(training)} |",
        f"| renderer | `{training['renderer']}` (digest of `facegate.simulation`'s source) |",
        "",
        "## Data and training",
        "",
        _data(role, training),
        "",
        f"{architecture} {method}",
        "",
        "## Figures",
        "",
        "Measured by `python -m facegate_train evaluate` on identities and scenes of the test split (seeds from 2,000,000), "
        "which no training saw, by the runtime's own classes; where each threshold comes from is said below. Intervals are 95 %.",
        "",
        *_FIGURES[role](model["figures"]),
        "",
        _LIMITS,
    ]
    return "\n".join(lines)


def _made(training: dict[str, Any]) -> str:
    """The training that made the file."""
    pictures = f"{training['pictures']:,} pictures"
    seen = f"{training['seen']:,} cuts of" if "seen" in training else f"{training['epochs']} passes over"
    return f"`{training['command']}` ({training['minutes']} minutes of training, {seen} {pictures})"


def _data(role: str, training: dict[str, Any]) -> str:
    recipe = training["recipe"]
    if role == "detector":
        return (
            f"{training['pictures']:,} rendered frames of {recipe['width']}x{recipe['height']} with 0 to 5 faces; at least "
            f"{_percent(recipe['empty'])} show none, {_percent(recipe['turned'])} show the back of a head, and "
            f"{_percent(recipe['attacks'])} have presentation attacks among the faces. The scores were shifted so that on "
            f"{training['calibration']['frames']:,} face-free frames of the validation split the runtime's default threshold "
            f"of 0.7 gives a false face in {_percent(training['calibration']['rate'])} of them. It was trained on cuts of "
            f"{' and '.join(f'{side}x{side}' for side in training['cuts'])} pixels, of the frames, their halves and their quarters."
        )
    if role == "recognizer":
        return (
            f"{training['pictures']:,} rendered portraits of {training['identities']:,} people who do not exist (seeds below "
            f"1,000,000; {recipe['dark']:,} of them were added for their dark skin, Monk {DARK} to 10), over yaw +-45, pitch +-25 and roll +-20 degrees, all lights, looks and sensors; "
            f"{_percent(recipe['occlusion'])} with a mask, sunglasses or a hand before the face."
        )
    return (
        f"{training['pictures']:,} rendered faces of {training['identities']:,} people who do not exist (seeds below "
        f"1,000,000): half live, half prints, screen replays and paper masks."
    )


def _percent(value: float | None, digits: int = 2) -> str:
    return "-" if value is None else f"{100 * value:.{digits}f}".rstrip("0").rstrip(".") + " %"


def _rate(found: dict[str, Any]) -> str:
    """E.g. "0.9 % (0.5..1.4 %, 123 of 13,500)"."""
    if found["rate"] is None:
        return "-"
    interval = f"{_percent(found['low'])[:-2]}..{_percent(found['high'])}"
    return f"{_percent(found['rate'])} ({interval}; {found['errors']:,} of {found['trials']:,})"


def _verdict(met: bool) -> str:
    return "met" if met else "**not met**"


def _table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    return ["| " + " | ".join(row) + " |" for row in (header, ["---"] * len(header), *rows)]


def _detector(figures: dict[str, Any]) -> list[str]:
    rows = []
    for precision, found in figures.items():
        for name, one in (
            ("0.7, the default", found["default"]),
            (f"{found['tuned']['threshold']:.4f}, tuned", found["tuned"]),
        ):
            rows.append(
                [
                    precision,
                    name,
                    _rate(one["recall"]),
                    _rate(one["precision"]),
                    f"{one['false_faces']} in {one['face_free_frames']:,}",
                    f"{_percent(one['landmarks']['mean'])}, {_percent(one['landmarks']['p95'])}",
                ]
            )
    header = (
        "precision",
        "threshold",
        "recall",
        "precision",
        "false faces in face-free frames",
        "landmark error: mean, p95",
    )
    one, eight = figures["float32"]["default"], figures["int8"]["default"]
    lines = _table(header, rows)
    sizes = [
        [
            precision,
            name,
            _rate(part["recall"]),
            _percent(part["landmarks"]["mean"]),
            _percent(part["landmarks"]["p95"]),
        ]
        for precision, found in figures.items()
        for name, part in ((name, found["default"]["by_eye_distance"][name]) for name in EYE_DISTANCES)
    ]
    lines += ["", "By the distance of the eyes, at the default threshold:", ""]
    lines += _table(("precision", "eyes apart", "recall", "landmark error: mean", "p95"), sizes)
    lines += [
        "",
        "A face counts if at least half of it shows. The tuned threshold is the lowest that gives 0.01 false faces per "
        "face-free frame on the validation split. A landmark's error is over the distance that the eyes would have if the "
        "face were turned to the camera, which does not shrink as a head turns.",
        "",
        f"- recall >= 99 % at <= 0.01 false faces per face-free frame: {_verdict(detector_met(one))}",
        f"- landmark error <= 3 % of the inter-ocular distance: {_verdict(_within(one['landmarks']['mean'], TARGETS['landmarks']))}",
        f"- int8 within 0.5 points of float32 in recall: {_verdict(_close(one['recall'], eight['recall']))}",
    ]
    return lines


def detector_met(one: dict[str, Any]) -> bool:
    """Whether recall and false faces are as wanted."""
    enough = (one["recall"]["rate"] or 0) >= TARGETS["recall"]
    return bool(enough and one["false_faces_per_frame"] <= TARGETS["false_faces"])


def _within(value: float | None, most: float) -> bool:
    return bool(value is not None and value <= most)


def _close(a: dict[str, Any], b: dict[str, Any]) -> bool:
    return bool(abs((a["rate"] or 0) - (b["rate"] or 0)) <= INT8_POINTS)


def _recognizer(figures: dict[str, Any]) -> list[str]:
    names = {
        "detected_landmarks": "landmarks as the reference detector finds them",
        "true_landmarks": "landmarks as rendered",
        "nearly_frontal": "as detected, both heads within 20 degrees of yaw",
        "occluded": "mask, sunglasses or hand in both pictures",
    }
    rows = [
        [precision, names[key], f"{one['threshold']:.4f}", _rate(one["fnmr"]), _percent(one["fmr"]["rate"], 3)]
        for precision, found in figures.items()
        for key, one in found.items()
    ]
    lines = _table(("precision", "pictures", "threshold", "FNMR", "FMR"), rows)
    groups = [
        [precision, name, str(group["identities"]), _rate(group["fnmr"]), _percent(group["fmr_within"]["rate"], 3)]
        for precision, found in figures.items()
        for name, group in {
            **found["detected_landmarks"]["groups"],
            **{f"Monk {tone}": group for tone, group in found["detected_landmarks"]["tones"].items()},
        }.items()
    ]
    one, eight = figures["float32"]["detected_landmarks"], figures["int8"]["detected_landmarks"]
    lines += ["", "By skin tone (Monk scale), with detected landmarks, at the threshold of all:", ""]
    lines += _table(("precision", "tone", "identities", "FNMR", "FMR among themselves"), groups)
    spread = one["worst_to_overall"]
    lines += [
        "",
        f"Every two pictures of {one['identities']} identities are compared, {one['pictures'] // one['identities']} of each, over "
        "the whole range of pose, light, look and sensor; a picture in which no face is found matches nothing. The "
        "threshold is that of an FMR of 1e-3 over all comparisons of different people of the same pictures; 'nearly frontal' "
        "and 'occluded' are judged at it. Intervals of FNMR are over identities.",
        "",
        f"- FNMR <= 1 % at FMR 1e-3 over the pose and light range: {_verdict(_within(one['fnmr']['rate'], TARGETS['fnmr']))}",
        f"- no skin-tone group more than 25 % worse: {_verdict(spread is None or _within(spread, TARGETS['spread']))} ({one['worst_group']}: "
        f"{'no errors at all' if spread is None else f'{spread} times the overall FNMR'}{_worst_tone(one)})",
        f"- int8 within 0.5 points of float32 in FNMR: {_verdict(_close(one['fnmr'], eight['fnmr']))}",
    ]
    return lines


def _worst_tone(one: dict[str, Any]) -> str:
    """What groups may hide: the single tone that is worst off."""
    rates = {name: tone["fnmr"]["rate"] or 0.0 for name, tone in one["tones"].items()}
    worst = max(rates, key=lambda name: rates[name])
    overall = one["fnmr"]["rate"]
    return f"; of single tones Monk {worst}, {rates[worst] / overall:.2f} times" if overall else ""


def _liveness(figures: dict[str, Any]) -> list[str]:
    species = list(figures["float32"]["apcer"])
    rows = [
        [precision, f"{one['threshold']:.4f}", _rate(one["bpcer"]), *(_rate(one["apcer"][name]) for name in species)]
        for precision, one in figures.items()
    ]
    one, eight = figures["float32"], figures["int8"]
    worst = one["apcer"][one["worst_species"]]
    same = _close(one["bpcer"], eight["bpcer"]) and all(_close(one["apcer"][s], eight["apcer"][s]) for s in species)
    names = [f"APCER {name.replace('_', ' ')}" for name in species]
    return [
        *_table(("precision", "threshold", "BPCER", *names), rows),
        "",
        "A face is taken for live if its probability is at or above the threshold, which was chosen on the validation split "
        "for a BPCER of 2.5 %.",
        "",
        f"- APCER <= 5 % for the worst species at BPCER <= 5 %: "
        f"{_verdict(_within(worst['rate'], TARGETS['attack']) and _within(one['bpcer']['rate'], TARGETS['attack']))}",
        f"- int8 within 0.5 points of float32: {_verdict(same)}",
    ]


_FIGURES = {"detector": _detector, "recognizer": _recognizer, "liveness": _liveness}


def summary(figures: dict[str, Any]) -> str:
    """What a terminal shows: for each model the lines that say which targets are met."""
    lines = []
    for role, model in figures["models"].items():
        lines.append(f"{role}, {model['bytes'] / 1000:,.0f} kB")
        lines += [f"  {line[2:]}" for line in _FIGURES[role](model["figures"]) if line.startswith("- ")]
    return "\n".join(lines)
