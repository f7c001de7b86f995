"""What runs in onnx-tf's own environment: an ONNX file in, a TFLite file out.

    python worker.py MODEL.onnx PLAN.json OUT.tflite

The environment has onnx-tf and TensorFlow and nothing of Facegate: this file imports none of it. PLAN.json says how the
image comes and what is made of the outputs. What onnx-tf refuses ends with exit code 3 and the reason on stdout.
"""

from __future__ import annotations

import json
import os
import sys
import warnings
from pathlib import Path
from typing import Any

REFUSED = 3


def main(arguments: list[str]) -> int:
    """Convert; the exit code."""
    source, plan, target = map(Path, arguments)
    os.environ.update(TF_CPP_MIN_LOG_LEVEL="3", CUDA_VISIBLE_DEVICES="", TF_ENABLE_ONEDNN_OPTS="0")
    warnings.simplefilter("ignore")
    try:
        target.write_bytes(convert(source, json.loads(plan.read_text())))
    except Exception as error:  # noqa: BLE001 - onnx-tf and TensorFlow raise whatever they like
        text = " ".join(str(error).split())
        # The reason stands at the end, after a traceback of TensorFlow's own that tells nobody anything.
        print(f"{type(error).__name__}: {text[-300:]}")  # noqa: T201 - the answer of this program
        return REFUSED
    return 0


def convert(source: Path, plan: dict[str, Any]) -> bytes:
    """The TFLite model: an image (1, H, W, 3), and the outputs under the names and in the forms of the plan."""
    import onnx  # noqa: PLC0415 - the environment is set first
    import tensorflow as tf  # noqa: PLC0415
    from onnx_tf.backend import prepare  # noqa: PLC0415

    tf.get_logger().setLevel("ERROR")
    net = prepare(onnx.load(str(source))).tf_module
    shape = tuple(plan["shape"])

    class Served(tf.Module):  # type: ignore[misc,unused-ignore]
        """The model as the runtime wants it."""

        def __init__(self) -> None:
            super().__init__()
            self.net = net  # its variables are saved with it

        @tf.function(input_signature=[tf.TensorSpec(shape, tf.float32, name="input")])  # type: ignore[misc,unused-ignore]
        def serve(self, image: Any) -> dict[str, Any]:
            fed = tf.transpose(image, (0, 3, 1, 2)) if plan["channels_first"] else image
            found = self.net(**{plan["input"]: fed})
            return {output["name"]: finished(tf, found[output["source"]], output) for output in plan["outputs"]}

    served = Served()
    converter = tf.lite.TFLiteConverter.from_concrete_functions([served.serve.get_concrete_function()], served)
    model: bytes = converter.convert()
    return model


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
