"""Instructions that the reference models take on an emulated Cortex-A7, int8 and float32, with tflite-runtime.

    python tests/emulated/count_armv7l.py

It needs the machine (`make arm`), a wheel (`make wheels`) and the converter, which makes the float32 models. Numbers of
instructions repeat from run to run; they are no times.
"""

from __future__ import annotations

import importlib.util
import sys
import tempfile
import zipfile
from pathlib import Path

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE))
from machine import Machine  # noqa: E402 - beside this file

CPU = "cortex-a7"
ROLES = ("detector", "recognizer", "liveness")
INSIDE = """
import ctypes, sys
from pathlib import Path
from facegate_edge._engine import make_engine
mark = ctypes.CDLL(None).syscall
for place, path in enumerate(map(Path, sys.argv[1:])):
    with make_engine(path.read_bytes()) as engine:
        engine.run()
        mark(0x5EED, 2 * place)
        engine.run()
        mark(0x5EED, 2 * place + 1)
"""


def models(folder: Path) -> list[Path]:
    """The reference models, in both forms, as files."""
    from facegate import open_reference_bundle  # noqa: PLC0415 - the path to import from is set first
    from facegate_convert._convert import Options, convert  # noqa: PLC0415

    package = importlib.util.find_spec("facegate_convert").submodule_search_locations[0]
    made = []
    with open_reference_bundle() as bundle:
        for role in ROLES:
            source = Path(package) / "reference" / f"{role}.onnx"
            for kind in ("int8", "float32"):
                model = (
                    bytes(bundle.model_bytes(role))
                    if kind == "int8"
                    else convert(source, Options(measure_latency=False)).model
                )
                made.append(folder / f"{role}-{kind}.tflite")
                made[-1].write_bytes(model)
    return made


def main() -> int:
    """Count and print; the exit code."""
    machine = Machine()
    wheels = list((HERE.parents[1] / "wheelhouse").glob("facegate-*_armv7l.whl"))
    reason = machine.unavailable() or ("" if len(wheels) == 1 else "no wheel for armv7l in wheelhouse/: make wheels")
    if reason:
        print(reason, file=sys.stderr)
        return 5
    with tempfile.TemporaryDirectory(prefix="armv7l-") as name:
        folder = Path(name)
        with zipfile.ZipFile(wheels[0]) as archive:
            archive.extractall(folder / "site")
        files = models(folder)
        run = machine.run(CPU, ["-c", INSIDE, *files], {"PYTHONPATH": str(folder / "site")}, plugin="count")
    if run.returncode:
        print(run.stderr, file=sys.stderr)
        return 70
    counts = [counted["all"] for tag, counted in run.marks if tag % 2]
    for path, count in zip(files, counts, strict=True):
        print(f"{path.stem:20s} {count:>13,d}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
