"""What is rendered for each role: portraits for the recogniser, frames for the detector, crops for liveness."""

from __future__ import annotations

import importlib
import itertools
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import numpy as np

from facegate_train._seeds import DETECTOR_IDENTITIES, LIVENESS_IDENTITIES, SPLITS

if TYPE_CHECKING:
    import numpy.typing as npt

    Sample = dict[str, npt.NDArray[Any]]

MAX_FACES = 8
FACTS = ("visible", "iod", "yaw", "pitch", "monk")
SPECIES = ("print", "replay", "paper_mask")
LIVE = -1
LIVENESS_SIDE = 80
CROPS = 4
DARK = 8  # on the Monk scale, 1..10


def simulation() -> Any:
    """The renderer; loaded where pictures are made, as training from a cache needs none."""
    return importlib.import_module("facegate.simulation")


@dataclass(frozen=True, slots=True)
class Portraits:
    """Pictures of one face each, for the recogniser.

    Attributes:
        split: "train", "validation" or "test".
        identities: how many people.
        each: pictures of each.
        size: pixels a side.
        occlusion: how likely mask, sunglasses or hand is, 0..1.
        dark: how many people of dark skin (`DARK` and above) besides those. In little light they are the hardest to
            tell apart, and what a net is to do well it has to see often.
        seed: of everything but the identities.
    """

    split: str
    identities: int
    each: int
    size: int = 176
    occlusion: float = 0.0
    dark: int = 0
    seed: int = 0

    @property
    def name(self) -> str:
        """See `Recipe`."""
        return f"portraits-{self.split}{'-occluded' if self.occlusion == 1 else ''}"

    @property
    def count(self) -> int:
        """See `Recipe`."""
        return (self.identities + self.dark) * self.each

    @property
    def settings(self) -> dict[str, Any]:
        """See `Recipe`."""
        return {
            "identities": self.identities,
            "each": self.each,
            "size": self.size,
            "occlusion": self.occlusion,
            "dark": self.dark,
            "seed": self.seed,
        }

    def make(self, index: int) -> Sample:
        """Pixels, landmarks, and what the picture shows."""
        sim = simulation()
        number, picture = divmod(index, self.each)
        if number >= self.identities:
            number = _dark(self.split, self.identities, self.dark)[number - self.identities]
        seed = SPLITS[self.split].seed(number)
        identity = sim.Identity.draw(seed)
        rng = np.random.default_rng([self.seed, seed, picture])
        shown = sim.render(sim.draw_portrait(identity, rng, size=self.size, occlusion=self.occlusion))
        (face,) = shown.faces
        person = face.person
        return {
            "pixels": shown.pixels,
            "landmarks": np.asarray(face.landmarks, np.float32),
            "identity": np.int64(seed),
            "monk": np.int16(identity.monk),
            "pose": np.array([person.yaw, person.pitch, person.roll], np.float32),
            "iod": np.float32(face.iod),
            "occluded": np.bool_(person.look.occluded),
        }


@lru_cache
def _dark(split: str, first: int, count: int) -> list[int]:
    """The first numbers of a split's people from `first` on whose skin is dark."""
    draw = simulation().Identity.draw
    numbers = (n for n in itertools.count(first) if draw(SPLITS[split].seed(n)).monk >= DARK)
    return list(itertools.islice(numbers, count))


@dataclass(frozen=True, slots=True)
class Frames:
    """Pictures of several faces or none, for the detector.

    Attributes:
        split, seed: as in `Portraits`.
        frames: how many.
        empty: the share of frames that show no face, besides those that the renderer leaves empty by itself; 0..1.
        turned: the share of frames with somebody more in them who shows the back of the head, 0..1.
        attacks: the share of frames with presentation attacks among the faces, 0..1.
        width, height: pixels.
    """

    split: str
    frames: int
    empty: float = 0.0
    turned: float = 0.0
    attacks: float = 0.0
    width: int = 320
    height: int = 320
    seed: int = 0

    @property
    def name(self) -> str:
        """See `Recipe`."""
        shown = "empty" if self.empty == 1 else f"{self.width}x{self.height}"
        return f"frames-{self.split}-{shown}"

    @property
    def count(self) -> int:
        """See `Recipe`."""
        return self.frames

    @property
    def settings(self) -> dict[str, Any]:
        """See `Recipe`."""
        return {
            "frames": self.frames,
            "empty": self.empty,
            "turned": self.turned,
            "attacks": self.attacks,
            "width": self.width,
            "height": self.height,
            "seed": self.seed,
        }

    def make(self, index: int) -> Sample:
        """Pixels, and of up to `MAX_FACES` faces boxes, landmarks and facts (see `FACTS`), the rest NaN."""
        sim = simulation()
        split = SPLITS[self.split]
        first = split.seed(DETECTOR_IDENTITIES)
        rng = np.random.default_rng([self.seed, split.first, index, 1])
        # Face-free frames have scenes of their own, far from the others' seeds.
        scene = sim.draw_scene(
            split.seed(index + (500_000 if self.empty == 1 else 0)),
            width=self.width,
            height=self.height,
            faces=0 if rng.random() < self.empty else None,
            identities=(first, first + 200_000),
            attacks=bool(rng.random() < self.attacks),
        )
        if rng.random() < self.turned:
            scene = _with_back(sim, scene, rng, first)
        shown = sim.render(scene)
        boxes = np.full((MAX_FACES, 4), np.nan, np.float32)
        landmarks = np.full((MAX_FACES, 5, 2), np.nan, np.float32)
        facts = np.full((MAX_FACES, len(FACTS)), np.nan, np.float32)
        for place, face in enumerate(shown.faces[:MAX_FACES]):
            boxes[place], landmarks[place] = face.box, face.landmarks
            facts[place] = (face.visible, face.iod, face.person.yaw, face.person.pitch, face.identity.monk)
        return {"pixels": shown.pixels, "boxes": boxes, "landmarks": landmarks, "facts": facts}


def _with_back(sim: Any, scene: Any, rng: np.random.Generator, first: int) -> Any:
    """The scene with the back of a head in it, behind all others."""
    identity = sim.Identity.draw(first + int(rng.integers(200_000)))
    person = sim.draw_person(
        rng,
        identity,
        x=float(rng.uniform(0.1, 0.9) * scene.width),
        y=float(rng.uniform(0.1, 0.8) * scene.height),
        scale=float(min(scene.width, scene.height) * np.exp(rng.uniform(np.log(0.006), np.log(0.03)))),
        occlusion=0.0,
    )
    person = replace(person, yaw=float(180 + rng.uniform(-60, 60)), look=replace(person.look, glasses="none"))
    return replace(scene, people=(person, *scene.people))


@dataclass(frozen=True, slots=True)
class Faces80:
    """Crops as the liveness model is fed, cut by the runtime's own kernel around boxes with a detector's error.

    Live faces and attacks alternate: one of two samples is live, the others cycle through the species.

    Attributes:
        split, seed: as in `Portraits`.
        identities: how many people; each is shown `2 * len(SPECIES)` times, three times live.
    """

    split: str
    identities: int
    seed: int = 0

    @property
    def name(self) -> str:
        """See `Recipe`."""
        return f"liveness-{self.split}"

    @property
    def count(self) -> int:
        """See `Recipe`."""
        return self.identities * 2 * len(SPECIES)

    @property
    def settings(self) -> dict[str, Any]:
        """See `Recipe`."""
        return {"identities": self.identities, "seed": self.seed, "crops": CROPS}

    def make(self, index: int) -> Sample:
        """`CROPS` crops (the first around the true box), the species or `LIVE`, and the identity."""
        from facegate_train._warp import liveness_crops  # noqa: PLC0415 - loads the kernels

        sim = simulation()
        number, picture = divmod(index, 2 * len(SPECIES))
        seed = SPLITS[self.split].seed(LIVENESS_IDENTITIES + number)
        species = LIVE if picture % 2 == 0 else picture // 2
        rng = np.random.default_rng([self.seed, seed, picture, 2])
        identity = sim.Identity.draw(seed)
        attack = "" if species == LIVE else SPECIES[species]
        scene = sim.draw_portrait(identity, rng, size=int(rng.integers(120, 281)), occlusion=0.05, attack=attack)
        scene = _stepped_back(scene, rng)
        shown = sim.render(scene)
        (face,) = shown.faces
        return {
            "pixels": liveness_crops(shown.pixels, np.asarray(face.box, np.float64), rng, CROPS),
            "species": np.int16(species),
            "identity": np.int64(seed),
            "monk": np.int16(identity.monk),
        }


def _stepped_back(scene: Any, rng: np.random.Generator) -> Any:
    """The portrait with more of its surroundings, as a terminal's camera sees people who stand farther away.

    The picture keeps its size; the face shrinks to 45..100 % and moves.
    """
    share = float(rng.uniform(0.45, 1.0))
    (person,) = scene.people
    free = (1 - share) / 2
    person = replace(
        person,
        scale=person.scale * share,
        x=scene.width * (0.5 + float(rng.uniform(-free, free)) * 0.8) + (person.x - scene.width / 2) * share,
        y=scene.height * (0.5 + float(rng.uniform(-free, free)) * 0.8) + (person.y - scene.height / 2) * share,
    )
    return replace(scene, people=(person,))
