"""Somebody who shows the camera another person's face: the photograph, and how it comes before the camera."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from facegate.simulation._attack import Placement, present, present_mask
from facegate.simulation._background import draw_background
from facegate.simulation._identity import Identity
from facegate.simulation._layer import Layer, lay, meter
from facegate.simulation._light import Light
from facegate.simulation._person import PROFILE, draw
from facegate.simulation._scene import TrueFace
from facegate.simulation._sensor import Sensor, expose

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from facegate.simulation._arrays import Floats
    from facegate.simulation._scene import Person

# Whoever wears a mask is nobody from the range of seeds that the shown person is from.
_WEARERS = 100_000_000
# A photograph's larger side, in pixels: more than a camera resolves of it is work for nothing.
_LARGEST = 360
_OVAL = np.linspace(0, 2 * np.pi, 32, endpoint=False)


def show(
    linear: Floats, person: Person, light: Light, rng: np.random.Generator
) -> tuple[Floats, Layer | None, TrueFace | None]:
    """Put a presentation attack into a picture.

    Args:
        linear: float32 (H, W, 3), linear light: the scene so far. Not changed.
        person: whose face is shown, where and how; `attack` is the species.
        light: of the scene.
        rng: draws how the attack is made and held.

    Returns:
        The scene with the attack, what it covers, and the face that is shown. Where nothing can be shown (the head is
        turned away, or the wearer of a mask is outside the picture), the scene is as it was and the others are None.
    """
    if abs(person.yaw) >= PROFILE:
        return linear, None, None
    photo, shot = _photograph(person, rng)
    face = _box(shot)
    facing = np.array(light.color) * max(light.direction[2], 0.0) + 0.5 * (
        np.array(light.ambient) + np.array(light.ground)
    )
    falls = (float(facing[0]), float(facing[1]), float(facing[2]))
    height, width = linear.shape[:2]
    if person.attack == "paper_mask":
        wearer = _wearer(person, rng)
        layer, live = draw(wearer, light, width, height)
        if layer is None or live is None:
            return linear, None, None
        scene = np.array(linear)
        lay(scene, layer)
        done = present_mask(
            photo,
            face,
            shot.landmarks,
            scene,
            live.landmarks,
            rng,
            light=falls,
            side=float(light.direction[0]),
        )
        box = live.box
        # What the wearer covers hides others too, and the face that shows is the mask's.
        cover = np.array(done.cover)
        x, y = layer.corner
        part = cover[y : y + layer.alpha.shape[0], x : x + layer.alpha.shape[1]]
        np.maximum(part, layer.alpha, out=part)
    else:
        wide = (face[2] - face[0]) * person.scale / shot.person.scale
        middle = person.y + 0.13 * wide
        at = Placement(person.x, middle, wide, person.roll)
        done = present(person.attack, photo, face, linear, rng, at=at, light=falls)
        box = None
        cover = done.cover
    landmarks = _mapped(done.matrix, shot.landmarks)
    if box is None:
        x1, y1, x2, y2 = face
        oval = np.stack(
            ((x1 + x2) / 2 + (x2 - x1) / 2 * np.cos(_OVAL), (y1 + y2) / 2 + (y2 - y1) / 2 * np.sin(_OVAL)), 1
        )
        outline = _mapped(done.matrix, oval)
        box = np.concatenate((outline.min(0), outline.max(0))).astype(np.float32)
    truth = TrueFace(box, landmarks, person, 0.0, float(person.scale * person.identity.eye_distance))
    layer = _cover(cover, box)
    return done.linear, layer, truth


def _cover(cover: Floats, box: Floats) -> Layer:
    height, width = cover.shape
    face = np.zeros_like(cover)
    x1, y1 = np.maximum(np.floor(box[:2]).astype(int), 0)
    x2, y2 = np.minimum(np.ceil(box[2:]).astype(int), (width, height))
    if x1 < x2 and y1 < y2:
        face[y1:y2, x1:x2] = cover[y1:y2, x1:x2]
    area = float((box[2] - box[0]) * (box[3] - box[1]))
    return Layer(np.zeros((0, 0, 3), np.float32), cover, face, area, (0, 0))


def _photograph(person: Person, rng: np.random.Generator) -> tuple[NDArray[np.uint8], TrueFace]:
    """A picture of the person, taken before under some other light and mostly from the front."""
    scale = min(max(person.scale, 5.0), _LARGEST / 34.0)
    size = int(scale * 34)
    look = replace(person.look, mask=False, hand=False, glasses="clear" if person.look.glasses == "clear" else "none")
    posed = replace(
        person,
        look=look,
        yaw=0.5 * person.yaw,
        pitch=0.4 * person.pitch,
        roll=0.0,
        x=size / 2,
        y=size * 0.44,
        scale=scale,
        distance=110.0,
        attack="",
    )
    light = replace(Light.draw(rng), back=0.0)
    scene = draw_background(rng, size, size) * np.float32(light.background)
    layer, truth = draw(posed, light, size, size)
    if layer is None or truth is None:  # it stands in the middle of the picture and looks into the camera
        raise AssertionError("a photograph without its person")
    lay(scene, layer)
    scene *= meter(scene)
    return expose(scene, Sensor.clean(), rng), truth


def _wearer(person: Person, rng: np.random.Generator) -> Person:
    identity = Identity.draw(_WEARERS + person.identity.seed)
    look = replace(person.look, mask=False, hand=False, glasses="none", style=int(rng.integers(1 << 31)))
    return replace(person, identity=identity, look=look, attack="")


def _box(face: TrueFace) -> tuple[float, float, float, float]:
    x1, y1, x2, y2 = face.box.tolist()
    return x1, y1, x2, y2


def _mapped(matrix: NDArray[np.float64], points: Floats) -> Floats:
    """Points (N, 2) moved by a homography."""
    moved = np.concatenate((points, np.ones((len(points), 1))), 1) @ matrix.T
    return np.ascontiguousarray(moved[:, :2] / moved[:, 2:], np.float32)
