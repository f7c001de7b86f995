"""From two ONNX files to one installable file for each of three kinds of device, on a PC.

    python examples/cross_compile/cross_compile.py
    python examples/cross_compile/cross_compile.py detector.onnx recognizer.onnx --preprocess imagenet \
        --calibration photographs/ --pairs pairs.csv --images photographs/

Without arguments it takes the project's own models, which recognize rendered people only, and renders the photographs
that they are calibrated and measured with. Everything is done through the `facegate` command line, as a person would:
each command is shown before it is run. README.md beside this file walks through it.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import shlex
import subprocess
import sys
import tempfile
from concurrent.futures import ProcessPoolExecutor
from importlib.util import find_spec
from pathlib import Path
from typing import NoReturn

TARGETS = ("rpi4", "rpi5", "generic-armv7")
ROLES = ("detector", "recognizer")
NAME = "door"
FMR = "0.001"
# Rendered people whom no model was trained on: to calibrate with, and to measure the threshold on.
CALIBRATION, PAIRS = range(1_100_000, 1_100_032), range(1_110_000, 1_110_030)


def run(*arguments: str) -> dict:
    """Run a facegate command as a person would, show it, and give back what it reports; end where it fails."""
    print(f"$ facegate {shlex.join(arguments)}", flush=True)
    return ask(*arguments)


def ask(*arguments: str) -> dict:
    """The same without showing it."""
    done = subprocess.run(  # noqa: S603 - our own command with our own arguments
        [sys.executable, "-m", "facegate", *arguments, "--json"],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,  # the engine's greetings; what goes wrong is in the JSON
        text=True,
        check=False,
    )
    try:
        found = json.loads(done.stdout)
    except ValueError:
        raise SystemExit(f"facegate ended with {done.returncode}") from None
    if "error" in found:
        end(found["error"]["exit_code"], found["error"]["message"], found["error"]["hint"])
    return found


def end(code: int, message: str, hint: str) -> NoReturn:
    """Say what is wrong and what to do, and end."""
    print(f"error: {message}\nhint: {hint}", file=sys.stderr)
    raise SystemExit(code)


def rehearse(given: argparse.Namespace) -> None:
    """End now if the end would be in minutes: no converter, no such file, no such target, or no wheels for one."""
    if find_spec("facegate_convert") is None or find_spec("onnx") is None:
        end(5, f"the converter is not installed for {sys.executable}", "run in the source: pip install '.[convert]'")
    for path in (given.detector, given.recognizer, given.calibration, given.pairs, given.images):
        if path is not None and not path.exists():
            end(3, f"there is no {path}", "check the path")
    spec = find_spec("facegate")
    bundle = Path(spec.origin or "").parent / "reference.fgb" if spec else Path()
    for target in given.target or TARGETS:
        wheels = ["--wheels", str(given.wheels)] if given.wheels else []
        ask(
            *("package", "--dry-run", "--target", target, "--bundle", str(bundle)),
            *("--trust", str(bundle.with_suffix(".pub")), *wheels),
        )


def evidence(given: argparse.Namespace, folder: Path) -> tuple[list[str], list[str]]:
    """The options that say with which photographs models are calibrated, and with which they are measured."""
    if given.detector is not None:
        measured = ["--images", str(given.images or given.calibration)]
        return ["--calibration", str(given.calibration)], measured + (
            ["--pairs", str(given.pairs)] if given.pairs else []
        )
    from facegate.simulation import write_photographs  # noqa: PLC0415 - only where nothing was given

    calibration, pairs, half = folder / "calibration", folder / "pairs", len(PAIRS) // 2
    with ProcessPoolExecutor(2) as pool:
        work = [
            pool.submit(write_photographs, calibration, CALIBRATION, each=1),
            *(pool.submit(write_photographs, pairs, part, each=3) for part in (PAIRS[:half], PAIRS[half:])),
        ]
        print(f"{sum(done.result() for done in work)} photographs rendered")
    return ["--calibration", str(calibration)], ["--images", str(pairs)]


def models(given: argparse.Namespace) -> tuple[list[str], list[str]]:
    """The two ONNX files, each with the options that say what only their maker knows."""
    if given.detector is not None:
        terms = ["--licence", given.licence, "--commercial-use", given.commercial_use]
        pixels = ["--preprocess", given.preprocess] if given.preprocess else []
        return [str(given.detector), *terms], [str(given.recognizer), *terms, *pixels]
    spec = find_spec("facegate_convert")
    folder = Path(spec.origin or "").parent if spec else Path()
    detector, recognizer = (str(folder / "reference" / f"{role}.onnx") for role in ROLES)
    return [detector, "--commercial-use", "yes"], [recognizer, "--commercial-use", "yes"]


def make_key(out: Path) -> Path:
    """The maker's key, made once: devices that trust it take their next packages from it, too."""
    key = out / "maker.key"
    if not key.exists():
        made = run("keys", "new", "--output", str(key), "--no-passphrase")
        print(f"  its id is {made['key_id']}: tell it to your customers by another way than the packages\n")
    return key


def build(target: str, given: argparse.Namespace, key: Path, photographs: tuple[list[str], list[str]]) -> Path:
    """Convert both models for a target, in the precision that pays there, and sign them as one bundle."""
    calibration, measured = photographs
    wanted = ["--target", target, "--precision", given.precision, *calibration]
    parts = {role: str(given.output / f"{role}-{target}.fgb") for role in ROLES}
    finder: list[str] = []
    for role, inputs in zip(ROLES, models(given), strict=True):
        report(run("convert", *inputs, *wanted, *finder, "--output", parts[role]))
        # The recogniser sees faces as this detector finds them, so its pairs are compared through both.
        finder = ["--detector", parts[role], *measured]
    bundle = given.output / f"{NAME}-{target}.fgb"
    purpose = "show how packages are made" if given.detector is None else given.intended_use
    built = run(
        *("bundle", "build", *parts.values(), "--output", str(bundle), "--name", NAME, "--version", given.version),
        *("--target", target, *measured, "--fmr", FMR, "--intended-use", purpose, "--key", str(key)),
    )
    (point,) = built["operating_points"]
    print(f"  threshold {point['threshold']:.3f} for an FMR of {FMR}, FNMR {point['fnmr']:.1%}")
    return bundle


def report(converted: dict) -> None:
    """What a conversion chose, and what it cost."""
    found = converted["report"]
    print(f"  {found['family']} {found['role']}: {found['precision']}, {found['size'] / 1e6:.2f} MB")


def package(target: str, given: argparse.Namespace, bundle: Path, key: Path) -> dict:
    """Put the bundle and all that the device needs into one file."""
    extra = [*(("--wheels", str(given.wheels)) if given.wheels else ()), *(("--offline",) if given.offline else ())]
    made = run(
        *("package", "--target", target, "--bundle", str(bundle), "--key", str(key), *extra),
        *("--output", str(given.output / f"{NAME}-{target}.pyz")),
    )
    for note in made["notes"]:
        print(f"  note: {note}")
    return made


def main() -> int:
    """Three bundles, three packages, and a table of them."""
    given = arguments()
    rehearse(given)
    given.output.mkdir(mode=0o700, parents=True, exist_ok=True)
    key = make_key(given.output)
    made = []
    with tempfile.TemporaryDirectory(prefix="facegate-cross-") as folder:
        photographs = evidence(given, Path(folder))
        for target in given.target or TARGETS:
            bundle = build(target, given, key, photographs)
            made.append(package(target, given, bundle, key))
            print()
    wide = max(len(result["file"]) for result in made)
    print(f"{'FILE':<{wide}}  {'FOR':<25}  {'SIZE':>8}  {'INSTALLED':>9}  SHA256")
    for result in made:
        document, path = result["package"], Path(result["file"])
        python = document["pythons"][0]
        systems = f"{document['machine']}, Python {' '.join(document['pythons'])}"
        size, installed = result["size"] / 1e6, result["installed"][python]["all"] / 1e6
        digest = hashlib.sha256(path.read_bytes()).hexdigest()
        print(f"{path!s:<{wide}}  {systems:<25}  {size:5.1f} MB  {installed:6.1f} MB  {digest[:16]}")
    print("\nOn each device, without a network: sudo python3 -I FILE install --trust maker.key.pub")
    return 0


def arguments() -> argparse.Namespace:
    """What was asked for."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("detector", type=Path, nargs="?", help="ONNX file of a detector [default: the project's own]")
    parser.add_argument("recognizer", type=Path, nargs="?", help="ONNX file of a recogniser")
    parser.add_argument("--calibration", type=Path, help="photographs to calibrate with; needed for your own models")
    parser.add_argument("--pairs", type=Path, help="CSV (file_x,file_y,Decision) of who is who, for the threshold")
    parser.add_argument("--images", type=Path, help="photographs of it; without --pairs one folder an identity")
    parser.add_argument("--preprocess", help="normalisation of the recogniser's input: see facegate convert")
    parser.add_argument("--licence", default="unknown", help="SPDX expression, of your models")
    parser.add_argument("--commercial-use", choices=("yes", "no", "unknown"), default="unknown")
    parser.add_argument("--intended-use", default="an access terminal", help="what your bundle is built for")
    parser.add_argument("--target", action="append", help=f"a target (repeatable) [default: {' '.join(TARGETS)}]")
    parser.add_argument(
        "--version", default="1.0.0", help="of bundle and package: devices take newer ones [default: 1.0.0]"
    )
    parser.add_argument("--precision", default="auto", help="[default: auto, what pays on the target]")
    parser.add_argument("--wheels", type=Path, default=os.environ.get("FACEGATE_WHEELS"), help="see facegate package")
    parser.add_argument("--offline", action="store_true", help="fetch nothing: what is pinned is in the cache")
    parser.add_argument("-o", "--output", type=Path, default=Path("cross-out"), help="folder [default: cross-out]")
    given = parser.parse_args()
    if given.detector is not None and (given.recognizer is None or given.calibration is None):
        parser.error("your own models: both of them, and --calibration")
    return given


if __name__ == "__main__":
    raise SystemExit(main())
