"""Plots of scores: how they are distributed, and one model's against another's."""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from facegate_convert._pages._svg import DASHES, INK, MUTED, SERIES, drawing, finish, label, legend, mark
from facegate_convert._pages._text import count, number, score, significant

if TYPE_CHECKING:
    from collections.abc import Sequence

    from matplotlib.axes import Axes

    from facegate_convert._pages._svg import Plot

_MOST_SERIES = len(SERIES)


@dataclass(frozen=True, slots=True)
class Series:
    """How often each similarity occurred.

    Attributes:
        name: for the plot.
        edges: n + 1 ascending borders.
        counts: n numbers.
    """

    name: str
    edges: Sequence[float]
    counts: Sequence[float]

    @property
    def total(self) -> float:
        """All of them; 0 if borders and numbers do not make a distribution."""
        borders, counted = self.edges, self.counts
        if len(borders) != len(counted) + 1 or not all(math.isfinite(v) for v in (*borders, *counted)):
            return 0.0
        if any(a >= b for a, b in itertools.pairwise(borders)) or any(c < 0 for c in counted):
            return 0.0
        return sum(counted)


def histogram(
    series: Sequence[Series], thresholds: Sequence[tuple[str, float]] = (), *, title: str, axis: str = "Similarity"
) -> Plot | None:
    """Distributions of similarities, each as shares of its own comparisons.

    Args:
        series: up to six; the first two are filled (genuine and impostor), further ones are lines only.
        thresholds: names and places of vertical lines.
        title: of the plot.
        axis: what is counted.

    Returns:
        The plot, or None if there is nothing in the series.
    """
    drawn = [s for s in series[:_MOST_SERIES] if s.total > 0]
    if not drawn:
        return None
    with drawing(2.9) as (figure, axes):
        for at, one in enumerate(drawn):
            shares = [100 * c / one.total for c in one.counts]
            filled = at < 2  # noqa: PLR2004 - genuine and impostor
            if filled:
                _fill(axes, one, at, 0.22)
            axes.stairs(
                shares,
                one.edges,
                color=SERIES[at],
                linewidth=1.5,
                linestyle=DASHES[at],
                label=f"{label(one.name, 40)} ({count(one.total)})",
            )
        first, last = _reach(drawn)
        axes.set_xlim(first, last)
        axes.set_ylim(bottom=0, top=1.3 * axes.get_ylim()[1] if thresholds else None)
        shown = [(name, t) for name, t in thresholds if number(t) is not None and first <= t <= last]
        for at, (name, threshold) in enumerate(sorted(shown, key=lambda s: s[1])[:4]):
            mark(axes, threshold, f"{label(name)}: {score(threshold)}", height=1 - 0.085 * at)
        axes.set_xlabel(axis)
        axes.set_ylabel("Share of comparisons, %")
        legend(figure, [one.name for one in drawn])
        text = "; ".join(f"{s.name}: {count(s.total)}, most at {_mode(s)}" for s in drawn)
        return finish(figure, title, f"Shares of comparisons by {axis.lower()}. {text}.")


def compared(
    first: Sequence[Series],
    second: Sequence[Series],
    names: tuple[str, str],
    thresholds: Sequence[tuple[str, float]] = (),
    *,
    title: str,
    axis: str,
) -> Plot | None:
    """Distributions of two models over each other: the first filled, the second as lines.

    Args:
        first: kinds of comparisons by the first model, at most six.
        second: the same kinds by the second model, in the same order.
        names: of the two models.
        thresholds: names and places of vertical lines.
        title: of the plot.
        axis: what is counted.

    Returns:
        The plot, or None if one model has nothing to show.
    """
    both = [[s for s in kind[:_MOST_SERIES] if s.total > 0] for kind in (first, second)]
    if not all(both):
        return None
    with drawing(3.1) as (figure, axes):
        handles = [(f"{label(s.name)}, {label(names[0])}", _fill(axes, s, at, 0.3)) for at, s in enumerate(both[0])]
        for at, one in enumerate(both[1]):
            shares = [100 * c / one.total for c in one.counts]
            style = {"color": SERIES[at], "linewidth": 1.5, "linestyle": DASHES[at]}
            handles.append((f"{label(one.name)}, {label(names[1])}", axes.stairs(shares, one.edges, **style)))
        first_edge, last_edge = _reach([*both[0], *both[1]])
        axes.set_xlim(first_edge, last_edge)
        axes.set_ylim(bottom=0, top=1.3 * axes.get_ylim()[1] if thresholds else None)
        for at, (name, threshold) in enumerate(sorted(thresholds, key=lambda s: s[1])[:4]):
            if first_edge <= threshold <= last_edge:
                mark(axes, threshold, f"{label(name)}: {score(threshold)}", height=1 - 0.085 * at)
        axes.set_xlabel(axis)
        axes.set_ylabel("Share, %")
        figure.legend(
            [h for _, h in handles], [n for n, _ in handles],
            loc="outside upper left", ncols=2, borderaxespad=0, handlelength=2.4,
        )  # fmt: skip
        text = "; ".join(
            f"{s.name}, {name}: {count(s.total)}, most at {_mode(s)}"
            for kind, name in zip(both, names, strict=True)
            for s in kind
        )
        return finish(figure, title, f"Shares by {axis.lower()}. {text}.")


def _fill(axes: Axes, series: Series, at: int, strength: float) -> Any:
    """Fill a distribution; the second one is hatched, to be told from the first on a copy. Returns it for a legend."""
    shares = [100 * c / series.total for c in series.counts]
    area = axes.stairs(shares, series.edges, fill=True, color=SERIES[at], alpha=strength, linewidth=0)
    if at % 2 == 0:
        return area
    style = {"facecolor": "none", "edgecolor": SERIES[at], "alpha": 0.5, "linewidth": 0, "hatch": "////"}
    return area, axes.stairs(shares, series.edges, fill=True, **style)  # type: ignore[arg-type]


def _reach(series: Sequence[Series]) -> tuple[float, float]:
    """From the first to the last bin that holds anything."""
    starts = [s.edges[next(i for i, c in enumerate(s.counts) if c > 0)] for s in series]
    ends = [s.edges[len(s.counts) - next(i for i, c in enumerate(reversed(s.counts)) if c > 0)] for s in series]
    return min(starts), max(ends)


def _mode(series: Series) -> str:
    at = max(range(len(series.counts)), key=lambda i: series.counts[i])
    return significant((series.edges[at] + series.edges[at + 1]) / 2, 2)


def scatter(
    pairs: Sequence[tuple[float, float, bool]],
    thresholds: tuple[float, float] | None,
    *,
    title: str,
    names: tuple[str, str],
    kinds: tuple[str, str] = ("genuine", "impostor"),
    axis: str = "Similarity",
) -> Plot | None:
    """The scores of the same samples by two models, one against the other.

    Args:
        pairs: score by the first model, by the second, and whether the sample is of the first kind.
        thresholds: of the two models: samples in the quadrants where they disagree are decided differently.
        title: of the plot.
        names: of the two models.
        kinds: of samples.
        axis: what the scores are.

    Returns:
        The plot, or None if there is no sample.
    """
    kept = [(a, b, bool(g)) for a, b, g in pairs if number(a) is not None and number(b) is not None]
    if not kept:
        return None
    low = min(min(a, b) for a, b, _ in kept)
    high = max(max(a, b) for a, b, _ in kept)
    margin = 0.03 * (high - low) or 0.01
    with drawing(4.6, 5.2) as (figure, axes):
        axes.plot([low - margin, high + margin], [low - margin, high + margin], color=MUTED, linewidth=0.7)
        for at, (name, genuine) in enumerate(zip(kinds, (True, False), strict=True)):
            chosen = [(a, b) for a, b, g in kept if g is genuine]
            axes.scatter(
                [a for a, _ in chosen],
                [b for _, b in chosen],
                s=9 if genuine else 11,
                marker="o" if genuine else "x",
                facecolors=SERIES[at] if not genuine else "none",
                edgecolors=None if not genuine else SERIES[at],
                linewidths=0.7,
                alpha=0.75,
                label=f"{label(name, 40)} ({count(len(chosen))})",
            )
        if thresholds:
            axes.axvline(thresholds[0], color=INK, linewidth=0.9, linestyle=(0, (4, 2)))
            axes.axhline(thresholds[1], color=INK, linewidth=0.9, linestyle=(0, (4, 2)))
        axes.set_xlim(low - margin, high + margin)
        axes.set_ylim(low - margin, high + margin)
        axes.set_aspect("equal")
        axes.set_xlabel(f"{label(axis, 40)}, {label(names[0])}")
        axes.set_ylabel(f"{label(axis, 40)}, {label(names[1])}")
        figure.legend(loc="outside upper left", ncols=2, borderaxespad=0, handlelength=1)
        furthest = max(abs(a - b) for a, b, _ in kept)
        return finish(
            figure,
            title,
            f"{count(len(kept))} samples; the largest difference of two scores is {significant(furthest, 2)}.",
        )
