"""Pinned files: from the cache or fetched, checked each time, and nothing half-done is left."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from facegate_convert._package import _debs, _fetch, load_pins
from facegate_convert._package._debs import deb_facts, fetch_debs
from facegate_convert._package._fetch import cached, default_cache, fetch_wheel
from facegate_convert.errors import FetchError, OutputFileError, PackageError, PinError, PinHashError

from .wheels import make_deb

DEB = make_deb({"x": b"x"})
PLATFORMS = ("manylinux_2_34_aarch64",)


@pytest.fixture
def pin(shelf):
    """A wheel that is not in the cache, and its bytes."""
    wheel = next(w for w in load_pins(shelf.pins)["aarch64"].wheels if w.distribution == "click")
    path = shelf.cache / wheel.file
    data = path.read_bytes()
    path.unlink()
    return wheel, data


@pytest.fixture
def debs(shelf):
    """A Debian package that is not in the cache, and its bytes."""
    (deb,) = load_pins(shelf.pins)["armv7l"].debs
    path = shelf.cache / deb.file
    data = path.read_bytes()
    path.unlink()
    return deb, data


def pip(text="", *, data=None, name=""):
    """A pip that says something and fails, or that brings a file."""
    seen = []

    def run(command):
        seen.append(command)
        if data is not None:
            (Path(command[command.index("--dest") + 1]) / name).write_bytes(data)
        return subprocess.CompletedProcess(command, int(data is None), "", text)

    run.seen = seen
    return run


def nothing_left(cache, *, beside=()):
    """No temporary file or folder is in the cache."""
    return not [p for p in cache.iterdir() if p.name.startswith(".") or p.name in beside]


def test_what_the_cache_has_is_not_fetched(shelf):
    """Nothing is run: see `alone`."""
    wheel = load_pins(shelf.pins)["aarch64"].wheels[0]
    assert fetch_wheel(wheel, shelf.cache, platforms=PLATFORMS) == (shelf.cache / wheel.file).read_bytes()


def test_a_wheel_is_fetched_by_hash_for_the_device(shelf, pin):
    """The tool is told the exact version, the hash, the device's platforms and Python, and to build nothing."""
    wheel, data = pin
    tool = pip(data=data, name=wheel.file)
    assert fetch_wheel(wheel, shelf.cache, platforms=PLATFORMS, runner=tool) == data
    (command,) = tool.seen
    for option in ("--require-hashes", "--no-deps", "--only-binary=:all:", f"--platform={PLATFORMS[0]}"):
        assert option in command
    assert command[command.index("--python-version") + 1] == wheel.pythons[0]
    assert (shelf.cache / wheel.file).stat().st_mode & 0o777 == 0o644
    assert cached(shelf.cache, wheel) == data
    assert nothing_left(shelf.cache)


def test_what_comes_with_another_hash_is_not_kept(shelf, pin):
    """Though pip let it pass."""
    wheel, data = pin
    tool = pip(data=data[:-1] + b"x", name=wheel.file)
    with pytest.raises(PinHashError, match=r"not the pinned file") as caught:
        fetch_wheel(wheel, shelf.cache, platforms=PLATFORMS, runner=tool)
    assert caught.value.exit_code == 4
    assert nothing_left(shelf.cache, beside=[wheel.file])


def test_an_interrupted_transfer_leaves_nothing(shelf, pin):
    """Ctrl-C in the middle: no temporary folder, no half of a file."""
    wheel, data = pin

    def interrupted(command):
        (Path(command[command.index("--dest") + 1]) / wheel.file).write_bytes(data[:100])
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fetch_wheel(wheel, shelf.cache, platforms=PLATFORMS, runner=interrupted)
    assert nothing_left(shelf.cache, beside=[wheel.file])


@pytest.mark.parametrize("change", ["longer", "other"])
def test_a_tampered_cache_is_refused(command, shelf, change):
    """A file of another size, or of the same size and other bytes: named, not used, not silently replaced."""
    path = next(shelf.cache.glob("numpy-*cp311*aarch64.whl"))
    data = path.read_bytes()
    path.write_bytes(data + b"x" if change == "longer" else data[:-1] + b"x")
    code, answer = command()
    assert (code, answer["error"]["type"]) == (4, "PinHashError")
    assert path.name in answer["error"]["message"]
    assert path.read_bytes() != data


def test_offline_nothing_is_fetched(command, shelf, pin, tmp_path):
    """What is missing is named; no package is written."""
    wheel, _ = pin
    code, answer = command(f"--output={tmp_path / 'door.pyz'}")
    assert (code, answer["error"]["type"]) == (5, "FetchError")
    assert wheel.file in answer["error"]["message"]
    assert not (tmp_path / "door.pyz").exists()
    assert nothing_left(shelf.cache)


@pytest.mark.parametrize(
    ("text", "error", "match"),
    [
        ("WARNING: Retrying (Retry(total=1)) after connection broken", FetchError, "no connection"),
        ("ERROR: THESE PACKAGES DO NOT MATCH THE HASHES FROM THE REQUIREMENTS FILE", PinHashError, "another click"),
        ("ERROR: Could not find a version that satisfies the requirement click==8.5.1", PinError, "has no click"),
        ("ERROR: Could not install packages: [Errno 28] No space left on device", OutputFileError, "cannot be put"),
        ("python: No module named pip", FetchError, "no pip"),
        ("ERROR: something new \x1b[31m", FetchError, "could not fetch"),
        ("", FetchError, "could not fetch"),
    ],
)  # fmt: skip
def test_what_pip_says_becomes_an_error_of_ours(shelf, pin, text, error, match):
    """With what to do about it, and without control characters of others."""
    wheel, _ = pin
    with pytest.raises(error, match=match) as caught:
        fetch_wheel(wheel, shelf.cache, platforms=PLATFORMS, runner=pip(text))
    assert caught.value.hint
    assert caught.value.hint.isprintable()
    assert nothing_left(shelf.cache)


def test_a_cache_that_cannot_be_written(pin, tmp_path):
    """A file stands where the folder should be."""
    wheel, _ = pin
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputFileError, match="cannot be written"):
        fetch_wheel(wheel, tmp_path / "file" / "cache", platforms=PLATFORMS, runner=pip())
    (tmp_path / wheel.file).mkdir()
    with pytest.raises((FetchError, PinHashError)):
        cached(tmp_path, wheel)


def test_the_cache_is_the_users(monkeypatch, tmp_path):
    """In the user's cache folder, wherever that is; a relative one counts for nothing (XDG)."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert default_cache() == tmp_path / "facegate" / "wheels"
    monkeypatch.setenv("XDG_CACHE_HOME", "relative")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert default_cache() == tmp_path / ".cache" / "facegate" / "wheels"


def test_a_tool_that_is_not_there(monkeypatch):
    """No traceback of subprocess."""
    monkeypatch.undo()
    with pytest.raises(FetchError, match="cannot be run"):
        _fetch.run(["/no/such/tool"])


# Debian packages.


def apt(data=None, text="", *, update=0):
    """An apt that brings a file under the name that apt gives it, or fails."""
    seen = []

    def run(command):
        seen.append(command)
        if "update" in command:
            return subprocess.CompletedProcess(command, update, "", text)
        if data is not None:
            folder = Path(command[command.index("apt-get") + 1] if "apt-get" in command else command[-2])
            (folder / "python3-numpy_1%3a1.24.2-1_armhf.deb").write_bytes(data)
        return subprocess.CompletedProcess(command, int(data is None), "", text)

    run.seen = seen
    return run


def test_debian_packages_are_fetched_by_an_apt_of_their_own(shelf, debs):
    """Another architecture, a state in the cache that is gone afterwards, exact versions; nothing of the host's."""
    deb, data = debs
    tool = apt(data)
    assert fetch_debs([deb], shelf.cache, runner=tool) == [data]
    update, download = tool.seen
    configuration = Path(next(word for word in update if word.startswith("APT_CONFIG=")).partition("=")[2])
    assert configuration.parent.parent == shelf.cache
    assert not configuration.exists()
    assert f"{deb.package}={deb.version}" in download
    assert nothing_left(shelf.cache)
    assert fetch_debs([deb], shelf.cache, offline=True) == [data]


def test_the_state_of_apt_is_its_own(tmp_path):
    """Every folder that its configuration names is in the one that was given."""
    _debs.Apt(tmp_path, apt())
    text = (tmp_path / "apt.conf").read_text()
    named = [line.split('"')[1] for line in text.splitlines() if line.startswith("Dir::")]
    assert named
    assert all(path.startswith(str(tmp_path)) or path == "/dev/null" for path in named)
    assert 'APT::Architecture "armhf"' in text
    # Hooks of the build host are about its own packages.
    assert {"APT::Update::Post-Invoke;", "APT::Update::Post-Invoke-Success;", "DPkg::Post-Invoke;"} <= {
        line.partition("#clear ")[2] for line in text.splitlines()
    }
    assert "signed-by=/usr/share/keyrings/" in (tmp_path / "sources.list").read_text()


@pytest.mark.parametrize(
    ("tool", "error", "match"),
    [
        (apt(b"another package"), PinHashError, "not the pinned file"),
        (apt(text="E: Version '1:1.24.2-1' for 'python3-numpy' was not found"), PinError, "another version"),
        (apt(text="E: Failed to fetch: Temporary failure resolving", update=100), FetchError, "apt-get failed"),
        (apt(text="E: broken"), FetchError, "failed"),
    ],
    ids=["hash", "version", "network", "other"],
)
def test_what_apt_does_wrong(shelf, debs, tool, error, match):
    """An error of ours with what to do, and nothing left behind."""
    deb, _ = debs
    with pytest.raises(error, match=match) as caught:
        fetch_debs([deb], shelf.cache, runner=tool)
    assert caught.value.hint
    assert nothing_left(shelf.cache, beside=[deb.file])


@pytest.mark.parametrize(
    ("name", "text", "found"),
    [
        (
            "sources.list",
            "# deb http://no/debian x main\ndeb [arch=amd64] https://one/debian/ bookworm main\n",
            "https://one/debian",
        ),
        ("sources.list.d/debian.sources", "Types: deb\nURIs: http://two/debian\nSuites: trixie\n", "http://two/debian"),
        ("sources.list.d/ubuntu.sources", "Types: deb\nURIs: http://three/ubuntu\n", None),
        ("sources.list.d/a.sources", "URIs: http://four/debian-security\n", None),
    ],
)
def test_the_mirror_is_the_build_hosts(tmp_path, monkeypatch, name, text, found):
    """Whatever form its apt has; elsewhere it is asked for."""
    monkeypatch.delenv("FACEGATE_DEBIAN_MIRROR", raising=False)
    (tmp_path / "sources.list.d").mkdir()
    (tmp_path / name).write_text(text)
    if found:
        assert _debs.find_mirror(tmp_path) == found
    else:
        with pytest.raises(FetchError, match="no mirror") as caught:
            _debs.find_mirror(tmp_path)
        assert "FACEGATE_DEBIAN_MIRROR" in caught.value.hint
    monkeypatch.setenv("FACEGATE_DEBIAN_MIRROR", "http://mine/debian/")
    assert _debs.find_mirror(tmp_path) == "http://mine/debian"


def test_without_apt_it_says_what_to_do(shelf, debs, monkeypatch, command):
    """32-bit ARM needs a Debian or Ubuntu host, or a filled cache."""
    deb, _ = debs
    monkeypatch.setattr(_debs.shutil, "which", lambda _: None)
    with pytest.raises(FetchError, match="no apt-get") as caught:
        fetch_debs([deb], shelf.cache)
    assert "Debian" in caught.value.hint
    code, answer = command(target="generic-armv7")
    assert (code, answer["error"]["type"]) == (5, "FetchError")


def test_what_a_debian_package_installs():
    """Its size, the licences that its copyright file names, and that file."""
    text = b"Files: *\nLicense: MIT\n text\nLicense: BSD-3-clause\nLicense: MIT\n"
    deb = make_deb({"usr/lib/x.so": bytes(100), "usr/share/doc/x/copyright": text})
    assert deb_facts("x.deb", deb) == (100 + len(text), "MIT AND BSD-3-clause", text)
    assert deb_facts("x.deb", make_deb({"usr/lib/x.so": b""})) == (0, "", b"")


@pytest.mark.parametrize(
    "data",
    [b"", b"!<arch>\n", b"PK\3\4", DEB[:-30], DEB.replace(b"data.tar.xz", b"data.tar.gz")],
    ids=["empty", "no members", "zip", "truncated", "other compression"],
)  # fmt: skip
def test_what_is_no_debian_package(data):
    """Refused, not guessed at."""
    with pytest.raises(PackageError, match="no Debian package"):
        deb_facts("x.deb", data)
