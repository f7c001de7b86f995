"""Few comparisons as lists of pairs: what operating points and gates are measured on while a bundle is built.

The files are read by `_evaluate`, which also reads other forms and sets that are too large for lists.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

    from facegate_convert._evaluate import Dataset


@dataclass(frozen=True, slots=True)
class Comparisons:
    """Photographs and the comparisons to be made between them.

    Attributes:
        images: every photograph once.
        genuine: index pairs into `images` that show the same person.
        impostor: index pairs that show two different people.
        fingerprint: sha256 (hex) over the photographs' bytes and the comparisons: the same data, wherever it lies and
            whatever its files are called, gives the same fingerprint.
    """

    images: tuple[Path, ...]
    genuine: tuple[tuple[int, int], ...]
    impostor: tuple[tuple[int, int], ...]
    fingerprint: str


def read_pairs(pairs: Path, images: Path, *, infer: bool = False) -> Comparisons:
    """Comparisons from a CSV file with a header: two columns of file names, and one that says whether they match.

    Args:
        pairs: the CSV file, e.g. with the header `file_x,file_y,Decision`; or LFW's pairs.txt.
        images: the folder that the file names are relative to.
        infer: add what follows from the list: if a and b are the same person and so are b and c, then a and c; if b and
            d are two people, then a and d are.

    Raises:
        DatasetError: if the file cannot be read, a row is not understood, names a missing file, or contradicts others.
    """
    from facegate_convert._evaluate import read_pairs_file  # noqa: PLC0415 - loads numpy

    return _listed(read_pairs_file(pairs, images, infer=infer))


def read_identities(folder: Path) -> Comparisons:
    """Comparisons from `folder/<identity>/<photographs>`: every pair, the same identity or not.

    Raises:
        DatasetError: if there are fewer than two identities, or a folder cannot be read.
    """
    from facegate_convert._evaluate import read_identities as read  # noqa: PLC0415 - loads numpy

    return _listed(read(folder))


def _listed(dataset: Dataset) -> Comparisons:
    import numpy as np  # noqa: PLC0415 - the command line's help must not wait for it

    if dataset.pairs is None or dataset.same is None:
        first, second = np.triu_indices(len(dataset.names), 1)
        same = dataset.identity[first] == dataset.identity[second]
        pairs = np.stack([first, second], axis=1).astype(np.int32)
    else:
        pairs, same = dataset.pairs, dataset.same
    genuine, impostor = (sorted((a, b) for a, b in pairs[same == kind].tolist()) for kind in (True, False))
    return Comparisons(dataset.paths, tuple(genuine), tuple(impostor), dataset.fingerprint)
