"""Small device packages, made byte by byte, and the real installer run on them as a device runs it."""

from __future__ import annotations

import base64
import contextlib
import csv
import hashlib
import importlib
import io
import json
import os
import platform
import subprocess
import sys
import zipfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

import facegate_convert
from facegate_edge._bundle import signature_document
from facegate_edge._keys import SigningKey

SOURCE = Path(facegate_convert.__file__).parent / "_package/installer"
PYTHON = f"{sys.version_info[0]}.{sys.version_info[1]}"
DATE = (1980, 1, 1, 0, 0, 0)
KEY = SigningKey.from_seed(b"packager" * 4)
OTHER = SigningKey.from_seed(b"stranger" * 4)
PROGRAM = "import json, sys\nimport alpha\nprint(json.dumps([alpha.SAYS, sys.argv, sys.path, sys.flags.isolated]))\n"
UNIT = "[Unit]\nDescription=t\n[Service]\nExecStart=/bin/true\n[Install]\nWantedBy=multi-user.target\n"


def wheel(
    name: str, version: str, files: dict[str, bytes], *, tag: str = "py3-none-any", record: dict[str, str] | None = None
) -> bytes:
    """A wheel's bytes; `record` replaces hashes in RECORD."""
    info = f"{name}-{version}.dist-info"
    members = files | {
        f"{info}/METADATA": f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n".encode(),
        f"{info}/WHEEL": f"Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: {tag}\n".encode(),
    }
    text = io.StringIO()
    rows = csv.writer(text, lineterminator="\n")
    for path, data in members.items():
        digest = base64.urlsafe_b64encode(hashlib.sha256(data).digest()).rstrip(b"=").decode()
        rows.writerow([path, "sha256=" + (record or {}).get(path, digest), len(data)])
    rows.writerow([f"{info}/RECORD", "", ""])
    return archive(members | {f"{info}/RECORD": text.getvalue().encode()})


def archive(members: dict[str, bytes], *, compression: int = zipfile.ZIP_DEFLATED, first: bytes = b"") -> bytes:
    """A zip's bytes."""
    file = io.BytesIO()
    file.write(first)
    with zipfile.ZipFile(file, "w") as made:
        for path, data in members.items():
            info = zipfile.ZipInfo(path, DATE)
            info.compress_type = compression
            info.external_attr = 0o100644 << 16
            made.writestr(info, data)
    return file.getvalue()


@dataclass
class Recipe:
    """What a package is made of; tests change what they are about."""

    version: str = "1.0.0"
    name: str = "door"
    facegate: str = "0.1.0"
    machine: str = platform.machine()
    pythons: list[str] = field(default_factory=lambda: [PYTHON])
    glibc: str = "2.17"
    says: str = ""
    key: SigningKey | None = KEY
    wheels: dict[str, bytes] | None = None
    more: dict[str, tuple[str, bytes]] = field(default_factory=dict)
    unlisted: dict[str, bytes] = field(default_factory=dict)
    document: dict[str, Any] = field(default_factory=dict)
    entry: dict[str, dict[str, Any]] = field(default_factory=dict)
    app: bool = True

    def files(self) -> dict[str, tuple[str, bytes]]:
        """Role and bytes of each file."""
        found = {
            str(path.relative_to(SOURCE)): ("installer", path.read_bytes()) for path in sorted(SOURCE.rglob("*.py"))
        }
        says = self.says or self.version
        alpha = {"alpha/__init__.py": f"SAYS = {says!r}\n".encode(), "alpha/data.bin": bytes(range(256))}
        wheels = self.wheels if self.wheels is not None else {"alpha-1-py3-none-any.whl": wheel("alpha", "1", alpha)}
        found |= {f"wheels/{path}": ("wheel", data) for path, data in wheels.items()}
        found["units/facegate-terminal.service"] = ("unit", UNIT.encode())
        if self.app:
            found["app/facegate_terminal/__init__.py"] = ("app", b"")
            found["app/facegate_terminal/__main__.py"] = ("app", PROGRAM.encode())
            found["app/facegate_terminal/terminal.toml"] = ("app", b'[gate]\nfolder = "/var/lib/facegate/gate"\n')
        return found | self.more

    def list(self) -> bytes:
        """package.json."""
        files = [
            {
                "path": path,
                "size": len(data),
                "sha256": hashlib.sha256(data).hexdigest(),
                "role": role,
                "python": None,
                "distribution": "",
                "version": "",
                "license": "",
            }
            | self.entry.get(path, {})
            for path, (role, data) in self.files().items()
        ]
        document = {
            "format": 1,
            "name": self.name,
            "version": self.version,
            "target": "rpi4",
            "machine": self.machine,
            "facegate": self.facegate,
            "pythons": self.pythons,
            "engine": {"name": "litert", "version": "2.3.0", "glibc": "2.34"},
            "bundle": None,
            "needs": {"glibc": self.glibc},
            "files": files,
        }
        return json.dumps(document | self.document).encode()

    def bytes(self) -> bytes:
        """The package's."""
        listed = self.list()
        members = {"package.json": listed}
        if self.key is not None:
            members["package.sig"] = signature_document(self.key.key_id, self.key.sign(listed))
        members |= {path: data for path, (_, data) in self.files().items()} | self.unlisted
        return archive(members, first=b"#!/usr/bin/env python3\n")

    def write(self, path: Path) -> Path:
        """Write it."""
        path.write_bytes(self.bytes())
        return path


@dataclass
class Answer:
    """What a run of the installer gave."""

    code: int
    out: str
    err: str

    @property
    def data(self) -> Any:
        """The JSON object on stdout."""
        return json.loads(self.out)

    @property
    def error(self) -> dict[str, Any]:
        """The error in it."""
        return dict(self.data["error"])


def run(program: Path | str, *arguments: object, check: int | None = None, env: dict[str, str] | None = None) -> Answer:
    """Run a package, or an installed installer, as a device does: Python alone, isolated."""
    done = subprocess.run(  # noqa: S603
        [sys.executable, "-I", str(program), *map(str, arguments)], capture_output=True, text=True, check=False, env=env
    )
    answer = Answer(done.returncode, done.stdout, done.stderr)
    assert "Traceback" not in answer.err, answer.err
    if check is not None:
        assert answer.code == check, (answer.code, answer.out, answer.err)
    return answer


def here(*arguments: object, check: int | None = None) -> Answer:
    """Run the installer's source in this process: the same code, a tenth of the time."""
    if str(SOURCE) not in sys.path:
        sys.path.append(str(SOURCE))
    main = importlib.import_module("facegate_installer._cli").main
    out, err = io.StringIO(), io.StringIO()
    umask = os.umask(0o022)
    written = sys.dont_write_bytecode
    try:
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            code = main([str(each) for each in arguments])
    finally:
        os.umask(umask)
        sys.dont_write_bytecode = written
    answer = Answer(code, out.getvalue(), err.getvalue())
    if check is not None:
        assert answer.code == check, (answer.code, answer.out, answer.err)
    return answer


def public(folder: Path, key: SigningKey = KEY) -> Path:
    """A public key's file."""
    path = folder / f"{key.key_id}.pub"
    if not path.exists():
        path.write_bytes(key.verify_key.to_pem())
        path.chmod(0o644)
    return path


def tree(folder: Path) -> dict[str, str]:
    """Every file and link below a folder, with what is in it: to see that nothing changed."""
    found = {}
    for path in sorted(folder.rglob("*")):
        name = str(path.relative_to(folder))
        if path.is_symlink():
            found[name] = f"-> {path.readlink()}"
        elif path.is_file():
            found[name] = hashlib.sha256(path.read_bytes()).hexdigest()
        else:
            found[name] = "folder"
    return found


def random_key() -> Ed25519PrivateKey:
    """A key of pyca/cryptography's own."""
    return Ed25519PrivateKey.generate()
