"""Presentation attacks, made from a picture of a face: a print, a replay on a screen, a worn paper mask.

What they look like is drawn anew each time, and no mark of an attack is always there: paper without a border, screens
without a bezel or without moire, masks without holes. What a camera adds comes after, in `_sensor`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from facegate.errors import FrameError
from facegate.simulation._held import Placement, Presented
from facegate.simulation._paper_mask import present_mask
from facegate.simulation._print import present_print
from facegate.simulation._replay import present_replay

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from facegate.simulation._arrays import Floats
    from facegate.simulation._held import Box, Color

__all__ = ["ATTACKS", "Placement", "Presented", "present", "present_mask", "present_print", "present_replay"]

ATTACKS = ("print", "replay", "paper_mask")
_HELD = {"print": present_print, "replay": present_replay}


def present(
    species: str,
    photo: NDArray[np.uint8],
    face: Box,
    background: Floats,
    rng: np.random.Generator,
    *,
    at: Placement,
    light: Color,
) -> Presented:
    """Hold an attack of a species before the camera: `present_print` or `present_replay`, where all is explained.

    Raises:
        FrameError: it is no such species (a mask is worn, not held: see `present_mask`), or an argument is unusable.
    """
    if species not in _HELD:
        raise FrameError(
            f"no attack that is held up: {species!r}", hint=f"One of {', '.join(_HELD)}; a mask: present_mask."
        )
    return _HELD[species](photo, face, background, rng, at=at, light=light)
