"""Who is recognized, over lives of random length: a model of a few lines says it, and the gate must agree."""

from __future__ import annotations

import dataclasses
import random
from dataclasses import dataclass
from datetime import datetime, timedelta

import pytest

from facegate import Policy, errors

DAY = 86_400
CHECKED = {"checked_by": "passport-seen"}
KEPT = timedelta(days=365)  # people, after their last use


@dataclass
class Known:
    """What the law says of a person."""

    identity: int
    used: datetime
    expires: datetime | None
    faces: bool = True
    restricted: bool = False
    objection: bool = False

    def over(self, now: datetime) -> bool:
        """Whether the consent has run out."""
        return self.expires is not None and now >= self.expires

    def counts(self, now: datetime) -> bool:
        """Whether the person may be compared."""
        return self.faces and not self.restricted and not self.over(now) and now < self.used + KEPT


class Life:
    """A gate and what should be true of it."""

    def __init__(self, roles, clock, shows, consent, seed: int, sweeps: bool) -> None:
        self.sweeps = sweeps
        self.roles, self.clock, self.shows, self.consent = roles, clock, shows, consent
        self.rng = random.Random(seed)  # noqa: S311 - a test's
        self.people: dict[str, Known] = {}

    def agreed(self):
        """A consent of now; half of them end."""
        days = self.rng.choice([None, 1, 30, 200])
        until = None if days is None else self.clock.now() + timedelta(days=days)
        return dataclasses.replace(self.consent, given_at=self.clock.now(), expires_at=until)

    def sweep(self) -> None:
        """What the sweeper does with the model."""
        now = self.clock.now()
        for reference, person in list(self.people.items()):
            if person.restricted:
                continue
            if now >= person.used + KEPT:
                del self.people[reference]
            elif person.over(now):
                person.faces = False

    def enroll(self, reference: str) -> None:
        """Enroll somebody, or add a face."""
        consent, known = self.agreed(), self.people.get(reference)
        identity = int(reference[2:])
        if known is not None and known.restricted:
            with pytest.raises(errors.EnrollError):
                self.roles.enroller.enroll(reference, [self.shows(identity)], consent)
            return
        assert self.roles.enroller.enroll(reference, [self.shows(identity)], consent).enrolled
        objection = known is not None and known.objection
        self.people[reference] = Known(identity, self.clock.now(), consent.expires_at, objection=objection)

    def record(self, reference: str) -> None:
        """Put a new consent on record."""
        consent, known = self.agreed(), self.people.get(reference)
        if known is None:
            with pytest.raises(errors.SubjectError):
                self.roles.enroller.record_consent(reference, consent)
            return
        if known.restricted and known.faces and known.over(self.clock.now()):
            with pytest.raises(errors.EnrollError):
                self.roles.enroller.record_consent(reference, consent)
            return
        self.roles.enroller.record_consent(reference, consent)
        known.faces = known.faces and not known.over(self.clock.now())
        known.expires = consent.expires_at

    def mark(self, reference: str, name: str) -> None:
        """Restrict, unrestrict, object, withdraw."""
        call = getattr(self.roles.officer, name)
        if reference not in self.people:
            with pytest.raises(errors.SubjectError):
                call(reference, **CHECKED)
            return
        call(reference, **CHECKED)
        known = self.people[reference]
        if name == "withdraw":
            del self.people[reference]
        elif name == "object_automated":
            known.objection = True
        else:
            known.restricted = name == "restrict"

    def look(self, reference: str) -> None:
        """The person stands before the camera."""
        known, now = self.people.get(reference), self.clock.now()
        counts = known is not None and known.counts(now)
        outcome = ("review" if known.objection else "match") if counts else None
        frame = self.shows(int(reference[2:]))
        found = self.roles.recognizer.identify(frame).decision
        claimed = self.roles.recognizer.verify(reference, frame).decision
        assert (found.outcome, claimed.outcome) == (outcome or "no_match", outcome or "rejected")
        assert {found.subject, claimed.subject} == {reference if outcome == "match" else None}
        assert (reference in self.roles.recognizer.candidates(frame)) is (outcome == "match")
        alias = self.roles.enroller.enroll("alias", [frame], self.consent)
        assert alias.duplicate_of == (reference if counts else None)
        if alias.enrolled:
            self.roles.enroller.remove("alias")
        if counts and now >= known.used + timedelta(days=1):
            known.used = now

    def step(self) -> None:
        """Something happens."""
        if self.rng.random() < 0.4:
            self.clock.wait(self.rng.choice([3600, DAY, 29 * DAY, 100 * DAY, 364 * DAY]))
            if self.sweeps:
                self.roles.gate.status()  # anything: the gate sweeps by itself
                self.sweep()
            else:
                self.roles.core._sweep_at = float("inf")
        reference = f"p-{self.rng.randint(1, 3)}"
        name = self.rng.choice(["enroll", "enroll", "record", "look", "look", "look", "mark"])
        if name == "mark":
            self.mark(reference, self.rng.choice(["restrict", "unrestrict", "object_automated", "withdraw"]))
        else:
            getattr(self, name)(reference)
        assert set(self.roles.people()) == set(self.people)


@pytest.mark.parametrize("sweeps", [True, False])
@pytest.mark.parametrize("seed", range(8))
def test_who_counts_is_who_may_be_compared_now(make_gate, clock, shows, consent, seed, sweeps):
    """Consent, its end, restriction, objection, disuse, withdrawal in any order, whether the sweeper comes or not."""
    roles = make_gate(Policy(max_attempts=0, max_trials_per_minute=0))
    life = Life(roles, clock, shows, consent, seed, sweeps)
    for _ in range(60):
        life.step()
