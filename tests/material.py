"""What the pipeline is tested on: the project's own models with rendered people, or real ones where they are.

Both kinds have the same attributes, so that a test says what must hold and not of what. Rendered people are drawn from
seeds that no model was trained, tuned or reported on (3,000,000 and more); every picture is rendered when it is first
asked for, once.
"""

from __future__ import annotations

import csv
from dataclasses import replace
from functools import cached_property
from itertools import combinations
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
from PIL import Image

from facegate.simulation import (
    Identity,
    Light,
    Look,
    Person,
    Picture,
    Scene,
    Sensor,
    draw_portrait,
    draw_scene,
    render,
    write_photographs,
)
from facegate.simulation._attack import ATTACKS
from facegate_edge import Frame, PixelFormat

if TYPE_CHECKING:
    from pathlib import Path

FIRST = 3_000_000  # seeds from here on belong to tests and demonstrations
KINDS = ("rendered", "real")


def portrait(identity: int, number: int, *, size: int = 224, turn: float = 1.0, attack: str = "") -> Picture:
    """A photograph of one person, in any look, light and camera; `turn` scales the renderer's poses (45, 25, 20)."""
    scene = draw_portrait(
        Identity.draw(identity), np.random.default_rng([0x7E57, identity, number]), size=size, attack=attack
    )
    (person,) = scene.people
    turned = replace(person, yaw=person.yaw * turn, pitch=person.pitch * turn, roll=person.roll * turn)
    return render(replace(scene, people=(turned,)))


def terminal(*identities: int, number: int = 0, attack: str = "", room: int = FIRST) -> Picture:
    """What a terminal's camera sees: people side by side who look into it in even light, or an empty room."""
    rng = np.random.default_rng([0x7E58, number, *identities])
    width, height = 480, 360
    scale = (8.5, 5.5, 4.5)[max(len(identities), 1) - 1]
    people = []
    for place, identity in enumerate(identities):
        yaw, pitch, roll, smile = rng.normal(0, (6, 4, 3, 0.2)).tolist()
        people.append(
            Person(
                Identity.draw(identity),
                Look(smile=smile, style=int(rng.integers(1 << 31))),
                yaw=yaw,
                pitch=pitch,
                roll=roll,
                x=width * (place + 0.5) / len(identities),
                y=0.42 * height,
                scale=scale,
                attack=attack,
            )
        )
    camera = Sensor(1.0, (1.0, 1.0, 1.0), 0.4, (0.0, 0.0), 0.008, 0.0015, None)
    return render(Scene(width, height, tuple(people), room, Light(), camera, FIRST + number))


class Rendered:
    """The reference models and rendered people.

    Attributes:
        kind: "rendered" or "real".
        models: by role, an ONNX file as `onnx_path` knows it, and what its conversion must be told.
    """

    kind: ClassVar = "rendered"
    models: ClassVar[dict[str, tuple[str, dict[str, Any]]]] = {
        role: (f"reference/{role}.onnx", {}) for role in ("detector", "recognizer", "liveness")
    }

    portrait, terminal = staticmethod(portrait), staticmethod(terminal)

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    @cached_property
    def frame(self) -> Frame:
        """A frame with one face, seen from the front in good light."""
        return terminal(FIRST).frame

    @cached_property
    def people(self) -> dict[str, list[Frame]]:
        """Somebody of each tone of the Monk scale, three times before a terminal, each time in another room."""
        seeds: dict[int, int] = {}
        for seed in range(FIRST, FIRST + 1000):
            seeds.setdefault(Identity.draw(seed).monk, seed)
        return {
            str(seed): [terminal(seed, number=n, room=FIRST + n).frame for n in range(3)] for seed in seeds.values()
        }

    @cached_property
    def scenes(self) -> list[Picture]:
        """Frames with faces of all sizes, wide ones and tall ones, and what is true of them."""
        sizes = ((320, 320), (400, 300), (240, 320))
        return [
            render(draw_scene(FIRST + n, width=w, height=h, faces=1 + n % 3, identities=(FIRST, FIRST + 100_000)))
            for n, (w, h) in enumerate(sizes * 8)
        ]

    @property
    def photographs(self) -> list[Frame]:
        """Frames with faces of all sizes."""
        return [scene.frame for scene in self.scenes]

    @property
    def portraits(self) -> list[Frame]:
        """Frames with one face each."""
        return [photos[0] for photos in self.people.values()]

    @cached_property
    def empty(self) -> dict[str, Frame]:
        """Frames without a face: cluttered rooms, some with somebody who looks away."""
        frames = {}
        for n in range(24):
            scene = draw_scene(FIRST + 500_000 + n, faces=0, identities=(FIRST, FIRST + 100_000))
            if n % 3 == 0:
                away = Person(Identity.draw(FIRST + n), yaw=165 + n, x=100 + 5 * n, y=140, scale=3 + n / 6)
                scene = replace(scene, people=(away,))
            frames[f"room {n}"] = render(scene).frame
        return frames

    @cached_property
    def shown(self) -> dict[str, list[Frame]]:
        """Live faces ("live") and presentation attacks by species."""
        return {
            attack or "live": [portrait(FIRST + 100 + n, 0, attack=attack).frame for n in range(12)]
            for attack in ("", *ATTACKS)
        }

    @cached_property
    def folder(self) -> Path:
        """Photographs from a terminal, in a folder for each of ten people, four of each."""
        for seed in range(FIRST + 200, FIRST + 210):
            folder = self._folder / "people" / str(seed)
            folder.mkdir(parents=True)
            for number in range(4):
                picture = terminal(seed, number=number, room=FIRST + number)
                Image.fromarray(picture.pixels).save(folder / f"{number}.png", compress_level=1)
        return self._folder / "people"

    @cached_property
    def few(self) -> Path:
        """Nine photographs in a folder for each of three people: too few to say anything about an FMR."""
        folder = self._folder / "few"
        write_photographs(folder, range(FIRST + 220, FIRST + 223), each=3)
        return folder

    @cached_property
    def calibration(self) -> Path:
        """Photographs to calibrate and compare conversions on: the renderer's whole range of poses."""
        folder = self._folder / "calibration"
        write_photographs(folder, range(FIRST + 230, FIRST + 270), each=1)
        return folder

    @cached_property
    def pairs(self) -> Path:
        """A CSV file that names every pair of the photographs in `folder` and says whether they show one person."""
        files = sorted(self.folder.rglob("*.png"))
        path = self._folder / "pairs.csv"
        with path.open("w", newline="") as file:
            rows = csv.writer(file)
            rows.writerow(("file_x", "file_y", "Decision"))
            for a, b in combinations(files, 2):
                same = "Yes" if a.parent == b.parent else "No"
                rows.writerow((a.relative_to(self.folder), b.relative_to(self.folder), same))
        return path


class Real:
    """Real models and photographs of real people, which are no part of the project. Attributes as above."""

    kind: ClassVar = "real"
    models: ClassVar[dict[str, tuple[str, dict[str, Any]]]] = {
        "detector": ("scrfd-500m/scrfd_500m_bnkps_shape320x320.onnx", {}),
        "recognizer": ("mobilefacenet-foamliu/mobilefacenet_dynbatch.onnx", {"preprocess": "imagenet"}),
        "liveness": ("minifasnet/2.7_80x80_MiniFASNetV2.onnx", {}),
    }

    def __init__(self, shared: Path) -> None:
        self._faces = shared / "faces"

    @cached_property
    def frame(self) -> Frame:
        """The portrait of an astronaut."""
        return Frame.open(self._faces / "astronaut.png")

    @cached_property
    def people(self) -> dict[str, list[Frame]]:
        """Two photographs each of several people."""
        folders = sorted(p for p in self.few.iterdir() if p.is_dir())
        files = {f.name: sorted(f.iterdir())[:2] for f in folders}
        return {name: [Frame.open(p) for p in paths] for name, paths in files.items() if len(paths) == 2}

    @property
    def photographs(self) -> list[Frame]:
        """Photographs of one person and of many."""
        paths = sorted((self._faces / "ageitgey").rglob("*.jp*g"))
        paths += sorted((self._faces / "deepface").glob("*.jpg"))[:10]
        photos = [Frame.open(path) for path in paths]
        return [photo for photo in photos if photo.format == PixelFormat.RGB and not photo.rotation]

    @property
    def portraits(self) -> list[Frame]:
        """Photographs of one person each."""
        return [Frame.open(path) for path in sorted((self._faces / "deepface").glob("img1*.jpg"))[:8]]

    @cached_property
    def empty(self) -> dict[str, Frame]:
        """Coffee cups, cats and textures."""
        kinds = (".png", ".jpg", ".jpeg", ".webp")
        return {p.name: Frame.open(p) for p in sorted((self._faces / "no-face").iterdir()) if p.suffix in kinds}

    @cached_property
    def shown(self) -> dict[str, list[Frame]]:
        """Live faces, and prints and screens together."""
        return {
            kind: [Frame.open(path) for path in sorted((self._faces / "spoof" / kind).iterdir())]
            for kind in ("live", "spoof")
        }

    @property
    def few(self) -> Path:
        """Nine photographs in a folder for each person."""
        return self._faces / "ageitgey/knn_examples/train"

    @property
    def calibration(self) -> Path:
        """Photographs to calibrate and compare conversions on."""
        return self._faces / "ageitgey"
