"""What changes from one picture of a person to the next: expression, what is worn, what covers the face."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from facegate.simulation._checks import check_choice, check_range, check_seed

if TYPE_CHECKING:
    from facegate.simulation._identity import Identity

GLASSES = ("none", "clear", "sun")
COVERINGS = ("none", "cap", "beanie", "scarf")


@dataclass(frozen=True, slots=True)
class Look:
    """How a person looks in one picture.

    Attributes:
        smile: -1 (sad)..1.
        mouth_open, blink: 0..1.
        brows: -1 (frown)..1 (raised).
        gaze: where the eyes look, (right, up), each -1..1.
        glasses: one of `GLASSES`; frame and size follow `style`.
        covering: one of `COVERINGS`, what is on the head.
        mask: whether a face mask covers mouth and nose.
        hand: whether a hand is before the lower face.
        style: the seed of clothes, frames and colors.

    Raises:
        FrameError: a value is outside its range, or no such thing is worn.
    """

    smile: float = 0.0
    mouth_open: float = 0.0
    blink: float = 0.0
    brows: float = 0.0
    gaze: tuple[float, float] = (0.0, 0.0)
    glasses: str = "none"
    covering: str = "none"
    mask: bool = False
    hand: bool = False
    style: int = 0

    def __post_init__(self) -> None:
        for name in ("smile", "brows"):
            check_range(name, getattr(self, name), -1, 1)
        for name in ("mouth_open", "blink"):
            check_range(name, getattr(self, name), 0, 1)
        for value in self.gaze:
            check_range("gaze", value, -1, 1)
        check_choice("glasses", self.glasses, GLASSES)
        check_choice("covering", self.covering, COVERINGS)
        check_seed("style", self.style)

    @property
    def occluded(self) -> bool:
        """Whether something hides eyes, nose or mouth."""
        return self.mask or self.hand or self.glasses == "sun"

    @classmethod
    def draw(cls, rng: np.random.Generator, identity: Identity, *, occlusion: float = 0.0) -> Look:
        """Draw a look.

        Args:
            rng: where it is drawn from.
            identity: who; some people mostly wear glasses or a covering, as people do.
            occlusion: how likely mask, sunglasses or hand is, 0..1.
        """
        habit = np.random.default_rng([0x100C, identity.seed])
        wears_glasses, wears_covering = habit.random() < 0.25, habit.random()  # noqa: PLR2004
        covering = "none"
        if wears_covering < 0.08:  # noqa: PLR2004
            covering = "scarf"
        elif rng.random() < 0.1:  # noqa: PLR2004
            covering = str(rng.choice(COVERINGS[1:3]))
        glasses = "clear" if rng.random() < (0.8 if wears_glasses else 0.06) else "none"
        hidden = str(rng.choice(("mask", "sun", "hand"))) if rng.random() < occlusion else ""
        return cls(
            smile=float(np.clip(rng.normal(0.1, 0.4), -0.8, 1)),
            mouth_open=float(np.clip(rng.normal(-0.25, 0.4), 0, 1) if rng.random() < 0.6 else 0.0),  # noqa: PLR2004
            blink=float(rng.uniform(0.5, 1.0) if rng.random() < 0.06 else rng.uniform(0, 0.25)),  # noqa: PLR2004
            brows=float(np.clip(rng.normal(0, 0.4), -1, 1)),
            gaze=(float(np.clip(rng.normal(0, 0.4), -1, 1)), float(np.clip(rng.normal(0, 0.25), -1, 1))),
            glasses="sun" if hidden == "sun" else glasses,
            covering=covering,
            mask=hidden == "mask",
            hand=hidden == "hand",
            style=int(rng.integers(1 << 31)),
        )
