"""`facegate init`: make a gate's folder."""

from __future__ import annotations

import dataclasses
import sys
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from facegate._gate_folder import check_new_gate, create_gate
from facegate._policy import Policy
from facegate._policy_json import load_policy
from facegate._reference import KEY, open_reference_bundle, reference_policy
from facegate_edge._bundle import open_bundle
from facegate_edge._keys import TrustStore

if TYPE_CHECKING:
    from facegate.cli._output import Output
    from facegate_edge._bundle import Bundle
    from facegate_edge._keys import SigningKey

__all__ = ["init"]

_REFERENCE = """\
No bundle was given. Facegate comes with a reference bundle, for demonstrations:
  - it recognizes rendered faces only, such as `facegate.simulation` draws; it recognizes no real person;
  - every decision of the gate is marked "demonstration", and a receiver opens no door for it.
For people, give --bundle and --trust."""


@click.command(short_help="Make a gate's folder on this device.")
@click.argument("folder", metavar="DIR", type=click.Path(path_type=Path))
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
@click.option("--dry-run", is_flag=True, help="Check everything, write nothing.")
@click.pass_obj
def init(
    output: Output,
    folder: Path,
    path: Path | None,
    trust: Path | None,
    demonstration: bool,
    device_id: str | None,
    policy: Path | None,
    fmr: float | None,
    live_at: float | None,
    spoof_at: float | None,
    dry_run: bool,
) -> None:
    """Make DIR a gate: a key for this device, the bundle, whom to trust, and the rules.

    DIR must not exist yet, or be empty. All of it is made, or nothing. Without --bundle the gate is a demonstration; at
    a terminal this asks first, elsewhere it takes --demonstration. The rules stand in DIR/policy.json, to be edited.
    """
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
        check_new_gate(folder, bundle, rules, name)
        key = None if dry_run else create_gate(folder, bundle, store, rules, device_id=name)
        output.emit(*_report(folder, name, key, bundle, rules))


def _confirmed(output: Output) -> bool:
    """Whether a person at the terminal wants a demonstration. Raises click.UsageError if there is nobody to ask."""
    if output.json or sys.stdin is None or not sys.stdin.isatty():
        raise click.UsageError(
            "give --bundle and --trust, or --demonstration for the reference bundle: it recognizes rendered faces "
            "only, and every decision is marked"
        )
    output.progress(_REFERENCE)
    return click.confirm("Make a demonstration gate?", default=False, err=True)


def _changed(rules: Policy, **given: float | None) -> Policy:
    """The rules with what the command line says. Raises PolicyError if that cannot be meant."""
    changes: dict[str, Any] = {name: value for name, value in given.items() if value is not None}
    if "live_at" in changes or "spoof_at" in changes:
        changes["require_liveness"] = True
    return dataclasses.replace(rules, **changes)


def _report(
    folder: Path, device_id: str, key: SigningKey | None, bundle: Bundle, rules: Policy
) -> tuple[dict[str, Any], str]:
    """What was made, or would be, as data and as text."""
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
        },
        "demonstration": bundle.manifest.demonstration,
        "policy": rules.id,
        "fmr": rules.fmr,
        "measured": bool(point and point.dataset),
        "liveness": rules.require_liveness,
    }
    checked = "required" if rules.require_liveness else "NOT checked"
    made = f"would make the gate {folder}" if key is None else f"made the gate {folder}"
    verified = f", key {key.key_id}: {folder / 'device.key.pub'} verifies its decisions" if key else ""
    lines = [
        made,
        f"  device    {device_id}{verified}",
        f"  bundle    {bundle.manifest.name} {bundle.manifest.version}, signed by {bundle.key_id}",
        f"  rules     FMR {rules.fmr:g}, liveness {checked}: {folder / 'policy.json'}",
        "  people    none; in this version they are enrolled in memory and gone when the gate is closed",
    ]
    if bundle.manifest.demonstration:
        lines.append("FOR DEMONSTRATIONS ONLY: it recognizes rendered faces, and every decision is marked")
    if point is not None and not point.dataset:
        lines.append(f"note: the threshold for an FMR of {point.fmr:g} is stated in the bundle, not measured")
    if not rules.require_liveness:
        lines.append("note: a photograph of a person passes; --live-at and --spoof-at require liveness")
    return data, "\n".join(lines)
