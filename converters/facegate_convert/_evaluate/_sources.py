"""Where templates come from: a bundle, ONNX models, stored features, or a hosted model."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from dataclasses import dataclass, field, replace
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Any

from facegate_convert._evaluate._cache import OK, STATUSES, Cache, Records, record_type
from facegate_convert._evaluate._workers import make_templates
from facegate_convert.errors import CacheError, EvaluationError
from facegate_edge._manifest_json import dump_manifest
from facegate_edge._version import VERSION

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

    import numpy as np
    import numpy.typing as npt

    from facegate_convert._bundles import Model
    from facegate_convert._evaluate._dataset import Dataset
    from facegate_edge._bundle import Bundle
    from facegate_edge._manifest import Manifest, ModelInfo

    Progress = Callable[[str, int, int], None]


_SAME = 0.999  # similarity of two features of one photograph by one hosted model


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class Source:
    """Makes templates.

    Attributes:
        kind: "bundle", "onnx", "features" or "hosted".
        name: for people.
        id: sha256 (hex) of all that the templates depend on; what is kept of one source serves no other.
        description: what a result says of the source: strings, numbers, booleans, lists and mappings of them.
        models: by role, for the workers.
        config: likewise; a secret of it is shown nowhere.
        stored: folder or file of features, for "features".
    """

    kind: str
    name: str
    id: str
    description: Mapping[str, Any]
    models: Mapping[str, bytes] = field(default_factory=dict)
    config: Mapping[str, Any] = field(default_factory=dict)
    length: int | None = None
    stored: Path | None = None

    @property
    def values(self) -> str:
        """What a template is made of: "i1", int8, or "f4", float32."""
        return "i1" if self.kind in ("bundle", "onnx") else "f4"

    @property
    def has_liveness(self) -> bool:
        """Whether faces can be judged live or not."""
        return "liveness" in self.models

    def __repr__(self) -> str:
        return f"Source({self.kind}, {self.name})"


def bundle_source(bundle: Bundle) -> Source:
    """A bundle as it runs on a device. It was verified when it was opened; its bytes are copied.

    Raises:
        EvaluationError: it lacks a detector or a recogniser.
    """
    manifest = bundle.manifest
    source = _local(
        "bundle",
        f"{manifest.name} {manifest.version}",
        manifest,
        {model.role: bytes(bundle.model_bytes(model.role)) for model in manifest.models},
    )
    more = {"bundle": bundle.id, "signed_by": bundle.key_id, "trusted": bundle.trusted}
    return replace(source, description={**source.description, **more})


def models_source(models: Sequence[Model], name: str) -> Source:
    """Models that were converted just now and are in no bundle yet.

    Raises:
        BuildError, EvaluationError: they make no pipeline.
    """
    from facegate_convert._bundles import draft  # noqa: PLC0415 - where it is used

    return _local("onnx", name, draft(models), {m.info.role: m.data for m in models})


def hosted_source(detector: Manifest, data: bytes, *, url: str, model_name: str, token: str | None) -> Source:
    """A hosted model behind the evaluation protocol; faces are found and cropped here.

    Args:
        detector: a manifest with the detector in it.
        data: the detector's bytes.
        url: of the endpoint. It is held in memory and given to the workers through a pipe, and nowhere else.
        model_name: which model the endpoint shall use.
        token: for the endpoint.
    """
    info = detector.model("detector")
    if info is None:
        raise EvaluationError("the detector for a hosted model is none", hint="name a detector with --detector")
    alone = replace(detector, models=(info,), operating_points=())
    described = {**_described(alone), "model_name": model_name}
    # Not even a digest of the address: whoever has a list of addresses could find it. See `_check_endpoint`.
    key = _digest({"detector": _essence(info), "hosted": model_name})
    config = {
        "kind": "hosted",
        "manifest": dump_manifest(alone).decode(),
        "url": url,
        "model_name": model_name,
        "token": token,
    }
    return Source("hosted", model_name, key, described, {"detector": data}, config)


def features_source(path: Path) -> Source:
    """Features that somebody made and saved with `numpy.save`.

    Args:
        path: a folder that holds `<photograph's name without suffix>.npy` for each photograph, as `facegate evaluate
            features` writes them; or one file (N, D) with a row for each photograph, in the order of their names. An
            empty array, or a row of zeros or NaN, says that no face was found.
    """
    return Source("features", path.name, "", {"space": None}, stored=path)


def records_id(records: Records) -> str:
    """The sha256 (hex) of stored features, in whatever order their photographs are: what a result of them is of."""
    import numpy as np  # noqa: PLC0415 - not for the command line's help

    order = np.argsort(np.array([row.tobytes() for row in records.rows["sha256"]], dtype="S32"))
    return hashlib.sha256(records.rows[order].tobytes()).hexdigest()


def files_source() -> Source:
    """No model at all: photographs are opened and nothing more."""
    return Source("files", "files", _digest("files"), {}, config={"kind": "files"}, length=0)


def get_records(
    source: Source,
    dataset: Dataset,
    *,
    faces: str,
    want: str = "template",
    folder: Path | None,
    jobs: int | None = None,
    engine: str | None = None,
    progress: Progress | None = None,
) -> tuple[Records, tuple[str, ...]]:
    """What the source makes of a dataset's photographs.

    Args:
        source: of the templates.
        dataset: the photographs.
        faces: "largest", "central" or "refuse": which face of several.
        want: "template" or "liveness".
        folder: where templates are kept; in memory alone if None.
        jobs: processes; one a processor if None.
        engine: "litert" or "tflite" to force one.
        progress: is told (step, done, total).

    Returns:
        (records, notes).

    Raises:
        EvaluationError: stored features do not fit the photographs.
        CacheError, WorkerError: and whatever the source's own errors are.
    """
    if source.kind == "features":
        return _stored(source, dataset), ()
    key = _digest({"source": source.id, "faces": faces, "want": want, "facegate": VERSION, "engine": engine})
    path = folder / f"{want}-{key[:16]}.fgt" if folder is not None else None
    length = 0 if want == "liveness" else source.length
    config = {"kind": "local", **source.config, "faces": faces, "want": want, "engine": engine}
    with Cache(path, key=bytes.fromhex(key), length=length, kind=source.values) as cache:
        if source.kind == "hosted":
            _check_endpoint(source, dataset, cache, config)
        records = make_templates(
            dataset.paths,
            dataset.sha256,
            cache,
            config=config,
            models=source.models,
            jobs=jobs,
            progress=progress,
        )
        return records, tuple(cache.notes)


def _check_endpoint(source: Source, dataset: Dataset, cache: Cache, config: Mapping[str, Any]) -> None:
    """Refuse to go on with features of another endpoint, or of a model that has changed behind this one.

    Nothing of the address is kept that could tell; but the same photograph must give the same feature.
    """
    import numpy as np  # noqa: PLC0415 - not for the command line's help

    kept = cache.find(dataset.sha256)
    usable = np.flatnonzero(kept.present & (kept.rows["status"] == OK))
    if not usable.size or kept.present.all():
        return
    place = int(usable[0])
    with Cache(None, key=bytes(32), length=None, kind=source.values) as fresh:
        again = make_templates(
            [dataset.paths[place]], [dataset.sha256[place]], fresh, config=config, models=source.models, jobs=1
        )
    before, now = kept.rows["values"][place], again.rows["values"][0]
    if before.size != now.size or float(before.astype(np.float64) @ now.astype(np.float64)) < _SAME:
        raise CacheError(
            "the endpoint gives another feature for a photograph than the one that was kept",
            hint="use another folder with --cache: this is another endpoint, or its model has changed",
        )


def _local(kind: str, name: str, manifest: Manifest, models: dict[str, bytes]) -> Source:
    recognizer = manifest.model("recognizer")
    if recognizer is None or recognizer.recognizer is None or manifest.model("detector") is None:
        raise EvaluationError(
            "a detector and a recogniser are needed to tell people apart", hint="name the missing one's ONNX file"
        )
    return Source(
        kind,
        name,
        models_id(manifest),
        {**_described(manifest), "space": recognizer.recognizer.template_space},
        models,
        {"manifest": dump_manifest(manifest).decode()},
        recognizer.recognizer.template_length,
    )


def models_id(manifest: Manifest) -> str:
    """The sha256 (hex) of all in a bundle that its templates and liveness depend on.

    Signing a bundle again, or giving it other operating points, leaves it as it is.
    """
    return _digest([_essence(model) for model in manifest.models])


def _essence(model: ModelInfo) -> Mapping[str, Any]:
    from dataclasses import asdict  # noqa: PLC0415 - where it is used

    return {name: value for name, value in asdict(model).items() if name not in ("provenance", "file")}


def _digest(value: object) -> str:
    return hashlib.sha256(json.dumps(value, sort_keys=True, allow_nan=False).encode()).hexdigest()


def _described(manifest: Manifest) -> dict[str, Any]:
    return {
        "target": manifest.target,
        "demonstration": manifest.demonstration,
        "models": [
            {
                "role": m.role,
                "family": m.family,
                "precision": m.precision,
                "sha256": m.sha256,
                "source_sha256": m.provenance.source_sha256,
                "licence": m.provenance.licence,
                "commercial_use": m.provenance.commercial_use,
            }
            for m in manifest.models
        ],
    }


def _stored(source: Source, dataset: Dataset) -> Records:
    import numpy as np  # noqa: PLC0415 - not for the command line's help

    path = source.stored
    assert path is not None  # noqa: S101 - made by features_source
    if path.is_dir():
        stems = Counter(_stem(name) for name in dataset.names)
        # a.png and a.jpg: only the whole name says whose feature it is.
        vectors = [_vector(path, name, whole=stems[_stem(name)] > 1) for name in dataset.names]
    else:
        matrix = _load(path)
        if matrix.ndim != 2 or len(matrix) != len(dataset.names):  # noqa: PLR2004
            raise EvaluationError(
                f"{path} has the shape {matrix.shape}, and the dataset {len(dataset.names)} photographs",
                hint="a file of features has a row for each photograph, in the order of their names",
            )
        order = np.argsort(np.array(dataset.names, dtype=object), kind="stable")
        vectors = list(matrix)
        for row, place in enumerate(order):
            vectors[place] = matrix[row]
    lengths = {v.size for v in vectors if v is not None and v.size}
    if not lengths:
        raise EvaluationError(f"{path} holds no feature of any photograph", hint="every array in it is empty")
    if len(lengths) != 1:
        raise EvaluationError(
            f"{path} holds features of {len(lengths)} different lengths", hint="features of one model have one length"
        )
    length = lengths.pop()
    rows = np.zeros(len(vectors), record_type(length, "f4"))
    rows["quality"], rows["live"] = np.nan, np.nan
    rows["sha256"] = np.frombuffer(bytes.fromhex("".join(dataset.sha256)), np.uint8).reshape(-1, 32)
    for i, vector in enumerate(vectors):
        if vector is None or not vector.size or not np.isfinite(vector).all() or not vector.any():
            rows["status"][i] = STATUSES.index("no_face")
        else:
            rows["values"][i] = vector
    return Records(rows, np.ones(len(vectors), np.bool_))


def _stem(name: str) -> str:
    return str(PurePosixPath(name).with_suffix(".npy"))


def _vector(folder: Path, name: str, *, whole: bool) -> npt.NDArray[Any]:
    for candidate in (f"{name}.npy",) if whole else (_stem(name), f"{name}.npy"):
        path = folder / candidate
        if path.is_file():
            return _load(path).reshape(-1)
    raise EvaluationError(
        f"{folder} holds no feature of {name}" + (", by its whole name" if whole else ""),
        hint="`facegate evaluate features` writes one for each photograph",
    )


def _load(path: Path) -> npt.NDArray[np.float32]:
    import numpy as np  # noqa: PLC0415 - not for the command line's help

    try:
        array = np.load(path, allow_pickle=False)
    except (OSError, ValueError, EOFError, MemoryError) as error:  # a header may ask for any size
        raise EvaluationError(f"{path} is no array that can be read", hint="save it with numpy.save") from error
    if not isinstance(array, np.ndarray) or array.dtype.kind != "f":
        raise EvaluationError(f"{path} holds no floating-point numbers", hint="features are float32")
    with np.errstate(over="ignore"):  # what float32 cannot hold becomes infinite: no feature
        return array.astype(np.float32)
