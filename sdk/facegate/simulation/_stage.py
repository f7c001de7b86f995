"""Where people stand, and how light falls, at a moment of a cue."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from facegate.simulation._identity import Identity
from facegate.simulation._light import Light
from facegate.simulation._look import Look
from facegate.simulation._scene import Person, Scene
from facegate.simulation._sensor import Sensor

if TYPE_CHECKING:
    from facegate.simulation._script import Cue, Script, Visitor

__all__ = ["PHASES", "phase_at", "stage"]

PHASES = ("empty", "approach", "look", "leave")

_LIGHT = {
    "even": Light(),
    "side": Light(direction=(-0.9, 0.25, 0.36), color=(0.95, 0.9, 0.82), ambient=(0.2, 0.21, 0.24)),
    "dark": Light(color=(0.07, 0.065, 0.06), ambient=(0.035, 0.037, 0.042), ground=(0.02, 0.02, 0.02), background=0.1),
    "back": Light(color=(0.3, 0.29, 0.28), ambient=(0.24, 0.25, 0.27), back=0.85, background=2.4),
}
_CLEAN = Sensor(1.0, (1.0, 1.0, 1.0), 0.4, (0.0, 0.0), 0.008, 0.0015, None)
_SENSOR = {
    "even": _CLEAN,
    "side": _CLEAN,
    "dark": replace(_CLEAN, exposure=0.8, blur=0.7, shot_noise=0.05, read_noise=0.012),
    "back": replace(_CLEAN, exposure=0.9),
}
# Of the picture's height: how tall a head is when its owner stands at the terminal, by how many stand there, and far.
_NEAR = {1: 0.52, 2: 0.36, 3: 0.3}
_FAR = 0.3  # of the near size
_HEAD = 23.0  # cm, chin to crown
_EYES = 0.43  # of the picture's height


def phase_at(cue: Cue, seconds: float) -> tuple[str, float]:
    """Which of `PHASES` it is so many seconds into a cue, and how much of it is over, 0..1."""
    if not cue.people:
        return "empty", min(1.0, seconds / cue.seconds)
    for phase in ("approach", "look", "leave"):
        length = getattr(cue, phase)
        if seconds < length or (phase == "leave" and length):
            return phase, min(1.0, seconds / length)
        seconds -= length
    return "look", 1.0


def stage(script: Script, number: int, seconds: float, *, size: tuple[int, int], seed: tuple[int, int]) -> Scene:
    """The scene so many seconds into a cue.

    Args:
        script: the script.
        number: of the cue.
        seconds: since the cue began.
        size: (width, height) of the picture.
        seed: of the camera and the number of the frame: what noise follows.
    """
    cue = script.cues[number]
    phase, share = phase_at(cue, seconds)
    width, height = size
    people = []
    for place, visitor in enumerate(cue.people):
        rng = np.random.default_rng([0x57A6E, seed[0], number, place])
        # Nobody changes clothes between two visits of a day.
        style = int(np.random.default_rng([0x5717E, seed[0], visitor.identity]).integers(1 << 31))
        look = _look(visitor, rng, seconds, style)
        people.append(_person(visitor, look, rng, phase, share, seconds, (place, len(cue.people)), size))
    return Scene(
        width,
        height,
        tuple(sorted(people, key=lambda person: person.scale)),
        background=script.background,
        light=_LIGHT[cue.light],
        sensor=_SENSOR[cue.light],
        seed=_seed(cue, number, seed),
    )


def _seed(cue: Cue, number: int, seed: tuple[int, int]) -> int:
    """Of the noise, another for each frame; but of a cue with an attack always the same, or what is held up changes."""
    if any(visitor.attack for visitor in cue.people):
        return int(np.random.default_rng([0xF4A3F, seed[0], number]).integers(1 << 31))
    return int(np.random.default_rng([0xF4A3E, *seed]).integers(1 << 31))


def _person(
    visitor: Visitor,
    look: Look,
    rng: np.random.Generator,
    phase: str,
    share: float,
    seconds: float,
    place: tuple[int, int],
    size: tuple[int, int],
) -> Person:
    """Where a visitor is, and how they hold their head: always the same for the same generator."""
    width, height = size
    at, count = place
    side = float(rng.choice((-1.0, 1.0))) if count == 1 else (-1.0 if at < count / 2 else 1.0)
    habit = rng.normal(0, 1, 6)
    near = _NEAR[count] * height / _HEAD * float(1 + 0.04 * np.clip(habit[0], -2, 2))
    stand = width * (at + 1) / (count + 1) * float(1 + 0.02 * np.clip(habit[1], -2, 2))
    if count > 1:
        stand = width * (0.5 + (at - (count - 1) / 2) * 0.31)
    # Nobody keeps still: a slow sway of a few degrees.
    sway = np.sin(seconds * np.array((2.1, 1.7, 1.3)) + habit[2:5] * 2)
    yaw, pitch, roll = 5 * sway[0] + 2.5 * habit[2], 3 * sway[1], 2 * sway[2]
    scale, x, eyes = near, stand, _EYES * height
    if phase == "approach":
        near_share = share * share * (3 - 2 * share)
        scale = near * (_FAR + (1 - _FAR) * near_share)
        x = stand + side * (1 - near_share) * 0.22 * width
        eyes = height * (_EYES + 0.02 * np.sin(9 * seconds) * (1 - share))
        yaw -= side * 25 * (1 - near_share)
    elif phase == "leave":
        x = stand + side * share * share * 0.9 * width
        yaw = yaw * (1 - share) + side * 100 * min(1.0, 1.6 * share)
    return Person(
        Identity.draw(visitor.identity),
        look,
        yaw=float(yaw),
        pitch=float(pitch),
        roll=float(roll),
        x=float(x),
        y=float(eyes),
        scale=float(scale),
        distance=float(70 * near / scale),
        attack=visitor.attack,
    )


def _look(visitor: Visitor, rng: np.random.Generator, seconds: float, style: int) -> Look:
    """Friendly, blinking now and then, and with nothing on the face but what the script says."""
    smile = float(np.clip(rng.normal(0.15, 0.2), -0.4, 0.6))
    blinking = (seconds + float(rng.uniform(0, 3))) % 3.0 > 2.85  # noqa: PLR2004 - 0.15 s of every 3
    glasses = {"glasses": "clear", "sunglasses": "sun"}
    return Look(
        smile=smile,
        blink=0.9 if blinking else 0.05,
        glasses=next((glasses[thing] for thing in visitor.wears if thing in glasses), "none"),
        covering=next((thing for thing in visitor.wears if thing in ("cap", "beanie", "scarf")), "none"),
        mask="mask" in visitor.wears,
        style=style,
    )
