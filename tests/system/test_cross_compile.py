"""The cross-compile example, as its README says it: two ONNX files become a package for each of three targets."""

from __future__ import annotations

import hashlib
import json
import os
import re
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from facegate_convert._package import load_pins
from facegate_convert._package._fetch import cached, default_cache
from facegate_convert._package._systems import system
from facegate_convert._package._wheels import find_own_wheel
from facegate_convert.errors import PackageError
from facegate_edge import open_bundle, target
from facegate_edge._bundle import signature_document
from facegate_edge._keys import SigningKey, TrustStore
from facegate_edge._version import VERSION

ROOT = Path(__file__).parents[2]
SCRIPT = ROOT / "examples" / "cross_compile" / "cross_compile.py"
WHEELS = Path(os.environ.get("FACEGATE_WHEELS") or ROOT / "wheelhouse")
TARGETS = ("rpi4", "rpi5", "generic-armv7")


def compile_for(cwd, *arguments):
    """Run the example in a folder of its own, offline."""
    return subprocess.run(  # noqa: S603 - our own script
        [sys.executable, str(SCRIPT), "--offline", *map(str, arguments)],
        cwd=cwd,
        env={**os.environ, "FACEGATE_WHEELS": str(WHEELS)},
        capture_output=True,
        text=True,
        check=False,
        timeout=900,
    )


def missing():
    """Why the packages cannot be made here, "" if they can."""
    for name in TARGETS:
        chosen = system(name)
        try:
            find_own_wheel(WHEELS, VERSION, chosen.machine)
        except PackageError as error:
            return f"needs the wheels of `make wheels`: {error}"
        pins = load_pins()[chosen.machine]
        for pin in (pins.engine.wheel, *pins.wheels_for(chosen.pythons), *pins.debs):
            if cached(default_cache(), pin) is None:
                return f"needs {pin.file} in the cache: run the example once with a network"
    return ""


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """The example without arguments, run once: (what it said, its folder)."""
    reason = missing()
    if reason:
        pytest.skip(reason)
    cwd = tmp_path_factory.mktemp("cross")
    return compile_for(cwd), cwd / "cross-out"


def test_three_targets_get_a_package_each(made):
    """Without any argument: every package is whole, for its own machine, and its hash is the one that was printed."""
    done, out = made
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
    assert sorted(path.name for path in out.glob("*.pyz")) == sorted(f"door-{name}.pyz" for name in TARGETS)
    for name in TARGETS:
        path = out / f"door-{name}.pyz"
        with zipfile.ZipFile(path) as archive:
            assert archive.testzip() is None
            document = json.loads(archive.read("package.json"))
        assert (document["target"], document["machine"]) == (name, target(name).machine)
        assert hashlib.sha256(path.read_bytes()).hexdigest()[:16] in done.stdout


def test_each_bundle_is_its_targets_own(made):
    """Signed by the maker's key, in a precision that the target's profile names, with a threshold of its own."""
    _, out = made
    trust = TrustStore.load(out / "maker.key.pub")
    for name in TARGETS:
        with open_bundle(out / f"door-{name}.fgb", trust=trust) as bundle:
            assert bundle.manifest.target == name
            assert [point.fmr for point in bundle.manifest.operating_points] == [0.001]
            for model in bundle.manifest.models:
                assert model.precision in target(name).precisions[model.role]
        with zipfile.ZipFile(out / f"door-{name}.pyz") as archive:
            assert archive.read("bundle/door.fgb") == (out / f"door-{name}.fgb").read_bytes()


def test_the_packages_are_signed_by_the_maker(made):
    """The signature over each listing is the maker's, and the device is told to trust no other key."""
    _, out = made
    key = SigningKey.load(out / "maker.key")
    for name in TARGETS:
        with zipfile.ZipFile(out / f"door-{name}.pyz") as archive:
            listing = archive.read("package.json")
            assert archive.read("package.sig") == signature_document(key.key_id, key.sign(listing))
            assert [n for n in archive.namelist() if n.startswith("trust/")] == [f"trust/{key.key_id}.pub"]


def test_every_command_is_shown(made):
    """A reader can do by hand what the script did: two conversions, a bundle and a package for each target."""
    done, _ = made
    shown = re.findall(r"^\$ facegate (\w+)", done.stdout, re.MULTILINE)
    assert shown == ["keys", *["convert", "convert", "bundle", "package"] * len(TARGETS)]


def test_the_private_key_is_in_no_package(made):
    """Neither as a file nor in one."""
    _, out = made
    assert (out / "maker.key").stat().st_mode & 0o777 == 0o600
    secret = (out / "maker.key").read_bytes().splitlines()[2]
    for path in out.glob("*.pyz"):
        assert secret not in path.read_bytes()


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (["detector.onnx"], 2, "both of them"),
        (["a.onnx", "b.onnx"], 2, "--calibration"),
        (["absent.onnx", "absent.onnx", "--calibration", "."], 3, "absent.onnx"),
        (["--target", "pi4"], 3, "no target 'pi4'"),
        (["--target", "jetson-nano"], 3, "no package can be made for jetson-nano"),
        (["--wheels", "nowhere"], 3, "make wheels"),
    ],
)
def test_what_is_missing_is_named_at_once(tmp_path, arguments, code, said):
    """Before a key is made or a model converted, with what to do and the exit code of the command that would fail."""
    done = compile_for(tmp_path, *arguments)
    assert done.returncode == code
    assert said in done.stderr
    assert "Traceback" not in done.stderr
    assert not list(tmp_path.iterdir())


def test_a_python_without_the_converter_is_told_so(tmp_path):
    """The script runs in any Python, and says what is not installed in it."""
    bare = [sys.executable, "-I", "-S", str(SCRIPT)]
    done = subprocess.run(bare, cwd=tmp_path, capture_output=True, text=True, check=False, timeout=60)  # noqa: S603
    assert done.returncode == 5
    assert "the converter is not installed" in done.stderr
    assert "pip install" in done.stderr
