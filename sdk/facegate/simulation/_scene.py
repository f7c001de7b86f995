"""What is rendered, and the truth about it: scenes of people under a light, before a camera."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from facegate.simulation._attack import ATTACKS
from facegate.simulation._checks import check_choice, check_range, check_seed, check_size
from facegate.simulation._identity import Identity
from facegate.simulation._light import Light
from facegate.simulation._look import Look
from facegate.simulation._sensor import Sensor

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from facegate.simulation._arrays import Floats
    from facegate_edge import Frame


YAW, PITCH, ROLL = 45.0, 25.0, 20.0
# What a picture of a terminal may hold: beyond it a render takes long for nothing.
_LARGEST, _FAR, _SCALE = 8192, 1e5, 150.0


@dataclass(frozen=True, slots=True)
class Person:
    """Somebody in a scene.

    Attributes:
        identity: who.
        look: expression, what is worn.
        yaw, pitch, roll: the head's turn in degrees: toward the image's right, up, clockwise as seen. A yaw of 180
            shows the back of the head: then there is no face.
        x, y: where the midpoint of the eyes is, in pixels.
        scale: pixels per cm at the eyes.
        distance: of the camera, in cm: what perspective follows.
        attack: what is presented instead of the live person: "" (nothing) or one of `ATTACKS`.

    Raises:
        FrameError: a number is none, or beyond what can be rendered: turns of 180 and 90 degrees, 150 pixels per cm,
            a camera nearer than 20 cm; or there is no such attack.
    """

    identity: Identity
    look: Look = field(default_factory=Look)
    yaw: float = 0.0
    pitch: float = 0.0
    roll: float = 0.0
    x: float = 80.0
    y: float = 70.0
    scale: float = 5.6
    distance: float = 75.0
    attack: str = ""

    def __post_init__(self) -> None:
        # The back of a head may be turned a little beyond 180 degrees.
        check_range("yaw", self.yaw, -360, 360)
        for name in ("pitch", "roll"):
            check_range(name, getattr(self, name), -90, 90)
        for name in ("x", "y"):
            check_range(name, getattr(self, name), -_FAR, _FAR)
        check_range("scale", self.scale, 0.05, _SCALE)
        check_range("distance", self.distance, 20, 1e4)
        check_choice("attack", self.attack, ("", *ATTACKS))


@dataclass(frozen=True, slots=True)
class Scene:
    """All that a picture is made from; the same scene is the same picture.

    Attributes:
        width, height: pixels.
        people: far ones first.
        background: the seed of what is behind them.
        light: how all of it is lit.
        sensor: how the camera records it.
        seed: of noise and of how attacks are held.

    Raises:
        FrameError: a side is no whole number of 1..8192 pixels, or a seed no whole number of 0 or more.
    """

    width: int
    height: int
    people: tuple[Person, ...] = ()
    background: int = 0
    light: Light = field(default_factory=Light)
    sensor: Sensor = field(default_factory=Sensor.clean)
    seed: int = 0

    def __post_init__(self) -> None:
        for name in ("width", "height"):
            check_size(name, getattr(self, name), _LARGEST)
        for name in ("background", "seed"):
            check_seed(name, getattr(self, name))


@dataclass(frozen=True, slots=True, eq=False)
class TrueFace:
    """A face that is in a picture.

    Attributes:
        box: float32 (4,), x1 y1 x2 y2 in pixels: forehead to chin, ear to ear; may reach outside the picture.
        landmarks: float32 (5, 2): left eye, right eye, nose tip, left and right corner of the mouth as seen.
        person: who, and how.
        visible: 0..1, how much of the face is inside the picture and not behind something.
        iod: what the distance of the eyes would be if the face were turned to the camera, in pixels: lengths are
            compared with it because it does not shrink as a head turns.
    """

    box: Floats
    landmarks: Floats
    person: Person
    visible: float
    iod: float

    @property
    def identity(self) -> Identity:
        """Who it is, or whose face a presentation attack shows."""
        return self.person.identity

    @property
    def attack(self) -> str | None:
        """The species of a presentation attack, None for a live face."""
        return self.person.attack or None


@dataclass(frozen=True, slots=True, eq=False)
class Picture:
    """A rendered scene.

    Attributes:
        pixels: uint8 (H, W, 3), RGB.
        faces: the faces in it that are turned to the camera, far ones first.
    """

    pixels: NDArray[np.uint8]
    faces: tuple[TrueFace, ...]

    @property
    def frame(self) -> Frame:
        """The picture as the runtime takes it."""
        from facegate_edge import Frame  # noqa: PLC0415 - loads the kernels

        return Frame(self.pixels)


def draw_person(
    rng: np.random.Generator,
    identity: Identity,
    *,
    x: float,
    y: float,
    scale: float,
    occlusion: float = 0.1,
    attack: str = "",
) -> Person:
    """Somebody in any pose that a terminal must cope with: yaw +-45, pitch +-25, roll +-20 degrees.

    Frontal poses are likelier, as they are before a terminal; the ends of the ranges are drawn too.
    """

    def turn(limit: float) -> float:
        wide = rng.uniform(-1, 1) if rng.random() < 0.6 else float(np.clip(rng.normal(0, 0.35), -1, 1))  # noqa: PLR2004
        return float(wide * limit)

    return Person(
        identity,
        Look.draw(rng, identity, occlusion=occlusion),
        yaw=turn(YAW),
        pitch=turn(PITCH),
        roll=turn(ROLL),
        x=x,
        y=y,
        scale=scale,
        distance=float(rng.uniform(45, 160)),
        attack=attack,
    )


def draw_portrait(
    identity: Identity,
    rng: np.random.Generator,
    *,
    size: int = 160,
    occlusion: float = 0.0,
    attack: str = "",
) -> Scene:
    """A scene of one face that fills a square picture."""
    scale = size / 160 * rng.uniform(4.6, 6.2)
    person = draw_person(
        rng,
        identity,
        x=size * rng.uniform(0.45, 0.55),
        y=size * rng.uniform(0.4, 0.48),
        scale=float(scale),
        occlusion=occlusion,
        attack=attack,
    )
    return Scene(
        size,
        size,
        (person,),
        background=int(rng.integers(1 << 31)),
        light=Light.draw(rng),
        sensor=Sensor.draw(rng),
        seed=int(rng.integers(1 << 31)),
    )


def draw_scene(
    seed: int,
    *,
    width: int = 320,
    height: int = 320,
    faces: int | None = None,
    identities: tuple[int, int] = (0, 1_000_000),
    attacks: bool = False,
) -> Scene:
    """A scene with some people in it.

    Args:
        seed: of all that is drawn.
        width: pixels.
        height: pixels.
        faces: how many faces; None draws 0..5.
        identities: the range that seeds of identities are drawn from.
        attacks: whether some of the faces are presentation attacks.

    Raises:
        FrameError: a seed, a size or the number of faces is negative or no whole number.
    """
    check_seed("seed", seed)
    if faces is not None:
        check_seed("faces", faces)
    for name, side_ in (("width", width), ("height", height)):
        check_size(name, side_, _LARGEST)
    rng = np.random.default_rng([0x5CE, seed])
    count = int(rng.choice(6, p=(0.12, 0.4, 0.2, 0.13, 0.09, 0.06))) if faces is None else faces
    people: list[Person] = []
    taken: list[tuple[float, float, float]] = []
    side = min(width, height)
    for _ in range(count * 12):
        if len(people) == count:
            break
        # From a face of a fourteenth of the picture to one that nearly fills it, each octave as likely.
        tall = side * float(np.exp(rng.uniform(np.log(0.075), np.log(0.72 if count == 1 else 0.5))))
        x, y = float(rng.uniform(0.06, 0.94) * width), float(rng.uniform(0.06, 0.9) * height)
        if any(np.hypot(x - a, y - b) < 0.62 * (tall + t) for a, b, t in taken):
            continue
        taken.append((x, y, tall))
        attack = str(rng.choice(ATTACKS)) if attacks and rng.random() < 0.5 else ""  # noqa: PLR2004
        identity = Identity.draw(int(rng.integers(*identities)))
        people.append(draw_person(rng, identity, x=x, y=y - 0.1 * tall, scale=tall / 17.0, attack=attack))
    if rng.random() < 0.12 and not people:  # noqa: PLR2004 - somebody who looks away: no face
        identity = Identity.draw(int(rng.integers(*identities)))
        away = draw_person(rng, identity, x=width * 0.5, y=height * 0.4, scale=side * rng.uniform(0.01, 0.03))
        people.append(_away(away, rng))
    people.sort(key=lambda p: p.scale)
    return Scene(
        width,
        height,
        tuple(people),
        background=int(rng.integers(1 << 31)),
        light=Light.draw(rng),
        sensor=Sensor.draw(rng),
        seed=seed,
    )


def _away(person: Person, rng: np.random.Generator) -> Person:
    from dataclasses import replace  # noqa: PLC0415

    look = replace(person.look, mask=False, hand=False, glasses="none")
    return replace(person, yaw=float(180 + rng.uniform(-35, 35)), look=look)
