"""Plots of rates by group: a point and its interval each, and a matrix of pairs of groups."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from facegate_convert._pages._svg import (
    DASHES,
    GRID,
    INK,
    MARKERS,
    MUTED,
    PAPER,
    SERIES,
    bare,
    drawing,
    finish,
    label,
    legend,
    mark,
)
from facegate_convert._pages._text import errors, number, percent, rate, share, significant, tick

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from matplotlib.axes import Axes

    from facegate_convert._pages._svg import Plot

# More groups than these are in the table only.
MOST_GROUPS = 40
MOST_CELLS = 16
_FEW_CELLS = 7  # names stand straight, figures are as large as elsewhere
# Of a matrix's figures: the first in which the highest is at least 1.
_UNITS = (("%", 1e2), ("per 10,000", 1e4), ("per million", 1e6))
# Above it, an axis of rates is logarithmic: the reader compares factors, as the rule of 25 % does.
_LOGARITHMIC = 12.0
_FAR = 30.0


def rates_by_group(
    groups: Sequence[tuple[str, Mapping[str, Any]]],
    *,
    title: str,
    axis: str,
    reference: tuple[str, float] | None = None,
) -> Plot | None:
    """A rate for each group, as a point with its interval: intervals that overlap do not tell groups apart.

    Args:
        groups: names and measured rates.
        title: of the plot.
        axis: what the rate is.
        reference: a name and a rate for a vertical line, e.g. the rate over all.

    Returns:
        The plot, or None if no group has a rate.
    """
    kept = [(n, sound) for n, r in groups[:MOST_GROUPS] if (sound := share(r)) and number(r.get("trials")) != 0]
    if not kept:
        return None
    with drawing(0.75 + 0.25 * max(2, len(kept))) as (figure, axes):
        seen = [v for _, r in kept for v in (r["value"], r.get("high")) if v]
        # How low an interval reaches says nothing more, once it is far below what was measured.
        edges = seen + [low for _, r in kept if (low := r.get("low")) and low > min(seen) / _FAR]
        logarithmic = bool(edges) and max(edges) > _LOGARITHMIC * min(edges)
        if logarithmic:
            axes.set_xscale("log")
            axes.set_xlim(min(edges) / 2, min(1.15, max(edges) * 1.6))
            _decades(axes)
        else:
            axes.set_xlim(0, max(edges, default=0.01) * 1.12)
        start = axes.get_xlim()[0]
        for at, (_, found) in enumerate(kept):
            _interval(axes, len(kept) - 1 - at, found, start)
        if reference and number(reference[1]):
            axes.axvline(reference[1], color=MUTED, linewidth=0.9, linestyle=(0, (4, 2)))
            axes.annotate(
                label(reference[0]), (reference[1], 1), xycoords=("data", "axes fraction"), xytext=(3, 2),
                textcoords="offset points", fontsize=7.5, color=INK,
            )  # fmt: skip
        axes.set_yticks(range(len(kept)), [label(n) for n, _ in reversed(kept)])
        axes.set_ylim(-0.7, len(kept) - 0.3)
        axes.xaxis.set_major_formatter(lambda v, _: tick(v))
        axes.minorticks_off()
        axes.set_xlabel(axis)
        bare(axes, "left", "y")
        axes.tick_params(axis="y", pad=9)
        text = "; ".join(f"{n}: {rate(r)}, {errors(r)}" for n, r in kept)
        return finish(figure, title, f"{axis} by group, with intervals. {text}.")


def _decades(axes: Axes) -> None:
    """Ticks at 1, 2 and 5 of each decade if there are few decades."""
    from matplotlib.ticker import LogLocator  # noqa: PLC0415 - with the drawing library

    low, high = axes.get_xlim()
    axes.xaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0) if high < 200 * low else (1.0,)))


def _interval(axes: Axes, height: float, found: Mapping[str, Any], start: float) -> None:
    """One group: a filled point, or for a group without an error an open one at the edge, and the interval."""
    value, low, high = (number(found.get(key)) for key in ("value", "low", "high"))
    place = value or start
    if high is not None:
        first = max(start, low or start)
        axes.plot([first, high], [height, height], color=SERIES[0], linewidth=1.6, solid_capstyle="butt")
        axes.plot([high], [height], marker="|", markersize=7, color=SERIES[0], markeredgewidth=1.2)
        if low and low >= start:
            axes.plot([first], [height], marker="|", markersize=7, color=SERIES[0], markeredgewidth=1.2)
    axes.plot(
        [place], [height], marker="o" if value else "<", markersize=6, color=SERIES[0],
        markerfacecolor=SERIES[0] if value else PAPER, markeredgewidth=1.3, clip_on=False, zorder=4,
    )  # fmt: skip


def matrix(names: Sequence[str], cells: Sequence[Sequence[Any]], *, title: str, axis: str, other: str) -> Plot | None:
    """Rates of pairs of groups: the stronger the shade, the higher; each with its figure, so that none is needed.

    Args:
        names: of the groups, up to `MOST_CELLS`.
        cells: measured rates, or None where there is none; a row for each name, a column for each.
        title: of the plot.
        axis: what the rows are.
        other: what the columns are.

    Returns:
        The plot, or None if nothing is in the cells or there are too many groups.
    """
    found = [[share(c) for c in row] if isinstance(row, list | tuple) else [] for row in cells]
    n = len(names)
    flat = [
        (c["value"], names[i], names[j]) for i, row in enumerate(found) for j, c in enumerate(row[:n]) if c and i < n
    ]
    if not flat or n > MOST_CELLS or len(found) != n or any(len(row) != n for row in found):
        return None
    positive = [v for v, _, _ in flat if v]
    top, bottom = max(positive, default=1.0), min(positive, default=1.0)
    unit, factor = next((u for u in _UNITS if top * u[1] >= 1), _UNITS[-1])
    few = n <= _FEW_CELLS
    side = min(0.62, 5.4 / n)
    with drawing(1.0 + 0.72 * side * n + (0 if few else 0.4), min(7.2, 1.9 + 1.25 * side * n)) as (figure, axes):
        from matplotlib.patches import Rectangle  # noqa: PLC0415 - with the drawing library

        for i, row in enumerate(found):
            for j, cell in enumerate(row):
                value = cell.get("value")
                # Logarithmic: a factor is a step of shade, as it is a step of risk.
                step = (math.log(value / bottom) / math.log(top / bottom) if top > bottom else 0.5) if value else 0.0
                style: dict[str, Any] = {"facecolor": SERIES[1], "alpha": 0.12 + 0.5 * step, "linewidth": 0}
                empty: dict[str, Any] = {"facecolor": "none", "edgecolor": GRID, "linewidth": 0.6}
                axes.add_patch(Rectangle((j, i), 1, 1, **(style if value else empty)))
                axes.text(
                    j + 0.5,
                    i + 0.5,
                    _short(cell, factor),
                    ha="center",
                    va="center",
                    fontsize=7.5 if few else 6,
                    color=INK,
                )
        axes.set_xlim(0, n)
        axes.set_ylim(n, 0)
        turned = {} if few else {"rotation": 40, "ha": "left", "rotation_mode": "anchor"}
        axes.set_xticks([i + 0.5 for i in range(n)], [label(m, 14) for m in names], **turned)
        axes.set_yticks([i + 0.5 for i in range(n)], [label(m, 20) for m in names])
        axes.xaxis.tick_top()
        axes.xaxis.set_label_position("top")
        axes.set_xlabel(f"{other} (figures: {unit})")
        axes.set_ylabel(axis)
        axes.grid(visible=False)
        for spine in axes.spines.values():
            spine.set_visible(False)
        axes.tick_params(length=0)
        worst = max(flat)
        text = f"Highest: {worst[1]} with {worst[2]}, {percent(worst[0])}." if worst[0] else "No error in any pair."
        said = f"{title}, a row for each {axis.lower()}, a column for each {other.lower()}; figures in {unit}. {text}"
        return finish(figure, title, said)


def _short(cell: Mapping[str, Any], factor: float) -> str:
    """A rate in a cell: two digits of the unit; without an error what is proven."""
    value, high = cell.get("value"), cell.get("high")
    if value is None or cell.get("trials") == 0:
        return "-"
    return significant(factor * value, 2) if value else f"<{significant(factor * high, 2)}" if high else "0"


def marks_by_threshold(
    lines: Sequence[tuple[str, Sequence[float], Sequence[float]]], *, title: str, axis: str, threshold: float | None
) -> Plot | None:
    """Rates over the threshold, e.g. the errors of liveness.

    Args:
        lines: a name, thresholds and rates (0..1) each; up to six.
        title: of the plot.
        axis: what the threshold is of.
        threshold: the one in use, as a vertical line.

    Returns:
        The plot, or None if no line has two points.
    """
    drawn = [line for line in lines[: len(SERIES)] if len(line[1]) > 1 and len(line[1]) == len(line[2])]
    if not drawn:
        return None
    with drawing(3.0) as (figure, axes):
        for at, (name, x, y) in enumerate(drawn):
            axes.plot(
                x, [100 * v for v in y], color=SERIES[at], linestyle=DASHES[at], marker=MARKERS[at],
                markevery=(0.05 * at, 0.25), markersize=4, label=label(name, 40),
            )  # fmt: skip
        axes.set_ylim(bottom=0)
        axes.margins(x=0)
        if threshold is not None:
            mark(axes, threshold, "threshold")
        axes.set_xlabel(axis)
        axes.set_ylabel("Rate, %")
        legend(figure, [line[0] for line in drawn])
        return finish(figure, title, f"{', '.join(n for n, _, _ in drawn)} over {axis.lower()}.")
