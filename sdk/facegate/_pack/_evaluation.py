"""The result of `facegate evaluate`, as a review pack shows it.

It comes from another machine and is not signed: every figure is read by its type and its range, nothing else of it is
taken over. What names photographs, the pairs that went wrong most, is left out.
"""

from __future__ import annotations

import hashlib
import json
import math
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from facegate.errors import PackError
from facegate_edge._json import repeated

if TYPE_CHECKING:
    import os
    from collections.abc import Callable

    from facegate._pack._facts import BundleFacts

__all__ = ["RESULT", "Result", "load_result"]

FORMAT, VERSION, RESULT = "facegate-evaluation", 1, "result.json"
_MAX_FILE = 64 << 20
_MAX_ROWS = 1000
_MAX_TEXT = 500
_TINY = 1e-9  # what an end of an interval may be off by, being computed another way than the rate
_HINT = "give the folder, or the result.json, that `facegate evaluate run` wrote"

Section = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Result:
    """What of an evaluation goes into a pack.

    Attributes:
        sha256: of the file.
        of: "this bundle"; or "the models of this bundle": the same models under another manifest, e.g. before
            thresholds were written into it.
        sections: the figures.
    """

    sha256: str
    of: str
    sections: Section


def load_result(path: str | os.PathLike[str], bundle: BundleFacts) -> Result:
    """Read a result, which must be of this bundle or of its models.

    Args:
        path: `result.json` or the folder that holds it.
        bundle: the one that the pack is about.

    Raises:
        PackError: it cannot be read, is damaged, or is of something else.
    """
    path = Path(path)
    try:
        file = path / RESULT if path.is_dir() else path
        with file.open("rb") as stream:
            data = stream.read(_MAX_FILE + 1)
    except (OSError, ValueError) as error:
        why = (error.strerror if isinstance(error, OSError) else "") or "this is no path"
        raise PackError(f"the evaluation {path} cannot be read: {why}", hint=_HINT) from None
    if len(data) > _MAX_FILE:
        raise _damaged("it is far too large")
    try:
        document = json.loads(data, object_pairs_hook=_object)
    except (ValueError, RecursionError):
        raise _damaged("it is not JSON") from None
    if not isinstance(document, dict) or document.get("format") != FORMAT or document.get("version") != VERSION:
        raise PackError("this is no evaluation that this version of facegate reads", hint=_HINT)
    return Result(hashlib.sha256(data).hexdigest(), _whose(document, bundle), _read(document))


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    if repeated(pairs) is not None:
        raise ValueError("a name twice")
    return dict(pairs)


def _whose(document: Section, bundle: BundleFacts) -> str:
    source = _section(document, "source")
    if source.get("bundle") == bundle.id:
        return "this bundle"
    models = {
        _text(model, "role"): _text(model, "sha256") for model in _rows(source, "models") if source["kind"] == "bundle"
    }
    if models and models == {model.role: model.sha256 for model in bundle.manifest.models}:
        return "the models of this bundle"
    raise PackError(
        f"the evaluation is of something else than the bundle {bundle.manifest.name} {bundle.manifest.version}",
        hint="evaluate this very bundle: `facegate evaluate run BUNDLE ...`",
    )


def _read(document: Section) -> Section:
    source, dataset = _section(document, "source"), _section(document, "dataset")
    failures, reproduce = _section(document, "failures"), _section(document, "reproduce")
    return {
        "created": _text(document, "created"),
        "source": {"name": _text(source, "name"), "bundle": _text(source, "bundle", optional=True)},
        "dataset": {
            "name": _text(dataset, "name"),
            "fingerprint": _text(dataset, "fingerprint"),
            "images": _count(dataset, "images"),
            "identities": _count(dataset, "identities", optional=True),
            "lawful_basis": _text(dataset, "lawful_basis"),
        },
        "failures": {name: _rate(failures, name) for name in ("detect", "enroll")},
        "operating_points": [_point(row) for row in _rows(document, "operating_points")],
        "stated_points": [_point(row) for row in _rows(document, "stated_points")],
        "open_set": _open_set(_section(document, "open_set")),
        "groups": [_groups(row) for row in _rows(document, "groups")],
        "liveness": _liveness(_section(document, "liveness")),
        "checks": [_check(row) for row in _rows(document, "checks")],
        "warnings": [_line(text) for text in _list(document, "warnings")],
        "facegate": _text(reproduce, "facegate", optional=True),
    }


def _point(row: Section) -> Section:
    return {
        "fmr": _number(row, "fmr", 0, 1),
        "threshold": _number(row, "threshold", -1, 1),
        "fmr_measured": _rate(row, "fmr_measured"),
        "fnmr": _rate(row, "fnmr"),
        "fnmr_with_failures": _rate(row, "fnmr_with_failures"),
        "carried": _flag(row, "carried", optional=True),
        "note": _text(row, "note", optional=True),
        "verdict": _text(row, "verdict", optional=True),
    }


def _open_set(section: Section) -> Section:
    if "not_run" in section:
        return {"not_run": _text(section, "not_run")}
    return {
        "gallery": _count(section, "gallery"),
        "points": [
            {
                "fpir": _number(row, "fpir", 0, 1),
                "threshold": _number(row, "threshold", -1, 1),
                "fpir_measured": _rate(row, "fpir_measured"),
                "fnir": _rate(row, "fnir"),
                "note": _text(row, "note", optional=True),
            }
            for row in _rows(section, "points")
        ],
    }


def _groups(section: Section) -> Section:
    check = _section(section, "check")
    return {
        "column": _text(section, "column"),
        "threshold": _number(section, "threshold", -1, 1),
        "fmr": _number(section, "fmr", 0, 1),
        "groups": [
            {
                "name": _text(row, "name"),
                "subjects": _count(row, "subjects"),
                "images": _count(row, "images"),
                "fmr": _rate(row, "fmr"),
                "fnmr": _rate(row, "fnmr"),
                "note": _text(row, "note", optional=True),
            }
            for row in _rows(section, "groups")
        ],
        "check": {name: _text(check, name) for name in ("rule", "verdict", "why")},
    }


def _liveness(section: Section) -> Section:
    if "not_run" in section:
        return {"not_run": _text(section, "not_run")}
    return {
        "threshold": _number(section, "threshold", 0, 1),
        "bpcer": _rate(section, "bpcer"),
        "species": [{"name": _text(row, "name"), "apcer": _rate(row, "apcer")} for row in _rows(section, "species")],
        "worst": _text(section, "worst"),
    }


def _check(row: Section) -> Section:
    return {"require": _text(row, "require"), "met": _flag(row, "met"), "note": _text(row, "note", optional=True)}


# --- values by type and range ----------------------------------------------------------------------------------------


def _damaged(why: str) -> PackError:
    return PackError(f"the evaluation is damaged: {why}", hint=_HINT)


def _value(section: Section, name: str, fits: Callable[[Any], bool], *, optional: bool) -> Any:
    value = section.get(name)
    if value is None and optional:
        return None
    if not fits(value):
        raise _damaged(f"{name} is not what it should be")
    return value


def _section(document: Section, name: str) -> Section:
    found: Section = _value(document, name, lambda value: isinstance(value, dict), optional=False)
    return found


def _list(document: Section, name: str) -> list[Any]:
    found: list[Any] = _value(
        document, name, lambda value: isinstance(value, list) and len(value) <= _MAX_ROWS, optional=False
    )
    return found


def _rows(document: Section, name: str) -> list[Section]:
    found = _list(document, name)
    if not all(isinstance(row, dict) for row in found):
        raise _damaged(f"{name} is not what it should be")
    return found


def _line(value: Any) -> str:
    if type(value) is not str:
        raise _damaged("a text is none")
    return value[:_MAX_TEXT]


def _text(section: Section, name: str, *, optional: bool = False) -> Any:
    found = _value(section, name, lambda value: type(value) is str, optional=optional)
    return None if found is None else found[:_MAX_TEXT]


def _flag(section: Section, name: str, *, optional: bool = False) -> Any:
    return _value(section, name, lambda value: type(value) is bool, optional=optional)


def _count(section: Section, name: str, *, optional: bool = False) -> Any:
    return _value(section, name, lambda value: type(value) is int and 0 <= value < 1 << 53, optional=optional)


def _number(section: Section, name: str, low: float, high: float) -> float:
    def fits(value: Any) -> bool:
        return type(value) in (int, float) and math.isfinite(value) and low <= value <= high

    return float(_value(section, name, fits, optional=False))


def _rate(section: Section, name: str) -> Section | None:
    """A rate with its interval; None where there was nothing to count."""
    found = section.get(name)
    if found is None:
        return None
    rate = _section(section, name)
    shown: Section = {key: _number(rate, key, 0, 1) for key in ("value", "low", "high")}
    shown |= {key: _count(rate, key) for key in ("errors", "trials")}
    if not shown["low"] - _TINY <= shown["value"] <= shown["high"] + _TINY or shown["errors"] > shown["trials"]:
        raise _damaged(f"{name} is not between its limits")
    return shown
