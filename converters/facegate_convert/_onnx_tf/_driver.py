"""`--via onnx-tf`: the model is repaired here, and converted in an environment where onnx-tf runs.

onnx-tf ended in 2022. What it runs with cannot be installed beside the converter (docs/adr/0031), so it runs as another
process, of another Python. Its result is held against the source like that of our own lowering.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import tempfile
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from facegate_convert.errors import ViaError, ViaMissingError

if TYPE_CHECKING:
    from facegate_convert._source import Source

PYTHON = "FACEGATE_ONNX_TF_PYTHON"
SECONDS = 900
_REFUSED = 3
_UNSAFE = re.compile(r"[^A-Za-z0-9_]")
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
        if not os.access(named, os.X_OK) or Path(named).is_dir():
            raise ViaMissingError(f"{PYTHON} names no program that can be run", hint=_HOW)
        return named
    if find_spec("onnx_tf") is None:
        raise ViaMissingError("onnx-tf is not installed", hint=_HOW)
    return sys.executable


def repaired(model: Any, size: tuple[int, int], *, channels_first: bool) -> Any:
    """An `onnx.ModelProto` that onnx-tf can read: names that Python accepts as arguments, no open dimension.

    A dot or a colon in the input's name is what makes onnx-tf fail with a KeyError: names become keyword arguments of a
    Python function, and tensors of TensorFlow. Numbers get a letter before them; two names stay two.

    Args:
        model: it is changed, and returned.
        size: (width, height) of the image.
        channels_first: (1, 3, H, W) or (1, H, W, 3).
    """
    graph = model.graph
    taken: dict[str, str] = {"": ""}
    used: set[str] = set()

    def name(old: str) -> str:
        if old not in taken:
            new = base = f"t_{_UNSAFE.sub('_', old)}"
            count = 1
            while new in used:
                count += 1
                new = f"{base}_{count}"
            used.add(new)
            taken[old] = new
        return taken[old]

    weights = {tensor.name for tensor in graph.initializer}
    # Exporters of old list weights among the inputs; onnx-tf would ask for them.
    inputs = [value for value in graph.input if value.name not in weights]
    del graph.input[:]
    graph.input.extend(inputs)
    del graph.value_info[:]
    for tensor in graph.initializer:
        tensor.name = name(tensor.name)
    for value in (*graph.input, *graph.output):
        value.name = name(value.name)
    for node in graph.node:
        node.name = _UNSAFE.sub("_", node.name)
        node.input[:] = [name(old) for old in node.input]
        node.output[:] = [name(old) for old in node.output]
    shape = (1, 3, size[1], size[0]) if channels_first else (1, size[1], size[0], 3)
    for dimension, value in zip(graph.input[0].type.tensor_type.shape.dim, shape, strict=True):
        dimension.Clear()
        dimension.dim_value = value
    return model


def convert_via_onnx_tf(source: Source) -> bytes:
    """The float32 TFLite model that onnx-tf and TensorFlow's own converter make of a source.

    Raises:
        ViaMissingError: there is no Python that has onnx-tf.
        ViaError: it refused the model, failed, or took more than a quarter of an hour.
    """
    python = find_python()
    model = _simplified(source)
    before = [value.name for value in model.graph.output]
    sketch = source.match.sketch
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
    with tempfile.TemporaryDirectory(prefix="facegate-") as folder:
        files = [Path(folder, name) for name in ("model.onnx", "plan.json", "model.tflite")]
        files[0].write_bytes(model.SerializeToString())
        files[1].write_text(json.dumps(plan))
        _run(python, files)
        return files[2].read_bytes()


def _simplified(source: Source) -> Any:
    """The model with its constants folded by onnxruntime: shapes that are computed are what onnx-tf stumbles over."""
    import onnx  # noqa: PLC0415 - the command line's help must not wait for it
    import onnxruntime  # noqa: PLC0415

    model = onnx.load(str(source.path))
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_BASIC
    sketch = source.match.sketch
    sizes = (1, 3, sketch.height, sketch.width) if sketch.channels_first else (1, sketch.height, sketch.width, 3)
    weights = {tensor.name for tensor in model.graph.initializer}
    (image,) = (value for value in model.graph.input if value.name not in weights)
    for dimension, size in zip(image.type.tensor_type.shape.dim, sizes, strict=True):
        dimension.Clear()
        dimension.dim_value = size
    with tempfile.TemporaryDirectory(prefix="facegate-") as folder:
        path = Path(folder, "folded.onnx")
        options.optimized_model_filepath = str(path)
        try:
            onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
            return onnx.load(str(path))
        except Exception as error:
            raise ViaError(
                f"onnxruntime cannot read the model: {type(error).__name__}", hint="use Facegate's own lowering"
            ) from error


def _run(python: str, files: list[Path]) -> None:
    worker = Path(__file__).with_name("worker.py")
    # Nothing of this process's paths: the other Python has packages of its own.
    environment = {k: v for k, v in os.environ.items() if k not in ("PYTHONPATH", "PYTHONHOME", "VIRTUAL_ENV")}
    try:
        done = subprocess.run(  # noqa: S603 - the program that the user named, and a file of ours
            [python, str(worker), *map(str, files)],
            env=environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=SECONDS,
            check=False,
        )
    except subprocess.TimeoutExpired as error:
        raise ViaError(f"onnx-tf took more than {SECONDS // 60} minutes", hint="use Facegate's own lowering") from error
    except OSError as error:
        raise ViaMissingError(f"onnx-tf's Python cannot be run: {error.strerror}", hint=_HOW) from error
    if done.returncode == _REFUSED:
        reason = done.stdout.strip().splitlines()
        raise ViaError(
            f"onnx-tf cannot convert this model: {reason[-1] if reason else 'no reason given'}",
            hint="use Facegate's own lowering: leave out --via",
        )
    if done.returncode or not files[2].is_file():
        missing = re.search(r"No module named '([\w.]+)'", done.stderr)
        if missing:
            raise ViaMissingError(f"onnx-tf's Python lacks the package {missing[1]}", hint=_HOW)
        raise ViaError(f"onnx-tf ended with exit code {done.returncode}", hint="use Facegate's own lowering")
