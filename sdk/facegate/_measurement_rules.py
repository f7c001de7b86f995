"""The form of a measurement: a closed schema, ranges, and what must agree with what.

Whoever contributes a measurement could write anything into it. What is refused here is what no machine of any kind can
have measured; that a believable number is a true one, nobody can check.
"""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any, NoReturn

from facegate._measurement import FORMAT, FORMAT_VERSION, sanity
from facegate.errors import (
    EmulatedMeasurementError,
    MeasurementContradictionError,
    MeasurementError,
    MeasurementVersionError,
)
from facegate_edge._json import repeated
from facegate_edge._manifest import ARITHMETICS, FAMILIES, PRECISIONS, ROLES
from facegate_edge._targets import targets
from facegate_edge._timings import INFERENCE, STAGES

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    Rule = Callable[[object, str], None]

__all__ = ["MAX_BYTES", "check_document", "read_measurement"]

MAX_BYTES = 1 << 20
_MAX_MS = 3_600_000.0
_SLACK_MS = 0.002  # of rounding, for each of some stages


def read_measurement(path: Path, *, emulated: bool = False) -> dict[str, Any]:
    """A measurement from a file.

    Args:
        path: the file.
        emulated: also take one that says that it was measured on an emulator.

    Raises:
        MeasurementError: it cannot be read or is no measurement; or one of its subclasses, by what is wrong.
    """
    try:
        with path.open("rb") as file:
            data = file.read(MAX_BYTES + 1)
    except OSError as error:
        raise MeasurementError(f"{path} cannot be read: {error.strerror}", hint="give the file's name") from None
    if len(data) > MAX_BYTES:
        raise MeasurementError(f"{path} is larger than any measurement", hint="give a file of `facegate bench`")
    try:
        document = json.loads(data, object_pairs_hook=_pairs, parse_constant=_constant)
    except (ValueError, RecursionError):
        raise MeasurementError(f"{path} is no JSON document", hint="give a file of `facegate bench`") from None
    try:
        check_document(document)
    except MeasurementError as error:
        raise type(error)(f"{path}: {error}", hint=error.hint) from None
    if document["emulated"] and not emulated:
        raise EmulatedMeasurementError(
            f"{path} was measured on an emulator",
            hint="an emulator's times say nothing about a board; measure on the board itself",
        )
    return dict(document)


def check_document(document: object) -> None:
    """Refuse what is no measurement.

    Raises:
        MeasurementError: a field is missing, unknown, of another type or out of its range.
        MeasurementVersionError: it is of a version that this one does not know.
        MeasurementContradictionError: its figures contradict each other.
    """
    if not isinstance(document, dict) or document.get("format") != FORMAT:
        _refuse("it is no measurement of Facegate")
    version = document.get("version")
    if version != FORMAT_VERSION or isinstance(version, bool):
        raise MeasurementVersionError(
            f"its version is {version!r:.20}, and this facegate reads version {FORMAT_VERSION}",
            hint="use the facegate that wrote it, or a newer one",
        )
    _DOCUMENT(document, "")
    for run in document["runs"]:
        _check_run(run)
    threads = [run["threads"] for run in document["runs"]]
    if threads != sorted(set(threads)):
        _contradicts("its runs are not in the order of their threads, each once")
    roles = [model["role"] for model in document["models"]]
    if len(set(roles)) != len(roles) or not {"detector", "recognizer"} <= set(roles):
        _contradicts("its models are not a detector, a recognizer and perhaps one for liveness")
    if any(model["family"] not in FAMILIES[model["role"]] for model in document["models"]):
        _contradicts("a model's family is not one of its role")
    if document["sanity"] != sanity(document):
        _contradicts("its sanity section does not follow from its other figures")


def _check_run(run: Mapping[str, Any]) -> None:
    where = f"run with {run['threads']} threads"
    stages = run["stages"]
    entries = {**stages, **{name: run[name] for name in ("inference", "not_inference", "total")}}
    for name, entry in entries.items():
        if entry["n"] != run["frames"]:
            _contradicts(f"{where}: {name} has {entry['n']} figures for {run['frames']} frames")
        if not entry["min_ms"] <= entry["p50_ms"] <= entry["p90_ms"] <= entry["p99_ms"]:
            _contradicts(f"{where}: the percentiles of {name} are not in order")
    # In each frame the whole is at least the sum of its parts, so it is of the least ones too.
    inference = sum(entry["min_ms"] for name, entry in stages.items() if name in INFERENCE)
    rest = sum(entry["min_ms"] for name, entry in stages.items() if name not in INFERENCE)
    slack = _SLACK_MS * len(entries)
    for whole, parts in (
        ("inference", inference),
        ("not_inference", rest),
        ("total", run["inference"]["min_ms"] + run["not_inference"]["min_ms"]),
    ):
        if run[whole]["min_ms"] + slack < parts:
            _contradicts(f"{where}: {whole} takes less time than its parts")
    if run["total"]["p50_ms"] > run["inference"]["p99_ms"] + run["not_inference"]["p99_ms"] + slack:
        _contradicts(f"{where}: the whole takes more time than its parts")


def _refuse(what: str) -> NoReturn:
    raise MeasurementError(what, hint="measure again with `facegate bench --submit-file`, and do not edit the file")


def _contradicts(what: str) -> NoReturn:
    raise MeasurementContradictionError(
        what, hint="measure again with `facegate bench --submit-file`, and do not edit the file"
    )


def _pairs(pairs: list[tuple[str, object]]) -> dict[str, object]:
    if repeated(pairs) is not None:
        raise ValueError("repeated name")
    return dict(pairs)


def _constant(_: str) -> NoReturn:
    raise ValueError("NaN and infinity are no JSON")


def _text(pattern: str = r".{0,80}") -> Rule:
    form = re.compile(pattern)

    def check(value: object, where: str) -> None:
        if not isinstance(value, str) or not form.fullmatch(value) or not value.isprintable():
            _refuse(f"{where} is not of its form")

    return check


def _number(least: float, most: float, *, whole: bool = False) -> Rule:
    def check(value: object, where: str) -> None:
        if isinstance(value, bool) or not isinstance(value, int if whole else (int, float)):
            _refuse(f"{where} is no {'whole ' if whole else ''}number")
        if not least <= value <= most:  # neither is what is no number, nor infinity; a huge one is no float
            _refuse(f"{where} is not within {least:g} and {most:g}")

    return check


def _whole(least: int, most: int) -> Rule:
    return _number(least, most, whole=True)


def _flag(value: object, where: str) -> None:
    if not isinstance(value, bool):
        _refuse(f"{where} is neither true nor false")


def _choice(*choices: object) -> Rule:
    def check(value: object, where: str) -> None:
        if isinstance(value, bool) or value not in choices:
            _refuse(f"{where} is none of its values")

    return check


def _or_none(rule: Rule) -> Rule:
    def check(value: object, where: str) -> None:
        if value is not None:
            rule(value, where)

    return check


def _list(rule: Rule, least: int, most: int) -> Rule:
    def check(value: object, where: str) -> None:
        if not isinstance(value, list) or not least <= len(value) <= most:
            _refuse(f"{where} is no list of {least} to {most}")
        for place, item in enumerate(value):
            rule(item, f"{where}[{place}]")

    return check


def _object(fields: Mapping[str, Rule], *, optional: frozenset[str] = frozenset()) -> Rule:
    def check(value: object, where: str) -> None:
        if not isinstance(value, dict):
            _refuse(f"{where or 'it'} is no object")
        inside = f"{where}." if where else ""
        for name in value:
            if name not in fields:
                _refuse(f"{inside}{name[:40]} is no field of it" if name.isprintable() else "a field is not known")
        for name, rule in fields.items():
            if name in value:
                rule(value[name], f"{inside}{name}")
            elif name not in optional:
                _refuse(f"{inside}{name} is missing")

    return check


_MS = _number(0, _MAX_MS)
_KHZ = _or_none(_whole(1_000, 20_000_000))
_HEX = _text(r"[0-9a-f]{64}")
_DISTRIBUTION = _object(
    {"n": _whole(1, 1_000_000), "min_ms": _MS, "p50_ms": _number(1e-4, _MAX_MS), "p90_ms": _MS, "p99_ms": _MS}
)
# A stage can be too fast for the clock's resolution of a tenth of a microsecond.
_STAGE = _object({"n": _whole(1, 1_000_000), "min_ms": _MS, "p50_ms": _MS, "p90_ms": _MS, "p99_ms": _MS})
_CONDITIONS = _object(
    {
        "load": _or_none(_number(0, 100_000)),
        "memory_available_mb": _or_none(_whole(0, 100_000_000)),
        "celsius": _or_none(_number(-40, 150)),
        "frequencies": _list(
            _object(
                {
                    "governor": _or_none(_text(r"[a-z_]{1,32}")),
                    "least_khz": _KHZ,
                    "most_khz": _KHZ,
                    "now_khz": _KHZ,
                }
            ),
            0,
            64,
        ),
        "cooling": _or_none(_flag),
        "firmware": _or_none(_whole(0, 0xFFFFFFFF)),
    }
)
_DOCUMENT = _object(
    {
        "format": _choice(FORMAT),
        "version": _choice(FORMAT_VERSION),
        "machine": _object(
            {
                "architecture": _text(r"[a-z0-9_]{1,16}"),
                "cpu": _text(),
                "features": _list(_text(r"[a-z0-9_]{1,16}"), 0, 32),
                "board": _or_none(_text()),
                "compatible": _list(_text(), 0, 8),
                "target": _or_none(_choice(*targets())),
                "cores": _whole(1, 4096),
                "memory_mb": _whole(0, 100_000_000),
            }
        ),
        "system": _object(
            {
                "kernel": _text(r"[A-Za-z0-9.+~-]{0,64}"),
                "os": _text(r"[a-z0-9._ -]{0,49}"),
                "glibc": _text(r"[0-9.]{0,12}"),
            }
        ),
        "software": _object(
            {
                "python": _text(r"[0-9a-z.]{1,16}"),
                "facegate": _text(r"[0-9a-z.+-]{1,32}"),
                "engine": _choice("litert", "tflite"),
                "engine_version": _text(r"[0-9a-z.+-]{0,32}"),
                "kernels": _text(r"[a-z0-9_]{1,16}"),
            }
        ),
        "bundle": _object({"id": _HEX, "name": _text(), "version": _text(), "target": _text()}),
        "models": _list(
            _object(
                {
                    "role": _choice(*ROLES),
                    "family": _text(r"[a-z0-9_]{1,16}"),
                    "precision": _choice(*PRECISIONS),
                    "arithmetic": _choice(*ARITHMETICS),
                    "size": _whole(1, 1 << 31),
                    "sha256": _HEX,
                }
            ),
            2,
            3,
        ),
        "frame": _object({"width": _whole(1, 16_384), "height": _whole(1, 16_384), "faces": _whole(0, 1000)}),
        "before": _CONDITIONS,
        "after": _CONDITIONS,
        "runs": _list(
            _object(
                {
                    "threads": _whole(1, 256),
                    "frames": _whole(1, 1_000_000),
                    "warm_up": _object({"frames": _whole(1, 1_000_000), "first_ms": _MS}),
                    "stages": _object(dict.fromkeys(STAGES, _STAGE), optional=frozenset(STAGES)),
                    "inference": _DISTRIBUTION,
                    "not_inference": _DISTRIBUTION,
                    "total": _DISTRIBUTION,
                }
            ),
            1,
            16,
        ),
        "rss_peak_mb": _whole(1, 1_000_000),
        "emulated": _or_none(_flag),
        "virtual": _or_none(_flag),
        "sanity": _object(
            {"quiet": _or_none(_flag), "throttled": _or_none(_flag), "notes": _list(_text(r".{1,160}"), 0, 16)}
        ),
    }
)
