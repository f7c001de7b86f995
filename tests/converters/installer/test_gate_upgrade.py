"""A gate outlives the versions that open it: what an upgrade and a rollback mean for it, and for its bundle."""

from __future__ import annotations

import dataclasses
import json
import sqlite3
import subprocess
import sys
import sysconfig
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

import facegate
import facegate_edge
from facegate._declaration import Declaration
from facegate._gate_folder import read_info
from facegate._new_gate import create_gate
from facegate._policy import Policy
from facegate._store._files import drop_lock, take_lock
from facegate._store._schema import VERSION
from facegate_convert import write_bundle
from facegate_edge import TrustStore, open_bundle

from .packages import KEY, OTHER, Recipe, here, public, wheel

if TYPE_CHECKING:
    from collections.abc import Callable

DECLARED = {
    "purpose": "Staff entrance",
    "place": "door 7",
    "operator": "the operator",
    "contact": "the operator",
    "legal_basis": "explicit_consent",
    "informed": "a sign",
    "alternative": "a badge",
    **dict.fromkeys(("minors", "public_space", "mobile_camera", "law_enforcement", "covert", "tracking"), False),
    **dict.fromkeys(("infers_emotion", "infers_gender", "infers_traits", "scraped_faces"), False),
    **dict.fromkeys(("scores_people", "predicts_crime"), False),
}


@pytest.fixture(scope="session")
def bundles(
    tmp_path_factory: pytest.TempPathFactory, make_manifest: Callable[..., Any], model_bytes: dict[str, bytes]
) -> dict[str, Path]:
    """Bundles by what is different: nothing, the version, the template space, the signer, the operating points."""
    folder = tmp_path_factory.mktemp("bundles")
    roles = ("detector", "recognizer", "liveness")
    plain = make_manifest(*roles)
    recognizer = plain.model("recognizer")
    other = dataclasses.replace(
        recognizer, recognizer=dataclasses.replace(recognizer.recognizer, template_space="other-space")
    )
    spaced = tuple(other if model.role == "recognizer" else model for model in plain.models)
    for name, manifest, key in (
        ("first", plain, KEY),
        ("newer", make_manifest(*roles, version="2.0.0"), KEY),
        ("space", make_manifest(version="3.0.0", models=spaced), KEY),
        ("signer", make_manifest(*roles, version="4.0.0"), OTHER),
        ("points", make_manifest(*roles, version="5.0.0", operating_points=()), KEY),
    ):
        write_bundle(folder / f"{name}.fgb", manifest, model_bytes, key)
    return {path.stem: path for path in folder.iterdir()}


def paths() -> list[str]:
    """Where this test's own facegate and its packages are."""
    roots = [Path(facegate.__file__).parent.parent, Path(facegate_edge.__file__).parent.parent]
    return [*dict.fromkeys(map(str, roots)), sysconfig.get_path("purelib"), sysconfig.get_path("platlib")]


def package(folder: Path, version: str, bundle: Path, **changes: Any) -> Path:
    """A package whose facegate is the one under test: a wheel that leads to it."""
    lead = f"import sys\nsys.path[:0] = {paths()!r}\n"
    files = {
        "facegate/__init__.py": (lead + f"__path__ = [{str(Path(facegate.__file__).parent)!r}]\n").encode(),
        "facegate_edge/__init__.py": (lead + f"__path__ = [{str(Path(facegate_edge.__file__).parent)!r}]\n").encode(),
    }
    files |= changes.pop("files", {})
    more = {
        "bundle/door.fgb": ("bundle", bundle.read_bytes()),
        f"trust/{KEY.key_id}.pub": ("trust", KEY.verify_key.to_pem()),
        f"trust/{OTHER.key_id}.pub": ("trust", OTHER.verify_key.to_pem()),
    }
    recipe = Recipe(
        version=version, wheels={"facegate-1-py3-none-any.whl": wheel("facegate", "1", files)}, app=False, more=more
    )
    return recipe.write(folder / f"door-{version}.pyz")


@pytest.fixture
def gate(root: Path, tmp_path: Path, bundles: dict[str, Path]) -> Path:
    """A root with version 1 and a gate with its bundle."""
    here("install", package(tmp_path, "1", bundles["first"]), "--root", root, "--trust", public(tmp_path), check=0)
    folder = root / "var/lib/facegate/gate"
    trust = TrustStore([KEY.verify_key])
    with open_bundle(bundles["first"], trust=trust) as bundle:
        create_gate(folder, bundle, trust, Policy(fmr=1e-3), device_id="door-7", declaration=Declaration(**DECLARED))
    return folder


def contents(folder: Path) -> dict[str, bytes]:
    """What the gate's files hold."""
    return {path.name: path.read_bytes() for path in folder.iterdir() if path.is_file() and ".db" not in path.name}


def bundle_of(folder: Path) -> str:
    """The version of the gate's bundle."""
    trust = TrustStore([KEY.verify_key, OTHER.verify_key])
    with open_bundle(folder / "bundle.fgb", trust=trust) as bundle:
        return bundle.manifest.version


def test_an_upgrade_leaves_the_gate_and_its_bundle_alone(
    root: Path, gate: Path, tmp_path: Path, bundles: dict[str, Path]
) -> None:
    """A gate has a copy of its bundle; the new one is put in use by a command of its own, and it says so."""
    before = contents(gate)
    told = here("install", package(tmp_path, "2", bundles["newer"]), "--root", root, "--json", check=0).data
    assert any("use-bundle" in note and "stays enrolled" in note for note in told["notes"])
    assert contents(gate) == before


def test_the_same_bundle_is_not_worth_a_note(root: Path, gate: Path, tmp_path: Path, bundles: dict[str, Path]) -> None:
    """A newer program with the bundle that the gate has."""
    told = here("install", package(tmp_path, "2", bundles["first"]), "--root", root, "--json", check=0).data
    assert gate.is_dir()
    assert not [note for note in told["notes"] if "bundle" in note]


def test_a_bundle_of_the_same_space_is_put_in_use_and_taken_back(
    root: Path, gate: Path, tmp_path: Path, bundles: dict[str, Path]
) -> None:
    """Everybody stays enrolled; after a rollback the older one comes back with the same command."""
    here("install", package(tmp_path, "2", bundles["newer"]), "--root", root, check=0)
    assert here("use-bundle", "--root", root, "--json", check=0).data["same_space"]
    assert bundle_of(gate) == "2.0.0"
    assert "nothing was changed" in here("use-bundle", "--root", root, check=0).out
    here("rollback", "--root", root, check=0)
    assert bundle_of(gate) == "2.0.0"
    here("use-bundle", "--root", root, check=0)
    assert bundle_of(gate) == "1.2.3"


def test_a_bundle_of_another_template_space_needs_to_be_meant(
    root: Path, gate: Path, tmp_path: Path, bundles: dict[str, Path]
) -> None:
    """Nobody who is enrolled would be recognized: refused, with what would follow."""
    told = here("install", package(tmp_path, "3", bundles["space"]), "--root", root, "--json", check=0).data
    assert any("enrolled again" in note for note in told["notes"])
    error = here("use-bundle", "--root", root, "--json", check=5).error
    assert "--enroll-again" in error["hint"]
    assert bundle_of(gate) == "1.2.3"
    assert "enrolled again" in here("use-bundle", "--enroll-again", "--root", root, check=0).out
    assert bundle_of(gate) == "3.0.0"


def test_a_bundle_of_another_signer_is_not_put_in_use_by_itself(
    root: Path, gate: Path, tmp_path: Path, bundles: dict[str, Path]
) -> None:
    """The gate has its own list of trusted signers; root may add one that the package brings."""
    here("install", package(tmp_path, "4", bundles["signer"]), "--root", root, check=0)
    here("use-bundle", "--root", root, "--json", check=5)
    here("use-bundle", "--trust-signer", "0" * 16, "--root", root, "--json", check=5)
    assert bundle_of(gate) == "1.2.3"
    here("use-bundle", "--trust-signer", OTHER.key_id, "--root", root, check=0)
    assert bundle_of(gate) == "4.0.0"
    assert (gate / "trust" / f"{OTHER.key_id}.pub").is_file()


def test_a_bundle_that_does_not_keep_the_gates_rules_is_refused(
    root: Path, gate: Path, tmp_path: Path, bundles: dict[str, Path]
) -> None:
    """The policy asks for an FMR that it was never measured for: the threshold belongs to the bundle."""
    told = here("install", package(tmp_path, "5", bundles["points"]), "--root", root, "--json", check=0).data
    assert any("cannot take" in note for note in told["notes"])
    here("use-bundle", "--root", root, "--json", check=5)
    assert bundle_of(gate) == "1.2.3"


def test_a_gate_that_is_open_keeps_its_bundle(root: Path, gate: Path, tmp_path: Path, bundles: dict[str, Path]) -> None:
    """The terminal is stopped first; an upgrade of the program may look at the gate meanwhile."""
    lock = take_lock(gate / "gate.db")
    try:
        here("install", package(tmp_path, "2", bundles["newer"]), "--root", root, check=0)
        assert here("use-bundle", "--root", root, "--json", check=5).error
    finally:
        drop_lock(lock)
    assert bundle_of(gate) == "1.2.3"


def test_a_version_that_cannot_read_the_store_does_not_come_into_use(
    root: Path, gate: Path, tmp_path: Path, bundles: dict[str, Path]
) -> None:
    """A newer version changed the store: neither an older package nor a rollback takes the gate away."""
    here("install", package(tmp_path, "2", bundles["first"]), "--root", root, check=0)
    connection = sqlite3.connect(gate / "gate.db")
    connection.execute(f"PRAGMA user_version={VERSION + 1}")
    connection.close()
    error = here("rollback", "--root", root, "--json", check=5).error
    assert "store" in error["message"]
    assert "backup" in error["hint"]
    here("install", package(tmp_path, "3", bundles["first"]), "--root", root, "--json", check=5)
    status = here("status", "--root", root, "--json", check=0).data
    assert (status["current"]["version"], status["previous"]["version"]) == ("2", "1")
    here("rollback", "--root", root, "--force", check=0)


def test_a_version_that_does_not_run_does_not_come_into_use(
    root: Path, gate: Path, tmp_path: Path, bundles: dict[str, Path]
) -> None:
    """It is asked about the gate before the link is swapped."""
    files = {"facegate_edge/__init__.py": b"raise ImportError('libfoo')\n"}
    broken = package(tmp_path, "2", bundles["first"], files=files)
    error = here("install", broken, "--root", root, "--json", check=5).error
    assert "libfoo" in error["message"]
    assert here("status", "--root", root, "--json", check=0).data["current"]["version"] == "1"
    assert gate.is_dir()
    assert len(list((root / "opt/facegate/versions").iterdir())) == 1


def test_the_first_gate_is_made_by_the_installed_version(root: Path, tmp_path: Path, bundles: dict[str, Path]) -> None:
    """For what the declaration says, with the package's bundle; credentials go where systemd reads the terminal's."""
    declaration = tmp_path / "door.json"
    declaration.write_text(json.dumps({"format": 1} | DECLARED))
    arguments = ("--root", root, "--trust", public(tmp_path), "--declaration", declaration)
    found = package(tmp_path, "1", bundles["first"])
    told = here(
        "install", found, *arguments, "--init=--fmr", "--init=0.001", "--init=--device-id=door-7", "--json", check=0
    )
    assert any("TAKE AWAY" in done for done in told.data["done"])
    assert read_info(root / "var/lib/facegate/gate").device_id == "door-7"
    credentials = root / "etc/facegate/credentials"
    assert {path.name for path in credentials.iterdir()} == {
        f"{role}.credential" for role in ("administrator", "enroller", "privacy_officer", "recognizer", "reviewer")
    }
    assert all(path.stat().st_mode & 0o077 == 0 for path in (credentials, *credentials.iterdir()))
    assert not (root / "var/lib/facegate/credentials.new").exists()
    assert not list((root / "etc/facegate").glob(".*"))
    here("init", "--root", root, "--declaration", declaration, "--json", check=2)


def test_a_declaration_that_is_refused_makes_no_gate(root: Path, tmp_path: Path, bundles: dict[str, Path]) -> None:
    """What `facegate init` says, with its exit code; the program is installed all the same."""
    declaration = tmp_path / "door.json"
    declaration.write_text(json.dumps({"format": 1} | DECLARED | {"covert": True}))
    found = package(tmp_path, "1", bundles["first"])
    here("install", found, "--root", root, "--trust", public(tmp_path), check=0)
    answer = here("init", "--root", root, "--declaration", declaration, "--json")
    assert answer.error["exit_code"] == answer.code
    assert answer.code in (2, 3, 4, 5)
    assert not (root / "var/lib/facegate/gate").exists()
    here("init", "--root", root, "--declaration", tmp_path / "none.json", "--json", check=2)
    assert sys.version_info >= (3, 10)


def test_a_gates_folder_cannot_make_root_look_into_it(
    root: Path, gate: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A service that was taken over puts a link to root's folder there: it is still the service's user who looks."""
    from facegate_installer import _gate  # noqa: PLC0415 - on the path from here on
    from facegate_installer._layout import Layout  # noqa: PLC0415

    gate.rename(tmp_path / "bait")
    gate.symlink_to(tmp_path / "bait")
    (root / "etc/passwd").write_text("facegate:x:4711:4712::/var/lib/facegate:/bin/false\n")
    asked: list[dict[str, Any]] = []

    def instead(command: list[str], **options: Any) -> subprocess.CompletedProcess[bytes]:
        asked.append(options)
        return subprocess.CompletedProcess(command, 0, b'{"problems": []}', b"")

    monkeypatch.setattr(_gate.os, "geteuid", lambda: 0)
    monkeypatch.setattr(_gate.subprocess, "run", instead)
    layout = Layout(root)
    current = layout.current()
    assert current is not None
    assert _gate.examine(layout, current) is not None
    assert (asked[0]["user"], asked[0]["group"], asked[0]["extra_groups"]) == (4711, 4712, [])
    assert asked[0]["stdin"] == subprocess.DEVNULL
    assert asked[0]["start_new_session"]


def test_a_credential_that_is_a_link_to_another_file_is_not_handed_out(root: Path, tmp_path: Path) -> None:
    """Root copies what `facegate init` wrote, not what the service's user put in its place."""
    from facegate_installer import _first_gate  # noqa: PLC0415 - on the path from here on
    from facegate_installer._errors import StateError  # noqa: PLC0415
    from facegate_installer._layout import Layout  # noqa: PLC0415

    badges = root / "var/lib/facegate/credentials.new"
    badges.mkdir(parents=True)
    (tmp_path / "shadow").write_text("root's\n")
    (badges / "administrator.credential").hardlink_to(tmp_path / "shadow")
    with pytest.raises(StateError, match="not what"):
        _first_gate._hand_out(Layout(root), badges)
    (badges / "administrator.credential").unlink()
    (badges / "administrator.credential").symlink_to(tmp_path / "shadow")
    with pytest.raises(OSError, match="symbolic"):
        _first_gate._hand_out(Layout(root), badges)
    assert not list((root / "etc/facegate/credentials").iterdir())
