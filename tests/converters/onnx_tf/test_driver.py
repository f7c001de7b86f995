"""The other process: what it is given, what its answers mean, and that nothing of it stays."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from importlib.util import find_spec
from pathlib import Path

import pytest

from facegate_convert._onnx_tf import _driver
from facegate_convert._onnx_tf._driver import PYTHON, ask, find_python
from facegate_convert._source import WAYS, float_model
from facegate_convert.errors import ViaError, ViaMissingError

from .. import tiny_onnx  # noqa: TID252

PLAN = {"input": "t_in"}


@pytest.fixture
def temporary(tmp_path, monkeypatch):
    """The folder of temporary files while a test runs."""
    folder = tmp_path / "temporary"
    folder.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(folder))
    return folder


def reason(fake_path, model=b"model"):
    """What the error says that a program's answer becomes."""
    with pytest.raises(ViaError) as caught:
        ask(str(fake_path), PLAN, model)
    assert "--via" in caught.value.hint
    return str(caught.value)


def test_what_the_worker_gives_is_the_model(fake, source_of):
    """A flatbuffer in the answer is the way's result; the worker got a line of plan and an ONNX model behind it."""
    fake("data = os.read(int(given), 1 << 22)\nsay(b'\\x1c\\0\\0\\0TFL3' + data, 0)")
    made = float_model(source_of(tiny_onnx.detector((1, 4, 10), anchors=2, maps=True, sigmoid=False)))
    plan, model = made[8:].split(b"\n", 1)
    assert b'"name": "score_8"' in plan
    assert b'"activation": "sigmoid"' in plan
    assert b"Conv" in model
    assert made.startswith(b"\x1c\0\0\0TFL3")


def test_a_refusal_is_the_reason_in_one_plain_line(fake):
    """What onnx-tf said is told without folders of the machine, colors, line breaks, or length."""
    path = fake("say('KeyError: \\x1b[31m in /home/somebody/lib/onnx_tf/backend.py\\n' + 'very ' * 500 + 'last', 3)")
    said = reason(path)
    assert said.endswith("very last")
    assert said.isprintable()
    assert len(said) < 400
    path = fake("say('KeyError: in /home/somebody/lib/onnx_tf/backend.py', 3)")
    assert reason(path) == "onnx-tf cannot convert this model: KeyError: in backend.py"


def test_a_refusal_without_a_reason_says_so(fake):
    """An exit code of refusal and nothing more."""
    assert reason(fake("sys.exit(3)")).endswith("no reason given")


def test_a_package_that_is_missing_is_a_missing_environment(fake):
    """Then the environment is wrong, not the model: exit code 5, and how to make one."""
    with pytest.raises(ViaMissingError, match="lacks the package onnx_tf") as caught:
        ask(str(fake("say('onnx_tf', 4)")), PLAN, b"")
    assert "pip install" in caught.value.hint
    assert caught.value.exit_code == 5


@pytest.mark.skipif(find_spec("tensorflow") is not None, reason="this Python has TensorFlow")
def test_the_real_worker_tells_what_it_misses(monkeypatch, source_of):
    """An environment without TensorFlow, here the one of the tests, is named as what it is."""
    monkeypatch.setenv(PYTHON, sys.executable)
    with pytest.raises(ViaMissingError, match="lacks the package tensorflow"):
        float_model(source_of(tiny_onnx.detector((1, 4, 10))))


@pytest.mark.parametrize("number", [signal.SIGSEGV, signal.SIGKILL])
def test_a_crash_names_its_signal(fake, number):
    """TensorFlow that crashes, or that the kernel ends for memory, is an error like others."""
    said = reason(fake(f"os.kill(os.getpid(), {int(number)})"))
    assert number.name in said
    assert ("memory" in said) == (number is signal.SIGKILL)


def test_any_other_end_tells_the_last_thing_said(fake):
    """A Python that is too old, or broken, tells on stderr what is wrong."""
    said = reason(fake("sys.stderr.write('x' * 200_000 + '\\n\\nSyntaxError: invalid syntax\\n'); sys.exit(1)"))
    assert said == "onnx-tf ended with exit code 1: SyntaxError: invalid syntax"
    assert reason(fake("sys.exit(1)")).endswith("nothing said")


@pytest.mark.parametrize("answer", ["b''", "b'TFL3'", "b'not a model at all'"])
def test_an_answer_that_is_no_model_is_refused(fake, answer):
    """Exit code 0 proves nothing."""
    assert "no TFLite model" in reason(fake(f"say({answer}, 0)"))


def test_too_long_is_an_error_and_ends_everything(fake, monkeypatch, tmp_path):
    """After its time the worker ends, with what it has started."""
    monkeypatch.setattr(_driver, "SECONDS", 1)
    pids = tmp_path / "pids"
    path = fake(
        "child = subprocess.Popen(['sleep', '60'])\n"
        f"open({str(pids)!r}, 'w').write(f'{{os.getpid()}} {{child.pid}}')\n"
        "time.sleep(60)"
    )
    assert "more than" in reason(path)
    gone(pids)


def gone(pids):
    """Wait until the processes whose numbers a file holds have ended."""
    for pid in map(int, pids.read_text().split()):
        for _ in range(100):
            try:
                # A zombie without a parent that reaps it has ended, too.
                if Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] == "Z":
                    break
            except OSError:
                break
            time.sleep(0.05)
        else:
            pytest.fail(f"process {pid} still runs")


def test_files_have_no_name_and_nothing_is_left(fake, temporary):
    """The model passes through files that nobody else can open and that are gone with the last process."""
    path = fake(
        "facts = [(oct(os.fstat(int(n)).st_mode & 0o777), os.fstat(int(n)).st_nlink) for n in (given, answer)]\n"
        f"say(str(facts) + str(os.listdir({str(temporary)!r})), 3)"
    )
    assert reason(path).endswith("[('0o600', 0), ('0o600', 0)][]")
    assert not list(temporary.iterdir())


def test_nothing_of_this_python_or_of_facegate_reaches_the_worker(fake, monkeypatch):
    """Paths of one Python break another, and a credential in the environment is nobody else's business."""
    for name in ("PYTHONPATH", "PYTHONHOME", "PYTHONSTARTUP", "VIRTUAL_ENV", "FACEGATE_ENDPOINT_TOKEN"):
        monkeypatch.setenv(name, "secret")
    monkeypatch.setenv("LANG", "C.UTF-8")
    path = fake("say(' '.join(k for k, v in os.environ.items() if v == 'secret' or k == 'LANG'), 3)")
    # The program itself must start: it is run by this Python, which needs none of them.
    assert reason(path).endswith(": LANG")
    assert reason(fake("say(isolated, 3)")).endswith(": -I")


@pytest.mark.parametrize("named", ["/nowhere/python", "/", "no-such-program-anywhere"])
def test_a_name_that_leads_nowhere_is_told(monkeypatch, named):
    """The variable names no program: exit code 5."""
    monkeypatch.setenv(PYTHON, named)
    with pytest.raises(ViaMissingError, match=PYTHON):
        find_python()


def test_a_program_is_found_by_its_path_or_by_its_name(monkeypatch, fake, tmp_path):
    """As in a shell."""
    path = fake("")
    assert find_python() == str(path)
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setenv(PYTHON, path.name)
    assert find_python() == str(path)


@pytest.mark.skipif(find_spec("onnx_tf") is not None, reason="this Python has onnx-tf")
@pytest.mark.parametrize("named", [None, ""])
def test_without_an_environment_it_is_told_how_to_make_one(monkeypatch, named):
    """Nothing named, and not installed here."""
    monkeypatch.delenv(PYTHON, raising=False)
    if named is not None:
        monkeypatch.setenv(PYTHON, named)
    with pytest.raises(ViaMissingError, match="not installed") as caught:
        find_python()
    assert PYTHON in caught.value.hint


def test_a_file_that_cannot_be_run_is_told(tmp_path):
    """It may be executable and still be no program of this machine."""
    path = tmp_path / "python"
    path.write_bytes(b"\x7fELF and nothing more")
    path.chmod(0o700)
    with pytest.raises(ViaMissingError, match="cannot be run"):
        ask(str(path), PLAN, b"")


@pytest.mark.parametrize("precision", ["int8", "mixed", "auto"])
def test_precisions_that_would_not_be_its_own_are_refused(fake, source_of, precision):
    """int8 quantises the graph as Facegate lowers it: to call that onnx-tf's would be a lie."""
    fake("say('must not be asked', 3)")
    with pytest.raises(ViaError, match=f"--precision {precision}") as caught:
        float_model(source_of(tiny_onnx.detector((1, 4, 10)), precision=precision))
    assert "float16" in caught.value.hint


def test_it_is_one_of_the_ways():
    """What the command offers is what there is."""
    from facegate_convert.cli._common import WAYS as OFFERED  # noqa: PLC0415

    assert tuple(WAYS) == OFFERED


def started(tmp_path, pids):
    """`facegate convert --via onnx-tf` in a process of its own, whose worker has begun."""
    model = tmp_path / "detector.onnx"
    model.write_bytes(tiny_onnx.detector((1, 4, 10)))
    command = [sys.executable, "-m", "facegate", "convert", str(model), "--via", "onnx-tf", "-o", "out.fgb"]
    # Tests that were started in the background of a shell ignore interrupts; a command at a terminal does not.
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        process = subprocess.Popen(  # noqa: S603 - our own command
            command, cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )
    finally:
        signal.signal(signal.SIGINT, before)
    for _ in range(600):
        if pids.is_file() and pids.read_text():
            return process
        if process.poll() is not None:
            pytest.fail(process.communicate()[1])
        time.sleep(0.05)
    process.kill()
    return pytest.fail("the worker did not begin")


def waiting(pids):
    """A program that tells its number and that of a child of its, and waits."""
    return (
        "child = subprocess.Popen(['sleep', '60'])\n"
        f"open({str(pids) + '.new'!r}, 'w').write(f'{{os.getpid()}} {{child.pid}}')\n"
        f"os.rename({str(pids) + '.new'!r}, {str(pids)!r})\n"
        "time.sleep(60)"
    )


def test_an_interrupt_ends_the_worker(fake, tmp_path):
    """Ctrl-C ends the command with 130, the worker and its children; no output is left."""
    pids = tmp_path / "pids"
    fake(waiting(pids))
    process = started(tmp_path, pids)
    process.send_signal(signal.SIGINT)
    _, said = process.communicate(timeout=30)
    assert process.returncode == 130
    assert "Traceback" not in said
    gone(pids)
    assert not (tmp_path / "out.fgb").exists()


def test_a_worker_does_not_outlive_who_asked_it(fake, tmp_path):
    """A command that is killed can end nobody: the worker sees to it itself."""
    pids = tmp_path / "pids"
    fake(
        "import importlib.util\n"
        "spec = importlib.util.spec_from_file_location('worker', worker)\n"
        "real = importlib.util.module_from_spec(spec)\n"
        "spec.loader.exec_module(real)\n"
        "def convert(source, plan):\n"
        f"    open({str(pids)!r}, 'w').write(str(os.getpid()))\n"
        "    time.sleep(60)\n"
        "real.convert = convert\n"
        "sys.exit(real.main(sys.argv[3:]))"
    )
    process = started(tmp_path, pids)
    os.kill(process.pid, signal.SIGKILL)
    process.communicate(timeout=30)
    gone(pids)
