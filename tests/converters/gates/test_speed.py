"""The gates of speed, instructions and pieces: no time is measured here, the clock's answers are given."""

from __future__ import annotations

import json
import stat
import sys

import numpy as np
import pytest

from facegate_convert import _anatomy, _profile
from facegate_convert._gates import _speed
from facegate_convert._gates._pieces import partition_gate
from facegate_convert._gates._speed import instruction_gate, limit_for, ratio_of, speed_gate
from facegate_edge import targets

from . import damage


def clock(factor, noise=0.0, seed=1, rounds=200, bursts=0.0):
    """A machine on which the model takes `factor` times the time of float32, with noise and bursts of other work."""
    random = np.random.default_rng(seed)
    asked = []

    def time(models, *, threads, seconds):
        asked.append((tuple(models), threads, seconds))
        base, other = models
        load = 1 + noise * random.random(rounds) + 4 * (random.random(rounds) < bursts)
        jitter = 1 + noise * random.random((2, rounds))
        return {base: (load * jitter[0]).tolist(), other: (factor * load * jitter[1]).tolist()}

    time.asked = asked
    return time


def gate(time, precision="int8", target="generic", *, here=False, **options):
    """The speed gate with a clock of ours."""
    return speed_gate(b"", b"", precision, targets()[target], threads=1, here=here, time=time, **options)


@pytest.mark.parametrize("factor", [0.3, 1.0, 2.4])
@pytest.mark.parametrize("seed", range(5))
def test_a_machine_under_load_refuses_no_good_model(factor, seed):
    """Half of the time twice as slow, one run in ten five times: the ratio of neighbours stays what it is."""
    found = gate(clock(factor, noise=1.0, bursts=0.1, seed=seed))
    assert found.status in ("passed", "unsure")
    assert found.value == pytest.approx(factor, rel=0.1)


@pytest.mark.parametrize("factor", [2.9, 5.0, 7.5])
def test_a_model_in_pieces_is_refused_in_the_same_noise(factor):
    """What a broken model loses is far more than noise; it is measured three times before it is refused."""
    time = clock(factor, noise=1.0, bursts=0.1)
    found = gate(time)
    assert (found.status, found.option) == ("failed", "--allow-slower")
    assert len(time.asked) == 3
    assert all(names == ("float32", "int8") for names, _, _ in time.asked)


def test_a_bad_second_is_measured_again():
    """The first measurement says five times, the second once: the better one counts."""
    answers = iter([clock(5.0), clock(1.0)])

    def time(models, **given):
        return next(answers)(models, **given)

    assert gate(time).value == pytest.approx(1.0)


def test_what_was_measured_already_is_not_measured_again():
    """The report's latency and the gate share one measurement."""
    time = clock(9.0)
    first = clock(1.5)({"float32": b"", "int8": b""}, threads=1, seconds=1.0)
    assert gate(time, first=first).value == pytest.approx(1.5)
    assert time.asked == []


@pytest.mark.parametrize(
    ("target", "precision", "here", "limit", "word"),
    [
        ("generic", "int8", False, 2.5, "buys size"),
        ("rpi4", "int8", False, 2.5, ""),
        ("rpi5", "int8", False, 2.5, "this machine is no Raspberry Pi 5"),
        ("rpi5", "int8", True, 1.15, "expected to be faster"),
        ("rpi5", "float16", True, 2.5, ""),
    ],
)
def test_the_profile_sets_the_limit(target, precision, here, limit, word):
    """Strict only where the profile expects a gain in time and this machine is of that kind."""
    profile = targets()[target]
    if "time" not in profile.gains.get(precision, ()):
        limit = 2.5
    assert limit_for(precision, profile, here=here)[0] == limit
    assert word in limit_for(precision, profile, here=here)[1]


@pytest.mark.parametrize(
    ("base", "other", "median", "low", "high"),
    [
        ([1.0] * 6, [1, 2, 3, 4, 5, 6], 4, 1, 6),
        ([2.0] * 20, [2 * n for n in range(1, 21)], 11, 6, 15),
        ([1.0] * 3, [1, 2, 3], 2, 0, float("inf")),
    ],
)
def test_the_interval_of_a_median_is_the_sign_test_s(base, other, median, low, high):
    """Order statistics by hand: of 6 values the extremes, of 20 the 6th and the 15th, of 3 nothing."""
    found = ratio_of(base, other)
    assert (found.median, found.low, found.high) == (median, low, high)


@pytest.fixture
def counter(tmp_path, monkeypatch):
    """A function: answers by file name -> a program that counts so many instructions, named in the environment."""

    def make(body):
        program = tmp_path / "count.py"
        program.write_text(f"#!{sys.executable}\nimport json, sys\ntarget, model = sys.argv[1:]\n{body}\n")
        program.chmod(program.stat().st_mode | stat.S_IXUSR)
        monkeypatch.setenv(_speed.COUNTER, str(program))

    return make


@pytest.mark.parametrize(
    ("counts", "status"),
    [({"float32": 1000, "int8": 900}, "passed"), ({"float32": 1000, "int8": 4000}, "failed")],
)
def test_instructions_are_counted_by_the_program_that_the_environment_names(counter, counts, status):
    """It gets the target and a file, and says how many instructions a run takes."""
    counter(
        f"counts = {json.dumps(counts)}\nassert target == 'rpi5'\nassert open(model, 'rb').read() == b'model'\n"
        "print(json.dumps({'instructions': counts[model.split('/')[-1].split('.')[0]]}))"
    )
    found = instruction_gate(b"model", b"model", "int8", targets()["rpi5"])
    assert (found.status, found.value) == (status, counts["int8"] / counts["float32"])


@pytest.mark.parametrize(
    "body", ["sys.exit(1)", "print('many')", "print('[1]')", "print('{\"instructions\": true}')", "print('{}')"]
)
def test_a_counter_that_fails_is_said(counter, body):
    """Exit code, no JSON, no count: the gate was not run, and says so."""
    counter(body)
    found = instruction_gate(b"model", b"model", "int8", targets()["rpi5"])
    assert found.status == "not run"
    assert "failed" in found.why


def test_without_a_counter_no_instructions_are_claimed(monkeypatch):
    """Nothing is made up: not run, with the variable's name; the same for a program that is not there."""
    monkeypatch.delenv(_speed.COUNTER, raising=False)
    assert _speed.COUNTER in instruction_gate(b"", b"", "int8", targets()["rpi4"]).why
    monkeypatch.setenv(_speed.COUNTER, "/nowhere/count")
    assert instruction_gate(b"", b"", "int8", targets()["rpi4"]).status == "not run"


def test_an_operator_that_xnnpack_does_not_have_is_refused(court):
    """The good model is one piece; with six foreign operators in it, they stay outside, and that is refused."""
    model = court("detector").model
    good, bad = _anatomy.of_model(model), _anatomy.of_model(damage.in_pieces(model))
    assert (good.partitions, good.outside) == (1, {})
    assert bad.outside == {"LOG_SOFTMAX": good.operators["LOGISTIC"]}
    assert partition_gate(good, good).status == "passed"
    found = partition_gate(good, bad)
    assert (found.status, found.option) == ("failed", "--allow-partitions")
    assert "LOG_SOFTMAX" in found.why


def test_one_piece_more_is_refused():
    """Also where every operator is inside of one."""
    one, two = (_anatomy.Anatomy({"ADD": 2}, (), n, {}) for n in (1, 2))
    assert partition_gate(one, two).status == "failed"
    assert partition_gate(two, two).status == partition_gate(two, one).status == "passed"


def test_a_model_that_xnnpack_takes_nothing_of_is_refused():
    """No piece at all is not fewer pieces."""
    good = _anatomy.Anatomy({"ADD": 2}, (), 1, {})
    assert partition_gate(good, _anatomy.Anatomy({"ADD": 2}, (), 0, {"ADD": 2})).status == "failed"
    assert partition_gate(_anatomy.Anatomy({"ADD": 2}, (), 0, {"ADD": 2}), good).status == "passed"


def test_the_way_through_a_model_is_shown(court):
    """Operators of the ONNX graph and of the model, and the longest way from input to output."""
    room = court("recognizer")
    before, after = _anatomy.of_graph(room.source.raw), _anatomy.of_model(room.model)
    assert before.operators["Conv"] == after.operators["CONV_2D"] + after.operators["DEPTHWISE_CONV_2D"]
    assert before.flow[-1][0] in ("Gemm", "Flatten", "Reshape")
    assert sum(count for _, count, _ in after.flow) <= sum(after.operators.values())
    assert after.to_dict()["nodes"] == sum(after.operators.values())


def test_time_by_operator_names_what_runs(court, int8):
    """LiteRT's profiler looks into XNNPACK: convolutions of both precisions, none left out, nothing negative."""
    rows = _profile.by_operator(court("recognizer").model, int8("recognizer").model)
    kinds = {row["operator"] for row in rows}
    assert any("Convolution" in kind for kind in kinds)
    assert all(row["ms"] is None or row["ms"] >= 0 for row in rows)
    assert all((row["ms"] is None) == (row["count"] == 0) for row in rows)
    assert [row["ms"] or 0 for row in rows] == sorted((row["ms"] or 0 for row in rows), reverse=True)


def test_no_profile_with_a_library_that_is_not_known(court, monkeypatch):
    """The profiler's interface is that of one version: with another there is none, and the report says so."""
    monkeypatch.setattr(_profile, "_VERSION", "9.9.")
    with pytest.raises(_profile.MeasureError, match="not known"):
        _profile.by_operator(court("recognizer").model, court("recognizer").model)
