"""What the page of a review pack says about an evaluation."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from facegate._pack._html import Html, tag
from facegate._pack._page_parts import SIGNS, code, facts, mark, table

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["evaluation_part"]


def _rate(rate: Mapping[str, Any] | None) -> str:
    if rate is None or not rate["trials"]:
        return "nothing to count"
    return f"{rate['value']:.3%} ({rate['low']:.3%}\u2013{rate['high']:.3%})"


def evaluation_part(document: Mapping[str, Any]) -> list[Html]:
    found = document["evaluation"]
    if found is None:
        return [
            tag("p", "None was given: add one with --evaluation, made by `facegate evaluate run` on this bundle.",
                class_="missing"),
        ]  # fmt: skip
    data = found["dataset"]
    points = [
        (f"{p['fmr']:g}", f"{p['threshold']:.4f}", _rate(p["fnmr"]), _rate(p["fmr_measured"]),
         _rate(p["fnmr_with_failures"]), p["note"] or ("" if p["carried"] else "not carried by the data"))
        for p in found["operating_points"]
    ]  # fmt: skip
    head = ("FMR asked for", "threshold", "FNMR (95 %)", "FMR measured (95 %)", "FNMR with failures", "note")
    parts = [
        facts(
            ("of", found["of"]),
            ("dataset", f"{data['name']}, {data['images']:,} photographs" + (
                f" of {data['identities']:,} people" if data["identities"] is not None else "")),
            ("lawful basis", data["lawful_basis"]),
            ("fingerprint", code(data["fingerprint"])),
            ("made", f"{found['created']}, not signed; sha256 of the result {found['sha256']}"),
            ("no face found", _rate(found["failures"]["detect"])),
            ("no template made", _rate(found["failures"]["enroll"])),
        ),
        *(tag("p", note, class_="note") for note in [*found["notes"], *found["warnings"]]),
        tag("h3", "Verification (1:1)"),
        table(head, points, kind="wide"),
    ]  # fmt: skip
    if found["stated_points"]:
        rows = [
            (f"{p['fmr']:g}", f"{p['threshold']:.4f}", _rate(p["fnmr"]), _rate(p["fmr_measured"]), p["verdict"])
            for p in found["stated_points"]
        ]
        parts += [
            tag("h3", "The thresholds that the bundle came with"),
            table(("FMR stated", "threshold", "FNMR (95 %)", "FMR measured (95 %)", "kept?"), rows),
        ]
    for section in found["groups"]:
        parts += _group(section)
    parts += _liveness(found["liveness"]) + _open_set(found["open_set"])
    if found["checks"]:
        checks = [(c["require"], mark("in force" if c["met"] else "not in force"), c["note"]) for c in found["checks"]]
        parts += [tag("h3", "What was required"), table(("requirement", "met?", "note"), checks)]
    return parts


def _group(section: Mapping[str, Any]) -> list[Html]:
    rows = [
        (g["name"], g["subjects"], g["images"], _rate(g["fmr"]), _rate(g["fnmr"]), g["note"]) for g in section["groups"]
    ]
    check = section["check"]
    state = {"met": "in force", "not met": "not in force"}.get(check["verdict"], "not known")
    kind, sign = SIGNS[state]
    verdict = tag(
        "span", tag("span", sign, class_="sign", aria_hidden="true"), f" {check['verdict']}", class_=f"mark {kind}"
    )
    return [
        tag("h3", f"By {section['column']}, at the threshold {section['threshold']:.4f} (FMR {section['fmr']:g})"),
        table(("group", "people", "photographs", "FMR (95 %)", "FNMR (95 %)", "note"), rows, kind="wide"),
        tag("p", check["rule"], ": ", verdict, ". ", check["why"], class_="note"),
    ]


def _liveness(section: Mapping[str, Any]) -> list[Html]:
    title = tag("h3", "Presentation attacks")
    if "not_run" in section:
        return [title, tag("p", f"Not measured: {section['not_run']}", class_="missing")]
    rows = [(s["name"], _rate(s["apcer"]), s["name"] == section["worst"]) for s in section["species"]]
    lead = f"At the threshold {section['threshold']:g}: BPCER {_rate(section['bpcer'])}."
    return [title, tag("p", lead), table(("species", "APCER (95 %)", "worst"), rows)]


def _open_set(section: Mapping[str, Any]) -> list[Html]:
    title = tag("h3", "Identification (1:N)")
    if "not_run" in section:
        return [title, tag("p", f"Not measured: {section['not_run']}", class_="missing")]
    rows = [
        (f"{p['fpir']:g}", f"{p['threshold']:.4f}", _rate(p["fnir"]), _rate(p["fpir_measured"]), p["note"])
        for p in section["points"]
    ]
    return [
        title,
        tag("p", f"Among {section['gallery']:,} enrolled people."),
        table(("FPIR asked for", "threshold", "FNIR (95 %)", "FPIR measured (95 %)", "note"), rows, kind="wide"),
    ]
