"""Complete-linkage clustering of templates: every two members of a cluster are similar (Sorensen, 1948)."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy.typing as npt

__all__ = ["complete_linkage"]


def complete_linkage(templates: Sequence[npt.NDArray[np.int8] | None], threshold: float) -> list[list[int]]:
    """Clusters of which every two members are at least that similar; the most similar are joined first.

    Args:
        templates: int8 (D,) each, or None for one that is similar to nothing.
        threshold: similarity, -1..1.

    Returns:
        Indices, sorted; clusters in the order of their first members.
    """
    known = [(i, template) for i, template in enumerate(templates) if template is not None]
    clusters = [[i] for i, template in enumerate(templates) if template is None]
    if known:
        rows = np.stack([template for _, template in known]).astype(np.float64)
        rows /= np.linalg.norm(rows, axis=1, keepdims=True)
        similar = rows @ rows.T
        rows.fill(0)
        first, second = np.triu_indices(len(known), 1)
        of = [[row] for row in range(len(known))]  # the cluster of each row
        for pair in np.argsort(-similar[first, second], kind="stable").tolist():
            a, b = of[first[pair]], of[second[pair]]
            if similar[first[pair], second[pair]] < threshold:
                break
            if a is not b and similar[np.ix_(a, b)].min() >= threshold:
                a.extend(b)
                for row in b:
                    of[row] = a
        joined = {id(rows_of): rows_of for rows_of in of}
        clusters += [sorted(known[row][0] for row in rows_of) for rows_of in joined.values()]
    return sorted(clusters)
