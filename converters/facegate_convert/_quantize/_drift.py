"""How far outputs are from others: one figure to rank candidates of a model by, before decisions are looked at."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

    import numpy as np
    import numpy.typing as npt

    Arrays = Mapping[str, npt.NDArray[np.float32]]

_DIRECTION = "embedding"  # the output of which the direction counts, not the length
_SCORES = "score_"  # a detector's, one output a stride; its other outputs of that stride end in the same
_FACE = 0.2  # what a cell scores that could be a face; the other cells' boxes mean nothing

# Drifts that decisions hardly feel: what "auto" accepts where nobody judges decisions.
ACCEPTED = {_DIRECTION: 0.003, _SCORES: 0.05, "": 0.05}


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
        a = expected.reshape(len(expected), -1).astype(np.float64)
        b = found[name].reshape(len(expected), -1).astype(np.float64)
        if name == _DIRECTION:
            norms = np.linalg.norm(a, axis=1) * np.linalg.norm(b, axis=1)
            parts.append(float((1 - (a * b).sum(axis=1) / np.where(norms > 0, norms, 1)).mean()))
            continue
        scores = exact.get(f"{_SCORES}{name.rpartition('_')[2]}")
        if scores is None:
            parts.append(float(np.sqrt(((a - b) ** 2).mean()) / (a.std() or 1.0)))
            continue
        cells = scores.reshape(-1) > _FACE
        if name.startswith(_SCORES):
            cells |= found[name].reshape(-1) > _FACE
        if cells.any():
            a, b = (v.reshape(len(cells), -1)[cells] for v in (a, b))
            unit = 1.0 if name.startswith(_SCORES) else float(a.std()) or 1.0
            parts.append(float(np.sqrt(((a - b) ** 2).mean())) / unit)
    return sum(parts) / len(parts) if parts else 0.0


def acceptable(exact: Arrays) -> float:
    """The drift that decisions hardly feel, by what the model's outputs are."""
    kinds = (key for key in ACCEPTED if key and any(name.startswith(key) for name in exact))
    return ACCEPTED[next(kinds, "")]
