"""A device package on an emulated core: made without a network, installed by the core's Python, started as there."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from machine import MachineError, offline_command

import facegate
from facegate_edge import SigningKey

if TYPE_CHECKING:
    from playing import Emulation

HERE = Path(__file__).parent
TOP = HERE.parents[1]
# As the package's own bin/run.py starts its programs.
_START = (
    "import os, runpy, sys; top = sys.argv.pop(1); sys.path += [top + part for part in sys.argv.pop(1).split(',')]; "
    "sys.argv.pop(0); sys.path.append(os.path.dirname(sys.argv[0])); runpy.run_path(sys.argv[0], run_name='__main__')"
)
_DEBIAN = "deb/usr/lib/python3/dist-packages"


@dataclass(frozen=True)
class Installed:
    """An installed package.

    Attributes:
        folder: of the version that is current.
        answer: the installer's.
        package: the file.
        offline: whether there was no network for certain.
    """

    folder: Path
    answer: dict
    package: Path
    offline: bool

    def start(self, script: str, *arguments: object) -> list[str]:
        """Arguments of Python to run a script with what was installed and nothing else."""
        parts = ",".join(f"/{part}" for part in ("site", "app", _DEBIAN) if (self.folder / part).is_dir())
        return ["-I", "-S", "-B", "-c", _START, str(self.folder), parts, str(HERE / script), *map(str, arguments)]

    def libraries(self) -> str:
        """The folders of the libraries of its Debian packages, as the loader takes them; "" where there are none."""
        found = {path.parent for path in (self.folder / "deb").rglob("lib*.so*")}
        return ":".join(map(str, sorted(found)))

    def sizes(self) -> tuple[int, int]:
        """Bytes of all files, and of those that are neither numpy nor Pillow."""
        files = [(f.relative_to(self.folder), f.lstat().st_size) for f in self.folder.rglob("*") if f.is_file()]
        beside = [size for name, size in files if not any(_known(part) for part in name.parts)]
        return sum(size for _, size in files), sum(beside)


def _known(name: str) -> bool:
    return name.lower().startswith(("numpy", "pil", "pillow"))


def make_package(target: str, folder: Path, emulation: Emulation) -> tuple[Path, Path]:
    """A signed package for a target with the reference bundle, made without a network; and its key's public half."""
    key = SigningKey.generate()
    key.save(folder / "maker.key")
    (folder / "maker.pub").write_bytes(key.verify_key.to_pem())
    reference = Path(facegate.__file__).parent
    package = folder / f"door-{target}.pyz"
    done = subprocess.run(  # noqa: S603 - our own command
        [
            *(sys.executable, "-m", "facegate", "package", "--target", target, "--python", "3.11", "--offline"),
            *("--bundle", str(reference / "reference.fgb"), "--trust", str(reference / "reference.pub")),
            *("--key", str(folder / "maker.key"), "--wheels", str(TOP / "wheelhouse")),
            *("--output", str(package), "--json"),
        ],
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode == 5 and "is not in" in done.stderr:
        emulation.leave_out(f"what packages are made of is not there (make arm): {done.stderr.splitlines()[0]}")
    assert done.returncode == 0, done.stderr
    return package, folder / "maker.pub"


def install(emulation: Emulation, cpu: str, package: Path, key: Path, root: Path) -> Installed:
    """Let the core's Python run the package, with no network device where none can be had."""
    offline = can_be_offline()
    arguments = [package, "install", "--root", root, "--trust", key, "--json"]
    run = emulation.python(cpu, arguments, env={"PYTHONPATH": "", "FACEGATE_SITE": ""}, offline=offline)
    assert run.returncode == 0, run.stderr
    return Installed((root / "opt/facegate/current").resolve(), json.loads(run.stdout), package, offline)


def can_be_offline() -> bool:
    """Whether a network namespace can be made here."""
    try:
        offline_command()
    except MachineError:
        return False
    return True
