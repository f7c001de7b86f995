"""How far outputs are from others: one figure to rank candidates of a model by, before decisions are looked at."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

    import numpy as np
    import numpy.typing as npt

    Arrays = Mapping[str, npt.NDArray[np.float32]]

_DIRECTION = "embedding"  # the output of which the direction counts, not the length


def drift(exact: Arrays, found: Arrays) -> float:
    """The distance of one set of outputs to another; 0 is none.

    Args:
        exact: outputs of the float32 model by name, float32 (N, ...).
        found: of the candidate, the same names and shapes.

    Returns:
        For embeddings the mean of 1 - cosine. Else the mean over the outputs of the root mean square error, in units
        of the exact output's standard deviation.
    """
    import numpy as np  # noqa: PLC0415

    parts = []
    for name, expected in exact.items():
        a = expected.reshape(len(expected), -1).astype(np.float64)
        b = found[name].reshape(len(expected), -1).astype(np.float64)
        if name == _DIRECTION:
            norms = np.linalg.norm(a, axis=1) * np.linalg.norm(b, axis=1)
            parts.append(float((1 - (a * b).sum(axis=1) / np.where(norms > 0, norms, 1)).mean()))
        else:
            parts.append(float(np.sqrt(((a - b) ** 2).mean()) / (a.std() or 1.0)))
    return sum(parts) / len(parts)
