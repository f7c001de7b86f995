"""Run inside a version, by the gate's owner: looks at a gate with that version's code, and exchanges its bundle.

The one module here that needs facegate; it is never imported by the others.
"""

from __future__ import annotations

import json
import sqlite3
import sys
from pathlib import Path
from typing import Any

__all__ = ["main"]


def main(arguments: list[str]) -> int:
    """`check GATE [BUNDLE]` or `adopt GATE BUNDLE TRUST AGAIN SIGNER`; prints one JSON object. Returns 0 or 1."""
    from facegate_edge.errors import FacegateError  # noqa: PLC0415

    command, gate, *rest = arguments
    try:
        if command == "check":
            found = _check(Path(gate), Path(rest[0]) if rest else None)
        else:
            found = _adopt(Path(gate), Path(rest[0]), Path(rest[1]), again=rest[2] == "1", signer=rest[3])
    except FacegateError as error:
        found = {"problems": [{"what": str(error), "hint": error.hint}]}
    except OSError as error:
        found = {"problems": [{"what": f"{error.strerror}: {error.filename}", "hint": "look at the gate's folder"}]}
    sys.stdout.write(json.dumps(found) + "\n")
    return 1 if found.get("problems") else 0


def _check(gate: Path, package: Path | None) -> dict[str, Any]:
    """Whether this version could open the gate, and what the package's bundle would mean for it."""
    from facegate._gate_folder import BUNDLE, POLICY, TRUST, read_declaration, read_info  # noqa: PLC0415
    from facegate._policy_json import load_policy  # noqa: PLC0415
    from facegate._store._schema import VERSION  # noqa: PLC0415
    from facegate_edge._bundle import open_bundle  # noqa: PLC0415
    from facegate_edge._keys import TrustStore  # noqa: PLC0415

    read_info(gate)
    read_declaration(gate)
    version = _store_version(gate / "gate.db")
    if version > VERSION:
        hint = "this version is older than the one that used the gate last: stay, or restore a backup made before it"
        return {"problems": [{"what": f"its store is of version {version}, this one reads {VERSION}", "hint": hint}]}
    found: dict[str, Any] = {"problems": [], "migrates": version < VERSION, "store": version, "bundle": None}
    policy, trust = load_policy(gate / POLICY), TrustStore.load(gate / TRUST)
    with open_bundle(gate / BUNDLE, trust=trust) as own:
        policy.check(own.manifest)
        if package is not None:
            found["bundle"] = _compare(own, package, gate)
    return found


def _compare(own: Any, package: Path, gate: Path) -> dict[str, Any]:
    """The gate's bundle beside the package's."""
    from facegate._gate_folder import POLICY, TRUST, template_kind  # noqa: PLC0415
    from facegate._policy_json import load_policy  # noqa: PLC0415
    from facegate_edge._bundle import open_bundle  # noqa: PLC0415
    from facegate_edge._keys import TrustStore  # noqa: PLC0415
    from facegate_edge.errors import FacegateError  # noqa: PLC0415

    about = {"gate": own.short_id, "same_space": False, "refused": "", "package": package.name, "same": False}
    try:
        with open_bundle(package, trust=TrustStore.load(gate / TRUST)) as new:
            about |= {"package": new.short_id, "same": new.id == own.id, "same_space": _space(new) == _space(own)}
            template_kind(new)
            load_policy(gate / POLICY).check(new.manifest)
    except FacegateError as error:
        about["refused"] = str(error)
    return about


def _space(bundle: Any) -> tuple[str, int]:
    from facegate._gate_folder import template_kind  # noqa: PLC0415

    kind = template_kind(bundle)
    return kind.template_space, kind.template_length


def _adopt(gate: Path, package: Path, keys: Path, *, again: bool, signer: str) -> dict[str, Any]:
    """Put the package's bundle in the place of the gate's, in one step; nothing else of the gate changes.

    The gate must be closed: the lock of its store is held meanwhile. Faces of another template space stay in the store
    and are compared with nothing, until people are enrolled again or the older bundle comes back.
    """
    from facegate._files import write_new  # noqa: PLC0415
    from facegate._gate_folder import BUNDLE, POLICY, TRUST, check_demonstration, read_declaration  # noqa: PLC0415
    from facegate._policy_json import load_policy  # noqa: PLC0415
    from facegate._store._files import drop_lock, take_lock  # noqa: PLC0415
    from facegate_edge._bundle import open_bundle  # noqa: PLC0415
    from facegate_edge._keys import TrustStore  # noqa: PLC0415

    trust = TrustStore.load(gate / TRUST)
    new_key = None
    if signer and signer not in trust:
        new_key = TrustStore.load(keys).get(signer)
        if new_key is None:
            hint = "the package's trust/ holds the keys that its bundle may be signed with"
            return {"problems": [{"what": f"the package brings no key {signer}", "hint": hint}]}
        trust = TrustStore([*trust, new_key])
    lock = take_lock(gate / "gate.db")
    try:
        with open_bundle(gate / BUNDLE, trust=trust) as own, open_bundle(package, trust=trust) as new:
            load_policy(gate / POLICY).check(new.manifest)
            check_demonstration(read_declaration(gate), new)
            same = _space(own) == _space(new)
            about = {"problems": [], "before": own.short_id, "bundle": new.short_id, "same_space": same}
            if own.id == new.id:
                return about | {"changed": False}
            if not same and not again:
                hint = "--enroll-again puts it in use: then everybody has to be enrolled again"
                what = "the bundle makes templates of another kind: nobody who is enrolled would be recognized"
                return about | {"problems": [{"what": what, "hint": hint}]}
            if new_key is not None:
                new_key.save(gate / TRUST / f"{signer}.pub")
            _replace(gate / BUNDLE, [new.file_bytes()], write_new)
    finally:
        drop_lock(lock)
    return about | {"changed": True}


def _replace(path: Path, pieces: Any, write_new: Any) -> None:
    from facegate._files import sync_folder  # noqa: PLC0415

    fresh = path.with_name(f".{path.name}.new")
    fresh.unlink(missing_ok=True)
    write_new(fresh, pieces)
    fresh.replace(path)
    sync_folder(path.parent)


def _store_version(path: Path) -> int:
    """The store's version, without opening the gate: it may be in use."""
    try:
        connection = sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True)
        try:
            return int(connection.execute("PRAGMA user_version").fetchone()[0])
        finally:
            connection.close()
    except sqlite3.Error:
        with path.open("rb") as file:  # the file's header (sqlite.org/fileformat2.html, 1.3.15)
            return int.from_bytes(file.read(64)[60:64], "big")
