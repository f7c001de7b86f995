"""Instruction budgets: what is judged how, and that kernels and models keep to theirs on emulated cores."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
from pathlib import Path

import budgets
import pytest
from cores import CORES
from counting import ROOT, WHEELS, count_kernels, find_wheel, kernels_digest, unpacked
from errors import MachineError
from playing import leave_out

BUDGETS = budgets.load(budgets.BUDGETS)["budgets"]
COUNTER = Path(__file__).parents[1] / "benchmarks/count_instructions.py"


@pytest.mark.parametrize(
    ("counted", "budget", "verdict"),
    [
        (None, None, budgets.UNCOUNTED),
        (None, 100, budgets.UNCOUNTED),
        (1000, None, budgets.NEW),
        (1000, 1000, budgets.WITHIN),
        (1020, 1000, budgets.WITHIN),
        (1021, 1000, budgets.OVER),
        (980, 1000, budgets.WITHIN),
        (979, 1000, budgets.CHEAPER),
    ],
)
def test_an_entry_is_judged_by_its_budget_and_the_tolerance(counted, budget, verdict):
    """Two percent more is over it, two percent less is worth a lower budget; without one, or uncounted, it is said."""
    counts = budgets.Counts({} if counted is None else {"x": counted}, {"x": "no model"} if counted is None else {})
    (row,) = budgets.judge(counts, {} if budget is None else {"x": budget}, 2.0)
    assert row.verdict == verdict


def test_a_budget_of_nothing_is_found():
    """A kernel that was removed or renamed keeps no budget by accident."""
    (row,) = budgets.judge(budgets.Counts({}, {}), {"cortex-a72/kernel/old": 5}, 2.0)
    assert row.verdict == budgets.GONE
    assert "do not exist any more" in budgets.summary([row], 2.0)


def test_an_uncounted_model_is_named_with_the_reason():
    """Never silently: its line says why, and the last lines say how many."""
    rows = budgets.judge(budgets.Counts({}, {"cortex-a72/model/real/x/int8": "x.onnx is not there"}), {}, 2.0)
    assert "not counted: x.onnx is not there" in budgets.shown(rows)
    assert "1 not counted" in budgets.summary(rows, 2.0)


def test_update_writes_sorted_lines_and_keeps_what_could_not_be_counted(tmp_path):
    """A host without the real models does not throw their budgets away."""
    path, by = tmp_path / "budgets.json", {"qemu": "7.2"}
    budgets.save(path, {"b": 2, "a": 1, "gone": 3}, by)
    budgets.update(path, budgets.Counts({"c": 4, "a": 5}, {"b": "not there"}), by, "*")
    assert budgets.load(path)["budgets"] == {"a": 5, "b": 2, "c": 4}
    lines = [line.strip() for line in path.read_text(encoding="utf-8").splitlines()]
    assert [line for line in lines if line[:3] in ('"a"', '"b"', '"c"')] == ['"a": 5,', '"b": 2,', '"c": 4']


def test_update_of_a_part_leaves_the_rest_and_refuses_to_mix_versions(tmp_path):
    """Budgets by two emulators in one file would mean nothing."""
    path = tmp_path / "budgets.json"
    budgets.save(path, {"a/x": 1, "b/x": 2}, {"qemu": "7.2"})
    budgets.update(path, budgets.Counts({"a/x": 9}, {}), {"qemu": "7.2"}, "a/*")
    assert budgets.load(path)["budgets"] == {"a/x": 9, "b/x": 2}
    with pytest.raises(MachineError, match=r"qemu 7\.2, not by qemu 10"):
        budgets.update(path, budgets.Counts({"a/x": 9}, {}), {"qemu": "10"}, "a/*")
    assert budgets.load(path)["versions"] == {"qemu": "7.2"}


def test_the_page_tells_the_budgets():
    """The tables of docs/kernels.md have the figures of budgets.json, and ratios of what stands beside them."""
    kernels = models = 0
    for line in (ROOT / "docs/kernels.md").read_text(encoding="utf-8").splitlines():
        name, *cells = (cell.strip() for cell in line.strip("|").split("|"))
        figures = [float(cell.split()[0].replace(",", "")) for cell in cells if cell[:1].isdigit()]
        if f"cortex-a72/kernel/{name}" in BUDGETS and len(cells) == 6:
            kernels += 1
            told = dict(
                zip(("cortex-a72", "cortex-a76", "cortex-a7"), (figures[1], figures[3], figures[4]), strict=True)
            )
            assert told == {cpu: BUDGETS[f"{cpu}/kernel/{name}"] for cpu in told}, name
            for before, after in ((0, 1), (2, 3)):
                assert f"({figures[after] / figures[before]:.2f})" in cells[after], name
        elif f"cortex-a72/model/{name}/int8" in BUDGETS:
            models += 1
            keys = [f"{cpu}/model/{name}/{kind}" for cpu in budgets.MODEL_CORES for kind in ("float32", "int8")]
            assert cells == [f"{BUDGETS[key] / 1e6:.1f}" for key in keys], name
    assert (kernels, models) == (40, 8)


@pytest.mark.parametrize(
    ("only", "head", "matches"),
    [
        ("*", "cortex-a72/kernel/", True),
        ("*/kernel/warp/*", "cortex-a72/kernel/", True),
        ("cortex-a72/kernel/nms/64", "cortex-a72/kernel/", True),
        ("cortex-a76/*", "cortex-a72/kernel/", False),
        ("cortex-a72/model/*", "cortex-a72/kernel/", False),
    ],
)
def test_cores_that_no_pattern_asks_for_are_not_run(only, head, matches):
    """A pattern leaves out what it cannot match."""
    assert budgets.could_match(only, head) is matches


@pytest.mark.parametrize("arguments", [[], ["lower"], ["check", "--tolerance", "-1"], ["check", "--tolerance", "x"]])
def test_a_wrong_command_line_is_a_usage_error(arguments, capsys):
    """Exit code 2 and the usage."""
    with pytest.raises(SystemExit) as stopped:
        budgets.main(arguments)
    assert stopped.value.code == 2
    assert "usage:" in capsys.readouterr().err


def test_without_a_machine_it_says_how_to_make_one(tmp_path, monkeypatch, capsys):
    """Exit code 5: nothing was compared."""
    monkeypatch.setenv("FACEGATE_ARM", str(tmp_path / "nowhere"))
    assert budgets.main(["check"]) == 5
    assert "make arm" in capsys.readouterr().err


@pytest.mark.usefixtures("machine")
def test_without_a_wheel_it_says_how_to_make_one(tmp_path, capsys):
    """What is not built as it is shipped is not counted."""
    assert budgets.main(["check", "--only", "cortex-a72/kernel/*", "--wheels", str(tmp_path)]) == 5
    assert "make wheels" in capsys.readouterr().err


@pytest.fixture
def made_wheel(tmp_path):
    """A function: what its record says beside its sum -> a wheel for aarch64."""

    def make(content: bytes = b"a wheel", **said: str) -> Path:
        wheel = tmp_path / "facegate-0-cp310-abi3-manylinux_2_28_aarch64.whl"
        wheel.write_bytes(content)
        record = {"sha256": hashlib.sha256(b"a wheel").hexdigest(), **said}
        wheel.with_name(f"{wheel.name}.json").write_text(json.dumps(record))
        return wheel

    return make


def test_a_wheel_of_these_kernels_is_taken_whatever_its_time(made_wheel, tmp_path):
    """A checkout makes every file of a repository new, and no wheel wrong."""
    wheel = made_wheel(kernels=kernels_digest(ROOT))
    os.utime(wheel, (0, 0))
    assert find_wheel("aarch64", tmp_path) == wheel


@pytest.mark.parametrize(
    ("content", "said", "why"),
    [
        (b"a wheel", {"kernels": "0" * 64}, "other kernels"),
        (b"a wheel", {}, "other kernels"),
        (b"another", {"kernels": kernels_digest(ROOT)}, "nothing says"),
    ],
)
def test_a_wheel_of_other_kernels_is_refused(made_wheel, tmp_path, content, said, why):
    """Counts and results of yesterday's kernels would pass for today's, however new the file."""
    made_wheel(content, **said)
    with pytest.raises(MachineError, match=why) as refused:
        find_wheel("aarch64", tmp_path)
    assert refused.value.hint == "make wheels TARGETS=aarch64"


def test_two_wheels_are_none(made_wheel, tmp_path):
    """Which of them is shipped nobody can say."""
    wheel = made_wheel(kernels=kernels_digest(ROOT))
    wheel.with_name(wheel.name.replace("-0-", "-1-")).touch()
    with pytest.raises(MachineError, match="2 wheels"):
        find_wheel("aarch64", tmp_path)


def test_the_counter_of_the_gate_knows_its_targets(tmp_path):
    """An unknown target and a missing file end with a sentence, not with a traceback."""
    for arguments, code, said in (
        (["toaster", "x"], 2, "rpi4"),
        (["rpi4", str(tmp_path / "none.tflite")], 3, "no file"),
        ([], 2, "usage"),
    ):
        command = [sys.executable, COUNTER, *arguments]
        done = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603 - our own program
        assert (done.returncode, said in done.stderr, "Traceback" in done.stderr) == (code, True, False)


def wheel_of(cpu: str) -> Path:
    """The wheel that is shipped; skips where it is not built."""
    try:
        return find_wheel(WHEELS[CORES[cpu].arch], budgets.WHEELHOUSE)
    except MachineError as error:
        leave_out(f"{error}: {error.hint}")
        raise


def test_counts_repeat_to_a_thousandth(machine):
    """The same kernels, counted twice in processes of their own."""
    with unpacked(wheel_of("cortex-a72")) as site:
        first, second = (count_kernels(machine, "cortex-a72", site, ["gallery/*", "warp/nv12-int8"]) for _ in range(2))
    assert {name: pytest.approx(n, rel=1e-3) for name, n in first.items()} == second


@pytest.mark.usefixtures("machine")
@pytest.mark.parametrize("cpu", budgets.KERNEL_CORES)
def test_kernels_keep_to_their_budgets(cpu, capsys):
    """Every kernel of the wheel that is shipped, on each core; exit code 1 if one takes two percent more."""
    wheel_of(cpu)
    assert budgets.main(["check", "--only", f"{cpu}/kernel/*"]) == 0, capsys.readouterr().out


@pytest.mark.usefixtures("machine")
@pytest.mark.parametrize("cpu", budgets.MODEL_CORES)
def test_reference_models_keep_to_their_budgets(cpu, capsys):
    """The project's detector, recogniser and liveness model, int8 as shipped."""
    assert budgets.main(["check", "--only", f"{cpu}/model/reference/*/int8"]) == 0, capsys.readouterr().out


@pytest.mark.usefixtures("machine")
def test_a_kernel_over_its_budget_fails_the_check(tmp_path, capsys):
    """A budget a twentieth below what the kernel takes: the table marks it, and the exit code is 1."""
    wheel_of("cortex-a76")
    name, path = "cortex-a76/kernel/gallery/search-10000", tmp_path / "budgets.json"
    budgets.save(path, {name: round(BUDGETS[name] / 1.05)}, {})
    assert budgets.main(["check", "--only", name, "--file", str(path), "--json"]) == 1
    report = json.loads(capsys.readouterr().out)
    assert not report["passed"]
    assert [(row["name"], row["verdict"]) for row in report["rows"]] == [(name, budgets.OVER)]
