"""A gate whose cameras show what a test wants: real bundle, gallery and keys; faces that are made up."""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import json
import os
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone

import numpy as np
import pytest
from PIL import Image

from facegate import Consent, Frame, Gate, Policy, SigningKey, open_gate
from facegate._core import GateCore
from facegate._credentials import ROLES, Credential, add_credential
from facegate._declaration import Declaration
from facegate._new_gate import create_gate
from facegate._store._audit import Audit
from facegate._store._key_providers import FileKey, new_secret
from facegate._store._store import Store
from facegate.cli import main
from facegate_convert._bundle_writer import write_bundle
from facegate_edge._bundle import open_bundle
from facegate_edge._keys import TrustStore
from facegate_edge._liveness import LivenessScore
from facegate_edge._quality import Quality
from facegate_edge._values import Face, Template

LENGTH = 128
GOOD = Quality(60.0, 120.0, 500.0, 128.0, 0.1, 0.1, 0.0, 0.0, 0.0)
BLURRED = dataclasses.replace(GOOD, sharpness=1.0)
UNMEASURABLE = dataclasses.replace(GOOD, yaw=float("nan"))
SIGNER = SigningKey.from_seed(bytes(range(32)))
DEVICE = SigningKey.from_seed(bytes(range(32, 64)))
DECLARATION = dataclasses.replace(
    Declaration.demonstration(), purpose="entrance", legal_basis="explicit_consent", place="a test's own gate"
)


@dataclass(frozen=True)
class Person:
    """A made-up face.

    Attributes:
        identity: who it is.
        noise: how far this picture is from the person: 0 is the same template; 0.3 matches, 2 does not (threshold 0.6).
        quality, live, size: what the pipeline says of it.
    """

    identity: int
    noise: float = 0.3
    quality: Quality = GOOD
    live: float = 0.99
    size: float = 120.0


class FakePipeline:
    """Shows scenes instead of looking at pixels; counts what it is asked."""

    def __init__(self, has_liveness: bool = True) -> None:
        self.space, self.template_length, self.has_liveness = "test-space", LENGTH, has_liveness
        self.scenes: dict[int, tuple[Person, ...]] = {}
        self.keep: list[Frame] = []
        self.calls: list[str] = []
        self.closed = False

    def show(self, *people: Person) -> Frame:
        """A frame that shows these people."""
        frame = Frame(np.zeros((4, 4, 3), np.uint8))
        self.keep.append(frame)  # an id is unique only as long as its object lives
        self.scenes[id(frame)] = people
        return frame

    def detect(self, frame):
        """Everybody in the scene, side by side."""
        self.calls.append("detect")
        return tuple(
            Face(np.array([i, 0, i + person.size, person.size], np.float32), None, 0.9)
            for i, person in enumerate(self.scenes[id(frame)])
        )

    def _person(self, frame, face) -> Person:
        return self.scenes[id(frame)][int(face.box[0])]

    def measure(self, frame, face):
        """What the scene says."""
        self.calls.append("measure")
        return self._person(frame, face).quality

    def liveness(self, frame, face):
        """What the scene says."""
        self.calls.append("liveness")
        return LivenessScore(self._person(frame, face).live)

    def embed(self, frame, face):
        """The person's direction and the picture's noise."""
        self.calls.append("embed")
        person = self._person(frame, face)
        base = np.random.default_rng(person.identity).standard_normal(LENGTH)
        # The noise is another with each frame, and the same with each run.
        noise = np.random.default_rng(1000 + len(self.keep) * 31 + person.identity).standard_normal(LENGTH)
        vector = base + person.noise * noise
        return Template(np.round(vector / np.abs(vector).max() * 127).astype(np.int8), self.space)

    def close(self):
        """Remember it."""
        self.closed = True


class FakeClock:
    """Time that passes when a test says so."""

    def __init__(self) -> None:
        self.moment = datetime(2026, 3, 1, 12, 0, 0, 123000, tzinfo=timezone.utc)
        self.seconds = 1000.0
        self.boots = 1

    def now(self) -> datetime:
        """The time of day."""
        return self.moment

    def monotonic(self) -> float:
        """Seconds."""
        return self.seconds

    def boot(self) -> str:
        """The id of this boot."""
        return f"boot-{self.boots}"

    def wait(self, seconds: float) -> None:
        """Let time pass."""
        self.seconds += seconds
        self.moment += timedelta(seconds=seconds)

    def restart(self, seconds: float = 20.0) -> None:
        """Turn the device off and on again, which takes a while."""
        self.boots += 1
        self.seconds = seconds
        self.moment += timedelta(seconds=seconds)


class Roles:
    """A gate with every role of it open.

    Attributes:
        gate: the gate.
        credentials: by role.
    """

    def __init__(self, gate: Gate, credentials) -> None:
        self.gate = gate
        self.credentials = credentials

    @functools.cached_property
    def recognizer(self):
        """The recognizer's role."""
        return self.gate.recognizer(self.credentials["recognizer"])

    @functools.cached_property
    def enroller(self):
        """The enroller's role."""
        return self.gate.enroller(self.credentials["enroller"])

    @functools.cached_property
    def reviewer(self):
        """The reviewer's role."""
        return self.gate.reviewer(self.credentials["reviewer"])

    @functools.cached_property
    def officer(self):
        """The privacy officer's role."""
        return self.gate.privacy_officer(self.credentials["privacy_officer"])

    @functools.cached_property
    def administrator(self):
        """The administrator's role."""
        return self.gate.administrator(self.credentials["administrator"])

    @property
    def core(self):
        """The gate's inside."""
        return self.gate._core

    def people(self) -> tuple[str, ...]:
        """The references of everybody."""
        return tuple(person.reference for person in self.enroller.people())


@pytest.fixture
def clock() -> FakeClock:
    """Time in the test's hand."""
    return FakeClock()


@pytest.fixture
def pipeline() -> FakePipeline:
    """A pipeline that sees what the test shows it."""
    return FakePipeline()


@pytest.fixture
def consent(clock) -> Consent:
    """A valid consent."""
    return Consent.to_text(
        "I agree.",
        purpose="entrance",
        legal_basis="explicit_consent",
        text_version="entrance-1",
        given_at=clock.now(),
        taken_by="reception",
    )


@pytest.fixture(scope="session")
def bundle_path(tmp_path_factory, make_manifest, model_bytes):
    """A signed bundle with detector, recogniser and liveness."""
    path = tmp_path_factory.mktemp("bundle") / "all.fgb"
    write_bundle(path, make_manifest("detector", "recognizer", "liveness"), model_bytes, SIGNER)
    return path


@pytest.fixture
def bundle(bundle_path):
    """The opened bundle."""
    with open_bundle(bundle_path, trust=TrustStore([SIGNER.verify_key])) as opened:
        yield opened


@pytest.fixture
def make_gate(bundle, clock, pipeline):
    """Makes gates of the fake pipeline, in memory, all roles open; closed when the test is over."""
    gates = []

    def make(policy: Policy | None = None, **changes) -> Roles:
        arguments = {"device_id": "door-1", "clock": clock, "pipeline": pipeline, "declaration": DECLARATION} | changes
        opened = arguments.pop("bundle", bundle)
        made = Roles(*Gate.in_memory(opened, policy or Policy(), arguments.pop("device", DEVICE), **arguments))
        gates.append(made.gate)
        return made

    yield make
    for gate in gates:
        gate.close()


@pytest.fixture
def stored(bundle, clock, pipeline, tmp_path):
    """Opens a gate on disk, all roles open: the same one each time. Close it before it is opened again."""
    credentials = {role: Credential.new(role) for role in ROLES}
    key = FileKey(tmp_path / "seal.key")
    gates = []

    def open_(policy: Policy | None = None, **changes) -> Roles:
        kept = {"space": pipeline.space, "length": pipeline.template_length, "key": key, "clock": clock}
        if not gates:
            key.save(new_secret())
            with Store.create(tmp_path, device="door-1", **kept) as made, made.db.transaction() as tx:
                Audit(made.db, DEVICE, clock).begin(tx)
                for role, credential in credentials.items():
                    add_credential(tx, credential, role, clock.now())
        arguments = {"device_id": "door-1", "clock": clock, "pipeline": pipeline, "declaration": DECLARATION} | changes
        opened, rules = arguments.pop("bundle", bundle), policy or Policy()
        core = GateCore(
            opened, rules, DEVICE, Store.open(tmp_path, **kept), owns_pipeline=False, folder=tmp_path, **arguments
        )
        gates.append(Gate(core))
        return Roles(gates[-1], credentials)

    yield open_
    for gate in gates:
        gate.close()


@pytest.fixture
def shows(pipeline, faces):
    """Makes frames of people, each an identity or (identity, changes)."""
    person, _, _ = faces

    def show(*people):
        return pipeline.show(*(person(p) if isinstance(p, int) else person(p[0], **p[1]) for p in people))

    return show


@pytest.fixture
def enrolled(make_gate, shows, consent):
    """Makes a gate with alice (identity 1) and bob (2)."""

    def make(**policy) -> Roles:
        roles = make_gate(Policy(**policy))
        for name, identity in (("alice", 1), ("bob", 2)):
            assert roles.enroller.enroll(name, [shows(identity), shows(identity)], consent).enrolled
        return roles

    return make


@pytest.fixture
def device_key():
    """The public key of the gates' device."""
    return DEVICE.verify_key


@pytest.fixture
def faces():
    """The made-up faces' module contents, for tests that show people."""
    return Person, BLURRED, UNMEASURABLE


class GateFolder:
    """A gate's folder, as `facegate init` makes one.

    Attributes:
        folder: the gate's.
        credentials: the folder with a credential of each role.
    """

    def __init__(self, folder, credentials, clock, pipeline) -> None:
        self.folder, self.credentials, self._clock, self._pipeline = folder, credentials, clock, pipeline

    @contextlib.contextmanager
    def open(self, folder=None):
        """The gate, or that of another folder with the same credentials, all roles open."""
        tokens = {role: Credential.load(self.credentials / f"{role}.credential") for role in ROLES}
        with open_gate(folder or self.folder, clock=self._clock, pipeline=self._pipeline) as gate:
            yield Roles(gate, tokens)


@pytest.fixture
def gate_folder(bundle, clock, pipeline, tmp_path) -> GateFolder:
    """A gate's folder of the fake pipeline, closed."""
    made = create_gate(
        tmp_path / "gate",
        bundle,
        TrustStore([SIGNER.verify_key]),
        Policy(fmr=1e-3),
        device_id="door-1",
        declaration=DECLARATION,
        clock=clock,
    )
    return GateFolder(tmp_path / "gate", made.credentials, clock, pipeline)


class GateCommands:
    """A gate's folder and the command line, with every credential in the environment.

    Attributes:
        folder, credentials: the gate's, and that of its credentials.
        room: the folder for files of a test; it is the current one.
    """

    def __init__(self, folder, credentials, room, capsys) -> None:
        self.folder, self.credentials, self.room, self._capsys = folder, credentials, room, capsys

    def __call__(self, *args):
        """Run a command; returns exit code, stdout and stderr."""
        code = main([str(a) for a in args])
        out, err = self._capsys.readouterr()
        return code, out, err

    def json(self, *args, code=0):
        """Run a command with --json, which must exit with that code and say nothing on stderr; what it answers."""
        found, out, err = self(*args, "--json")
        assert (found, err) == (code, ""), out or err
        return json.loads(out)

    def picture(self, name, *identities):
        """A picture of these people: its pixels say who is in it."""
        pixels = np.zeros((8, 8, 3), np.uint8)
        pixels[0, : len(identities), 0] = identities
        path = self.room / name
        path.parent.mkdir(exist_ok=True)
        Image.fromarray(pixels).save(path)
        return path

    def enroll(self, reference, identity, *args):
        """Enroll somebody from two pictures."""
        pictures = [self.picture(f"{reference}-{n}.png", identity) for n in (1, 2)]
        return self.json("people", "enroll", reference, *pictures, *args)


@pytest.fixture
def gate_commands(bundle, pipeline, tmp_path, monkeypatch, capsys, request) -> GateCommands:
    """The command line on a gate's folder whose models see who is in a picture.

    An indirect parameter changes answers of the gate's declaration.
    """
    genuine = pipeline.detect

    def detect(frame):
        pipeline.scenes[id(frame)] = tuple(Person(int(i)) for i in frame.data[0, :, 0] if i)
        pipeline.keep.append(frame)
        return genuine(frame)

    pipeline.detect = detect
    monkeypatch.setattr("facegate_edge._pipeline.Pipeline", lambda _, **__: pipeline)
    room = tmp_path / "room"
    room.mkdir()
    monkeypatch.chdir(room)
    made = create_gate(
        *(tmp_path / "gate", bundle, TrustStore([SIGNER.verify_key]), Policy(fmr=1e-3, max_trials_per_minute=0)),
        device_id="door-1",
        declaration=dataclasses.replace(DECLARATION, **getattr(request, "param", {})),
    )
    (room / "door-2026.txt").write_text("I agree to be recognized at the door.")
    for name in [name for name in os.environ if name.startswith("FACEGATE_")]:
        monkeypatch.delenv(name)
    for name, value in (
        ("FACEGATE_GATE", tmp_path / "gate"),
        ("FACEGATE_CREDENTIALS", made.credentials),
        ("FACEGATE_CONSENT_TEXT", room / "door-2026.txt"),
        ("FACEGATE_TAKEN_BY", "reception"),
    ):
        monkeypatch.setenv(name, str(value))
    return GateCommands(tmp_path / "gate", made.credentials, room, capsys)
