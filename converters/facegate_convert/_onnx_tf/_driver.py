"""`--via onnx-tf`: the model is repaired here, and converted in an environment where onnx-tf runs.

onnx-tf ended in 2022. What it runs with cannot be installed beside the converter (docs/adr/0031), so it runs as another
process, of another Python. Its result is held against the source like that of our own lowering.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
from importlib.util import find_spec
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from facegate_convert._onnx_tf._repair import OWN, repaired, serialized, simplified
from facegate_convert._onnx_tf.worker import MISSING, REFUSED
from facegate_convert.errors import ViaError, ViaMissingError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from facegate_convert._source import Source

PYTHON = "FACEGATE_ONNX_TF_PYTHON"
SECONDS = 900
# What the quantizer makes of the float32 model itself. The others quantise the graph, lowered by Facegate.
PRECISIONS = ("float32", "float16", "dynamic")
_MAX_SAID = 300
_TAIL = 1 << 16
_KIND = slice(4, 8)  # where a flatbuffer says what it is
_HOW = (
    f"make an environment for it: python3.11 -m venv onnx-tf && onnx-tf/bin/pip install 'facegate[onnx-tf]', and say "
    f"{PYTHON}=onnx-tf/bin/python"
)


def find_python() -> str:
    """The Python that has onnx-tf: the one that the environment names, else this one.

    Raises:
        ViaMissingError: neither has it.
    """
    named = os.environ.get(PYTHON)
    if named:
        program = shutil.which(named)
        if program is None:
            raise ViaMissingError(f"{PYTHON} names no program that can be run", hint=_HOW)
        return program
    if find_spec("onnx_tf") is None:
        raise ViaMissingError("onnx-tf is not installed", hint=_HOW)
    return sys.executable


def convert_via_onnx_tf(source: Source) -> bytes:
    """The float32 TFLite model that onnx-tf and TensorFlow's own converter make of a source.

    Raises:
        ViaMissingError: there is no Python that has onnx-tf.
        ViaError: it refused the model, failed, or took more than a quarter of an hour; or the precision asked for is
            not made of a float32 model.
    """
    if source.options.precision not in PRECISIONS:
        raise ViaError(
            f"--precision {source.options.precision} quantises the graph as Facegate lowers it, not what onnx-tf makes",
            hint=f"leave out --via, or choose one of {', '.join(PRECISIONS)}",
        )
    python = find_python()
    sketch = source.match.sketch
    model = simplified(source)
    before = [value.name for value in model.graph.output]
    model = repaired(model, (sketch.width, sketch.height), channels_first=sketch.channels_first)
    renamed = dict(zip(before, (value.name for value in model.graph.output), strict=True))
    shapes = {output.name: output.shape for output in sketch.outputs}
    plan = {
        "input": model.graph.input[0].name,
        "shape": (1, sketch.height, sketch.width, 3),
        "channels_first": sketch.channels_first,
        "outputs": [
            {
                "source": renamed[output.source],
                "name": output.name,
                "shape": shapes[output.source],
                "rows": output.rows,
                "activation": output.activation,
            }
            for output in source.match.outputs
        ],
    }
    return ask(python, plan, serialized(model))


def ask(python: str, plan: Mapping[str, Any], model: bytes) -> bytes:
    """What the worker makes of a model, in a process of its own.

    All that passes between the two lies in files without a name (mode 0600): nothing can be read by others, and nothing
    is left behind, however this ends. An interrupt here ends the worker and whatever it has started.

    Raises:
        ViaMissingError: that Python cannot be run, or lacks a package.
        ViaError: the worker refused the model, failed or took too long.
    """
    with tempfile.TemporaryFile() as given, tempfile.TemporaryFile() as answer, tempfile.TemporaryFile() as said:
        given.write(json.dumps(plan).encode() + b"\n" + model)
        given.seek(0)
        files = (given.fileno(), answer.fileno())
        worker = Path(__file__).with_name("worker.py")
        try:
            process = subprocess.Popen(  # noqa: S603 - the program that the user named, and a file of ours
                [python, "-I", str(worker), *map(str, files)],
                env=environment(os.environ),
                pass_fds=files,
                stdin=subprocess.DEVNULL,
                stdout=said,
                stderr=said,
                start_new_session=True,
            )
        except OSError as error:
            raise ViaMissingError(f"onnx-tf's Python cannot be run: {error.strerror}", hint=_HOW) from error
        try:
            code = process.wait(SECONDS)
        except subprocess.TimeoutExpired as error:
            raise ViaError(f"onnx-tf took more than {SECONDS // 60} minutes", hint=OWN) from error
        finally:
            _end(process)
        answer.seek(0)
        if code:
            raise _failure(code, answer.read(_TAIL), said)
        made: bytes = answer.read()
    if made[_KIND] != b"TFL3":
        raise ViaError("onnx-tf's Python ended well, but gave no TFLite model", hint=OWN)
    return made


def environment(mine: Mapping[str, str]) -> dict[str, str]:
    """The worker's environment: nothing of this Python's paths, and nothing that Facegate was told (secrets, too)."""
    return {
        name: value
        for name, value in mine.items()
        if not name.startswith(("PYTHON", "FACEGATE_", "VIRTUAL_ENV", "__PYVENV"))
    }


def _end(process: subprocess.Popen[bytes]) -> None:
    """End the worker and everything in its session; nothing if it has ended."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def _failure(code: int, answer: bytes, said: IO[bytes]) -> ViaError | ViaMissingError:
    reason = _plain(answer.decode(errors="replace"))
    if code == MISSING:
        return ViaMissingError(f"onnx-tf's Python lacks the package {reason or '(not named)'}", hint=_HOW)
    if code == REFUSED:
        return ViaError(f"onnx-tf cannot convert this model: {reason or 'no reason given'}", hint=OWN)
    if code < 0:
        name = signal.Signals(-code).name if -code in set(signal.Signals) else f"signal {-code}"
        memory = "; the machine may be short of memory" if -code == signal.SIGKILL else ""
        return ViaError(f"onnx-tf was ended by {name}{memory}", hint=OWN)
    said.seek(max(said.seek(0, os.SEEK_END) - _TAIL, 0))
    lines = [line for line in said.read(_TAIL).decode(errors="replace").splitlines() if line.strip()]
    return ViaError(
        f"onnx-tf ended with exit code {code}: {_plain(lines[-1]) if lines else 'nothing said'}",
        hint=f"see that {PYTHON} names the Python of onnx-tf's environment, or {OWN}",
    )


def _plain(text: str) -> str:
    """A line for people: its end, without control characters, and file names without their folders."""
    text = " ".join("".join(c if c.isprintable() else " " for c in text).split())
    return re.sub(r"(?:/[\w.+@-]+)+/(?=[\w.+@-])", "", text)[-_MAX_SAID:]
