"""The parts of an evaluation's page about the data: what failed, what went wrong most, and how to do it again."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from facegate_convert._pages._page import Cell, Mark, Table
from facegate_convert._pages._parts import absent, left_out, short
from facegate_convert._pages._text import (
    UNKNOWN,
    clean,
    count,
    errors,
    interval,
    mapping,
    number,
    rate,
    rows,
    score,
    significant,
)

if TYPE_CHECKING:
    from facegate_convert._pages._page import Page

# Counts of validation, in words.
_PROBLEMS = {
    "no_face": "no face found",
    "several_faces": "several faces",
    "tiny": "a tiny face",
    "blurred": "blurred",
    "turned": "turned away",
    "dark": "too dark",
    "unlike_own": "unlike other photographs of the person (mislabelled?)",
    "like_other": "like another person (mislabelled?)",
    "duplicate": "the same file twice",
    "near_duplicate": "nearly the same picture twice",
    "unreadable": "not readable",
}


# What the page says elsewhere.
_SAID = frozenset({"source", "faces"})


def add_failures(page: Page, result: Mapping[str, Any]) -> None:
    """Photographs without a template, and what validation found."""
    page.section("Failures", "Photographs without a usable face are counted, never skipped.")
    failures = mapping(result.get("failures"))
    known = [
        (name, mapping(failures.get(key)))
        for key, name in (
            ("detect", "To detect: no face was found"),
            ("enroll", "To enroll: no template, for any reason"),
        )
        if mapping(failures.get(key))
    ]
    if not known or absent(result.get("failures")):
        page.missing("Failures.", absent(result.get("failures")) or "None is in this result.")
    else:
        made = [[n, rate(r), interval(r), errors(r)] for n, r in known]
        page.table(Table.of(("Failure", "Rate", "Interval", "Photographs"), made))
        lost = [(kind, number(failures.get(kind))) for kind in ("genuine", "impostor")]
        if any(n for _, n in lost):
            text = " and ".join(f"{count(n)} {kind}" for kind, n in lost if n is not None)
            page.text(f'Because of them, {text} comparisons could not be made; "with failures" counts them as errors.')
    _counted(page, "Photographs without a template, by reason", failures.get("reasons"))
    _counted(page, "What validation found in the data set", result.get("problems"))


def _counted(page: Page, caption: str, counts: Any) -> None:
    found = mapping(counts)
    if absent(counts) or not found:
        return
    made = [[_PROBLEMS.get(str(k), clean(k).replace("_", " ")), count(n)] for k, n in found.items()]
    page.table(Table.of((caption, "How many"), made))


def add_worst(page: Page, result: Mapping[str, Any]) -> None:
    """The pairs that went wrong most, by identifier."""
    page.section(
        "Worst pairs",
        "The least similar pairs of one person and the most similar of two people, to be looked at on the evaluator's"
        " own disk.",
    )
    worst = mapping(result.get("worst"))
    if left_out(page, result.get("worst"), "Worst pairs."):
        return
    for key, caption in (("genuine", "Least similar of the same person"), ("impostor", "Most similar of two people")):
        found = rows(worst.get(key))
        if found:
            made = [[_image(p, "a"), _image(p, "b"), score(p.get("score"))] for p in found]
            page.table(Table.of(("One photograph", "The other", "Similarity"), made, "ccr", caption))
        else:
            page.missing(f"{caption}.", "There was no such pair.")


def _image(pair: Mapping[str, Any], side: str) -> Cell:
    """A photograph's identifier, and its name if the evaluator asked for names."""
    return Cell(clean(pair.get(side)), clean(pair.get(f"{side}_name") or ""))


def add_about(page: Page, result: Mapping[str, Any], amount: str) -> None:
    """What was evaluated on what, and what it takes to get these figures again."""
    source, dataset = mapping(result.get("source")), mapping(result.get("dataset"))
    compared = mapping(result.get("comparisons"))
    page.section("About this evaluation", "What is needed to do it again.")
    given: list[tuple[str, Any]] = [
        ("Evaluated", f"{clean(source.get('kind') or 'source')} {clean(source.get('name') or '?')}"),
        ("Identifier", clean(source.get("id") or UNKNOWN)),
        *_signature(source),
        ("Target", clean(source.get("target") or "not said")),
        ("Data set", f"{clean(dataset.get('name') or 'without a name')}, {amount}"),
        ("Its fingerprint", clean(dataset.get("fingerprint") or UNKNOWN)),
        ("Lawful basis", clean(dataset["lawful_basis"]) if dataset.get("lawful_basis") else Mark("warn", "not stated")),
        ("Several faces in a photograph", clean(dataset.get("multi_face") or "not said")),
        ("Compared", clean(compared.get("protocol") or "not said")),
    ]
    if compared.get("exact") is False and number(compared.get("resolution")):
        given.append(("Similarities counted in steps of", significant(compared["resolution"], 2)))
    if result.get("created"):
        given.append(("Made", clean(result["created"])))
    again = mapping(result.get("reproduce"))
    given += [
        (clean(k).replace("_", " "), _value(v))
        for k, v in again.items()
        if str(k) not in _SAID and not isinstance(v, Mapping | list)
    ]
    page.facts(given)
    models = [
        [
            clean(m.get("role")),
            clean(m.get("family") or UNKNOWN),
            clean(m.get("precision") or UNKNOWN),
            clean(m.get("licence") or "not said"),
            short(m.get("sha256")),
        ]
        for m in rows(source.get("models"))
    ]
    if models:
        page.table(Table.of(("Model", "Family", "Precision", "Licence", "sha256 begins with"), models, "llllc"))


def _signature(source: Mapping[str, Any]) -> list[tuple[str, Any]]:
    if source.get("kind") != "bundle":
        return []
    signer = clean(source.get("signed_by") or "")
    if source.get("trusted") is True:
        return [("Signature", Mark("good", f"checked, key {signer}"))]
    return [("Signature", Mark("warn", f"not checked, key {signer}" if signer else "none"))]


def _value(value: Any) -> str:
    return (
        {True: "yes", False: "no", None: UNKNOWN}[value] if value is None or isinstance(value, bool) else clean(value)
    )
