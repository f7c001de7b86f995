"""`facegate rights`: what people may ask of a gate, each one command. docs/rights.md says which law each is from."""

from __future__ import annotations

import functools
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from facegate._certificate import verify_certificate
from facegate._files import write_new
from facegate.cli._consent_options import ConsentOptions, consent_options
from facegate.cli._session import as_officer, confirm, dry_run_option, gate_option, yes_option
from facegate.cli._signed import read_signed
from facegate.cli._tables import count, day, table
from facegate.errors import CertificateError, ExportError
from facegate_edge._keys import TrustStore

if TYPE_CHECKING:
    from collections.abc import Callable

    from facegate._certificate import SignedCertificate
    from facegate._rights._requests import Request, Right
    from facegate_edge._output import Output

# As `facegate._rights._requests` has them; imported from there they would bring the whole gate with them, for help.
RIGHTS = (
    *("access", "export", "correction", "erasure", "withdrawal", "closing", "restriction", "objection"),
    *("explanation",),
)
OUTCOMES = ("done", "refused", "canceled")


def _basis(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add what an answer rests on, as `basis`: exactly one of a request and how the person's identity was checked."""

    @functools.wraps(command)
    def call(*args: Any, request: str | None, checked_by: str | None, **kwargs: Any) -> Any:
        if (request is None) == (checked_by is None):
            raise click.UsageError(
                "say which request this answers with --request R-..., or how the person's identity was checked with "
                "--checked-by"
            )
        return command(*args, basis={"request": request, "checked_by": checked_by}, **kwargs)

    call = click.option("--checked-by", help="How the person's identity was checked, e.g. passport-seen.")(call)
    return click.option("--request", help="Number of the open request that this answers and closes.")(call)


def _certificate_option(command: Callable[..., Any]) -> Callable[..., Any]:
    return click.option(
        "-o",
        "--output",
        "target",
        type=click.Path(path_type=Path),
        help="A new file for the erasure certificate [default: print it].",
    )(command)


# --- requests ------------------------------------------------------------------------------------------------------


@click.command(short_help="Log a person's request, and when it is due.")
@gate_option
@click.argument("right", type=click.Choice(RIGHTS))
@click.argument("reference")
@click.option("--checked-by", required=True, help="How the person's identity was checked, e.g. passport-seen.")
@click.option("--note", help="One line; nobody's name.")
@click.pass_obj
def request(output: Output, folder: Path, right: Right, reference: str, checked_by: str, note: str | None) -> None:
    """Log which RIGHT a person asks for, today. Prints the request's number and when it is due. Role: privacy officer.

    What can be answered at once needs no request first: the other commands log one themselves.
    """
    with as_officer(folder) as officer:
        made = officer.open_request(right, reference, checked_by=checked_by, note=note)
    output.emit(made.to_dict(), f"{made.number}: {right} for {reference}, due {day(made.due)}")


@click.command(short_help="List requests, what is due first.")
@gate_option
@click.option("--of", "reference", metavar="REFERENCE", help="Only those about this person.")
@click.option("--open", "open_only", is_flag=True, help="Only those that are not answered.")
@click.option("--overdue", is_flag=True, help="Only those that should have been answered; exits with 1 if there are.")
@click.pass_obj
def requests(output: Output, folder: Path, reference: str | None, open_only: bool, overdue: bool) -> None:
    """List requests, what is due first. Role: privacy officer."""
    with as_officer(folder) as officer:
        found = officer.overdue() if overdue else officer.requests(reference, open_only=open_only)
    if overdue:
        found = tuple(r for r in found if reference is None or r.reference == reference)
    output.emit(
        {"requests": [each.to_dict() for each in found]},
        lambda: table(
            ("number", "right", "reference", "received", "due", "answered", "outcome"),
            [_request_row(each) for each in found],
            "there are no such requests",
        ),
    )
    if overdue and found:
        click.get_current_context().exit(1)


@click.command(short_help="Close a request that no other command answers.")
@gate_option
@click.argument("number")
@click.argument("outcome", type=click.Choice(OUTCOMES))
@click.option("--note", help="Why, in one line; needed for a refusal.")
@click.pass_obj
def close(output: Output, folder: Path, number: str, outcome: str, note: str | None) -> None:
    """Close the request of that NUMBER. Role: privacy officer."""
    with as_officer(folder) as officer:
        closed = officer.close_request(number, outcome, note=note)
    output.emit(closed.to_dict(), f"{closed.number}: {closed.outcome}")


@click.command(short_help="Give a request more time, once.")
@gate_option
@click.argument("number")
@click.argument("days", type=click.IntRange(1, 60))
@click.option("--note", required=True, help="Why, in one line: the person must be told.")
@click.pass_obj
def extend(output: Output, folder: Path, number: str, days: int, note: str) -> None:
    """Give an open request up to 60 DAYS more (GDPR Art. 12(3)). Role: privacy officer."""
    with as_officer(folder) as officer:
        extended = officer.extend_request(number, days, note=note)
    output.emit(extended.to_dict(), f"{extended.number}: due {day(extended.due)}; tell the person, and why")


# --- what is held --------------------------------------------------------------------------------------------------


@click.command(short_help="All that the gate holds of a person, and why.")
@gate_option
@click.argument("reference")
@_basis
@click.pass_obj
def access(output: Output, folder: Path, reference: str, basis: dict[str, str | None]) -> None:
    """Print all that the gate holds of a person as JSON, also of one who is not enrolled. Role: privacy officer."""
    with as_officer(folder) as officer:
        record = officer.access(reference, **basis)
    output.emit({"record": record}, lambda: json.dumps(record, indent=2, ensure_ascii=False))


@click.command(short_help="Write a person's data into a signed ZIP.")
@gate_option
@click.argument("reference")
@click.argument("target", metavar="FILE", type=click.Path(path_type=Path))
@click.option("--templates", is_flag=True, help="Put the templates in as well: they are biometric data.")
@_basis
@click.pass_obj
def export(
    output: Output, folder: Path, reference: str, target: Path, templates: bool, basis: dict[str, str | None]
) -> None:
    """Write a person's data into FILE, a signed ZIP of documented JSON, mode 0600. Role: privacy officer."""
    with as_officer(folder) as officer:
        path = officer.export(reference, target, templates=templates, **basis)
    output.emit({"reference": reference, "file": str(path), "templates": templates}, f"wrote {path}")


@click.command(short_help="Say why a decision was made as it was.")
@gate_option
@click.argument("decision", metavar="DECISION-ID")
@click.option("--request", help="Number of the open request that this answers and closes.")
@click.option("--checked-by", help="How the identity of the person who asks was checked.")
@click.pass_obj
def explain(output: Output, folder: Path, decision: str, request: str | None, checked_by: str | None) -> None:
    """Say why a decision was made: reasons, threshold, models, policy, who reviewed it. Role: privacy officer.

    Without --request and --checked-by it is not a person who asks, and no request is logged.
    """
    with as_officer(folder) as officer:
        explained = officer.explain(decision, request=request, checked_by=checked_by)
    output.emit({"explanation": explained}, lambda: json.dumps(explained, indent=2, ensure_ascii=False))


# --- what is changed -----------------------------------------------------------------------------------------------


@click.command(short_help="Correct what is recorded of a person.")
@gate_option
@click.argument("reference")
@click.option("--new-reference", help="The person's reference from now on.")
@click.option("--join", multiple=True, metavar="GROUP", help="A group that they are in; repeatable.")
@click.option("--leave", multiple=True, metavar="GROUP", help="A group that they are not in; repeatable.")
@consent_options
@_basis
@click.pass_obj
def correct(
    output: Output,
    folder: Path,
    reference: str,
    new_reference: str | None,
    join: tuple[str, ...],
    leave: tuple[str, ...],
    consent: ConsentOptions,
    basis: dict[str, str | None],
) -> None:
    """Correct a person's reference, groups or consent; all of it or nothing. Role: privacy officer.

    For other faces: `facegate faces add` and `remove`.
    """
    corrected = consent.record(folder) if consent.named else None
    if new_reference is None and not join and not leave and corrected is None:
        raise click.UsageError("say what is to be corrected")
    with as_officer(folder) as officer:
        officer.correct(reference, new_reference=new_reference, join=join, leave=leave, consent=corrected, **basis)
    now = new_reference if new_reference is not None else reference
    output.emit({"reference": now, "was": reference}, f"corrected what is recorded of {now}")


@click.command(short_help="Decide nothing about a person for the time being.")
@gate_option
@click.argument("reference")
@_basis
@click.pass_obj
def restrict(output: Output, folder: Path, reference: str, basis: dict[str, str | None]) -> None:
    """Decide nothing about a person for the time being; their data stays. Role: privacy officer."""
    with as_officer(folder) as officer:
        officer.restrict(reference, **basis)
    output.emit({"reference": reference, "restricted": True}, f"nothing is decided about {reference}")


@click.command(short_help="End a restriction.")
@gate_option
@click.argument("reference")
@_basis
@click.pass_obj
def unrestrict(output: Output, folder: Path, reference: str, basis: dict[str, str | None]) -> None:
    """End a restriction; tell the person before. Role: privacy officer."""
    with as_officer(folder) as officer:
        officer.unrestrict(reference, **basis)
    output.emit({"reference": reference, "restricted": False}, f"{reference} is decided about again")


@click.command("object", short_help="A person's matches are for a person to review.")
@gate_option
@click.argument("reference")
@click.option("--end", is_flag=True, help="The person objects no longer.")
@_basis
@click.pass_obj
def object_(output: Output, folder: Path, reference: str, end: bool, basis: dict[str, str | None]) -> None:
    """The person objects to automated decisions: from now on their matches are reviewed. Role: privacy officer."""
    with as_officer(folder) as officer:
        officer.object_automated(reference, not end, **basis)
    text = f"matches of {reference} are decided automatically again" if end else f"matches of {reference} are reviewed"
    output.emit({"reference": reference, "objection": not end}, text)


# --- what is erased ------------------------------------------------------------------------------------------------


@click.command(short_help="Erase a person, and certify it.")
@gate_option
@click.argument("reference")
@_basis
@_certificate_option
@yes_option
@dry_run_option
@click.pass_obj
def erase(
    output: Output,
    folder: Path,
    reference: str,
    basis: dict[str, str | None],
    target: Path | None,
    yes: bool,
    dry_run: bool,
) -> None:
    """Erase a person: their key, templates, consents. Gives a signed certificate. Role: privacy officer."""
    _erase(output, folder, reference, "erase", basis, target, yes=yes, dry_run=dry_run)


@click.command(short_help="Withdraw a person's consent, and certify the erasure.")
@gate_option
@click.argument("reference")
@_basis
@_certificate_option
@yes_option
@dry_run_option
@click.pass_obj
def withdraw(
    output: Output,
    folder: Path,
    reference: str,
    basis: dict[str, str | None],
    target: Path | None,
    yes: bool,
    dry_run: bool,
) -> None:
    """The person withdraws their consent: they are erased at once. Gives a certificate. Role: privacy officer."""
    _erase(output, folder, reference, "withdraw", basis, target, yes=yes, dry_run=dry_run)


@click.command("close-account", short_help="Give a person their data, erase them, close their requests.")
@gate_option
@click.argument("reference")
@click.option("--export-to", type=click.Path(path_type=Path), help="A new file for their data, written before.")
@_basis
@_certificate_option
@yes_option
@dry_run_option
@click.pass_obj
def close_account(
    output: Output,
    folder: Path,
    reference: str,
    export_to: Path | None,
    basis: dict[str, str | None],
    target: Path | None,
    yes: bool,
    dry_run: bool,
) -> None:
    """Erase a person for good: their data first if they want it, then everything. Role: privacy officer."""
    _erase(output, folder, reference, "close_account", basis, target, yes=yes, dry_run=dry_run, export_to=export_to)


@click.command(short_help="Give the certificate of an erasure once more.")
@gate_option
@click.argument("reference")
@_certificate_option
@click.pass_obj
def certify(output: Output, folder: Path, reference: str, target: Path | None) -> None:
    """Make another certificate of a person's erasure, if the first one was lost. Role: privacy officer."""
    with as_officer(folder) as officer:
        signed = officer.certify_again(reference)
    _give(output, reference, signed, target)


@click.command(short_help="Check an erasure certificate.")
@click.argument("certificate", metavar="JWS|FILE|-")
@click.option(
    "--key",
    required=True,
    type=click.Path(path_type=Path),
    help="The device's public key, or a folder of them (*.pub).",
)
@click.option("--of", "reference", metavar="REFERENCE", help="It must be about this person.")
@click.pass_obj
def certificate(output: Output, certificate: str, key: Path, reference: str | None) -> None:
    """Check an erasure certificate's signature, and whom it is about. Needs no gate and no credential."""
    text = read_signed(certificate, "an erasure certificate", CertificateError)
    found = verify_certificate(text, TrustStore.load(key), reference=reference)
    data = found.to_dict()
    output.emit({"certificate": data}, lambda: json.dumps(data, indent=2))


# --- inside --------------------------------------------------------------------------------------------------------


def _erase(
    output: Output,
    folder: Path,
    reference: str,
    how: str,
    basis: dict[str, str | None],
    target: Path | None,
    *,
    yes: bool,
    dry_run: bool,
    export_to: Path | None = None,
) -> None:
    more = {} if how != "close_account" else {"export_to": export_to}
    with as_officer(folder) as officer:
        held = officer.held(reference)
        what = ", ".join(count(number, name[:-1]) for name, number in held.items())
        if dry_run:
            output.emit({"reference": reference, "dry_run": True, **held}, f"would erase {reference}: {what}")
            return
        confirm(output, f"Erase {reference} ({what})? This cannot be undone.", yes=yes)
        signed: SignedCertificate = getattr(officer, how)(reference, **basis, **more)
    _give(output, reference, signed, target)


def _give(output: Output, reference: str, signed: SignedCertificate, target: Path | None) -> None:
    """Write the certificate to a new file, or print it."""
    data = {"reference": reference, "certificate": signed.certificate.to_dict(), "jws": signed.jws}
    if target is None:
        output.emit(data, f"{reference} is erased; the certificate, for them to keep:\n{signed.jws}")
        return
    try:
        write_new(target, [signed.jws.encode("ascii") + b"\n"], 0o600)
    except OSError as error:
        raise ExportError(
            f"{reference} is erased, but the certificate cannot be written to {target}: {error.strerror}",
            hint="`facegate rights certify` gives it once more",
        ) from error
    output.emit(data | {"file": str(target)}, f"{reference} is erased; the certificate is in {target}")


def _request_row(each: Request) -> tuple[str, ...]:
    return (
        each.number,
        each.right,
        each.reference,
        day(each.received),
        day(each.due),
        day(each.closed),
        each.outcome or "-",
    )
