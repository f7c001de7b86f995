"""The reference bundle as it comes with the package, end to end: people enroll and come again, and decisions leave."""

from __future__ import annotations

import dataclasses
import json
from collections import Counter
from datetime import datetime, timezone

import numpy as np
import pytest

from facegate import Consent, Frame, Gate, PixelFormat, SigningKey, TrustStore, open_reference_bundle, reference_policy
from facegate import verify_decision as read_decision
from facegate.errors import ConsentMissingError, DecisionSignatureError
from facegate.simulation._attack import ATTACKS
from facegate.simulation._formats import to_frame

FIRST = 3_000_400
ENROLLED = {f"person-{n}": FIRST + n for n in range(3)}
STRANGERS = range(FIRST + 20, FIRST + 32)
FIELDS = {"schema", "id", "device", "sequence", "time", "kind", "outcome", "reasons", "liveness", "bundle", "policy"}
FIELDS |= {"declaration"}


@pytest.fixture(scope="module")
def bundle():
    """What comes with the package."""
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
    return Consent.to_text(
        text, purpose="demonstration", legal_basis="demonstration", text_version="1", given_at=now, taken_by="tests"
    )


class Terminal:
    """A gate in memory with the two roles that these tests need."""

    def __init__(self, bundle, policy, device, device_id="terminal-1"):
        self.gate, credentials = Gate.in_memory(bundle, policy, device, device_id=device_id)
        self.enroller = self.gate.enroller(credentials["enroller"])
        self.enroll = self.enroller.enroll
        recognizer = self.gate.recognizer(credentials["recognizer"])
        self.identify, self.verify = recognizer.identify, recognizer.verify

    def people(self):
        """The references of everybody."""
        return tuple(person.reference for person in self.enroller.people())

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.gate.close()


@pytest.fixture(scope="module")
def gate(bundle, device, rendered):
    """A gate with three people, each enrolled with three frames; it never locks out."""
    policy = dataclasses.replace(reference_policy(), max_attempts=0, max_trials_per_minute=0)
    with Terminal(bundle, policy, device) as opened:
        for subject, identity in ENROLLED.items():
            frames = [rendered.terminal(identity, number=n).frame for n in range(3)]
            assert opened.enroll(subject, frames, agreed()).enrolled
        yield opened


@pytest.fixture(scope="module")
def tries(gate):
    """A function: frames of enrolled people, by subject -> how many outcomes of each kind; none is of another."""

    def count(frames_of):
        found = Counter()
        for subject, frames in frames_of.items():
            for frame in frames:
                decision = gate.identify(frame).decision
                assert decision.subject in (None, subject)
                found[decision.outcome] += 1
        return found

    return count


def test_frames_that_are_live_beyond_doubt_are_enrolled(bundle, device, rendered):
    """Of three frames of somebody who looks into the terminal two or three become templates; the rest has a reason."""
    with Terminal(bundle, reference_policy(), device) as opened:
        for subject, identity in ENROLLED.items():
            result = opened.enroll(subject, [rendered.terminal(identity, number=n).frame for n in range(3)], agreed())
            assert result.added == result.faces == result.frames.count(None) >= 2
        assert opened.people() == tuple(ENROLLED)


@pytest.mark.parametrize("pixel_format", [f for f in PixelFormat if f != PixelFormat.GRAY], ids=lambda f: f.name)
def test_enrolled_people_are_known_in_every_format(tries, rendered, pixel_format):
    """Whatever a color camera gives, most visits are a match, and none a stranger's."""
    frames = {
        subject: [to_frame(rendered.terminal(identity, number=n).pixels, pixel_format) for n in (5, 6)]
        for subject, identity in ENROLLED.items()
    }
    found = tries(frames)
    assert found["no_match"] == 0
    assert found["match"] >= 5


def test_a_grey_camera_knows_people_and_cannot_tell_whether_they_are_live(bundle, device, gate, rendered):
    """Without colors faces still match, if nobody asks for liveness; if somebody does, nobody is taken for another."""
    policy = dataclasses.replace(reference_policy(), require_liveness=False, live_at=None, spoof_at=None)
    with Terminal(bundle, policy, device, "terminal-2") as opened:
        for subject, identity in ENROLLED.items():
            opened.enroll(subject, [rendered.terminal(identity, number=n).frame for n in range(3)], agreed())
        for subject, identity in ENROLLED.items():
            frame = to_frame(rendered.terminal(identity, number=5).pixels, PixelFormat.GRAY)
            assert opened.identify(frame).decision.subject == subject
            assert gate.identify(frame).decision.subject in (None, subject)


@pytest.mark.parametrize("rotation", [90, 180, 270])
def test_a_camera_may_hang_on_its_side(gate, rendered, rotation):
    """A frame that says how it is turned is as good as an upright one."""
    pixels = rendered.terminal(ENROLLED["person-2"], number=6).pixels
    turned = Frame(np.ascontiguousarray(np.rot90(pixels, rotation // 90)), PixelFormat.RGB, rotation)
    upright, decision = (gate.identify(frame).decision for frame in (Frame(pixels), turned))
    assert upright.subject == "person-2"
    assert (decision.outcome, decision.subject) == (upright.outcome, upright.subject)


def test_people_are_known_in_another_room_on_another_day(tries, rendered):
    """Of 24 visits before other backgrounds 20 and more are matches; the others are left to a person or to a retry."""
    rooms = {
        subject: [rendered.terminal(identity, number=n, room=3_000_000 + n).frame for n in range(10, 18)]
        for subject, identity in ENROLLED.items()
    }
    found = tries(rooms)
    assert found["no_match"] == 0
    assert found["match"] >= 20


def test_strangers_are_not_matched(gate, rendered):
    """Twelve people whom nobody enrolled are none of the three, and most are told that they are live and unknown."""
    decisions = [gate.identify(rendered.terminal(identity).frame).decision for identity in STRANGERS]
    assert {d.subject for d in decisions} == {None}
    assert sum((d.outcome, d.reasons) == ("no_match", ("below_threshold",)) for d in decisions) >= 9


def test_nobody_is_verified_as_somebody_else(gate, rendered):
    """1:1, most are themselves, and none is one of the others."""
    right = 0
    for claimed in ENROLLED:
        for subject, identity in ENROLLED.items():
            outcome = gate.verify(claimed, rendered.terminal(identity, number=7).frame).decision.outcome
            right += outcome == "match" and claimed == subject
            assert claimed == subject or outcome != "match"
    assert right >= 2


@pytest.mark.parametrize(
    ("count", "reason"),
    [(0, "no_face"), (2, "several_faces"), (3, "several_faces")],
    ids=["nobody", "two", "three"],
)
def test_only_one_person_is_compared(gate, rendered, count, reason):
    """An empty room and a group are rejected, although all of the group are enrolled."""
    group = list(ENROLLED.values())[:count]
    decision = gate.identify(rendered.terminal(*group).frame).decision
    assert (decision.outcome, decision.reasons, decision.liveness) == ("rejected", (reason,), "not_checked")


@pytest.mark.parametrize("attack", ATTACKS)
def test_pictures_of_enrolled_people_open_nothing(tries, rendered, attack):
    """Of each species four pictures of each enrolled person: none is a match, and nearly all are told at once."""
    pictures = {
        subject: [rendered.terminal(identity, number=n, attack=attack).frame for n in range(4)]
        for subject, identity in ENROLLED.items()
    }
    found = tries(pictures)
    assert found["match"] == 0
    assert found["rejected"] >= 10


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
    assert gate.people() == tuple(ENROLLED)


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
    frames = [rendered.terminal(ENROLLED["person-2"], number=n).frame for n in range(3)]
    with Terminal(bundle, reference_policy(), device) as opened:
        opened.enroll("person-2", frames, agreed())
        assert "person-2" in {opened.identify(frame).decision.subject for frame in frames}
        opened.enroller.remove("person-2")
        assert {opened.identify(frame).decision.subject for frame in frames} == {None}


def test_failed_trials_lock_out(bundle, device, rendered):
    """The rules that come with the bundle count: after so many strangers even an enrolled person has to wait."""
    policy = reference_policy()
    frames = [rendered.terminal(ENROLLED["person-0"], number=n).frame for n in range(3)]
    stranger = rendered.terminal(STRANGERS[0]).frame
    with Terminal(bundle, policy, device) as opened:
        opened.enroll("person-0", frames, agreed())
        for _ in range(policy.max_attempts):
            assert opened.identify(stranger).decision.outcome != "match"
        for frame in frames:
            assert opened.identify(frame).decision.reasons == ("locked_out",)
