"""Rendered photographs as files: what models are calibrated and operating points measured on."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image

from facegate.errors import FrameError
from facegate.simulation._attack import ATTACKS
from facegate.simulation._camera import MAX_SIDE, MIN_SIDE
from facegate.simulation._identity import Identity
from facegate.simulation._render import render
from facegate.simulation._scene import draw_portrait

if TYPE_CHECKING:
    import os
    from collections.abc import Iterable

__all__ = ["write_photographs"]

_MAX_EACH = 1000


def write_photographs(
    folder: str | os.PathLike[str],
    identities: Iterable[int],
    *,
    each: int = 4,
    size: int = 224,
    attack: str = "",
    seed: int = 0,
) -> int:
    """Render photographs of people into one subfolder for each, as `facegate bundle build --images` reads them.

    Poses, looks, lights and cameras are drawn over the whole range of the renderer. The people are nobody, so these
    files are no personal data.

    Args:
        folder: where; it is made if it does not exist.
        identities: seeds of `Identity.draw`.
        each: photographs of each, 1 to 1000.
        size: of the square photographs, in pixels.
        attack: what is shown instead of the live person: "print", "replay" or "paper_mask"; "" for the person.
        seed: of how they are photographed.

    Returns:
        How many were written, PNG.

    Raises:
        FrameError: there is no such number, size, attack or seed; nothing was made for it.
        OSError: they cannot be written.
    """
    if type(each) is not int or not 1 <= each <= _MAX_EACH:
        raise FrameError("nobody has that many photographs", hint=f"each is 1 to {_MAX_EACH}")
    if type(size) is not int or not MIN_SIDE <= size <= MAX_SIDE:
        raise FrameError("no photographs have that size", hint=f"size is {MIN_SIDE} to {MAX_SIDE} pixels")
    if attack not in ("", *ATTACKS):
        raise FrameError(f"no attack {attack!r}", hint=f"one of {', '.join(ATTACKS)}, or left out")
    seeds = tuple(identities)
    if not all(isinstance(number, (int, np.integer)) and number >= 0 for number in (seed, *seeds)):
        raise FrameError("a seed is no such number", hint="give whole numbers, 0 or more")
    count = 0
    for identity in seeds:
        drawn = Identity.draw(int(identity))
        person = Path(folder) / str(identity)
        person.mkdir(parents=True, exist_ok=True)
        rng = np.random.default_rng([0x9407, seed, identity])
        for number in range(each):
            picture = render(draw_portrait(drawn, rng, size=size, attack=attack))
            # Level 1: four times as fast as Pillow's default for a tenth more bytes.
            Image.fromarray(picture.pixels).save(person / f"{number:03d}.png", compress_level=1)
            count += 1
    return count
