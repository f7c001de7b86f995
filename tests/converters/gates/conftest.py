"""One courtroom for each role: the source, photographs of rendered people, what is known of them, and the judge."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
from PIL import Image

from facegate_convert import _samples
from facegate_convert._calibration import prepare
from facegate_convert._convert import Options, load_detector
from facegate_convert._gates import Judge, Labels
from facegate_convert._info import model_info
from facegate_convert._source import OnnxEngine, float_model, read_source
from facegate_edge import make_engine


@pytest.fixture(scope="session")
def finder(onnx_path):
    """The detector that finds faces: entry and bytes."""
    return load_detector(onnx_path("reference/detector.onnx"), lambda *_: None)


@pytest.fixture(scope="session")
def spoofs(rendered, tmp_path_factory):
    """A folder `live` and one for each species of attack."""
    folder = tmp_path_factory.mktemp("spoofs")
    for kind, frames in rendered.shown.items():
        (folder / kind).mkdir()
        for number, frame in enumerate(frames):
            Image.fromarray(frame.data).save(folder / kind / f"{number}.png", compress_level=1)
    return folder


@pytest.fixture(scope="session")
def court(rendered, onnx_path, finder, spoofs):
    """A function: role -> source, its float32 model and entry, samples, labels, judge; made once."""
    made = {}

    def hold(role):
        if role not in made:
            source = read_source(onnx_path(f"reference/{role}.onnx"), Options())
            model = float_model(source)
            info = model_info(model, source, "float32")
            detector = None if role == "detector" else finder
            samples = _samples.split(prepare(rendered.calibration, info, model, detector), info)
            labels = {
                "recognizer": lambda: Labels(
                    pairs=_samples.labeled_pairs(None, rendered.folder, (info, model), detector, tell=lambda *_: None)
                ),
                "liveness": lambda: Labels(
                    attacks=_samples.attacks(spoofs, (info, model), detector, tell=lambda *_: None)
                ),
                "detector": Labels,
            }[role]()
            engine = OnnxEngine(source, (info.input.tensor,), info.outputs)
            judge = Judge(engine, info, samples, labels)
            made[role] = SimpleNamespace(
                source=source, model=model, info=info, samples=samples, labels=labels, engine=engine, judge=judge
            )
        return made[role]

    return hold


@pytest.fixture(scope="session")
def int8(converted):
    """A function: role -> the reference model at int8, as `convert` makes it."""

    def get(role):
        finder = "" if role == "detector" else "reference/detector.onnx"
        return converted("rendered", f"reference/{role}.onnx", finder=finder)

    return get


@pytest.fixture(scope="session")
def verdict(court):
    """A function: role, model, precision -> {gate: outcome}, with all that the gates found under ""."""

    def ask(role, model, precision="float32"):
        room = court(role)
        with make_engine(model) as engine:
            findings, info = room.judge(engine, model_info(model, room.source, precision))
        return {gate.name: gate for gate in findings.gates} | {"": (findings, info)}

    return ask
