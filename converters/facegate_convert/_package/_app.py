"""The maker's own program: a folder of files, taken as it is, or refused for what must not leave the build host."""

from __future__ import annotations

import os
import re
import stat
from typing import TYPE_CHECKING

from facegate_convert._package._zip import Member, stored
from facegate_convert.errors import AppError, SecretFileError

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["read_app"]

MAX_BYTES = 64 << 20
MAX_FILES = 4096
_PATH = re.compile(r"[A-Za-z0-9_@+=,.()-]+")
_LEFT_OUT = {"__pycache__"}
# What this project and its users keep secrets in, by name, also of copies that editors and people leave beside them;
# and secrets by what they look like: private keys, a role's credential, a webhook's secret, a store under another name.
_SECRET_NAME = re.compile(
    r"(.*\.(key|credential|cred|pem|p8|p12|pfx|ppk|jks|keystore|kdbx?|token|secrets?|age|gpg|env)"
    r"|id_(rsa|dsa|ecdsa|ed25519)(_sk)?|\.netrc|.*passphrase.*|gate\.json|.*\.(db|db-wal|db-shm|sqlite3?)|.*\.fgbackup"
    r"|(.*[._-])?(secrets?|credentials?|passwords?|passwd)(\.(json|toml|ya?ml|ini|cfg|conf|txt|csv))?"
    r")(~|\.(bak|old|orig|save|swp|\d+))*",
    re.IGNORECASE,
)
_SECRET_TEXT = re.compile(
    rb"-----BEGIN (?:[A-Z0-9]+ )*PRIVATE KEY(?: BLOCK)?-----|PuTTY-User-Key-File-|\bfgc_[a-z_]+_[A-Za-z0-9_-]{43}"
    rb"|\bwhsec_[A-Za-z0-9+/_-]{32}|\ASQLite format 3\0"
)


def read_app(folder: Path) -> list[Member]:
    """The files of a program, named app/..., sorted by name.

    What Python compiles (`__pycache__`) is left out. A link is not followed, because it leads to what nobody looked at.

    Args:
        folder: with a `__main__.py`, or with one package that has one.

    Raises:
        SecretFileError: there is a key, a credential or a gate's data among them.
        AppError: there is no such folder or program, it holds a link or a hidden file, or is too large.
    """
    if folder.is_symlink() or not folder.is_dir():
        what = "is a link" if folder.is_symlink() else "is no folder"
        raise AppError(f"{folder} {what}", hint="name the folder that holds the program's __main__.py")
    found = [(f"app/{path.relative_to(folder).as_posix()}", path) for path in _files(folder, folder)]
    names = {name for name, _ in found}
    packages = {name for name in names if re.fullmatch(r"app/[^/]+/__main__\.py", name)}
    if "app/__main__.py" not in names and len(packages) != 1:
        raise AppError(
            f"{folder} holds no program: there is no __main__.py in it, nor one package that has one",
            hint="its __main__.py is what the device runs",
        )
    members, total = [], 0
    for name, path in sorted(found):
        data = _read(path, MAX_BYTES - total)
        total += len(data)
        if _SECRET_TEXT.search(data):
            raise SecretFileError(
                f"{path} holds a private key, a credential or a store", hint="keep it out: a package is copied about"
            )
        members.append(stored(name, data))
    return members


def _files(folder: Path, top: Path) -> list[Path]:
    """All files below a folder, checked by name and kind."""
    try:
        entries = sorted(os.scandir(folder), key=lambda entry: entry.name)
    except OSError as error:
        raise AppError(f"{folder} cannot be read: {error.strerror}", hint="check its mode") from error
    found: list[Path] = []
    for entry in entries:
        path = folder / entry.name
        if entry.name in _LEFT_OUT or entry.name.endswith(".pyc"):
            continue
        _check_entry(entry, path)
        if entry.is_dir(follow_symlinks=False):
            found += _files(path, top)
        else:
            found.append(path)
        if len(found) > MAX_FILES:
            raise AppError(f"{top} holds more than {MAX_FILES} files", hint="is it the right folder?")
    return found


def _check_entry(entry: os.DirEntry[str], path: Path) -> None:
    """Raise SecretFileError or AppError for what a package must not hold."""
    if entry.is_symlink():
        raise AppError(f"{path} is a link", hint="put the file itself there: links are not followed")
    if _SECRET_NAME.fullmatch(entry.name):
        raise SecretFileError(
            f"{path} looks like a key, a credential or a gate's data",
            hint="keep it out of the program's folder: a package is copied about; a device makes its own secrets",
        )
    if entry.name.startswith("."):
        raise AppError(f"{path} is hidden", hint="give the program a folder of its own, without version control")
    if not _PATH.fullmatch(entry.name):
        raise AppError(f"{path.parent} holds a name that not every system has", hint="letters, digits, ._-+=,@()")
    if not entry.is_dir(follow_symlinks=False) and not entry.is_file(follow_symlinks=False):
        raise AppError(f"{path} is neither a file nor a folder", hint="a package holds files")


def _read(path: Path, room: int) -> bytes:
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK | os.O_NOFOLLOW)
        with open(descriptor, "rb") as file:  # noqa: PTH123 - a descriptor, not a path
            if not stat.S_ISREG(os.fstat(descriptor).st_mode):
                raise AppError(f"{path} is no file", hint="a package holds files")
            data = file.read(room + 1)
    except OSError as error:
        raise AppError(f"{path} cannot be read: {error.strerror}", hint="check its mode") from error
    if len(data) > room:
        raise AppError(f"the program has more than {MAX_BYTES >> 20} MB", hint="put large data elsewhere on the device")
    return data
