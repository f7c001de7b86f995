"""What must be true of a gate whenever it is opened again, whatever happened to it before."""

from __future__ import annotations

import json
import random
from collections import deque
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from facegate import verify_decision
from facegate._restore import restore_backup
from facegate._store._store import FILE

from . import world
from .model import Model, Operation

if TYPE_CHECKING:
    from pathlib import Path

    from facegate import VerifyKey

    from .load import Places
    from .world import Desk

__all__ = ["BrokenPromiseError", "Inspector", "Testimony", "read_testimony"]

_KEPT = 600  # of what is gone, so many are looked for
_NEEDLE = slice(14, 46)  # of a sealed value: within the ciphertext, where nothing repeats


class BrokenPromiseError(Exception):
    """A promise that was not kept."""


@dataclass
class Testimony:
    """What the oracle's file says of one life of a process.

    Attributes:
        opened: whether the gate was open.
        acknowledged: the operations that were answered, with their answers.
        pending: the one that was begun and not answered.
    """

    opened: bool = False
    acknowledged: list[tuple[Operation, dict[str, Any]]] = field(default_factory=list)
    pending: Operation | None = None


def read_testimony(path: Path, lines: int | None = None) -> Testimony:
    """The first so many lines of an oracle's file."""
    told = Testimony()
    if not path.exists():
        return told
    for line in path.read_bytes().split(b"\n")[:-1][:lines]:
        said = json.loads(line)
        if "opened" in said:
            told.opened = True
        elif "begun" in said:
            told.pending = Operation(said["name"], said["arguments"])
        else:
            if told.pending is None:
                raise BrokenPromiseError("the oracle's file is not in order")
            told.acknowledged.append((told.pending, said["answer"]))
            told.pending = None
    return told


@dataclass
class Inspector:
    """Knows all that was acknowledged so far.

    Attributes:
        places: where everything is.
        key: the device's public key.
        model: what the gate must hold.
        decisions: by number, the decisions that were acknowledged, or found.
        head: the audit log's head when it was last looked at.
        sealed: sealed values that are in the store, by row.
        gone: those that were and are not any more.
        received: whole lines of the sink's file that were looked at.
        last_received: the highest number in them.
        backed_up: whether there must be a backup.
        look_into_backups: how often one is restored, 0..1.
        rng: chooses what is looked at, where looking at everything takes too long.
    """

    places: Places
    key: VerifyKey
    model: Model = field(default_factory=Model)
    decisions: dict[int, tuple[str, str]] = field(default_factory=dict)
    head: str | None = None
    sealed: dict[tuple[str, int], bytes] = field(default_factory=dict)
    gone: deque[bytes] = field(default_factory=lambda: deque(maxlen=_KEPT))
    received: bytes = b""
    last_received: int = 0
    backed_up: bool = False
    look_into_backups: float = 0.3
    rng: random.Random = field(default_factory=lambda: random.Random(7))

    def look(self, desk: Desk, told: Testimony) -> None:
        """Compare an opened gate with what is known. Raises BrokenPromiseError."""
        desk.core.store.db.check()
        self._audit(desk)
        model = self.model
        for operation, answer in told.acknowledged:
            model = model.after(operation)
            self._answered(operation, answer)
        seen = view(desk)
        self.model = self._which(seen, model, told.pending)
        self._decisions(desk, told)
        self._sink(desk)
        self._people(desk)
        self._leftovers(desk)
        self._backup(told)

    def _answered(self, operation: Operation, answer: dict[str, Any]) -> None:
        if "added" in answer and answer["added"] < 1:
            raise BrokenPromiseError(f"{operation.name} added nothing")
        if "decision" in answer:
            sequence, identifier, jws = answer["decision"]
            known = self.decisions.setdefault(sequence, (identifier, jws))
            if known != (identifier, jws):
                raise BrokenPromiseError(f"two decisions have the number {sequence}")

    def _audit(self, desk: Desk) -> None:
        report = desk.core.audit.verify(self.head)
        if not report.ok:
            raise BrokenPromiseError(f"the audit log does not verify: {report}")
        self.head = desk.core.audit.head()

    @staticmethod
    def _which(seen: dict[str, Any], model: Model, pending: Operation | None) -> Model:
        """The model of what is there: the operation that was not answered has happened as a whole, or not at all."""
        if seen == model.view():
            return model
        if pending is not None:
            after = model.after(pending)
            if seen == after.view():
                return after
        raise BrokenPromiseError(f"lost or half done: after {pending}, {_difference(model.view(), seen)}")

    def _decisions(self, desk: Desk, told: Testimony) -> None:
        rows = desk.core.store.db.read("SELECT sequence, id, jws FROM decision ORDER BY sequence")
        if [row[0] for row in rows] != list(range(1, len(rows) + 1)):
            raise BrokenPromiseError("the numbers of decisions have a gap")
        found = {row[0]: (row[1], row[2]) for row in rows}
        for sequence, known in self.decisions.items():
            if found.get(sequence) != known:
                raise BrokenPromiseError(f"decision {sequence} was acknowledged, and is lost or another")
        unanswered = len(found) - len(self.decisions)
        deciding = told.pending is not None and told.pending.name in {"identify", "verify", "stranger"}
        if unanswered > int(deciding):
            raise BrokenPromiseError(f"{unanswered} decisions that nobody asked for")
        for sequence in sorted(found.keys() - self.decisions.keys()):
            verify_decision(found[sequence][1], self.key)
        self.decisions = found

    def _sink(self, desk: Desk) -> None:
        """What the receiver has: in order, nothing left out, what comes twice is the same."""
        data = self.places.decisions.read_bytes() if self.places.decisions.exists() else b""
        if not data.startswith(self.received):
            raise BrokenPromiseError("what the receiver had was changed")
        fresh = data[len(self.received) : data.rfind(b"\n") + 1]
        self.received += fresh
        last = self.last_received
        for line in fresh.splitlines():
            try:
                jws = json.loads(line)["jws"]
            except ValueError:
                continue  # a line that was cut off; it comes again
            decision = verify_decision(jws, self.key)
            if self.decisions.get(decision.sequence) != (decision.id, jws):
                raise BrokenPromiseError(f"decision {decision.sequence} was delivered and is not the one that was made")
            if decision.sequence not in {last, last + 1}:
                raise BrokenPromiseError(f"decision {decision.sequence} was delivered after {last}")
            last = max(last, decision.sequence)
        self.last_received = last
        (marked,) = desk.core.store.db.read("SELECT max(sequence) FROM decision WHERE delivered IS NOT NULL")[0]
        (waiting,) = desk.core.store.db.read("SELECT min(sequence) FROM decision WHERE delivered IS NULL")[0]
        marked = marked or 0
        if waiting is not None and waiting != marked + 1:
            raise BrokenPromiseError("decisions were not marked in order")
        if marked > last:
            raise BrokenPromiseError(f"decision {marked} is marked as delivered, the receiver has {last}")
        if last > marked + 1:
            raise BrokenPromiseError(f"the receiver has {last}, marked are {marked}")

    def _people(self, desk: Desk) -> None:
        """Everybody's templates open, and are theirs: also those in memory."""
        core = desk.core
        for reference, person in self.model.people.items():
            row = core.store.person(reference)
            if row is None or len(core.store.index.faces(row.id)) != person["faces"]:
                raise BrokenPromiseError(f"{reference} is not in memory as on disk")
            probe = core.store.rotation.apply(world.template(person["identity"], self.rng.randint(200, 1 << 30)))
            best = core.store.index.best(probe)
            if not best or best[0].owner != row.id or best[0].similarity < core.threshold:
                raise BrokenPromiseError(f"{reference} is not recognized any more")
        stranger = core.store.rotation.apply(world.template(1 << 31))
        best = core.store.index.best(stranger)
        if best and best[0].similarity >= core.threshold:
            raise BrokenPromiseError("a stranger is recognized")

    def _leftovers(self, desk: Desk) -> None:
        """What was erased or sealed anew is in none of the gate's files."""
        read = desk.core.store.db.read
        sealed: dict[tuple[str, int], bytes] = {}
        for table, column in (("person", "wrapped_key"), ("face_list", "wrapped_key"), ("face", "sealed")):
            sealed |= {(table, row): data for row, data in read(f"SELECT id, {column} FROM {table}")}  # noqa: S608 - constants
        self.gone.extend(data for place, data in self.sealed.items() if sealed.get(place) != data and data)
        self.sealed = sealed
        raw = b"".join((self.places.gate / (FILE + end)).read_bytes() for end in ("", "-wal"))
        for data in self.gone:
            if data[_NEEDLE] in raw:
                raise BrokenPromiseError("something that was erased is still in the files")

    def _backup(self, told: Testimony) -> None:
        """A backup that has its name is whole; one that was acknowledged has it."""
        self.backed_up |= any(operation.name == "backup" for operation, _ in told.acknowledged)
        if told.pending is not None and told.pending.name == "backup":
            self.backed_up = False  # it may have been removed to be made again
        if not self.places.backup.exists():
            if self.backed_up:
                raise BrokenPromiseError("the backup was acknowledged, and is lost")
        elif self.rng.random() < self.look_into_backups:
            with self.places.backup.open("rb") as stream:
                restore_backup(stream, self.places.gate.with_name("restored"), world.RECOVERY, dry_run=True)


def view(desk: Desk) -> dict[str, Any]:
    """What is in a gate, as `Model.view` has it, out of its tables."""
    read = desk.core.store.db.read
    return {
        "people": {
            reference: {
                "faces": read("SELECT count(*) FROM face WHERE person = ?", row)[0][0],
                "groups": sorted(group.name for group in desk.core.store.groups_of(row)),
                "restricted": bool(restricted),
                "objects": bool(objection),
            }
            for row, reference, restricted, objection in read(
                "SELECT id, reference, restricted, objection FROM person ORDER BY reference"
            )
        },
        "groups": [group.name for group in desk.core.store.groups()],
        "lists": {
            row.name: read("SELECT count(*) FROM face WHERE list = ?", row.id)[0][0]
            for row in desk.core.store.face_lists()
        },
    }


def _difference(expected: dict[str, Any], seen: dict[str, Any]) -> str:
    parts = []
    for kind, old in expected.items():
        before, after = (x if isinstance(x, dict) else dict.fromkeys(x, "there") for x in (old, seen[kind]))
        parts += [
            f"{kind} {name}: {before.get(name)} -> {after.get(name)}"
            for name in sorted({*before, *after})
            if before.get(name) != after.get(name)
        ]
    return "; ".join(parts)
