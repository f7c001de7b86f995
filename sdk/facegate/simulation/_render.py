"""From a scene to a picture."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from facegate.simulation._background import draw_background
from facegate.simulation._layer import Layer, hide, lay, meter
from facegate.simulation._person import draw
from facegate.simulation._scene import Picture, TrueFace
from facegate.simulation._sensor import expose
from facegate.simulation._spoof import show

if TYPE_CHECKING:
    from facegate.simulation._arrays import Floats
    from facegate.simulation._scene import Scene


def render(scene: Scene, *, behind: Floats | None = None) -> Picture:
    """Render a scene.

    Args:
        scene: what there is.
        behind: its `backdrop`, from whoever has rendered the room before; it is not changed.

    Returns:
        The picture and the truth about its faces.
    """
    rng = np.random.default_rng([0x12E, scene.seed])
    linear = backdrop(scene) if behind is None else np.array(behind)
    faces: list[tuple[TrueFace, Layer]] = []
    for number, person in enumerate(scene.people):
        if person.attack:
            held = np.random.default_rng([0xA77, scene.seed, number])
            linear, layer, truth = show(linear, person, scene.light, held)
        else:
            layer, truth = draw(person, scene.light, scene.width, scene.height)
            if layer is not None:
                lay(linear, layer)
        if layer is None:
            continue
        for _, below in faces:
            hide(below, layer)
        if truth is not None and _inside(truth, scene):
            faces.append((truth, layer))
    seen = tuple(replace(truth, visible=layer.visible) for truth, layer in faces)
    linear *= meter(linear)
    return Picture(expose(linear, scene.sensor, rng), seen)


def _inside(face: TrueFace, scene: Scene) -> bool:
    """Whether any of the face's box is in the picture: a body may be where its face is not."""
    x1, y1, x2, y2 = face.box
    return bool(x1 < scene.width and y1 < scene.height and x2 > 0 and y2 > 0)


def backdrop(scene: Scene) -> Floats:
    """What is behind the people: float32 (H, W, 3), linear light."""
    rng = np.random.default_rng([0xBAC, scene.background])
    return np.asarray(draw_background(rng, scene.width, scene.height) * scene.light.background, np.float32)
