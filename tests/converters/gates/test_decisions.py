"""Every gate passes the good model and refuses those that are really damaged."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from facegate_convert._gates import Judge, Labels, _detector, _liveness, _recognizer
from facegate_convert._gates._limits import LIMITS
from facegate_convert._info import model_info
from facegate_convert._samples import Inputs, LabeledPairs, TrueFaces
from facegate_edge import make_engine

from . import damage

ROLES = ("recognizer", "detector", "liveness")
DAMAGES = {
    "noise of 10 % on weights": lambda room, _: damage.noisy(room.source, 0.1),
    "noise of 30 % on weights": lambda room, _: damage.noisy(room.source, 0.3),
    "weights of 4 bits": lambda room, _: damage.coarse(room.source, 4),
    "red and blue swapped": lambda room, _: damage.swapped_colors(room.source),
    "a layer times 0.3": lambda room, _: damage.scaled_layer(room.source, 8, 0.3),
    "a wrong scale at int8": lambda _, int8: damage.wrong_scale(int8.model, 4.0),
}


def failed(gates):
    """Names of the gates that failed."""
    return {name for name, gate in gates.items() if name and gate.status == "failed"}


@pytest.mark.parametrize("role", ROLES)
def test_the_float32_model_and_its_int8_form_pass(court, int8, verdict, role):
    """Float32 decides exactly as the source; int8, as `convert` makes it, closely enough."""
    exact, quantised = verdict(role, court(role).model), verdict(role, int8(role).model, "int8")
    assert failed(exact) == failed(quantised) == set()
    assert {g.status for name, g in exact.items() if name} <= {"passed", "not run"}
    assert exact[""][0].loss < 1e-4 < quantised[""][0].loss


@pytest.mark.parametrize("role", ROLES)
@pytest.mark.parametrize("name", DAMAGES)
def test_damaged_models_are_refused(court, int8, verdict, role, name):
    """Perturbed weights, coarse weights, swapped colours, a layer's lost scale, a wrong scale at int8."""
    model = DAMAGES[name](court(role), int8(role))
    found = verdict(role, model, "int8" if "int8" in name else "float32")
    assert failed(found)
    assert found[""][0].loss > verdict(role, int8(role).model, "int8")[""][0].loss


def test_worst_samples_are_named_by_their_hash(court, verdict):
    """The report names no file: twelve hex digits of the photograph's hash, and which face of it."""
    findings, _ = verdict("recognizer", court("recognizer").model)[""]
    known = set(court("recognizer").samples.held_out.samples)
    assert {row["id"] for row in findings.sections["worst"]} <= known
    assert all(len(name.split("#")[0]) == 12 and int(name.split("#")[0], 16) >= 0 for name in known)


def test_without_labels_there_are_no_error_rates(court):
    """No pairs, no truth, no attacks: those gates say that they were not run, and why."""
    wanted = {
        "recognizer": {"fnmr@1e-2": "--pairs", "fnmr@1e-3": "--pairs"},
        "detector": {"truth-recall": "--truth", "truth-precision": "--truth"},
        "liveness": {"bpcer": "--attacks", "apcer": "--attacks"},
    }
    for role, gates in wanted.items():
        room = court(role)
        judge = Judge(room.engine, room.info, room.samples, Labels())
        with make_engine(room.model) as engine:
            findings, _ = judge(engine, room.info)
        found = {gate.name: gate for gate in findings.gates}
        for name, option in gates.items():
            assert found[name].status == "not run"
            assert option in found[name].why


# Recognisers


def vectors(random, people, each, noise):
    """Embeddings of people whose photographs differ by noise, float32 (people * each, 64)."""
    centers = random.normal(0, 1, (people, 1, 64))
    found = centers + noise * random.normal(0, 1, (people, each, 64))
    return found.reshape(-1, 64).astype(np.float32)


def pairs_of(people, each):
    """Every pair of their photographs."""
    who = np.repeat(np.arange(people), each)
    every = [(a, b) for a in range(len(who)) for b in range(a)]
    genuine = tuple(p for p in every if who[p[0]] == who[p[1]])
    impostor = tuple(p for p in every if who[p[0]] != who[p[1]])
    names = tuple(f"{n:012x}" for n in range(len(who)))
    return LabeledPairs(Inputs(tuple(np.zeros(0, np.float32) for _ in who), names), genuine, impostor, 0, "0" * 64)


@pytest.mark.parametrize(
    ("more", "status"), [(0.0, "passed"), (0.1, "passed"), (1.2, "failed")], ids=["same", "a little", "much"]
)
def test_fnmr_at_an_equal_fmr(more, status):
    """More noise in the embeddings is a higher FNMR at each model's own threshold; the gate sees it."""
    random = np.random.default_rng(5)
    source = vectors(random, 40, 5, 0.8)
    model = source + more * random.normal(0, 1, source.shape)
    templates = np.rint(model / np.abs(model).max(axis=1, keepdims=True) * 127).astype(np.int8)
    gates, sections = _recognizer._labeled(source, templates, pairs_of(40, 5), LIMITS)
    assert {g.name: g.status for g in gates} == {"fnmr@1e-2": status, "fnmr@1e-3": status}
    thresholds = [p["threshold"] for p in sections["operating_points"]["source"]]
    assert thresholds == sorted(thresholds)
    assert sum(sections["scores"]["model"]["genuine"]) == 40 * 10


def test_too_few_impostors_say_nothing_about_a_low_fmr():
    """9 people with 2 photographs each: 144 impostor pairs do for 1e-2, not for 1e-3."""
    source = vectors(np.random.default_rng(6), 9, 2, 0.3)
    templates = np.rint(source / np.abs(source).max(axis=1, keepdims=True) * 127).astype(np.int8)
    gates, _ = _recognizer._labeled(source, templates, pairs_of(9, 2), LIMITS)
    assert [g.status for g in gates] == ["passed", "not run"]
    assert "3000 show it" in gates[1].why
    assert "needed to show it" in gates[0].evidence


def test_altered_faces_that_are_no_longer_taken_for_one_are_counted(court):
    """A model whose embeddings of altered pictures are noise fails the gate of unlabelled faces."""
    room = court("recognizer")
    given = _recognizer.evidence(room.samples.held_out, room.info, None, synthetic=False)
    random = np.random.default_rng(7)
    faces = random.normal(0, 1, (len(given.faces), 64))
    good = faces[list(given.of)] + 0.1 * random.normal(0, 1, (len(given.of), 64))
    bad = random.normal(0, 1, good.shape)
    source = _recognizer._Scores(faces, good, given)
    for altered, status in ((good, "passed"), (bad, "failed")):
        gate = _recognizer._agreement(source, _recognizer._Scores(faces, altered, given), given, LIMITS)
        assert gate.status == status


# Detectors


def test_a_shifted_threshold_is_refused(court, int8):
    """The same model at a threshold 0.28 too high misses faces; at one far too low it adds some."""
    room = court("detector")
    given = _detector.Evidence(room.samples.fit, room.samples.fit, None, synthetic=False)
    known = _detector.reference(room.engine, room.info, given)
    outcomes = {}
    with make_engine(int8("detector").model) as engine:
        info = model_info(int8("detector").model, room.source, "int8")
        for threshold in (info.detector.score_threshold, 0.98, 0.12):
            own = _detector.Recalibrated(threshold, "set by a test")
            found = _detector.judge(known, engine, info, given, own)
            outcomes[threshold] = {g.name: g.status for g in found.gates}
    assert outcomes[info.detector.score_threshold]["recall"] == "passed"
    assert outcomes[0.98]["recall"] == "failed"
    assert outcomes[0.12]["precision"] in ("failed", "unsure")


class Moved:
    """An engine whose scores are moved by a constant, in front of another."""

    def __init__(self, engine, by):
        self._engine, self._by = engine, by
        self.name, self.input_infos, self.output_infos = engine.name, engine.input_infos, engine.output_infos
        self.inputs, self.outputs = engine.inputs, engine.outputs

    def run(self):
        """Run, and move what the model says of scores: YuNet's are the root of a product of two."""
        self._engine.run()
        for name, array in self.outputs.items():
            if name.startswith(("score", "objectness")):
                np.multiply(array, self._by, out=array)


@pytest.mark.parametrize("factor", [0.8, 0.9, 1.0])
def test_a_detector_whose_scores_moved_gets_a_threshold_that_finds_the_same_faces(court, factor):
    """Scores that are all 10 or 20 % lower lose faces at the old threshold, and none at the new one."""
    room = court("detector")
    given = _detector.Evidence(room.samples.fit, room.samples.fit, None, synthetic=False)
    known = _detector.reference(room.engine, room.info, given)
    with make_engine(room.model) as engine:
        moved = Moved(engine, factor)
        own = _detector.recalibrate(known, moved, room.info, given)
        again = _detector.judge(known, moved, room.info, given, own)
        before = _detector.judge(known, moved, room.info, given, None)
    old = room.info.detector.score_threshold
    assert own.threshold == pytest.approx(old * factor, abs=0.08)
    assert (own.threshold == old) == (factor == 1.0)
    found = {g.name: g.value for g in again.gates}
    assert found["recall"] == found["precision"] == 0
    assert {g.name: g.value for g in before.gates}["recall"] >= found["recall"]


def test_the_new_threshold_is_in_the_manifest_entry(int8):
    """What the detector was judged at is what a device uses."""
    made = int8("detector")
    assert made.info.detector.score_threshold == made.report.detections["threshold"]
    assert made.report.detections["source_threshold"] == 0.7


def test_ground_truth_counts_lost_and_false_faces(court, int8):
    """True faces that the source finds and a damaged model does not are lost; its own are none."""
    room = court("detector")
    arrays = room.samples.fit.arrays
    source = _detector.reference(
        room.engine, room.info, _detector.Evidence(room.samples.fit, room.samples.fit, None, synthetic=False)
    )
    boxes = tuple(np.array([f.box for f in faces if f.score > 0.7], np.float32).reshape(-1, 4) for faces in source.fit)
    truth = TrueFaces(Inputs(arrays, room.samples.fit.samples), boxes, tuple(None for _ in boxes))
    judge = Judge(room.engine, room.info, room.samples, Labels(truth=truth))
    outcomes = []
    for model in (int8("detector").model, damage.noisy(room.source, 0.8)):
        with make_engine(model) as engine:
            findings, _ = judge(engine, model_info(model, room.source, "float32"))
        outcomes.append({g.name: g.status for g in findings.gates if g.name.startswith("truth")})
    assert outcomes[0] == {"truth-recall": "passed", "truth-precision": "passed"}
    assert outcomes[1]["truth-recall"] == "failed"


def test_a_room_without_faces_is_no_evidence_of_recall(court):
    """Photographs in which the source finds nobody: recall was not run, faces that are added still count."""
    room = court("detector")
    blank = Inputs(tuple(np.full_like(a, 90.0) for a in room.samples.held_out.arrays), room.samples.held_out.samples)
    given = _detector.Evidence(blank, blank, None, synthetic=False)
    known = _detector.reference(room.engine, room.info, given)
    with make_engine(room.model) as engine:
        found = {g.name: g for g in _detector.judge(known, engine, room.info, given).gates}
    assert found["recall"].status == "not run"
    assert "no face" in found["recall"].why
    assert found["precision"].status == "passed"


# Liveness


class Convinced:
    """An engine that takes everything for live, in front of a real one."""

    def __init__(self, engine):
        self._engine = engine
        self.name, self.input_infos, self.output_infos = engine.name, engine.input_infos, engine.output_infos
        self.inputs, self.outputs = engine.inputs, engine.outputs

    def run(self):
        """Run, and say live: class 1 of three."""
        self._engine.run()
        for array in self.outputs.values():
            array[..., 1] += 50


def test_a_model_that_takes_everything_for_live_does_not_pass_on_live_faces_alone(court):
    """With attacks, APCER fails; without them, the gate of attacks was not run, is unsure or fails: it never passes."""
    room = court("liveness")
    with make_engine(room.model) as engine:
        convinced = Convinced(engine)
        findings, _ = room.judge(convinced, room.info)
        found = {g.name: g.status for g in findings.gates}
        assert found["agreement-live"] == "passed"
        assert found["agreement-attack"] == found["probability"] == "failed"
        assert {found[n] for n in found if n.startswith("apcer-")} == {"failed"}
        judge = Judge(room.engine, room.info, room.samples, Labels())
        alone = {g.name: g.status for g in judge(convinced, room.info)[0].gates}
    assert alone["agreement-attack"] in ("not run", "unsure", "failed")
    assert alone["apcer"] == "not run"


def test_species_are_judged_apart(court, verdict):
    """A gate for each species of attack, and the names of folders made fit for a manifest."""
    found = verdict("liveness", court("liveness").model)
    assert {n for n in found if n.startswith("apcer")} == {"apcer-paper-mask", "apcer-print", "apcer-replay"}
    assert _liveness._slug("Paper mask, 2 (bent)") == "paper-mask-2-bent"
    assert _liveness._slug("???") == "attack"


def test_synthetic_images_show_arithmetic_only(court):
    """Without photographs no decision is judged: only how far outputs are."""
    for role in ROLES:
        room = court(role)
        samples = dataclasses.replace(room.samples, crops=None)
        judge = Judge(room.engine, room.info, samples, Labels())
        with make_engine(room.model) as engine:
            findings, _ = judge(engine, room.info)
        run = {g.name for g in findings.gates if g.status != "not run"}
        assert run <= {"drift-p50", "drift-p1", "probability"}
