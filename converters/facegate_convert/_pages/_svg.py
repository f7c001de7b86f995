"""Plots as SVG that belongs into a page: its colours, its font, no names that collide, the same bytes every time.

The drawing library knows nothing of light and dark pages. It draws in stand-in colors, which become the variables of
the page's style sheet afterwards, with the light color for whoever takes a plot out of its page.
"""

from __future__ import annotations

import io
import logging
import re
import warnings
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from html import escape
from importlib import import_module
from typing import TYPE_CHECKING, Any

from facegate_convert._pages._text import clean

if TYPE_CHECKING:
    from collections.abc import Iterator

    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

# Width of a plot in inches; at the width of the page's column a point is about 1.4 pixels.
WIDTH = 7.2
# Stand-ins, names in the style sheet, and colors of the light page.
_COLORS = {
    "ink": ("#010101", "#1b1f24"),
    "muted": ("#010102", "#57606a"),
    "grid": ("#010103", "#d8dee4"),
    "paper": ("#010104", "#ffffff"),
    "shade": ("#010105", "#eef1f4"),
    "series-1": ("#010111", "#0060a8"),
    "series-2": ("#010112", "#c84e00"),
    "series-3": ("#010113", "#9911ff"),
    "series-4": ("#010114", "#888888"),
    "series-5": ("#010115", "#884433"),
    "series-6": ("#010116", "#553355"),
}
INK, MUTED, GRID, PAPER, SHADE = (_COLORS[n][0] for n in ("ink", "muted", "grid", "paper", "shade"))
SERIES = tuple(_COLORS[f"series-{n}"][0] for n in range(1, 7))
# A line is told from the others without its color, on a copier as well.
DASHES: tuple[Any, ...] = (
    "-",
    (0, (6, 2)),
    (0, (1.5, 1.5)),
    (0, (7, 2, 1.5, 2)),
    (0, (3, 1.5)),
    (0, (9, 2, 1, 2, 1, 2)),
)
MARKERS = ("o", "s", "^", "D", "v", "P")

_LONGEST = 120  # characters of a text in a plot
# A tag of what the library writes: it escapes angle brackets in values.
_TAG = re.compile(r"<[^>]+>")

_STYLE: dict[str, Any] = {
    "svg.hashsalt": "facegate",
    "svg.fonttype": "none",  # text stays text: found, read aloud, and a tenth of the bytes of outlines
    "text.parse_math": False,  # a name may contain dollars
    "text.usetex": False,
    "font.family": ["DejaVu Sans"],  # the library's own, and wider than what a browser will take: nothing overlaps
    "font.size": 8.0,
    "axes.titlesize": 8.5,
    "axes.titleweight": "normal",
    "axes.titlelocation": "left",
    "axes.labelsize": 8.0,
    "axes.labelcolor": INK,
    "axes.edgecolor": MUTED,
    "axes.facecolor": "none",
    "axes.linewidth": 0.7,
    "axes.grid": True,
    "axes.axisbelow": True,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.unicode_minus": True,
    "figure.facecolor": "none",
    "figure.dpi": 72.0,
    "figure.constrained_layout.use": True,
    "grid.color": GRID,
    "grid.linewidth": 0.6,
    "hatch.linewidth": 0.6,
    "legend.frameon": False,
    "legend.fontsize": 8.0,
    "legend.labelcolor": INK,
    "legend.handlelength": 3.4,
    "lines.linewidth": 1.6,
    "lines.markersize": 5.0,
    "path.simplify": True,
    "text.color": INK,
    "xtick.color": MUTED,
    "xtick.labelcolor": INK,
    "xtick.labelsize": 7.5,
    "xtick.major.width": 0.7,
    "ytick.color": MUTED,
    "ytick.labelcolor": INK,
    "ytick.labelsize": 7.5,
    "ytick.major.width": 0.7,
}


@dataclass(frozen=True, slots=True)
class Plot:
    """A picture for a page.

    Attributes:
        svg: one `<svg>` element, to be put into HTML as it is.
        title: what is shown, in a few words.
        description: what a reader who cannot see it should know: the axes, and what stands out.
    """

    svg: str
    title: str
    description: str


@contextmanager
def drawing(height: float, width: float = WIDTH, **grid: Any) -> Iterator[tuple[Figure, Any]]:
    """A figure in the page's style, with its axes; sizes in inches.

    Args:
        height: of the whole figure.
        width: likewise.
        **grid: for `Figure.subplots`.

    Yields:
        The figure, and its axes (an array of them for a grid).
    """
    _load_quietly()
    from matplotlib import rc_context, rcParamsDefault  # noqa: PLC0415 - see above
    from matplotlib.figure import Figure  # noqa: PLC0415

    # Nothing of the reader's own settings: the same figures give the same page on every machine.
    kept = ("backend", "interactive", "toolbar")
    plain: dict[Any, Any] = {k: v for k, v in rcParamsDefault.items() if not k.startswith(kept)}
    with warnings.catch_warnings():
        # A name in a script that the layout's font lacks; the browser has it.
        warnings.filterwarnings("ignore", message=r"Glyph .* missing from")
        warnings.filterwarnings("ignore", message=r".*constrained_layout not applied")
        with rc_context(plain | _STYLE):
            figure = Figure(figsize=(width, height))
            yield figure, figure.subplots(**grid)


@cache
def _load_quietly() -> None:
    """Import the drawing library, half a second, without what it says about its cache of fonts.

    It looks for fonts once and keeps what it found in the user's cache folder. Without such a folder it takes a
    temporary one, which works as well; nobody who asks for a page needs to hear of it.
    """
    logger = logging.getLogger("matplotlib")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        import_module("matplotlib.font_manager")
    finally:
        logger.setLevel(level)


def finish(figure: Figure, title: str, description: str) -> Plot:
    """The figure as SVG; to be called inside `drawing`.

    Raises:
        ValueError: never by content; the library's own for a figure that cannot be drawn.
    """
    from matplotlib.backends.backend_svg import FigureCanvasSVG  # noqa: PLC0415 - with the drawing library
    from matplotlib.text import Text  # noqa: PLC0415

    for text in figure.findobj(Text, include_self=False):
        text.set_text(clean(text.get_text(), _LONGEST))
    written = io.StringIO()
    # Drawn once: `savefig` draws a second time, for other formats' sake.
    FigureCanvasSVG(figure).print_svg(  # type: ignore[no-untyped-call]
        written, metadata=dict.fromkeys(("Date", "Creator", "Format", "Type"))
    )
    return Plot(_adapt(written.getvalue(), clean(title), clean(description)), clean(title), clean(description))


def _adapt(svg: str, title: str, description: str) -> str:
    """The library's file as an element of a page."""
    body = svg[svg.index("<svg") :]
    opening, _, rest = body.partition(">")
    box = re.search(r'viewBox="([^"]*)"', opening)
    rest = re.sub(r"<metadata>.*?</metadata>|<style[^>]*>.*?</style>|<!--.*?-->", "", rest, flags=re.DOTALL)
    wanted = set(re.findall(r'href="#([^"]+)"', rest)) | set(re.findall(r"url\(#([^)]+)\)", rest))
    # Only tags are changed: what stands between them is text, and may be foreign.
    rest = _TAG.sub(lambda found: _tag(found.group(), wanted), rest)
    rest = re.sub(r">\s*\n\s*<", ">\n<", rest).strip()
    view = box.group(1) if box else f"0 0 {72 * WIDTH} 100"
    # A narrow plot stays one, so that letters have one size on the page.
    share = min(1.0, float(view.split()[2]) / (72 * WIDTH))
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="{view}" role="img"'
        f' style="max-width:{100 * share:.4g}%;min-width:{32 * share:.3g}rem"'
        f' aria-labelledby="t d" font-family="sans-serif"><title id="t">{escape(title)}</title>'
        f'<desc id="d">{escape(description)}</desc>{rest}'
    )


def _tag(tag: str, wanted: set[str]) -> str:
    """One tag with the page's colors and font, and with its name only if something refers to it."""
    for name, (stand_in, light) in _COLORS.items():
        tag = tag.replace(stand_in, f"var(--{name},{light})")
    # Size and weight are the plot's, the family is the page's.
    tag = re.sub(r"font: (bold |[1-9]00 )?([\d.]+)px [^;\"]*", _font, tag)
    tag = re.sub(r' id="([^"]+)"', lambda m: m.group() if m.group(1) in wanted else "", tag)
    return tag.replace("xlink:href", "href")


def named(svg: str, prefix: str) -> str:
    """The plot's element with names that nothing else on the page has."""

    def change(found: re.Match[str]) -> str:
        tag = re.sub(r'((?: id| href)="#?|url\(#)', rf"\g<1>{prefix}-", found.group())
        return tag.replace('aria-labelledby="t d"', f'aria-labelledby="{prefix}-t {prefix}-d"')

    return _TAG.sub(change, svg)


def _font(found: re.Match[str]) -> str:
    weight = f"font-weight:{found.group(1).strip()};" if found.group(1) else ""
    return f"{weight}font-size:{found.group(2)}px"


def label(text: object, longest: int = 28) -> str:
    """A name that fits beside an axis."""
    return clean(text, longest)


def bare(axes: Axes, *sides: str) -> None:
    """Take lines off the axes that carry nothing: "left", "bottom", "x" and "y" (the grid's)."""
    for side in sides:
        if side in {"x", "y"}:
            axes.grid(visible=False, axis=side)  # type: ignore[arg-type]
        else:
            axes.spines[side].set_visible(False)
            axes.tick_params(axis="y" if side == "left" else "x", length=0)


def mark(axes: Axes, x: float, text: str, color: str = MUTED, height: float = 1.0) -> None:
    """A vertical line with its name at the top, on the side where there is room.

    Args:
        axes: with their limits set.
        x: its place.
        text: its name.
        color: of the line.
        height: where it ends, as a share of the axes' height: of lines beside each other, the left one is the longest.
    """
    low, high = axes.get_xlim()
    right = x > low + 0.84 * (high - low)
    # Lower lines pass below the names of higher ones.
    axes.axvline(x, ymax=height, color=color, linewidth=0.9, linestyle=(0, (4, 2)))
    axes.annotate(
        text,
        (x, height),
        xycoords=("data", "axes fraction"),
        xytext=(-4 if right else 4, -2),
        textcoords="offset points",
        ha="right" if right else "left",
        va="top",
        fontsize=7.5,
        color=INK,
    )


def legend(figure: Figure, names: list[str], length: float = 3.4) -> None:
    """A legend above the axes, in as many columns as there is room for."""
    width = max((len(name) for name in names), default=1) + 2.4 * length
    columns = max(1, min(len(names), int(96 // width)))
    # Rows that are as full as each other.
    columns = -(-len(names) // -(-len(names) // columns)) if names else 1
    figure.legend(loc="outside upper left", ncols=columns, borderaxespad=0, handlelength=length)
