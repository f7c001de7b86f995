"""A review pack as one JSON document; page, tables and drawing are made from it alone."""

from __future__ import annotations

import csv
import dataclasses
import io
import math
from typing import TYPE_CHECKING, Any

from facegate._pack._cards import bundle_card, deployment, model_cards, rules, thresholds
from facegate._pack._controls import STATES, controls
from facegate._pack._flow import flows
from facegate._pack._inventory import data_classes

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from facegate._pack._facts import Facts

__all__ = ["FORMAT", "VERSION", "build_document", "table"]

FORMAT = "facegate-review-pack"
VERSION = 1


def build_document(facts: Facts) -> dict[str, Any]:
    """The document, JSON values only.

    Without a gate it has no `declaration`, `policy`, `settings`, `data_classes` and `flows`.
    """
    found = controls(facts)
    document: dict[str, Any] = {
        "format": FORMAT,
        "version": VERSION,
        "about": "gate" if facts.gate is not None else "bundle",
        "time": facts.time,
        "time_source": facts.time_source,
        "facegate": facts.version,
        "bundle": bundle_card(facts),
        "deployment": deployment(facts),
        "thresholds": thresholds(facts),
        "models": model_cards(facts),
        "evaluation": _evaluation(facts),
        "states": STATES,
        "controls": [dataclasses.asdict(control) | {"tests": list(control.tests)} for control in found],
        "software": [
            {
                "name": each.name,
                "version": each.version,
                "licence": each.licence,
                "required": each.required,
                "missing": list(each.missing),
                "libraries": [dataclasses.asdict(library) for library in each.libraries],
            }
            for each in facts.software
        ],
    }
    if facts.gate is not None:
        document |= rules(facts.gate)
        document["data_classes"] = [each.to_dict() for each in data_classes(facts.gate)]
        document["flows"] = [each.to_dict() for each in flows(facts)]
    return document


def _evaluation(facts: Facts) -> dict[str, Any] | None:
    if facts.result is None:
        return None
    result = facts.result
    used = None if facts.gate is None else facts.gate.threshold
    notes = [
        f"groups by {section['column']} were measured at the threshold {section['threshold']:.4f}; "
        f"this gate uses {used:.4f}"
        for section in result.sections["groups"]
        if used is not None and not math.isclose(section["threshold"], used, abs_tol=1e-9)
    ]
    return {"of": result.of, "sha256": result.sha256, "notes": notes, **result.sections}


def table(head: Sequence[str], rows: Iterable[Sequence[object]]) -> bytes:
    """A CSV in UTF-8 (RFC 4180). What a spreadsheet would take for a formula gets an apostrophe before it."""
    buffer = io.StringIO(newline="")
    writer = csv.writer(buffer)
    writer.writerow(head)
    writer.writerows([_cell(value) for value in row] for row in rows)
    return buffer.getvalue().encode("utf-8", "replace")


def _cell(value: object) -> object:
    if value is None:
        return ""
    if isinstance(value, (list, tuple)):
        value = " ".join(map(str, value))
    return f"'{value}" if isinstance(value, str) and value[:1] in ("=", "+", "-", "@", "\t", "\r") else value
