"""What a conversion costs: SCRFD-500M and a MobileFaceNet to a bundle, with calibration, every gate and the reports.

    python tests/benchmarks/bench_convert.py [--precision int8] [--models DIR] [--faces DIR] [--runs 1]

Calibrates on every photograph of the folder, those of the pairs as well: this measures cost and not accuracy.

Runs `facegate bundle build` as a person would, in a process of its own, and prints its time, its largest resident
memory and where the time went. Exits with 1 if it took more than 60 s or 700 MB (the median of the runs counts), or if
the build failed. Two cores are assumed; a machine that does other work beside makes it longer.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

MAX_SECONDS, MAX_MEGABYTES = 60.0, 700.0
DETECTOR = "scrfd-500m/scrfd_500m_bnkps_shape320x320.onnx"
RECOGNIZERS = {
    "zqcnn": ("mobilefacenet-zqcnn/mobilefacenet_zqcnn.onnx",),
    "foamliu": ("mobilefacenet-foamliu/mobilefacenet_dynbatch.onnx",),
}


def measured(command: list[str]) -> tuple[float, float, float, int]:
    """(seconds, seconds of processors, megabytes, exit code) of a command whose output nobody reads."""
    start = time.perf_counter()
    null = subprocess.DEVNULL
    with subprocess.Popen(command, stdout=null, stderr=null) as process:  # noqa: S603 - our own command
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
    seconds = time.perf_counter() - start
    return seconds, usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1024, process.returncode


def main() -> int:
    """Measure and print; see the module."""
    shared = Path(__file__).resolve().parents[3] / "shared"
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--models", type=Path, default=shared / "models")
    parser.add_argument("--faces", type=Path, default=shared / "faces")
    parser.add_argument("--recognizer", choices=tuple(RECOGNIZERS), default="zqcnn")
    parser.add_argument("--precision", default="int8")
    parser.add_argument("--target", default="generic")
    parser.add_argument("--runs", type=int, default=1)
    given = parser.parse_args()
    found = []
    for _ in range(given.runs):
        with tempfile.TemporaryDirectory(prefix="facegate-bench-") as folder:
            report = Path(folder, "report.json")
            command = [
                *(sys.executable, "-m", "facegate", "bundle", "build", "-o", str(Path(folder, "b.fgb"))),
                *("--name", "bench", "--version", "1.0.0", "--intended-use", "a benchmark"),
                *("--precision", given.precision, "--target", given.target, "--allow-drift"),
                *("--calibration", str(given.faces), "--report", str(report)),
                *("--pairs", str(given.faces / "deepface/master.csv"), "--images", str(given.faces / "deepface")),
                *(str(given.models / name) for name in (DETECTOR, *RECOGNIZERS[given.recognizer])),
            ]
            seconds, processors, megabytes, code = measured(command)
            if code:
                print(f"the build failed with exit code {code}")
                return 1
            found.append((seconds, megabytes))
            print(f"{seconds:6.1f} s, of processors {processors:.1f} s, {megabytes:.0f} MB in all")
            for role in ("detector", "recognizer"):
                said = json.loads(report.with_name(f"report-{role}.json").read_text())
                steps = ", ".join(f"{name} {value:.1f}" for name, value in said["seconds"].items() if value >= 0.05)
                gates = ", ".join(f"{g['name']} {g['status']}" for g in said["gates"] if g["status"] != "passed")
                print(f"  {role}: {said['precision']}, {steps}")
                print(f"    {said['why']}; gates not passed: {gates or 'none'}")
    seconds, megabytes = (statistics.median(values) for values in zip(*found, strict=True))
    good = seconds <= MAX_SECONDS and megabytes <= MAX_MEGABYTES
    print(f"{seconds:.1f} s and {megabytes:.0f} MB; allowed are {MAX_SECONDS:.0f} s and {MAX_MEGABYTES:.0f} MB")
    return int(not good)


if __name__ == "__main__":
    sys.exit(main())
