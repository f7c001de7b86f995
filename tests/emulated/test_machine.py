"""Making the emulated machines, without making one: what is done anew, what is refused, and how failures are told."""

from __future__ import annotations

import ctypes
import json
import os
import platform
import shutil
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import cores
import debian
import making
import playing
import pytest
from errors import FetchError, MachineError
from machine import Machine, read_counts

HERE = Path(__file__).parent
WORDS = json.loads((HERE / "words.json").read_text())

pytestmark = pytest.mark.skipif(
    sys.platform != "linux" or platform.machine() != "x86_64", reason="emulated machines are for x86_64 Linux"
)


def fill(new: Path, _say: object) -> list[str]:
    """Stands for a part that is unpacked."""
    new.mkdir()
    (new / "file").write_text("made")
    return ["file"]


@pytest.fixture
def two_parts(monkeypatch):
    """Two parts that are quickly made; the returned dictionary holds their keys and functions."""
    made = {"a": ("key-a", fill), "b": ("key-b", fill)}
    monkeypatch.setattr(making, "parts", lambda _machine: made)
    return made


def test_only_what_is_missing_is_made(two_parts, tmp_path, capsys):
    """The second time nothing is; a part with another key alone."""
    making.make(tmp_path)
    assert making.missing(tmp_path) == []
    capsys.readouterr()
    making.make(tmp_path)
    assert "every part is there" in capsys.readouterr().out
    two_parts["b"] = ("other", fill)
    assert making.missing(tmp_path) == ["b"]
    making.make(tmp_path)
    assert "making b\n" in capsys.readouterr().out


def test_a_part_that_fails_leaves_the_others_and_no_half(two_parts, tmp_path):
    """What was made stays, what failed is missing, and the next try makes it."""

    def fails(new: Path, _say: object) -> list[str]:
        new.mkdir()
        raise MachineError("broken")

    two_parts["b"] = ("key-b", fails)
    with pytest.raises(MachineError, match="broken"):
        making.make(tmp_path)
    assert making.missing(tmp_path) == ["b"]
    assert not (tmp_path / "b").exists()
    two_parts["b"] = ("key-b", fill)
    making.make(tmp_path)
    assert making.missing(tmp_path) == []


def test_an_interrupted_replacement_is_made_again(two_parts, tmp_path):
    """A folder without its record is not taken for made."""
    making.make(tmp_path)
    (tmp_path / "a.made").unlink()
    assert making.missing(tmp_path) == ["a"]
    two_parts["a"] = ("key-a", fill)
    making.make(tmp_path)
    assert (tmp_path / "a/file").read_text() == "made"


def test_without_a_network_the_reason_stays(two_parts, tmp_path):
    """It is told apart from all other failures, and tests are skipped with it."""

    def unreachable(_new: Path, _say: object) -> list[str]:
        raise FetchError("apt-get cannot fetch packages:\nCould not resolve mirror.example")

    two_parts["a"] = ("key-a", unreachable)
    with pytest.raises(FetchError):
        making.make(tmp_path)
    assert "cannot fetch packages" in Machine(tmp_path).unavailable()
    two_parts["a"] = ("key-a", fill)
    making.make(tmp_path)
    assert not (tmp_path / "unavailable").exists()


@pytest.mark.parametrize(("machine", "system"), [("aarch64", "linux"), ("x86_64", "darwin")])
def test_another_host_is_refused(monkeypatch, tmp_path, machine, system):
    """Before anything is made."""
    monkeypatch.setattr(platform, "machine", lambda: machine)
    monkeypatch.setattr(sys, "platform", system)
    with pytest.raises(MachineError, match="x86_64 Linux"):
        making.make(tmp_path / "new")
    assert not (tmp_path / "new").exists()


@pytest.mark.usefixtures("two_parts")
def test_a_full_disk_is_refused_before_it_is_full(monkeypatch, tmp_path):
    """With what there is and what is needed."""
    monkeypatch.setattr(shutil, "disk_usage", lambda _path: shutil._ntuple_diskusage(10**9, 10**9, 5 * 10**6))
    with pytest.raises(MachineError, match="has 5 MB left"):
        making.make(tmp_path)
    assert making.missing(tmp_path) == ["a", "b"]


@pytest.mark.parametrize(
    ("said", "error", "words"),
    [
        ("Could not resolve 'mirror.example'", FetchError, "cannot fetch"),
        ("Failed to fetch http://x  Connection refused", FetchError, "cannot fetch"),
        ("NO_PUBKEY 0E98404D386FA1D9", MachineError, "not what was signed"),
        ("Failed to fetch http://x  Hash Sum mismatch", MachineError, "not what was signed"),
        ("write error: No space left on device", MachineError, "disk is full"),
        ("Segmentation fault", MachineError, "failed"),
    ],
)
def test_what_a_tool_says_becomes_one_error(tmp_path, said, error, words):
    """No network, a wrong signature, a full disk and all else are told apart."""
    tool = tmp_path / "tool"
    tool.write_text(f"#!/bin/sh\ncat >&2 <<'X'\n{said}\nX\nexit 100\n")
    tool.chmod(0o755)
    with pytest.raises(MachineError, match=words) as caught:
        debian.run([str(tool)], fetches=True)
    assert type(caught.value) is error


@pytest.mark.parametrize("tool", ["apt-get", "dpkg-deb"])
def test_a_host_without_debians_tools_is_told(monkeypatch, tmp_path, tool):
    """And which one is missing."""
    found = shutil.which
    monkeypatch.setattr(shutil, "which", lambda name: None if name == tool else found(name) or f"/usr/bin/{name}")
    with pytest.raises(MachineError, match=f"{tool} is missing"):
        debian.unpack(["hello"], "arm64", tmp_path, tmp_path / "state", print)


def test_a_wheel_that_is_not_the_pinned_one_is_refused(monkeypatch, tmp_path):
    """What pip refuses is told with the file that has the pins."""

    def refuse(*_arguments: object, **_options: object) -> str:
        raise MachineError("pip failed: THESE PACKAGES DO NOT MATCH THE HASHES FROM THE REQUIREMENTS FILE")

    monkeypatch.setattr(debian, "run", refuse)
    with pytest.raises(MachineError, match=r"not the one that site-arm64\.txt names") as caught:
        making._site("arm64", HERE / "site-arm64.txt", tmp_path / "new", tmp_path, lambda _text: None)
    assert not isinstance(caught.value, FetchError)


def test_no_link_leads_out_of_a_root(tmp_path):
    """Debian's /usr/lib/python3.11/sitecustomize.py is a link to /etc: on the host that is the host's."""
    root = tmp_path / "root"
    for folder in ("usr/lib/python3.11", "etc/python3.11"):
        (root / folder).mkdir(parents=True)
    (root / "etc/python3.11/sitecustomize.py").write_text("the guest's")
    (root / "usr/lib/python3.11/sitecustomize.py").symlink_to("/etc/python3.11/sitecustomize.py")
    (root / "etc/passwd").symlink_to("/etc/passwd")
    (root / "etc/same").symlink_to("python3.11")
    making.keep_links_inside(root)
    moved = root.rename(tmp_path / "moved")
    assert (moved / "usr/lib/python3.11/sitecustomize.py").read_text() == "the guest's"
    assert not (moved / "etc/passwd").is_symlink()
    assert (moved / "etc/same").resolve() == (moved / "etc/python3.11").resolve()


@pytest.mark.parametrize("arch", ["arm64", "armhf"])
def test_every_wheel_is_pinned(arch):
    """Each line has a version and one hash."""
    lines = (HERE / f"site-{arch}.txt").read_text().splitlines()
    named = [line for line in lines if line and not line.startswith(("#", " "))]
    assert all("==" in line and line.endswith("\\") for line in named)
    assert sum("--hash=sha256:" in line for line in lines) == len(named) > 5


def test_each_core_has_a_root_of_its_own(tmp_path):
    """Two cores see different processors at the same time, and a root is made once."""
    for folder in ("root-arm64/usr/bin", "root-arm64/usr/lib", "root-arm64/lib"):
        (tmp_path / folder).mkdir(parents=True)
    (tmp_path / "root-arm64/usr/bin/python3.11").touch()
    roots = [cores.make_root(tmp_path, cores.CORES[name], tmp_path / "qemu", tmp_path) for name in cores.TESTED]
    shown = [(root / "proc/cpuinfo").read_text() for root in roots]
    assert "0xd08" in shown[0]
    assert "asimddp" not in shown[0]
    assert "0xd0b" in shown[1]
    assert "asimddp" in shown[1]
    assert (roots[0] / "lib").resolve() == (tmp_path / "root-arm64/lib").resolve()
    assert os.access(roots[0] / "usr/bin/python3.11", os.X_OK)
    assert cores.make_root(tmp_path, cores.CORES[cores.TESTED[0]], tmp_path / "qemu", tmp_path) == roots[0]


def test_an_unknown_core_and_no_machine_are_told(tmp_path):
    """Each with what there is or what to do."""
    with pytest.raises(MachineError, match="cortex-a99"):
        Machine(tmp_path).python("cortex-a99")
    with pytest.raises(MachineError, match="no emulated machine"):
        Machine(tmp_path).python("cortex-a72")
    assert "make arm" in Machine(tmp_path / "none").unavailable()


@pytest.mark.parametrize("value", ["false", "no", "2", " 0"])
def test_a_switch_that_is_neither_on_nor_off_is_refused(value):
    """What somebody meant as "off" does not quietly become "where there is a machine"."""
    with pytest.raises(pytest.fail.Exception, match="means nothing"):
        playing.check_switch(value)


@pytest.mark.parametrize(("value", "ends_as"), [("", pytest.skip.Exception), ("1", pytest.fail.Exception)])
def test_what_cannot_be_tested_is_skipped_with_the_reason_or_fails(monkeypatch, value, ends_as):
    """With 1 nothing that needs a machine is left out."""
    monkeypatch.setenv(playing.SWITCH, value)
    with pytest.raises(ends_as, match="no machine here"):
        playing.leave_out("no machine here")


def test_runs_that_start_at_once_have_folders_of_their_own(tmp_path):
    """Two threads that see the same number of folders make no folder of the same name."""

    class Slow:
        def run(
            self, _cpu: str, _arguments: object, _env: object, *, cwd: Path, plugin: str
        ) -> tuple[Path, list[Path], str]:
            return cwd, list(cwd.iterdir()), plugin

    emulation = playing.Emulation(Slow(), tmp_path, tmp_path)
    with ThreadPoolExecutor(16) as pool:
        runs = list(pool.map(lambda _: emulation.python("cortex-a72", []), range(200)))
    emulation.pool.shutdown()
    assert len({cwd for cwd, _, _ in runs}) == 200
    assert all((there, plugin) == ([], "count") for _, there, plugin in runs)


def test_counts_are_read():
    """Marks, and the total; a guest's own lines are none."""
    text = "icount before-mark-7 all=5 dotprod=1\nicount TOTAL all=9 dotprod=2\nall=3\n"
    assert read_counts(text) == ([(7, {"all": 5, "dotprod": 1})], {"all": 9, "dotprod": 2})


@pytest.fixture(scope="module")
def classify(tmp_path_factory):
    """The plugin's own table, loaded without the emulator."""
    compiler = shutil.which(os.environ.get("CC", "cc"))
    if compiler is None:
        pytest.skip("needs a C compiler")
    library = tmp_path_factory.mktemp("icount") / "icount.so"
    sources = [str(HERE / name) for name in ("icount.c", "no_qemu.c")]
    flags = ["-O1", "-Wall", "-Wextra", "-Werror", "-fPIC", "-shared"]
    subprocess.run([compiler, *flags, "-o", str(library), *sources], check=True)  # noqa: S603 - our own source
    function = ctypes.CDLL(str(library)).icount_class
    function.restype, function.argtypes = ctypes.c_char_p, [ctypes.c_uint32]
    return function


@pytest.mark.parametrize("name", WORDS)
def test_every_instruction_is_in_its_class(classify, name):
    """By an assembler's encoding of it."""
    assert classify(int(WORDS[name], 16)).decode() == name.split()[0]
