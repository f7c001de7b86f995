"""Who is rendered: the parameters of a head that stay the same from one picture of a person to the next."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

# The ten tones of the Monk Skin Tone scale (Ellis Monk, 2022; skintone.google), as sRGB.
MONK_TONES = (
    (0xF6, 0xED, 0xE4),
    (0xF3, 0xE7, 0xDB),
    (0xF7, 0xEA, 0xD0),
    (0xEA, 0xDA, 0xBA),
    (0xD7, 0xBD, 0x96),
    (0xA0, 0x7E, 0x56),
    (0x82, 0x5C, 0x43),
    (0x60, 0x41, 0x34),
    (0x3A, 0x31, 0x2A),
    (0x29, 0x24, 0x20),
)

HAIR_STYLES = ("bald", "buzz", "short", "medium", "long", "curly", "receding")
BEARDS = ("none", "stubble", "mustache", "goatee", "full")

Vector = tuple[float, float, float]


@dataclass(frozen=True, slots=True)
class Identity:
    """A person who does not exist.

    Lengths are in cm on a head whose eyes are about 6.3 cm apart; shape parameters without a unit are standard
    deviations from the mean head, about -2.5..2.5. Colors are linear RGB, 0..1.

    Attributes:
        seed: the number that it was drawn from; two identities of one seed are the same person.
        monk: the skin's tone on the Monk scale, 1 (lightest)..10.
        skin: the skin's albedo.
        ruddiness: how red cheeks, nose and lips are, 0..1.
        eye_distance, eye_height, eye_width, eye_open, eye_tilt: centres of the eyes, the line that they are on, half
            the width and half the height of an eye, and how far its outer corner stands above the inner one.
        iris: its albedo.
        brow_height, brow_thickness, brow_length, brow_arch, brow_tilt, brow_density: above the eye.
        nose_length, nose_width, nose_height, nose_bridge, nose_tip, nose_hump, nose_wings: the nose.
        mouth_width, mouth_height, upper_lip, lower_lip, mouth_curve: the mouth, the thickness of its lips.
        lips: their albedo.
        head_width, head_depth, crown, face_length, jaw_width, jaw_angle, chin_length, chin_width, cheekbones, cheeks,
            forehead, brow_ridge, eye_depth: the skull.
        asymmetry: sideways shift of nose, mouth and chin.
        ears, ear_angle: their size and how far they stand out.
        hair_style, hair, hair_line, hair_volume, hair_part, hair_seed: the hair; `hair` is its albedo.
        beard, beard_length: facial hair.
        age: 0 (young)..1 (old): folds, wrinkles, bags under the eyes.
        freckles, moles, scar: marks; each mole is (x, y, radius) in cm; scar is (x, y, length, angle) or None.
    """

    seed: int
    monk: int
    skin: Vector
    ruddiness: float
    eye_distance: float
    eye_height: float
    eye_width: float
    eye_open: float
    eye_tilt: float
    iris: Vector
    brow_height: float
    brow_thickness: float
    brow_length: float
    brow_arch: float
    brow_tilt: float
    brow_density: float
    nose_length: float
    nose_width: float
    nose_height: float
    nose_bridge: float
    nose_tip: float
    nose_hump: float
    nose_wings: float
    mouth_width: float
    mouth_height: float
    upper_lip: float
    lower_lip: float
    mouth_curve: float
    lips: Vector
    head_width: float
    head_depth: float
    crown: float
    face_length: float
    jaw_width: float
    jaw_angle: float
    chin_length: float
    chin_width: float
    cheekbones: float
    cheeks: float
    forehead: float
    brow_ridge: float
    eye_depth: float
    asymmetry: float
    ears: float
    ear_angle: float
    hair_style: str
    hair: Vector
    hair_line: float
    hair_volume: float
    hair_part: float
    hair_seed: int
    beard: str
    beard_length: float
    age: float
    freckles: float
    moles: tuple[Vector, ...]
    scar: tuple[float, float, float, float] | None

    @classmethod
    def draw(cls, seed: int, *, monk: int | None = None) -> Identity:
        """Draw the person of a number.

        Args:
            seed: 0 or more; the same number is the same person.
            monk: the tone of the skin, 1..10, where it must be a certain one; the rest is drawn as ever.

        Raises:
            ValueError: `seed` is negative or `monk` outside 1..10.
        """
        if seed < 0 or (monk is not None and not 1 <= monk <= len(MONK_TONES)):
            raise ValueError(f"seed {seed} must be 0 or more, monk {monk} in 1..{len(MONK_TONES)}")
        rng = np.random.default_rng([0xFACE, seed])

        def normal(spread: float, mean: float = 0.0) -> float:
            return float(mean + spread * np.clip(rng.normal(), -2.4, 2.4))

        def uniform(low: float, high: float) -> float:
            return float(rng.uniform(low, high))

        drawn = int(rng.integers(1, len(MONK_TONES) + 1))
        tone = monk or drawn
        ruddiness = uniform(0.1, 1.0)
        age = uniform(0.0, 1.0) ** 1.2
        skin, iris, hair = _colors(tone, age, np.random.default_rng([0xC010, seed]))
        beard = str(rng.choice(BEARDS, p=(0.58, 0.14, 0.08, 0.08, 0.12)))
        style = str(rng.choice(HAIR_STYLES, p=(0.07, 0.12, 0.27, 0.17, 0.18, 0.12, 0.07)))
        moles = tuple(
            (uniform(-6.0, 6.0), uniform(-9.0, 5.0), uniform(0.08, 0.24)) for _ in range(int(rng.poisson(1.6)))
        )
        scar = None
        if rng.random() < 0.12:  # noqa: PLR2004
            scar = (uniform(-5, 5), uniform(-8, 5), uniform(1.0, 2.6), uniform(0, np.pi))
        return cls(
            seed=seed,
            monk=tone,
            skin=skin,
            ruddiness=ruddiness,
            eye_distance=normal(0.34, 6.3),
            eye_height=normal(0.28),
            eye_width=normal(0.14, 1.48),
            eye_open=max(0.28, normal(0.13, 0.56)),
            eye_tilt=normal(0.13, 0.06),
            iris=iris,
            brow_height=normal(0.28, 1.95),
            brow_thickness=max(0.12, normal(0.14, 0.38)),
            brow_length=normal(0.22, 2.15),
            brow_arch=normal(0.2, 0.28),
            brow_tilt=normal(0.16, 0.04),
            brow_density=uniform(0.35, 1.0),
            nose_length=normal(0.42, 4.5),
            nose_width=max(0.7, normal(0.22, 1.25)),
            nose_height=max(1.3, normal(0.36, 2.3)),
            nose_bridge=normal(0.28, 0.55),
            nose_tip=normal(0.28, 0.0),
            nose_hump=normal(0.22, 0.05),
            nose_wings=max(0.2, normal(0.2, 0.65)),
            mouth_width=normal(0.34, 2.6),
            mouth_height=normal(0.36, -7.1),
            upper_lip=max(0.16, normal(0.17, 0.45)),
            lower_lip=max(0.22, normal(0.2, 0.62)),
            mouth_curve=normal(0.14),
            lips=_lips(tone, skin, np.random.default_rng([0x11B5, seed])),
            head_width=normal(0.45, 7.3),
            head_depth=normal(0.5, 9.4),
            crown=normal(0.6, 11.3),
            face_length=normal(0.05, 1.0),
            jaw_width=normal(1.0),
            jaw_angle=normal(1.0),
            chin_length=normal(1.0),
            chin_width=normal(1.0),
            cheekbones=normal(1.0),
            cheeks=normal(1.0),
            forehead=normal(1.0),
            brow_ridge=normal(1.0),
            eye_depth=normal(1.0),
            asymmetry=normal(0.1),
            ears=normal(0.12, 1.0),
            ear_angle=uniform(0.15, 0.75),
            hair_style=style,
            hair=hair,
            hair_line=normal(0.55, 6.5),
            hair_volume=uniform(0.4, 1.6),
            hair_part=uniform(-1.0, 1.0),
            hair_seed=int(rng.integers(1 << 31)),
            beard=beard,
            beard_length=uniform(0.3, 1.0),
            age=float(age),
            freckles=max(0.0, uniform(-1.2, 1.0)) if tone <= 6 else 0.0,  # noqa: PLR2004
            moles=moles,
            scar=scar,
        )


_IRISES = ((0.16, 0.28, 0.42), (0.22, 0.32, 0.36), (0.2, 0.3, 0.14), (0.28, 0.18, 0.06), (0.16, 0.08, 0.03))
_DARK_IRISES = ((0.1, 0.05, 0.02), (0.05, 0.025, 0.012), (0.16, 0.08, 0.03))
_HAIR = ((0.55, 0.4, 0.2), (0.34, 0.2, 0.08), (0.2, 0.1, 0.04), (0.4, 0.13, 0.04), (0.1, 0.055, 0.03))
_DARK_HAIR = ((0.012, 0.01, 0.009), (0.03, 0.018, 0.012), (0.06, 0.03, 0.016))


def _colors(tone: int, age: float, rng: np.random.Generator) -> tuple[Vector, Vector, Vector]:
    """Of skin, iris and hair. Drawn apart from the shape, so that a head can be had in each tone."""
    skin = _skin(tone, rng)
    dark = tone >= 6  # noqa: PLR2004 - the darker half of the scale
    iris = _color(_pick(rng, _DARK_IRISES if dark or rng.random() < 0.4 else _IRISES), rng, 0.2)  # noqa: PLR2004
    hair = _color(_pick(rng, _DARK_HAIR if dark or rng.random() < 0.45 else _HAIR), rng, 0.25)  # noqa: PLR2004
    if rng.random() < max(0.0, age - 0.45) * 1.6:
        gray = float(rng.uniform(0.2, 0.65))
        hair = (gray, gray * 0.98, gray * 0.95)
    return skin, iris, hair


def _lips(tone: int, skin: Vector, rng: np.random.Generator) -> Vector:
    red = np.array([1.0, 0.62, 0.6]) if tone < 6 else np.array([1.0, 0.7, 0.68])  # noqa: PLR2004
    lips = np.clip(np.array(skin) * red * (rng.uniform(0.45, 0.95) if tone < 8 else rng.uniform(0.8, 1.3)), 0.01, 0.9)  # noqa: PLR2004
    if rng.random() < 0.15:  # noqa: PLR2004 - painted
        lips = np.array([rng.uniform(0.25, 0.6), rng.uniform(0.02, 0.12), rng.uniform(0.03, 0.2)])
    return float(lips[0]), float(lips[1]), float(lips[2])


def _pick(rng: np.random.Generator, colors: tuple[Vector, ...]) -> Vector:
    return colors[int(rng.integers(len(colors)))]


def _color(color: Vector, rng: np.random.Generator, spread: float) -> Vector:
    found = np.clip(np.array(color) * np.exp(rng.normal(0, spread)) * np.exp(rng.normal(0, spread / 3, 3)), 0.004, 0.9)
    return float(found[0]), float(found[1]), float(found[2])


def _skin(tone: int, rng: np.random.Generator) -> Vector:
    """The albedo of a tone: the scale's own color, moved a little toward its neighbours and in hue."""
    at = float(np.clip(tone - 1 + rng.uniform(-0.45, 0.45), 0, len(MONK_TONES) - 1))
    low = min(int(at), len(MONK_TONES) - 2)
    linear = (np.array(MONK_TONES) / 255.0) ** 2.2
    color = linear[low] * (1 - (at - low)) + linear[low + 1] * (at - low)
    # The swatches are skin as it looks in photographs. As albedo the lightest are too pale (hardly any skin reflects
    # over 0.7 of white light) and the darkest too dark (none reflects below 0.03).
    share = at / (len(MONK_TONES) - 1)
    shift = np.array([0.8, 0.64, 0.55]) * (1 - share) + np.array([2.4, 1.85, 1.6]) * share
    color = color * shift * np.exp(rng.normal(0, 0.05, 3) * np.array([0.5, 0.7, 1.0]))
    return float(color[0]), float(color[1]), float(color[2])
