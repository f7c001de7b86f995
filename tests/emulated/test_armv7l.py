"""Facegate on 32-bit ARM, emulated: Debian 12's packages, tflite-runtime, a Cortex-A7 as a Raspberry Pi 2 has it.

The engine there is another one than on 64-bit machines, and rounds int8 convolutions otherwise: docs/armv7l.md says
what that means. So decisions are the same, and templates are not to the bit; how far apart they may be stands below.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
from dataclasses import replace
from itertools import combinations
from pathlib import Path
from typing import Any

import days
import numpy as np
import pytest
from installing import install, make_package
from playing import HERE, TOP, Emulation, Played, read_day

CPU = "cortex-a7"
TOLERANCE = 1e-4  # of a float model, of its largest value where that exceeds 1
# What int8 models may differ by on the same input, in quantisation steps of an output: against LiteRT, and against the
# same tflite-runtime on x86_64. Measured: 12, 4, 1 and 5, 3, 1.
STEPS = {
    "litert": {"detector": 20, "recognizer": 6, "liveness": 3},
    "tflite": {"detector": 10, "recognizer": 6, "liveness": 3},
}
SAME_CROP = 0.995  # cosine of embeddings of the same aligned face; measured: 0.9992 and more
SAME_FRAME = 0.97  # cosine of templates of the same live face in the same frame, found anew; measured: 0.975 and more
PIXELS = 3.0  # how far a landmark of it may be; measured: 2.5
LIVE = 0.1  # how far its probability of being live may be; measured: 0.067
SIMILAR = 0.1  # how far the similarity of two of them may be; measured: 0.08
MAX_BESIDE = 60_000_000  # bytes that a package may install beside numpy and Pillow
SLOW = "each_kind_of_matrix or edge_sizes"  # most of the time of the kernels' tests; the random cases stay


@pytest.fixture(scope="module")
def device(machine, site_of, tmp_path_factory, request):
    """The emulated Cortex-A7 with the wheel for armv7l; the longest run, if wanted, is started before others."""
    made = Emulation(machine, site_of("armv7l"), tmp_path_factory.mktemp("armv7l"))
    kernels = sorted((TOP / "tests/edge_runtime").glob("test_kernels_*.py"))
    if any(item.name.startswith("test_the_kernels") for item in request.session.items):
        made.start(("kernels",), lambda: _tests(made, SLOW, *kernels))
    yield made
    made.pool.shutdown(cancel_futures=True)


def _tests(device: Emulation, without: str, *files: Path) -> Any:
    options = ["-q", "-rs", "-p", "no:cacheprovider", "-c", TOP / "pyproject.toml", "--rootdir", TOP]
    return device.python(CPU, ["-m", "pytest", *options, "-k", f"not ({without})", *files], plugin=None)


@pytest.fixture(scope="module")
def hosts(device, tmp_path_factory, material_of, onnx_path) -> dict[str, Played]:
    """The rendered days by precision, played on the build host with LiteRT."""
    made = days.rendered_day(tmp_path_factory.mktemp("days-armv7l"), material_of("rendered"), onnx_path)
    return {precision: device.on_host(day) for precision, day in made.items()}


@pytest.fixture(scope="module")
def played(device, hosts):
    """A function: precision -> the day on the device, and the same on the build host."""
    runs = {precision: device.day(CPU, "armv7l", host.day) for precision, host in hosts.items()}
    return lambda precision: (runs[precision].result(), hosts[precision])


@pytest.fixture(scope="module")
def same_engine(device, hosts) -> Played:
    """The int8 day on the build host, with the very version of tflite-runtime that the device has."""
    python = os.environ.get("FACEGATE_TFLITE_PYTHON")
    if not python:
        pytest.skip("FACEGATE_TFLITE_PYTHON names no Python with tflite-runtime (make test does)")
    day = hosts["int8"].day
    out = [device.folder / f"tflite-int8-host.{kind}" for kind in ("json", "npz")]
    others = device.folder / f"{day.folder.name}-int8-host.npz"
    done = subprocess.run(  # noqa: S603 - our own script
        [python, *map(str, (HERE / "end_to_end.py", *day.files, *out, others))],
        env={**os.environ, "FACEGATE_ENGINE": "tflite"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return Played(day, None, *read_day(*out))


@pytest.fixture(scope="module")
def facts(device) -> dict[str, Any]:
    """What armv7l_facts.py says there."""
    run = device.python(CPU, [HERE / "armv7l_facts.py"], plugin=None)
    assert run.returncode == 0, run.stderr
    return json.loads(run.stdout.splitlines()[-1])


def test_the_device_knows_what_it_is(facts):
    """A 32-bit machine with NEON, Debian 12's packages and the engine that it has, on which a gate can run."""
    assert (facts["bits"], facts["long"], facts["machine"], facts["cpu"]) == (32, 4, "armv7l", "Cortex-A7")
    assert "neon" in facts["features"]
    shown = facts["doctor"]
    assert {status for status, _ in shown.values()} <= {"ok", "warning"}
    assert shown["packages"][0] == "ok"
    for package in ("numpy 1.24.", "pillow 9.4.", "cffi 1.15.", "cryptography 38.0.", "click 8.1."):
        assert package in shown["packages"][1]
    assert shown["engine"][0] == "ok"
    assert shown["engine"][1].startswith("tflite, ")
    assert shown["target"] == ["ok", "generic-armv7"]
    assert shown["kernels"][0] == "ok"
    assert facts["litert"] == "EngineUnavailableError"


def test_the_kernels_pass_their_own_tests(device):
    """On every path that the core has; the longest table is left to other machines, its random cases are not."""
    run = device.start(("kernels",), lambda: None).result()
    assert run.returncode == 0, run.stdout[-3000:] + run.stderr[-1000:]
    passed = re.search(r"(\d+) passed", run.stdout)
    assert passed, run.stdout
    assert int(passed[1]) > 900
    assert all("cv2" in line for line in run.stdout.splitlines() if line.startswith("SKIPPED"))


def test_what_is_sealed_there_opens_everywhere(device):
    """Sealing's own tests pass with Debian's cryptography 38: the same bytes as any other version makes."""
    run = _tests(device, "nothing", TOP / "tests/sdk/store/test_sealing.py", TOP / "tests/sdk/test_clock_guard.py")
    assert run.returncode == 0, run.stdout[-3000:] + run.stderr[-1000:]


@pytest.mark.parametrize("precision", ["int8", "float32"])
def test_decisions_are_those_of_the_build_host(played, precision):
    """Who is enrolled, who is matched, who is refused and why: as LiteRT decides on x86_64."""
    device, host = played(precision)
    assert (device.result["engine"], host.result["engine"]) == ("tflite", "litert")
    assert _decided(device) == _decided(host)
    outcomes = {made["decision"][1] for made in device.result["decisions"] if "decision" in made}
    assert {"match", "no_match", "rejected"} <= outcomes


def test_int8_decides_as_the_same_engine_on_x86_64(played, same_engine):
    """tflite-runtime 2.14 on both machines: the same decisions."""
    assert same_engine.result["engine"] == "tflite"
    assert _decided(played("int8")[0]) == _decided(same_engine)


def test_nothing_of_the_build_host_takes_part(played, device):
    """What is not in the machine's root is looked for on the host: no module and no library came from there."""
    files = played("int8")[0].result["files"]
    ours = (device.site, device.machine.folder, HERE)
    assert [name for name in files if not any(Path(name).is_relative_to(place) for place in ours)] == []
    assert any("tflite_runtime" in name for name in files)
    assert any(Path(name).name == "_native.abi3.so" and Path(name).is_relative_to(device.site) for name in files)


@pytest.fixture(scope="module")
def installed(device, tmp_path_factory):
    """The package for 32-bit ARM, installed by the device's own Python without a network."""
    package = make_package("generic-armv7", tmp_path_factory.mktemp("package-armv7l"), device)
    return install(device, CPU, *package, tmp_path_factory.mktemp("root-armv7l"))


def test_what_is_installed_decides_as_the_wheel(device, installed, played):
    """From nothing but the package's files, Debian's libraries among them: the same decisions, templates to the bit."""
    assert installed.answer["changed"] is True
    wheel = played("int8")[0]
    there = device.play(CPU, "installed", wheel.day, installed.start, libraries=installed.libraries())
    assert _decided(there) == _decided(wheel)
    assert there.result["seen"] == wheel.result["seen"]
    root = device.machine.folder
    files = [Path(name) for name in there.result["files"] if not Path(name).is_relative_to(HERE)]
    assert [name for name in files if not (name.is_relative_to(installed.folder) or name.is_relative_to(root))] == []
    for part in ("numpy", "cryptography", "tflite_runtime", "facegate", "facegate_edge"):
        loaded = [name for name in files if part in name.parts]
        assert loaded, part
        assert [name for name in loaded if not name.is_relative_to(installed.folder)] == []
    for library in ("_cffi_backend.", "libblas.so", "liblapack.so", "libgfortran.so"):
        loaded = [name for name in files if name.name.startswith(library)]
        assert loaded, library
        assert [name for name in loaded if not name.is_relative_to(installed.folder)] == []
    whole, beside = installed.sizes()
    size = installed.package.stat().st_size
    device.tell(
        f"package for generic-armv7: {size / 1e6:.1f} MB, installed {whole / 1e6:.1f} MB, "
        f"{beside / 1e6:.1f} MB of it beside numpy and Pillow"
    )
    assert beside <= MAX_BESIDE
    if not installed.offline:
        pytest.skip("installed, but no network namespace can be made here to show that it needs no network")


def test_what_the_kernels_make_is_the_same_to_the_bit(played):
    """The detector's input is made of the frame by the kernels alone: no bit differs."""
    device, host = played("int8")
    inputs = [name for name in host.arrays if "/detector/inputs/" in name]
    assert inputs
    for name in inputs:
        np.testing.assert_array_equal(device.arrays[name], host.arrays[name], name)


def test_float_models_agree(played):
    """On the same input no output of a float32 model differs by more than 1e-4."""
    device, host = played("float32")
    for name, again in _again(host).items():
        largest = max(1.0, float(np.abs(host.arrays[name]).max()))
        np.testing.assert_allclose(
            device.arrays[again], host.arrays[name], rtol=0, atol=TOLERANCE * largest, err_msg=name
        )


def test_float_templates_differ_by_rounding_alone(played):
    """A float model's template is the same to one step of 127 in each place: what is rounded may fall either way."""
    device, host = played("float32")
    for a, b in _faces(device, host):
        assert np.abs(np.subtract(a["landmarks"], b["landmarks"])).max() < 1e-2
        assert np.abs(np.subtract(a["template"], b["template"])).max() <= 1


def test_int8_models_agree_within_steps(played):
    """On the same input the outputs of int8 models differ by few steps: convolutions round ties otherwise."""
    device, host = played("int8")
    assert not any(np.any(over) for over in _beyond(host, device, "litert").values())


def test_int8_models_agree_with_the_same_engine_within_fewer_steps(played, same_engine):
    """On the same input: tflite-runtime's convolutions round ties otherwise with NEON than with AVX."""
    device, host = played("int8")
    other = replace(same_engine, arrays={name: same_engine.arrays[again] for name, again in _again(host).items()})
    assert not any(np.any(over) for over in _beyond(other, device, "tflite").values())


def test_the_int8_detector_is_the_reference_kernels_to_the_bit(played, tmp_path):
    """TFLite's plain integer arithmetic on x86_64 gives every bit of what is computed here with NEON."""
    python = os.environ.get("FACEGATE_TFLITE_PYTHON")
    if not python:
        pytest.skip("FACEGATE_TFLITE_PYTHON names no Python with tflite-runtime (make test does)")
    there = played("int8")[0]
    inputs = {name: array for name, array in there.arrays.items() if "/detector/inputs/" in name}
    np.savez(tmp_path / "inputs.npz", **inputs)
    files = (there.day.files[2], tmp_path / "inputs.npz", tmp_path / "outputs.npz")
    subprocess.run([python, *map(str, (HERE / "reference_kernels.py", *files))], check=True, capture_output=True)  # noqa: S603
    with np.load(files[-1]) as outputs:
        expected = {name: outputs[name] for name in outputs.files}
    for frame in {name.split("/")[0] for name in inputs}:
        ours = [array for name, array in there.arrays.items() if name.startswith(f"{frame}/detector/outputs/")]
        theirs = [array for name, array in expected.items() if name.startswith(f"{frame}/")]
        # By content: an interpreter's order is not the signature's.
        assert sorted((a.shape, a.tobytes()) for a in ours) == sorted((a.shape, a.tobytes()) for a in theirs)
        assert len(ours) == 12


def _beyond(host: Played, device: Played, engine: str) -> dict[str, Any]:
    found = {}
    for name, again in _again(host).items():
        ours, theirs = device.arrays[again].astype(int), host.arrays[name].astype(int)
        role = name.split("/")[1]
        found[name] = np.abs(ours - theirs) > STEPS[engine][role]
        if role == "recognizer":
            assert _cosine(ours + 10, theirs + 10) >= SAME_CROP, name  # the embedding's zero point is -10
    return found


def test_int8_templates_are_near(played):
    """Of the same live face in the same frame, found anew: all that is said above of templates, landmarks, liveness."""
    # What is shown to a camera by an attacker is refused, and may be found elsewhere.
    live = [(a, b) for a, b in _faces(*played("int8")) if b["live"] > 0.5]
    assert len(live) >= 10
    for a, b in live:
        assert _cosine(a["template"], b["template"]) >= SAME_FRAME
        assert np.abs(np.subtract(a["landmarks"], b["landmarks"])).max() <= PIXELS
        assert abs(a["live"] - b["live"]) <= LIVE
    ours, theirs = (
        [_cosine(x["template"], y["template"]) for x, y in combinations(side, 2)] for side in zip(*live, strict=True)
    )
    assert np.abs(np.subtract(ours, theirs)).max() <= SIMILAR


def test_times_after_2038_are_kept_and_told(facts):
    """The C library there ends in January 2038; consents, credentials and decisions do not."""
    assert facts["from_2038"] == "OverflowError"
    assert facts["consent"] == "2100-01-01 00:00:00+00:00"
    late = facts["late"]
    assert (late["made"], late["time"]) == ("2040-02-29T12:00:00+00:00", "2040-02-29T12:00:00.000Z")
    assert "clock" not in late["marks"]


def test_a_clock_that_fell_back_to_1970_revives_nothing(facts):
    """What Python says when the C library's time has run out: the gate goes on counting, and marks its decisions."""
    early = facts["early"]
    assert early["time"] == "2038-01-18T00:00:00.000Z"
    assert early["later"][:2] == ["back", "2038-01-18T00:01:00.000Z"]
    assert "clock" in early["later"][2]


def test_galleries_are_locked_and_bundles_sealed(facts):
    """With 32-bit sizes, too."""
    assert facts["locked"]
    assert facts["bundle"] > 800_000


def _again(host: Played) -> dict[str, str]:
    found = {name: name.replace("/outputs/", "/again/") for name in host.arrays if "/outputs/" in name}
    assert {name.split("/")[1] for name in found} == {"detector", "recognizer", "liveness"}
    return found


def _faces(ours: Played, theirs: Played) -> list[tuple[dict[str, Any], dict[str, Any]]]:
    pairs = []
    for a, b in zip(ours.result["seen"], theirs.result["seen"], strict=True):
        assert len(a["faces"]) == len(b["faces"])
        pairs += zip(a["faces"], b["faces"], strict=True)
    return pairs


def _cosine(a: Any, b: Any) -> float:
    a, b = np.ravel(a).astype(float), np.ravel(b).astype(float)
    return float(a @ b / np.linalg.norm(a) / np.linalg.norm(b))


def _decided(day: Played) -> list[object]:
    return [made.get("decision", made) for made in day.result["decisions"]]
