"""What an emulated device is tried on: bundles and a day's frames, made on the build host, written to files.

A day is for end_to_end.py: people enroll, come again in other formats of a camera, strangers and attacks come, rooms
are empty. Its frames are rendered, or real photographs where they are.
"""

from __future__ import annotations

import dataclasses
import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from facegate import SigningKey, open_reference_bundle, reference_policy
from facegate._policy_json import dump_policy
from facegate.simulation._attack import ATTACKS
from facegate.simulation._formats import to_frame
from facegate_edge import Frame, PixelFormat

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from facegate import Policy

MAKER = SigningKey.from_seed(bytes(range(64, 96)))
PRECISIONS = ("int8", "float32")


@dataclass(frozen=True, slots=True)
class Day:
    """Files for end_to_end.py.

    Attributes:
        folder: where they are.
        precision: of all models of the bundle.
    """

    folder: Path
    precision: str

    @property
    def files(self) -> tuple[Path, ...]:
        """In the order in which end_to_end.py takes them."""
        names = ("plan-{}.json", "frames.npz", "{}.fgb", "{}.pub", "policy.json")
        return tuple(self.folder / name.format(self.precision) for name in names)


def rendered_day(folder: Path, rendered: Any, onnx_path: Any) -> dict[str, Day]:
    """Rendered people enroll and come again; a stranger, attacks and an empty room. A day for each precision."""
    first = 3_000_400
    people = {f"person-{n}": first + n for n in range(2)}

    def visits() -> Iterator[tuple[str, str | None, Frame, bool]]:
        for who, seed in people.items():
            for number in range(2):
                yield "enroll", who, rendered.terminal(seed, number=number).frame, number == 0
        yield "identify", None, _as(rendered.terminal(first, number=5), PixelFormat.NV12), True
        yield "identify", None, _as(rendered.terminal(first + 1, number=5), PixelFormat.YUYV), False
        yield "verify", "person-0", _as(rendered.terminal(first, number=7), PixelFormat.BGR), False
        yield "verify", "person-1", _as(rendered.terminal(first + 1, number=6), PixelFormat.NV21), False
        yield "verify", "person-0", rendered.terminal(first + 1, number=7).frame, False
        turned = np.ascontiguousarray(np.rot90(rendered.terminal(first, number=8).pixels))
        yield "identify", None, Frame(turned, PixelFormat.RGB, 90), False
        yield "identify", None, rendered.terminal(first + 20, number=1).frame, True
        for attack in ATTACKS:
            yield "identify", None, rendered.terminal(first + 2, number=9, attack=attack).frame, attack == ATTACKS[0]
        yield "identify", None, rendered.terminal().frame, False
        yield "identify", None, rendered.terminal(*people.values(), number=2).frame, False

    policy = dataclasses.replace(reference_policy(), max_attempts=0, max_trials_per_minute=0)
    _write(folder, visits(), policy)
    with open_reference_bundle() as bundle:
        models = {info.role: bytes(bundle.model_bytes(info.role)) for info in bundle.manifest.models}
        manifest = bundle.manifest
    _bundle(folder / "int8.fgb", manifest, models)
    converted = _converted({role: onnx_path(f"reference/{role}.onnx") for role in models}, "float32")
    _bundle(folder / "float32.fgb", *_replaced(manifest, converted))
    return {precision: Day(folder, precision) for precision in PRECISIONS}


def real_day(folder: Path, real: Any, onnx_path: Any) -> dict[str, Day]:
    """Public photographs of real people and real models, which are no part of the project.

    The threshold is the reference bundle's, which says nothing about these models: here only what differs from one
    machine to another is of interest.
    """

    def visits() -> Iterator[tuple[str, str | None, Frame, bool]]:
        for number, (who, frames) in enumerate(real.people.items()):
            yield "enroll", who, frames[0], number == 0
        for number, (who, frames) in enumerate(real.people.items()):
            yield "identify", None, frames[1], number == 0
            yield "verify", who, frames[1], False
        for kind in ("live", "spoof"):
            yield "identify", None, real.shown[kind][0], kind == "spoof"
        yield "identify", None, next(iter(real.empty.values())), False

    policy = dataclasses.replace(
        reference_policy(), max_attempts=0, max_trials_per_minute=0, live_at=0.5, spoof_at=0.2, one_face_only=False
    )
    _write(folder, visits(), policy)
    with open_reference_bundle() as bundle:
        manifest = bundle.manifest
    for precision in PRECISIONS:
        sources = {role: onnx_path(name) for role, (name, _) in real.models.items()}
        converted = _converted(sources, precision, {r: o for r, (_, o) in real.models.items()}, real.few)
        _bundle(folder / f"{precision}.fgb", *_replaced(manifest, converted))
    return {precision: Day(folder, precision) for precision in PRECISIONS}


def _as(picture: Any, pixel_format: PixelFormat) -> Frame:
    return to_frame(picture.pixels, pixel_format)


def _write(folder: Path, visits: Iterator[tuple[str, str | None, Frame, bool]], policy: Policy) -> None:
    """The frames and the plans: everything with int8, and only the frames that are looked at with float32.

    Emulated floating point is slow: the emulator calculates it in software, to be exact.
    """
    folder.mkdir(parents=True, exist_ok=True)
    plan, arrays = [], {}
    for number, (do, who, frame, look) in enumerate(visits):
        name = f"{number:03d}"
        arrays[name] = frame.data
        step = {"frame": name, "format": frame.format.name, "rotation": frame.rotation}
        plan.append(step | {"do": do, "who": who, "look": look})
    (folder / "plan-int8.json").write_text(json.dumps([step | {"look": True} for step in plan]))
    (folder / "plan-float32.json").write_text(json.dumps([step for step in plan if step["look"]]))
    np.savez(folder / "frames.npz", **arrays)
    (folder / "policy.json").write_text(dump_policy(policy))


def _converted(
    sources: dict[str, Path],
    precision: str,
    options: dict[str, dict[str, Any]] | None = None,
    calibration: Path | None = None,
) -> dict[str, Any]:
    """ONNX files by role -> conversions."""
    from facegate_convert._convert import Options, convert  # noqa: PLC0415 - needs what a device has not

    done: dict[str, Any] = {}
    for role in sorted(sources):  # the detector first: it finds the faces to calibrate the others on
        found = done.get("detector")
        done[role] = convert(
            sources[role],
            Options(
                precision=precision,
                measure_latency=False,
                calibration=calibration if precision == "int8" else None,
                detector=(found.info, found.model) if found and precision == "int8" else None,
                allow_drift=True,
                allow_partitions=True,
                **(options or {}).get(role, {}),
            ),
        )
    return done


def _replaced(manifest: Any, converted: dict[str, Any]) -> tuple[Any, dict[str, bytes]]:
    models = tuple(converted[info.role].info for info in manifest.models)
    return dataclasses.replace(manifest, models=models), {role: made.model for role, made in converted.items()}


def _bundle(path: Path, manifest: Any, models: dict[str, bytes]) -> None:
    from facegate_convert._bundle_writer import write_bundle  # noqa: PLC0415 - needs what a device has not

    write_bundle(path, manifest, models, MAKER)
    path.with_suffix(".pub").write_bytes(MAKER.verify_key.to_pem())
