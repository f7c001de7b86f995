"""Photographs to judge liveness on: a folder `live`, and a folder for each species of attack beside it."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

from facegate_convert._evaluate._dataset import Dataset, read_identities
from facegate_convert.errors import DatasetError

if TYPE_CHECKING:
    from pathlib import Path

    from facegate_convert._evaluate._dataset import Progress

LIVE = ("live", "bona_fide", "bonafide", "real")


def read_presentations(folder: Path, *, progress: Progress | None = None) -> tuple[Dataset, str]:
    """Presentations as a dataset whose identities are "live" and the species' names.

    Args:
        folder: holds `live` (or bona_fide, bonafide, real) and a folder for each presentation attack instrument
            species, e.g. `print`, `replay`, `mask`.
        progress: is told (step, done, total).

    Returns:
        (dataset, name of the folder of live faces).

    Raises:
        DatasetError: there is no folder of live faces, or none of attacks.
    """
    dataset = read_identities(folder, progress=progress)
    live = [name for name in dataset.identities if name.lower() in LIVE]
    if len(live) != 1:
        raise DatasetError(
            f"{folder} has {len(live)} folders of live faces",
            hint=f"call one of its folders '{LIVE[0]}'; the others are species of attacks, e.g. print, replay",
        )
    lines = sorted(
        f"{digest} {dataset.identities[who] if dataset.identities[who] != live[0] else ''}"
        for digest, who in zip(dataset.sha256, dataset.identity.tolist(), strict=True)
    )
    # Unlike people, species have names that matter.
    from dataclasses import replace  # noqa: PLC0415 - where it is used

    return replace(dataset, fingerprint=hashlib.sha256("\n".join(lines).encode()).hexdigest()), live[0]
