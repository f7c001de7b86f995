"""`facegate package`: everything that a device needs, in one file."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from facegate_convert.cli._common import FILE, load_key, parse_name, parse_version, progress_bar

if TYPE_CHECKING:
    from collections.abc import Sequence

    from facegate_convert._package import Package, Part, Settings
    from facegate_edge._output import Output

__all__ = ["package"]

# Names of other kinds of file: whoever writes one expects another file than they would get.
_OTHER_KIND = re.compile(r".+\.(tar|tgz|zst|gz|xz|bz2|zip|deb|rpm|whl|fgb|img|iso)", re.IGNORECASE)


def _complete_target(_ctx: click.Context, _param: click.Parameter, incomplete: str) -> list[str]:
    from facegate_convert._package._systems import packageable  # noqa: PLC0415 - reads the profiles

    return [name for name in packageable() if name.startswith(incomplete)]


def _target(_ctx: click.Context, _param: click.Parameter, value: str) -> str:
    from facegate_convert._package._systems import system  # noqa: PLC0415

    return system(value).target.name


def _pythons(_ctx: click.Context, _param: click.Parameter, values: tuple[str, ...]) -> tuple[str, ...]:
    for value in values:
        if not re.fullmatch(r"3\.\d{1,2}", value):
            raise click.BadParameter(f"'{value}' is no Python's version; write e.g. 3.11")
    return values


def _name(ctx: click.Context, param: click.Parameter, value: str | None) -> str:
    return "" if value is None else parse_name(ctx, param, value)


def _version(ctx: click.Context, param: click.Parameter, value: str | None) -> str:
    return "" if value is None else parse_version(ctx, param, value)


@click.command(short_help="Put everything that a device needs into one file.")
@click.option(
    "--target", required=True, callback=_target, shell_complete=_complete_target, help="The device (docs/targets.md)."
)
@click.option("--bundle", type=FILE, required=True, help="The signed bundle that the device is to run.")
@click.option("-o", "--output", "path", type=FILE, help="The file to write [default: NAME-TARGET.pyz].")
@click.option(
    "--trust",
    type=FILE,
    envvar="FACEGATE_TRUST",
    help="Public key of the bundle's signer, or a folder of them (*.pub): the device trusts them. Also FACEGATE_TRUST.",
)
@click.option("--key", type=FILE, help="Private key to sign the package with; the device trusts it, too.")
@click.option("--app", type=FILE, help="Folder of your own program, with a __main__.py [default: the terminal].")
@click.option(
    "--python", "pythons", multiple=True, callback=_pythons, metavar="3.N",
    help="Python of the device's system (repeatable) [default: those of the target's systems].",
)  # fmt: skip
@click.option("--name", callback=_name, help="Name of the package [default: the bundle's].")
@click.option("--version", callback=_version, help="Version, by which upgrades are told [default: the bundle's].")
@click.option(
    "--wheels", type=FILE, envvar="FACEGATE_WHEELS", default=Path("wheelhouse"), show_default=True,
    help="Folder of facegate's own wheels (`make wheels`). Also from FACEGATE_WHEELS.",
)  # fmt: skip
@click.option("--cache", type=FILE, help="Folder for what is fetched [default: ~/.cache/facegate/wheels].")
@click.option("--offline", is_flag=True, help="Fetch nothing: all that is needed is in the cache.")
@click.option("--dry-run", is_flag=True, help="Show what would be in the package; fetch and write nothing.")
@click.pass_obj
def package(output: Output, /, **given: Any) -> None:
    """Put everything that a device needs into one file: program, engine, bundle, keys and an installer.

    The device needs Python and no network: `sudo python3 -I FILE install --trust KEY.pub`. What is fetched for the
    package is pinned by its hash.
    """
    from facegate_convert._package import plan, write_package  # noqa: PLC0415 - see the package

    settings = _settings(given)
    path = _output_path(given, settings)
    if given["dry_run"]:
        planned = plan(settings)
        _say_notes(output, planned)
        data = _facts(planned, None, None, None)
        output.emit(data, lambda: "\n".join(["would write:", *_table(planned.parts), *_summary(planned, None)]))
        return
    with progress_bar(output) as progress:
        path = path or Path(f"{plan(settings).document['name']}-{given['target']}.pyz")
        made, size, sha256 = write_package(path, settings, progress)
    _say_notes(output, made)
    signed = f"signed by {made.document['signed_by']}" if made.document["signed_by"] else "not signed"
    output.emit(
        _facts(made, path, size, sha256),
        lambda: "\n".join(
            [
                f"wrote {path}, {size / 1e6:.1f} MB, {signed}",
                f"  sha256 {sha256}",
                *_table(made.parts),
                *_summary(made, path),
            ]
        ),
    )


def _settings(given: dict[str, Any]) -> Settings:
    from facegate_convert._package import Settings as Made  # noqa: PLC0415
    from facegate_convert._package._fetch import default_cache  # noqa: PLC0415
    from facegate_edge._keys import TrustStore  # noqa: PLC0415

    key = load_key(given["key"])
    if given["trust"] is None and key is None:
        raise click.UsageError("say who signed the bundle: --trust KEY.pub, or --key with the private key that did")
    keys = list(TrustStore.load(given["trust"])) if given["trust"] is not None else []
    if key is not None and key.verify_key not in keys:
        keys.append(key.verify_key)
    return Made(
        target=given["target"],
        bundle=given["bundle"],
        trust=TrustStore(sorted(keys, key=lambda k: k.key_id)),
        wheels=given["wheels"],
        cache=given["cache"] or default_cache(),
        key=key,
        pythons=given["pythons"],
        app=given["app"],
        name=given["name"],
        version=given["version"],
        offline=given["offline"],
    )


def _output_path(given: dict[str, Any], settings: Settings) -> Path | None:
    """Where the package goes, looked at before minutes are spent on it. Raises click.UsageError, OutputFileError."""
    from facegate_convert.errors import OutputFileError  # noqa: PLC0415

    path: Path | None = given["path"]
    if path is None:
        return None
    if _OTHER_KIND.fullmatch(path.name):
        stem = path.name.partition(".")[0]
        raise click.UsageError(
            f"a package is a program that Python runs, not what {path.name} is called after: write {stem}.pyz"
        )
    if path.is_dir():
        raise OutputFileError(f"{path} is a folder", hint="name the file to write, e.g. door-rpi4.pyz")
    if not path.parent.is_dir():
        raise OutputFileError(
            f"{path} cannot be written: there is no folder {path.parent}", hint="make the folder or choose another"
        )
    read = [settings.bundle, given["key"], given["trust"]]
    if any(other is not None and path.resolve() == other.resolve() for other in read):
        raise click.UsageError(f"{path} is read: write the package somewhere else")
    if settings.app is not None and settings.app.resolve() in path.resolve().parents:
        raise click.UsageError("the package cannot be written into the program's own folder")
    return path


def _say_notes(output: Output, made: Package) -> None:
    for note in made.notes:
        output.progress(f"note: {note}")


def _facts(made: Package, path: Path | None, size: int | None, sha256: str | None) -> dict[str, object]:
    document = {key: value for key, value in made.document.items() if key != "files"}
    return {
        "file": None if path is None else str(path),
        "size": size,
        "sha256": sha256,
        "package": document,
        "parts": [{name: getattr(part, name) for name in part.__slots__} for part in made.parts],
        "installed": None if made.pending else made.installed(),
        "notes": list(made.notes),
    }


def _table(parts: Sequence[Part]) -> list[str]:
    head = ("PART", "VERSION", "PYTHON", "LICENCE", "IN PACKAGE", "INSTALLED")
    rows = [
        (
            part.name,
            part.version,
            part.python,
            part.license if len(part.license) <= 40 else part.license[:37] + "...",  # noqa: PLR2004 - a column
            f"{part.packed / 1e6:.2f} MB",
            part.state or (f"{part.installed / 1e6:.2f} MB" if part.installed else "-"),
        )
        for part in sorted(parts, key=lambda part: -part.packed)
    ]
    widths = [max(len(row[i]) for row in (head, *rows)) for i in range(len(head))]
    return [
        "  " + "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in (head, *rows)
    ]


def _summary(made: Package, path: Path | None) -> list[str]:
    document: dict[str, Any] = made.document
    pythons = " and ".join(document["pythons"])
    lines = [f"for {document['target']}: {document['machine']}, Python {pythons}, glibc {document['needs']['glibc']}"]
    if not made.pending:
        lines += [
            f"installed with Python {python}: {sizes['all'] / 1e6:.1f} MB, "
            f"{(sizes['all'] - sizes['numpy_and_pillow']) / 1e6:.1f} MB of it beside numpy and Pillow"
            for python, sizes in made.installed().items()
        ]
    if path is not None:
        proof = "--trust KEY.pub" if document["signed_by"] else "--unsigned"
        lines.append(f"on the device, without a network: sudo python3 -I {path.name} install {proof}")
    return lines
