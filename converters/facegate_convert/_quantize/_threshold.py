"""A score's threshold, carried from one precision to another: thresholds belong to a model's bytes, not to its name."""

from __future__ import annotations

from typing import TYPE_CHECKING

from facegate_convert.errors import MeasureError

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt


def carry_threshold(
    exact: npt.NDArray[np.float32], found: npt.NDArray[np.float32], threshold: float
) -> tuple[float, int]:
    """The threshold at which a candidate's scores decide most nearly as the source's do.

    Args:
        exact: scores of the source, of any shape, e.g. of all cells of a detector over some photographs.
        found: the candidate's scores of the same cells.
        threshold: of the source; scores of at least that are accepted.

    Returns:
        (threshold, how many cells are still decided otherwise). Of thresholds that are equally good, the middle of the
        run that lies nearest to the source's; the source's own if no cell is accepted by it.

    Raises:
        MeasureError: if the shapes differ or there are no scores.
    """
    import numpy as np  # noqa: PLC0415

    if exact.shape != found.shape or not exact.size:
        raise MeasureError(f"scores of shapes {exact.shape} and {found.shape} cannot be compared")
    wanted = exact.reshape(-1) >= threshold
    scores = found.reshape(-1).astype(np.float64)
    if not wanted.any():
        return threshold, int((scores >= threshold).sum())
    order = np.argsort(scores, kind="stable")
    values, accepted = scores[order], wanted[order]
    # Accepting from place k on: the wanted ones before it are missed, the others from it on are extra.
    missed = np.concatenate([[0], np.cumsum(accepted)])
    extra = (~accepted).sum() - np.concatenate([[0], np.cumsum(~accepted)])
    wrong = missed + extra
    ends = np.concatenate([[min(values[0], threshold)], values, [max(values[-1], threshold)]])
    # Between equal scores there is no threshold.
    possible = np.concatenate([[True], values[1:] > values[:-1], [True]])
    places = np.flatnonzero(possible & (wrong == wrong[possible].min()))
    middles = (ends[places] + ends[places + 1]) / 2
    chosen = int(np.argmin(np.abs(middles - threshold)))
    low, high = ends[places[chosen]], ends[places[chosen] + 1]
    # Rounding down to the lower score itself would accept it.
    carried = threshold if low < threshold <= high else max(float(middles[chosen]), float(np.nextafter(low, high)))
    return carried, int(wrong[places[chosen]])
