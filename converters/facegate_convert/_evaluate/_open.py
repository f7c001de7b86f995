"""From what somebody names on the command line to a source of templates and the points that it came with."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from facegate_convert.errors import EvaluationError, ModelFileError

if TYPE_CHECKING:
    from collections.abc import Callable

    from facegate_convert._bundles import Model
    from facegate_convert._evaluate._sources import Source

    Progress = Callable[[str, int, int], None]

HOSTED = "hosted:"
_BUNDLE_MAGIC = b"PK"
_ARRAY_MAGIC = b"\x93NUMPY"


@dataclass(frozen=True, slots=True, eq=False)
class Named:
    """What goes with a source.

    Attributes:
        detector, liveness: model files beside a recogniser's, or the detector for a hosted model.
        preprocess: normalisation of the recogniser by name.
        input_size: (width, height) for a detector that leaves it open.
        trust: the keys that a bundle must be signed by; None opens any, and says so.
        endpoint: URL of a hosted model; the environment's if None. It is kept nowhere.
        token: file of the token for it.
    """

    detector: Path | None = None
    liveness: Path | None = None
    preprocess: str | None = None
    input_size: tuple[int, int] | None = None
    trust: Path | None = None
    endpoint: str | None = None
    token: Path | None = None


@dataclass(frozen=True, slots=True, eq=False)
class Opened:
    """A source, the (FMR, threshold) pairs that its bundle states, and what the reader of figures should know."""

    source: Source
    stated: tuple[tuple[float, float], ...] = ()
    notes: tuple[str, ...] = ()


def open_source(text: str, named: Named, *, progress: Progress | None = None) -> Opened:
    """Open a source, told by its content.

    Args:
        text: a bundle, an ONNX recogniser, a folder or file of features, or `hosted:MODEL_NAME`.
        named: what goes with it.
        progress: is told (step, done, total).

    Raises:
        EvaluationError: something that it needs was not named, or something was named that it has no use for.
        FacegateError: what is wrong with a model, a bundle or an endpoint.
    """
    from facegate_convert._evaluate._sources import features_source, models_source  # noqa: PLC0415 - loads numpy

    if text.startswith(HOSTED):
        return Opened(_hosted(text[len(HOSTED) :], named))
    path = Path(text)
    kind = _kind(path)
    if kind == "bundle":
        return _bundle(path, named)
    if kind == "features":
        _useless(named, "stored features", "detector", "liveness", "preprocess", "trust", "endpoint", "token")
        return Opened(features_source(path))
    if named.detector is None:
        raise EvaluationError(
            f"{path} is a recogniser, and nothing is named that finds the faces for it",
            hint="name a detector's ONNX file or bundle with --detector",
        )
    _useless(named, "ONNX models", "trust", "endpoint", "token")
    models = [_role(named.detector, "detector", named, progress)]
    models.append(_role(path, "recognizer", named, progress))
    if named.liveness is not None:
        models.append(_role(named.liveness, "liveness", named, progress))
    return Opened(models_source(models, path.stem), notes=("the ONNX models were converted to float32 TFLite",))


def _kind(path: Path) -> str:
    if path.is_dir():
        return "features"
    try:
        with path.open("rb") as file:
            head = file.read(len(_ARRAY_MAGIC))
    except OSError as error:
        raise ModelFileError(
            f"{path} cannot be read: {error.strerror}",
            hint="name a bundle, an ONNX recogniser, a folder or file of features, or hosted:MODEL_NAME",
        ) from error
    if head.startswith(_BUNDLE_MAGIC):
        return "bundle"
    return "features" if head == _ARRAY_MAGIC else "onnx"


def _bundle(path: Path, named: Named) -> Opened:
    from facegate_convert._evaluate._sources import bundle_source  # noqa: PLC0415 - loads numpy
    from facegate_edge._bundle import open_bundle  # noqa: PLC0415
    from facegate_edge._keys import TrustStore  # noqa: PLC0415

    _useless(named, "a bundle", "detector", "liveness", "preprocess", "endpoint", "token")
    trust = TrustStore.load(named.trust) if named.trust is not None else None
    with open_bundle(path, trust=trust, development=trust is None) as bundle:
        stated = tuple((point.fmr, point.threshold) for point in bundle.manifest.operating_points)
        notes = [] if bundle.trusted else ["the bundle's signature was not checked (--trust)"]
        if bundle.manifest.demonstration:
            notes.append("a model says of itself that it is for demonstrations only")
        return Opened(bundle_source(bundle), stated, tuple(notes))


def _hosted(model_name: str, named: Named) -> Source:
    from facegate_convert._bundles import draft  # noqa: PLC0415 - loads much
    from facegate_convert._evaluate._sources import hosted_source  # noqa: PLC0415
    from facegate_convert._hosted._address import endpoint_url, parse_url, read_token  # noqa: PLC0415

    if named.detector is None:
        raise EvaluationError(
            "a hosted model is sent faces, and nothing is named that finds them",
            hint="name a detector's ONNX file or bundle with --detector",
        )
    _useless(named, "a hosted model", "liveness", "preprocess", "trust")
    url = endpoint_url(named.endpoint)
    parse_url(url)  # refused here, not by each process
    model = _role(named.detector, "detector", named, None)
    return hosted_source(
        draft([model]),
        model.data,
        url=url,
        model_name=model_name,
        token=read_token(named.token),
    )


def _role(path: Path, role: str, named: Named, progress: Progress | None) -> Model:
    """The model of a role in a bundle or ONNX file."""
    from facegate_convert._bundles import load_models  # noqa: PLC0415 - loads much
    from facegate_convert._convert import Options  # noqa: PLC0415

    options = Options(
        preprocess=named.preprocess if role == "recognizer" else None,
        input_size=named.input_size if role == "detector" else None,
        measure_latency=False,
    )
    models = load_models(path, options, progress=progress)
    found = next((model for model in models if model.info.role == role), None)
    if found is None:
        raise EvaluationError(
            f"{path} holds no {role}, but a {', a '.join(model.info.role for model in models)}",
            hint="SOURCE is the recogniser; --detector and --liveness-model name the others",
        )
    return found


def _useless(named: Named, what: str, *fields: str) -> None:
    for field in fields:
        if getattr(named, field) is not None:
            option = {"liveness": "liveness-model", "token": "token-file"}.get(field, field)
            raise EvaluationError(f"--{option} is of no use with {what}", hint="leave it out")
