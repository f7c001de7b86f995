"""`facegate package`: what is in the one file, and what is refused."""

from __future__ import annotations

import errno
import hashlib
import json
import os
import shutil
import stat
import zipfile

import pytest

from facegate.cli._commands import root
from facegate_convert._package import packageable, plan, write_package
from facegate_convert._package._systems import system
from facegate_convert.errors import PackageBundleError, PackageTargetError, WheelError, WheelhouseError
from facegate_edge import targets
from facegate_edge._bundle import signature_document
from facegate_edge._keys import SigningKey, TrustStore
from facegate_edge._version import VERSION
from facegate_edge.errors import BundleUnsignedError, UntrustedKeyError

from .wheels import LIBRARY, OWN, TERMINAL, own_wheel


def quiet(_step, _done, _total):
    """No progress is watched."""


def made(settings, path, **changes):
    """A package that was written, opened."""
    write_package(path, settings(**changes), quiet)
    return zipfile.ZipFile(path)


def listing(archive):
    """Its package.json."""
    return json.loads(archive.read("package.json"))


@pytest.mark.parametrize("target", packageable())
def test_a_package_holds_what_it_lists_and_nothing_else(settings, tmp_path, target):
    """Every member but package.json is listed with its true size and hash, and every listed file is there."""
    with made(settings, tmp_path / "door.pyz", target=target) as archive:
        document = listing(archive)
        files = {entry["path"]: entry for entry in document["files"]}
        names = archive.namelist()
        assert names[:2] == ["__main__.py", "package.json"]
        assert sorted(names) == sorted([*files, "package.json"])
        for path, entry in files.items():
            data = archive.read(path)
            assert (len(data), hashlib.sha256(data).hexdigest()) == (entry["size"], entry["sha256"])
    assert document["format"] == 1
    assert (document["name"], document["version"], document["target"]) == ("door", "1.2.0", target)
    assert document["facegate"] == VERSION
    assert document["machine"] == targets()[target].machine
    assert document["pythons"] == list(system(target).pythons)
    roles = {entry["role"] for entry in document["files"]}
    assert {"installer", "wheel", "bundle", "trust", "app", "license"} <= roles
    assert ("engine" in roles, "deb" in roles) == ((False, True) if target == "generic-armv7" else (True, False))


def test_each_python_gets_its_wheels(settings, tmp_path):
    """A wheel for one Python says which; one for all of the package's says none."""
    with made(settings, tmp_path / "door.pyz") as archive:
        wheels = {e["path"]: e["python"] for e in listing(archive)["files"] if e["role"] == "wheel"}
    assert wheels[f"wheels/{OWN % 'aarch64'}"] is None
    assert wheels["wheels/click-8.5.1-py3-none-any.whl"] is None
    numpy = {path: python for path, python in wheels.items() if "numpy" in path}
    assert sorted(numpy.values()) == ["3.11", "3.13"]
    assert all(f"cp{python.replace('.', '')}-" in path for path, python in numpy.items())


def test_of_litert_only_its_library_goes_in(settings, tmp_path):
    """The library, the version that the runtime asks for, the licence; not the interpreter, not its dependencies."""
    with made(settings, tmp_path / "door.pyz") as archive:
        engine = [name for name in archive.namelist() if name.startswith("engine/")]
        assert archive.read("engine/ai_edge_litert/libLiteRt.so") == LIBRARY
        assert archive.read("engine/ai_edge_litert/__init__.py") == b""
        assert b"Version: 2.3.0" in archive.read("engine/ai_edge_litert-2.3.0.dist-info/METADATA")
        assert "engine/ai_edge_litert-2.3.0.dist-info/licenses/LICENSE" in engine
        assert len(engine) == 4
        assert not [name for name in archive.namelist() if name.startswith("wheels/ai_edge_litert")]


def test_licences_of_all_software_are_in_it(settings, tmp_path):
    """Each distribution has a licence in words or as an expression, and its text."""
    with made(settings, tmp_path / "door.pyz", target="generic-armv7") as archive:
        files = listing(archive)["files"]
    with_text = {e["distribution"] for e in files if e["role"] == "license"}
    software = {e["distribution"] for e in files if e["role"] in {"wheel", "engine", "deb"}}
    assert with_text >= software
    assert all(e["license"] for e in files if e["role"] in {"wheel", "engine", "deb", "bundle"})


def test_the_terminal_is_taken_out_of_the_wheel(settings, tmp_path):
    """Without --app the program is the terminal; the wheel itself stays as it was built, and says what is left out."""
    with made(settings, tmp_path / "door.pyz") as archive:
        assert archive.read("app/facegate_terminal/__main__.py") == TERMINAL["facegate_terminal/__main__.py"]
        assert archive.read(f"wheels/{OWN % 'aarch64'}") == own_wheel()[1]
        assert listing(archive)["leave_out"] == ["facegate_convert/", "facegate_train/", "facegate_terminal/"]


def test_the_signature_covers_the_listing(settings, tmp_path, key):
    """package.sig is the signature over package.json's very bytes, with the key's id; the device trusts that key."""
    other = SigningKey.from_seed(bytes(32))
    trust = TrustStore([key.verify_key, other.verify_key])
    with made(settings, tmp_path / "door.pyz", key=other, trust=trust) as archive:
        data = archive.read("package.json")
        assert archive.read("package.sig") == signature_document(other.key_id, other.sign(data))
        assert json.loads(data)["signed_by"] == other.key_id
        assert {name for name in archive.namelist() if name.startswith("trust/")} == {
            f"trust/{k.key_id}.pub" for k in (key, other)
        }
    package, _, _ = write_package(tmp_path / "unsigned.pyz", settings(), quiet)
    assert package.document["signed_by"] is None
    assert any("not signed" in note for note in package.notes)


def test_the_same_inputs_give_the_same_bytes(settings, shelf, tmp_path, key):
    """Neither time nor names of folders nor the order of files in them are in a package."""
    write_package(tmp_path / "a.pyz", settings(key=key), quiet)
    moved = tmp_path / "elsewhere"
    shutil.copytree(shelf.cache, moved)
    for path in moved.iterdir():
        os.utime(path, (1, 1))
    _, size, sha256 = write_package(tmp_path / "b.pyz", settings(key=key, cache=moved), quiet)
    data = (tmp_path / "b.pyz").read_bytes()
    assert (tmp_path / "a.pyz").read_bytes() == data
    assert (size, sha256) == (len(data), hashlib.sha256(data).hexdigest())


def test_another_input_gives_another_file(settings, tmp_path, make_bundle):
    """The counterpart: the comparison above can fail."""
    _, _, one = write_package(tmp_path / "a.pyz", settings(), quiet)
    _, _, two = write_package(tmp_path / "b.pyz", settings(bundle=make_bundle(version="1.2.1")), quiet)
    assert one != two


def test_the_file_is_for_everybody_to_read_and_runs(settings, tmp_path):
    """Mode 0644, nothing beside it, a `#!` line, and a ZIP that Python can run."""
    path = tmp_path / "out" / "door.pyz"
    path.parent.mkdir()
    with made(settings, path) as archive:
        assert archive.testzip() is None
    assert stat.S_IMODE(path.stat().st_mode) == 0o644
    assert [p.name for p in path.parent.iterdir()] == ["door.pyz"]
    assert path.read_bytes().startswith(b"#!/usr/bin/env python3\nPK")


def test_every_target_is_packaged_or_refused_with_a_reason():
    """No target is forgotten: each makes a package or says why none can be made."""
    for name in targets():
        if name in packageable():
            assert system(name).pythons
        else:
            with pytest.raises(PackageTargetError, match=name) as caught:
                system(name)
            assert caught.value.hint


def test_the_command_says_what_it_made(command, tmp_path):
    """Size, hash, parts with their sizes, and what is installed by Python."""
    path = tmp_path / "door.pyz"
    code, data = command(f"--output={path}")
    assert code == 0
    raw = path.read_bytes()
    assert (data["size"], data["sha256"]) == (len(raw), hashlib.sha256(raw).hexdigest())
    assert data["package"]["target"] == "rpi4"
    assert set(data["installed"]) == {"3.11", "3.13"}
    parts = {(part["name"], part["python"]): part for part in data["parts"]}
    assert parts["ai-edge-litert", ""]["installed"] > len(LIBRARY)
    assert data["installed"]["3.11"]["numpy_and_pillow"] == parts["numpy", "3.11"]["installed"]
    whole = sum(part["installed"] for part in data["parts"] if part["python"] in ("", "3.11"))
    assert data["installed"]["3.11"]["all"] == whole


def test_the_name_follows_bundle_and_target(command, tmp_path, monkeypatch):
    """Without --output the file is called NAME-TARGET.pyz; name and version can be chosen."""
    monkeypatch.chdir(tmp_path)
    code, data = command("--name=gate-7", "--version=2.0.0", "--python=3.10", target="jetson-orin")
    assert (code, data["file"]) == (0, "gate-7-jetson-orin.pyz")
    assert (data["package"]["name"], data["package"]["version"]) == ("gate-7", "2.0.0")
    assert data["package"]["pythons"] == ["3.10"]
    assert (tmp_path / "gate-7-jetson-orin.pyz").is_file()


def test_a_dry_run_writes_and_fetches_nothing(command, shelf, tmp_path):
    """It shows what would be in the package, and what of it would have to be fetched."""
    (shelf.cache / "click-8.5.1-py3-none-any.whl").unlink()
    code, data = command("--dry-run", f"--output={tmp_path / 'door.pyz'}")
    assert (code, data["file"], data["installed"]) == (0, None, None)
    states = {part["name"]: part["state"] for part in data["parts"] if part["state"]}
    assert states == {"ai-edge-litert": "cached", "numpy": "cached", "click": "to fetch"}
    assert not (tmp_path / "door.pyz").exists()


@pytest.mark.parametrize(
    ("incomplete", "expected"), [("rpi", {"rpi3", "rpi4", "rpi5"}), ("jetson", {"jetson-orin"}), ("zzz", set())]
)
def test_targets_are_completed(incomplete, expected):
    """The shell offers the targets that a package can be made for."""
    command = root.get_command(root.make_context("facegate", ["package"]), "package")
    option = next(p for p in command.params if "--target" in p.opts)
    found = option.shell_complete(command.make_context("package", [], resilient_parsing=True), incomplete)
    assert {item.value for item in found} == expected


# What is refused.


def test_an_unsigned_bundle_is_refused(settings, make_bundle):
    """Devices open none either."""
    with pytest.raises(BundleUnsignedError):
        plan(settings(bundle=make_bundle(signed=False)))


def test_a_bundle_of_a_stranger_is_refused(settings):
    """Its signer is none of those named."""
    stranger = SigningKey.from_seed(bytes(32)).verify_key
    with pytest.raises(UntrustedKeyError):
        plan(settings(trust=TrustStore([stranger])))


def test_whom_to_trust_must_be_said(command):
    """Neither --trust nor --key: nobody's signature would count."""
    code, data = command(trust=None)
    assert (code, data["error"]["type"]) == (2, "UsageError")


@pytest.mark.parametrize(
    ("built_for", "target"), [("generic-armv7", "rpi4"), ("rpi5", "x86_64"), ("rpi4", "generic-armv7")]
)
def test_a_bundle_for_another_architecture_is_refused(settings, make_bundle, built_for, target):
    """The device would refuse it: better here than there."""
    with pytest.raises(PackageTargetError, match=f"built for {built_for}"):
        plan(settings(bundle=make_bundle(target=built_for), target=target))


def test_a_bundle_for_a_similar_board_is_noted(settings, make_bundle):
    """It runs there with a warning, and so it is packaged with one."""
    notes = plan(settings(bundle=make_bundle(target="rpi5"), target="rpi4")).notes
    assert any("built for rpi5" in note for note in notes)
    assert not any("built for" in note for note in plan(settings(bundle=make_bundle(target="rpi4"))).notes)


def test_a_demonstration_is_noted(settings):
    """Models for demonstrations only are said to be so, in the notes and in package.json."""
    planned = plan(settings())
    assert planned.document["demonstration"] is True
    assert any("demonstrations only" in note for note in planned.notes)


@pytest.mark.parametrize(
    ("changes", "match"),
    [
        ({"roles": ("detector",), "operating_points": ()}, "no recognizer"),
        ({"operating_points": ()}, "no operating point"),
    ],
)
def test_a_bundle_that_recognises_nobody_is_refused(settings, make_bundle, changes, match):
    """One model is what `convert` writes; without an operating point there is no threshold."""
    with pytest.raises(PackageBundleError, match=match):
        plan(settings(bundle=make_bundle(**changes)))


@pytest.mark.parametrize("target", ["generic", "jetson-nano", "rpi6"])
def test_the_command_refuses_targets_without_package(command, target):
    """Before anything is read, with the reason."""
    code, data = command(target=target, bundle="absent.fgb")
    assert code == 3
    assert target in data["error"]["message"]
    assert data["error"]["hint"]


def test_a_python_without_pins_is_refused(command):
    """There are no wheels for it; a misspelt one is a usage error."""
    code, data = command("--python=3.14")
    assert (code, data["error"]["type"]) == (3, "PackageTargetError")
    code, data = command("--python=three")
    assert (code, data["error"]["type"]) == (2, "UsageError")


def test_a_missing_wheelhouse_says_how_to_make_one(command, tmp_path):
    """The hint names the command."""
    code, data = command(wheels=tmp_path / "none")
    assert (code, data["error"]["type"]) == (3, "WheelhouseError")
    assert "make wheels" in data["error"]["hint"]


def test_a_wheelhouse_of_another_version_is_refused(settings, shelf):
    """A package is made by the version that is in it."""
    (shelf.wheels / (OWN % "aarch64")).unlink()
    file, data = own_wheel(version="0.0.9")
    (shelf.wheels / file).write_bytes(data)
    with pytest.raises(WheelhouseError, match=rf"0\.0\.9.*this is facegate {VERSION}"):
        plan(settings())


def test_a_wheelhouse_without_this_machine_is_refused(settings, shelf):
    """Wheels of other architectures are no help."""
    (shelf.wheels / (OWN % "aarch64")).unlink()
    with pytest.raises(WheelhouseError, match="no facegate wheel for aarch64"):
        plan(settings())


def test_two_wheels_that_fit_are_refused(settings, shelf):
    """Nobody guesses which was meant."""
    (shelf.wheels / (OWN % "aarch64").replace("2_28", "2_34")).write_bytes(b"")
    with pytest.raises(WheelhouseError, match=r"2_28.*2_34"):
        plan(settings())


@pytest.mark.parametrize("damage", ["truncated", "exchanged", "renamed"])
def test_a_tampered_own_wheel_is_refused(settings, shelf, damage):
    """Cut off, one file exchanged against its RECORD, or another wheel under its name."""
    path = shelf.wheels / (OWN % "aarch64")
    data = path.read_bytes()
    if damage == "truncated":
        path.write_bytes(data[:-20])
    elif damage == "renamed":
        path.write_bytes((shelf.cache / "click-8.5.1-py3-none-any.whl").read_bytes())
    else:
        with zipfile.ZipFile(path) as old:
            inside = {info.filename: old.read(info) for info in old.infolist()}
        inside["facegate/__init__.py"] = b"import os\n"
        with zipfile.ZipFile(path, "w") as new:
            for name, content in inside.items():
                new.writestr(name, content)
    with pytest.raises(WheelError):
        plan(settings())


def test_an_output_that_cannot_be_written_is_said_first(command, bundle, tmp_path):
    """No folder, a folder in its place, or what is read: nothing is fetched or replaced."""
    code, data = command(f"--output={tmp_path / 'no' / 'door.pyz'}")
    assert (code, data["error"]["type"]) == (5, "OutputFileError")
    code, data = command(f"--output={tmp_path}")
    assert (code, data["error"]["type"]) == (5, "OutputFileError")
    before = bundle.read_bytes()
    code, data = command(f"--output={bundle}")
    assert (code, data["error"]["type"]) == (2, "UsageError")
    assert bundle.read_bytes() == before


@pytest.mark.parametrize("name", ["door-rpi4.tar.zst", "door.TGZ", "door.zip", "door.deb"])
def test_an_output_that_is_called_like_another_kind_of_file_is_refused(command, tmp_path, name):
    """Nobody who unpacks it would find what its name says; the error names the file to write instead."""
    code, data = command(f"--output={tmp_path / name}")
    assert (code, data["error"]["type"]) == (2, "UsageError")
    assert f"{name.partition('.')[0]}.pyz" in data["error"]["message"]
    assert list(tmp_path.glob("door*")) == []


def test_a_full_disk_leaves_the_old_package(command, tmp_path, monkeypatch):
    """Written beside and renamed: the old file stays as it was, and nothing half-written is left."""
    path = tmp_path / "out" / "door.pyz"
    path.parent.mkdir()
    path.write_bytes(b"the old one")

    def full(_descriptor):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr("facegate_convert._files.os.fsync", full)
    code, data = command(f"--output={path}")
    assert (code, data["error"]["type"]) == (5, "OutputFileError")
    assert path.read_bytes() == b"the old one"
    assert [p.name for p in path.parent.iterdir()] == ["door.pyz"]
