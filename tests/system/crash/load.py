"""The mixed load: what a child does to a gate until it is killed, and what it says of it before and after."""

from __future__ import annotations

import dataclasses
import json
import os
import random
import threading
import traceback
from typing import TYPE_CHECKING, Any

from facegate import Consent
from facegate._gate_folder import read_info
from facegate._sinks._json_lines import JsonLinesSink

from . import world
from .model import Model, Operation, choose

if TYPE_CHECKING:
    from pathlib import Path

    from facegate import SignedDecision

    from .world import Desk

__all__ = ["Oracle", "Places", "consent_now", "perform", "run"]

_CHECKED = "passport-seen"
_KEYS = ("file:seal.key", "file:other.key")


@dataclasses.dataclass(frozen=True)
class Places:
    """Where everything is.

    Attributes:
        gate: the gate's folder.
        decisions: the file that the sink writes.
        oracle: the file that says what was acknowledged; it is outside of the gate.
    """

    gate: Path
    decisions: Path
    oracle: Path

    @property
    def backup(self) -> Path:
        """The one backup, beside the gate."""
        return self.gate.with_name("backup")


class Oracle:
    """Lines about what was begun and what was acknowledged. A process that is killed leaves whole lines.

    Args:
        path: of the file.
        marked: called after each line with the number of lines.
    """

    def __init__(self, path: Path, marked: Any = None) -> None:
        self._file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        self._marked = marked
        self._count = 0

    def say(self, **said: Any) -> None:
        """Add a line."""
        os.write(self._file, json.dumps(said).encode() + b"\n")
        self._count += 1
        if self._marked is not None:
            self._marked(self._count)


def consent_now(desk: Desk) -> Consent:
    """A consent that counts."""
    return Consent.to_text(
        "I agree.",
        purpose=world.DECLARATION.purpose,
        legal_basis="explicit_consent",
        text_version="v1",
        given_at=desk.core.now().time,
        taken_by="desk-1",
    )


def perform(desk: Desk, places: Places, model: Model, operation: Operation) -> dict[str, Any]:
    """Do it; returns what the gate answered, as JSON."""
    arguments = dict(operation.arguments)
    identity = model.people[arguments["reference"]]["identity"] if arguments.get("reference") in model.people else None
    return _ACTIONS[operation.name](desk, places, identity, **arguments)


def _said(signed: SignedDecision) -> dict[str, Any]:
    return {"decision": [signed.decision.sequence, signed.decision.id, signed.jws], "outcome": signed.decision.outcome}


def _enroll(desk: Desk, _: Places, __: Any, *, reference: str, number: int, faces: int, groups: list[str]) -> Any:
    frames = [world.frame(number, picture) for picture in range(faces)]
    result = desk.enroller.enroll(reference, frames, consent_now(desk), groups=groups)
    return {"added": result.added}


def _add_face(desk: Desk, _: Places, identity: int, *, reference: str, picture: int) -> Any:
    return {"added": desk.enroller.add_face(reference, [world.frame(identity, picture)]).added}


def _remove_face(desk: Desk, _: Places, __: Any, *, reference: str) -> Any:
    desk.enroller.remove_face(reference, desk.enroller.faces(reference)[0].id)
    return {}


def _erase(desk: Desk, _: Places, __: Any, *, reference: str) -> Any:
    return {"certificate": desk.officer.erase(reference, checked_by=_CHECKED).jws}


def _correct(desk: Desk, _: Places, __: Any, *, reference: str, fresh: str, number: int) -> Any:
    desk.officer.correct(reference, new_reference=fresh, checked_by=_CHECKED)
    return {}


def _add_to_list(desk: Desk, _: Places, __: Any, *, name: str, number: int) -> Any:
    return {"added": desk.enroller.add_to_list(name, [world.frame(number)], consent_now(desk)).added}


def _deliver(desk: Desk, places: Places, *_: Any) -> Any:
    with JsonLinesSink(places.decisions) as sink:
        return {"delivered": desk.core.outbox.deliver(sink, limit=5).delivered}


def _move_key(desk: Desk, places: Places, *_: Any) -> Any:
    other = _KEYS[_KEYS.index(read_info(places.gate).key) - 1]
    return {"key": desk.administrator.rotate_key(other)}


def _backup(desk: Desk, places: Places, *_: Any) -> Any:
    if places.backup.exists():
        places.backup.unlink()
    desk.administrator.backup(places.backup, world.RECOVERY.public)
    return {}


def _checkpoint(desk: Desk, *_: Any) -> Any:
    with desk.core.lock:  # which guards the database
        return {"done": desk.core.store.db.checkpoint()}


_ACTIONS: dict[str, Any] = {
    "enroll": _enroll,
    "add_face": _add_face,
    "remove_face": _remove_face,
    "erase": _erase,
    "withdraw": lambda desk, *_, reference: {"certificate": desk.enroller.withdraw(reference).jws},
    "remove": lambda desk, *_, reference: {"certificate": desk.enroller.remove(reference).jws},
    "correct": _correct,
    "restrict": lambda desk, *_, reference: desk.officer.restrict(reference, checked_by=_CHECKED) or {},
    "unrestrict": lambda desk, *_, reference: desk.officer.unrestrict(reference, checked_by=_CHECKED) or {},
    "object": lambda desk, *_, reference, objects: (
        desk.officer.object_automated(reference, objects, checked_by=_CHECKED) or {}
    ),
    "make_group": lambda desk, *_, name, number: desk.enroller.make_group(name) or {},
    "delete_group": lambda desk, *_, name: desk.enroller.delete_group(name) or {},
    "join": lambda desk, *_, name, reference: desk.enroller.join(name, reference) or {},
    "leave": lambda desk, *_, name, reference: desk.enroller.leave(name, reference) or {},
    "make_list": lambda desk, *_, name, number: desk.enroller.make_list(name) or {},
    "add_to_list": _add_to_list,
    "delete_list": lambda desk, *_, name: desk.enroller.delete_list(name) or {},
    "identify": lambda desk, _, identity, *, reference, picture: _said(
        desk.recognizer.identify(world.frame(identity, picture))
    ),
    "verify": lambda desk, _, identity, *, reference, picture: _said(
        desk.recognizer.verify(reference, world.frame(identity, picture))
    ),
    "stranger": lambda desk, *_, number: _said(desk.recognizer.identify(world.frame(number))),
    "deliver": _deliver,
    "rotate_key": lambda desk, *_: {"key": desk.administrator.rotate_key()},
    "move_key": _move_key,
    "renew_rotation": lambda desk, *_: {"rotation": desk.administrator.renew_rotation()},
    "backup": _backup,
    "sweep": lambda desk, *_: {"empty": desk.officer.sweep().empty},
    "checkpoint": _checkpoint,
}


def run(
    places: Places,
    credentials: dict[str, Any],
    model: Model,
    *,
    seed: int,
    operations: int | None = None,
    marked: Any = None,
    courier: bool = True,
) -> None:
    """Open the gate and do one thing after the other; a second thread delivers meanwhile.

    Args:
        places: where everything is.
        credentials: of the gate's roles.
        model: what the gate holds.
        seed: chooses the operations.
        operations: how many; None: without end.
        marked: see `Oracle`.
        courier: whether there is that second thread.
    """
    rng = random.Random(seed)
    oracle = Oracle(places.oracle, marked)
    over = threading.Event()

    def deliver() -> None:
        try:
            with JsonLinesSink(places.decisions) as sink:
                while not over.wait(0.005):
                    desk.core.outbox.deliver(sink, limit=3)
        except BaseException:
            traceback.print_exc()
            os._exit(71)  # the parent must know of it

    with world.opened(places.gate, credentials) as desk:
        oracle.say(opened=True)
        thread = threading.Thread(target=deliver, daemon=True)
        if courier:
            thread.start()
        number = 0
        while operations is None or number < operations:
            operation = choose(model, rng)
            if courier and operation.name == "deliver":
                continue
            number += 1
            oracle.say(begun=number, name=operation.name, arguments=operation.arguments)
            answer = perform(desk, places, model, operation)
            oracle.say(done=number, answer=answer)
            model = model.after(operation)
        over.set()
        if courier:
            thread.join()
