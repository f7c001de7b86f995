"""`facegate init`: make a gate's folder."""

from __future__ import annotations

import dataclasses
import json
import sys
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args

import click

from facegate._consent import LegalBasis
from facegate._declaration import QUESTIONS, Declaration, blank_declaration, load_declaration
from facegate._new_gate import DEFAULT_KEY, check_new_gate, create_gate, default_credentials
from facegate._policy import Policy
from facegate._policy_json import load_policy
from facegate._reference import KEY, open_reference_bundle, reference_policy
from facegate.cli._bundle import fit_lines, fit_report
from facegate.cli._memory import refuse_core_dumps
from facegate.errors import DeclarationError
from facegate_edge._bundle import open_bundle
from facegate_edge._keys import TrustStore

if TYPE_CHECKING:
    from facegate._new_gate import NewGate
    from facegate.cli._output import Output
    from facegate_edge._bundle import Bundle

__all__ = ["init"]

_REFERENCE = """\
No bundle was given. Facegate comes with a reference bundle, for demonstrations:
  - it recognizes rendered faces only, such as `facegate.simulation` draws; it recognizes no real person;
  - every decision of the gate is marked "demonstration", and a receiver opens no door for it.
For people, give --bundle and --trust."""
_DECLARE = """\
A gate for people begins with what it is for. The answers stand in declaration.json, and every decision names them."""


@click.command(short_help="Make a gate's folder on this device.")
@click.argument("folder", metavar="DIR", required=False, type=click.Path(path_type=Path))
@click.option("--bundle", "path", type=click.Path(path_type=Path), help="The bundle to run; it is verified and copied.")
@click.option(
    "--trust",
    type=click.Path(path_type=Path),
    envvar="FACEGATE_TRUST",
    help="The signer's public key, or a folder of them (*.pub). Also from FACEGATE_TRUST.",
)
@click.option("--demonstration", is_flag=True, help="Use the reference bundle, which recognizes rendered faces only.")
@click.option("--device-id", help="The device's reference in decisions [default: the folder's name].")
@click.option(
    "--policy", type=click.Path(path_type=Path), help="Start from these rules, e.g. another gate's policy.json."
)
@click.option("--fmr", type=float, help="The false match rate to keep; picks the bundle's threshold.")
@click.option("--live-at", type=float, help="Require liveness: from this probability on a face counts as live.")
@click.option("--spoof-at", type=float, help="Require liveness: up to this probability a face counts as an attack.")
@click.option(
    "--declaration",
    "declared",
    type=click.Path(path_type=Path),
    help="What the gate is for: a file as --print-declaration prints it, filled in.",
)
@click.option("--purpose", help="What for, in the words that people are told and consent to; in the file's place.")
@click.option(
    "--print-declaration",
    "blank",
    is_flag=True,
    help="Print a declaration to fill in, and make nothing.",
)
@click.option(
    "--key",
    default=DEFAULT_KEY,
    show_default=True,
    metavar="PROVIDER",
    help="Where the sealing key is: file:PATH, environment:NAME, credential:NAME or tpm:PATH.",
)
@click.option(
    "--credentials",
    type=click.Path(path_type=Path),
    help="The folder for the credentials, one of each role [default: DIR-credentials].",
)
@click.option("--dry-run", is_flag=True, help="Check everything, write nothing.")
@click.pass_obj
def init(
    output: Output,
    folder: Path | None,
    path: Path | None,
    trust: Path | None,
    demonstration: bool,
    device_id: str | None,
    policy: Path | None,
    fmr: float | None,
    live_at: float | None,
    spoof_at: float | None,
    declared: Path | None,
    purpose: str | None,
    blank: bool,
    key: str,
    credentials: Path | None,
    dry_run: bool,
) -> None:
    """Make DIR a gate: its keys, the bundle, whom to trust, the rules, what it is for, and an empty store.

    DIR must not exist yet, or be empty. All of it is made, or nothing. Without --bundle the gate is a demonstration; at
    a terminal this asks first, elsewhere it takes --demonstration. The rules stand in DIR/policy.json, to be edited.
    What a gate with a bundle of your own is for is asked at a terminal, elsewhere it takes --declaration; what codes of
    conduct prohibit is refused by name. Each role's credential is written beside DIR: hand them out.
    """
    if blank:
        text = blank_declaration()
        output.emit({"declaration": json.loads(text), "questions": QUESTIONS}, text)
        return
    if folder is None:
        raise click.MissingParameter(param_hint="DIR", param_type="argument")
    if path is not None and demonstration:
        raise click.UsageError("--demonstration uses the reference bundle, --bundle another: choose one")
    if path is not None and trust is None:
        raise click.UsageError("say who signed the bundle with --trust KEY.pub")
    if path is None and not demonstration and not _confirmed(output):
        output.emit({"folder": None, "reason": "not confirmed"}, "nothing was made")
        click.get_current_context().exit(1)
    changes = {"fmr": fmr, "live_at": live_at, "spoof_at": spoof_at}
    with ExitStack() as stack:
        if path is None:
            bundle, store, rules = (
                stack.enter_context(open_reference_bundle()),
                TrustStore.load(KEY),
                reference_policy(),
            )
        else:
            store = TrustStore.load(trust) if trust is not None else TrustStore()
            bundle, rules = stack.enter_context(open_bundle(path, trust=store)), Policy()
        rules = _changed(rules if policy is None else load_policy(policy), **changes)
        name = device_id if device_id is not None else folder.absolute().name
        declaration = _declaration(output, declared, purpose, demonstration=path is None)
        about: dict[str, Any] = {"declaration": declaration, "key": key, "credentials": credentials}
        check_new_gate(folder, bundle, rules, name, **about)
        refuse_core_dumps()
        made = None if dry_run else create_gate(folder, bundle, store, rules, device_id=name, **about)
        beside = credentials if credentials is not None else default_credentials(folder)
        output.emit(*_report(folder, name, made, bundle, rules, declaration, key, beside))


def _confirmed(output: Output) -> bool:
    """Whether a person at the terminal wants a demonstration. Raises click.UsageError if there is nobody to ask."""
    if output.json or sys.stdin is None or not sys.stdin.isatty():
        raise click.UsageError(
            "give --bundle and --trust, or --demonstration for the reference bundle: it recognizes rendered faces "
            "only, and every decision is marked"
        )
    output.progress(_REFERENCE)
    return click.confirm("Make a demonstration gate?", default=False, err=True)


def _declaration(output: Output, path: Path | None, purpose: str | None, *, demonstration: bool) -> Declaration:
    """What the gate is for: from a file, by a demonstration's nature, or asked at the terminal."""
    if path is not None:
        return load_declaration(path, purpose=purpose)
    if demonstration:
        declaration = Declaration.demonstration()
        return declaration if purpose is None else dataclasses.replace(declaration, purpose=purpose)
    if output.json or sys.stdin is None or not sys.stdin.isatty():
        raise click.UsageError(
            "say what the gate is for with --declaration FILE; "
            "`facegate init --print-declaration` prints one to fill in"
        )
    output.progress(_DECLARE)
    try:
        return Declaration(**_asked({} if purpose is None else {"purpose": purpose}))
    except UnicodeDecodeError:
        raise DeclarationError(
            "the answer is no text that this terminal's encoding knows",
            hint="answer in UTF-8, or fill in a file: `facegate init --print-declaration` prints one",
        ) from None


def _asked(answers: dict[str, Any]) -> dict[str, Any]:
    """The answers and those that are missing, asked at the terminal."""
    for field in dataclasses.fields(Declaration):
        question = QUESTIONS[field.name].rstrip("?")
        if field.name in answers:
            continue
        if field.type == "bool":
            answers[field.name] = click.confirm(question, default=None, err=True)
        elif field.name == "legal_basis":
            bases = [basis for basis in get_args(LegalBasis) if basis != "demonstration"]
            answers[field.name] = click.prompt(question, type=click.Choice(bases), err=True)
        else:
            answers[field.name] = click.prompt(question, err=True).strip()
    return answers


def _changed(rules: Policy, **given: float | None) -> Policy:
    """The rules with what the command line says. Raises PolicyError if that cannot be meant."""
    changes: dict[str, Any] = {name: value for name, value in given.items() if value is not None}
    if "live_at" in changes or "spoof_at" in changes:
        changes["require_liveness"] = True
    return dataclasses.replace(rules, **changes)


def _report(
    folder: Path,
    device_id: str,
    gate: NewGate | None,
    bundle: Bundle,
    rules: Policy,
    declaration: Declaration,
    provider: str,
    credentials: Path,
) -> tuple[dict[str, Any], str]:
    """What was made, or would be, as data and as text."""
    key = None if gate is None else gate.device_key
    point = rules.operating_point(bundle.manifest)
    data = {
        "folder": str(folder),
        "dry_run": key is None,
        "device_id": device_id,
        "device_key": key.key_id if key else None,
        "bundle": {
            "id": bundle.id,
            "name": bundle.manifest.name,
            "version": bundle.manifest.version,
            "signed_by": bundle.key_id,
            "target": fit_report(bundle.manifest.target),
        },
        "demonstration": bundle.manifest.demonstration,
        "policy": rules.id,
        "fmr": rules.fmr,
        "measured": bool(point and point.dataset),
        "liveness": rules.require_liveness,
        "declaration": declaration.id,
        "purpose": declaration.purpose,
        "key": provider,
        "credentials": str(credentials),
    }
    checked = "required" if rules.require_liveness else "NOT checked"
    made = f"would make the gate {folder}" if key is None else f"made the gate {folder}"
    verified = f", key {key.key_id}: {folder / 'device.key.pub'} verifies its decisions" if key else ""
    lines = [
        made,
        f"  device    {device_id}{verified}",
        f"  bundle    {bundle.manifest.name} {bundle.manifest.version}, signed by {bundle.key_id}",
        f"  rules     FMR {rules.fmr:g}, liveness {checked}: {folder / 'policy.json'}",
        f"  purpose   {declaration.purpose}: {folder / 'declaration.json'}",
        f"  seal      {provider}: without it nobody's face can be opened; `facegate gate backup` keeps a copy of both",
        f"  roles     one credential each in {credentials}: hand them out, and leave none where the gate is",
        "  people    none yet",
    ]
    lines += fit_lines(bundle.manifest.target)
    if bundle.manifest.demonstration:
        lines.append("FOR DEMONSTRATIONS ONLY: it recognizes rendered faces, and every decision is marked")
    if point is not None and not point.dataset:
        lines.append(f"note: the threshold for an FMR of {point.fmr:g} is stated in the bundle, not measured")
    if not rules.require_liveness:
        lines.append("note: a photograph of a person passes; --live-at and --spoof-at require liveness")
    return data, "\n".join(lines)
