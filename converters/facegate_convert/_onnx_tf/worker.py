"""What runs in onnx-tf's own environment: an ONNX model in, a TFLite model out.

    python -I worker.py IN OUT

IN and OUT are numbers of open files: IN holds a line of JSON (how the image comes, what is made of the outputs) and the
ONNX model behind it; OUT takes the TFLite model. What onnx-tf refuses ends with exit code 3 and the reason in OUT, a
package that is missing with 4 and its name. The environment has onnx-tf and TensorFlow and nothing of Facegate: this
file imports none of it.
"""

from __future__ import annotations

import ctypes
import importlib
import json
import os
import re
import signal
import sys
import warnings
from typing import Any

REFUSED, MISSING = 3, 4
_PR_SET_PDEATHSIG = 1


def main(arguments: list[str]) -> int:
    """Convert; the exit code."""
    source, target = (int(argument) for argument in arguments)
    # Whoever started this may be killed: nobody would wait for the answer.
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    os.environ.update(TF_CPP_MIN_LOG_LEVEL="3", CUDA_VISIBLE_DEVICES="", TF_ENABLE_ONEDNN_OPTS="0")
    warnings.simplefilter("ignore")
    code = 0
    with os.fdopen(source, "rb") as file, os.fdopen(target, "wb") as answer:
        plan = json.loads(file.readline())
        try:
            said = convert(file.read(), plan)
        except ModuleNotFoundError as error:
            code, said = MISSING, str(error.name).encode()
        except Exception as error:  # noqa: BLE001 - onnx-tf and TensorFlow raise whatever they like
            code, said = REFUSED, reason(error).encode()
        answer.write(said)
    return code


def convert(source: bytes, plan: dict[str, Any]) -> bytes:
    """The TFLite model: an image (1, H, W, 3), and the outputs under the names and in the forms of the plan."""
    # The environment is set first. By name, because Facegate's own has no TensorFlow to be checked against.
    onnx, tf, backend = map(importlib.import_module, ("onnx", "tensorflow", "onnx_tf.backend"))
    tf.get_logger().setLevel("ERROR")
    net = backend.prepare(onnx.ModelProto.FromString(source), logging_level="ERROR").tf_module

    def serve(image: Any) -> dict[str, Any]:
        fed = tf.transpose(image, (0, 3, 1, 2)) if plan["channels_first"] else image
        found = net(**{plan["input"]: fed})
        return {output["name"]: finished(tf, found[output["source"]], output) for output in plan["outputs"]}

    image = tf.TensorSpec(tuple(plan["shape"]), tf.float32, name="input")
    function = tf.function(serve, input_signature=[image]).get_concrete_function()
    # With the net, because its variables must live until they are written.
    model: bytes = tf.lite.TFLiteConverter.from_concrete_functions([function], net).convert()
    return model


def reason(error: Exception) -> str:
    """What an exception says, in a line."""
    text = " ".join(str(error).split())
    lacking = re.search(r"(?:Custom|Flex|TF Select) ops: ([\w, ]+?)(?: Details|$)", text)
    if lacking:
        return f"it becomes operators that TFLite does not have: {lacking[1]}"
    # The reason stands at the end, after a traceback of TensorFlow's own that tells nobody anything.
    return f"{type(error).__name__}: {text[-300:]}"


def finished(tf: Any, value: Any, output: dict[str, Any]) -> Any:
    """An output as the runtime reads it: feature maps as rows, scores as probabilities."""
    if output["rows"]:
        value = tf.reshape(tf.transpose(value, (0, 2, 3, 1)), output["rows"])
    else:
        value = tf.reshape(value, output["shape"])
    if output["activation"] == "sigmoid":
        value = tf.sigmoid(value)
    elif output["activation"] == "softmax":
        value = tf.nn.softmax(value)
    return tf.identity(value, name=output["name"])


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
