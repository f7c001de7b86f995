"""Who is compared with whom: a pairs file, or a folder for each identity.

A comparison names two photographs and says whether they show the same person. Nothing here looks at a pixel.
"""

from __future__ import annotations

import csv
import hashlib
import itertools
from dataclasses import dataclass
from typing import TYPE_CHECKING

from facegate_convert._images import file_sha256, list_images
from facegate_convert.errors import DatasetError

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from pathlib import Path

_FIRST = ("file_x", "file1", "file_1", "image1", "image_1", "img1", "path1", "left", "a", "x")
_SECOND = ("file_y", "file2", "file_2", "image2", "image_2", "img2", "path2", "right", "b", "y")
_DECISION = ("decision", "same", "issame", "is_same", "match", "label", "genuine")
_YES = ("yes", "1", "true", "same", "match", "genuine", "y")
_NO = ("no", "0", "false", "different", "nonmatch", "impostor", "n")


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
        pairs: the CSV file, e.g. with the header `file_x,file_y,Decision`.
        images: the folder that the file names are relative to.
        infer: add what follows from the list: if a and b are the same person and so are b and c, then a and c; if b and
            d are two people, then a and d are.

    Raises:
        DatasetError: if the file cannot be read, a row is not understood, names a missing file, or contradicts others.
    """
    try:
        with pairs.open(newline="", encoding="utf-8-sig") as file:
            rows = list(csv.DictReader(file))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise DatasetError(
            f"{pairs} is no pairs file that can be read: {type(error).__name__}",
            hint="it is a CSV file in UTF-8 with the header file_x,file_y,Decision",
        ) from error
    if not rows:
        raise DatasetError(
            f"{pairs} lists no pairs", hint="it has a header file_x,file_y,Decision and a row for each pair"
        )
    first, second, decision = (_column(rows[0], names, pairs) for names in (_FIRST, _SECOND, _DECISION))
    index: dict[Path, int] = {}
    genuine: set[tuple[int, int]] = set()
    impostor: set[tuple[int, int]] = set()
    for line, row in enumerate(rows, start=2):
        answer = (row[decision] or "").strip().lower()
        if answer not in _YES + _NO:
            raise DatasetError(f"{pairs}, line {line}: '{answer}' is neither yes nor no", hint="write Yes or No")
        ends = [_existing(images, row[column], pairs, line) for column in (first, second)]
        a, b = sorted(index.setdefault(path, len(index)) for path in ends)
        if a != b:  # a photograph compared with itself says nothing
            (genuine if answer in _YES else impostor).add((a, b))
    found = tuple(index)
    cluster = _clusters(len(found), genuine)
    for a, b in impostor:
        if cluster[a] == cluster[b]:
            raise DatasetError(
                f"{pairs} contradicts itself: {found[a].name} and {found[b].name} are listed as two people, "
                "and as the same person (perhaps through other pairs)",
                hint="correct the wrong rows",
            )
    if infer:
        genuine, impostor = _inferred(cluster, impostor)
    return _comparisons(found, genuine, impostor)


def read_identities(folder: Path) -> Comparisons:
    """Comparisons from `folder/<identity>/<photographs>`: every pair, the same identity or not.

    Raises:
        DatasetError: if there are fewer than two identities, or a folder cannot be read.
    """
    people = sorted(p for p in folder.iterdir() if p.is_dir()) if folder.is_dir() else []
    groups = [(person, list_images(person)) for person in people]
    groups = [(person, files) for person, files in groups if files]
    if len(groups) < 2:  # noqa: PLR2004
        raise DatasetError(
            f"{folder} holds the photographs of {len(groups)} identities, at least 2 are needed",
            hint="make one folder for each identity, with at least two photographs in it",
        )
    images = tuple(path for _, files in groups for path in files)
    identity = [number for number, (_, files) in enumerate(groups) for _ in files]
    pairs = list(itertools.combinations(range(len(images)), 2))
    same = [pair for pair in pairs if identity[pair[0]] == identity[pair[1]]]
    different = [pair for pair in pairs if identity[pair[0]] != identity[pair[1]]]
    return _comparisons(images, same, different)


def _column(row: dict[str, str], names: Sequence[str], pairs: Path) -> str:
    by_name = {(key or "").strip().lower(): key for key in row}
    for name in names:
        if name in by_name:
            return by_name[name]
    raise DatasetError(
        f"{pairs} has no column called {', '.join(names[:3])} or the like; it has {', '.join(map(str, row))}",
        hint="name the columns file_x, file_y and Decision",
    )


def _existing(folder: Path, name: str | None, pairs: Path, line: int) -> Path:
    path = folder / (name or "").strip()
    if not path.is_file():
        raise DatasetError(f"{pairs}, line {line}: there is no file {path}", hint="name the folder with --images")
    return path


def _clusters(count: int, same: Iterable[tuple[int, int]]) -> list[int]:
    """The identity of each image, as the smallest index in its cluster (union-find)."""
    parent = list(range(count))

    def root(node: int) -> int:
        while parent[node] != node:
            parent[node] = parent[parent[node]]
            node = parent[node]
        return node

    for a, b in same:
        low, high = sorted((root(a), root(b)))
        parent[high] = low
    return [root(node) for node in range(count)]


def _inferred(
    cluster: Sequence[int], impostor: Iterable[tuple[int, int]]
) -> tuple[set[tuple[int, int]], set[tuple[int, int]]]:
    strangers = {frozenset((cluster[a], cluster[b])) for a, b in impostor}
    pairs = list(itertools.combinations(range(len(cluster)), 2))
    return (
        {(a, b) for a, b in pairs if cluster[a] == cluster[b]},
        {(a, b) for a, b in pairs if frozenset((cluster[a], cluster[b])) in strangers},
    )


def _comparisons(
    images: tuple[Path, ...], genuine: Iterable[tuple[int, int]], impostor: Iterable[tuple[int, int]]
) -> Comparisons:
    genuine, impostor = sorted(genuine), sorted(impostor)
    hashes = [file_sha256(path) for path in images]
    lines = sorted(
        f"{' '.join(sorted((hashes[a], hashes[b])))} {same}\n"
        for same, pairs in ((1, genuine), (0, impostor))
        for a, b in pairs
    )
    digest = hashlib.sha256("".join(lines).encode()).hexdigest()
    return Comparisons(images, tuple(genuine), tuple(impostor), digest)
