"""How far outputs are from others: one figure to rank candidates of a model by, before decisions are looked at."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

    import numpy as np
    import numpy.typing as npt

    Arrays = Mapping[str, npt.NDArray[np.float32]]

_DIRECTION = "embedding"  # the output of which the direction counts, not the length
_SCORE, _OBJECTNESS = "score", "objectness"  # a detector's; with several strides, "score_8" goes with "box_8"
_FACE = 0.2  # what a cell scores that could be a face; the other cells' boxes mean nothing

# Drifts that decisions hardly feel: what "auto" accepts where nobody judges decisions.
_ACCEPTED = {_DIRECTION: 0.005, _SCORE: 0.05, "": 0.05}


def drift(exact: Arrays, found: Arrays) -> float:
    """The distance of one set of outputs to another; 0 is none.

    Args:
        exact: outputs of the float32 model by name, float32 (N, ...).
        found: of the candidate, the same names and shapes.

    Returns:
        For embeddings the mean of 1 - cosine. For detectors the mean over the outputs of the root mean square error in
        the cells that could hold a face, in units of the standard deviation there (scores: as they are). Else the mean
        over the outputs of the root mean square error in units of the standard deviation.
    """
    import numpy as np  # noqa: PLC0415

    parts = []
    for name, expected in exact.items():
        a, b = (v.reshape(len(expected), -1).astype(np.float64) for v in (expected, found[name]))
        if name == _DIRECTION:
            norms = np.linalg.norm(a, axis=1) * np.linalg.norm(b, axis=1)
            parts.append(float((1 - (a * b).sum(axis=1) / np.where(norms > 0, norms, 1)).mean()))
            continue
        kind, _, stride = name.partition("_")
        scores, others = scores_of(exact, stride), scores_of(found, stride)
        if scores is not None and others is not None:
            cells = (np.maximum(scores, others) if kind == _SCORE else scores) > _FACE
            if not cells.any():
                continue
            a, b = (v.reshape(len(cells), -1)[cells] for v in (a, b))
        unit = 1.0 if kind in (_SCORE, _OBJECTNESS) else float(a.std()) or 1.0
        parts.append(float(np.sqrt(((a - b) ** 2).mean())) / unit)
    return sum(parts) / len(parts) if parts else 0.0


def scores_of(outputs: Arrays, stride: str) -> npt.NDArray[np.float32] | None:
    """What each cell scores, float32 (cells of all inputs,), 0..1; None if these are no outputs of a detector.

    Args:
        outputs: of a detector, by name.
        stride: "8", "16", ... or "" for a detector whose outputs are in one piece.
    """
    import numpy as np  # noqa: PLC0415

    suffix = f"_{stride}" if stride else ""
    score = outputs.get(f"{_SCORE}{suffix}")
    if score is None:
        return None
    face: npt.NDArray[np.float32] = score.reshape(-1, score.shape[-1])[:, -1]  # of two probabilities, the face's
    objectness = outputs.get(f"{_OBJECTNESS}{suffix}")
    return face if objectness is None else np.sqrt(np.maximum(face * objectness.reshape(-1), 0))


def acceptable(exact: Arrays) -> float:
    """The drift that decisions hardly feel, by what the model's outputs are."""
    kinds = (key for key in _ACCEPTED if key and any(name.partition("_")[0] == key for name in exact))
    return _ACCEPTED[next(kinds, "")]
