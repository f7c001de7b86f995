"""Facegate on 64-bit ARM, emulated: the kernels are right there, and a gate decides as on the build host.

Cortex-A72 is what a Raspberry Pi 4 has, Cortex-A76 what a Raspberry Pi 5 has. docs/emulation.md says what this proves.
"""

from __future__ import annotations

import json
import re
import signal
from pathlib import Path

import numpy as np
import pytest
from cores import TESTED

from facegate import verify_decision
from facegate._decision import Decision
from facegate_edge import SigningKey

HERE = Path(__file__).parent
DEVICE = SigningKey.from_seed(bytes(range(32)))
LACKING = ("fhm", "i8mm", "bf16", "sve")  # neither core has them
A76_ONLY = ("dotprod", "fp16", "rdm", "lse", "rcpc")
TOLERANCE = 1e-4
PATHS = {"cortex-a72": ["scalar", "neon"], "cortex-a76": ["scalar", "neon", "dotprod"]}

on_each_core = pytest.mark.parametrize("cpu", TESTED)
on_each_day = pytest.mark.parametrize("kind", ["rendered", "real"])
each_precision = pytest.mark.parametrize("precision", ["int8", "float32"])


@pytest.fixture(autouse=True)
def started(emulation, request):
    """The longest runs are started before the first test waits for one, if their tests are among those to run."""
    for cpu in TESTED:
        if any(item.name.startswith("test_the_kernels") for item in request.session.items):
            emulation.kernels(cpu)


@on_each_core
@each_precision
@on_each_day
def test_decisions_are_those_of_the_build_host(played, cpu, precision, kind):
    """Who is enrolled, who is matched, who is refused and why: the same, in every format of a camera."""
    device, host = played(cpu, kind, precision)
    assert _decided(device) == _decided(host)
    outcomes = {made["decision"][1] for made in device.result["decisions"] if "decision" in made}
    assert {"match", "no_match"} <= outcomes or kind == "real"


@on_each_core
@on_each_day
def test_int8_is_the_same_to_the_bit(played, cpu, kind):
    """Boxes, landmarks, quality, liveness, templates, and every tensor of every model: no bit differs."""
    device, host = played(cpu, kind, "int8")
    assert device.result["seen"] == host.result["seen"]
    assert any(face["template"] for seen in host.result["seen"] for face in seen["faces"])
    for name, array in host.arrays.items():
        np.testing.assert_array_equal(device.arrays[name], array, name)


@on_each_core
@on_each_day
def test_float_models_agree(played, cpu, kind):
    """On the same input no output of a float32 model differs by more than 1e-4 (of its largest if that exceeds 1)."""
    device, host = played(cpu, kind, "float32")
    compared = {name: name.replace("/outputs/", "/again/") for name in host.arrays if "/outputs/" in name}
    assert {name.split("/")[1] for name in compared} == {"detector", "recognizer", "liveness"}
    for name, again in compared.items():
        largest = max(1.0, float(np.abs(host.arrays[name]).max()))
        np.testing.assert_allclose(
            device.arrays[again], host.arrays[name], rtol=0, atol=TOLERANCE * largest, err_msg=name
        )


@on_each_core
@on_each_day
def test_float_templates_differ_by_rounding_alone(played, cpu, kind):
    """A float model's template is the same to one step of 127 in each place: what is rounded may fall either way."""
    device, host = played(cpu, kind, "float32")
    for ours, theirs in zip(device.result["seen"], host.result["seen"], strict=True):
        assert len(ours["faces"]) == len(theirs["faces"])
        for a, b in zip(ours["faces"], theirs["faces"], strict=True):
            assert np.abs(np.subtract(a["landmarks"], b["landmarks"])).max() < 1e-2
            assert np.abs(np.subtract(a["template"], b["template"])).max() <= 1


@on_each_core
def test_a_decision_made_there_is_signed_for_everybody(played, cpu):
    """The build host verifies what the emulated device signed."""
    device, _ = played(cpu, "rendered", "int8")
    signed = [made["jws"] for made in device.result["decisions"] if "jws" in made]
    decisions = [verify_decision(jws, DEVICE.verify_key) for jws in signed]
    assert len(decisions) >= 10
    assert all(isinstance(decision, Decision) for decision in decisions)


@on_each_core
def test_the_device_knows_what_it_is(played, cpu):
    """Machine, core, engine and the kernels' paths are those of the board."""
    result = played(cpu, "rendered", "int8")[0].result
    assert (result["machine"], result["engine"]) == ("aarch64", "litert")
    assert result["cpu"].lower() == cpu
    assert result["paths"] == PATHS[cpu]
    assert result["path"] == PATHS[cpu][-1]


@on_each_core
def test_nothing_of_the_build_host_takes_part(played, emulation, cpu):
    """What is not in the machine's root is looked for on the host: no module and no library came from there."""
    files = played(cpu, "rendered", "int8")[0].result["files"]
    ours = (emulation.site, emulation.machine.folder, HERE)
    assert [name for name in files if not any(Path(name).is_relative_to(place) for place in ours)] == []
    assert any("libLiteRt.so" in name for name in files)
    assert any(Path(name).name == "_native.abi3.so" and Path(name).is_relative_to(emulation.site) for name in files)


@each_precision
@on_each_day
def test_nothing_is_executed_that_a_raspberry_pi_4_lacks(played, kind, precision):
    """Over a whole day on a Cortex-A72 not one instruction of an extension that it lacks is executed."""
    counts = played("cortex-a72", kind, precision)[0].run.counts
    assert counts["all"] > 100_000_000
    assert {name: counts[name] for name in (*A76_ONLY, *LACKING)} == dict.fromkeys((*A76_ONLY, *LACKING), 0)


@each_precision
@on_each_day
def test_dot_products_are_executed_on_a_raspberry_pi_5(played, kind, precision):
    """On a Cortex-A76 they are, most in int8 models: a tenth of all instructions; nothing else that it lacks is."""
    counts = played("cortex-a76", kind, precision)[0].run.counts
    assert counts["dotprod"] > (0.1 * counts["all"] if precision == "int8" else 0)
    assert {name: counts[name] for name in LACKING} == dict.fromkeys(LACKING, 0)


@on_each_core
def test_the_kernels_pass_their_own_tests(emulation, cpu):
    """All tests of the kernels, on every path that the core has; those beside OpenCV are left to the build host."""
    run = emulation.kernels(cpu).result()
    assert run.returncode == 0, run.stdout[-3000:] + run.stderr[-1000:]
    passed = re.search(r"(\d+) passed", run.stdout)
    assert passed, run.stdout
    assert int(passed[1]) > 1000
    assert all("cv2" in line for line in run.stdout.splitlines() if line.startswith("SKIPPED"))
    if cpu == "cortex-a72":
        assert not any(run.counts[name] for name in (*A76_ONLY, *LACKING))
    else:
        assert run.counts["dotprod"] > 0


@on_each_core
def test_the_emulator_refuses_what_the_core_lacks(emulation, cpu):
    """Each instruction of words.json runs where its core has it, and is an illegal one where not."""
    run = emulation.python(cpu, [HERE / "illegal.py"], plugin=None)
    assert run.returncode == 0, run.stderr
    has = set(A76_ONLY) if cpu == "cortex-a76" else set()
    ends = json.loads(run.stdout)
    assert {name.split()[0] for name in ends} == {*A76_ONLY, *LACKING}
    for name, signal_number in ends.items():
        assert (signal_number == signal.SIGILL) == (name.split()[0] not in has), name


@on_each_core
def test_a_wrong_choice_of_path_would_be_seen(emulation, cpu):
    """The kernels, told that the core had dot products, die on a Cortex-A72 as they would on the board."""
    run = emulation.python(cpu, [HERE / "force_dotprod.py"])
    assert run.returncode == (-signal.SIGILL if cpu == "cortex-a72" else 0), run.stderr
    assert "forced" in run.stdout


@on_each_core
def test_a_child_process_stays_on_the_core(emulation, cpu):
    """What a program starts as `sys.executable` runs on the same core, without the kernel knowing ARM programs."""
    code = "import subprocess, sys; print(subprocess.run([sys.executable, '-c', sys.argv[1]], check=True))"
    child = "import platform; print(platform.machine(), open('/proc/cpuinfo').read())"
    run = emulation.python(cpu, ["-c", code, child])
    assert run.returncode == 0, run.stderr
    assert run.stdout.startswith("aarch64 ")
    assert {"cortex-a72": "0xd08", "cortex-a76": "0xd0b"}[cpu] in run.stdout


def _decided(day) -> list[object]:
    return [made.get("decision", made) for made in day.result["decisions"]]
