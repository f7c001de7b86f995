"""A day of a gate, the same on every machine: enroll, decide, and write down everything that machines could differ in.

    python end_to_end.py plan.json frames.npz bundle.fgb bundle.pub policy.json result.json arrays.npz [others.npz]

It runs on the build host and on the emulated cores from the same files; tests compare what it writes. The plan is a
list of {"frame": name in frames.npz, "format": ..., "rotation": ..., "do": "enroll" | "identify" | "verify",
"who": ..., "look": whether everything about the frame is written down}. With another machine's
arrays the models are run once more, on the inputs that they had there.

What it writes (templates, scores) never leaves a device otherwise: all of it is of rendered or public faces.
"""

from __future__ import annotations

import json
import platform
import sys
from dataclasses import astuple
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import numpy as np

import facegate
from facegate import Consent, Gate, SigningKey
from facegate._policy_json import load_policy
from facegate_edge import Frame, Pipeline, PixelFormat, TrustStore, open_bundle, this_machine
from facegate_edge import _kernels as kernels

KEEP = 3  # frames of which every model's input and output is kept
DEVICE = SigningKey.from_seed(bytes(range(32)))


def peak() -> int:
    """The most memory that this process had, in KiB. Not getrusage's, which remembers the parent's before exec."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return int(next(line.split()[1] for line in lines if line.startswith("VmHWM:")))


def files() -> list[str]:
    """Where every module and library of this process came from."""
    modules = {
        str(Path(module.__file__).resolve()) for module in sys.modules.values() if getattr(module, "__file__", None)
    }
    maps = [line.split(maxsplit=5)[5:] for line in Path("/proc/self/maps").read_text().splitlines()]
    return sorted(modules | {name[0] for name in maps if name and ".so" in name[0]})


def engines_of(pipeline: Pipeline) -> dict[str, Any]:
    """The engines of a pipeline by role."""
    engines = {"detector": pipeline._detector_engine, "recognizer": pipeline._recognizer_engine}
    return engines | ({} if pipeline._liveness is None else {"liveness": pipeline._liveness._engine})


def look(pipeline: Pipeline, frames: list[Frame]) -> tuple[list[dict[str, Any]], dict[str, np.ndarray]]:
    """What the pipeline makes of each frame, which decisions rest on; and the models' tensors of the first ones."""
    seen, arrays, engines = [], {}, engines_of(pipeline)

    def keep(number: int, role: str) -> None:
        if number < KEEP:
            for kind in ("inputs", "outputs"):
                for name, array in getattr(engines[role], kind).items():
                    arrays[f"{number}/{role}/{kind}/{name}"] = array.copy()

    for number, frame in enumerate(frames):
        faces = pipeline.detect(frame)
        keep(number, "detector")
        found = []
        for face in faces:
            quality = pipeline.measure(frame, face)
            template = pipeline.embed(frame, face)
            keep(number, "recognizer")
            live = pipeline.liveness(frame, face).live if pipeline.has_liveness else None
            if live is not None:
                keep(number, "liveness")
            found.append(
                {
                    "box": face.box.tolist(),
                    "landmarks": face.landmarks.tolist(),
                    "score": float(face.score),
                    "quality": [None if value != value else value for value in astuple(quality)],  # noqa: PLR0124 - NaN
                    "template": template.data.tolist(),
                    "live": live,
                }
            )
        seen.append({"faces": found})
    return seen, arrays


def run_again(pipeline: Pipeline, others: Any) -> dict[str, np.ndarray]:
    """The outputs of the models on inputs that another machine stored."""
    arrays = {}
    for number in range(KEEP):
        for role, engine in engines_of(pipeline).items():
            stored = {name: f"{number}/{role}/inputs/{name}" for name in engine.inputs}
            if not set(stored.values()) <= set(others.files):
                continue  # the frame has no face
            for name, array in engine.inputs.items():
                array[...] = others[stored[name]]
            engine.run()
            for name, array in engine.outputs.items():
                arrays[f"{number}/{role}/again/{name}"] = array.copy()
    return arrays


def decide(gate: Gate, credentials: Any, plan: list[dict[str, Any]], frames: list[Frame]) -> list[dict[str, Any]]:
    """The decisions, signed and read again, without what differs from one second to the next."""
    enroller, recognizer = gate.enroller(credentials["enroller"]), gate.recognizer(credentials["recognizer"])
    agreed = Consent.to_text(
        "This person agrees to be compared.",
        purpose="demonstration",
        legal_basis="demonstration",
        text_version="1",
        taken_by="tests",
        given_at=datetime.now(timezone.utc),
    )
    made: list[dict[str, Any]] = []
    people = sorted({step["who"] for step in plan if step["do"] == "enroll"})
    for who in people:
        mine = [frame for step, frame in zip(plan, frames, strict=True) if (step["do"], step["who"]) == ("enroll", who)]
        result = enroller.enroll(who, mine, agreed)
        made.append(
            {"enrolled": who, "added": result.added, "frames": [reason and str(reason) for reason in result.frames]}
        )
    for step, frame in zip(plan, frames, strict=True):
        if step["do"] != "enroll":
            signed = recognizer.identify(frame) if step["do"] == "identify" else recognizer.verify(step["who"], frame)
            d = signed.decision
            made.append(
                {
                    "step": step,
                    "decision": [
                        d.kind,
                        d.outcome,
                        d.subject,
                        list(d.reasons),
                        d.liveness,
                        d.bundle,
                        d.policy,
                        list(d.marks),
                    ],
                    "jws": signed.jws,
                }
            )
    return made


def main() -> None:
    """Do it all."""
    plan_path, frames_path, bundle_path, key_path, policy_path, result_path, arrays_path = map(Path, sys.argv[1:8])
    plan = json.loads(plan_path.read_text())
    with np.load(frames_path) as stored:
        frames = [Frame(stored[s["frame"]], PixelFormat[s["format"]], s["rotation"]) for s in plan]
    machine = this_machine()
    with open_bundle(bundle_path, trust=TrustStore.load(key_path)) as bundle:
        with Pipeline(bundle, any_machine=True) as pipeline:
            engine = pipeline.engine
            seen, arrays = look(pipeline, [frame for step, frame in zip(plan, frames, strict=True) if step["look"]])
            if len(sys.argv) > 8:  # another machine's arrays
                with np.load(sys.argv[8]) as others:
                    arrays |= run_again(pipeline, others)
        gate, credentials = Gate.in_memory(
            bundle, load_policy(policy_path), DEVICE, device_id="terminal-1", demonstration=True
        )
        with gate:
            decisions = decide(gate, credentials, plan, frames)
    np.savez(arrays_path, **arrays)
    result = {
        "machine": platform.machine(),
        "cpu": machine.cpu,
        "features": list(machine.features),
        "engine": engine,
        "path": kernels.active_path(),
        "paths": list(kernels.available_paths()),
        "seen": seen,
        "decisions": decisions,
        "facegate": facegate.__file__,
        "files": files(),
        "peak_kib": peak(),
    }
    result_path.write_text(json.dumps(result))


if __name__ == "__main__":
    main()
