"""The command line: `verify`, `show`, `install`, `rollback`, `status`, `uninstall`, and two for the gate.

Exit codes are those of `facegate`: 0 done, 1 the answer is no, 2 usage, 3 input, 4 not trusted, 5 environment.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import zipfile
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

from facegate_installer._errors import InstallerError, NotInstalledError, UsageError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from facegate_installer._install import Outcome
    from facegate_installer._layout import Layout
    from facegate_installer._package import Package

__all__ = ["main"]

_BUG, _INTERRUPTED, _BROKEN_PIPE = 70, 130, 141
_CONTROLS = {code: f"\\x{code:02x}" for code in (*range(0x20), *range(0x7F, 0xA0)) if chr(code) != "\n"}
_EPILOG = """\
exit codes: 0 done, 1 the answer is no, 2 usage, 3 the package is damaged, 4 not trusted, 5 this machine or its disk

A package that runs itself can prove nothing about itself: compare its sha256 with its packager's first. An upgrade is
checked before a byte of it runs with the installed installer: sudo facegate-package install door-2.pyz
"""


class _Parser(argparse.ArgumentParser):
    """Raises UsageError where argparse would end the process."""

    def error(self, message: str) -> NoReturn:
        raise UsageError(message, hint=f"see `{self.prog} --help`")


def main(arguments: Sequence[str] | None = None) -> int:  # noqa: PLR0911 - an exit code each
    """Run the command line; returns the exit code."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    as_json = "--json" in given
    os.umask(0o022)
    sys.dont_write_bytecode = True
    try:
        code = _run(given)
        sys.stdout.flush()
    except InstallerError as error:
        return _tell(type(error).__name__, str(error), error.hint, error.exit_code, as_json=as_json)
    except KeyboardInterrupt:
        return _INTERRUPTED
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        return _BROKEN_PIPE
    except OSError as error:
        return _tell_disk(error, as_json=as_json)
    except MemoryError:
        return _tell("OutOfMemoryError", "there is not enough memory", "", 5, as_json=as_json)
    except Exception as error:  # the last resort: no traceback, which may hold paths
        if os.environ.get("FACEGATE_TRACEBACK") == "1":
            raise
        what = f"a bug in the installer ({type(error).__name__})"
        hint = "please report it; FACEGATE_TRACEBACK=1 shows where it happened"
        return _tell("InternalError", what, hint, _BUG, as_json=as_json)
    return code


def _tell(kind: str, message: str, hint: str, code: int, *, as_json: bool) -> int:
    if as_json:
        print(json.dumps({"error": {"type": kind, "message": message, "hint": hint, "exit_code": code}}))  # noqa: T201
    else:
        lines = f"error: {message}\n" + (f"hint: {hint}\n" if hint else "")
        sys.stderr.write(lines.translate(_CONTROLS).encode("ascii", "backslashreplace").decode("ascii"))
    return code


def _tell_disk(error: OSError, *, as_json: bool) -> int:
    """Tell what the system refused, also if it is the answer that cannot be written."""
    from facegate_installer._disk import told  # noqa: PLC0415 - seldom

    found = told(error, "something cannot be read or written")
    facts = (type(found).__name__, str(found), found.hint, found.exit_code)
    try:
        sys.stdout.flush()
    except OSError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)  # or Python tries once more at its end
        as_json = False
    return _tell(*facts, as_json=as_json)


def _emit(data: dict[str, Any], text: str, *, as_json: bool) -> None:
    shown = json.dumps(data) if as_json else text.translate(_CONTROLS).encode("utf-8", "replace").decode("utf-8")
    print(shown)  # noqa: T201


def own_package() -> Path | None:
    """The package that this program runs from; None if it is the installed one."""
    found = Path(os.path.abspath(sys.path[0] or "."))  # noqa: PTH100 - not resolved: a link to it is as good
    return found if found.is_file() and zipfile.is_zipfile(found) else None


def _parser() -> _Parser:
    own = own_package()
    name = own.name if own is not None else "facegate-package"
    parser = _Parser(
        prog=name,
        description="Install this device package, or look at it." if own else "Manage what is installed here.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", required=True, parser_class=_Parser)

    def add(command: str, told: str, *, package: bool = False, dry: bool = False, root: bool = True) -> _Parser:
        made: _Parser = commands.add_parser(command, help=told, description=told, allow_abbrev=False)
        made.add_argument("--json", action="store_true", help="answer with one JSON object")
        if package:
            about = "the package" if own is None else "another package than this one"
            made.add_argument("package", metavar="PACKAGE", nargs="?" if own else None, type=Path, help=about)
        if dry:
            made.add_argument("--dry-run", action="store_true", help="say what would be done, do nothing")
        if root:
            made.add_argument("--root", type=Path, default=Path("/"), metavar="DIR", help="an image, not this system")
        return made

    for command, told in (
        ("verify", "Read every file of a package and compare it with its list; say who signed."),
        ("show", "Show what is in a package."),
    ):
        made = add(command, told, package=True)
        if command == "verify":
            made.add_argument("--trust", type=Path, metavar="KEY.pub", help="the signer's public key")
    made = add(
        "install", "Install a package, or upgrade to it; the same one twice changes nothing.", package=True, dry=True
    )
    made.add_argument("--trust", type=Path, metavar="KEY.pub", help="the signer's public key, which is kept")
    made.add_argument("--unsigned", action="store_true", help="install an unsigned package: nothing says who made it")
    made.add_argument("--downgrade", action="store_true", help="install an older one")
    made.add_argument("--declaration", type=Path, metavar="FILE", help="make the first gate, for what FILE declares")
    made.add_argument(
        "--init", action="append", default=[], metavar="OPTION", help="one more option of `facegate init`"
    )
    made = add("init", "Make the first gate with the installed bundle.")
    made.add_argument("--declaration", type=Path, metavar="FILE", required=True, help="what the gate is for")
    made.add_argument(
        "--init", action="append", default=[], metavar="OPTION", help="one more option of `facegate init`"
    )
    made = add("rollback", "Put the version in use that the present one replaced.", dry=True)
    made.add_argument("--force", action="store_true", help="although that version cannot open the gate")
    made = add("use-bundle", "Put the installed bundle in use in the gate that is there.")
    made.add_argument("--enroll-again", action="store_true", help="although everybody must be enrolled again then")
    made.add_argument("--trust-signer", default="", metavar="KEY-ID", help="a key of the package for the gate to trust")
    made = add("status", "Show what is installed.")
    made.add_argument("--files", action="store_true", help="hold every file against what was installed")
    made = add("uninstall", "Remove what was installed; configuration and state stay.", dry=True)
    made.add_argument("--purge", action="store_true", help="remove configuration and state as well, but never a gate")
    made.add_argument("--yes", action="store_true", help="do not ask")
    return parser


def _run(given: list[str]) -> int:
    options = _parser().parse_args(given)
    command = {
        "verify": _verify,
        "show": _show,
        "install": _install,
        "init": _init,
        "rollback": _rollback,
        "use-bundle": _use_bundle,
        "status": _status,
        "uninstall": _uninstall,
    }[options.command]
    return command(options)


def _layout(options: argparse.Namespace) -> Layout:
    from facegate_installer._layout import Layout  # noqa: PLC0415

    root: Path = options.root
    if not root.is_dir():
        raise UsageError(f"there is no folder {root}", hint="--root is the top folder of an image")
    return Layout(root.resolve())


def _open(options: argparse.Namespace) -> Package:
    from facegate_installer._package import Package  # noqa: PLC0415

    path = options.package or own_package()
    assert path is not None  # noqa: S101 - argparse asked for it
    return Package(path)


def _progress(options: argparse.Namespace, message: str) -> None:
    if not options.json:
        sys.stderr.write(message + "\n")


def _verify(options: argparse.Namespace) -> int:
    from facegate_installer._trust import check_signature, load_key, load_trust  # noqa: PLC0415

    with _open(options) as package:
        package.verify()
        keys = load_trust(_layout(options).trust) if options.trust is None else [load_key(options.trust)]
        named = package.signature.key_id if package.signature else None
        trusted = None
        if keys:
            trusted = check_signature(package.signature, package.list, keys)
        data = {
            "package": str(package.archive.path),
            "sha256": package.archive.sha256(),
            "id": package.info.id,
            "files": len(package.info.items),
            "signed_by": named,
            "trusted": trusted is not None,
        }
        signed = f"signed by {named}, which is trusted" if trusted else f"names the signer {named}: NOT checked, no key"
        told = signed if named else "NOT SIGNED"
        text = (
            f"{data['package']}\n  sha256    {data['sha256']}\n  files     {data['files']}, each as its list says"
            f"\n  signature {told}"
        )
        if named and not trusted:
            text += "\n            give the packager's key with --trust KEY.pub, which you have from elsewhere"
    _emit(data, text, as_json=options.json)
    return 0


def _show(options: argparse.Namespace) -> int:
    with _open(options) as package:
        info = package.info
        data = {
            "package": str(package.archive.path),
            "sha256": package.archive.sha256(),
            "id": info.id,
            "name": info.name,
            "version": info.version,
            "facegate": info.facegate,
            "target": info.target,
            "machine": info.machine,
            "pythons": list(info.pythons),
            "glibc": info.glibc,
            "bundle": info.bundle,
            "signed_by": package.signature.key_id if package.signature else None,
            "files": [
                {"path": item.path, "size": item.size, "role": item.role, "python": item.python} for item in info.items
            ],
        }
    lines = [
        f"{info.name} {info.version} for {info.target}",
        f"  facegate  {info.facegate}, Python {', '.join(info.pythons)} on {info.machine}, glibc {info.glibc or 'any'}",
        f"  bundle    {info.bundle.get('name', 'none')} {info.bundle.get('version', '')}".rstrip(),
        f"  signed by {data['signed_by'] or 'NOBODY'} (`verify --trust KEY.pub` checks it)",
        f"  sha256    {data['sha256']}",
        *(f"  {item.size:>10}  {item.path}" for item in info.items if item.role != "installer"),
    ]
    _emit(data, "\n".join(lines), as_json=options.json)
    return 0


def _install(options: argparse.Namespace) -> int:
    from facegate_installer._first_gate import make_gate  # noqa: PLC0415
    from facegate_installer._install import Request, install  # noqa: PLC0415
    from facegate_installer._trust import load_key  # noqa: PLC0415

    if options.trust is not None and options.unsigned:
        raise UsageError("--trust and --unsigned contradict each other", hint="an unsigned package has no signer")
    if options.init and options.declaration is None:
        raise UsageError("--init is for the first gate", hint="give --declaration FILE as well")
    layout = _layout(options)
    key = load_key(options.trust) if options.trust is not None else None
    with _open(options) as package:
        signer = package.signature.key_id if package.signature else "NOBODY"
        _progress(options, f"{package.archive.path}: sha256 {package.archive.sha256()}, names the signer {signer}")
        request = Request(key, options.unsigned, options.downgrade, options.dry_run)
        outcome = install(layout, package, request, lambda message: _progress(options, message))
    if own_package() is not None and outcome.before is not None:
        outcome.notes.append(
            "this package checked itself, which proves little: for upgrades run `facegate-package install`"
        )
    if options.declaration is not None and not options.dry_run:
        current = layout.current()
        assert current is not None  # noqa: S101 - it was just installed
        outcome.done += make_gate(layout, current, options.declaration, options.init)
        outcome.changed = True
    _told(outcome, options, "nothing was changed: this very package is installed")
    return 0


def _told(outcome: Outcome, options: argparse.Namespace, nothing: str) -> None:
    data = {
        "version": outcome.version,
        "before": outcome.before,
        "changed": outcome.changed,
        "dry_run": bool(getattr(options, "dry_run", False)),
        "done": outcome.done,
        "notes": outcome.notes,
        "signed_by": outcome.signed_by,
        "size": outcome.size,
    }
    lines = [*(outcome.done or [nothing]), *(f"note: {note}" for note in outcome.notes)]
    _emit(data, "\n".join(lines), as_json=options.json)


def _init(options: argparse.Namespace) -> int:
    from facegate_installer._first_gate import make_gate  # noqa: PLC0415

    layout = _layout(options)
    current = layout.current()
    if current is None:
        raise NotInstalledError("nothing is installed", hint="sudo python3 -I PACKAGE.pyz install")
    done = make_gate(layout, current, options.declaration, options.init)
    _emit({"gate": layout.on_device(layout.gate), "done": done}, "\n".join(done), as_json=options.json)
    return 0


def _rollback(options: argparse.Namespace) -> int:
    from facegate_installer._install import roll_back  # noqa: PLC0415

    outcome = roll_back(_layout(options), dry_run=options.dry_run, force=options.force)
    _told(outcome, options, "")
    return 0


def _use_bundle(options: argparse.Namespace) -> int:
    from facegate_installer._first_gate import use_bundle  # noqa: PLC0415

    layout = _layout(options)
    current = layout.current()
    if current is None:
        raise NotInstalledError("nothing is installed", hint="sudo python3 -I PACKAGE.pyz install")
    data, text = use_bundle(layout, current, again=options.enroll_again, signer=options.trust_signer)
    _emit(data, text, as_json=options.json)
    return 0


def _status(options: argparse.Namespace) -> int:
    from facegate_installer._status import status  # noqa: PLC0415

    data, text = status(_layout(options), files=options.files)
    _emit(data, text, as_json=options.json)
    return 0 if data["installed"] and not data["problems"] else 1


def _uninstall(options: argparse.Namespace) -> int:
    from facegate_installer._uninstall import uninstall  # noqa: PLC0415

    layout = _layout(options)
    if options.purge and not options.dry_run and not options.yes:
        if options.json or not sys.stdin.isatty():
            raise UsageError("--purge removes configuration and state", hint="look with --dry-run, then say --yes")
        removed, _ = uninstall(layout, purge=True, dry_run=True)
        sys.stderr.write("\n".join(["This removes:", *removed, "Go on? [y/N] "]))
        sys.stderr.flush()
        if sys.stdin.readline().strip().lower() not in ("y", "yes"):
            _emit({"removed": [], "kept": []}, "nothing was done", as_json=options.json)
            return 1
    removed, kept = uninstall(layout, purge=options.purge, dry_run=options.dry_run)
    verb = "would remove" if options.dry_run else "removed"
    lines = [*(f"{verb} {each}" for each in removed), *(f"kept {each}" for each in kept)]
    if kept:
        lines.append("a gate with its people and keys is destroyed by `facegate wipe`, before facegate is removed")
    _emit({"removed": removed, "kept": kept, "dry_run": options.dry_run}, "\n".join(lines), as_json=options.json)
    return 0
