"""Pairs of photographs from files: LFW's `pairs.txt` with its folds, and CSV with a header."""

from __future__ import annotations

import csv
import itertools
import os
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from facegate_convert._evaluate._dataset import Dataset, dataset_of, find_copies, fingerprint_of, hash_files, said
from facegate_convert._images import IMAGE_SUFFIXES
from facegate_convert.errors import DatasetError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from pathlib import Path

    from facegate_convert._evaluate._dataset import Progress

_FIRST = ("file_x", "file1", "file_1", "image1", "image_1", "img1", "path1", "left", "a", "x")
_SECOND = ("file_y", "file2", "file_2", "image2", "image_2", "img2", "path2", "right", "b", "y")
_DECISION = ("decision", "same", "issame", "is_same", "match", "label", "genuine")
_FOLD = ("fold", "split", "set")
_YES = ("yes", "1", "true", "same", "match", "genuine", "y")
_NO = ("no", "0", "false", "different", "nonmatch", "impostor", "n")
_MAX_FOLDS = 1000


def read_pairs_file(
    path: Path, images: Path | None = None, *, infer: bool = False, progress: Progress | None = None
) -> Dataset:
    """Read LFW's pairs.txt or a CSV file of pairs; see `read_dataset`.

    Raises:
        DatasetError: it cannot be read, contradicts itself, or compares nothing.
    """
    lines = _lines(path)
    folder = images if images is not None else path.parent
    if _is_lfw(lines):
        if infer:
            raise DatasetError("LFW's protocol is its listed pairs and no others", hint="leave --infer-pairs out")
        return _read_lfw(path, lines, folder, progress)
    return _read_csv(path, lines, folder, infer, progress)


@dataclass(slots=True)
class _Pairs:
    """Pairs as they are collected: photographs by content, the rows that were read, what to say of them."""

    names: dict[str, str]
    rows: list[tuple[str, str, bool, int]]
    copies: tuple[tuple[str, ...], ...]
    identical: int
    repeated: int


def _read_csv(path: Path, lines: list[str], folder: Path, infer: bool, progress: Progress | None) -> Dataset:
    try:
        rows = list(csv.DictReader(lines))
    except csv.Error as error:
        raise DatasetError(f"{path} is no CSV file that can be read", hint=_CSV_HINT) from error
    if not rows:
        raise DatasetError(
            f"{path} lists no pairs", hint="it has a header file_x,file_y,Decision and a row for each pair"
        )
    first, second, decision = (_column(rows[0], names, path) for names in (_FIRST, _SECOND, _DECISION))
    by_name = {(key or "").strip().lower(): key for key in rows[0]}
    fold_column = next((by_name[name] for name in _FOLD if name in by_name), None)
    folds: dict[str, int] = {}
    listed = []
    for line, row in enumerate(rows, start=2):
        answer = (row[decision] or "").strip().lower()
        if answer not in _YES + _NO:
            raise DatasetError(f"{path}, line {line}: '{answer}' is neither yes nor no", hint="write Yes or No")
        ends = [_existing(folder, row[column], path, line) for column in (first, second)]
        fold = folds.setdefault((row[fold_column] or "").strip(), len(folds)) if fold_column is not None else 0
        listed.append((ends[0], ends[1], answer in _YES, fold))
    if len(folds) > _MAX_FOLDS:
        raise DatasetError(
            f"{path} has {len(folds)} folds", hint="a column called fold numbers a few parts of the data"
        )
    pairs = _resolve(path, listed, folder, progress)
    index = {digest: i for i, digest in enumerate(pairs.names)}
    edges = [(index[a], index[b], same) for a, b, same, _ in pairs.rows]
    cluster = _clusters(len(index), ((a, b) for a, b, same in edges if same))
    names = list(pairs.names.values())
    for a, b, same in edges:
        if not same and cluster[a] == cluster[b]:
            raise DatasetError(
                f"{path} contradicts itself: {names[a]} and {names[b]} are listed as two people, and as the same "
                "person (perhaps through other pairs)",
                hint="correct the wrong rows",
            )
    if infer:
        if len(folds) > 1:
            raise DatasetError(f"{path} has folds, and inferred pairs are in none", hint="leave one of the two out")
        inferred = _inferred(cluster, ((a, b) for a, b, same in edges if not same))
        hashes = list(pairs.names)
        pairs.rows = [(hashes[a], hashes[b], same, 0) for a, b, same in inferred]
    people = {root: i for i, root in enumerate(dict.fromkeys(cluster))}
    return _from_pairs(
        "pairs",
        folder,
        pairs,
        tuple(str(i + 1) for i in range(len(people))),
        [people[root] for root in cluster],
        folds=len(folds) > 1,
    )


def _is_lfw(lines: list[str]) -> bool:
    """LFW's files begin with the number of folds and of pairs in each, or with the number of pairs alone."""
    return bool(lines) and re.fullmatch(r"\s*\d+(\s+\d+)?\s*", lines[0]) is not None


def _read_lfw(path: Path, lines: list[str], folder: Path, progress: Progress | None) -> Dataset:
    """LFW's pairs.txt: `folds pairs`, then for each fold so many lines `name i j` and so many `name i name j`.

    Source: Huang et al., Labeled Faces in the Wild, University of Massachusetts, Technical Report 07-49, 2007, and the
    README of the data set. The photographs are `name/name_000i.jpg`.
    """
    head = [int(number) for number in lines[0].split()]
    folds, each = (head[0], head[1]) if len(head) == 2 else (1, head[0])  # noqa: PLR2004
    rows = [line.split("\t") if "\t" in line else line.split() for line in lines[1:] if line.strip()]
    if not 1 <= folds <= _MAX_FOLDS or each < 1 or len(rows) != folds * each * 2:
        raise DatasetError(
            f"{path} announces {folds} fold(s) of {each} and {each} pairs and lists {len(rows)}",
            hint="get LFW's pairs.txt again; it has 6001 lines",
        )
    suffixes: dict[str, Path] = {}
    listed = []
    for number, row in enumerate(rows):
        fold, place = divmod(number, 2 * each)
        same = place < each
        if len(row) != (3 if same else 4) or not all(row[i].strip().isdigit() for i in ((1, 2) if same else (1, 3))):
            wanted = "name, number, number" if same else "name, number, name, number"
            raise DatasetError(f"{path}, line {number + 2}: not {wanted}", hint="get LFW's pairs.txt again")
        ends = ((row[0], row[1]), (row[0], row[2]) if same else (row[2], row[3]))
        a, b = (_lfw_photograph(folder, name.strip(), int(n), path, number + 2, suffixes) for name, n in ends)
        listed.append((a, b, same, fold))
    pairs = _resolve(path, listed, folder, progress)
    owner = {digest: name.split("/")[-2] for digest, name in pairs.names.items()}
    for one, other, same, _ in pairs.rows:
        if same != (owner[one] == owner[other]):
            raise DatasetError(
                f"{path} contradicts the photographs: {pairs.names[one]} and {pairs.names[other]}",
                hint="a photograph is there under two names",
            )
    people = {name: i for i, name in enumerate(sorted(set(owner.values())))}
    return _from_pairs("lfw", folder, pairs, tuple(people), [people[n] for n in owner.values()], folds=folds > 1)


def _lfw_photograph(folder: Path, name: str, number: int, path: Path, line: int, known: dict[str, Path]) -> Path:
    key = f"{name}/{name}_{number:04d}"
    if key not in known:
        if "/" in name or name in ("", ".", ".."):
            raise DatasetError(f"{path}, line {line}: '{name}' is no name", hint="get LFW's pairs.txt again")
        found = next((p for s in (".jpg", *IMAGE_SUFFIXES) if (p := folder / f"{key}{s}").is_file()), None)
        if found is None:
            raise DatasetError(
                f"{path}, line {line}: there is no file {folder / key}.jpg", hint="name the folder with --images"
            )
        known[key] = found
    return known[key]


def _resolve(path: Path, listed: list[tuple[Path, Path, bool, int]], folder: Path, progress: Progress | None) -> _Pairs:
    """The listed pairs by content: identical photographs are one, and are not compared with themselves."""
    files = list(dict.fromkeys(end for a, b, _, _ in listed for end in (a, b)))
    digest = dict(zip(files, hash_files(files, progress), strict=True))
    names: dict[str, str] = {}
    for file in files:
        names.setdefault(digest[file], os.path.relpath(file, folder).replace(os.sep, "/"))
    found: dict[tuple[str, str], tuple[bool, int]] = {}
    identical = repeated = 0
    for one, other, same, fold in listed:
        low, high = sorted((digest[one], digest[other]))
        if low == high:
            if not same:
                raise DatasetError(
                    f"{path} contradicts itself: {names[low]} is listed as two people", hint="correct the row"
                )
            identical += 1
            continue
        if (low, high) in found:
            repeated += 1
        if found.setdefault((low, high), (same, fold))[0] != same:
            raise DatasetError(
                f"{path} contradicts itself: {names[low]} and {names[high]} are listed as two people, and as the same",
                hint="correct the wrong rows",
            )
    rows = [(a, b, same, fold) for (a, b), (same, fold) in found.items()]
    return _Pairs(names, rows, find_copies([digest[file] for file in files], files, folder), identical, repeated)


def _from_pairs(
    kind: str, folder: Path, pairs: _Pairs, identities: tuple[str, ...], identity: list[int], *, folds: bool
) -> Dataset:
    notes = said(
        (pairs.identical, "pair(s) compare a photograph with itself and are left out"),
        (pairs.repeated, "pair(s) are listed more than once and count once"),
    )
    fingerprint = fingerprint_of(
        f"{a} {b} {int(same)}" + (f" {fold}" if folds else "") for a, b, same, fold in pairs.rows
    )
    return dataset_of(
        kind,
        folder,
        pairs.names,
        identities,
        identity,
        fingerprint,
        copies=pairs.copies,
        notes=notes,
        rows=pairs.rows,
        folds=folds,
    )


_CSV_HINT = "it is a CSV file in UTF-8 with the header file_x,file_y,Decision, or LFW's pairs.txt"


def _lines(path: Path) -> list[str]:
    try:
        return path.read_text(encoding="utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise DatasetError(
            f"{path} is no pairs file that can be read: {type(error).__name__}", hint=_CSV_HINT
        ) from error


def _column(row: Mapping[str, Any], names: Sequence[str], pairs: Path) -> str:
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
    """The identity of each photograph, as the smallest index in its cluster (union-find)."""
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


def _inferred(cluster: Sequence[int], impostor: Iterable[tuple[int, int]]) -> list[tuple[int, int, bool]]:
    """All pairs that follow: (a, b, same)."""
    strangers = {frozenset((cluster[a], cluster[b])) for a, b in impostor}
    found = []
    for a, b in itertools.combinations(range(len(cluster)), 2):
        same = cluster[a] == cluster[b]
        if same or frozenset((cluster[a], cluster[b])) in strangers:
            found.append((a, b, same))
    return found
