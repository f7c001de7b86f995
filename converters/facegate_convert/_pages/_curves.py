"""Plots of error rates against each other: trade-offs with their intervals."""

from __future__ import annotations

import math
from dataclasses import dataclass
from statistics import NormalDist
from typing import TYPE_CHECKING, Any

from facegate_convert._pages._svg import (
    DASHES,
    GRID,
    INK,
    MARKERS,
    PAPER,
    SERIES,
    drawing,
    finish,
    label,
    legend,
)
from facegate_convert._pages._text import number, numbers, percent, powers, share, tick

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from matplotlib.axes import Axes

    from facegate_convert._pages._svg import Plot

# Rates outside have no place on an axis: a curve of 1e9 comparisons ends above it.
_LEAST_RATE = 1e-9
# Nobody works where half of all strangers are accepted.
_MOST = 0.5
_DEVIATES = (1e-8, 1e-7, 1e-6, 1e-5, 1e-4, 1e-3, 0.01, 0.05, 0.1, 0.2, 0.4, 0.6, 0.8, 0.9, 0.95, 0.99)
_MOST_LINES = len(SERIES)
# Bands of more lines than these hide each other.
_MOST_BANDS = 3


@dataclass(frozen=True, slots=True)
class Line:
    """One curve of error rates.

    Attributes:
        name: for the legend.
        x, y: rates, 0..1, as many of one as of the other.
        low, high: the interval of y, as many, or empty.
    """

    name: str
    x: Sequence[float]
    y: Sequence[float]
    low: Sequence[float] = ()
    high: Sequence[float] = ()

    @classmethod
    def of(cls, name: str, curve: Mapping[str, Any], x: str = "fmr", y: str = "fnmr") -> Line:
        """A line from parallel lists; those of different lengths are cut to the shortest."""
        ends = [numbers(curve.get(key)) for key in (x, y, f"{y}_low", f"{y}_high")]
        n = min(len(ends[0]), len(ends[1]))
        bands = [e[:n] if len(e) >= n else [] for e in ends[2:]]
        return cls(name, ends[0][:n], ends[1][:n], *(bands if all(bands) else ([], [])))


def trade_off(
    lines: Sequence[Line],
    points: Sequence[tuple[str, Mapping[str, Any], Mapping[str, Any]]] = (),
    *,
    title: str,
    x_label: str = "False match rate (FMR)",
    y_label: str = "False non-match rate (FNMR)",
    trials: float | None = None,
) -> Plot | None:
    """Detection error trade-off (ISO/IEC 19795-1) on axes of normal deviates, on which normal distributions are lines.

    Args:
        lines: up to six curves; more are not drawn, which the caption has to say.
        points: operating points: a name and the two measured rates (x and y) with their intervals.
        title: of the plot.
        x_label: what the axis of x is.
        y_label: what that of y is.
        trials: comparisons behind x; left of one in so many nothing can be seen, and the plot says so.

    Returns:
        The plot, or None if no line has two points.
    """
    drawn = [_visible(line) for line in lines[:_MOST_LINES] if visible(line)]
    if not drawn:
        return None
    spots = [(n, share(x), share(y)) for n, x, y in points]
    spots = [(n, x, y) for n, x, y in spots if x and y and x["value"] > 0]
    with drawing(4.3) as (figure, axes):
        across = [*(v for line in drawn for v in line.x), *(x["value"] for _, x, _ in spots)]
        upwards = [*(v for line in drawn for v in line.y), *(y["value"] for _, _, y in spots)]
        x_reach, y_reach = _span(across, 1 / trials if trials else None), _span(upwards, None)
        for at, line in enumerate(drawn):
            places = [_deviate(v, x_reach) for v in line.x]
            if line.low and len(drawn) <= _MOST_BANDS:
                band = [[_deviate(v, y_reach) for v in edge] for edge in (line.low, line.high)]
                if not at:
                    axes.fill_between(places, *band, color=SERIES[at], alpha=0.16, linewidth=0)
                # Areas over each other have the color of none.
                for end in band if at else ():
                    axes.plot(places, end, color=SERIES[at], linestyle=DASHES[at], linewidth=0.7)
            axes.plot(
                places,
                [_deviate(v, y_reach) for v in line.y],
                color=SERIES[at],
                linestyle=DASHES[at],
                marker=MARKERS[at],
                markevery=(0.06 * at, 0.25),
                markersize=4.5 if len(drawn) > 1 else 0,
                label=label(line.name, 40),
            )
        for name, x, y in spots:
            _spot(axes, name, (x, x_reach), (y, y_reach))
        _axis(axes, "x", x_reach)
        _axis(axes, "y", y_reach)
        if trials and 1 / trials > x_reach[0]:
            edge = _deviate(1 / trials, x_reach)
            axes.axvspan(_deviate(x_reach[0], x_reach), edge, color=GRID, alpha=0.5, linewidth=0)
        axes.set_xlabel(x_label)
        axes.set_ylabel(y_label)
        if len(drawn) > 1:
            legend(figure, [line.name for line in drawn])
        ends = "; ".join(
            f"{line.name}: {percent(line.y[0])} at {powers(line.x[0])} to {percent(line.y[-1])} at {powers(line.x[-1])}"
            for line in (_ascending(line) for line in drawn)
        )
        return finish(figure, title, f"{y_label} over {x_label}, both on axes of normal deviates. {ends}.")


def roc(lines: Sequence[Line], *, title: str) -> Plot | None:
    """True match rate over false match rate, the latter logarithmic (receiver operating characteristic).

    Args:
        lines: curves of (FMR, FNMR), up to six.
        title: of the plot.

    Returns:
        The plot, or None if no line has two points.
    """
    drawn = [_visible(line) for line in lines[:_MOST_LINES] if visible(line)]
    if not drawn:
        return None
    with drawing(3.4) as (figure, axes):
        for at, line in enumerate(drawn):
            if line.low:
                band = [[100 * (1 - v) for v in edge] for edge in (line.high, line.low)]
                axes.fill_between(line.x, *band, color=SERIES[at], alpha=0.16, linewidth=0)
            heights = [100 * (1 - v) for v in line.y]
            axes.plot(line.x, heights, color=SERIES[at], linestyle=DASHES[at], label=label(line.name, 40))
        axes.set_xscale("log")
        axes.xaxis.set_major_formatter(lambda v, _: powers(v))
        axes.minorticks_off()
        axes.set_xlabel("False match rate (FMR)")
        axes.set_ylabel("True match rate, %")
        if len(drawn) > 1:
            legend(figure, [line.name for line in drawn])
        return finish(figure, title, "True match rate over false match rate.")


def visible(line: Line) -> bool:
    """Whether `trade_off` can draw a curve: it takes two points at which neither rate is zero."""
    return len(_visible(line).x) > 1


def _visible(line: Line) -> Line:
    """The points that axes of rates can show: no rate of zero, which is one that the data does not carry."""
    keep = [i for i, (x, y) in enumerate(zip(line.x, line.y, strict=True)) if _LEAST_RATE <= x <= _MOST and 0 < y < 1]
    bands = [[v[i] for i in keep] if v else [] for v in (line.low, line.high)]
    if any(not math.isfinite(v) for band in bands for v in band):
        bands = [[], []]
    return Line(line.name, [line.x[i] for i in keep], [line.y[i] for i in keep], *bands)


def _ascending(line: Line) -> Line:
    return line if line.x[0] <= line.x[-1] else Line(line.name, line.x[::-1], line.y[::-1])


def _span(values: Sequence[float], floor: float | None) -> tuple[float, float]:
    """A little more than the values take, and at least two ticks of it."""
    low = min([v for v in values if v > 0] + ([floor] if floor else []), default=1e-3) / 1.4
    high = min(max(values, default=0.5) * 1.4, 0.998)
    inside = [at for at, d in enumerate(_DEVIATES) if low <= d <= high]
    if len(inside) < 2:  # noqa: PLR2004 - an axis with one tick has no scale
        low = min(low, max((d for d in _DEVIATES if d < low), default=_DEVIATES[0]))
        high = max(high, min((d for d in _DEVIATES if d > high), default=_DEVIATES[-1]))
    return low, high


def _deviate(rate: float, reach: tuple[float, float]) -> float:
    """A rate's place on the axis: the normal deviate; what lies outside is drawn at the edge."""
    return NormalDist().inv_cdf(min(max(rate, reach[0]), reach[1]))


def _axis(axes: Axes, side: str, reach: tuple[float, float]) -> None:
    ticks = [d for d in _DEVIATES if reach[0] <= d <= reach[1]]
    places = [_deviate(d, reach) for d in ticks]
    names = [powers(d) if side == "x" and d < 0.01 else tick(d) for d in ticks]  # noqa: PLR2004 - 1 %
    if side == "x":
        axes.set_xticks(places, names)
        axes.set_xlim(*(_deviate(edge, reach) for edge in reach))
    else:
        axes.set_yticks(places, names)
        axes.set_ylim(*(_deviate(edge, reach) for edge in reach))


def _spot(axes: Axes, name: str, x: tuple[Mapping[str, Any], tuple[float, float]], y: tuple[Any, Any]) -> None:
    """An operating point as a cross of its two intervals."""
    at = [_deviate(found["value"], reach) for found, reach in (x, y)]
    ends = [
        [_deviate(edge, reach) for edge in (number(found.get("low")), number(found.get("high"))) if edge is not None]
        for found, reach in (x, y)
    ]
    if len(ends[0]) == 2:  # noqa: PLR2004 - both ends
        axes.plot(ends[0], [at[1]] * 2, color=INK, linewidth=0.9)
    if len(ends[1]) == 2:  # noqa: PLR2004
        axes.plot([at[0]] * 2, ends[1], color=INK, linewidth=0.9)
    axes.plot(*at, marker="o", color=INK, markerfacecolor=PAPER, markersize=5.5, markeredgewidth=1.3)
    right = at[0] > 0.2 * _deviate(x[1][0], x[1]) + 0.8 * _deviate(x[1][1], x[1])
    axes.annotate(
        label(name), (at[0], at[1]), xytext=(-6 if right else 6, 6), textcoords="offset points", fontsize=7.5,
        color=INK, ha="right" if right else "left",
    )  # fmt: skip
