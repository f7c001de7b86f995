"""Materials: what color a point of a surface has, and how it shines."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING

import numpy as np

from facegate.simulation._hair import azimuth

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from facegate.simulation._arrays import Floats
    from facegate.simulation._identity import Identity
    from facegate.simulation._look import Look


_SIZE = 512


@cache
def _clouds() -> Floats:
    """Tileable noise of several octaves, (512, 512), mean 0, deviation 1."""
    rng = np.random.default_rng(0xC10D)
    frequency = np.fft.fftfreq(_SIZE) * _SIZE
    radius = np.hypot(frequency[:, None], frequency[None, :])
    spectrum = np.fft.fft2(rng.normal(size=(_SIZE, _SIZE))) / np.maximum(radius, 3) ** 1.1 * (radius > 2)  # noqa: PLR2004
    found = np.fft.ifft2(spectrum).real
    return np.asarray(found / found.std(), np.float32)


@cache
def _grain() -> Floats:
    """Tileable fine noise, (512, 512), deviation 1."""
    found = np.random.default_rng(0x6417).normal(size=(_SIZE, _SIZE)).astype(np.float32)
    found = found + np.roll(found, 1, 0) + np.roll(found, 1, 1) + np.roll(found, (1, 1), (0, 1))
    return np.asarray(found / found.std(), np.float32)


def _sample(texture: Floats, u: Floats, v: Floats, seed: int) -> Floats:
    """A texture's values at (u, v), in texels, from a place that the seed names."""
    return texture[
        (v.astype(np.int32) + (seed >> 9)) % _SIZE,
        (u.astype(np.int32) + seed) % _SIZE,
    ]


def _step(at: Floats, low: float, high: float) -> Floats:
    t = np.clip((at - low) / (high - low), 0, 1)
    return t * t * (3 - 2 * t)


def _bump(x: Floats, y: Floats, cx: float, cy: float, sx: float, sy: float) -> Floats:
    return np.exp(-0.5 * (((x - cx) / sx) ** 2 + ((y - cy) / sy) ** 2))


def _blend(color: Floats, share: Floats, other: Floats | tuple[float, float, float]) -> None:
    color += share[:, None] * (np.asarray(other, np.float32) - color)


class Skin:
    """The skin of a person with a look: paints points of the head.

    Args:
        identity: whose.
        look: with which expression.
    """

    def __init__(self, identity: Identity, look: Look) -> None:
        self._identity = identity
        self._look = look

    def paint(self, canon: Floats) -> tuple[Floats, Floats]:
        """Colors and shine.

        Args:
            canon: (N, 3), places on the ellipsoid in cm.

        Returns:
            Albedo (N, 3) linear, and gloss (N,): how wet or oily, 0..1, above 1 for eyes.
        """
        i = self._identity
        x, y = canon[:, 0], canon[:, 1]
        side = np.abs(x)
        color = np.empty((len(x), 3), np.float32)
        color[:] = i.skin
        blotch = _sample(_clouds(), (x + 20) * 14, (y + 20) * 14, i.hair_seed)
        fine = _sample(_grain(), (x + 20) * 30, (y + 20) * 30, i.seed)
        color *= (1 + 0.045 * blotch + 0.02 * fine)[:, None]
        gloss = np.full(len(x), 0.3, np.float32)
        self._redden(color, x, y, side)
        front = canon[:, 2] > 0
        self._mark(color, x, y, side, fine, front)
        self._beard(color, x, y, side, fine, front)
        self._scalp(color, canon, fine)
        self._lips(color, gloss, x, y, front)
        gloss += 0.25 * _bump(x, y, 0, -3.6, 0.8, 1.2) + 0.15 * _bump(x, y, 0, 5.0, 3.0, 1.6)
        for sign in (-1, 1):
            self._brow(color, x, y, sign, fine)
            self._eye(color, gloss, x, y, sign, front)
        return color, gloss

    def _redden(self, color: Floats, x: Floats, y: Floats, side: Floats) -> None:
        i = self._identity
        red = _bump(side, y, 4.2, -3.4, 1.6, 1.3) + 0.8 * _bump(x, y, 0, -4.2, 0.9, 0.8)
        pale = 0.24 * i.ruddiness * (1 if i.monk < 6 else 0.5)  # noqa: PLR2004 - reddening shows less on dark skin
        share = pale * red
        color[:, 1] *= 1 - share
        color[:, 2] *= 1 - share * 0.8
        # The sockets are darker, more so with the years; wrinkles on the forehead.
        half = i.eye_distance / 2
        socket = _bump(side, y, half, i.eye_height - 0.2, 1.5, 0.9) * (0.1 + 0.22 * i.age)
        color *= (1 - socket)[:, None]
        if i.age > 0.35:  # noqa: PLR2004
            lines = np.maximum(0, np.cos((y - 3.6) * 5.2 + 0.12 * x)) ** 8 * _bump(x, y, 0, 4.8, 3.0, 1.0)
            feet = np.maximum(0, np.cos((y - i.eye_height) * 9 - side * 2)) ** 6 * _bump(
                side, y, half + 2.3, i.eye_height, 0.6, 0.7
            )
            color *= (1 - (i.age - 0.35) * (0.4 * lines + 0.5 * feet))[:, None]
            fold = np.exp(-0.5 * ((side - 2.0 - 0.42 * (-4.6 - y)) / 0.14) ** 2) * _step(-y, 4.6, 5.4)
            color *= (1 - 0.45 * (i.age - 0.35) * fold * _step(y, -8.2, -7.0))[:, None]
        nostril = _bump(side, y, 0.55 * i.nose_width, i.eye_height + 0.02 - i.nose_length, 0.26, 0.15)
        color *= (1 - 0.8 * np.minimum(nostril * 1.3, 1))[:, None]

    def _mark(self, color: Floats, x: Floats, y: Floats, side: Floats, fine: Floats, front: NDArray[np.bool_]) -> None:
        i = self._identity
        if i.freckles:
            share = i.freckles * 0.5 * (fine > 1.1) * _bump(side, y, 2.6, -2.4, 2.4, 1.4) * front  # noqa: PLR2004
            _blend(color, share.astype(np.float32), np.array(i.skin, np.float32) * (0.6, 0.42, 0.32))
        for mx, my, radius in i.moles:
            share = _step(radius - np.hypot(x - mx, y - my), -0.04, 0.05) * front * 0.85
            _blend(color, share, np.array(i.skin, np.float32) * (0.3, 0.2, 0.16))
        if i.scar is not None:
            sx, sy, length, angle = i.scar
            along = (x - sx) * np.cos(angle) + (y - sy) * np.sin(angle)
            across = (y - sy) * np.cos(angle) - (x - sx) * np.sin(angle)
            share = 0.6 * np.exp(-0.5 * (across / 0.1) ** 2) * _step(length / 2 - np.abs(along), 0, 0.3) * front
            _blend(color, share, np.minimum(np.array(i.skin, np.float32) * (1.35, 1.15, 1.15), 0.85))

    def _beard(self, color: Floats, x: Floats, y: Floats, side: Floats, fine: Floats, front: NDArray[np.bool_]) -> None:
        i = self._identity
        if i.beard == "none":
            return
        m, wide = i.mouth_height, i.mouth_width
        lip = _step(np.hypot(x / (wide * 1.05), (y - m) / 1.0), 0.75, 1.0)
        mustache = _step(1.1 - np.hypot(x / (wide * 1.15), (y - m - 1.25) / 0.85), 0, 0.4)
        chin = _step(1.1 - np.hypot(x / 2.3, (y - m + 2.6) / 2.3), 0, 0.4)
        jaw = _step(-y, 5.4, 6.8) * _step(np.maximum(side - 3.2, -(y - m + 0.9)), 0.0, 0.9)
        jaw = np.maximum(jaw, _step(side, 5.6, 6.3) * _step(-y, 2.0, 5.0) * 0.8)
        cover = {
            "mustache": mustache,
            "goatee": np.maximum(mustache, chin),
            "full": np.maximum.reduce((mustache, chin, jaw)),
            "stubble": np.maximum.reduce((mustache, chin, jaw)),
        }[i.beard]
        dense = 0.5 if i.beard == "stubble" else 0.75 + 0.25 * i.beard_length
        share = np.clip(cover * lip * dense * (0.9 + 0.25 * fine), 0, 1) * front
        _blend(color, share, np.array(i.hair, np.float32) * 0.85 + 0.1 * np.array(i.skin, np.float32))

    def _scalp(self, color: Floats, canon: Floats, fine: Floats) -> None:
        i = self._identity
        if i.hair_style == "bald":
            return
        angle = azimuth(canon)
        line = i.hair_line + np.interp(angle, (0, 28, 46, 58, 70, 180), (0.2, -0.1, -1.1, -3.5, -6.0, -11.0))
        share = np.clip(_step(canon[:, 1] - line, -0.5, 0.6) * (0.75 + 0.2 * fine), 0, 1)
        _blend(color, share.astype(np.float32), i.hair)

    def _lips(self, color: Floats, gloss: Floats, x: Floats, y: Floats, front: NDArray[np.bool_]) -> None:
        i, look = self._identity, self._look
        m, wide = i.mouth_height, i.mouth_width
        u = np.clip(np.abs(x) / wide, 0, 1.2)
        taper = np.maximum(1 - u**2, 0)
        line = m + i.mouth_curve * (u**2 - 0.3) * 0.5
        bow = 1 - 0.35 * np.exp(-0.5 * (x / 0.28) ** 2)
        top = line + (i.upper_lip * 1.15 * bow + 0.05) * taper**0.7
        bottom = line - (i.lower_lip * 1.2 + 0.05) * taper**0.6
        share = _step(np.minimum(top - y, y - bottom), -0.05, 0.09) * front * (u < 1.02)  # noqa: PLR2004
        _blend(color, 0.85 * share, i.lips)
        gloss += 0.35 * share
        gap = 0.055 + 0.05 * look.mouth_open
        dark = _step(gap * taper**0.3 - np.abs(y - line), -0.03, 0.03) * (u < 1) * front
        if look.mouth_open > 0.12:  # noqa: PLR2004
            teeth = _step(y - line, -0.02, 0.02) * _step(0.75 - u, 0, 0.2)
            inside = np.array((0.06, 0.015, 0.012), np.float32) + teeth[:, None] * np.float32(0.5)
            color += dark[:, None] * (inside - color)
        else:
            _blend(color, 0.85 * dark, np.array(i.lips, np.float32) * 0.25)

    def _brow(self, color: Floats, x: Floats, y: Floats, sign: int, fine: Floats) -> None:
        i = self._identity
        u = (sign * x - i.eye_distance / 2 + 0.2) / i.brow_length
        level = i.eye_height + i.brow_height + i.brow_arch * (1 - (u - 0.25) ** 2 * 1.6) + i.brow_tilt * u
        thick = i.brow_thickness * np.clip(1.0 - 0.5 * np.maximum(u, 0), 0.2, 1)
        share = _step(1 - np.abs(y - level) / thick, 0.0, 0.7) * _step(1 - np.abs(u), 0, 0.2)
        share = np.clip(share * i.brow_density * (0.95 + 0.22 * fine), 0, 1)
        _blend(color, share.astype(np.float32), np.array(i.hair, np.float32) * 0.7)

    def _eye(self, color: Floats, gloss: Floats, x: Floats, y: Floats, sign: int, front: NDArray[np.bool_]) -> None:
        i, look = self._identity, self._look
        near = front & (np.abs(sign * x - i.eye_distance / 2) < 2.2) & (np.abs(y - i.eye_height) < 1.6)  # noqa: PLR2004
        at = np.flatnonzero(near)
        if not len(at):
            return
        # u: -1 at the inner corner, 1 at the outer one.
        u = (sign * x[at] - i.eye_distance / 2) / i.eye_width
        v = y[at] - i.eye_height - i.eye_tilt * u
        arch = np.maximum(1 - u**2, 0.0)
        open_ = i.eye_open * (1 - look.blink) * (1.08 + 0.18 * look.brows)
        upper = open_ * arch**0.6 * (1 - 0.1 * u)
        lower = -(0.62 * i.eye_open + 0.35 * look.blink * i.eye_open) * arch**0.8
        inside = _step(np.minimum(upper - v, v - lower), -0.02, 0.05) * (np.abs(u) < 1)
        part = color[at]
        # The lid's crease and its shadow, the lashes.
        crease = np.exp(-0.5 * ((v - i.eye_open * arch**0.5 - 0.28) / 0.09) ** 2) * arch**0.3
        part *= (1 - 0.35 * crease)[:, None]
        white = np.array((0.5, 0.46, 0.43), np.float32) * (1 - 0.25 * np.abs(u))[:, None]
        white[:, 1:] *= (1 - 0.3 * _step(-u, 0.75, 1.0))[:, None]
        gx, gy = 0.32 * look.gaze[0] * sign, 0.18 * look.gaze[1] + 0.04
        r = np.hypot(u * i.eye_width - gx, v - gy) / 0.6
        spokes = 1 + 0.15 * np.sin(np.arctan2(v - gy, u * i.eye_width - gx) * 17)
        iris = np.array(i.iris, np.float32) * (spokes * (1.2 - 0.5 * _step(r, 0.75, 1.0)))[:, None]
        eye = white + _step(1 - r, -0.05, 0.08)[:, None] * (iris - white)
        eye *= _step(r, 0.34, 0.46)[:, None]
        # The upper lid shades the eye.
        eye *= (0.45 + 0.55 * _step(upper - v, 0.0, 0.4))[:, None]
        part += inside[:, None] * (eye - part)
        lash = np.exp(-0.5 * ((v - upper) / 0.075) ** 2) * arch**0.25 * (np.abs(u) < 1.05)  # noqa: PLR2004
        low_lash = 0.35 * np.exp(-0.5 * ((v - lower) / 0.06) ** 2) * arch**0.25
        part *= (1 - np.minimum(0.88 * lash + low_lash, 0.95))[:, None]
        color[at] = part
        gloss[at] += 1.6 * inside


def paint_hair(identity: Identity, canon: Floats) -> tuple[Floats, Floats]:
    """Strands: darker and lighter along the way they fall."""
    angle = np.arctan2(canon[:, 0], canon[:, 2])
    curly = identity.hair_style in ("curly", "buzz")
    strand = _sample(
        _clouds() if curly else _grain(),
        (angle + 4) * (60 if curly else 75),
        (canon[:, 1] + 30) * (12 if curly else 1.2),
        identity.hair_seed,
    )
    broad = _sample(_clouds(), (angle + 4) * 30, (canon[:, 1] + 30) * 2, identity.hair_seed)
    color = np.array(identity.hair, np.float32) * np.exp(0.3 * strand + 0.2 * broad)[:, None]
    return color.astype(np.float32), np.full(len(canon), 0.12 if curly else 0.45, np.float32)


def paint_cloth(canon: Floats, seed: int, part: str) -> tuple[Floats, Floats]:
    """Cloth of some color, plain, striped, checked or blotched."""
    rng = np.random.default_rng([0xC107, seed, sum(part.encode())])
    base = np.clip(rng.beta(0.8, 1.2) * np.exp(rng.normal(0, 0.5, 3)), 0.01, 0.85)
    if part == "mask" and rng.random() < 0.7:  # noqa: PLR2004
        base = np.array(((0.5, 0.68, 0.78), (0.75, 0.75, 0.75), (0.02, 0.02, 0.02))[int(rng.integers(3))])
    other = np.clip(rng.beta(0.8, 1.2) * np.exp(rng.normal(0, 0.5, 3)), 0.01, 0.85)
    kind = rng.random()
    x, y = canon[:, 0], canon[:, 1]
    color = np.empty((len(x), 3), np.float32)
    color[:] = base
    if part != "mask":
        width = rng.uniform(0.8, 3.5)
        if kind < 0.16:  # noqa: PLR2004
            _blend(color, (np.sin(y * np.pi / width) > 0).astype(np.float32), other)
        elif kind < 0.28:  # noqa: PLR2004
            _blend(color, 0.5 * ((np.sin(y * np.pi / width) > 0) ^ (np.sin(x * np.pi / width) > 0)), other)
        elif kind < 0.4:  # noqa: PLR2004
            _blend(color, _step(_sample(_clouds(), (x + 40) * 6, (y + 60) * 6, seed), -0.2, 0.3), other)
    else:
        color *= (1 - 0.12 * (np.maximum(0, np.cos(y * 2.6)) ** 6))[:, None]
    color *= (1 + 0.05 * _sample(_grain(), (x + 40) * 9, (y + 60) * 9, seed))[:, None]
    return color, np.full(len(x), 0.05, np.float32)


def paint_glasses(look: Look, canon: Floats) -> tuple[Floats, Floats, Floats]:
    """Color (N, 3), how much it hides 0..1 (N,), and gloss (N,) of the sheet before the eyes."""
    rng = np.random.default_rng([0x61A5, look.style])
    x, y = np.abs(canon[:, 0]), canon[:, 1]
    wide, high = rng.uniform(2.35, 2.9), rng.uniform(1.6, 2.25)
    power = rng.uniform(2.2, 5.0)
    thick = rng.uniform(0.12, 0.42)
    center = rng.uniform(3.15, 3.4)
    far = ((np.abs(x - center) / wide) ** power + (np.abs(y) / high) ** power) ** (1 / power)
    distance = (far - 1) * high
    rim = _step(thick - np.abs(distance), -0.04, 0.04)
    bridge = _step(thick * 0.8 - np.abs(y - 0.55 * high), -0.04, 0.04) * (x < center - wide * 0.85)
    rim = np.maximum(rim, bridge)
    lens = _step(-distance, 0, 0.05)
    frame = np.clip(rng.beta(0.6, 2.5) * np.exp(rng.normal(0, 0.35, 3)), 0.008, 0.6)
    tint = np.array((0.02, 0.02, 0.02)) + 0.04 * rng.random(3)
    hides = (rng.uniform(0.82, 0.97) if look.glasses == "sun" else 0.05) * lens
    alpha = np.maximum(rim, hides)
    color = np.where((rim > hides)[:, None], frame, tint).astype(np.float32)
    gloss = np.where(rim > 0.5, 0.5, lens * (1.2 if look.glasses == "sun" else 0.9))  # noqa: PLR2004
    return color, alpha.astype(np.float32), gloss.astype(np.float32)
