"""The files that a wheel is made of, copied to where nothing else is, and the date that they are of."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import tarfile
import tempfile
from typing import TYPE_CHECKING

from wheel_targets import WheelError

if TYPE_CHECKING:
    from pathlib import Path

# What the build backend reads. Tests, documentation and examples change no byte of a wheel.
PARTS = (
    "LICENSE",
    "README.md",
    "converters",
    "edge_runtime",
    "examples",
    "pyproject.toml",
    "sdk",
    "setup.cfg",
    "setup.py",
)
MADE = ("__pycache__", "*.so", "*.o", "*.egg-info", "_native.c")  # never source, wherever there is no git to say so
# What a wheel's machine code is made of: the kernels, how they are compiled, and by what.
KERNELS = (
    "edge_runtime/csrc",
    *(
        f"edge_runtime/wheels/{name}"
        for name in ("pyconfig.h", "requirements.txt", "wheel_backend.py", "wheel_targets.py")
    ),
    "setup.py",
)
NO_GIT_DATE = 1_767_225_600  # 2026-01-01, where neither git nor SOURCE_DATE_EPOCH says one
ZIP_DATES = (315_532_800, 4_354_819_198)  # 1980 to 2107: what a ZIP can say


def git(root: Path, *arguments: str) -> str | None:
    """What git answers; None if the folder is no checkout.

    Raises:
        WheelError: if it is one and git cannot say: other files or another date would be taken in silence.
    """
    if not (root / ".git").exists():
        return None
    try:
        done = subprocess.run(  # noqa: S603
            ["git", "-C", str(root), *arguments],  # noqa: S607
            capture_output=True,
            text=True,
            check=False,
            env={**os.environ, "LC_ALL": "C", "GIT_OPTIONAL_LOCKS": "0"},
        )
    except FileNotFoundError:
        raise WheelError(
            "this is a git checkout, and git is not installed",
            hint="git says which files and which date a wheel is of; install it, or build from a source archive",
            exit_code=5,
        ) from None
    if done.returncode:
        raise WheelError(f"git does not answer: {done.stderr.strip()}", hint="see what `git status` says", exit_code=5)
    return done.stdout


def source_date(root: Path, revision: str | None = None) -> int:
    """Seconds since 1970: SOURCE_DATE_EPOCH, else the commit's (the last one's), else a fixed day."""
    said = os.environ.get("SOURCE_DATE_EPOCH", "").strip()
    if said and not said.isdecimal():
        raise WheelError(f"SOURCE_DATE_EPOCH is no number of seconds: {said}", exit_code=2)
    date = int(said or git(root, "log", "-1", "--format=%ct", revision or "HEAD", "--") or NO_GIT_DATE)
    if not ZIP_DATES[0] <= date <= ZIP_DATES[1]:
        raise WheelError(
            f"SOURCE_DATE_EPOCH is before 1980 or after 2107: {date}", hint="a ZIP has no such date", exit_code=2
        )
    return date


def commit(root: Path, revision: str = "HEAD") -> str | None:
    """The commit that `revision` names; without git there is None for HEAD.

    Raises:
        WheelError: if it names none.
    """
    if not (root / ".git").exists():
        if revision == "HEAD":
            return None
        raise WheelError("there are no commits: this is no git checkout", hint="build without --commit", exit_code=2)
    try:
        return (git(root, "rev-parse", "--verify", "--quiet", f"{revision}^{{commit}}") or "").strip() or None
    except WheelError:
        raise WheelError(f"no such commit: {revision}", hint="git log shows them", exit_code=2) from None


def kernels_digest(root: Path) -> str:
    """A hash of KERNELS below `root`: a wheel with another one has other machine code, whatever a file's time says."""
    found = hashlib.sha256()
    for part in KERNELS:
        place = root / part
        for file in (
            sorted(p for p in place.iterdir() if p.suffix in (".c", ".h", ".py")) if place.is_dir() else [place]
        ):
            text = hashlib.sha256(file.read_bytes()).hexdigest()
            found.update(f"{file.relative_to(root).as_posix()} {text}\n".encode())
    return found.hexdigest()


def changed(root: Path) -> list[str]:
    """The files of a wheel that differ from the commit: with them nobody else can build the same."""
    return [line[3:] for line in (git(root, "status", "--porcelain", "--", *PARTS) or "").splitlines()]


def copy_commit(root: Path, revision: str, to: Path) -> None:
    """Copy what a wheel is made of as it was committed, whatever the working tree holds."""
    to.mkdir(parents=True)
    names = (git(root, "ls-tree", "-r", "-z", "--name-only", revision, "--", *PARTS) or "").split("\0")
    with tempfile.NamedTemporaryFile(suffix=".tar") as archive:
        tops = sorted({name.split("/")[0] for name in names if name})
        git(root, "archive", "--format=tar", f"--output={archive.name}", revision, "--", *tops)
        with tarfile.open(archive.name) as members:
            # Our own commit; Python before 3.11.4, and 3.10 before 3.10.12, has no filters.
            members.extractall(to, **({"filter": "data"} if hasattr(tarfile, "data_filter") else {}))  # type: ignore[arg-type]  # noqa: S202


def copy_tree(root: Path, to: Path) -> None:
    """Copy what a wheel is made of as it is now: what git tracks or would track; without git all but what is made."""
    to.mkdir(parents=True)
    listed = git(root, "ls-files", "-z", "--cached", "--others", "--exclude-standard", "--", *PARTS)
    if listed is None:
        for part in PARTS:
            if (root / part).is_dir():
                shutil.copytree(root / part, to / part, ignore=shutil.ignore_patterns(*MADE))
            elif (root / part).exists():
                shutil.copy(root / part, to / part)
        return
    for name in sorted(set(listed.split("\0")) - {""}):
        if (root / name).is_file():  # a deleted file is listed until that is committed
            (to / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(root / name, to / name)
