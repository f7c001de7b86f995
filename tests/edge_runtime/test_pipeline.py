"""The pipeline: what it demands of a bundle, what it gives, and that a frame costs no memory."""

from __future__ import annotations

import ctypes
import dataclasses
import gc
import subprocess
import sys
import tracemalloc

import numpy as np
import pytest
from fake_engine import ARCFACE, FakeEngine, detector, image, liveness, recognizer

from facegate_edge import _pipeline
from facegate_edge._engine import EngineChoice
from facegate_edge._gallery import compare
from facegate_edge._machine import MachineFacts
from facegate_edge._manifest import Manifest
from facegate_edge._pipeline import Pipeline
from facegate_edge._timings import INFERENCE, STAGES, Timings
from facegate_edge._values import Face, Frame, PixelFormat
from facegate_edge.errors import EngineError, EngineUnavailableError, ModelError


def manifest(*models):
    """A manifest of those models."""
    return Manifest(1, "test", "1.0.0", "2026-01-01T00:00:00Z", "0.1.0", "any", models, (), "tests", ())


class Models:
    """Stands in for a bundle."""

    def __init__(self, *models, data=None):
        self.manifest = manifest(*models)
        self.data = data or {m.role: m.role for m in models}

    def model_bytes(self, role):
        """The model of a role."""
        return self.data[role]


@pytest.fixture
def fakes(monkeypatch):
    """Engines that the tests answer for, by role; the pipeline gets them for the role's name as bytes."""
    made = {}
    infos = {"detector": detector(), "recognizer": recognizer(4), "liveness": liveness()}

    def answer(_inputs, outputs):
        outputs["embedding"][0] = (1, 2, 3, 4)

    def factory(model, *, threads=1, float16=False):
        made[model] = FakeEngine(infos[model], answer if model == "recognizer" else lambda _i, _o: None)
        made[model].threads, made[model].float16 = threads, float16
        return made[model]

    monkeypatch.setattr(_pipeline, "choose_engine", lambda _: EngineChoice("fake", "for tests", factory))
    made["infos"] = infos
    return made


FRAME = Frame(np.random.default_rng(0).integers(0, 256, (240, 320, 3), dtype=np.uint8))
POINTS = np.array(ARCFACE, np.float32) + 50
FACE = Face(np.array([60, 60, 160, 180], np.float32), POINTS, 0.9)


def test_a_pipeline_takes_what_it_needs_from_the_manifest(fakes):
    """Space, length and engine come from the bundle and the machine; threads reach every engine."""
    with Pipeline(Models(detector(), recognizer(4), liveness()), threads=3) as pipeline:
        assert (pipeline.space, pipeline.template_length, pipeline.engine) == ("space", 4, "fake")
        assert pipeline.has_liveness
        assert [fakes[r].threads for r in ("detector", "recognizer", "liveness")] == [3, 3, 3]
        assert repr(pipeline) == "Pipeline(test 1.0.0, fake)"


@pytest.mark.parametrize(
    ("precision", "arithmetic", "features", "asked"),
    [
        ("float16", "float16", ("neon", "fp16"), True),
        ("float16", "float16", ("neon",), False),
        ("float16", "float32", ("neon", "fp16"), False),
        ("float16", "float16", ("avx2", "f16c", "avx512fp16"), False),
    ],
)
def test_float16_arithmetic_is_asked_for_where_it_was_measured_and_the_core_has_it(
    fakes, monkeypatch, precision, arithmetic, features, asked
):
    """Both must hold, for each model by itself: a model that was measured in float32 stays in float32."""
    monkeypatch.setattr(_pipeline, "this_machine", lambda: MachineFacts("aarch64", features=features))
    half = dataclasses.replace(recognizer(4), precision=precision, arithmetic=arithmetic)
    with Pipeline(Models(detector(), half)):
        assert fakes["recognizer"].float16 is asked
        assert fakes["detector"].float16 is False


def test_every_method_works_on_one_face(fakes):
    """detect, measure, embed and liveness give their values."""
    with Pipeline(Models(detector(), recognizer(4), liveness())) as pipeline:
        pipeline.warm_up()
        assert pipeline.detect(FRAME) == ()
        assert pipeline.measure(FRAME, FACE).eye_distance == pytest.approx(35.24, abs=0.1)
        assert pipeline.embed(FRAME, FACE).data.tolist() == [32, 64, 95, 127]
        assert pipeline.liveness(FRAME, FACE).live == pytest.approx(1 / 3)
    assert all(fakes[r].closed for r in ("detector", "recognizer", "liveness"))


@pytest.mark.usefixtures("fakes")
def test_a_face_that_was_measured_is_not_warped_again(monkeypatch):
    """Measuring and then embedding the same face aligns once; another face or frame is aligned anew."""
    pipeline = Pipeline(Models(detector(), recognizer(4)))
    warped = []
    real = pipeline._aligner.align
    monkeypatch.setattr(pipeline._aligner, "align", lambda f, x, **o: (warped.append(x), real(f, x, **o)))
    other, again = Face(FACE.box, FACE.landmarks + 9, 0.9), Frame(FRAME.data)
    pipeline.measure(FRAME, FACE)
    pipeline.embed(FRAME, FACE)
    assert len(warped) == 1
    pipeline.embed(FRAME, FACE)
    assert len(warped) == 2
    pipeline.measure(FRAME, FACE)
    pipeline.embed(FRAME, other)
    pipeline.measure(FRAME, FACE)
    pipeline.embed(again, FACE)
    assert len(warped) == 6
    pipeline.measure(FRAME, FACE)
    pipeline.detect(FRAME)
    pipeline.embed(FRAME, FACE)
    assert len(warped) == 8


@pytest.mark.usefixtures("fakes")
def test_a_face_that_cannot_be_aligned_is_measured_as_nan():
    """Measuring never fails for a face: what cannot be measured is NaN, so no limit is passed."""
    pipeline = Pipeline(Models(detector(), recognizer(4)))
    for face in (Face(FACE.box, None, 0.9), Face(FACE.box, np.full((5, 2), 7, np.float32), 0.9)):
        assert np.isnan(pipeline.measure(FRAME, face).sharpness)


@pytest.mark.usefixtures("fakes")
def test_a_bundle_without_liveness_says_so():
    """Without a liveness model `liveness` is a ModelError, and `has_liveness` tells beforehand."""
    pipeline = Pipeline(Models(detector(), recognizer(4)))
    assert not pipeline.has_liveness
    with pytest.raises(ModelError, match="no liveness") as caught:
        pipeline.liveness(FRAME, FACE)
    assert caught.value.hint


@pytest.mark.usefixtures("fakes")
@pytest.mark.parametrize("models", [(), (detector(),), (recognizer(4),)], ids=["empty", "detector", "recognizer"])
def test_a_pipeline_needs_a_detector_and_a_recognizer(models):
    """A bundle that lacks either is refused with the role's name."""
    with pytest.raises(ModelError, match=r"the bundle has no (detector|recognizer)"):
        Pipeline(Models(*models))


def test_a_detector_without_landmarks_cannot_feed_a_recognizer(fakes):
    """The combination is refused at the start, and what was made is freed."""
    fakes["infos"]["detector"] = detector(landmarks=False)
    with pytest.raises(ModelError, match="no landmarks"):
        Pipeline(Models(detector(landmarks=False), recognizer(4)))
    assert fakes["detector"].closed


@pytest.mark.parametrize("role", ["detector", "recognizer", "liveness"])
def test_a_model_that_is_not_what_the_manifest_says_is_refused_at_the_start(fakes, role):
    """Every role's tensors are compared before the first frame, and all engines are freed."""
    models = {"detector": detector(), "recognizer": recognizer(4), "liveness": liveness()}
    models[role] = dataclasses.replace(models[role], input=image(50, 50))
    with pytest.raises(ModelError, match="shape"):
        Pipeline(Models(*models.values()))
    assert all(fakes[r].closed for r in models if r in fakes)


def test_an_engine_that_cannot_be_used_is_an_error():
    """Forcing an engine that is not there is an EngineUnavailableError."""
    with pytest.raises(EngineUnavailableError):
        Pipeline(Models(detector(), recognizer(4)), engine="onnx")


def test_a_pipeline_is_closed_twice_without_harm(fakes):
    """close() frees the engines once."""
    pipeline = Pipeline(Models(detector(), recognizer(4)))
    pipeline.close()
    pipeline.close()
    assert fakes["detector"].closed


def test_closing_leaves_no_face_in_memory(fakes):
    """The engines' inputs and outputs and the aligned luma are zeros after close(), and stay so."""
    pipeline = Pipeline(Models(detector(), recognizer(4)))
    pipeline.detect(FRAME)
    pipeline.measure(FRAME, FACE)
    pipeline.embed(FRAME, FACE)
    arrays = [a for r in ("detector", "recognizer") for a in (*fakes[r].inputs.values(), *fakes[r].outputs.values())]
    luma = pipeline._aligner.luma
    assert luma.any()
    assert any(a.any() for a in arrays)
    pipeline.close()
    for use in (pipeline.detect, lambda f: pipeline.measure(f, FACE), lambda f: pipeline.embed(f, FACE)):
        with pytest.raises(EngineError, match="closed"):
            use(FRAME)
    assert not luma.any()
    assert not any(a.any() for a in arrays)


@pytest.mark.usefixtures("fakes")
def test_timings_tell_where_a_frame_s_time_goes():
    """Every stage that ran has one entry a frame; stages sum up to no more than the frame's total."""
    timings = Timings()
    pipeline = Pipeline(Models(detector(), recognizer(4), liveness()), timings=timings)
    pipeline.warm_up()
    for faces in (0, 1, 2):
        timings.begin()
        pipeline.detect(FRAME)
        for _ in range(faces):
            pipeline.measure(FRAME, FACE)
            pipeline.embed(FRAME, FACE)
            pipeline.liveness(FRAME, FACE)
        timings.end()
    assert len(timings.totals) == 3
    assert set(timings.stages) == set(STAGES) > set(INFERENCE)
    for i, total in enumerate(timings.totals):
        spent = {stage: values[i] for stage, values in timings.stages.items()}
        assert sum(spent.values()) <= total
        assert all(spent[s] > 0 for s in ("preprocess", "detect", "decode"))
        assert all((spent[s] > 0) == (i > 0) for s in STAGES[3:])


@pytest.fixture(scope="module")
def models(material, converted):
    """Trained models, as a bundle gives them."""
    found = [converted(name, engine=False, **options) for name, options in material.models.values()]
    return Models(*(info for info, _ in found), data={info.role: data for info, data in found})


def test_models_know_people_again(material, models):
    """Two photographs of one person are more similar than those of any two people, by a clear margin."""
    with Pipeline(models) as pipeline:
        templates = []
        for name, photos in material.people.items():
            for photo in photos:
                (face,) = pipeline.detect(photo)
                templates.append((name, pipeline.embed(photo, face)))
    same = [compare(a, b) for i, (n, a) in enumerate(templates) for m, b in templates[:i] if n == m]
    other = [compare(a, b) for i, (n, a) in enumerate(templates) for m, b in templates[:i] if n != m]
    assert min(same) > max(other) + 0.1


def test_the_way_into_the_frame_does_not_matter(material, models):
    """The same face as RGB, as BGR and turned with a rotation gives nearly the same template."""
    photo = material.frame
    with Pipeline(models) as pipeline:
        templates = []
        for frame in (
            photo,
            Frame(np.ascontiguousarray(photo.data[:, :, ::-1]), PixelFormat.BGR),
            Frame(np.ascontiguousarray(np.rot90(photo.data)), photo.format, 90),
        ):
            (face,) = pipeline.detect(frame)
            templates.append(pipeline.embed(frame, face))
    assert compare(templates[0], templates[1]) == pytest.approx(1, abs=1e-6)
    assert compare(templates[0], templates[2]) > 0.999


def test_a_closed_pipeline_runs_no_more(material, models):
    """After close() a frame is an EngineError; faces and templates stay good."""
    photo = material.frame
    pipeline = Pipeline(models)
    (face,) = pipeline.detect(photo)
    template = pipeline.embed(photo, face)
    pipeline.close()
    assert template.data.any()
    with pytest.raises(EngineError, match="closed"):
        pipeline.detect(photo)


MALLINFO2 = ("arena", "ordblks", "smblks", "hblks", "hblkhd", "usmblks", "fsmblks", "uordblks", "fordblks", "keepcost")


class Mallinfo2(ctypes.Structure):
    """What glibc knows about its heap."""

    _fields_ = tuple((name, ctypes.c_size_t) for name in MALLINFO2)


# Made once: looking a function up allocates.
MALLINFO = getattr(ctypes.CDLL(None), "mallinfo2", None)
if MALLINFO is not None:
    MALLINFO.restype = Mallinfo2


def allocated_by_malloc():
    """Bytes that are in use from malloc, by mallinfo2 (glibc 2.33 and newer); 0 elsewhere."""
    if MALLINFO is None:
        return 0
    info = MALLINFO()
    return info.uordblks + info.hblkhd


def test_a_frame_allocates_nothing_that_grows(material, models):
    """After warm-up a frame leaves nothing behind and never needs more than a few kilobytes for a moment.

    tracemalloc sees every allocation of Python and numpy, mallinfo2 those of C as well. Python fills caches of its own
    now and then, so several blocks of frames are looked at: what leaks shows in every one of them. What a frame needs
    for a moment are its small results (a face or a template is some 200 bytes) and Python's own frames; a copy of the
    frame, of an input tensor or of an aligned face would be 37 kilobytes and more.
    """
    photo = material.frame
    frames, left, peaks, left_in_c = 20, [], [], []
    with Pipeline(models) as pipeline:
        pipeline.warm_up(*photo.size)

        def block():
            for _ in range(frames):
                for face in pipeline.detect(photo):
                    pipeline.measure(photo, face)
                    pipeline.embed(photo, face)
                    pipeline.liveness(photo, face)

        block()
        gc.collect()
        for _ in range(3):  # before tracemalloc starts, whose own tables come from malloc too
            in_c = allocated_by_malloc()
            block()
            left_in_c.append(allocated_by_malloc() - in_c)
        tracemalloc.start()
        try:
            for _ in range(3):
                before, _ = tracemalloc.get_traced_memory()
                tracemalloc.reset_peak()
                block()
                after, peak = tracemalloc.get_traced_memory()
                left.append(after - before)
                peaks.append(peak - before)
        finally:
            tracemalloc.stop()
    assert min(left) < 8 * frames
    assert min(peaks) < 8 * 1024
    assert min(left_in_c) < 8 * frames


def test_the_runtime_starts_without_what_it_does_not_need():
    """Importing the package loads no numpy, no cffi and no Pillow; and every public name exists."""
    code = """
import sys
import facegate_edge
heavy = {"numpy", "cffi", "PIL", "cryptography", "facegate_edge._native"} & set(sys.modules)
assert not heavy, heavy
for name in facegate_edge.__all__:
    assert getattr(facegate_edge, name) is not None, name
assert set(facegate_edge.__all__) <= set(dir(facegate_edge))
try:
    facegate_edge.nothing
except AttributeError as e:
    assert "nothing" in str(e)
else:
    raise AssertionError("an unknown name was found")
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, timeout=60)  # noqa: S603
    assert done.returncode == 0, done.stderr


def test_the_embedder_s_float_values_are_the_pipeline_s_template(material, models):
    """The template is the float embedding's direction in int8."""
    photo = material.frame
    with Pipeline(models) as pipeline:
        (face,) = pipeline.detect(photo)
        template = pipeline.embed(photo, face)
        values = pipeline._embedder.embedding()
    assert np.abs(values / np.abs(values).max() * 127 - template.data).max() <= 0.5 + 1e-4
