"""Installing, upgrading, going back, removing: what changes, what stays, who is believed."""

from __future__ import annotations

import errno
import fcntl
import json
import os
import stat
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from .packages import KEY, OTHER, Recipe, here, public, run, tree, wheel

if TYPE_CHECKING:
    from pathlib import Path


def program(root: Path, *arguments: str) -> list[object]:
    """What the installed program says, started as its unit starts it."""
    script = root / "opt/facegate/current/bin/run.py"
    done = subprocess.run(  # noqa: S603
        [sys.executable, "-I", "-S", "-B", str(script), "facegate-terminal", *arguments],
        capture_output=True,
        text=True,
        check=True,
    )
    found = json.loads(done.stdout)
    assert isinstance(found, list)
    return found


def says(root: Path) -> object:
    """Which version runs."""
    return program(root)[0]


# ---------------------------------------------------------------- installing


def test_a_package_installs_itself(root: Path, packages: dict[str, Path]) -> None:
    """Python, the package, the signer's key: nothing else is needed, and the program runs."""
    told = run(packages["1"], "install", "--root", root, "--trust", packages["key"], "--json", check=0).data
    assert told["changed"]
    assert told["signed_by"] == KEY.key_id
    assert says(root) == "1.0.0"
    assert (root / "etc/facegate/terminal.toml").read_text().startswith("[gate]")
    for name in ("facegate", "facegate-package", "facegate-terminal"):
        assert str((root / "usr/local/bin" / name).readlink()) == f"/opt/facegate/current/bin/{name}"


def test_the_program_sees_the_version_and_the_standard_library_only(
    installed: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Neither the current folder, PYTHONPATH, the user's nor the system's packages are on its path."""
    (tmp_path / "alpha.py").write_text("SAYS = 'hijacked'\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    said, arguments, path, isolated = program(installed, "--status")
    assert said == "1.0.0"
    assert arguments[1:] == ["--status"]  # type: ignore[index]
    assert isolated == 1
    version = os.path.realpath(installed / "opt/facegate/current")
    ours = [each for each in path if each.startswith(version)]  # type: ignore[attr-defined]
    assert ours == [f"{version}/site", f"{version}/app"]
    assert not [each for each in path if "packages" in each and "site-packages" not in sys.prefix]  # type: ignore[attr-defined]


def test_the_shell_scripts_start_python_by_its_full_path(installed: Path) -> None:
    """Isolated, without the site module, with no library path of the caller's."""
    text = (installed / "opt/facegate/current/bin/facegate-terminal").read_text()
    assert "unset LD_PRELOAD LD_LIBRARY_PATH" in text
    assert "-I -S -B /opt/facegate/versions/1.0.0-" in text
    start = text.splitlines()[-1].split()
    assert start[0] == "exec"
    assert start[1].startswith("/")


def test_everything_is_for_all_to_read_and_for_root_to_change(root: Path, packages: dict[str, Path]) -> None:
    """Whatever the umask of whoever installs; the state is the service's alone."""
    before = os.umask(0o077)
    try:
        run(packages["1"], "install", "--root", root, "--trust", packages["key"], check=0)
    finally:
        os.umask(before)
    for path in (root / "opt").rglob("*"):
        mode = path.lstat().st_mode
        if not stat.S_ISLNK(mode) and path.name != ".lock":
            assert mode & 0o022 == 0, path
            assert mode & 0o444 == 0o444, path
    assert stat.S_IMODE((root / "var/lib/facegate").stat().st_mode) == 0o700


def test_bytecode_is_made_at_installation(installed: Path) -> None:
    """The service may write none; it is not held against the source's time (PEP 552: flags 1)."""
    found = list((installed / "opt/facegate/current/site").rglob("*.pyc"))
    assert len(found) == 1
    assert int.from_bytes(found[0].read_bytes()[4:8], "little") == 1
    assert b"/opt/facegate/versions/" in found[0].read_bytes()


def test_a_dry_run_writes_nothing(root: Path, packages: dict[str, Path]) -> None:
    """It says what it would do, how much room it takes, and leaves no trace."""
    before = tree(root)
    answer = here("install", packages["1"], "--root", root, "--trust", packages["key"], "--dry-run", "--json", check=0)
    assert answer.data["changed"]
    assert answer.data["size"] > 100_000
    assert tree(root) == before


def test_what_is_left_out_is_not_installed(root: Path, tmp_path: Path) -> None:
    """Of facegate's own wheel, and of no other."""
    files = {"facegate/__init__.py": b"", "facegate_convert/__init__.py": b"", "facegate_convert/x.py": b""}
    other = {"facegate_convert_more/__init__.py": b""}
    recipe = Recipe(
        wheels={
            "facegate-1-py3-none-any.whl": wheel("facegate", "1", files),
            "b-1-py3-none-any.whl": wheel("b", "1", other),
        },
        document={"leave_out": ["facegate_convert/"]},
        entry={"wheels/facegate-1-py3-none-any.whl": {"distribution": "facegate"}},
        app=False,
    )
    here("install", recipe.write(tmp_path / "d.pyz"), "--root", root, "--trust", public(tmp_path), check=0)
    site = root / "opt/facegate/current/site"
    assert (site / "facegate/__init__.py").is_file()
    assert not (site / "facegate_convert").exists()
    assert (site / "facegate_convert_more").exists()


def test_only_the_wheels_for_this_python_are_unpacked(root: Path, tmp_path: Path) -> None:
    """A package may bring wheels for several Pythons."""
    wheels = {
        "a-1-py3-none-any.whl": wheel("a", "1", {"a.py": b""}),
        "b-1-py3-none-any.whl": wheel("b", "1", {"b.py": b""}),
    }
    entry = {"wheels/b-1-py3-none-any.whl": {"python": "3.9"}}
    recipe = Recipe(wheels=wheels, entry=entry, app=False)
    here("install", recipe.write(tmp_path / "d.pyz"), "--root", root, "--trust", public(tmp_path), check=0)
    assert sorted(path.name for path in (root / "opt/facegate/current/site").glob("*.py")) == ["a.py"]


# ---------------------------------------------------------------- again, newer, older


def test_the_same_package_twice_changes_nothing(installed: Path, packages: dict[str, Path]) -> None:
    """And says so."""
    before = tree(installed)
    answer = run(packages["1"], "install", "--root", installed, check=0)
    assert "nothing was changed" in answer.out
    assert tree(installed) == before
    assert not run(packages["1"], "install", "--root", installed, "--json", check=0).data["changed"]


def test_a_newer_package_is_in_use_and_the_one_before_is_kept(installed: Path, packages: dict[str, Path]) -> None:
    """The installed installer checks it; configuration that was edited stays."""
    (installed / "etc/facegate/terminal.toml").write_text("edited\n")
    installer = installed / "opt/facegate/current/installer"
    told = run(installer, "install", packages["2"], "--root", installed, "--json", check=0).data
    assert told["before"].startswith("1.0.0-")
    assert says(installed) == "2.0.0"
    assert (installed / "etc/facegate/terminal.toml").read_text() == "edited\n"
    status = here("status", "--root", installed, "--files", "--json", check=0).data
    assert status["previous"]["version"] == "1.0.0"
    here("install", packages["3"], "--root", installed, check=0)
    kept = {path.name[:5] for path in (installed / "opt/facegate/versions").iterdir()}
    assert kept == {"2.0.0", "3.0.0"}


def test_a_rollback_puts_the_version_before_in_use(installed: Path, packages: dict[str, Path]) -> None:
    """Once; there is nothing before it then, and the newer one can be installed again."""
    here("install", packages["2"], "--root", installed, check=0)
    before = tree(installed)
    assert here("rollback", "--root", installed, "--dry-run", "--json", check=0).data["dry_run"]
    assert tree(installed) == before
    here("rollback", "--root", installed, check=0)
    assert says(installed) == "1.0.0"
    answer = here("rollback", "--root", installed, "--json", check=1)
    assert answer.error["type"] == "NotInstalledError"
    here("install", packages["2"], "--root", installed, check=0)
    assert says(installed) == "2.0.0"


def test_an_older_package_needs_to_be_meant(installed: Path, packages: dict[str, Path]) -> None:
    """A downgrade is how a fixed fault comes back."""
    here("install", packages["2"], "--root", installed, check=0)
    assert here("install", packages["1"], "--root", installed, "--json", check=4).error["type"] == "DowngradeError"
    assert says(installed) == "2.0.0"
    here("install", packages["1"], "--root", installed, "--downgrade", check=0)
    assert says(installed) == "1.0.0"
    here("rollback", "--root", installed, check=0)
    assert says(installed) == "2.0.0"


@pytest.mark.parametrize(
    ("older", "newer"),
    [
        ("1.9", "1.10"),
        ("1.0rc1", "1.0"),
        ("1.0-rc.2", "1.0-rc.10"),
        ("1.0", "1.0.1"),
        ("1.0", "1.0.post1"),
        ("2", "10"),
    ],
)
def test_versions_are_compared_as_numbers(older: str, newer: str) -> None:
    """Not as text; what comes before a release is older than it."""
    here("show", "none")
    from facegate_installer._versions import order  # noqa: PLC0415 - on the path from here on

    assert order(older) < order(newer)
    assert order("1.0") == order("1.0.0+build.5")


def test_another_package_does_not_take_its_place(installed: Path, tmp_path: Path) -> None:
    """A kiosk's package on a door is a mistake."""
    path = Recipe(name="kiosk", version="9").write(tmp_path / "kiosk.pyz")
    assert "door is installed" in here("install", path, "--root", installed, "--json", check=2).error["message"]


# ---------------------------------------------------------------- trust


def test_the_first_package_needs_a_key_or_says_that_it_needs_none(
    root: Path, packages: dict[str, Path], tmp_path: Path
) -> None:
    """The package cannot vouch for itself, and nothing is written before somebody is believed."""
    before = tree(root)
    answer = here("install", packages["1"], "--root", root, "--json", check=2)
    assert KEY.key_id in answer.error["message"]
    assert here("install", packages["1"], "--root", root, "--unsigned", "--json", check=2).error
    assert here("install", packages["1"], "--root", root, "--trust", public(tmp_path, OTHER), check=4)
    assert tree(root) == before


def test_an_unsigned_package_is_installed_only_when_asked_for_and_noted(root: Path, tmp_path: Path) -> None:
    """`status` says so for as long as it is in use."""
    path = Recipe(key=None).write(tmp_path / "door.pyz")
    key = public(tmp_path)
    here("install", path, "--root", root, check=4)
    here("install", path, "--root", root, "--trust", key, check=4)
    here("install", path, "--root", root, "--trust", key, "--unsigned", check=2)
    answer = here("install", path, "--root", root, "--unsigned", "--json", check=0)
    assert "UNSIGNED" in answer.data["notes"][0]
    assert here("status", "--root", root, "--json", check=0).data["current"]["unsigned"]
    assert "UNSIGNED" in here("status", "--root", root, check=0).out


def test_an_upgrade_by_another_signer_is_refused(installed: Path, tmp_path: Path) -> None:
    """Whatever it is called and however new it is; unsigned ones as well."""
    for key, code in ((OTHER, 4), (None, 4)):
        path = Recipe(version="9", key=key).write(tmp_path / "evil.pyz")
        here("install", path, "--root", installed, "--json", check=code)
    here("install", path, "--root", installed, "--unsigned", check=2)
    assert says(installed) == "1.0.0"
    assert not list((installed / "opt/facegate/versions").glob("9*"))


def test_root_can_trust_another_signer(installed: Path, tmp_path: Path) -> None:
    """Both are trusted then, until the old key's file is removed."""
    path = Recipe(version="2", key=OTHER).write(tmp_path / "door.pyz")
    here("install", path, "--root", installed, "--trust", public(tmp_path, OTHER), check=0)
    trusted = here("status", "--root", installed, "--json", check=0).data["trusted"]
    assert set(trusted) == {KEY.key_id, OTHER.key_id}


def test_a_key_that_did_not_sign_is_not_trusted(root: Path, packages: dict[str, Path], tmp_path: Path) -> None:
    """Nor kept."""
    here("install", packages["1"], "--root", root, "--trust", public(tmp_path, OTHER), check=4)
    assert not list((root / "etc/facegate").rglob("*.pub"))


def test_trusted_keys_that_others_can_change_are_not_believed(installed: Path, packages: dict[str, Path]) -> None:
    """The file, or the folder."""
    trust = installed / "etc/facegate/trust"
    for path in (trust / f"{KEY.key_id}.pub", trust):
        mode = path.stat().st_mode
        path.chmod(mode | 0o002)
        here("install", packages["2"], "--root", installed, "--json", check=5)
        path.chmod(mode)
    assert says(installed) == "1.0.0"


# ---------------------------------------------------------------- the machine


@pytest.mark.parametrize(
    ("recipe", "word"),
    [
        (Recipe(machine="riscv64"), "riscv64"),
        (Recipe(pythons=["3.99"]), "Python 3.99"),
        (Recipe(glibc="9.99"), "glibc 9.99"),
        (Recipe(wheels={"x-1-cp399-cp399-any.whl": wheel("x", "1", {"x.py": b""}, tag="cp399-cp399-any")}), "cp399"),
        (
            Recipe(
                wheels={"x-1-py3-none-l.whl": wheel("x", "1", {"x.py": b""}, tag="py3-none-manylinux_2_28_riscv64")}
            ),
            "riscv64",
        ),
    ],
)
def test_a_package_for_another_machine_is_refused(root: Path, tmp_path: Path, recipe: Recipe, word: str) -> None:
    """Processor, Python, C library, and what is in it: with advice, and before anything is in use."""
    path = recipe.write(tmp_path / "door.pyz")
    answer = here("install", path, "--root", root, "--trust", public(tmp_path), "--json", check=5)
    assert word in answer.error["message"]
    assert answer.error["hint"]
    assert not (root / "opt/facegate/current").exists()


def test_below_a_root_the_image_counts_and_not_this_machine(root: Path, tmp_path: Path) -> None:
    """Its python3, that file's processor, its C library: an aarch64 image takes no package for this PC."""
    (root / "usr/bin").mkdir(parents=True)
    elf = b"\x7fELF\x02\x01\x01" + bytes(9) + (3).to_bytes(2, "little") + (183).to_bytes(2, "little") + bytes(64)
    (root / "usr/bin/python3.13").write_bytes(elf)
    (root / "usr/bin/python3").symlink_to("python3.13")
    (root / "lib/aarch64-linux-gnu").mkdir(parents=True)
    (root / "lib/aarch64-linux-gnu/libc.so.6").write_bytes(
        b"GNU C Library (Debian GLIBC 2.41-12) stable release version 2.41."
    )
    mine = Recipe().write(tmp_path / "mine.pyz")
    if Recipe().machine != "aarch64":
        assert "aarch64" in here("install", mine, "--root", root, "--unsigned", "--json", check=5).error["message"]
    fitting = Recipe(machine="aarch64", pythons=["3.13"], glibc="2.34").write(tmp_path / "pi.pyz")
    here("install", fitting, "--root", root, "--trust", public(tmp_path), check=0)
    status = here("status", "--root", root, "--json", check=0).data["current"]
    assert (status["python"], status["interpreter"]) == ("3.13", "/usr/bin/python3.13")
    assert not list((root / "opt/facegate/current/site").rglob("*.pyc")) or sys.version_info[:2] == (3, 13)
    too_new = Recipe(machine="aarch64", pythons=["3.13"], glibc="2.42", version="2").write(tmp_path / "new.pyz")
    assert "2.41" in here("install", too_new, "--root", root, "--json", check=5).error["message"]


# ---------------------------------------------------------------- the disk


def test_two_installers_do_not_work_at_once(installed: Path, packages: dict[str, Path]) -> None:
    """The second one says so and changes nothing; a lock that a killed one left is none."""
    with (installed / "opt/facegate/.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        for command in (["install", packages["2"]], ["rollback"], ["uninstall"]):
            assert here(*command, "--root", installed, "--json", check=5).error["type"] == "BusyError"
    here("install", packages["2"], "--root", installed, check=0)


def test_without_room_nothing_is_changed_at_all(
    root: Path, packages: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Neither folders nor the service's user are made: that is what the error says."""
    import facegate_installer._unpack as module  # noqa: PLC0415 - on the path from here on

    (root / "etc/passwd").write_text("root:x:0:0::/:/bin/sh\n")
    before = tree(root)
    monkeypatch.setattr(module, "free_bytes", lambda _: 1000)
    answer = here("install", packages["1"], "--root", root, "--trust", packages["key"], "--json", check=5)
    assert "nothing was changed" in answer.error["hint"]
    assert tree(root) == before


def test_an_answer_that_cannot_be_written_is_no_bug(packages: dict[str, Path]) -> None:
    """The disk that standard output is on is full: exit code 5, and no second error at the end."""
    with open("/dev/full", "w") as full:  # noqa: PTH123 - a device
        done = subprocess.run(  # noqa: S603
            [sys.executable, "-I", str(packages["1"]), "show"],
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
            check=False,
        )
    assert done.returncode == 5
    assert "disk is full" in done.stderr
    assert "Exception ignored" not in done.stderr


def test_without_room_nothing_is_begun(
    installed: Path, packages: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    """How much is needed and how much is free."""
    here("show", "none")
    import facegate_installer._unpack as module  # noqa: PLC0415 - on the path from here on

    monkeypatch.setattr(module, "free_bytes", lambda _: 1000)
    answer = here("install", packages["2"], "--root", installed, "--json", check=5)
    assert "not enough room" in answer.error["message"]
    assert says(installed) == "1.0.0"


@pytest.mark.parametrize("owner", [1234, None])
def test_a_place_that_others_can_change_is_refused(
    installed: Path, packages: dict[str, Path], owner: int | None
) -> None:
    """Folders of others, or for everybody to write to: what is there may not be what was installed."""
    folder = installed / "opt/facegate/versions"
    if owner is None:
        folder.chmod(0o777)
    elif os.geteuid() == 0:
        os.chown(folder, owner, owner)
    else:
        pytest.skip("only root can give folders away")
    for command in (["install", packages["2"]], ["rollback"], ["status"], ["uninstall"]):
        assert "others than root" in here(*command, "--root", installed, "--json", check=5).error["message"]


def test_below_a_root_no_link_leads_out_of_it(root: Path, packages: dict[str, Path], tmp_path: Path) -> None:
    """An image with a link to the builder's own /opt is not installed through it."""
    (tmp_path / "outside").mkdir()
    (root / "opt").symlink_to(tmp_path / "outside")
    here("install", packages["1"], "--root", root, "--trust", packages["key"], "--json", check=5)
    assert not list((tmp_path / "outside").iterdir())


@pytest.mark.parametrize("place", ["usr/local", "usr/local/bin", "etc/systemd", "etc/sysusers.d", "var", "etc"])
def test_no_folder_that_is_written_to_below_a_root_is_a_link(
    root: Path, packages: dict[str, Path], tmp_path: Path, place: str
) -> None:
    """Units, commands and the service's user belong to the image, not to the builder's machine."""
    outside = tmp_path / "outside"
    outside.mkdir()
    path = root / place
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.exists():
        path.rename(tmp_path / "before")
    path.symlink_to(outside)
    answer = here("install", packages["1"], "--root", root, "--trust", packages["key"], "--json", check=5)
    assert "is a link" in answer.error["message"]
    assert not list(outside.iterdir())


def test_without_permission_it_says_so(root: Path, packages: dict[str, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    """What the system refuses is told with what to do about it, and nothing is half done."""
    here("show", "none")
    import facegate_installer._unpack as module  # noqa: PLC0415 - on the path from here on

    for code, word in ((errno.EACCES, "no permission"), (errno.EROFS, "read-only"), (errno.ENOSPC, "disk is full")):

        def refuse(*_: object, code: int = code) -> None:
            raise OSError(code, os.strerror(code), "/opt/facegate")

        with monkeypatch.context() as patch:
            patch.setattr(module, "sync_tree", refuse)
            answer = here("install", packages["1"], "--root", root, "--trust", packages["key"], "--json", check=5)
        assert word in answer.error["message"]
        assert not list((root / "opt/facegate/versions").iterdir())
    here("install", packages["1"], "--root", root, "--trust", packages["key"], check=0)


def test_an_installed_file_that_was_changed_is_found(installed: Path) -> None:
    """Changed, missing, or come since: `status --files` names each, exit code 1."""
    version = installed / "opt/facegate/current"
    (version / "site/alpha/data.bin").write_bytes(b"x")
    (version / "app/facegate_terminal/terminal.toml").unlink()
    (version / "site/json.py").write_text("")
    damaged = here("status", "--root", installed, "--files", "--json", check=1).data["damaged"]
    assert damaged == ["app/facegate_terminal/terminal.toml", "site/alpha/data.bin", "site/json.py"]


def test_a_damaged_version_is_mended_by_its_own_package(installed: Path, packages: dict[str, Path]) -> None:
    """What an SD card lost comes back; "nothing was changed" is said of what is whole."""
    version = installed / "opt/facegate/current"
    before = tree(installed / "opt/facegate/versions")
    (version / "site/alpha/data.bin").write_bytes(b"x")
    (version / "site/json.py").write_text("")
    assert here("install", packages["1"], "--root", installed, "--dry-run", "--json", check=0).data["changed"]
    assert here("install", packages["1"], "--root", installed, "--json", check=0).data["changed"]
    assert here("status", "--root", installed, "--files", "--json", check=0).data["damaged"] == []
    assert tree(installed / "opt/facegate/versions").keys() == before.keys()
    assert not here("install", packages["1"], "--root", installed, "--json", check=0).data["changed"]


@pytest.mark.parametrize("atomic", [True, False])
def test_the_version_in_use_is_replaced_without_a_moment_in_which_it_is_not_there(
    installed: Path, packages: dict[str, Path], monkeypatch: pytest.MonkeyPatch, atomic: bool
) -> None:
    """Two folders exchange their names in one step, where the system can; where it cannot, one after the other."""
    import facegate_installer._install as module  # noqa: PLC0415 - on the path from here on

    version = installed / "opt/facegate/current"
    (version / "site/alpha/data.bin").write_bytes(b"x")
    missing: list[bool] = []
    real = type(version).rename

    def rename(path: Path, target: Path) -> Path:
        moved = real(path, target)
        missing.append(not (version / "package.json").exists())
        return moved

    monkeypatch.setattr(type(version), "rename", rename)
    if not atomic:
        monkeypatch.setattr(module, "exchange", lambda *_: False)
    here("install", packages["1"], "--root", installed, check=0)
    assert any(missing) is not atomic
    assert here("status", "--root", installed, "--files", "--json", check=0).data["damaged"] == []


# ---------------------------------------------------------------- removing


def test_uninstalling_keeps_configuration_and_state(installed: Path) -> None:
    """Versions, units and commands go; a second time there is nothing to remove."""
    before = tree(installed)
    told = here("uninstall", "--root", installed, "--dry-run", "--json", check=0).data
    assert "/opt/facegate" in told["removed"]
    assert tree(installed) == before
    here("uninstall", "--root", installed, check=0)
    left = tree(installed)
    assert not [name for name in left if "opt/facegate" in name or name.endswith(".service")]
    assert not [name for name in left if name.startswith("usr/local/bin/")]
    assert "etc/facegate/terminal.toml" in left
    assert "var/lib/facegate" in left
    here("uninstall", "--root", installed, check=1)


def test_a_purge_asks_and_never_destroys_a_gate(installed: Path) -> None:
    """`facegate wipe` does that, in the right order."""
    gate = installed / "var/lib/facegate/gate"
    gate.mkdir()
    (gate / "gate.json").write_text("{}")
    assert (
        "facegate wipe" in here("uninstall", "--root", installed, "--purge", "--yes", "--json", check=5).error["hint"]
    )
    (gate / "gate.json").unlink()
    here("uninstall", "--root", installed, "--purge", "--json", check=2)
    told = here("uninstall", "--root", installed, "--purge", "--dry-run", "--json", check=0).data
    assert {"/etc/facegate", "/var/lib/facegate", "/opt/facegate"} <= set(told["removed"])
    here("uninstall", "--root", installed, "--purge", "--yes", check=0)
    assert not [name for name in tree(installed) if "facegate" in name]


@pytest.mark.parametrize("left", ["deep/front/gate.json", "gate/gate.db", "gate/seal.key", "link"])
def test_a_purge_looks_for_gates_everywhere_and_for_what_is_left_of_them(installed: Path, left: str) -> None:
    """Two doors in folders of their own, a gate half restored, a link to one on another disk."""
    path = installed / "var/lib/facegate" / left
    if left == "link":
        (installed / "data").mkdir()
        (installed / "data/gate.json").write_text("{}")
        path.symlink_to(installed / "data")
    else:
        path.parent.mkdir(parents=True)
        path.write_text("{}")
    before = tree(installed)
    here("uninstall", "--root", installed, "--purge", "--yes", "--json", check=5)
    here("uninstall", "--root", installed, "--purge", "--dry-run", "--json", check=5)
    assert tree(installed) == before


def test_a_purge_names_each_file_that_it_destroys(installed: Path) -> None:
    """A backup in the state, a sealed key in the configuration: nobody sees those in a folder's name."""
    (installed / "var/lib/facegate/monday.backup").write_text("x")
    removed = here("uninstall", "--root", installed, "--purge", "--dry-run", "--json", check=0).data["removed"]
    assert {"/var/lib/facegate/monday.backup", "/etc/facegate/terminal.toml"} <= set(removed)


def test_a_new_installer_may_begin_while_the_old_files_are_going(
    installed: Path, packages: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    """They go under another name: what is unpacked meanwhile is not removed with them."""
    import facegate_installer._uninstall as module  # noqa: PLC0415 - on the path from here on

    real = module.remove_tree

    def remove(path: Path) -> None:
        if path.exists():
            monkeypatch.setattr(module, "remove_tree", real)
            here("install", packages["1"], "--root", installed, check=0)
        real(path)

    monkeypatch.setattr(module, "remove_tree", remove)
    here("uninstall", "--root", installed, check=0)
    assert here("status", "--root", installed, "--files", check=0)
    assert not list((installed / "opt").glob(".*"))


def test_wrong_arguments_are_usage_errors(root: Path, packages: dict[str, Path]) -> None:
    """Exit code 2 and what to do, as text and as JSON, never a traceback."""
    for arguments in (
        [],
        ["frobnicate"],
        ["install"],
        ["install", "--root", root / "none"],
        ["rollback", "--bogus"],
        ["init", "--root", root],
    ):
        answer = here(*arguments, "--json")
        assert answer.code == 2, arguments
        assert answer.error["hint"]
    assert here("status", "--root", root, check=1).out.startswith("nothing is installed")
    assert here("rollback", "--root", root, "--json", check=1).error["type"] == "NotInstalledError"
    assert here("verify", packages["1"].parent, "--json", check=3).error["type"] == "PackageError"
    assert here("verify", root / "no.pyz", "--json", check=3).error["type"] == "PackageError"
