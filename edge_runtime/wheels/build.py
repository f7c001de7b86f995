"""Build facegate's wheels for x86_64, aarch64 and armv7l on one x86_64 Linux PC: what `make wheels` runs.

    python edge_runtime/wheels/build.py                        all of them, from the working tree, into wheelhouse/
    python edge_runtime/wheels/build.py aarch64 --commit HEAD  one of them, from what is committed
    python edge_runtime/wheels/build.py --check                the wheels that are there, looked at again
    python edge_runtime/wheels/build.py --check-reproducible   each built twice, elsewhere and later, and compared

Any Python from 3.10 runs it: the tools are installed into .venv-wheels, from hashes. See docs/wheels.md.
"""

from __future__ import annotations

import argparse
import contextlib
import fcntl
import hashlib
import json
import os
import platform
import shutil
import sys
import tempfile
import time
import zlib
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING

import wheel_source as source
import wheel_tools as tools
from wheel_repack import repack
from wheel_targets import TARGETS, WheelError, WheelTarget, chosen

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = tools.ROOT
WHEELHOUSE = ROOT / "wheelhouse"
TOOLS = ("cffi", "setuptools", "ziglang")  # what decides the bytes


def arguments(given: list[str]) -> argparse.Namespace:
    """What the command line says."""
    parser = argparse.ArgumentParser(
        prog="build.py",
        description="Build facegate's wheels with zig, check them, and prove that they are reproducible.",
    )
    parser.add_argument("targets", nargs="*", metavar="TARGET", help=f"{', '.join(TARGETS)} (default: all)")
    parser.add_argument("--commit", metavar="REV", help="build what is committed there, not the working tree")
    parser.add_argument(
        "--output", type=Path, default=WHEELHOUSE, metavar="FOLDER", help="where the wheels go (default: wheelhouse)"
    )
    mode = parser.add_mutually_exclusive_group()
    mode.add_argument("--check", action="store_true", help="build nothing: check the wheels that are in the folder")
    mode.add_argument(
        "--check-reproducible", action="store_true", help="build everything twice and compare; keep nothing"
    )
    return parser.parse_args(given)


def sha256(path: Path) -> str:
    """Of a file's bytes."""
    return hashlib.sha256(path.read_bytes()).hexdigest()


@contextlib.contextmanager
def alone(folder: Path) -> Iterator[None]:
    """Wait until no other build writes into `folder`."""
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / ".lock").open("w", encoding="utf-8") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            print(f"another build writes into {folder}: waiting for it", flush=True)
            fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def build(targets: list[WheelTarget], commit: str | None, work: Path, cache: Path) -> list[Path]:
    """Build the wheels of `targets` in `work`, check each, and return them in order."""
    from wheel_backend import build_wheel  # noqa: PLC0415 - a build needs the tools, the rest of this file does not
    from wheel_checks import check_instructions, check_wheel  # noqa: PLC0415

    epoch = source.source_date(ROOT, commit)
    sources, output = work / "sources", work / "wheels"
    output.mkdir(parents=True)
    if commit:
        source.copy_commit(ROOT, commit, sources)
    else:
        source.copy_tree(ROOT, sources)
    wheels = []
    for target in targets:
        started = time.monotonic()
        built = build_wheel(target, sources, work / target.name, epoch, cache)
        wheel = output / built.wheel.name
        repack(built.wheel, wheel, epoch)
        check_wheel(wheel, target)
        check_instructions(built.unstripped, target)
        shutil.rmtree(work / target.name)
        wheels.append(wheel)
        print(f"{target.name}: built and checked in {time.monotonic() - started:.0f} s", flush=True)
    return wheels


def provenance(commit: str | None) -> dict[str, object]:
    """What decided the wheels' bytes: with the same, anybody gets the same."""
    return {
        "commit": source.commit(ROOT, commit or "HEAD"),
        "changed": [] if commit else source.changed(ROOT),
        "source_date_epoch": source.source_date(ROOT, commit),
        "python_headers": platform.python_version(),
        "zlib": zlib.ZLIB_RUNTIME_VERSION,
        "tools": {tool: metadata.version(tool) for tool in TOOLS},
    }


def publish(wheels: list[Path], folder: Path, made_by: dict[str, object]) -> None:
    """Move `wheels` to `folder`, where they take the place of older ones of their targets, and say what is there."""
    for wheel in wheels:
        tag = wheel.name.split("-", 2)[2]
        for old in folder.glob(f"facegate-*-{tag}"):
            if old.name != wheel.name:
                old.unlink()
        shutil.copy(wheel, folder / f".{wheel.name}")
        (folder / f".{wheel.name}").replace(folder / wheel.name)
        (folder / f"{wheel.name}.json").write_text(
            json.dumps({"sha256": sha256(wheel), **made_by}, indent=1) + "\n", encoding="utf-8"
        )
    for orphan in folder.glob("facegate-*.whl.json"):
        if not orphan.with_suffix("").exists():
            orphan.unlink()
    lines = [f"{sha256(wheel)}  {wheel.name}\n" for wheel in sorted(folder.glob("facegate-*.whl"))]
    (folder / "SHA256SUMS").write_text("".join(lines), encoding="utf-8")


def make(options: argparse.Namespace, targets: list[WheelTarget]) -> None:
    """`build.py`: build, check, put into the folder."""
    folder = options.output.resolve()
    with alone(folder), tempfile.TemporaryDirectory(prefix="facegate-wheels-") as work:
        made_by = provenance(options.commit)
        wheels = build(targets, options.commit, Path(work), tools.ENVIRONMENT / "zig-cache")
        publish(wheels, folder, {**made_by, "kernels": source.kernels_digest(Path(work) / "sources")})
    changed = [] if options.commit else source.changed(ROOT)
    if changed:
        print(f"not committed: {', '.join(changed)}. Nobody else can build these bytes: see --commit")
    for wheel in wheels:
        made = folder / wheel.name
        print(f"{sha256(made)}  {made.stat().st_size:>9}  {made}")


def check(options: argparse.Namespace, targets: list[WheelTarget]) -> None:
    """`build.py --check`: everything that can be seen from a finished wheel."""
    from wheel_checks import check_wheel  # noqa: PLC0415 - needs the tools

    for target in targets:
        wheels = sorted(options.output.glob(f"facegate-*-{target.platform}.whl"))
        if not wheels:
            raise WheelError(
                f"no wheel of {target.name} in {options.output}", hint="make wheels builds it", exit_code=5
            )
        for wheel in wheels:
            check_wheel(wheel, target)
            print(f"{wheel.name}: good")


def check_reproducible(options: argparse.Namespace, targets: list[WheelTarget]) -> None:
    """`build.py --check-reproducible`: two builds that have nothing in common but the source and the tools."""
    commit = options.commit or source.commit(ROOT) if not source.changed(ROOT) else options.commit
    sums: list[dict[str, str]] = []
    os.environ.setdefault(
        "SOURCE_DATE_EPOCH", str(source.source_date(ROOT, commit))
    )  # a commit meanwhile changes nothing
    for name, zone, mask in (("one", "UTC", 0o022), ("the other, of a longer name", "Pacific/Auckland", 0o077)):
        os.environ["TZ"] = zone
        os.umask(mask)
        with tempfile.TemporaryDirectory(prefix="facegate-wheels-") as folder:
            wheels = build(targets, commit, Path(folder) / name, Path(folder) / "cache")
            sums.append({wheel.name: sha256(wheel) for wheel in wheels})
    for name, first in sums[0].items():
        print(f"{first}  {name}")
        if sums[1].get(name) != first:
            raise WheelError(
                f"{name} is not reproducible: {first}, then {sums[1].get(name)}",
                hint="did a file change meanwhile? --commit HEAD builds what is committed",
            )
    print("the same bytes, twice")


def main(given: list[str]) -> int:
    """Run a command line; 0 done, 1 a check says no, 2 usage, 5 environment, 70 the compiler failed."""
    options = arguments(given)
    try:
        targets = chosen(options.targets)
        tools.check_host()
        if not tools.inside():
            tools.enter([str(Path(__file__).resolve()), *given])
        if options.commit:
            options.commit = source.commit(ROOT, options.commit)
        command = check if options.check else check_reproducible if options.check_reproducible else make
        command(options, targets)
    except WheelError as error:
        print(f"error: {error}", file=sys.stderr)
        if error.hint:
            print(f"hint: {error.hint}", file=sys.stderr)
        return error.exit_code
    except OSError as error:
        print(f"error: {error}\nhint: is there room on the disk, and may this user write there?", file=sys.stderr)
        return 5
    except KeyboardInterrupt:
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
