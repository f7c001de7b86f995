# ruff: noqa: N806 - what is taken at run time keeps its name
"""Run inside a version, by the gate's owner: looks at a gate with that version's code, and exchanges its bundle.

The one module here that needs facegate: the version's own, which is on the path of the process that runs this. It
names what it takes at run time, for on the build host nothing of the SDK belongs to the converter.
"""

from __future__ import annotations

import json
import sqlite3
import sys
from importlib import import_module
from pathlib import Path
from typing import Any

__all__ = ["main"]


def _of(module: str, *names: str) -> Any:
    """What a module of the version's facegate holds: one thing, or several in their order."""
    found = import_module(module)
    things = [getattr(found, name) for name in names]
    return things if len(things) > 1 else things[0]


def main(arguments: list[str]) -> int:
    """`check GATE [BUNDLE]` or `adopt GATE BUNDLE TRUST AGAIN SIGNER`; prints one JSON object. Returns 0 or 1."""
    FacegateError = _of("facegate_edge.errors", "FacegateError")

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
    BUNDLE, POLICY, TRUST, read_declaration, read_info = _of(
        "facegate._gate_folder", "BUNDLE", "POLICY", "TRUST", "read_declaration", "read_info"
    )
    load_policy = _of("facegate._policy_json", "load_policy")
    VERSION = _of("facegate._store._schema", "VERSION")
    open_bundle = _of("facegate_edge._bundle", "open_bundle")
    TrustStore = _of("facegate_edge._keys", "TrustStore")

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
    POLICY, TRUST, template_kind = _of("facegate._gate_folder", "POLICY", "TRUST", "template_kind")
    load_policy = _of("facegate._policy_json", "load_policy")
    open_bundle = _of("facegate_edge._bundle", "open_bundle")
    TrustStore = _of("facegate_edge._keys", "TrustStore")
    FacegateError = _of("facegate_edge.errors", "FacegateError")

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
    template_kind = _of("facegate._gate_folder", "template_kind")

    kind = template_kind(bundle)
    return kind.template_space, kind.template_length


def _adopt(gate: Path, package: Path, keys: Path, *, again: bool, signer: str) -> dict[str, Any]:
    """Put the package's bundle in the place of the gate's, in one step; nothing else of the gate changes.

    The gate must be closed: the lock of its store is held meanwhile. Faces of another template space stay in the store
    and are compared with nothing, until people are enrolled again or the older bundle comes back.
    """
    write_new = _of("facegate._files", "write_new")
    BUNDLE, POLICY, TRUST, check_demonstration, read_declaration = _of(
        "facegate._gate_folder", "BUNDLE", "POLICY", "TRUST", "check_demonstration", "read_declaration"
    )
    load_policy = _of("facegate._policy_json", "load_policy")
    drop_lock, take_lock = _of("facegate._store._files", "drop_lock", "take_lock")
    open_bundle = _of("facegate_edge._bundle", "open_bundle")
    TrustStore = _of("facegate_edge._keys", "TrustStore")

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
    sync_folder = _of("facegate._files", "sync_folder")

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
