"""What a model says about prepared inputs, read by the very classes that a device runs.

The same functions serve the source (through `OnnxEngine`) and the converted model: an engine and a manifest entry in,
embeddings, templates, faces or probabilities out.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from facegate_convert import _measure

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy as np
    import numpy.typing as npt

    from facegate_edge._engine import Engine
    from facegate_edge._manifest import InputInfo, ModelInfo
    from facegate_edge._values import Face

    Array = npt.NDArray[np.float32]


class Embedded(NamedTuple):
    """Embeddings float32 (N, D) as the model gives them, and templates int8 (N, D) as a device keeps them."""

    embeddings: Array
    templates: npt.NDArray[np.int8]


def embed(engine: Engine, info: ModelInfo, inputs: Sequence[Array]) -> Embedded:
    """The embeddings and templates of aligned faces. Raises KernelError if the model gives no direction."""
    import numpy as np  # noqa: PLC0415 - the command line's help must not wait for it

    from facegate_edge._embedder import Embedder  # noqa: PLC0415

    embedder = Embedder(info, engine)
    embeddings = np.empty((len(inputs), embedder.length), np.float32)
    templates = np.empty((len(inputs), embedder.length), np.int8)
    for row, value in enumerate(inputs):
        _measure.feed(engine, value)
        templates[row] = embedder.embed().data
        embeddings[row] = embedder.embedding()
    return Embedded(embeddings, templates)


def detect(engine: Engine, info: ModelInfo, inputs: Sequence[Array], threshold: float) -> list[tuple[Face, ...]]:
    """The faces of letterboxed photographs with a score of at least `threshold`, in pixels of the input."""
    from facegate_edge._detector import Detector  # noqa: PLC0415 - loads the kernels

    detector = Detector(info, engine, score_threshold=threshold)
    found = []
    for value in inputs:
        _measure.feed(engine, value)
        found.append(detector.read())
    return found


def live(engine: Engine, info: ModelInfo, inputs: Sequence[Array]) -> npt.NDArray[np.float64]:
    """The probability that each face is a live one, float64 (N,), by the softmax that `Liveness` takes."""
    import numpy as np  # noqa: PLC0415

    liveness = info.liveness
    if liveness is None or not inputs:
        return np.zeros(0)
    logits = _measure.outputs_of(engine, inputs)[liveness.output].reshape(len(inputs), -1).astype(np.float64)
    weights = np.exp(logits - logits.max(axis=1, keepdims=True))
    found: npt.NDArray[np.float64] = weights[:, liveness.live_class] / weights.sum(axis=1)
    return found


def altered(inputs: Sequence[Array], info: InputInfo) -> dict[str, tuple[Array, ...]]:
    """The same pictures taken otherwise, by what was changed: dimmed and shifted, blurred, and mirrored.

    No labels are needed to know that they show the same faces. They are easier than two photographs of a person on two
    days: they show what a model does with small changes, never what its error rates are.
    """
    import numpy as np  # noqa: PLC0415

    mean, scale = np.array(info.mean, np.float32), np.array(info.scale, np.float32)
    found: dict[str, list[Array]] = {"dimmed and shifted": [], "blurred": [], "mirrored": []}
    for value in inputs:
        pixels = value[0] / scale + mean
        moved = np.pad(pixels, ((2, 0), (3, 0), (0, 0)), mode="edge")[: pixels.shape[0], : pixels.shape[1]] * 0.7
        padded = np.pad(pixels, ((1, 1), (1, 1), (0, 0)), mode="edge")
        rows, columns = pixels.shape[:2]
        soft = sum(padded[y : y + rows, x : x + columns] for y in range(3) for x in range(3)) / 9
        for name, picture in zip(found, (moved, soft, pixels[:, ::-1]), strict=True):
            found[name].append(((np.rint(picture) - mean) * scale).astype(np.float32)[None])
    return {name: tuple(values) for name, values in found.items()}


def cosines(vectors: npt.NDArray[np.generic], pairs: Sequence[tuple[int, int]]) -> npt.NDArray[np.float64]:
    """The cosine of each pair of rows, float64 (len(pairs),); integers are multiplied exactly, as on a device."""
    import numpy as np  # noqa: PLC0415

    values = vectors.astype(np.float64)
    norms = np.linalg.norm(values, axis=1)
    a, b = np.array(pairs, np.intp).reshape(-1, 2).T
    found: npt.NDArray[np.float64] = np.einsum("ij,ij->i", values[a], values[b]) / (norms[a] * norms[b])
    return found
