"""The result of an evaluation: a frozen value, and the JSON document that it is kept as."""

from __future__ import annotations

import contextlib
import json
import math
from dataclasses import asdict, dataclass, fields
from typing import TYPE_CHECKING, Any

from facegate_convert._evaluate._manifest import load_document
from facegate_convert._files import write_file
from facegate_convert.errors import OutputFileError, ResultError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

FORMAT = "facegate-evaluation"
VERSION = 1
RESULT = "result.json"
MANIFEST = "manifest.json"
_HINT = "name a folder that `facegate evaluate run` wrote"

Section = dict[str, Any]


@dataclass(frozen=True, slots=True, eq=True)
class Evaluation:
    """What was measured. Every section holds JSON values; one that was not measured holds `{"not_run": why}`.

    A rate is {"errors", "trials", "value", "low", "high", "confidence", "effective"}; a photograph is named by the
    first 12 hex digits of its sha256.

    Attributes:
        created: RFC 3339, UTC.
        source: what made the templates: kind, name, id, models.
        dataset: name, kind, fingerprint, counts, lawful basis, policy for several faces.
        problems: how many photographs or pairs validation found for each kind of problem.
        comparisons: how many were made, how many could not be, and whether their scores are exact.
        failures: photographs without a template, by reason, and the rates of failing to detect and to enroll.
        scores: histogram {"edges", "genuine", "impostor"}.
        curve: error rates over thresholds with intervals, lists of equal length.
        operating_points: a threshold for each FMR that was asked for, and what was measured at it.
        stated_points: what was measured at the thresholds that the bundle came with.
        summary: equal error rate, area under the ROC, d'.
        folds: accuracy by fold.
        open_set: identification.
        groups: for each attribute, rates by group and between groups.
        liveness: presentation attacks.
        worst: the pairs that went wrong most.
        checks: what was required, and whether it was met.
        warnings: what the reader should know before believing the figures.
        reproduce: what it takes to get these figures again.
    """

    created: str
    source: Section
    dataset: Section
    problems: Section
    comparisons: Section
    failures: Section
    scores: Section
    curve: Section
    operating_points: list[Section]
    stated_points: list[Section]
    summary: Section
    folds: Section
    open_set: Section
    groups: list[Section]
    liveness: Section
    worst: Section
    checks: list[Section]
    warnings: list[str]
    reproduce: Section

    @property
    def passed(self) -> bool:
        """Whether every check was met."""
        return all(check["met"] for check in self.checks)

    def to_dict(self) -> dict[str, Any]:
        """The JSON document."""
        return {"format": FORMAT, "version": VERSION, **asdict(self)}

    @classmethod
    def from_dict(cls, document: Mapping[str, Any]) -> Evaluation:
        """The value of a JSON document.

        Raises:
            ResultError: it is none, or lacks a section.
        """
        values: dict[str, Any] = {}
        if document.get("format") != FORMAT or document.get("version") != VERSION:
            raise ResultError("this is no evaluation that this facegate reads", hint=_HINT)
        for field in fields(cls):
            value = document.get(field.name)
            wanted: type = {"created": str, "operating_points": list, "stated_points": list}.get(field.name, dict)
            if field.name in ("groups", "checks", "warnings"):
                wanted = list
            if not isinstance(value, wanted):
                raise ResultError(f"the evaluation has no {field.name}", hint=_HINT)
            values[field.name] = value
        return cls(**values)

    def to_json(self) -> bytes:
        """The document's bytes; equal evaluations give equal bytes. Numbers that JSON has no word for become null."""
        return dump(self.to_dict())


def dump(document: Mapping[str, Any]) -> bytes:
    """A JSON document's bytes, a line for each section. Numbers that JSON has no word for become null."""
    lines = (
        f" {json.dumps(key)}: {json.dumps(finite(value), ensure_ascii=True, allow_nan=False)}"
        for key, value in document.items()
    )
    return ("{\n" + ",\n".join(lines) + "\n}\n").encode()


def make_folder(path: Path) -> Path:
    """A folder for a result, which only its owner can look into if it is new. Raises OutputFileError."""
    try:
        path.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise OutputFileError(
            f"the folder {path} cannot be made: {error.strerror}", hint="name a folder that can be written to"
        ) from error
    return path


def save_evaluation(evaluation: Evaluation, folder: Path) -> Path:
    """Write `result.json` into a folder, readable for its owner only. Raises OutputFileError."""
    path = folder / RESULT
    write_file(path, [evaluation.to_json()], mode=0o600)
    return path


def load_evaluation(path: Path) -> Evaluation:
    """Read a result's folder, or its `result.json`. Raises ResultError."""
    file = path / RESULT if path.is_dir() else path
    return Evaluation.from_dict(load_document(file, FORMAT, VERSION, _HINT))


@contextlib.contextmanager
def reading() -> Iterator[None]:
    """What a result's sections lack, or hold of another kind, is a ResultError: somebody edited or damaged the file."""
    try:
        yield
    except (AttributeError, KeyError, TypeError) as error:
        raise ResultError("the result does not hold what a result holds", hint=_HINT) from error


def finite(value: Any) -> Any:
    """The value with None in the place of numbers that are infinite or none."""
    if isinstance(value, dict):
        return {k: finite(v) for k, v in value.items()}
    if isinstance(value, (list, tuple)):
        return [finite(v) for v in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
