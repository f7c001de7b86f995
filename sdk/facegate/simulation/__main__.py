"""`python -m facegate.simulation sheet.jpg`: a contact sheet of what the renderer makes."""

from __future__ import annotations

from pathlib import Path

import click
import numpy as np
from PIL import Image

from facegate.simulation import MONK_TONES, Identity, Person, Scene, Sensor, draw_portrait, draw_scene, render
from facegate.simulation._attack import ATTACKS

_SIDE, _COLUMNS = 128, 10


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.argument("output", type=click.Path(dir_okay=False, path_type=Path))
@click.option("--seed", type=click.IntRange(0), default=0, show_default=True, help="Of the first person.")
def main(output: Path, seed: int) -> None:
    """Write a contact sheet as OUTPUT (.jpg or .png).

    From above: a person of each tone of the Monk scale; the same people in any pose, light, look and camera, twice;
    with eyes, nose or mouth hidden; presentation attacks; frames with several faces or none.
    """
    people = [Identity.draw(seed + number, monk=number + 1) for number in range(len(MONK_TONES))]
    rows: list[list[np.ndarray]] = [[_front(identity) for identity in people]]
    for row, occlusion in enumerate((0.0, 0.0, 1.0)):
        rngs = [np.random.default_rng([seed, row, number]) for number in range(_COLUMNS)]
        rows.append(
            [
                render(draw_portrait(identity, rng, size=_SIDE, occlusion=occlusion)).pixels
                for identity, rng in zip(people, rngs, strict=True)
            ]
        )
    rows.append(
        [
            render(
                draw_portrait(
                    identity,
                    np.random.default_rng([seed, 9, number]),
                    size=_SIDE,
                    attack=ATTACKS[number % len(ATTACKS)],
                )
            ).pixels
            for number, identity in enumerate(people)
        ]
    )
    sheet = [np.concatenate(row, 1) for row in rows]
    double = 2 * _SIDE
    scenes = [render(draw_scene(seed + n, width=double, height=double)).pixels for n in range(5)]
    sheet.append(np.concatenate(scenes, 1))
    try:
        Image.fromarray(np.concatenate(sheet)).save(output, quality=88)
    except (OSError, ValueError) as error:
        raise click.ClickException(
            f"{output} cannot be written; name a .jpg or .png in a folder that exists"
        ) from error


def _front(identity: Identity) -> np.ndarray:
    person = Person(identity, x=_SIDE / 2, y=_SIDE * 0.45, scale=4.9)
    return render(Scene(_SIDE, _SIDE, (person,), background=identity.seed, sensor=Sensor.clean())).pixels


if __name__ == "__main__":
    main(prog_name="python -m facegate.simulation")
