"""Figures on cases whose answer is known, and the cards made of them."""

from __future__ import annotations

import copy

import numpy as np
import pytest

from facegate_train import _card, _figures
from facegate_train._figures import Found, Templates
from facegate_train.errors import EvidenceError


def templates(similar=0.9, people=30, each=4, noise=0.3, seed=0):
    """Templates of people who are well apart; `similar` weighs the person against chance."""
    rng = np.random.default_rng(seed)
    centres = rng.normal(size=(people, 64))
    vectors = similar * np.repeat(centres, each, 0) + noise * rng.normal(size=(people * each, 64))
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    identity = np.repeat(np.arange(people), each)
    return Templates(vectors.astype(np.float32), identity, (identity % 10 + 1).astype(np.int16))


# Recognition


def test_well_separated_people_are_never_missed():
    """With a wide gap FNMR is 0, and at the threshold at most one comparison in a thousand is a false match."""
    found = templates()
    threshold = _figures.impostor_threshold(found)
    figures = _figures.recognition(found, threshold)
    assert figures["fnmr"]["rate"] == 0
    assert figures["fnmr"]["trials"] == 30 * 6
    assert figures["fmr"]["rate"] <= 1e-3
    assert figures["fmr"]["trials"] == 120 * 119 // 2 - 180
    assert figures["worst_to_overall"] is None


def test_a_failed_picture_matches_nothing():
    """A template that could not be made is missed in each of its genuine comparisons."""
    found = templates()
    found.vectors[0] = 0
    figures = _figures.recognition(found, 0.5)
    assert figures["failed"] == 1
    assert figures["fnmr"]["errors"] == 3


def test_a_group_that_is_worse_is_named():
    """Errors of people of one tone show in their group only, and its ratio to the overall rate is right."""
    found = templates()
    for number in np.flatnonzero(found.monk == 8):
        found.vectors[number] = 0
    figures = _figures.recognition(found, 0.5)
    dark, light = figures["groups"]["Monk 7-10"], figures["groups"]["Monk 1-3"]
    assert dark["fnmr"]["rate"] == pytest.approx(3 / 12)
    assert light["fnmr"]["rate"] == 0
    assert figures["tones"]["8"]["fnmr"]["rate"] == 1
    assert figures["worst_group"] == "Monk 7-10"
    assert figures["worst_to_overall"] == pytest.approx(0.25 / 0.1, rel=1e-3)
    assert dark["identities"] == 12


def test_comparisons_of_one_person_are_not_independent():
    """Errors that all come from one person give a wider interval than the same number spread over many."""
    one, many = templates(), templates()
    one.vectors[:4] = 0  # six errors of one person
    for person in range(2):
        many.vectors[4 * person] = 0  # three errors of each of two
    wide, narrow = (_figures.recognition(t, 0.5)["fnmr"] for t in (one, many))
    assert wide["errors"] == narrow["errors"] == 6
    assert wide["high"] >= narrow["high"]
    assert wide["low"] == 0


def test_too_few_impostors_carry_no_threshold():
    """A false match rate of 1e-3 cannot be read off a hundred comparisons."""
    with pytest.raises(EvidenceError, match="too few"):
        _figures.impostor_threshold(templates(people=5, each=2))


# Detection


def frame(scores, boxes, truth, *, visible=None, shift=0.0):
    """One frame: detections, and true faces whose landmarks lie at the box's middle, those found `shift` px beside."""
    boxes, truth = (np.array(b, np.float32).reshape(-1, 4) for b in (boxes, truth))
    points, true_points = (np.repeat(((b[:, :2] + b[:, 2:]) / 2)[:, None], 5, 1) for b in (boxes, truth))
    sizes = np.full(len(truth), 20.0, np.float32)
    seen = np.ones(len(truth), np.float32) if visible is None else np.array(visible, np.float32)
    return Found(np.array(scores, np.float32), boxes, points + np.float32([shift, 0]), truth, true_points, seen, sizes)


EMPTY = [frame([], [], []) for _ in range(100)]


def test_each_face_is_found_once():
    """A second box on a face and a box beside it are false; the face itself counts once."""
    frames = [frame([0.9, 0.8, 0.7], [[0, 0, 10, 10], [1, 0, 11, 10], [50, 50, 60, 60]], [[0, 0, 10, 10]], shift=1.0)]
    found = _figures.detection(frames, EMPTY, 0.5)
    assert found["recall"]["rate"] == 1
    assert (found["precision"]["errors"], found["precision"]["trials"]) == (1, 3)
    assert found["landmarks"] == {"faces": 1, "mean": 0.05, "p50": 0.05, "p95": 0.05}
    assert found["by_eye_distance"]["16-32 px"]["recall"]["trials"] == 1


def test_a_face_below_the_threshold_is_missed():
    """Recall counts what is found at the threshold, not below it."""
    found = _figures.detection([frame([0.4], [[0, 0, 10, 10]], [[0, 0, 10, 10]])], EMPTY, 0.5)
    assert found["recall"]["rate"] == 0
    assert found["landmarks"]["mean"] is None


def test_a_hidden_face_need_not_be_found_and_is_no_error():
    """A face of which less than half shows counts neither as missed nor, if found, as false."""
    hidden = {"truth": [[0, 0, 10, 10]], "visible": [0.3]}
    assert _figures.detection([frame([], [], **hidden)], EMPTY, 0.5)["recall"]["trials"] == 0
    found = _figures.detection([frame([0.9], [[0, 0, 10, 10]], **hidden)], EMPTY, 0.5)
    assert found["precision"]["rate"] == 1


def test_the_threshold_keeps_false_faces_rare():
    """Of 200 face-free frames two may hold a false face: the threshold lies just above the third score."""
    empty = [frame([s], [[0, 0, 5, 5]], []) for s in np.linspace(0.1, 0.9, 200)]
    threshold = _figures.detection_threshold(empty)
    assert sum(float(f.scores[0]) >= threshold for f in empty) == 2
    assert _figures.detection_threshold(EMPTY) == 0
    with pytest.raises(EvidenceError):
        _figures.detection_threshold(empty[:50])


# Liveness


def test_errors_of_liveness_by_species():
    """BPCER counts live faces below the threshold, APCER attacks at or above it."""
    scores = np.array([0.9, 0.2, 0.5, 0.1, 0.6, 0.0], np.float32)
    species = np.array([-1, -1, 0, 0, 1, 1])
    found = _figures.liveness(scores, species, ("print", "replay"), 0.5)
    assert (found["bpcer"]["errors"], found["bpcer"]["trials"]) == (1, 2)
    assert found["apcer"]["print"]["rate"] == found["apcer"]["replay"]["rate"] == 0.5


def test_the_liveness_threshold_keeps_the_wanted_share():
    """All but the wanted share of live faces are at or above it."""
    live = np.linspace(0, 1, 400).astype(np.float32)
    threshold = _figures.liveness_threshold(live, 0.025)
    assert (live < threshold).sum() == 10
    with pytest.raises(EvidenceError):
        _figures.liveness_threshold(live[:20], 0.025)


# Cards


def figures():
    """Made-up figures of all three models, in the form that `evaluate` gives."""
    found = templates()
    threshold = _figures.impostor_threshold(found)
    recognition = _figures.recognition(found, threshold)
    one = _figures.detection([frame([0.9], [[0, 0, 10, 10]], [[0, 0, 10, 10]])], EMPTY, 0.7)
    detector = {"default": one, "tuned": one | {"threshold": 0.61}, "validation_false_faces": 1}
    names = ("detected_landmarks", "true_landmarks", "nearly_frontal", "occluded")
    recognizer = dict.fromkeys(names, recognition)
    live = np.array([0.9] * 97 + [0.1] * 3 + [0.0] * 51 + [0.9], np.float32)
    species = np.array([-1] * 100 + [0] * 26 + [1] * 26)
    liveness = _figures.liveness(live, species, ("print", "replay"), 0.5)
    training = {
        "parameters": 1, "command": "python -m facegate_train x", "minutes": 1, "epochs": 1, "pictures": 1234,
        "renderer": "abc", "identities": 9, "cuts": [96, 192], "calibration": {"frames": 800, "rate": 0.005},
        "recipe": {"width": 320, "height": 320, "empty": 0.1, "turned": 0.2, "attacks": 0.1, "occlusion": 0.1,
                   "dark": 2},
    }  # fmt: skip
    facts = {"bytes": 1, "partitions": 1, "parity": {}}
    parts = {"detector": detector, "recognizer": recognizer, "liveness": liveness}
    return {
        "models": {
            role: {
                "bytes": 10, "sha256": "0" * 64, "training": training, "conversion": {"float32": facts, "int8": facts},
                "figures": {"float32": part, "int8": copy.deepcopy(part)},
            }
            for role, part in parts.items()
        }
    }  # fmt: skip


def test_a_card_says_what_was_measured(tmp_path):
    """Each card holds its figures, its limits, and whether each target is met."""
    _card.write_cards(figures(), tmp_path)
    for role in ("detector", "recognizer", "liveness"):
        text = (tmp_path / f"{role}.md").read_text()
        assert "**not for people**" in text
        assert "Apache-2.0" in text
        assert "1,234" in text
        assert ": met" in text
    liveness = _card.card("liveness", figures()["models"]["liveness"])
    assert "3 % (0.62..8.52 %; 3 of 100)" in liveness
    assert "3.85 % (0.1..19.64 %; 1 of 26)" in liveness


def test_a_target_that_is_missed_is_said_to_be_missed():
    """Above the limit the card says so in bold, and the summary repeats it."""
    found = figures()
    for precision in ("float32", "int8"):
        found["models"]["liveness"]["figures"][precision]["bpcer"] = _figures.share(60, 1000)
        found["models"]["detector"]["figures"][precision]["default"]["landmarks"]["mean"] = 0.04
    assert "BPCER <= 5 %: **not met**" in _card.card("liveness", found["models"]["liveness"])
    assert "inter-ocular distance: **not met**" in _card.card("detector", found["models"]["detector"])
    assert _card.summary(found).count("**not met**") == 2


def test_int8_that_is_off_is_said_to_be_off():
    """More than half a point between the precisions is a target missed."""
    found = figures()["models"]["recognizer"]
    found["figures"]["int8"]["detected_landmarks"]["fnmr"] = _figures.share(6, 1000)
    assert "int8 within 0.5 points of float32 in FNMR: **not met**" in _card.card("recognizer", found)
