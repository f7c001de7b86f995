"""Runs in the environment with tflite-runtime: one model through the engine, and a report as JSON."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np

from facegate_edge._engine import choose_engine, make_engine
from facegate_edge._manifest_json import parse_manifest
from facegate_edge._pipeline import Pipeline
from facegate_edge._values import Frame
from facegate_edge.errors import FacegateError


def error_of(act) -> str:
    """The type of what an action raises."""
    try:
        act()
    except Exception as e:  # noqa: BLE001 - the type is what is reported
        return type(e).__name__
    return "nothing"


class Folder:
    """Stands in for a bundle: manifest.json and ROLE.tflite in a folder."""

    def __init__(self, folder: Path) -> None:
        self.manifest = parse_manifest((folder / "manifest.json").read_bytes())
        self.folder = folder

    def model_bytes(self, role: str) -> bytes:
        """The model of a role."""
        return (self.folder / f"{role}.tflite").read_bytes()


def pipeline(folder: Path) -> dict:
    """Run the folder's models on its frame.npy, write result.npz."""
    frame = Frame(np.load(folder / "frame.npy"))
    with Pipeline(Folder(folder), engine="tflite") as running:
        running.warm_up()
        (face,) = running.detect(frame)
        np.savez(folder / "result.npz", box=face.box, template=running.embed(frame, face).data)
    return {}


def refused(folder: Path) -> dict:
    """What the engine says of a model that it is not to run."""
    try:
        make_engine((folder / "refused.tflite").read_bytes(), engine="tflite")
    except FacegateError as error:
        return {"error": type(error).__name__, "message": str(error), "hint": error.hint}
    return {"error": "nothing"}


def main(folder: Path) -> dict:
    """Run the folder's model on its inputs.npz, write outputs.npz, return the report."""
    model = (folder / "model.tflite").read_bytes()
    engine = make_engine(memoryview(model), threads=2, engine="tflite")
    arrays = {**engine.inputs, **engine.outputs}
    with np.load(folder / "inputs.npz") as inputs:
        for name, array in inputs.items():
            engine.inputs[name][...] = array
    for _ in range(3):
        engine.run()
    np.savez(folder / "outputs.npz", **engine.outputs)
    report = {
        "name": engine.name,
        "tensors": {i.name: repr(i) for i in (*engine.input_infos, *engine.output_infos)},
        "same_arrays": all(arrays[n] is a for n, a in {**engine.inputs, **engine.outputs}.items()),
        "aligned": all(a.ctypes.data % 64 == 0 for a in arrays.values()),
    }
    before = {n: a.copy() for n, a in arrays.items()}
    engine.close()
    engine.close()
    report["readable_after_close"] = all(np.array_equal(before[n], a) for n, a in arrays.items())
    report["run_after_close"] = error_of(engine.run)
    bad = [b"", b"garbage" * 20, bytes(len(model)), "model.tflite"]
    report["bad_models"] = [error_of(lambda b=b: make_engine(b, engine="tflite")) for b in bad]
    report["no_threads"] = error_of(lambda: make_engine(model, threads=0, engine="tflite"))
    try:
        choose_engine("litert")
    except FacegateError:
        report["chosen_without_litert"] = choose_engine().name
    else:
        report["chosen_without_litert"] = "tflite"
    return report


if __name__ == "__main__":
    given = Path(sys.argv[1])
    if (given / "refused.tflite").exists():
        report = refused(given)
    else:
        report = pipeline(given) if (given / "manifest.json").exists() else main(given)
    print(json.dumps(report))  # noqa: T201 - the report
