"""Runs int8 models with TFLite's reference kernels on inputs that a device stored, and stores the outputs.

    python reference_kernels.py bundle.fgb arrays.npz outputs.npz

For a Python with tflite-runtime. The arrays are end_to_end.py's. Reference kernels are plain integer arithmetic, the
same on every machine. Not the recogniser's and the liveness model's: the reference FULLY_CONNECTED of 2.14 takes a
scale for each channel for one scale.
"""

from __future__ import annotations

import json
import sys
import zipfile
from pathlib import Path

import numpy as np
from tflite_runtime.interpreter import Interpreter, OpResolverType

ROLE = "detector"


def main() -> None:
    """Run every stored input."""
    bundle_path, arrays_path, outputs_path = map(Path, sys.argv[1:4])
    with zipfile.ZipFile(bundle_path) as bundle:
        entries = json.loads(bundle.read("manifest.json"))["models"]
        model = bundle.read(next(entry["file"] for entry in entries if entry["role"] == ROLE))
    interpreter = Interpreter(model_content=model, experimental_op_resolver_type=OpResolverType.BUILTIN_REF)
    interpreter.allocate_tensors()
    (given,) = interpreter.get_input_details()
    outputs = {}
    with np.load(arrays_path) as arrays:
        for name in (name for name in arrays.files if f"/{ROLE}/inputs/" in name):
            interpreter.set_tensor(given["index"], arrays[name])
            interpreter.invoke()
            for index, output in enumerate(interpreter.get_output_details()):
                outputs[f"{name.split('/')[0]}/{index}"] = interpreter.get_tensor(output["index"])
    np.savez(outputs_path, **outputs)


if __name__ == "__main__":
    main()
