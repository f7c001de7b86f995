"""`facegate people`: who is enrolled, and with whose consent."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from facegate.cli._consent_options import ConsentOptions, consent_options
from facegate.cli._enrolled import report, with_duplicate_asked
from facegate.cli._pictures import photographs, pictures_argument
from facegate.cli._session import as_enroller, confirm, dry_run_option, gate_option, yes_option
from facegate.cli._tables import count, day, stamp, table

if TYPE_CHECKING:
    from pathlib import Path

    from facegate._consent import Consent
    from facegate._enroller import Enroller
    from facegate._enrollment import PersonInfo
    from facegate_edge._output import Output


@click.command("list", short_help="List the people who are enrolled.")
@gate_option
@click.option("--group", help="Only the people of this group.")
@click.option("--outdated", is_flag=True, help="Only people with faces of another bundle: to be enrolled again.")
@click.pass_obj
def list_(output: Output, folder: Path, group: str | None, outdated: bool) -> None:
    """List the people who are enrolled, by reference. Role: enroller."""
    with as_enroller(folder) as enroller:
        people = enroller.people()
        members = None if group is None else set(enroller.members(group))
        old = set(enroller.outdated()) if outdated else None
    shown = [p for p in people if (members is None or p.reference in members) and (old is None or p.reference in old)]
    output.emit(
        {"people": [_as_json(person) for person in shown]},
        lambda: table(
            ("reference", "faces", "enrolled", "groups", "remarks"),
            [(p.reference, str(p.faces), day(p.enrolled_at), ", ".join(p.groups), _remarks(p)) for p in shown],
            "nobody is enrolled" if not people else "none of the people enrolled",
        ),
    )


@click.command(short_help="Show what is held of a person.")
@gate_option
@click.argument("reference")
@click.pass_obj
def show(output: Output, folder: Path, reference: str) -> None:
    """Show a person's faces, groups and consents. Role: enroller.

    For what a person may ask for, see `facegate rights access`.
    """
    with as_enroller(folder) as enroller:
        faces, consents = enroller.faces(reference), enroller.consents(reference)
        (person,) = (p for p in enroller.people() if p.reference == reference)
    data = _as_json(person) | {
        "face_numbers": [{"face": f.id, "added": stamp(f.added_at), "current": f.current} for f in faces],
        "consents": [_consent_json(consent) for consent in consents],
    }
    groups = ", ".join(person.groups) or "-"
    lines = [
        f"{reference}: enrolled {day(person.enrolled_at)}, {count(len(faces), 'face')}, groups: {groups}",
        *([_remarks(person)] if _remarks(person) else []),
        *(f"face {f.id}, added {day(f.added_at)}{'' if f.current else ', of another bundle'}" for f in faces),
        *map(_consent_line, consents),
    ]
    output.emit(data, "\n".join(lines))


@click.command(short_help="Enroll a person from pictures, with their consent.")
@gate_option
@click.argument("reference")
@pictures_argument
@consent_options
@click.option("--minor/--adult", default=None, help="Whether the person is a minor [default: not asked].")
@click.option("--group", "groups", multiple=True, help="A group to join; repeat for more.")
@click.option("--allow-duplicate", is_flag=True, help="Enroll even if the same face is enrolled as somebody else.")
@click.pass_obj
def enroll(
    output: Output,
    folder: Path,
    reference: str,
    pictures: tuple[Path, ...],
    consent: ConsentOptions,
    minor: bool | None,
    groups: tuple[str, ...],
    allow_duplicate: bool,
) -> None:
    """Enroll a person under a REFERENCE, a pseudonym of yours, from PICTUREs with one face each. Role: enroller.

    Exits with 1 if the person was not enrolled: no picture could be used, or the same face is enrolled under another
    reference. At a terminal the latter is asked about; elsewhere --allow-duplicate says it.
    """
    record, files = consent.record(folder), photographs(pictures)
    with as_enroller(folder, models=True) as enroller:
        result = with_duplicate_asked(
            output,
            files,
            allow_duplicate,
            lambda frames, allow: enroller.enroll(
                reference, frames, record, minor=minor, groups=groups, allow_duplicate=allow
            ),
        )
    report(output, result, files)


@click.command(short_help="Erase a person.")
@gate_option
@click.argument("reference")
@yes_option
@dry_run_option
@click.pass_obj
def remove(output: Output, folder: Path, reference: str, yes: bool, dry_run: bool) -> None:
    """Erase a person who is not to be recognized any more. Role: enroller.

    Prints a signed certificate of it. If the person asks for it, use `facegate rights erase`: it logs the request too.
    """
    erase(output, folder, reference, yes=yes, dry_run=dry_run, how="remove")


@click.command(short_help="Record that a person is a minor.")
@gate_option
@click.argument("reference")
@consent_options
@click.pass_obj
def minor(output: Output, folder: Path, reference: str, consent: ConsentOptions) -> None:
    """Record that an enrolled person is a minor: with their guardian's consent, or they are erased. Role: enroller."""
    record = consent.record(folder) if consent.named else None
    with as_enroller(folder) as enroller:
        enroller.mark_minor(reference, record)
    output.emit({"reference": reference, "minor": True}, f"{reference} is a minor, with a guardian's consent")


def erase(output: Output, folder: Path, reference: str, *, yes: bool, dry_run: bool, how: str) -> None:
    """Erase a person in one of the ways, after asking. `how` is "remove" or "withdraw"."""
    with as_enroller(folder) as enroller:
        held = _held(enroller, reference)
        data = {"reference": reference, "dry_run": dry_run, **held}
        what = ", ".join(count(number, name[:-1]) for name, number in held.items())
        if dry_run:
            output.emit(data, f"would erase {reference}: {what}")
            return
        confirm(output, f"Erase {reference} ({what})? This cannot be undone.", yes=yes)
        signed = (enroller.remove if how == "remove" else enroller.withdraw)(reference)
    certified = {"certificate": signed.certificate.to_dict(), "jws": signed.jws}
    output.emit(data | certified, f"erased {reference}: {what}\ncertificate: {signed.jws}")


def _held(enroller: Enroller, reference: str) -> dict[str, int]:
    """How much is held of a person. Raises SubjectError if there is none."""
    faces, consents = enroller.faces(reference), enroller.consents(reference)
    (person,) = (p for p in enroller.people() if p.reference == reference)
    return {"faces": len(faces), "consents": len(consents), "groups": len(person.groups)}


def _as_json(person: PersonInfo) -> dict[str, Any]:
    return {
        "reference": person.reference,
        "faces": person.faces,
        "groups": list(person.groups),
        "enrolled": stamp(person.enrolled_at),
        "minor": person.minor,
        "restricted": person.restricted,
        "lapsed": person.lapsed,
    }


def _consent_json(consent: Consent) -> dict[str, Any]:
    return {
        "purpose": consent.purpose,
        "legal_basis": consent.legal_basis,
        "text_version": consent.text_version,
        "text_sha256": consent.text_sha256,
        "given": stamp(consent.given_at),
        "taken_by": consent.taken_by,
        "expires": stamp(consent.expires_at),
        "guardian": consent.guardian,
    }


def _remarks(person: PersonInfo) -> str:
    remarks = (("minor", person.minor), ("restricted", person.restricted), ("consent expired", person.lapsed))
    return ", ".join(word for word, applies in remarks if applies)


def _consent_line(consent: Consent) -> str:
    guardian = f", by the guardian {consent.guardian}" if consent.guardian else ""
    return (
        f"consent to {consent.purpose!r} ({consent.legal_basis}), text {consent.text_version}, "
        f"given {day(consent.given_at)} to {consent.taken_by}, expires {day(consent.expires_at)}{guardian}"
    )
