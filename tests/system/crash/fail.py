"""Let each call of each operation fail that changes a file, and look whether it is done as a whole or not at all.

python -m crash.fail --bundle FILE --folder DIR --share S --seed N

For every operation of the load, and for making and opening a gate: the first call that writes, syncs, opens for
writing, renames or removes something fails, then the second, and so on until the operation needs no more calls. Each
time with an error of the file system: no space (also after half of the bytes), an I/O error, read-only. Then the disk
is well again, and

- the operation has said what happened: an error of ours with a hint, or success, which is true;
- memory and disk agree: it has happened as a whole, or not at all, in the process that goes on, in a copy of the files
  as they were right after the failure (the process was killed), and after closing and opening;
- the next operation works.

Prints a JSON object with the figures; exits with 1 if a promise was broken.
"""

from __future__ import annotations

import argparse
import copy
import errno
import json
import os
import random
import shutil
import sys
import time
import traceback
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any

from facegate import VerifyKey
from facegate.errors import FacegateError

from . import load, shim, world
from .model import WEIGHTS, Model, Operation, choose
from .promises import BrokenPromiseError, Inspector, Testimony

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["main"]

# SQLite calls an fsync that fails for want of space an I/O error, as it cannot know more.
_ERRORS = {
    "ENOSPC": (errno.ENOSPC, shim.ALL & ~shim.SYNC),
    "EIO": (errno.EIO, shim.ALL),
    "EROFS": (errno.EROFS, shim.ALL),
}
_FULL_SAYS = ("full", "room", "space")


class Trials:
    """Fails operations on copies of one gate.

    Args:
        folder: an empty one.
        bundle: the gate's.
        rng: chooses what is not tried in every way.
        share: of the possible trials, 0..1.
    """

    def __init__(self, folder: Path, bundle: Path, rng: random.Random, share: float) -> None:
        self._folder, self._bundle, self._rng, self._share = folder, bundle, rng, share
        self.figures: Counter[str] = Counter()
        self.errors: Counter[str] = Counter()
        self._base = folder / "base"
        self._base.mkdir(parents=True)
        self._places = load.Places(self._base / "gate", self._base / "decisions.jsonl", folder / "oracle")
        world.make_gate(self._places.gate, bundle)
        self._credentials = world.credentials_of(self._places.gate)
        self._key = VerifyKey.load(self._places.gate / "device.key.pub")
        self._model, self._told = Model(), Testimony()
        self._fill()

    def _fill(self) -> None:
        """A gate with a bit of everything."""
        with world.opened(self._places.gate, self._credentials) as desk:
            wanted = [name for name in WEIGHTS if name in {"make_group", "make_list", "enroll", "identify", "stranger"}]
            for name in [*wanted * 3, "restrict", "object", "add_to_list", "join", "join"]:
                self._do(desk, self._operation(name))

    def _operation(self, name: str) -> Operation:
        while True:
            operation = choose(self._model, self._rng)
            if operation.name == name:
                return operation

    def _do(self, desk: world.Desk, operation: Operation) -> None:
        answer = load.perform(desk, self._places, self._model, operation)
        self._told.acknowledged.append((operation, answer))
        self._model = self._model.after(operation)

    def every(self, name: str) -> None:
        """All failures of an operation."""
        for label in _ERRORS:
            any(not self._one(name, label, nth) for nth in self._calls())

    def _calls(self) -> Iterator[int]:
        """1, 2, 3, ...: the numbers of the calls to fail, or that share of them."""
        nth = 0
        while True:
            nth += 1
            while self._rng.random() > self._share:
                nth += 1
            yield nth

    def _one(self, name: str, label: str, nth: int) -> bool:
        """One trial; whether there was a call to fail."""
        error, kinds = _ERRORS[label]
        operation = self._operation(name)
        trial, killed = self._folder / "trial", self._folder / "killed"
        for place in (trial, killed):
            shutil.rmtree(place, ignore_errors=True)
        shutil.copytree(self._base, trial)
        places = load.Places(trial / "gate", trial / "decisions.jsonl", self._folder / "oracle")
        told = copy.deepcopy(self._told)
        half = error == errno.ENOSPC and self._rng.random() < 0.5
        once = self._rng.random() < 0.5
        where = f"{name}, call {nth}, {label}{', half written' if half else ''}{', once' if once else ''}"
        with world.opened(places.gate, self._credentials) as desk:
            failure: FacegateError | None = None
            answer: dict[str, Any] = {}
            with shim.fault(trial, nth, error, kinds=kinds, half=half, only_once=once) as fault:
                try:
                    answer = load.perform(desk, places, self._model, operation)
                except FacegateError as raised:
                    failure = raised
                except Exception as raised:
                    raise BrokenPromiseError(f"{where}: {raised!r} is no error of ours") from raised
            if not fault.failed:
                return False
            if failure is None and "added" in answer and answer["added"] < 1:
                raise BrokenPromiseError(f"{where}: nothing was added, and nobody said why")
            shutil.copytree(trial, killed)
            if failure is None:
                told.acknowledged.append((operation, answer))
            else:
                told.pending = operation
                self._clear(where, label, failure)
            inspector = Inspector(places, self._key)
            self._look(where, inspector, desk, told)
            done = failure is None or inspector.model.view() != self._model.view()
            came = (
                ("answered in spite of it" if failure is None else "done, and said to have failed")
                if done
                else "not done"
            )
            self.figures.update({"trials": 1, "failed calls": fault.failed, came: 1})
            following = Operation("stranger", {"number": 900_000 + nth})
            answer = load.perform(desk, places, inspector.model, following)
            later = Testimony(acknowledged=[(following, answer)])
            self._look(f"{where}, then", inspector, desk, later)
        self._open(f"{where}, opened again", places, inspector, Testimony())
        there = load.Places(killed / "gate", killed / "decisions.jsonl", self._folder / "oracle")
        self._open(f"{where}, killed", there, Inspector(there, self._key), told)
        return True

    def _open(self, where: str, places: load.Places, inspector: Inspector, told: Testimony) -> None:
        try:
            with world.opened(places.gate, self._credentials) as desk:
                inspector.look(desk, told)
        except Exception as error:
            raise BrokenPromiseError(f"{where}: {error}") from error

    def _look(self, where: str, inspector: Inspector, desk: world.Desk, told: Testimony) -> None:
        try:
            inspector.look(desk, told)
        except Exception as error:
            raise BrokenPromiseError(f"{where}: {error}") from error

    def _clear(self, where: str, label: str, failure: FacegateError) -> None:
        """The error says what it is, and what to do."""
        self.errors[f"{label}: {type(failure).__name__}"] += 1
        text = f"{failure} {failure.hint}"
        if not failure.hint or not str(failure):
            raise BrokenPromiseError(f"{where}: {failure!r} does not say what to do")
        if label == "ENOSPC" and not any(word in text for word in _FULL_SAYS):
            raise BrokenPromiseError(f"{where}: {failure!r} does not say that the disk is full")

    def opening(self) -> None:
        """A gate that cannot be written when it is opened: an error, and nothing is lost."""
        for label, (error, kinds) in _ERRORS.items():
            for nth in self._calls():
                trial = self._folder / "trial"
                shutil.rmtree(trial, ignore_errors=True)
                shutil.copytree(self._base, trial)
                places = load.Places(trial / "gate", trial / "decisions.jsonl", self._folder / "oracle")
                where = f"opening, call {nth}, {label}"
                with shim.fault(trial, nth, error, kinds=kinds) as fault:
                    try:
                        with world.opened(places.gate, self._credentials):
                            pass
                    except FacegateError as raised:
                        self._clear(where, label, raised)
                    except Exception as raised:
                        raise BrokenPromiseError(f"{where}: {raised!r} is no error of ours") from raised
                with world.opened(places.gate, self._credentials) as desk:
                    self._look(where, Inspector(places, self._key), desk, copy.deepcopy(self._told))
                if not fault.failed:
                    break
                self.figures["trials"] += 1

    def making(self) -> None:
        """A gate that cannot be made: an error, and nothing is left."""
        for label, (error, kinds) in _ERRORS.items():
            for nth in self._calls():
                fresh = self._folder / "fresh"
                shutil.rmtree(fresh, ignore_errors=True)
                fresh.mkdir()
                where = f"making, call {nth}, {label}"
                with shim.fault(fresh, nth, error, kinds=kinds, only_once=True) as fault:
                    try:
                        world.make_gate(fresh / "gate", self._bundle)
                    except FacegateError as raised:
                        self._clear(where, label, raised)
                        if left := sorted(path.name for path in fresh.iterdir()):
                            raise BrokenPromiseError(f"{where}: left behind {left}") from raised
                    except Exception as raised:
                        raise BrokenPromiseError(f"{where}: {raised!r} is no error of ours") from raised
                    else:
                        credentials = world.credentials_of(fresh / "gate")
                if not any(fresh.iterdir()):
                    self.figures["trials"] += 1
                elif fault.failed:
                    with world.opened(fresh / "gate", credentials):
                        self.figures["trials"] += 1
                else:
                    break


def main(arguments: list[str]) -> int:
    """See the module."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--bundle", type=Path, required=True)
    parser.add_argument("--folder", type=Path, required=True)
    parser.add_argument("--share", type=float, default=1.0)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--only", default="")
    options = parser.parse_args(arguments)
    world.threads_that_fork()
    begun = time.monotonic()
    trials = Trials(options.folder, options.bundle, random.Random(options.seed), options.share)
    names = [*WEIGHTS, "opening", "making"]
    broken = []
    for name in options.only.split(",") if options.only else names:
        try:
            if name in {"opening", "making"}:
                getattr(trials, name)()
            else:
                trials.every(name)
        except Exception as error:
            traceback.print_exc()
            broken.append(f"{type(error).__name__}: {error}")
        print(f"{name}: {trials.figures['trials']} trials so far", file=sys.stderr, flush=True)
    result = {
        **trials.figures,
        "errors": dict(sorted(trials.errors.items())),
        "broken": broken,
        "seconds": round(time.monotonic() - begun, 1),
    }
    print(json.dumps(result))
    return int(bool(broken))


if __name__ == "__main__":
    os.umask(0o077)
    sys.exit(main(sys.argv[1:]))
