"""The reference bundle as it comes with the package, end to end: people enroll and come again, and decisions leave."""

from __future__ import annotations

import dataclasses
import json
from datetime import datetime, timezone

import numpy as np
import pytest

from facegate import Consent, Frame, Gate, PixelFormat, SigningKey, TrustStore, open_reference_bundle, reference_policy
from facegate import verify_decision as read_decision
from facegate._reference import BUNDLE
from facegate.errors import ConsentMissingError, DecisionSignatureError
from facegate.simulation._attack import ATTACKS
from facegate.simulation._formats import to_frame

FIRST = 3_000_400
ENROLLED = {f"person-{n}": FIRST + n for n in range(3)}
STRANGERS = range(FIRST + 10, FIRST + 16)
FIELDS = {"schema", "id", "device", "sequence", "time", "kind", "outcome", "reasons", "liveness", "bundle", "policy"}


@pytest.fixture(scope="module")
def bundle():
    """What comes with the package."""
    if not BUNDLE.is_file():
        pytest.skip("this installation has no reference bundle: it is not built yet")
    with open_reference_bundle() as opened:
        yield opened


@pytest.fixture(scope="module")
def device():
    """The key of the terminal."""
    return SigningKey.from_seed(bytes(range(32)))


def agreed():
    """The record of a consent."""
    text = "A rendered person agrees to be compared."
    now = datetime.now(timezone.utc)
    return Consent.to_text(text, purpose="tests", legal_basis="demonstration", given_at=now)


@pytest.fixture(scope="module")
def gate(bundle, device, rendered):
    """A gate with three people, each enrolled with three frames; it never locks out."""
    policy = dataclasses.replace(reference_policy(), max_attempts=0)
    with Gate(bundle, policy, device, device_id="terminal-1") as opened:
        for subject, identity in ENROLLED.items():
            frames = [rendered.terminal(identity, number=n).frame for n in range(3)]
            assert opened.enroll(subject, frames, agreed()).enrolled
        yield opened


def test_every_frame_of_an_enrolment_is_used(bundle, device, rendered):
    """Somebody who looks into the terminal gives a template with each frame."""
    with Gate(bundle, reference_policy(), device, device_id="terminal-1") as opened:
        for number, (subject, identity) in enumerate(ENROLLED.items(), 1):
            frames = [rendered.terminal(identity, number=n).frame for n in range(3)]
            result = opened.enroll(subject, frames, agreed())
            assert (result.added, result.frames) == (3, (None, None, None))
            assert len(opened.subjects()) == number


@pytest.mark.parametrize("pixel_format", PixelFormat, ids=lambda f: f.name)
def test_enrolled_people_are_known_in_every_format(gate, rendered, pixel_format):
    """Whatever the camera gives, each of them is matched, live, and nobody else."""
    for subject, identity in ENROLLED.items():
        frame = to_frame(rendered.terminal(identity, number=5).pixels, pixel_format)
        decision = gate.identify(frame).decision
        assert (decision.outcome, decision.subject, decision.liveness) == ("match", subject, "live")


@pytest.mark.parametrize("rotation", [90, 180, 270])
def test_a_camera_may_hang_on_its_side(gate, rendered, rotation):
    """A frame that says how it is turned is as good as an upright one."""
    pixels = rendered.terminal(ENROLLED["person-1"], number=6).pixels
    turned = Frame(np.ascontiguousarray(np.rot90(pixels, rotation // 90)), PixelFormat.RGB, rotation)
    assert gate.identify(turned).decision.subject == "person-1"


def test_people_are_known_in_another_room_on_another_day(gate, rendered):
    """Ten frames each, before other backgrounds, are matched, but for at most one of the thirty."""
    outcomes = [
        gate.identify(rendered.terminal(identity, number=n, room=3_000_000 + n).frame).decision.subject == subject
        for subject, identity in ENROLLED.items()
        for n in range(10, 20)
    ]
    assert sum(outcomes) >= 29


def test_strangers_are_not_matched(gate, rendered):
    """Six people whom nobody enrolled are none of the three."""
    for identity in STRANGERS:
        decision = gate.identify(rendered.terminal(identity).frame).decision
        assert (decision.outcome, decision.reasons, decision.subject) == ("no_match", ("below_threshold",), None)


def test_nobody_is_verified_as_somebody_else(gate, rendered):
    """1:1, each is themselves and none of the others."""
    for claimed in ENROLLED:
        for subject, identity in ENROLLED.items():
            outcome = gate.verify(claimed, rendered.terminal(identity, number=7).frame).decision.outcome
            assert (outcome == "match") == (claimed == subject)


@pytest.mark.parametrize(
    ("count", "reason"), [(0, "no_face"), (2, "several_faces"), (3, "several_faces")], ids=["nobody", "two", "three"]
)
def test_only_one_person_is_compared(gate, rendered, count, reason):
    """An empty room and a group are rejected, although all of the group are enrolled."""
    group = list(ENROLLED.values())[:count]
    decision = gate.identify(rendered.terminal(*group).frame).decision
    assert (decision.outcome, decision.reasons, decision.liveness) == ("rejected", (reason,), "not_checked")


@pytest.mark.parametrize("attack", ATTACKS)
def test_pictures_of_enrolled_people_open_nothing(gate, rendered, attack):
    """Of each species three pictures of enrolled people, in several tries: never a match, and told as what they are."""
    decisions = [
        gate.identify(rendered.terminal(identity, number=n, attack=attack).frame).decision
        for identity in ENROLLED.values()
        for n in range(2)
    ]
    assert {d.outcome for d in decisions} == {"rejected"}
    assert {d.reasons for d in decisions} == {("liveness_spoof",)}
    assert {d.liveness for d in decisions} == {"spoof"}


def test_every_decision_says_that_it_is_a_demonstration(gate, bundle, device, rendered):
    """What leaves is signed by the terminal, marked, in sequence, and holds nothing of a face."""
    frames = [rendered.terminal(*who).frame for who in ((ENROLLED["person-0"],), (STRANGERS[0],), ())]
    signed = [gate.identify(frame) for frame in frames]
    read = [read_decision(one.jws, TrustStore([device.verify_key])) for one in signed]
    assert [d.outcome for d in read] == ["match", "no_match", "rejected"]
    assert {d.marks for d in read} == {("demonstration",)}
    assert {d.bundle for d in read} == {bundle.id}
    assert [d.sequence - read[0].sequence for d in read] == [0, 1, 2]
    for decision in read:
        assert set(json.loads(decision.to_json())) - {"subject", "marks"} == FIELDS
    with pytest.raises(DecisionSignatureError):
        read_decision(signed[0].jws, SigningKey.from_seed(bytes(32)).verify_key)


def test_nobody_is_enrolled_without_consent_or_twice(gate, rendered):
    """A rendered person has no record: refused. An enrolled one is not enrolled again under another reference."""
    frame = rendered.terminal(STRANGERS[1]).frame
    with pytest.raises(ConsentMissingError):
        gate.enroll("person-9", [frame], None)
    again = gate.enroll("person-9", [rendered.terminal(ENROLLED["person-2"], number=8).frame], agreed())
    assert (again.enrolled, again.duplicate_of) == (False, "person-2")
    assert gate.subjects() == tuple(ENROLLED)


def test_frames_that_do_not_help_are_not_enrolled(gate, rendered):
    """An empty room, a group and a print are named as such, and nobody is added."""
    stranger = STRANGERS[2]
    frames = [
        rendered.terminal().frame,
        rendered.terminal(stranger, STRANGERS[3]).frame,
        rendered.terminal(stranger, attack="print").frame,
    ]
    result = gate.enroll("person-9", frames, agreed())
    assert result.frames == ("no_face", "several_faces", "liveness_spoof")
    assert not result.enrolled


def test_whoever_is_removed_is_a_stranger(bundle, device, rendered):
    """A person is matched until they are removed, and not after."""
    policy = dataclasses.replace(reference_policy(), max_attempts=0)
    frames = [rendered.terminal(STRANGERS[4], number=n).frame for n in range(3)]
    with Gate(bundle, policy, device, device_id="terminal-1") as opened:
        opened.enroll("person-4", frames[:2], agreed())
        assert opened.identify(frames[2]).decision.subject == "person-4"
        opened.remove("person-4")
        assert opened.identify(frames[2]).decision.outcome == "no_match"


def test_failed_trials_lock_out(bundle, device, rendered):
    """The rules that come with the bundle count: after so many strangers even an enrolled person has to wait."""
    policy = reference_policy()
    known, stranger = (rendered.terminal(who).frame for who in (ENROLLED["person-0"], STRANGERS[0]))
    with Gate(bundle, policy, device, device_id="terminal-1") as opened:
        opened.enroll("person-0", [known], agreed())
        for _ in range(policy.max_attempts):
            assert opened.identify(stranger).decision.outcome == "no_match"
        assert opened.identify(known).decision.reasons == ("locked_out",)
