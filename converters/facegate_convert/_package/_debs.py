"""Debian packages for 32-bit ARM, where the package index has no wheels of numpy, cffi and Pillow.

They are fetched by apt with a state of its own in the cache: another architecture than the host's, nothing installed,
nothing of the host's own package state read or changed. apt checks the archive's signature, this module the pinned
hash.
"""

from __future__ import annotations

import contextlib
import io
import lzma
import os
import re
import shutil
import tarfile
from pathlib import Path
from typing import TYPE_CHECKING

from facegate_convert._package._fetch import cached, keep, no_cache, run, said, workroom
from facegate_convert.errors import FetchError, PinError, PinHashError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from facegate_convert._package._fetch import Runner
    from facegate_convert._package._pins import DebPin

__all__ = ["SUITE", "Apt", "deb_facts", "fetch_debs"]

ARCHITECTURE = "armhf"
SUITE = "bookworm"
_SOURCES = Path("/etc/apt")
_KEYRING = Path("/usr/share/keyrings/debian-archive-keyring.gpg")
_MAX_DEB = 1 << 28  # bytes, unpacked
# The build host's hooks (of container images, of snapshot tools) are about its own packages, not about these.
_CONFIGURATION = """#clear APT::Architectures;
#clear APT::Update::Post-Invoke;
#clear APT::Update::Post-Invoke-Success;
#clear DPkg::Post-Invoke;
APT::Architecture "{architecture}";
APT::Architectures {{ "{architecture}"; }};
APT::Install-Recommends "false";
APT::Sandbox::User "{user}";
APT::Update::Error-Mode "any";
Acquire::Languages "none";
Acquire::Retries "2";
Debug::NoLocking "true";
Dir::State "{state}";
Dir::State::status "{state}/status";
Dir::State::lists "{state}/lists";
Dir::Cache "{state}/cache";
Dir::Etc::sourcelist "{state}/sources.list";
Dir::Etc::sourceparts "/dev/null";
"""


class Apt:
    """apt for another architecture, with a state of its own in a folder.

    Args:
        folder: where the state is.
        runner: runs a command; for tests.

    Raises:
        FetchError: there is no apt here, no key of Debian's archive, or no mirror of it.
        OutputFileError: the folder cannot be written.
    """

    def __init__(self, folder: Path, runner: Runner | None = None) -> None:
        self._run = runner or run
        debian = "make the package on a Debian or Ubuntu host, or copy the files into the cache and say --offline"
        if runner is None and shutil.which("apt-get") is None:
            raise FetchError("32-bit ARM needs Debian packages, and there is no apt-get here", hint=debian)
        if runner is None and not _KEYRING.is_file():
            raise FetchError(
                "the keys of Debian's archive are missing here", hint="run: apt install debian-archive-keyring"
            )
        mirror = find_mirror() if runner is None else "file:/mirror/debian"
        self._configuration = folder / "apt.conf"
        try:
            for name in ("lists/partial", "cache/archives/partial"):
                (folder / name).mkdir(parents=True, exist_ok=True)
            (folder / "status").touch()
            lines = (f"deb [signed-by={_KEYRING}] {mirror} {suite} main\n" for suite in (SUITE, f"{SUITE}-updates"))
            (folder / "sources.list").write_text("".join(lines), encoding="ascii")
            text = _CONFIGURATION.format(architecture=ARCHITECTURE, state=folder, user=_user())
            self._configuration.write_text(text, encoding="utf-8")
        except OSError as error:
            raise no_cache(folder, error) from error

    def __call__(self, *arguments: str) -> str:
        """Run one of apt's commands; its standard output. Raises FetchError."""
        answer = self._run(["env", "LC_ALL=C", f"APT_CONFIG={self._configuration}", *arguments])
        if answer.returncode:
            text = answer.stdout + answer.stderr
            if re.search(r"Version .* was not found|Unable to locate|has no installation candidate", text):
                raise PinError(
                    f"Debian's archive has another version than the pinned one: {said(text)}",
                    hint="the pins are older than the archive; a newer facegate has newer ones",
                )
            raise FetchError(f"{arguments[0]} failed", hint=f"it says: {said(text)}")
        return answer.stdout

    def update(self) -> None:
        """Read the archive's signed list of packages. Raises FetchError."""
        self("apt-get", "update", "-qq")


def find_mirror(sources: Path = _SOURCES) -> str:
    """The mirror of Debian's archive: FACEGATE_DEBIAN_MIRROR, or what the host's own apt uses.

    Args:
        sources: apt's folder.

    Raises:
        FetchError: neither names one.
    """
    if named := os.environ.get("FACEGATE_DEBIAN_MIRROR"):
        return named.rstrip("/")
    for file in (sources / "sources.list", *sorted((sources / "sources.list.d").glob("*"))):
        with contextlib.suppress(OSError, UnicodeDecodeError):
            found = re.search(
                r"^(?:deb|URIs:)\s.*?(https?://\S+/debian)/?(?:\s|$)", file.read_text("utf-8"), re.MULTILINE
            )
            if found:
                return found[1]
    raise FetchError(
        "this host's apt names no mirror of Debian", hint="name one: FACEGATE_DEBIAN_MIRROR=http://.../debian"
    )


def fetch_debs(
    pins: Sequence[DebPin], cache: Path, *, offline: bool = False, runner: Runner | None = None
) -> list[bytes]:
    """The bytes of pinned Debian packages, in their order.

    Args:
        pins: which.
        cache: where fetched files are kept.
        offline: fetch nothing.
        runner: runs a command; for tests.

    Raises:
        PinHashError: what came, or what the cache holds, is not the pinned file.
        PinError: the archive has no such version any more.
        FetchError: no apt, no connection, or `offline` and it is not in the cache.
        OutputFileError: the cache cannot be written.
    """
    found = [cached(cache, pin) for pin in pins]
    missing = [pin for pin, data in zip(pins, found, strict=True) if data is None]
    if missing and offline:
        raise FetchError(
            f"{missing[0].file} is not in {cache}", hint="run it once without --offline, or copy the file there"
        )
    if missing:
        with workroom(cache) as name:
            apt = Apt(Path(name), runner)
            apt.update()
            wanted = [f"{pin.package}={pin.version}" for pin in missing]
            apt("sh", "-c", 'cd "$0" && exec apt-get download -qq "$@"', name, *wanted)
            for pin in missing:
                keep(Path(name) / saved_name(pin), pin, cache)
    return [data if data is not None else _there(cache, pin) for pin, data in zip(pins, found, strict=True)]


def saved_name(pin: DebPin) -> str:
    """What `apt-get download` calls a file: with the epoch, which the archive's own name leaves out."""
    return f"{pin.package}_{pin.version.replace(':', '%3a')}_{pin.file.rpartition('_')[2]}"


def deb_facts(file: str, data: bytes) -> tuple[int, str, bytes]:
    """Size of what a Debian package installs (bytes), its licences (as names), and the file that states them.

    Raises:
        PinHashError: it is no Debian package.
    """
    try:
        with tarfile.open(fileobj=io.BytesIO(_unpacked(data))) as archive:
            members = [member for member in archive.getmembers() if member.isfile()]
            size = sum(member.size for member in members)
            paths = [m for m in members if re.fullmatch(r"\./usr/share/doc/[^/]+/copyright", m.name)]
            taken = archive.extractfile(paths[0]) if paths else None
            text = taken.read() if taken is not None else b""
    except (tarfile.TarError, lzma.LZMAError, ValueError, EOFError, OSError) as error:
        raise PinHashError(f"{file} is no Debian package that can be read", hint="delete it from the cache") from error
    named = re.findall(r"^License: *(\S.*?)\s*$", text.decode("utf-8", "replace"), re.MULTILINE)
    return size, " AND ".join(dict.fromkeys(named)), text


def _unpacked(data: bytes) -> bytes:
    """The tar file of what a Debian package installs (deb(5): an ar archive of three members)."""
    if not data.startswith(b"!<arch>\n"):
        raise ValueError("no ar archive")
    position = 8
    while position + 60 <= len(data):
        name = data[position : position + 16].decode("ascii").strip(" /")
        size = int(data[position + 48 : position + 58])
        position += 60
        if name == "data.tar.xz":
            tool = lzma.LZMADecompressor()
            unpacked = tool.decompress(data[position : position + size], _MAX_DEB)
            if not tool.eof:
                raise ValueError("too large, or cut off")
            return unpacked
        if name.startswith("data.tar"):
            raise ValueError("another compression")
        position += size + size % 2
    raise ValueError("no data")


def _there(cache: Path, pin: DebPin) -> bytes:
    data = cached(cache, pin)
    if data is None:
        raise FetchError(f"{pin.file} vanished from {cache}", hint="does another program clean that folder?")
    return data


def _user() -> str:
    import pwd  # noqa: PLC0415 - where it is needed

    try:
        return pwd.getpwuid(os.getuid()).pw_name
    except KeyError:  # a container's user without a name
        return "root"
