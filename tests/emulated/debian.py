"""Debian packages of any architecture unpacked into a folder: no root, nothing of the host's system touched.

apt checks Debian's signatures and works out the dependencies with a state of its own; `dpkg-deb -x` unpacks. Scripts of
packages are not run.
"""

from __future__ import annotations

import errno
import os
import pwd
import re
import shutil
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

from errors import FetchError, MachineError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

RELEASE = "bookworm"
KEYRING = Path("/usr/share/keyrings/debian-archive-keyring.gpg")
_MIRROR = f"""\
Types: deb
URIs: {{mirror}}
Suites: {RELEASE} {RELEASE}-updates
Components: main
Signed-By: {KEYRING}

Types: deb
URIs: {{mirror}}-security
Suites: {RELEASE}-security
Components: main
Signed-By: {KEYRING}
"""
_CONFIGURATION = """\
#clear APT::Architectures;
#clear APT::Update::Post-Invoke;
#clear APT::Update::Post-Invoke-Success;
#clear DPkg::Post-Invoke;
APT::Architecture "{arch}";
APT::Architectures {{ "{arch}"; }};
APT::Install-Recommends "false";
APT::Get::Assume-Yes "true";
APT::Sandbox::User "{user}";
APT::Update::Error-Mode "any";
Acquire::Languages "none";
Acquire::Retries "2";
Debug::NoLocking "true";
Dir::State "{state}";
Dir::State::status "{state}/status";
Dir::State::lists "{state}/lists";
Dir::Cache "{state}/cache";
Dir::Etc::sourcelist "/dev/null";
Dir::Etc::sourceparts "{state}/sources";
"""


def unpack(packages: Sequence[str], arch: str, into: Path, state: Path, say: Callable[[str], None]) -> list[str]:
    """Download packages with all that they depend on, and unpack them.

    Args:
        packages: Names of Debian packages.
        arch: Debian's name of the architecture.
        into: An empty folder.
        state: A folder for apt's lists and the packages; a second try goes on where the first one stopped.
        say: Told what is going on.

    Returns:
        The files that were unpacked, sorted: names with versions.

    Raises:
        FetchError: Debian's servers cannot be reached.
        MachineError: A tool is missing, a signature does not check, the disk is full.
    """
    for tool in ("apt-get", "dpkg-deb"):
        if shutil.which(tool) is None:
            raise MachineError(f"{tool} is missing", "the emulated machines are made of Debian packages: use Debian 12")
    if not KEYRING.exists():
        raise MachineError(f"{KEYRING} is missing", "install the package debian-archive-keyring")
    for folder in ("lists/partial", "cache/archives/partial", "sources"):
        (state / folder).mkdir(parents=True, exist_ok=True)
    (state / "status").touch()
    configuration = state / "apt.conf"
    configuration.write_text(
        _CONFIGURATION.format(arch=arch, state=state.resolve(), user=pwd.getpwuid(os.getuid()).pw_name)
    )
    _update(state, configuration, say)
    say(f"downloading {', '.join(packages)} with what they need")
    _apt(configuration, "--download-only", "install", *packages)
    files = sorted((state / "cache/archives").glob("*.deb"))
    say(f"unpacking {len(files)} packages")
    for file in files:
        if not file.name.startswith("libc6_") or arch != "amd64":  # the host's own loader must find its own C library
            run(["dpkg-deb", "-x", str(file), str(into)])
    return [file.name for file in files]


def _update(state: Path, configuration: Path, say: Callable[[str], None]) -> None:
    """Fetch the lists; without security updates where only they cannot be had: nothing here faces an attacker."""
    sources = _sources()
    say("fetching Debian's package lists")
    (state / "sources/debian.sources").write_text(sources)
    try:
        _apt(configuration, "update")
    except FetchError as error:
        blamed = [line for line in str(error).splitlines() if line.startswith(("E:", "W:"))]
        if not blamed or not all("-security" in line or "index files failed" in line for line in blamed):
            raise
        say("the security updates cannot be fetched: going on without them")
        rest = [stanza for stanza in sources.split("\n\n") if "-security" not in stanza]
        (state / "sources/debian.sources").write_text("\n\n".join(rest))
        _apt(configuration, "update")


def _sources() -> str:
    """The host's own sources if it is a Debian 12; else Debian 12 at its mirror, or at FACEGATE_DEBIAN_MIRROR."""
    own = Path("/etc/apt/sources.list.d/debian.sources")
    text = own.read_text() if own.exists() else ""
    named = os.environ.get("FACEGATE_DEBIAN_MIRROR", "")
    if RELEASE in text and not named:
        return text
    found = re.search(r"^URIs:\s*(https?://\S+/debian)/?\s*$", text, re.MULTILINE)
    if not named and not found:
        raise MachineError(
            "this host's apt names no mirror of Debian", "name one: FACEGATE_DEBIAN_MIRROR=http://.../debian"
        )
    return _MIRROR.format(mirror=named.rstrip("/") or found[1])


def _apt(configuration: Path, *arguments: str) -> None:
    run(["apt-get", "-qq", "-c", str(configuration), *arguments], fetches=True)


_UNREACHABLE = (
    *("Could not resolve", "Temporary failure", "Could not connect", "Unable to connect", "Connection failed"),
    *("Connection timed out", "Failed to fetch", "Cannot initiate the connection", "Network is unreachable"),
    *("Failed to establish a new connection", "Connection refused", "Read timed out", "Max retries exceeded"),
)
_UNSIGNED = ("is not signed", "NO_PUBKEY", "BADSIG", "EXPKEYSIG", "couldn't be verified", "Hash Sum mismatch")


def run(command: Iterable[str], *, fetches: bool = False) -> str:
    """Run a tool and return what it prints; its failure is told apart.

    Args:
        command: Program and arguments.
        fetches: Whether it uses the network.

    Raises:
        FetchError: It could not fetch something.
        MachineError: All else.
    """
    command = list(command)
    environment = {**os.environ, "LC_ALL": "C.UTF-8", "DEBIAN_FRONTEND": "noninteractive"}
    try:
        done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)  # noqa: S603
    except FileNotFoundError as error:
        raise MachineError(f"{command[0]} is missing") from error
    if done.returncode == 0:
        return done.stdout
    said = (done.stderr or done.stdout).strip()
    name = Path(command[0]).name
    if os.strerror(errno.ENOSPC) in said:
        raise MachineError("the disk is full", "make room, or name another folder in FACEGATE_ARM")
    if fetches and any(word in said for word in _UNSIGNED):
        raise MachineError(f"what {name} fetched is not what was signed:\n{said}", "try again, or use another mirror")
    if fetches and any(word in said for word in _UNREACHABLE):
        raise FetchError(f"{name} cannot fetch packages:\n{said}", "is there a network?")
    raise MachineError(f"{' '.join(command)} failed ({done.returncode}):\n{said[-2000:]}")
