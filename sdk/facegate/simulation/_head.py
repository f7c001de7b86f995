"""The shape of a head: an ellipsoid that is pushed and pulled into a person with an expression.

Every point of the surface keeps its place on the ellipsoid (`canon`, cm): features are put where they are on the
ellipsoid, materials are painted there, and landmarks are points of it, so that they follow each deformation exactly.
The origin is midway between the mean eyes, inside the head; x to the image's right, y up, z toward the camera.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING

import numpy as np

from facegate.simulation._mesh import Mesh, ball

if TYPE_CHECKING:
    from facegate.simulation._arrays import Floats
    from facegate.simulation._identity import Identity
    from facegate.simulation._look import Look


# The ellipsoid's half axes, in cm.
WIDTH, TOP, BOTTOM, DEPTH = 7.3, 11.3, 11.6, 9.4


def on_head(x: Floats, y: Floats) -> Floats:
    """The points of the ellipsoid's front at (x, y), in cm, (N, 3)."""
    x, y = np.asarray(x, np.float32), np.asarray(y, np.float32)
    z = _profile(y) * np.sqrt(np.maximum(1 - (x / (WIDTH * _profile(y) + 1e-6)) ** 2, 0.0)) * DEPTH
    return np.stack((x, y, z), -1).astype(np.float32)


def _profile(y: Floats) -> Floats:
    """How wide the ellipsoid is at a height, 0..1: blunter below the eyes than above."""
    below = np.minimum(np.abs(y) / BOTTOM, 1.0)
    above = np.minimum(np.abs(y) / TOP, 1.0)
    return np.where(y < 0, np.sqrt(1 - below**2.8), np.sqrt(1 - above**2.5)).astype(np.float32)


@cache
def canon_grid(rows: int = 66, columns: int = 64) -> Floats:
    """The ellipsoid's points (rows, columns, 3), dense where the face is."""
    # Heights: dense between the chin and the brows.
    knots = np.array([TOP, 0.985 * TOP, 10.2, 7.6, 4.0, 2.6, -8.6, -10.8, -BOTTOM])
    share = np.array([0.0, 0.03, 0.075, 0.12, 0.2, 0.25, 0.86, 0.96, 1.0])
    y = np.interp(np.linspace(0, 1, rows), share, knots)[:, None]
    # Angles: two thirds of the columns in the front's 130 degrees.
    at = np.linspace(-1, 1, columns, endpoint=False)
    angle = np.sign(at) * np.interp(np.abs(at), (0, 0.66, 1), (0, np.radians(68), np.pi))
    points = np.empty((rows, columns, 3), np.float32)
    profile = _profile(y.astype(np.float32))
    points[..., 0] = WIDTH * profile * np.sin(angle)
    points[..., 1] = y
    points[..., 2] = DEPTH * profile * np.cos(angle)
    points.setflags(write=False)
    return points


def _bump(x: Floats, y: Floats, cx: float, cy: float, sx: float, sy: float) -> Floats:
    return np.exp(-0.5 * (((x - cx) / sx) ** 2 + ((y - cy) / sy) ** 2))


def _smooth(at: Floats, low: float, high: float) -> Floats:
    t = np.clip((at - low) / (high - low), 0, 1)
    return t * t * (3 - 2 * t)


@dataclass(frozen=True, slots=True)
class Shape:
    """A person's head with an expression: moves points of the ellipsoid to where they are.

    Attributes:
        identity: whose.
        look: with which expression.
    """

    identity: Identity
    look: Look

    def __call__(self, canon: Floats, *, features: float = 1.0) -> Floats:
        """Shape points.

        Args:
            canon: (..., 3) on the ellipsoid.
            features: how much of the features stands out, 0..1; less for what covers them.
        """
        i = self.identity
        x, y, z = canon[..., 0], canon[..., 1], canon[..., 2]
        front = _smooth(z, -1.0, 5.0)
        side = np.abs(x)
        out = np.array(canon, np.float32)
        # The skull.
        out[..., 0] *= i.head_width / WIDTH
        out[..., 0] *= 1 - 0.17 * _smooth(-y, 1.5, 9.5)
        out[..., 0] *= 1 + (0.02 + 0.05 * i.jaw_width) * np.exp(-0.5 * ((y + 7.5) / 1.9) ** 2)
        out[..., 0] *= 1 + 0.045 * i.jaw_angle * np.exp(-0.5 * ((y + 5.0) / 1.8) ** 2)
        out[..., 0] *= 1 - (0.10 - 0.05 * i.chin_width) * _smooth(-y, 8.0, 11.0)
        out[..., 0] *= 1 + 0.03 * i.forehead * _smooth(y, 1.0, 6.0)
        out[..., 1] *= np.where(y > 0, i.crown / TOP, i.face_length)
        out[..., 1] -= 0.38 * i.chin_length * _smooth(-y, 7.6, 11.0)
        out[..., 2] *= np.where(z > 0, 1.0, i.head_depth / DEPTH)
        # The back of the head ends above the nape: pull the lower back in.
        out[..., 2] += _smooth(-z, 0.0, 6.0) * _smooth(-y, 3.0, 10.0) * 4.2
        relief = self._relief(x, y, side) * front
        out[..., 2] += relief * features
        # Features that lie at the side push outward too.
        out[..., 0] += np.sign(x) * front * 0.35 * i.cheekbones * _bump(side, y, 5.4, -2.2, 1.3, 1.5)
        shift = i.asymmetry * _smooth(-y, 0.5, 6.0) * front
        out[..., 0] += shift
        self._express(out, x, y, front)
        return out

    def _relief(self, x: Floats, y: Floats, side: Floats) -> Floats:
        """How far the face stands out of the ellipsoid, in cm."""
        i = self.identity
        half, level = i.eye_distance / 2, i.eye_height
        relief = (0.35 + 0.26 * i.brow_ridge) * _bump(side, y, half - 0.2, level + 1.75, 2.1, 0.6)
        relief += -(0.85 + 0.2 * i.eye_depth) * _bump(side, y, half - 0.1, level + 0.15, 1.55, 0.95)
        relief += 0.52 * _bump(side, y, half, level, 0.95, 0.6)
        relief += (0.32 + 0.2 * i.cheekbones) * _bump(side, y, 4.4, level - 2.4, 1.5, 1.2)
        relief += (0.32 * i.cheeks - 0.06 - 0.25 * i.age) * _bump(side, y, 4.3, -6.0, 1.5, 1.9)
        relief += 0.25 * i.forehead * _bump(side, y, 1.6, 5.2, 2.6, 1.8)
        # Folds from the nose to the corners of the mouth, and bags under the eyes, come with the years and a smile.
        fold = 2.0 + 0.42 * (-4.6 - y)
        depth = 0.1 + 0.3 * i.age + 0.16 * max(self.look.smile, 0.0)
        relief -= depth * np.exp(-0.5 * ((side - fold) / 0.28) ** 2) * _smooth(-y, 4.4, 5.2) * _smooth(y, -8.6, -7.0)
        relief += 0.16 * i.age * _bump(side, y, half, level - 1.15, 0.95, 0.26)
        relief += self._nose(x, y, side)
        # The mouth.
        m, wide = i.mouth_height, i.mouth_width
        relief += 0.35 * _bump(x, y, 0, m, wide * 0.95, 1.3)
        relief += (0.12 + 0.55 * i.upper_lip) * _bump(x, y, 0, m + 0.55 * i.upper_lip + 0.08, wide * 0.6, 0.28)
        relief += (0.12 + 0.5 * i.lower_lip) * _bump(x, y, 0, m - 0.55 * i.lower_lip - 0.1, wide * 0.55, 0.32)
        relief -= 0.3 * _bump(x, y, 0, m, wide * 0.75, 0.14)
        relief -= 0.3 * _bump(x, y, 0, m - 1.35, 1.5, 0.4)
        relief -= 0.12 * _bump(x, y, 0, m + 1.2, 0.28, 0.5)
        relief += (0.75 + 0.24 * i.chin_length) * _bump(x, y, 0, -9.9, 1.5 + 0.35 * i.chin_width, 0.95)
        if i.beard in ("full", "goatee"):
            span = 5.0 if i.beard == "full" else 1.7
            relief += 0.55 * i.beard_length * np.exp(-0.5 * (side / span) ** 4) * _smooth(-y, 7.6, 10.0)
        return relief

    def _nose(self, x: Floats, y: Floats, side: Floats) -> Floats:
        i = self.identity
        top = i.eye_height + 0.5
        tip = top - 0.3 - i.nose_length
        t = np.clip((top - y) / (top - tip), 0, 1.25)
        height = i.nose_bridge + (i.nose_height - i.nose_bridge) * t**1.5
        height += i.nose_hump * np.exp(-0.5 * ((t - 0.45) / 0.16) ** 2)
        wide = (0.52 + 0.36 * t) * (0.6 + 0.36 * i.nose_width)
        under = tip - 0.12
        end = np.where(y < under, np.exp(-0.5 * ((y - under) / 0.36) ** 2), 1.0) * _smooth(-y, -top - 0.6, -top + 1.2)
        ridge = height * np.exp(-0.5 * np.abs(x / wide) ** 2.2) * end
        ball_ = 0.28 * _bump(x, y, 0, tip + 0.1 + 0.35 * i.nose_tip, 0.55, 0.5)
        wings = i.nose_wings * 0.95 * _bump(side, y, i.nose_width, tip + 0.28, 0.42, 0.45)
        return np.asarray(ridge + ball_ + wings, np.float32)

    def _express(self, out: Floats, x: Floats, y: Floats, front: Floats) -> None:
        look, i = self.look, self.identity
        m, wide = i.mouth_height, i.mouth_width
        side = np.abs(x)
        if look.smile:
            corner = _bump(side, y, wide, m, 1.1, 0.9) * front * look.smile
            out[..., 1] += 0.42 * corner
            out[..., 0] += np.sign(x) * 0.34 * corner
            out[..., 2] -= 0.2 * corner
            cheek = _bump(side, y, 4.0, -3.4, 1.5, 1.2) * front * max(look.smile, 0.0)
            out[..., 2] += 0.34 * cheek
            out[..., 1] += 0.2 * cheek
        if look.mouth_open:
            across = np.exp(-0.5 * (x / (wide * 0.72)) ** 4)
            below = _smooth(m - y, -0.02, 0.16) * front
            jaw = np.where(y < m - 1.2, 1.0, across)
            out[..., 1] -= 1.5 * look.mouth_open * below * jaw * _smooth(y, -16.0, -9.0) ** 0.15
            out[..., 2] -= 0.35 * look.mouth_open * below * jaw
        if look.brows:
            out[..., 1] += 0.35 * look.brows * _bump(side, y, 3.2, i.eye_height + 2.0, 1.9, 0.9) * front

    def landmarks(self) -> Floats:
        """Left eye, right eye, nose tip, left and right corner of the mouth, as seen in the image: (5, 3) cm."""
        i = self.identity
        half = i.eye_distance / 2
        tip = i.eye_height + 0.2 - i.nose_length + 0.12
        x = np.array([-half, half, 0.0, -i.mouth_width, i.mouth_width], np.float32)
        y = np.array([i.eye_height, i.eye_height, tip, i.mouth_height, i.mouth_height], np.float32)
        return self(on_head(x, y))

    def head(self) -> Mesh:
        """The whole head without ears."""
        canon = canon_grid()
        return Mesh(self(canon), canon, "skin", closed=True)

    def ears(self) -> list[Mesh]:
        """Both ears."""
        i = self.identity
        if self.look.covering == "scarf":
            return []
        found = []
        for sign in (-1, 1):
            shape = ball(9, 12, (0.45 * i.ears, 2.9 * i.ears, 1.6 * i.ears), (0, 0, 0))
            canon = shape / np.array([0.45, 2.9, 1.6], np.float32)
            angle = sign * (0.3 + i.ear_angle)
            turn = np.array(
                [[np.cos(angle), 0, -np.sin(angle)], [0, 1, 0], [np.sin(angle), 0, np.cos(angle)]], np.float32
            )
            lean = np.array([[1, 0, 0], [0, 0.98, 0.17], [0, -0.17, 0.98]], np.float32)
            place = np.array([sign * (i.head_width * 0.985 + 0.35 * i.ear_angle), -1.4, -1.1], np.float32)
            found.append(Mesh((shape @ lean.T) @ turn.T + place, canon, "ear", closed=True))
        return found

    def neck(self) -> Mesh:
        """From the head into the collar; it turns with the head."""
        rows, columns = 8, 24
        t = np.linspace(0, 1, rows, dtype=np.float32)[:, None]
        around = np.linspace(-np.pi, np.pi, columns, endpoint=False, dtype=np.float32)[None, :]
        radius = (0.72 + 0.03 * self.identity.jaw_width) * self.identity.head_width * (1 + 0.12 * t**2)
        points = np.empty((rows, columns, 3), np.float32)
        points[..., 0] = radius * np.sin(around)
        points[..., 1] = -6.0 - 13.0 * t
        points[..., 2] = radius * np.cos(around) - 2.2 - 1.2 * t
        return Mesh(points, points.copy(), "neck", closed=True)
