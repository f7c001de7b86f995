"""Instructions that a kernel or one run of a model takes on an emulated core."""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
import tempfile
import zipfile
from contextlib import contextmanager
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING

from errors import MachineError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from machine import Machine

ROOT = Path(__file__).resolve().parents[2]
KERNELS = Path(__file__).with_name("kernel_work.py")
MODELS = ROOT / "tests/benchmarks/run_model.py"
WHEELS = {"arm64": "aarch64", "armhf": "armv7l"}
RUNS = 2
sys.path.append(str(ROOT / "edge_runtime/wheels"))
from wheel_source import kernels_digest  # noqa: E402 - beside the sources, in no package


def find_wheel(arch: str, folder: Path) -> Path:
    """Facegate's wheel for an architecture, as it is shipped: of the kernels that are here.

    Args:
        arch: as it stands at the end of a wheel's name.
        folder: where `make wheels` puts them.

    Raises:
        MachineError: there is none or more than one, or what its .json says it was made of is not what is here. Times
            of files say nothing: a checkout makes new ones.
    """
    hint = f"make wheels TARGETS={arch}"
    wheels = list(folder.glob(f"facegate-*_{arch}.whl"))
    if len(wheels) != 1:
        raise MachineError(f"{folder} has {len(wheels) or 'no'} wheel{'s' * (len(wheels) > 1)} for {arch}", hint)
    (wheel,) = wheels
    record = wheel.with_name(f"{wheel.name}.json")
    made = json.loads(record.read_text(encoding="utf-8")) if record.exists() else {}
    if made.get("sha256") != hashlib.sha256(wheel.read_bytes()).hexdigest():
        raise MachineError(f"nothing says what {wheel.name} was made of", hint)
    if made.get("kernels") != kernels_digest(ROOT):
        raise MachineError(f"{wheel.name} was made of other kernels than those in edge_runtime/csrc", hint)
    return wheel


@contextmanager
def unpacked(wheel: Path) -> Iterator[Path]:
    """A folder with what the wheel installs, while it is needed."""
    with tempfile.TemporaryDirectory(prefix="wheel-") as folder:
        with zipfile.ZipFile(wheel) as archive:
            archive.extractall(folder)
        yield Path(folder)


def count_kernels(machine: Machine, cpu: str, site: Path, globs: Sequence[str] = ("*",)) -> dict[str, int]:
    """What each kernel of kernel_work.py takes, without what Python takes to call it.

    Args:
        machine: where to run.
        cpu: one of CORES.
        site: a folder with the installed package.
        globs: patterns of the kernels' names.

    Raises:
        MachineError: the program failed.
    """
    done = machine.run(cpu, [KERNELS, *globs], {"PYTHONPATH": str(site)}, plugin="count")
    if done.returncode:
        raise MachineError(f"the kernels failed on {cpu}: {done.stderr.strip()[-300:]}")
    before = {tag: counts["all"] for tag, counts in done.marks}
    return {
        name: round((before[3 * place + 1] - before[3 * place + 2]) / times)
        for place, (name, times) in enumerate(json.loads(done.stdout.splitlines()[-1]))
    }


def count_model(machine: Machine, cpu: str, model: Path, runs: int = RUNS) -> int:
    """What one run of a model takes, once it is warm: the mean of `runs`. Python's call of the engine is in it.

    Args:
        machine: where to run.
        cpu: one of CORES with a 64-bit architecture: others have no LiteRT.
        model: a TFLite file.
        runs: how many.

    Raises:
        MachineError: the model did not run.
    """
    arguments = [MODELS, model, "--runs", str(runs), "--marks"]
    done = machine.run(cpu, arguments, {"PYTHONPATH": str(ROOT / "edge_runtime")}, plugin="count")
    counted = [counts["all"] for tag, counts in done.marks if tag == 1]
    if done.returncode or not counted:
        raise MachineError(f"{model.name} failed on {cpu}: {done.stderr.strip()[-300:]}")
    return counted[0] // runs


def versions(machine: Machine, folder: Path) -> dict[str, str]:
    """What the counts depend on beside the source: the compiler, the engine, the emulator."""
    found = {"debian": "12"}
    for path in sorted(folder.glob("facegate-*.whl.json")):
        if path.name.removesuffix(".whl.json").endswith(tuple(WHEELS.values())):
            found["ziglang"] = json.loads(path.read_text(encoding="utf-8"))["tools"]["ziglang"]
    for distribution in metadata.distributions(path=[str(machine.site("cortex-a72"))]):
        if distribution.metadata["Name"] in ("ai-edge-litert", "numpy"):
            found[distribution.metadata["Name"]] = distribution.version
    qemu = machine.folder / "qemu/usr/bin/qemu-aarch64"
    libraries = {"LD_LIBRARY_PATH": str(machine.folder / "qemu/usr/lib/x86_64-linux-gnu")}
    said = subprocess.run([str(qemu), "--version"], env=libraries, capture_output=True, text=True, check=True).stdout  # noqa: S603
    found["qemu"] = said.split()[2]
    return dict(sorted(found.items()))
