"""Human oversight: what the gate leaves open a person decides, by a new signed decision that refers to the first."""

from __future__ import annotations

from datetime import timedelta

import pytest

from facegate import Policy, errors, verify_decision

ALICE, BOB = 1, 2
LIVE = {"require_liveness": True, "live_at": 0.9, "spoof_at": 0.5}
UNCERTAIN = {"live": 0.7}
CHECKED = {"checked_by": "passport-seen"}


@pytest.fixture
def roles(make_gate, shows, consent):
    """A gate that checks liveness, with alice and bob."""
    opened = make_gate(Policy(**LIVE))
    opened.enroller.enroll("alice", [shows(ALICE)], consent)
    opened.enroller.enroll("bob", [shows(BOB)], consent)
    return opened


@pytest.fixture
def left_open(roles, shows):
    """A decision about alice that waits for a person."""
    decision = roles.recognizer.identify(shows((ALICE, UNCERTAIN))).decision
    assert (decision.outcome, decision.subject) == ("review", None)
    return decision


def entries(roles, action):
    """The audit entries of an action."""
    return list(roles.core.audit.entries(action=action))


def test_what_the_gate_would_not_decide_waits_in_the_queue(roles, shows, left_open, clock):
    """The oldest first, with whom the face resembles and for how long it has waited; matches are not in it."""
    roles.recognizer.identify(shows(BOB))
    clock.wait(90)
    second = roles.recognizer.verify("bob", shows((BOB, UNCERTAIN))).decision
    first_waiting, second_waiting = roles.reviewer.queue()
    assert (first_waiting.decision, first_waiting.about) == (left_open, "alice")
    assert first_waiting.waiting == timedelta(seconds=90)
    assert (second_waiting.decision, second_waiting.about) == (second, "bob")
    assert roles.gate.status().reviews == 2


def test_an_empty_queue(roles):
    """Nothing waits."""
    assert roles.reviewer.queue() == ()


@pytest.mark.parametrize(
    ("outcome", "subject", "named", "reasons"),
    [
        ("match", None, "alice", ()),
        ("match", "alice", "alice", ()),
        ("match", "bob", "bob", ()),
        ("no_match", None, None, ("reviewer",)),
    ],
)
def test_a_verdict_is_a_new_signed_decision(roles, left_open, device_key, outcome, subject, named, reasons):
    """Of kind review, referring to the first, numbered and delivered as all are; the reviewer is on record."""
    signed = roles.reviewer.verdict(left_open.id, outcome, reviewer="guard-7", subject=subject)
    decision = verify_decision(signed.jws, device_key)
    assert (decision.kind, decision.outcome, decision.refers_to) == ("review", outcome, left_open.id)
    assert (decision.subject, decision.reasons, decision.liveness) == (named, reasons, "not_checked")
    assert decision.sequence == left_open.sequence + 1
    assert roles.core.outbox.waiting() == 2
    assert roles.reviewer.queue() == ()
    entry = entries(roles, "verdict")[0]
    assert (entry.reference, entry.details["reviewer"], entry.role) == ("alice", "guard-7", "reviewer")
    assert "guard-7" not in decision.to_json()


def test_the_first_decision_stays_as_it_was_signed(roles, left_open, device_key):
    """A verdict changes nothing that was said before."""
    roles.reviewer.verdict(left_open.id, "match", reviewer="guard-7")
    kept = roles.core.store.db.read("SELECT jws FROM decision WHERE id = ?", left_open.id)[0][0]
    assert verify_decision(kept, device_key) == left_open


def test_explaining_tells_who_reviewed(roles, left_open, clock):
    """Verdict, reviewer and time are part of the explanation."""
    assert roles.reviewer.explain(left_open.id)["review"] == "open"
    clock.wait(60)
    verdict = roles.reviewer.verdict(left_open.id, "no_match", reviewer="guard-7").decision
    told = roles.officer.explain(left_open.id)
    assert told["reviewed"] == [
        {"decision": verdict.id, "reviewer": "guard-7", "time": verdict.time, "outcome": "no_match"}
    ]
    assert (told["automated"], told["review"]) == (True, "closed")
    assert roles.officer.explain(verdict.id)["automated"] is False


def test_one_verdict_a_decision(roles, left_open):
    """A second one is refused: it could contradict what a door has acted on."""
    roles.reviewer.verdict(left_open.id, "no_match", reviewer="guard-7")
    with pytest.raises(errors.ReviewError):
        roles.reviewer.verdict(left_open.id, "match", reviewer="guard-8")
    assert roles.core.store.db.read("SELECT count(*) FROM decision")[0][0] == 2


def test_a_decision_that_waits_for_nobody(roles, shows):
    """The gate's own matches and refusals are not overruled by a verdict."""
    matched = roles.recognizer.identify(shows(ALICE)).decision
    with pytest.raises(errors.ReviewError):
        roles.reviewer.verdict(matched.id, "no_match", reviewer="guard-7")


@pytest.mark.parametrize(
    ("changes", "error"),
    [
        ({"outcome": "review"}, errors.ReviewError),
        ({"outcome": None}, errors.ReviewError),
        ({"reviewer": ""}, errors.ReviewError),
        ({"reviewer": "Mr. Smith"}, errors.ReviewError),
        ({"subject": "nobody"}, errors.ReviewError),
        ({"subject": "Alice Smith"}, errors.ReviewError),
        ({"outcome": "no_match", "subject": "alice"}, errors.ReviewError),
        ({"decision_id": "01a1fd4d-ce11-74c7-8895-b4e70eb0a9b1"}, errors.UnknownDecisionError),
    ],
)
def test_what_is_no_verdict(roles, left_open, changes, error):
    """Each is refused, and the decision goes on waiting."""
    arguments = {"decision_id": left_open.id, "outcome": "match", "reviewer": "guard-7"} | changes
    with pytest.raises(error):
        roles.reviewer.verdict(arguments.pop("decision_id"), arguments.pop("outcome"), **arguments)
    assert len(roles.reviewer.queue()) == 1


@pytest.mark.parametrize("right", ["erase", "restrict"])
def test_nobody_is_matched_by_verdict_who_must_not_be_decided_about(roles, left_open, right):
    """Who was erased or restricted in the meantime is not named; the case can be closed with no_match."""
    getattr(roles.officer, right)("alice", **CHECKED)
    with pytest.raises(errors.ReviewError):
        roles.reviewer.verdict(left_open.id, "match", reviewer="guard-7")
    roles.reviewer.verdict(left_open.id, "no_match", reviewer="guard-7")


def test_somebody_who_objected_is_matched_by_verdict(roles, shows):
    """That is what the objection asks for: a person decides."""
    roles.officer.object_automated("alice", **CHECKED)
    waits = roles.recognizer.identify(shows(ALICE)).decision
    assert roles.reviewer.verdict(waits.id, "match", reviewer="guard-7").decision.subject == "alice"


def test_a_verdict_that_fails_has_not_happened(roles, left_open, monkeypatch):
    """If it cannot be written there is no decision, and the case waits on."""

    def fail(*_, **__):
        raise errors.StoreFullError("no space")

    with monkeypatch.context() as patch:
        patch.setattr(roles.core.store.db, "_write_mark", fail)
        with pytest.raises(errors.StoreFullError):
            roles.reviewer.verdict(left_open.id, "match", reviewer="guard-7")
    assert [waiting.decision for waiting in roles.reviewer.queue()] == [left_open]


def test_the_queue_outlives_a_restart(stored, shows, consent):
    """What waits for a person waits after the device was off, too."""
    opened = stored(Policy(**LIVE))
    opened.enroller.enroll("alice", [shows(ALICE)], consent)
    waits = opened.recognizer.identify(shows((ALICE, UNCERTAIN))).decision
    opened.gate.close()
    opened = stored(Policy(**LIVE))
    assert [w.decision for w in opened.reviewer.queue()] == [waits]
    verdict = opened.reviewer.verdict(waits.id, "match", reviewer="guard-7").decision
    assert (verdict.subject, verdict.sequence) == ("alice", waits.sequence + 1)


def test_attack_a_reference_that_was_given_to_somebody_else(roles, shows, consent, left_open, clock):
    """Who has got the reference of the erased person meanwhile is not matched by a verdict about that person."""
    roles.officer.erase("alice", **CHECKED)
    clock.wait(60)
    roles.enroller.enroll("alice", [shows(3)], consent)
    assert [waiting.about for waiting in roles.reviewer.queue()] == [None]
    with pytest.raises(errors.ReviewError):
        roles.reviewer.verdict(left_open.id, "match", reviewer="guard-7")
    assert (
        roles.reviewer.verdict(left_open.id, "match", reviewer="guard-7", subject="alice").decision.subject == "alice"
    )


def test_a_verdict_about_somebody_whose_reference_was_corrected(roles, left_open, clock):
    """It names them as they are called today."""
    clock.wait(60)
    roles.officer.correct("alice", new_reference="p-1", **CHECKED)
    roles.officer.correct("p-1", new_reference="p-2", **CHECKED)
    assert [waiting.about for waiting in roles.reviewer.queue()] == ["p-2"]
    assert roles.reviewer.verdict(left_open.id, "match", reviewer="guard-7").decision.subject == "p-2"


@pytest.mark.parametrize("right", ["restrict", "erase"])
def test_a_reviewer_is_not_told_of_who_must_not_be_decided_about(roles, left_open, right):
    """Neither in the queue nor in an explanation: who was restricted or erased since is nobody's to look at."""
    assert roles.reviewer.queue()[0].about == "alice" == roles.reviewer.explain(left_open.id)["about"]
    getattr(roles.officer, right)("alice", **CHECKED)
    assert roles.reviewer.queue()[0].about is None
    assert "alice" not in str(roles.reviewer.explain(left_open.id))
