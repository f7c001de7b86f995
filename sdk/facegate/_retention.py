"""For how long a gate keeps what, and the sweeper that erases what has been kept long enough.

    captured faces      setting captured_seconds, 5 minutes, 24 hours at most; in memory only, `_captured` wipes them.
                        What a liveness check said is kept nowhere else
    people              setting people_preset / people_days after their last match, or after they were enrolled
    faces of lists      setting list_days after they were added, audit_days at most: the entry in the audit log is the
                        record of the consent, and no face outlives it
    templates           until the person's latest consent expires; only that they were enrolled is remembered then
    audit entries       setting audit_days, 184 at least
    delivered decisions setting delivered_days after they were made; one that waits in the outbox or for a person's
                        verdict stays
    problem reports     setting reports_days
    closed requests     setting requests_days

What has expired counts no more from that moment on, whether it was swept or not (`GateCore.refusal`). Days are counted
by the time that the gate believes (`_clock_guard`); while the clock is suspect nothing is erased. Who asked that their
data be restricted keeps it until the restriction ends (GDPR Art. 18: to be stored, and not used): they are not
recognized meanwhile, and the sweeper names them.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from facegate._consents import moment
from facegate._decision import format_time
from facegate._settings import read_settings
from facegate._store._outbox import PURGEABLE

if TYPE_CHECKING:
    from datetime import datetime

    from facegate._clock_guard import Suspicion
    from facegate._core import GateCore, Work
    from facegate._store._database import Database

__all__ = ["PRESET_DAYS", "Retention", "SweepReport", "sweep"]

# BIPA (Illinois), 740 ILCS 14/15(a): three years after the last interaction. CUBI (Texas), Bus. & Com. Code
# 503.001(c)(3): the first anniversary of the purpose's end. Who has no purpose any more is erased before: by hand.
PRESET_DAYS = {"bipa": 3 * 365, "cubi": 365}

DAY_MS = 86_400_000
_BATCH = 200  # people in one transaction: others wait for its end

_UNUSED = "SELECT id, reference FROM person WHERE used <= ? AND restricted = 0 ORDER BY id"
# Of several consents the latest recorded one counts.
_LAPSED = """
SELECT person.id, person.reference FROM consent JOIN person ON person.id = consent.person
WHERE person.used > ? AND consent.expires <= ? AND person.lapsed = 0 AND person.restricted = 0
AND NOT EXISTS (SELECT 1 FROM consent AS later WHERE later.person = consent.person AND later.id > consent.id)
ORDER BY person.id
"""
_HELD = """
SELECT reference FROM person WHERE restricted = 1 AND (used <= ? OR (lapsed = 0 AND ? >= (
    SELECT expires FROM consent WHERE person = person.id ORDER BY id DESC LIMIT 1
))) ORDER BY id
"""
# The record of their consent is in the audit log: those that are older than all that is left of it have none any more.
# All of it is looked through only if a face is older than its first entry: after a clock was set back that alone says
# nothing.
_FIRST_ENTRY = """
SELECT min(time) FROM audit WHERE EXISTS (
    SELECT 1 FROM face WHERE list IS NOT NULL AND added < (SELECT time FROM audit ORDER BY seq LIMIT 1)
)
"""
_OLD_LIST_FACES = "SELECT id FROM face WHERE list IS NOT NULL AND added <= ? ORDER BY id"
_COUNT_FACES = "SELECT count(*) FROM face WHERE person = ?"
_OLD_REPORTS = "report WHERE time < ?"
_OLD_REQUESTS = "request WHERE closed < ?"
# Up to the first entry that is not older, and not the last one: as Audit.purge. The log is not indexed by time.
_OLD_AUDIT = """
audit WHERE seq < ifnull(
    (SELECT seq FROM audit WHERE time >= ? ORDER BY seq LIMIT 1), (SELECT max(seq) FROM audit)
)
"""


@dataclass(frozen=True, slots=True)
class Retention:
    """How long each class is kept, as it is set.

    Attributes:
        captured_seconds: of a captured face, in memory.
        people_preset: "bipa", "cubi" or "custom".
        people_days: after a person's last use, by preset or setting.
        list_days: after a face was added to a list; never more than `audit_days`.
        audit_days, delivered_days, reports_days, requests_days: after the entry, decision, report, end of the request.
    """

    captured_seconds: int
    people_preset: str
    people_days: int
    list_days: int
    audit_days: int
    delivered_days: int
    reports_days: int
    requests_days: int

    @classmethod
    def read(cls, db: Database) -> Retention:
        """As a gate's settings say."""
        said: dict[str, Any] = read_settings(db)
        preset = said["people_preset"]
        return cls(
            captured_seconds=said["captured_seconds"],
            people_preset=preset,
            people_days=PRESET_DAYS.get(preset, said["people_days"]),
            list_days=min(said["list_days"], said["audit_days"]),
            audit_days=said["audit_days"],
            delivered_days=said["delivered_days"],
            reports_days=said["reports_days"],
            requests_days=said["requests_days"],
        )

    def person_expired(self, used: int, now: int) -> bool:
        """Whether a person who was last used at `used` counts no more at `now`; both in ms since 1970."""
        return now >= self.person_until(used)

    def person_until(self, used: int) -> int:
        """When a person who is not used again is erased, in ms since 1970."""
        return used + self.people_days * DAY_MS

    def list_face_expired(self, added: int, now: int) -> bool:
        """Whether a face that was added to a list at `added` counts no more at `now`; both in ms since 1970."""
        return now >= added + self.list_days * DAY_MS


@dataclass(frozen=True, slots=True)
class SweepReport:
    """What a sweep erased, or would erase.

    Attributes:
        time: by which it was decided.
        suspect: why nothing was erased: "back" or "forward" if the clock is not believed, else "".
        dry_run: whether it only looked.
        people: references of those who were erased because they were not used for too long.
        lapsed: references of those whose consent has expired.
        faces: how many templates of them were erased.
        list_faces: how many faces of lists.
        held: references of those who would have been erased, but for the restriction that they asked for.
        audit, decisions, reports, requests: how many of each.
    """

    time: datetime
    suspect: Suspicion
    dry_run: bool
    people: tuple[str, ...] = ()
    lapsed: tuple[str, ...] = ()
    faces: int = 0
    list_faces: int = 0
    held: tuple[str, ...] = ()
    audit: int = 0
    decisions: int = 0
    reports: int = 0
    requests: int = 0

    @property
    def empty(self) -> bool:
        """Whether there was nothing to erase."""
        records = self.audit or self.decisions or self.reports or self.requests
        return not (self.people or self.lapsed or self.list_faces or records)


@dataclass(frozen=True, slots=True)
class _Due:
    """Up to which time (ms) what is due, at a moment."""

    now: int
    used: int
    added: int
    audit: int
    delivered: int
    reports: int
    requests: int

    @classmethod
    def at(cls, rules: Retention, now: int) -> _Due:
        # In whole days: there is something to remove once a day then, and not every hour.
        audit = (now - rules.audit_days * DAY_MS) // DAY_MS * DAY_MS
        delivered = (now - rules.delivered_days * DAY_MS) // DAY_MS * DAY_MS
        return cls(
            now=now,
            used=now - rules.people_days * DAY_MS,
            added=now - rules.list_days * DAY_MS,
            audit=audit,
            delivered=delivered,
            reports=now - rules.reports_days * DAY_MS,
            requests=now - rules.requests_days * DAY_MS,
        )


def sweep(gate: GateCore, *, dry_run: bool = False) -> SweepReport:
    """Erase what has been kept long enough; nothing while the clock is suspect.

    Args:
        gate: whose.
        dry_run: only say what would be erased.

    Raises:
        GateClosedError: the gate is closed.
        StoreError: it could not be written; what earlier transactions of the sweep erased stays erased.
    """
    with gate.lock:  # and not `reading`, which sweeps: a dry run would find nothing any more
        gate.check_open()
        now = gate.now()
        if now.suspect:
            return SweepReport(now.time, now.cause, dry_run)
        due = _Due.at(gate.retention_rules(), now.ms)
        unused = gate.store.db.read(_UNUSED, due.used)
        lapsed = gate.store.db.read(_LAPSED, due.used, due.now)
        ((first,),) = gate.store.db.read(_FIRST_ENTRY)
        added = due.added if first is None else max(due.added, first - 1)
        listed = [face for (face,) in gate.store.db.read(_OLD_LIST_FACES, added)]
        faces = sum(gate.store.db.read(_COUNT_FACES, person)[0][0] for person, _ in [*unused, *lapsed])
        counts = [
            gate.store.db.read(f"SELECT count(*) FROM {table}", before)[0][0]  # noqa: S608 - constants
            for table, before in (
                (_OLD_AUDIT, due.audit),
                (PURGEABLE, due.delivered),
                (_OLD_REPORTS, due.reports),
                (_OLD_REQUESTS, due.requests),
            )
        ]
        audit, decisions, reports, requests = counts
        report = SweepReport(
            time=now.time,
            suspect="",
            dry_run=dry_run,
            people=tuple(reference for _, reference in unused),
            lapsed=tuple(reference for _, reference in lapsed),
            faces=faces,
            list_faces=len(listed),
            held=tuple(reference for (reference,) in gate.store.db.read(_HELD, due.used, due.now)),
            audit=audit,
            decisions=decisions,
            reports=reports,
            requests=requests,
        )
        if report.empty or dry_run:
            return report
        _erase_people(gate, due, unused, lapsed)
        _erase_list_faces(gate, listed)
        if any(counts):
            with gate.operation("gate", "") as work:
                _erase_records(gate, work, due)
        return report


def _erase_people(gate: GateCore, due: _Due, unused: list[Any], lapsed: list[Any]) -> None:
    """Some people in each transaction, the audit log naming each; then no copy of them is left in the files."""
    everybody = [(person, reference, True) for person, reference in unused]
    everybody += [(person, reference, False) for person, reference in lapsed]
    for first in range(0, len(everybody), _BATCH):
        with gate.operation("gate", "") as work:
            if work.now.suspect:  # since the sweep began
                return
            for person, reference, whole in everybody[first : first + _BATCH]:
                row = gate.store.person_by_id(person)
                if row is None or (row.lapsed and not whole):  # the operation has begun with a sweep of its own
                    continue
                (faces,) = work.tx.execute(_COUNT_FACES, person).fetchone()
                if whole:
                    gate.store.erase_person(work.tx, person)
                    gate.lockout.forget(work.tx, reference)
                else:
                    gate.store.lapse_person(work.tx, person)
                said = {
                    "class": "people" if whole else "consent",
                    "faces": faces,
                    "before": format_time(moment(due.used if whole else due.now)),
                }
                work.log("retention_erased" if whole else "consent_lapsed", reference, said)
    if everybody:
        gate.store.db.checkpoint()


def _erase_list_faces(gate: GateCore, faces: list[int]) -> None:
    """Faces that were in a list for long enough; nobody is named, because nobody is known."""
    for first in range(0, len(faces), _BATCH):
        with gate.operation("gate", "") as work:
            if work.now.suspect:
                return
            removed = 0
            for face in faces[first : first + _BATCH]:
                if work.tx.execute("SELECT 1 FROM face WHERE id = ?", face).fetchone() is not None:
                    gate.store.remove_face(work.tx, face)
                    removed += 1
            if removed:
                work.log("retention_erased", details={"class": "list_faces", "faces": removed})


def _erase_records(gate: GateCore, work: Work, due: _Due) -> None:
    """What is no person: old entries, decisions, reports, requests."""
    if work.now.suspect:
        return
    removed = {
        "decisions": gate.outbox.purge(work.tx, moment(due.delivered)),
        "reports": work.tx.execute(f"DELETE FROM {_OLD_REPORTS}", due.reports).rowcount,  # noqa: S608 - constants
    }
    requests = work.tx.execute(f"SELECT id FROM {_OLD_REQUESTS}", due.requests).fetchall()  # noqa: S608
    for (row,) in requests:
        work.tx.delete("request", row)
    removed["requests"] = len(requests)
    if any(removed.values()):
        work.log("retention_swept", details=removed)
    if work.tx.execute(f"SELECT 1 FROM {_OLD_AUDIT} LIMIT 1", due.audit).fetchone() is not None:  # noqa: S608
        gate.audit.purge(work.tx, moment(due.audit))
