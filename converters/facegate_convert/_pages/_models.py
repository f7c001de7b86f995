"""Plots of what became of a model: its layers, operators, stages and the time they take."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from facegate_convert._pages._svg import GRID, INK, MUTED, PAPER, SERIES, SHADE, bare, drawing, finish, label
from facegate_convert._pages._text import milliseconds, number, plural, powers, significant

if TYPE_CHECKING:
    from collections.abc import Sequence

    from facegate_convert._pages._svg import Plot

# More stages than these are drawn as "and so on".
_MOST_STAGES = 14
_MOST_OPERATORS = 14
_MANY_LAYERS = 100


def layer_errors(layers: Sequence[tuple[str, float, bool]], *, title: str, limit: float | None = None) -> Plot | None:
    """The error that each layer adds, in the model's order.

    Args:
        layers: name, relative error, and whether the result is quantised; those with a float32 result are open.
        title: of the plot.
        limit: an error for a horizontal line.

    Returns:
        The plot, or None if no layer has an error above 0.
    """
    kept = [(at, n, e, q) for at, (n, e, q) in enumerate(layers, 1) if (number(e) or 0) > 0]
    if not kept:
        return None
    floor = 10 ** math.floor(math.log10(min(e for _, _, e, _ in kept)))
    with drawing(3.0) as (figure, axes):
        axes.set_yscale("log")
        axes.vlines(
            [at for at, *_ in kept], floor, [e for _, _, e, _ in kept], color=SERIES[0], linewidth=0.8, alpha=0.5
        )
        for quantised, marker, name in ((True, "o", "quantised"), (False, "s", "result in float32")):
            chosen = [(at, e) for at, _, e, q in kept if q is quantised]
            if chosen:
                axes.plot(
                    [a for a, _ in chosen], [e for _, e in chosen], linestyle="none", marker=marker,
                    markersize=4 if len(kept) < _MANY_LAYERS else 3, color=SERIES[0] if quantised else SERIES[1],
                    markerfacecolor=SERIES[0] if quantised else PAPER, label=name,
                )  # fmt: skip
        worst = sorted(kept, key=lambda one: -one[2])[:3]
        top = max(e for _, _, e, _ in kept)
        axes.set_ylim(floor, 10 ** (math.log10(top) + 0.22 * (math.log10(top / floor) + 0.3)))
        axes.set_xlim(0, len(layers) + 1)
        for at, name, error, _ in worst[:1]:
            right = at > 0.6 * len(layers)
            axes.annotate(
                f"{label(name, 30)}: {significant(error, 2)}", (at, error), xytext=(-5 if right else 5, 6),
                textcoords="offset points", ha="right" if right else "left", fontsize=7.5, color=INK,
            )  # fmt: skip
        if limit:
            axes.axhline(limit, color=MUTED, linewidth=0.9, linestyle=(0, (4, 2)))
        axes.yaxis.set_major_formatter(lambda v, _: powers(v) if v < 0.01 else significant(v, 1))  # noqa: PLR2004
        axes.minorticks_off()
        axes.set_xlabel("Layer, from input to output")
        axes.set_ylabel("Error, relative")
        bare(axes, "x")
        if any(not q for *_, q in kept):
            figure.legend(loc="outside upper left", ncols=2, borderaxespad=0, handlelength=1)
        text = "; ".join(f"{n}: {significant(e, 2)}" for _, n, e, _ in worst)
        return finish(figure, title, f"Error of {plural(len(kept), 'layer')} in the model's order. Largest: {text}.")


def operator_times(
    operators: Sequence[tuple[str, float | None, float | None]], names: tuple[str, str], *, title: str
) -> Plot | None:
    """The time that each kind of operator takes, of two models.

    Args:
        operators: name, milliseconds in the first and in the second model; None where it has none.
        names: of the models; the first one's times may all be None.
        title: of the plot.

    Returns:
        The plot, or None if there is no time.
    """
    kept = [(n, number(a), number(b)) for n, a, b in operators if number(a) or number(b)]
    kept = sorted(kept, key=lambda one: -max(one[1] or 0, one[2] or 0))[:_MOST_OPERATORS]
    if not kept:
        return None
    paired = any(a for _, a, _ in kept)
    with drawing(0.8 + (0.36 if paired else 0.27) * max(2, len(kept))) as (figure, axes):
        height = 0.36 if paired else 0.6
        longest = max(max(a or 0, b or 0) for _, a, b in kept)
        for at, one in enumerate(reversed(kept)):
            for which, time in enumerate(one[1:]):
                if time is None or (which == 0 and not paired):
                    continue
                place = at + (0.2 if which == 0 else -0.2) * paired
                style = {"facecolor": PAPER, "hatch": "////"} if which == 0 else {"facecolor": SERIES[0]}
                axes.barh(place, time, height, edgecolor=SERIES[1] if which == 0 else SERIES[0], linewidth=0.9, **style)
                axes.annotate(
                    milliseconds(time),
                    (time, place),
                    xytext=(4, 0),
                    textcoords="offset points",
                    va="center",
                    fontsize=7,
                )
        axes.set_yticks(range(len(kept)), [label(n) for n, _, _ in reversed(kept)])
        axes.set_xlim(0, 1.14 * longest)
        axes.set_xlabel("Time for one input, ms")
        bare(axes, "left", "y")
        if paired:
            from matplotlib.patches import Patch  # noqa: PLC0415 - with the drawing library

            handles = [
                Patch(facecolor=PAPER, edgecolor=SERIES[1], hatch="////", label=label(names[0])),
                Patch(facecolor=SERIES[0], edgecolor=SERIES[0], label=label(names[1])),
            ]
            figure.legend(handles=handles, loc="outside upper left", ncols=2, borderaxespad=0, handlelength=1.6)
        text = "; ".join(f"{n}: {milliseconds(b if b is not None else a)}" for n, a, b in kept[:4])
        return finish(figure, title, f"Milliseconds by kind of operator. {text}.")


def stages(
    before: Sequence[tuple[str, Sequence[tuple[str, int]]]],
    after: Sequence[tuple[str, Sequence[tuple[str, int]]]],
    names: tuple[str, str],
    *,
    title: str,
) -> Plot | None:
    """Two models side by side, a box for each stage: the shape of what flows, and the operators that make it.

    Args:
        before: the first model's stages from input to output: a shape, and operators with how many there are.
        after: the second model's.
        names: of the two models.
        title: of the plot.

    Returns:
        The plot, or None if both are empty.
    """
    columns = [_shortened(before), _shortened(after)]
    tallest = max(len(c) for c in columns)
    if not tallest:
        return None
    with drawing(0.45 + 0.46 * tallest) as (figure, axes):
        from matplotlib.patches import FancyBboxPatch  # noqa: PLC0415 - with the drawing library

        axes.set_xlim(0, 2.06)
        axes.set_ylim(tallest, -0.5)
        axes.axis("off")
        arrow = {"arrowstyle": "-|>", "color": MUTED, "linewidth": 0.8, "mutation_scale": 6, "shrinkA": 0, "shrinkB": 0}
        for side, (column, name) in enumerate(zip(columns, names, strict=True)):
            left = 1.06 * side
            axes.text(left + 0.01, -0.3, label(name, 40), fontsize=8.5, fontweight="bold", va="center")
            for at, (shape, operators) in enumerate(column):
                axes.add_patch(
                    FancyBboxPatch(
                        (left, at + 0.08),
                        1.0,
                        0.72,
                        boxstyle="round,pad=0,rounding_size=0.03",
                        mutation_aspect=3,
                        facecolor=SHADE,
                        edgecolor=GRID,
                        linewidth=0.8,
                    )
                )
                if at:
                    axes.annotate(
                        "", (left + 0.5, at + 0.08), (left + 0.5, at - 0.2),
                        arrowprops=arrow,
                    )  # fmt: skip
                axes.text(left + 0.03, at + 0.29, label(shape, 34), fontsize=7.5, fontweight="bold", va="center")
                axes.text(left + 0.03, at + 0.6, _listed(operators), fontsize=6.8, va="center", color=MUTED)
        text = f"{names[0]} in {plural(len(before), 'stage')}, {names[1]} in {plural(len(after), 'stage')}"
        return finish(figure, title, f"{text}, from input at the top to output at the bottom.")


def _shortened(stage: Sequence[tuple[str, Sequence[tuple[str, int]]]]) -> list[tuple[str, Sequence[tuple[str, int]]]]:
    """At most `_MOST_STAGES`; those in the middle become one."""
    if len(stage) <= _MOST_STAGES:
        return list(stage)
    half = (_MOST_STAGES - 1) // 2
    middle = stage[half : len(stage) - half]
    total: dict[str, int] = {}
    for _, operators in middle:
        for name, how_many in operators:
            total[name] = total.get(name, 0) + how_many
    return [*stage[:half], (f"{len(middle)} more stages", tuple(total.items())), *stage[len(stage) - half :]]


def _listed(operators: Sequence[tuple[str, int]], longest: int = 50) -> str:
    """Operators by how many there are, cut where the box ends."""
    shown = ""
    ordered = sorted(operators, key=lambda one: -one[1])
    for at, (name, how_many) in enumerate(ordered):
        word = label(name, 24) + (f" \N{MULTIPLICATION SIGN}{how_many}" if how_many > 1 else "")
        if at and len(shown) + len(word) + 2 > longest:
            return f"{shown}, +{len(ordered) - at}"
        shown += (", " if shown else "") + word
    return shown
