"""A renderer of a few lines in place of the real one, and small caches of its pictures."""

from __future__ import annotations

import sys
import types
from dataclasses import dataclass, field, replace

import numpy as np
import pytest

from facegate_convert._families import ARCFACE_112
from facegate_train import _cache
from facegate_train._pictures import Faces80, Frames, Portraits


@dataclass(frozen=True)
class Look:
    glasses: str = "none"
    occluded: bool = False


@dataclass(frozen=True)
class Identity:
    seed: int
    monk: int

    @classmethod
    def draw(cls, seed):
        """The person of a number."""
        return cls(seed, seed % 10 + 1)


@dataclass(frozen=True)
class Person:
    identity: Identity
    x: float
    y: float
    scale: float
    yaw: float = 0.0
    pitch: float = 0.0
    roll: float = 0.0
    attack: str = ""
    look: Look = field(default_factory=Look)


@dataclass(frozen=True)
class Scene:
    width: int
    height: int
    people: tuple
    seed: int


@dataclass(frozen=True)
class TrueFace:
    box: np.ndarray
    landmarks: np.ndarray
    person: Person
    visible: float
    iod: float

    @property
    def identity(self):
        """Who it is."""
        return self.person.identity


@dataclass(frozen=True)
class Picture:
    pixels: np.ndarray
    faces: tuple


def draw_person(rng, identity, *, x, y, scale, occlusion=0.0, attack=""):
    """Somebody who looks at the camera."""
    del rng
    return Person(identity, x, y, scale, attack=attack, look=Look(occluded=occlusion > 0.5))


def draw_portrait(identity, rng, *, size=160, occlusion=0.0, attack=""):
    """One face in a square."""
    person = draw_person(rng, identity, x=size / 2, y=size * 0.45, scale=size / 30, occlusion=occlusion, attack=attack)
    return Scene(size, size, (person,), int(rng.integers(1 << 31)))


def draw_scene(seed, *, width=320, height=320, faces=None, identities=(0, 10), attacks=False):
    """One face, or as many as asked for."""
    del attacks
    rng = np.random.default_rng(seed)
    people = tuple(
        draw_person(
            rng,
            Identity.draw(int(rng.integers(*identities))),
            x=float(rng.uniform(0.3, 0.7) * width),
            y=float(rng.uniform(0.3, 0.7) * height),
            scale=float(rng.uniform(3, 9)),
        )
        for _ in range(1 if faces is None else faces)
    )
    return Scene(width, height, people, seed)


def render(scene):
    """A grey picture; a face is a disc with two dark eyes, its color by identity, and stripes if it is an attack."""
    rng = np.random.default_rng(scene.seed)
    pixels = rng.integers(60, 90, (scene.height, scene.width, 3)).astype(np.uint8)
    rows, columns = np.mgrid[: scene.height, : scene.width]
    faces = []
    for person in scene.people:
        if abs(person.yaw) > 90:
            continue
        radius = 6.0 * person.scale
        middle = person.y + 0.3 * radius
        inside = np.hypot(columns - person.x, rows - middle) < radius
        color = np.random.default_rng(person.identity.seed).integers(110, 250, 3)
        pixels[inside] = np.clip(color + rng.normal(0, 4, (int(inside.sum()), 3)), 0, 255)
        if person.attack:
            pixels[inside & (rows % 4 == 0)] //= 2
        iod = 6.3 * person.scale
        points = np.array([[-0.5, 0], [0.5, 0], [0, 0.55], [-0.4, 1.1], [0.4, 1.1]]) * iod + (person.x, person.y)
        for x, y in points[:2]:
            pixels[np.hypot(columns - x, rows - y) < 0.15 * iod] = 20
        box = np.array([person.x - radius, middle - radius, person.x + radius, middle + radius], np.float32)
        faces.append(TrueFace(box, points.astype(np.float32), person, 1.0, iod))
    return Picture(pixels, tuple(faces))


@pytest.fixture
def renderer(monkeypatch):
    """The small renderer under the real one's name."""
    module = types.ModuleType("facegate.simulation")
    for name, value in (
        ("Identity", Identity),
        ("draw_person", draw_person),
        ("draw_portrait", draw_portrait),
        ("draw_scene", draw_scene),
        ("render", render),
    ):
        setattr(module, name, value)
    monkeypatch.setitem(sys.modules, "facegate.simulation", module)
    monkeypatch.setattr(_cache, "renderer_fingerprint", lambda: "tiny-1")
    return module


@pytest.fixture
def portraits(renderer, tmp_path):
    """24 portraits of 6 people."""
    del renderer
    return _cache.ensure(Portraits("train", 6, 4), tmp_path / "cache", workers=1, shard=10)


@pytest.fixture
def frames(renderer, tmp_path):
    """12 frames of 128x128, most with a face."""
    del renderer
    recipe = Frames("train", 12, empty=0.2, turned=0.3, width=128, height=128)
    return _cache.ensure(recipe, tmp_path / "cache", workers=1, shard=5)


@pytest.fixture
def faces80(renderer, tmp_path):
    """36 crops, half of them live."""
    del renderer
    return _cache.ensure(Faces80("train", 6), tmp_path / "cache", workers=1)


@pytest.fixture
def quick():
    """A plan of a few steps."""

    def make(module, steps, count, **changes):
        return replace(module.PLAN, epochs=steps / max(1, count // min(module.PLAN.batch, count)), threads=1, **changes)

    return make


@pytest.fixture
def make_recognizer_info(make_manifest):
    """The manifest entry of a recogniser that is fed as the reference one is."""

    def make():
        info = make_manifest().model("recognizer")
        entry = replace(info.input, color="RGB", mean=(127.5,) * 3, scale=(1 / 127.5,) * 3)
        return replace(info, input=entry, recognizer=replace(info.recognizer, landmarks=ARCFACE_112))

    return make
