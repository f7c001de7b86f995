"""Instructions that a kernel or one run of a model takes on an emulated core."""

from __future__ import annotations

import json
import subprocess
import tempfile
import zipfile
from contextlib import contextmanager
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING

from cores import CORES
from errors import MachineError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from machine import Machine

ROOT = Path(__file__).resolve().parents[2]
KERNELS = Path(__file__).with_name("kernel_work.py")
MODELS = ROOT / "tests/benchmarks/run_model.py"
WHEELS = {"arm64": "aarch64", "armhf": "armv7l"}
RUNS = 2
# What the wheel's machine code is made of.
_SOURCES = ("edge_runtime/csrc", "edge_runtime/wheels/wheel_targets.py")


def find_wheel(cpu: str, folder: Path) -> Path:
    """Facegate's wheel for a core, as it is shipped.

    Args:
        cpu: one of CORES.
        folder: where `make wheels` puts them.

    Raises:
        MachineError: there is none, or a source of the kernels is newer than it.
    """
    arch = WHEELS[CORES[cpu].arch]
    wheels = sorted(folder.glob(f"facegate-*_{arch}.whl"), key=lambda path: path.stat().st_mtime)
    if not wheels:
        raise MachineError(f"{folder} has no wheel for {arch}", f"make wheels TARGETS={arch}")
    built = wheels[-1].stat().st_mtime
    for name in _SOURCES:
        path = ROOT / name
        for source in sorted(path.glob("*.[ch]")) if path.is_dir() else [path]:
            if source.stat().st_mtime > built:
                raise MachineError(
                    f"{wheels[-1].name} is older than {source.relative_to(ROOT)}", f"make wheels TARGETS={arch}"
                )
    return wheels[-1]


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
