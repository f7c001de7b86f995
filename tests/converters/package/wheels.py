"""Small wheels, Debian packages and pins, made on the spot: a package of them is made like any other."""

from __future__ import annotations

import base64
import hashlib
import io
import json
import lzma
import tarfile
import zipfile
from typing import TYPE_CHECKING, Any

from facegate_edge._version import VERSION

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

OWN = f"facegate-{VERSION}-cp310-abi3-manylinux_2_28_%s.whl"
TERMINAL = {"facegate_terminal/__init__.py": b"", "facegate_terminal/__main__.py": b"print('terminal')\n"}
LIBRARY = b"\x7fELF" + bytes(5000)
ENGINE = "ai_edge_litert-2.3.0-cp310-cp310-manylinux_2_27_%s.whl"


def make_wheel(file: str, files: Mapping[str, bytes], *, license: str = "MIT", version: str = "") -> bytes:  # noqa: A002
    """A wheel with these files, with all that a wheel has."""
    name, number = file.split("-")[:2]
    folder = f"{name}-{number}.dist-info"
    inside = {
        **files,
        f"{folder}/METADATA": f"Metadata-Version: 2.4\nName: {name}\nVersion: {version or number}\n"
        f"License-Expression: {license}\nRequires-Dist: tensorflow\n".encode(),
        f"{folder}/WHEEL": b"Wheel-Version: 1.0\n",
        f"{folder}/licenses/LICENSE": f"{license}, as {name} has it\n".encode(),
    }
    record = ""
    for path, data in inside.items():
        digest = base64.urlsafe_b64encode(hashlib.sha256(data).digest()).rstrip(b"=").decode()
        record += f"{path},sha256={digest},{len(data)}\n"
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for path, data in {**inside, f"{folder}/RECORD": f"{record}{folder}/RECORD,,\n".encode()}.items():
            archive.writestr(zipfile.ZipInfo(path), data, zipfile.ZIP_DEFLATED)
    return buffer.getvalue()


def own_wheel(machine: str = "aarch64", version: str = VERSION) -> tuple[str, bytes]:
    """Facegate's own wheel: a bit of each room, and the terminal."""
    file = (OWN % machine).replace(VERSION, version)
    rooms = {f"{room}/__init__.py": b"x = 1\n" for room in ("facegate", "facegate_edge", "facegate_convert")}
    return file, make_wheel(file, {**rooms, **TERMINAL}, license="Apache-2.0")


def make_deb(files: Mapping[str, bytes]) -> bytes:
    """A Debian package with these files."""
    inner = io.BytesIO()
    with tarfile.open(fileobj=inner, mode="w") as archive:
        for path, data in files.items():
            info = tarfile.TarInfo(f"./{path}")
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
    parts = {"debian-binary": b"2.0\n", "control.tar.xz": b"", "data.tar.xz": lzma.compress(inner.getvalue())}
    whole = b"!<arch>\n"
    for name, data in parts.items():
        whole += f"{name:<16}{0:<12}{0:<6}{0:<6}{100644:<8}{len(data):<10}`\n".encode() + data + b"\n" * (len(data) % 2)
    return whole


def pin(file: str, data: bytes, pythons: list[str]) -> dict[str, Any]:
    """A wheel's entry in the pins."""
    name, version = file.split("-")[:2]
    return {
        "distribution": name.replace("_", "-"), "version": version, "file": file, "size": len(data),
        "sha256": hashlib.sha256(data).hexdigest(), "pythons": pythons,
    }  # fmt: skip


class Shelf:
    """A wheelhouse, a cache that holds all that is pinned, and the pins, in a folder.

    Attributes:
        wheels: the wheelhouse.
        cache: with every pinned file.
        pins: the pins' file.
    """

    def __init__(self, folder: Path) -> None:
        self.wheels, self.cache, self.pins = folder / "wheelhouse", folder / "cache", folder / "pins.json"
        self.wheels.mkdir(parents=True)
        self.cache.mkdir()
        self.document: dict[str, Any] = {"format": 1, "machines": {}}
        for machine in ("aarch64", "x86_64", "armv7l"):
            file, data = own_wheel(machine)
            (self.wheels / file).write_bytes(data)
            self.document["machines"][machine] = self._machine(machine)
        self.save()

    def save(self) -> None:
        """Write the pins as they are now."""
        self.pins.write_text(json.dumps(self.document))

    def put(self, file: str, data: bytes) -> bytes:
        """Put a file into the cache."""
        (self.cache / file).write_bytes(data)
        return data

    def wheel(self, file: str, pythons: list[str], files: Mapping[str, bytes], **more: str) -> dict[str, Any]:
        """Put a wheel into the cache; its entry in the pins."""
        return pin(file, self.put(file, make_wheel(file, files, **more)), pythons)

    def _machine(self, machine: str) -> dict[str, Any]:
        wheels, debs = [], []
        if machine == "armv7l":
            engine = self.wheel("tflite_runtime-2.14.0-cp311-cp311-manylinux_2_34_armv7l.whl", ["3.11"],
                                {"tflite_runtime/a.so": LIBRARY})  # fmt: skip
            deb = make_deb({"usr/lib/python3/dist-packages/numpy/__init__.py": b"y = 2\n",
                            "usr/share/doc/python3-numpy/copyright": b"License: BSD-3-clause\n of it\n"})  # fmt: skip
            file = "python3-numpy_1.24.2-1_armhf.deb"
            self.put(file, deb)
            debs.append({"package": "python3-numpy", "version": "1:1.24.2-1", "file": file,
                         "sha256": hashlib.sha256(deb).hexdigest(), "size": len(deb), "provides": "numpy"})  # fmt: skip
            pythons, library = ["3.11"], ""
        else:
            pythons, library = ["3.10", "3.11", "3.13"], hashlib.sha256(LIBRARY).hexdigest()
            engine = self.wheel(ENGINE % machine, pythons, {
                "ai_edge_litert/__init__.py": b"import google.protobuf\n", "ai_edge_litert/libLiteRt.so": LIBRARY,
                "ai_edge_litert/interpreter.py": bytes(9000),
            }, license="Apache-2.0")  # fmt: skip
            for python in pythons:
                tag = "cp" + python.replace(".", "")
                file = f"numpy-2.4.6-{tag}-{tag}-manylinux_2_27_{machine}.manylinux_2_28_{machine}.whl"
                inside = {"numpy/__init__.py": tag.encode()}
                wheels.append(self.wheel(file, [python], inside, license="BSD-3-Clause"))
        wheels.append(self.wheel("click-8.5.1-py3-none-any.whl", pythons, {"click/__init__.py": b"z = 3\n"}))
        return {
            "pythons": pythons, "platforms": [f"manylinux_2_34_{machine}"], "wheels": wheels, "debs": debs,
            "engine": {"wheel": engine, "glibc": "2.34", "library": library},
        }  # fmt: skip
