"""A gate on disk whose models are made up: everything else in it is the real thing."""

from __future__ import annotations

import os
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey

from facegate import Frame, Policy, SigningKey, TrustStore
from facegate._credentials import ROLES, Credential
from facegate._declaration import Declaration
from facegate._gate_folder import open_gate
from facegate._new_gate import create_gate
from facegate._recovery import RecoveryKey
from facegate_edge._bundle import open_bundle
from facegate_edge._liveness import LivenessScore
from facegate_edge._quality import Quality
from facegate_edge._values import Face, Template

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from facegate._core import GateCore

__all__ = ["DEVICE_ID", "LENGTH", "SIGNER", "Desk", "Pipeline", "frame", "make_gate", "opened", "template"]

LENGTH = 128
SPACE = "test-space"
SIGNER = SigningKey.from_seed(bytes(range(32)))
RECOVERY = RecoveryKey(X25519PrivateKey.from_private_bytes(bytes(range(32, 64))))
DEVICE_ID = "door-1"
# Nobody is locked out or slowed down: how often a trial is allowed has tests of its own.
POLICY = Policy(max_attempts=0, max_trials_per_minute=0)
DECLARATION = Declaration(
    purpose="entrance",
    place="the entrance",
    operator="the tests",
    contact="the tests",
    legal_basis="explicit_consent",
    informed="a sign at the door",
    alternative="a key",
    minors=False,
    **dict.fromkeys(("public_space", "mobile_camera", "law_enforcement", "covert", "tracking"), False),
    **dict.fromkeys(("infers_emotion", "infers_gender", "infers_traits", "scraped_faces"), False),
    **dict.fromkeys(("scores_people", "predicts_crime"), False),
)
_GOOD = Quality(60.0, 120.0, 500.0, 128.0, 0.1, 0.1, 0.0, 0.0, 0.0)
_NOISE = 0.3  # pictures of one person have a similarity of about 0.9, those of two people of about 0


def frame(identity: int, picture: int = 0) -> Frame:
    """A picture of somebody: the number of the person and of the picture are in its first pixels."""
    pixels = np.zeros((4, 4, 3), np.uint8)
    pixels.reshape(-1).view(np.uint32)[:2] = identity, picture
    return Frame(pixels)


def template(identity: int, picture: int = 0) -> Template:
    """What the models make of that picture."""
    base = np.random.default_rng(identity).standard_normal(LENGTH)
    noise = np.random.default_rng([identity, picture, 1]).standard_normal(LENGTH)
    vector = base + _NOISE * noise
    return Template(np.round(vector / np.abs(vector).max() * 127).astype(np.int8), SPACE)


class Pipeline:
    """Stands for `facegate_edge.Pipeline`: reads who is in a picture instead of looking at it."""

    def __init__(self) -> None:
        self.space, self.template_length, self.has_liveness = SPACE, LENGTH, False

    def detect(self, _: Frame) -> tuple[Face, ...]:
        """One face."""
        return (Face(np.array([0, 0, 120, 120], np.float32), None, 0.9),)

    def measure(self, _frame: Frame, _face: Face) -> Quality:
        """A good one."""
        return _GOOD

    def liveness(self, _frame: Frame, _face: Face) -> LivenessScore:
        """A live one."""
        return LivenessScore(0.99)

    def embed(self, picture: Frame, _: Face) -> Template:
        """The template of who is in the picture."""
        return template(*picture.data.reshape(-1).view(np.uint32)[:2].tolist())

    def close(self) -> None:
        """Nothing to free."""


@dataclass
class Desk:
    """An opened gate with all its roles."""

    core: GateCore
    recognizer: Any
    enroller: Any
    officer: Any
    administrator: Any


def make_gate(folder: Path, bundle: Path) -> None:
    """What `facegate init` does."""
    trust = TrustStore([SIGNER.verify_key])
    with open_bundle(bundle, trust=trust) as opened_bundle:
        create_gate(folder, opened_bundle, trust, POLICY, device_id=DEVICE_ID, declaration=DECLARATION)


def credentials_of(folder: Path) -> dict[str, Credential]:
    """The credentials beside a gate."""
    beside = folder.with_name(folder.name + "-credentials")
    return {role: Credential.load(beside / f"{role}.credential") for role in ROLES}


@contextmanager
def opened(folder: Path, credentials: dict[str, Credential]) -> Iterator[Desk]:
    """The gate of a folder, by the ways that programs use."""
    gate = open_gate(folder, pipeline=Pipeline())
    try:
        yield Desk(
            gate._core,
            gate.recognizer(credentials["recognizer"]),
            gate.enroller(credentials["enroller"]),
            gate.privacy_officer(credentials["privacy_officer"]),
            gate.administrator(credentials["administrator"]),
        )
    finally:
        gate.close()


def threads_that_fork() -> None:
    """A process that will fork must not have threads of a numerics library."""
    for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
        os.environ.setdefault(name, "1")
