"""The pictures that the reference models are trained, tuned and tested on."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from facegate_train._pictures import Faces80, Frames, Portraits

if TYPE_CHECKING:
    from facegate_train._cache import Recipe

TRAIN_PORTRAITS = Portraits("train", identities=3300, each=14, occlusion=0.1, dark=1000)
TRAIN_FRAMES = Frames("train", frames=24000, empty=0.15, turned=0.2, attacks=0.1)
TRAIN_LIVENESS = Faces80("train", identities=3700)

VALIDATION_PORTRAITS = Portraits("validation", identities=100, each=8)
VALIDATION_EMPTY = Frames("validation", frames=800, empty=1.0, turned=0.3)
VALIDATION_FRAMES = Frames("validation", frames=200)
VALIDATION_LIVENESS = Faces80("validation", identities=250)

TEST_PORTRAITS = Portraits("test", identities=500, each=10)
TEST_OCCLUDED = Portraits("test", identities=200, each=6, occlusion=1.0)
TEST_FRAMES = Frames("test", frames=1000)
TEST_EMPTY = Frames("test", frames=1000, empty=1.0, turned=0.3)
TEST_LIVENESS = Faces80("test", identities=500)

TRAIN: dict[str, Recipe] = {"detector": TRAIN_FRAMES, "recognizer": TRAIN_PORTRAITS, "liveness": TRAIN_LIVENESS}


def scaled(recipe: Recipe, share: float) -> Recipe:
    """A recipe of fewer pictures of the same kind, for a trial: `share` of its identities or frames, 0..1."""
    if isinstance(recipe, Frames):
        return replace(recipe, frames=max(8, round(recipe.frames * share)))
    if isinstance(recipe, Portraits):
        fewer = max(4, round(recipe.identities * share))
        return replace(recipe, identities=fewer, dark=round(recipe.dark * share))
    if isinstance(recipe, Faces80):
        return replace(recipe, identities=max(4, round(recipe.identities * share)))
    raise TypeError(f"{type(recipe).__name__} cannot be scaled")
