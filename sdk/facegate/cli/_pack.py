"""`facegate report pack`, `sbom`, `verify`: what a reviewer asks for, from the actual gate and bundle."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from click.core import ParameterSource

from facegate.cli._session import as_officer
from facegate.cli._trust import open_trusted, trust_options

if TYPE_CHECKING:
    from facegate_edge._output import Output


@click.command(short_help="Write what a security, legal or procurement reviewer asks for.")
@click.option("-o", "--output", "target", required=True, type=click.Path(path_type=Path), help="A new .zip, or folder.")
@click.option(
    "--gate",
    "folder",
    metavar="DIR",
    type=click.Path(path_type=Path, file_okay=False),
    envvar="FACEGATE_GATE",
    help="The gate's folder. Also from FACEGATE_GATE.",
)
@click.option("--bundle", type=click.Path(path_type=Path), help="A bundle without a gate instead; not signed.")
@trust_options
@click.option(
    "--evaluation",
    type=click.Path(path_type=Path),
    help="The result of `facegate evaluate run` on this very bundle: its folder or result.json.",
)
@click.option(
    "--receiver", "receivers", multiple=True, metavar="NAME", help="Who takes decisions, by name; repeatable."
)
@click.pass_context
def pack(
    ctx: click.Context,
    target: Path,
    folder: Path | None,
    bundle: Path | None,
    trust: Path | None,
    development: bool,
    evaluation: Path | None,
    receivers: tuple[str, ...],
) -> None:
    """Write a review pack: data flow, data classes, deployment, models, evaluation, controls, licences.

    It says what this gate is, not what one should be: controls that are not in force are named. It holds nobody's name
    and no biometric data, and is signed by the device. Role: privacy officer. A bundle alone needs no role.
    """
    output: Output = ctx.obj
    if bundle is not None and ctx.get_parameter_source("folder") is ParameterSource.COMMANDLINE:
        raise click.UsageError("say --gate or --bundle: a gate has its own bundle")
    if bundle is None and folder is None:
        raise click.UsageError("say which gate with --gate DIR, or which bundle with --bundle FILE")
    if bundle is not None:
        if receivers:
            raise click.UsageError("--receiver is for a gate: a bundle decides nothing")
        path = _of_bundle(bundle, trust, target, evaluation, development=development)
    else:
        if ctx.get_parameter_source("trust") is ParameterSource.COMMANDLINE or development:
            raise click.UsageError("--trust and --development are for --bundle: a gate has its own trusted keys")
        assert folder is not None  # noqa: S101 - see above
        with as_officer(folder) as officer:
            path = officer.review_pack(target, evaluation=evaluation, receivers=receivers)
    found = _summary(path)
    lines = [f"wrote {path}: {_counted(found['states'])}", *(f"  NOT IN FORCE: {line}" for line in found["off"])]
    output.emit({"file": str(path), "about": found["about"], "controls": found["states"],
                 "not_in_force": found["off"], "signed_by": found["signed_by"]}, "\n".join(lines))  # fmt: skip


@click.command(short_help="List software, models and licences (CycloneDX).")
@click.option("-o", "--output", "target", type=click.Path(path_type=Path), help="A new file [default: print it].")
@click.option("--bundle", type=click.Path(path_type=Path), help="Also the models of this bundle.")
@trust_options
@click.pass_obj
def sbom(output: Output, target: Path | None, bundle: Path | None, trust: Path | None, development: bool) -> None:
    """Write a software bill of materials of this installation: CycloneDX 1.6, JSON.

    The distributions that facegate needs here and their licences, as their own metadata says; the engine's library;
    with --bundle the models. Needs no gate.
    """
    from facegate._files import write_new  # noqa: PLC0415 - help must not wait for it
    from facegate._pack._facts import pack_time, read_bundle  # noqa: PLC0415
    from facegate._pack._sbom import build_sbom  # noqa: PLC0415
    from facegate.errors import ExportError  # noqa: PLC0415

    facts = None
    if bundle is not None:
        with open_trusted(bundle, trust, development=development) as opened:
            facts = read_bundle(opened)
    document = build_sbom(facts, pack_time()[0])
    text = json.dumps(document, indent=1, ensure_ascii=True) + "\n"
    if target is None:
        output.emit({"sbom": document}, text)
        return
    try:
        write_new(target, [text.encode("ascii")])
    except (OSError, ValueError) as error:
        if isinstance(error, OSError) and not isinstance(error, FileExistsError):
            target.unlink(missing_ok=True)
        why = error.strerror if isinstance(error, OSError) else "this is no path"
        raise ExportError(f"the file {target} cannot be written: {why}", hint="choose another name") from None
    components = len(document["components"])
    output.emit({"file": str(target), "components": components}, f"wrote {target}: {components} components")


@click.command(short_help="Check that a review pack is as the device signed it.")
@click.argument("path", metavar="PACK", type=click.Path(path_type=Path))
@click.option("--key", required=True, type=click.Path(path_type=Path), help="The device's public key.")
@click.pass_obj
def verify(output: Output, path: Path, key: Path) -> None:
    """Check every file of a review pack, a ZIP or a folder, with the public key of the device that made it.

    Exits with 4 if anything was changed, added or removed, or another device signed it.
    """
    from facegate._pack._write import DOCUMENT, verify_pack  # noqa: PLC0415 - help must not wait for it
    from facegate_edge._keys import TrustStore  # noqa: PLC0415

    members = verify_pack(path, TrustStore.load(key))
    found = _states(json.loads(members[DOCUMENT]))
    data = {"device": found["device"], "time": found["time"], "files": sorted(members), "controls": found["states"],
            "not_in_force": found["off"]}  # fmt: skip
    output.emit(data, f"as the device {found['device']} signed it, {found['time']}: {_counted(found['states'])}")


def _of_bundle(bundle: Path, trust: Path | None, target: Path, evaluation: Path | None, *, development: bool) -> Path:
    from facegate._pack._make import pack_bundle  # noqa: PLC0415 - help must not wait for it

    with open_trusted(bundle, trust, development=development) as opened:
        return pack_bundle(opened, target, evaluation=evaluation)


def _summary(path: Path) -> dict[str, Any]:
    """What was written, read back from where it was written to."""
    import zipfile  # noqa: PLC0415

    from facegate._pack._write import DOCUMENT  # noqa: PLC0415

    if path.is_dir():
        return _states(json.loads((path / DOCUMENT).read_bytes()))
    with zipfile.ZipFile(path) as archive:
        return _states(json.loads(archive.read(DOCUMENT)))


def _states(document: dict[str, Any]) -> dict[str, Any]:
    controls, gate = document["controls"], document["deployment"].get("gate")
    states = [control["state"] for control in controls]
    return {
        "about": document["about"],
        "device": gate["device"] if gate else None,
        "signed_by": gate["device_key"] if gate else None,
        "time": document["time"],
        "states": {state: states.count(state) for state in document["states"]},
        "off": [f"{c['demand']}: {c['finding']}" for c in controls if c["state"] == "not in force"],
    }


def _counted(states: dict[str, int]) -> str:
    return ", ".join(f"{number} {state}" for state, number in states.items() if number)
