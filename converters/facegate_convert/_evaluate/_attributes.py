"""What an evaluator states of the photographs: any columns of a CSV file. Nothing here infers a group from an image."""

from __future__ import annotations

import csv
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from facegate_convert.errors import AttributesError

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    import numpy as np
    import numpy.typing as npt

    from facegate_convert._evaluate._dataset import Dataset

MAX_GROUPS = 40
UNSTATED = -1
_IDENTITY = ("identity", "person", "subject", "name")
_IMAGE = ("image", "file", "path", "photograph")
_HINT = "a CSV file in UTF-8: a column `identity` or `image`, and a column for each attribute"


@dataclass(frozen=True, slots=True, eq=False)
class Attribute:
    """One column.

    Attributes:
        name: of the column.
        groups: its values, sorted.
        group: int32 (N,), index into `groups` of each photograph; -1 where nothing is stated.
    """

    name: str
    groups: tuple[str, ...]
    group: npt.NDArray[np.int32]


def read_attributes(
    path: Path, dataset: Dataset, columns: Sequence[str] = ()
) -> tuple[tuple[Attribute, ...], tuple[str, ...]]:
    """The attributes of a dataset's photographs, stated for people or for single photographs.

    Args:
        path: the CSV file. Its column `identity` (or person, subject, name) names people as the dataset does; a column
            `image` (or file, path, photograph) names files as the dataset does, relative to its folder.
        dataset: whose photographs.
        columns: which columns to use; all others than the naming one if empty.

    Returns:
        (attributes, notes): a value that is empty or "-" states nothing.

    Raises:
        AttributesError: the file cannot be read, names nobody of the dataset, contradicts itself, or a column has more
            than 40 different values.
    """
    rows, key, per_image = _rows(path)
    if not per_image and dataset.kind == "pairs":
        raise AttributesError(
            f"{path} names people, and a pairs file says only who is the same", hint="name files in a column `image`"
        )
    chosen = _chosen(path, [c for c in rows[0] if c != key], columns)
    names = dataset.names if per_image else dataset.identities
    known = {name: i for i, name in enumerate(names)}
    stated, strangers = _stated(path, rows, key, chosen, known)
    if not stated:
        what = "file" if per_image else "identity"
        raise AttributesError(
            f"none of the {len(rows)} rows of {path} names a {what} of the dataset",
            hint=f"the column '{key}' holds names as the dataset has them, e.g. the folders' names",
        )
    notes = [f"{strangers} row(s) of the attributes name nobody of the dataset"] if strangers else []
    found = []
    for column in chosen:
        attribute = _attribute(column, [stated.get(i, {}).get(column, "") for i in range(len(names))])
        if attribute is None:
            notes.append(f"the column '{column}' states nothing and is left out")
            continue
        if not per_image:
            attribute = replace(attribute, group=attribute.group[dataset.identity])
        found.append(attribute)
        missing = int((attribute.group == UNSTATED).sum())
        if missing:
            notes.append(f"{missing} photograph(s) have no '{column}' stated and are in none of its groups")
    if not found:
        raise AttributesError(f"no column of {path} states anything", hint=_HINT)
    return tuple(found), tuple(notes)


def _stated(
    path: Path, rows: list[dict[str, str]], key: str, columns: list[str], known: dict[str, int]
) -> tuple[dict[int, dict[str, str]], int]:
    """What is stated of whom, by their index, and how many rows name nobody who is known."""
    stated: dict[int, dict[str, str]] = {}
    strangers = 0
    for line, row in enumerate(rows, start=2):
        who = row[key].strip()
        if who not in known:
            strangers += 1
            continue
        values = {c: row[c].strip() for c in columns}
        if stated.setdefault(known[who], values) != values:
            raise AttributesError(f"{path}, line {line}: another row says something else of the same {key}", hint=_HINT)
    return stated, strangers


def _chosen(path: Path, given: list[str], columns: Sequence[str]) -> list[str]:
    for name in columns:
        if name not in given:
            raise AttributesError(f"{path} has no column '{name}'; it has {', '.join(given) or 'none'}", hint=_HINT)
    if not given:
        raise AttributesError(f"{path} states nothing: it has one column only", hint=_HINT)
    return list(dict.fromkeys(columns)) or given


def _attribute(column: str, values: list[str]) -> Attribute | None:
    """A column's values as groups; None if it states nothing."""
    import numpy as np  # noqa: PLC0415 - not for the command line's help

    groups = tuple(sorted({v for v in values if v not in ("", "-")}))
    if len(groups) > MAX_GROUPS:
        raise AttributesError(
            f"the column '{column}' has {len(groups)} different values, more than the {MAX_GROUPS} that can be "
            "compared",
            hint="put ranges in place of numbers, e.g. 18-29, or choose columns with --by",
        )
    number = {name: i for i, name in enumerate(groups)}
    group = np.array([number.get(v, UNSTATED) for v in values], np.int32)
    return Attribute(column, groups, group) if groups else None


def _rows(path: Path) -> tuple[list[dict[str, str]], str, bool]:
    """The rows, the column that names, and whether it names photographs."""
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            reader = csv.DictReader(file, restkey="", restval="")
            header = list(reader.fieldnames or ())
            rows = list(reader)
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise AttributesError(f"{path} cannot be read: {type(error).__name__}", hint=_HINT) from error
    if not rows:
        raise AttributesError(f"{path} has no rows", hint=_HINT)
    if len(set(header)) != len(header) or "" in header:
        raise AttributesError(f"two columns of {path} have the same name, or one has none", hint=_HINT)
    wide = next((line for line, row in enumerate(rows, start=2) if "" in row), None)
    if wide is not None:
        raise AttributesError(f"{path}, line {wide}: there are more values than columns", hint=_HINT)
    lower = {name.strip().lower(): name for name in header}
    for names, per_image in ((_IMAGE, True), (_IDENTITY, False)):
        for name in names:
            if name in lower:
                return rows, lower[name], per_image
    raise AttributesError(f"{path} has no column that names people or files; it has {', '.join(header)}", hint=_HINT)
