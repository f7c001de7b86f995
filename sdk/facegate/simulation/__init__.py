"""People who do not exist, rendered: ground truth for tests, demonstrations and training.

Everything here is deterministic by seed and needs numpy and Pillow only. Rendered people are nobody: their pictures
are no personal data.
"""

from facegate.simulation._camera import Shot, SimulatedCamera
from facegate.simulation._identity import MONK_TONES, Identity
from facegate.simulation._light import Light
from facegate.simulation._look import Look
from facegate.simulation._photographs import write_photographs
from facegate.simulation._render import render
from facegate.simulation._scene import Person, Picture, Scene, TrueFace, draw_person, draw_portrait, draw_scene
from facegate.simulation._script import Cue, Script, Visitor, default_script
from facegate.simulation._sensor import Sensor

__all__ = [
    "MONK_TONES",
    "Cue",
    "Identity",
    "Light",
    "Look",
    "Person",
    "Picture",
    "Scene",
    "Script",
    "Sensor",
    "Shot",
    "SimulatedCamera",
    "TrueFace",
    "Visitor",
    "default_script",
    "draw_person",
    "draw_portrait",
    "draw_scene",
    "render",
    "write_photographs",
]
