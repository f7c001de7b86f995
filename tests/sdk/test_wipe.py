"""Decommissioning: keys first, everything overwritten, nothing left; and a wipe that was cut off is finished."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from facegate import _wipe, open_gate
from facegate._gate_folder import GATE, KEY, STORE, read_info, write_info
from facegate._wipe import plan_wipe, wipe_gate
from facegate.errors import FacegateError, GateFolderError, GateInUseError, WipeError


@pytest.fixture
def peopled(gate_folder, shows, consent):
    """A gate on disk with somebody in it, closed."""
    with gate_folder.open() as roles:
        assert roles.enroller.enroll("alice", [shows(1)], consent).enrolled
    return gate_folder


def names(plan):
    """The plan's files, by their names in the folder."""
    return [str(path.relative_to(plan.folder)) for path in plan.files]


def test_a_gate_is_gone(peopled):
    """Nothing of the folder is left; what is beside it stays."""
    told = []
    plan = plan_wipe(peopled.folder)
    wipe_gate(plan, lambda done, total: told.append((done, total)))
    assert not peopled.folder.exists()
    assert peopled.credentials.exists()
    assert told[-1][0] == told[-1][1] >= len(plan.files) - 1


def test_keys_go_first_and_what_names_the_gate_last(peopled):
    """The plan says what goes in which order: the sealing key, the device's key, the store, the rest, gate.json."""
    plan = plan_wipe(peopled.folder)
    order = names(plan)
    assert order[:2] == ["seal.key", KEY]
    assert order[2].startswith(STORE)
    assert order[-1] == GATE
    assert {"policy.json", "bundle.fgb", "declaration.json"} < set(order)
    assert (plan.device_id, plan.key, plan.key_destroyed) == ("door-1", "file:seal.key", True)
    assert plan.size == sum(path.stat().st_size for path in plan.files)


def test_planning_touches_nothing(peopled):
    """To look at what would be destroyed destroys nothing."""
    before = {path: path.read_bytes() for path in peopled.folder.rglob("*") if path.is_file()}
    plan_wipe(peopled.folder)
    assert {path: path.read_bytes() for path in peopled.folder.rglob("*") if path.is_file()} == before
    with peopled.open() as roles:
        assert roles.people() == ("alice",)


def test_files_are_overwritten_before_they_go(peopled, monkeypatch):
    """Each file's bytes are zeros, on the disk, when its name is removed."""
    seen = {}
    unlink = _wipe.Path.unlink

    def look(path, **kwargs):
        if path.exists() and not path.is_symlink():
            seen[path.name] = path.read_bytes()
        unlink(path, **kwargs)

    sizes = {path.name: path.stat().st_size for path in peopled.folder.rglob("*") if path.is_file()}
    monkeypatch.setattr(_wipe.Path, "unlink", look)
    wipe_gate(plan_wipe(peopled.folder))
    assert {name: len(data) for name, data in seen.items() if name in sizes} == sizes
    assert not any(any(data) for data in seen.values())


@pytest.mark.parametrize("after", range(0, 12, 2))
def test_a_wipe_that_was_cut_off_is_run_again(peopled, monkeypatch, after):
    """Killed after any file, the keys are the first to be gone, and a second run finishes."""
    count = 0
    destroy = _wipe._destroy

    class Killed(BaseException):
        pass

    def cut(path):
        nonlocal count
        count += 1
        if count > after:
            raise Killed
        destroy(path)

    with monkeypatch.context() as patched:
        patched.setattr(_wipe, "_destroy", cut)
        try:
            wipe_gate(plan_wipe(peopled.folder))
        except Killed:
            assert not (peopled.folder / "seal.key").exists()
            with pytest.raises(FacegateError):
                open_gate(peopled.folder)
    if peopled.folder.exists():
        wipe_gate(plan_wipe(peopled.folder))
    assert not peopled.folder.exists()


def test_a_gate_in_use_is_not_wiped(peopled):
    """While a process has the gate open, nothing of it is destroyed."""
    with peopled.open() as roles:
        with pytest.raises(GateInUseError):
            wipe_gate(plan_wipe(peopled.folder))
        assert roles.people() == ("alice",)
    with peopled.open() as roles:
        assert roles.people() == ("alice",)


def test_a_key_outside_the_folder_is_destroyed_too(peopled, tmp_path):
    """The sealing key goes wherever gate.json says that it is; what other providers bring, their owner destroys."""
    with peopled.open() as roles:
        roles.administrator.rotate_key(f"file:{tmp_path / 'outside.key'}")
    plan = plan_wipe(peopled.folder)
    assert plan.key_destroyed
    wipe_gate(plan)
    assert not (tmp_path / "outside.key").exists()
    assert not peopled.folder.exists()


def test_a_key_that_is_elsewhere_is_told(peopled):
    """A key from the environment or systemd cannot be destroyed from here, and the plan says so."""
    info = read_info(peopled.folder)
    write_info(peopled.folder, type(info)(info.format, info.device_id, info.created, info.facegate, "environment:SEAL"))
    plan = plan_wipe(peopled.folder)
    assert (plan.key, plan.key_destroyed) == ("environment:SEAL", False)
    wipe_gate(plan)
    assert not peopled.folder.exists()


def test_what_no_gate_made_is_told_before_it_goes(peopled, tmp_path):
    """An export or a backup that somebody put into the folder is destroyed as well, and is not overlooked."""
    assert plan_wipe(peopled.folder).foreign == ()
    export, nested = peopled.folder / "export.zip", peopled.folder / "trust" / "old" / "thesis.txt"
    nested.parent.mkdir()
    for path in (export, nested):
        path.write_text("mine")
    link = peopled.folder / "seal.key.link"
    link.symlink_to(tmp_path)
    plan = plan_wipe(peopled.folder)
    assert set(plan.foreign) == {export, nested, link}
    assert set(plan.foreign) < set(plan.files)


def test_links_are_not_followed(peopled, tmp_path):
    """A link in the folder is removed; where it leads to, nothing happens. Hard links lose their name only."""
    (tmp_path / "file").write_text("precious")
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "inside").write_text("precious")
    (peopled.folder / "link").symlink_to(tmp_path / "file")
    (peopled.folder / "tree").symlink_to(tmp_path / "folder")
    os.link(tmp_path / "file", peopled.folder / "hard")
    wipe_gate(plan_wipe(peopled.folder))
    assert not peopled.folder.exists()
    assert (tmp_path / "file").read_text() == (tmp_path / "folder" / "inside").read_text() == "precious"


@pytest.mark.parametrize("what", ["none", "file", "empty", "link", "current"])
def test_what_is_no_gate_is_not_wiped(peopled, tmp_path, monkeypatch, what):
    """No folder, a file, another folder, a link, the folder one is in: refused, and nothing happens."""
    place = tmp_path / what
    if what == "file":
        place.write_text("something")
    elif what == "empty":
        place.mkdir()
    elif what == "link":
        place.symlink_to(peopled.folder)
    elif what == "current":
        monkeypatch.chdir(peopled.folder)
        place = peopled.folder
    with pytest.raises((GateFolderError, WipeError)):
        plan_wipe(place)
    assert (peopled.folder / KEY).exists()


def test_what_cannot_be_destroyed_is_named_and_tried_again(peopled, monkeypatch):
    """A failure keeps nothing else from going; the folder stays a gate until all of it is gone."""
    destroy = _wipe._destroy

    def refuse(path):
        if path.name == "policy.json":
            raise PermissionError(1, "Operation not permitted")
        destroy(path)

    with monkeypatch.context() as patched:
        patched.setattr(_wipe, "_destroy", refuse)
        with pytest.raises(WipeError, match=r"policy\.json") as caught:
            wipe_gate(plan_wipe(peopled.folder))
    assert caught.value.exit_code == 5
    assert not (peopled.folder / "seal.key").exists()
    assert not (peopled.folder / STORE).exists()
    wipe_gate(plan_wipe(peopled.folder))
    assert not peopled.folder.exists()


@pytest.mark.parametrize("lock", [".lock", "-delivery.lock"])
def test_the_lock_holds_between_processes(peopled, lock):
    """A gate that another process has open, or delivers decisions of, is in use."""
    code = (
        "import fcntl, os, sys\n"
        f"lock = os.open({str(peopled.folder / (STORE + lock))!r}, os.O_RDWR | os.O_CREAT)\n"
        "fcntl.flock(lock, fcntl.LOCK_EX)\nprint('ready', flush=True)\nsys.stdin.read()\n"
    )
    process = subprocess.Popen(  # noqa: S603 - our own interpreter
        [sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    try:
        assert process.stdout.readline() == "ready\n"
        with pytest.raises(GateInUseError):
            wipe_gate(plan_wipe(peopled.folder))
    finally:
        process.stdin.close()
        process.stdout.close()
        process.wait(timeout=30)
    wipe_gate(plan_wipe(peopled.folder))
