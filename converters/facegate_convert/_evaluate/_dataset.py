"""Datasets: photographs, whom they show, and who is compared with whom.

Three forms are read: a folder for each identity, LFW's `pairs.txt` with its folds, and a CSV file of pairs. Nothing
here looks at a pixel. A photograph is its bytes: two files with the same bytes are one photograph.
"""

from __future__ import annotations

import hashlib
import os
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING

from facegate_convert._images import IMAGE_SUFFIXES, file_sha256, list_images
from facegate_convert.errors import DatasetError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence
    from pathlib import Path

    import numpy as np
    import numpy.typing as npt

    Progress = Callable[[str, int, int], None]

KINDS = ("identities", "pairs", "lfw")
_SHOWN_KINDS = 5
ID_LENGTH = 12  # hex digits of a photograph's sha256 that name it in results


@dataclass(frozen=True, slots=True, eq=False)
class Dataset:
    """Photographs and the comparisons to be made between them.

    Attributes:
        kind: one of `KINDS`.
        root: the folder that `names` are relative to.
        names: of the photographs' files, with slashes; one name for each content, the first in order.
        sha256: of the photographs' bytes, hex; no two are alike.
        identities: whom they show: folder names, LFW's names, or "1", "2", ... for the people of a pairs file that says
            no more than who is the same.
        identity: int32 (N,), index into `identities` of each photograph.
        pairs: int32 (P, 2), the photographs to be compared, each row ascending; None stands for every pair.
        same: bool (P,), whether a pair shows one person; None if `pairs` is.
        fold: int32 (P,), 0, 1, ...: the fold of each pair; None if there are no folds.
        fingerprint: sha256 (hex) over the photographs' bytes and the comparisons: the same data, wherever it lies and
            whatever its files and people are called, gives the same fingerprint.
        copies: names of files that have the same bytes, for each photograph that is there more than once.
        notes: what was left out on the way, a sentence each.
    """

    kind: str
    root: Path
    names: tuple[str, ...]
    sha256: tuple[str, ...]
    identities: tuple[str, ...]
    identity: npt.NDArray[np.int32]
    pairs: npt.NDArray[np.int32] | None
    same: npt.NDArray[np.bool_] | None
    fold: npt.NDArray[np.int32] | None
    fingerprint: str
    copies: tuple[tuple[str, ...], ...] = ()
    notes: tuple[str, ...] = ()

    @property
    def paths(self) -> tuple[Path, ...]:
        """Where the photographs are."""
        return tuple(self.root / name for name in self.names)

    @property
    def ids(self) -> tuple[str, ...]:
        """What names the photographs in results: the first 12 hex digits of their sha256."""
        return tuple(digest[:ID_LENGTH] for digest in self.sha256)

    @property
    def counts(self) -> tuple[int, int]:
        """Comparisons of the same person, and of two people."""
        import numpy as np  # noqa: PLC0415 - not for the command line's help

        if self.same is not None:
            genuine = int(self.same.sum())
            return genuine, self.same.size - genuine
        each = np.bincount(self.identity, minlength=len(self.identities)).astype(np.int64)
        genuine = int((each * (each - 1) // 2).sum())
        total = len(self.names) * (len(self.names) - 1) // 2
        return genuine, total - genuine

    def __repr__(self) -> str:
        return f"Dataset({self.kind}, {len(self.names)} photographs)"


def read_dataset(
    path: Path, images: Path | None = None, *, infer: bool = False, progress: Progress | None = None
) -> Dataset:
    """Read a dataset in any of its forms.

    Args:
        path: a folder that holds a folder for each identity, or a pairs file (LFW's, or CSV with a header).
        images: the folder of a pairs file's photographs; the file's own folder if None. Of no use with a folder.
        infer: with a CSV file: add what follows from the list. If a and b are the same person and so are b and c, then
            a and c; if b and d are two people, then a and d are.
        progress: is told (step, done, total).

    Raises:
        DatasetError: it cannot be read, contradicts itself, or compares nothing.
    """
    if not path.exists():
        raise DatasetError(f"there is no {path}", hint="name a folder of a folder for each identity, or a pairs file")
    if not path.is_dir():
        from facegate_convert._evaluate._pairs import read_pairs_file  # noqa: PLC0415 - it needs this module

        return read_pairs_file(path, images, infer=infer, progress=progress)
    if images is not None:
        raise DatasetError(f"{path} is a folder of photographs itself", hint="--images goes with a pairs file")
    if infer:
        raise DatasetError("every two photographs of a folder are compared already", hint="leave --infer-pairs out")
    return read_identities(path, progress=progress)


def read_identities(folder: Path, *, progress: Progress | None = None) -> Dataset:
    """A dataset from `folder/<identity>/<photographs>`: every pair is compared.

    A photograph that is there twice in one identity counts once; one that is filed under two people is left out, for
    nobody can tell whom it shows.

    Raises:
        DatasetError: there are fewer than two identities, or a folder cannot be read.
    """
    try:
        inside = sorted(folder.iterdir()) if folder.is_dir() else []
    except OSError as error:
        raise DatasetError(f"{folder} cannot be read: {error.strerror}", hint="name a folder of folders") from error
    people = [path for path in inside if path.is_dir() and not path.name.startswith(".")]
    groups = [(person.name, list_images(person)) for person in people]
    empty = sum(not files for _, files in groups)
    files = [(name, path) for name, paths in groups for path in paths]
    digests = hash_files([path for _, path in files], progress)
    owners: dict[str, set[str]] = {}
    for (name, _), digest in zip(files, digests, strict=True):
        owners.setdefault(digest, set()).add(name)
    kept: dict[str, tuple[str, str]] = {}
    for (name, path), digest in zip(files, digests, strict=True):
        if len(owners[digest]) == 1:
            kept.setdefault(digest, (name, path.relative_to(folder).as_posix()))
    contradictory = sum(len(owners[digest]) > 1 for digest in digests)
    doubles = len(files) - contradictory - len(kept)
    loose = sum(path.suffix.lower() in IMAGE_SUFFIXES for path in inside if path.is_file())
    notes = said(
        (doubles, "photograph(s) are there more than once in an identity and count once"),
        (contradictory, "file(s) are filed under more than one person and are left out"),
        (empty, "folder(s) hold no photograph"),
        (loose, "photograph(s) lie outside any identity's folder and are left out"),
        _no_photographs(people),
    )
    identities = tuple(sorted({name for name, _ in kept.values()}))
    if len(identities) < 2:  # noqa: PLR2004
        raise DatasetError(
            f"{folder} holds the photographs of {len(identities)} identities, at least 2 are needed",
            hint="make one folder for each identity, with at least two photographs in it",
        )
    people_hashes: dict[str, list[str]] = {}
    for digest, (name, _) in kept.items():
        people_hashes.setdefault(name, []).append(digest)
    number = {name: i for i, name in enumerate(identities)}
    return dataset_of(
        "identities",
        folder,
        {digest: name for digest, (_, name) in kept.items()},
        identities,
        [number[name] for name, _ in kept.values()],
        fingerprint_of(" ".join(sorted(hashes)) for hashes in people_hashes.values()),
        copies=find_copies(digests, [path for _, path in files], folder),
        notes=notes,
    )


def dataset_of(
    kind: str,
    root: Path,
    names: Mapping[str, str],
    identities: tuple[str, ...],
    identity: list[int],
    fingerprint: str,
    *,
    copies: tuple[tuple[str, ...], ...],
    notes: tuple[str, ...],
    rows: Sequence[tuple[str, str, bool, int]] | None = None,
    folds: bool = False,
) -> Dataset:
    """A dataset of what was read; `names` by sha256, `rows` of (sha256, sha256, the same person, fold)."""
    import numpy as np  # noqa: PLC0415 - not for the command line's help

    pairs = same = fold = None
    if rows is not None:
        index = {digest: i for i, digest in enumerate(names)}
        pairs = np.sort(np.array([(index[a], index[b]) for a, b, _, _ in rows], np.int32).reshape(-1, 2), axis=1)
        same = np.array([answer for _, _, answer, _ in rows], np.bool_)
        fold = np.array([number for _, _, _, number in rows], np.int32) if folds else None
    return Dataset(
        kind,
        root,
        tuple(names.values()),
        tuple(names),
        identities,
        np.array(identity, np.int32),
        pairs,
        same,
        fold,
        fingerprint,
        copies,
        notes,
    )


def _no_photographs(folders: Iterable[Path]) -> tuple[int, str]:
    """How many files are not read because of their names, and which: a phone's .heic are photographs of people too."""
    found = [
        path.suffix.lower()
        for folder in folders
        for path in folder.rglob("*")
        if path.suffix.lower() not in IMAGE_SUFFIXES and not path.name.startswith(".") and path.is_file()
    ]
    kinds = sorted(set(found))
    listed = ", ".join(kind or "no suffix" for kind in kinds[:_SHOWN_KINDS])
    more = f" and {len(kinds) - _SHOWN_KINDS} more" if len(kinds) > _SHOWN_KINDS else ""
    return len(found), f"file(s) are not read, for they are not named as images are ({listed}{more})"


def find_copies(digests: Sequence[str], files: Sequence[Path], folder: Path) -> tuple[tuple[str, ...], ...]:
    """The names of files with the same bytes."""
    alike: dict[str, list[str]] = {}
    for digest, file in zip(digests, files, strict=True):
        alike.setdefault(digest, []).append(os.path.relpath(file, folder).replace(os.sep, "/"))
    return tuple(tuple(names) for names in alike.values() if len(names) > 1)


def hash_files(paths: Sequence[Path], progress: Progress | None) -> list[str]:
    """The sha256 of each file, read by several threads: hashing lets other threads run."""
    found = []
    with ThreadPoolExecutor(min(8, os.cpu_count() or 1)) as pool:
        for done, digest in enumerate(pool.map(file_sha256, paths), start=1):
            found.append(digest)
            if progress is not None and (done % 100 == 0 or done == len(paths)):
                progress("reading photographs", done, len(paths))
    return found


def fingerprint_of(lines: Iterable[str]) -> str:
    """The sha256 (hex) over lines, whatever their order."""
    return hashlib.sha256("".join(f"{line}\n" for line in sorted(lines)).encode()).hexdigest()


def said(*counted: tuple[int, str]) -> tuple[str, ...]:
    """A sentence for each number that is not 0."""
    return tuple(f"{count} {text}" for count, text in counted if count)
