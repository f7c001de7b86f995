"""Rendered pictures on disk: made once by several processes, resumable, and never mixed with another renderer's."""

from __future__ import annotations

import ast
import bisect
import errno
import hashlib
import json
import os
import shutil
from concurrent.futures import ProcessPoolExecutor, as_completed
from importlib.util import find_spec
from multiprocessing import get_context
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from facegate_train.errors import CacheError, CacheFullError, StaleCacheError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    import numpy.typing as npt

    Arrays = Mapping[str, npt.NDArray[Any]]
    Progress = Callable[[str, int, int], None]

_META = "meta.json"
_MARGIN = 256 << 20  # of disk left to everybody else


class Recipe(Protocol):
    """What is rendered: picklable, and the same for the same settings and renderer."""

    @property
    def name(self) -> str:
        """The folder's name: letters, digits, dashes."""

    @property
    def count(self) -> int:
        """How many samples there are."""

    @property
    def settings(self) -> dict[str, Any]:
        """What a sample depends on besides its index and the renderer; JSON values."""

    def make(self, index: int) -> Arrays:
        """A sample: the same fields, shapes and dtypes for each index."""


class Cache:
    """The samples of a recipe, read through memory maps.

    Args:
        folder: that `ensure` filled.
        shards: the shards' names in order.
        sizes: samples in each.
    """

    def __init__(self, folder: Path, shards: Sequence[str], sizes: Sequence[int]) -> None:
        self._ends = np.cumsum(sizes).tolist()
        self._shards = [_Shard(folder / name) for name in shards]

    def __len__(self) -> int:
        return int(self._ends[-1])

    def get(self, field: str, index: int) -> npt.NDArray[Any]:
        """One field of one sample: a view of the file."""
        place = bisect.bisect_right(self._ends, index)
        array: npt.NDArray[Any] = self._shards[place].field(field)[index - (self._ends[place - 1] if place else 0)]
        return array

    def all(self, field: str) -> npt.NDArray[Any]:
        """A field of all samples, copied into one array; for small fields."""
        return np.concatenate([np.asarray(shard.field(field)) for shard in self._shards])


class _Shard:
    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._open: dict[str, npt.NDArray[Any]] = {}

    def field(self, name: str) -> npt.NDArray[Any]:
        if name not in self._open:
            try:
                array: npt.NDArray[Any] = np.load(self._folder / f"{name}.npy", mmap_mode="r")
            except (OSError, ValueError) as error:
                raise CacheError(
                    f"the cached pictures in {self._folder} are damaged", hint="delete the folder and start again"
                ) from error
            # A plain view: indexing a memmap object costs microseconds for every sample.
            self._open[name] = array.view(np.ndarray)
        return self._open[name]


def renderer_fingerprint() -> str:
    """A digest of the source that pictures come from: pictures of another source are other pictures.

    Of the renderer's modules those count that its `_render` and `_scene` import, directly or not: a change of the
    simulated camera's scripts makes no other pictures.
    """
    spec = find_spec("facegate.simulation")
    if spec is None or spec.origin is None or not Path(spec.origin).is_file():
        return "no-renderer"
    root = Path(spec.origin).parent
    waiting, digest = {"_render", "_scene"}, hashlib.sha256()
    sources: dict[str, bytes] = {}
    while waiting:
        name = waiting.pop()
        path = root / f"{name}.py"
        if name in sources or not path.is_file():
            continue
        sources[name] = path.read_bytes()
        for node in ast.walk(ast.parse(sources[name])):
            if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("facegate.simulation"):
                module = (node.module or "").removeprefix("facegate.simulation").removeprefix(".")
                waiting |= {module} if module else {alias.name for alias in node.names}
    for name in sorted(sources):
        digest.update(f"{name}\0{len(sources[name])}\0".encode() + sources[name])
    return digest.hexdigest()[:16]


def ensure(
    recipe: Recipe,
    root: Path,
    *,
    workers: int = 2,
    shard: int = 200,
    stale: bool = False,
    progress: Progress | None = None,
) -> Cache:
    """The samples of a recipe, rendering those that are missing.

    Args:
        recipe: what to render.
        root: the cache's folder; the recipe gets one of its own in it.
        workers: processes; 1 renders in this one.
        shard: samples in one file: what is lost when rendering is interrupted.
        stale: take complete pictures of another version of the renderer as they are.
        progress: called with (what, samples done, samples in all).

    Raises:
        CacheFullError: the disk is full, or too full for what is still to be rendered.
        StaleCacheError: the folder holds pictures of another renderer or other settings.
        CacheError: the folder cannot be read or written.
    """
    folder = root / recipe.name
    meta = {"renderer": renderer_fingerprint(), "settings": recipe.settings, "count": recipe.count, "shard": shard}
    try:
        folder.mkdir(parents=True, exist_ok=True)
        _check_meta(folder, meta, stale=stale)
        starts = range(0, recipe.count, shard)
        names = [f"{start:07d}" for start in starts]
        sizes = [min(shard, recipe.count - start) for start in starts]
        missing = [s for s, name in zip(starts, names, strict=True) if not (folder / name).is_dir()]
        if missing:
            _render(recipe, folder, missing, shard, workers, progress)
    except CacheError:
        raise
    except OSError as error:
        raise _trouble(folder, error) from error
    return Cache(folder, names, sizes)


def made_by(recipe: Recipe, root: Path) -> str:
    """The fingerprint of the renderer that made a cached recipe's pictures."""
    try:
        return str(json.loads((root / recipe.name / _META).read_text())["renderer"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise CacheError(f"{root / recipe.name} is no cache", hint="delete the folder and start again") from error


def _check_meta(folder: Path, meta: dict[str, Any], *, stale: bool) -> None:
    path = folder / _META
    if not path.exists():
        path.write_text(json.dumps(meta, indent=1, sort_keys=True) + "\n")
        return
    try:
        found = json.loads(path.read_text())
    except ValueError as error:
        raise CacheError(f"{path} is damaged", hint="delete the folder and start again") from error
    if not isinstance(found, dict):
        raise CacheError(f"{path} is damaged", hint="delete the folder and start again")
    if found == meta:
        return
    changed = sorted(key for key in meta if found.get(key) != meta[key])
    if changed == ["renderer"]:
        if stale:
            return
        raise StaleCacheError(
            f"the pictures in {folder} were made by another version of the renderer",
            hint="delete the folder to render them again, or accept them with --stale-cache",
        )
    raise StaleCacheError(
        f"the pictures in {folder} were made with other settings ({', '.join(changed)})",
        hint="delete the folder to render them again, or name another one with --cache",
    )


def _render(
    recipe: Recipe, folder: Path, missing: Sequence[int], shard: int, workers: int, progress: Progress | None
) -> None:
    size = sum(np.asarray(value).nbytes for value in recipe.make(missing[0]).values())
    needed = size * sum(min(shard, recipe.count - start) for start in missing)
    free = shutil.disk_usage(folder).free
    if needed + _MARGIN > free:
        raise CacheFullError(
            f"{recipe.name} needs {needed / 1e9:.1f} GB in {folder}, {free / 1e9:.1f} GB are free",
            hint="name a folder on another disk with --cache",
        )
    done = recipe.count - sum(min(shard, recipe.count - start) for start in missing)
    tell = progress or (lambda *_: None)
    tell(f"rendering {recipe.name}", done, recipe.count)
    if workers == 1:
        for start in missing:
            done += _make_shard(recipe, folder, start, shard)
            tell(f"rendering {recipe.name}", done, recipe.count)
        return
    # Spawned, not forked: this process may have torch's threads running.
    with ProcessPoolExecutor(workers, mp_context=get_context("spawn"), initializer=_one_thread) as pool:
        jobs = [pool.submit(_make_shard, recipe, folder, start, shard) for start in missing]
        try:
            for job in as_completed(jobs):
                done += job.result()
                tell(f"rendering {recipe.name}", done, recipe.count)
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise


def _one_thread() -> None:
    for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
        os.environ[name] = "1"


def _make_shard(recipe: Recipe, folder: Path, start: int, shard: int) -> int:
    """Render one shard beside its place and move it there when it is whole."""
    samples = [recipe.make(index) for index in range(start, min(start + shard, recipe.count))]
    partial = folder / f"{start:07d}.partial"
    shutil.rmtree(partial, ignore_errors=True)
    try:
        partial.mkdir()
        for field in samples[0]:
            np.save(partial / f"{field}.npy", np.stack([np.asarray(s[field]) for s in samples]))
        partial.rename(folder / f"{start:07d}")
    except OSError as error:
        shutil.rmtree(partial, ignore_errors=True)
        raise _trouble(folder, error) from error
    return len(samples)


def _trouble(folder: Path, error: OSError) -> CacheError:
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return CacheFullError(
            f"no space is left for rendered pictures in {folder}", hint="name a folder on another disk with --cache"
        )
    return CacheError(f"{folder} cannot be used: {error.strerror or error}", hint="name another folder with --cache")
