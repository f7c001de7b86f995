"""A page: sections with paragraphs, facts, tables and plots, written as one HTML file.

The file needs nothing but itself: no script, no style sheet, no font and no picture of anywhere else, and its policy
(CSP) forbids a browser to fetch any. Every text is escaped by the template engine; only plots, which this package
draws, are put in as they are.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cache
from importlib.resources import files
from typing import TYPE_CHECKING, Any, Literal

from facegate_convert._pages._svg import named
from facegate_convert._pages._text import clean

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from jinja2 import Template

    from facegate_convert._pages._svg import Plot

Status = Literal["good", "bad", "warn", "none"]
# A status is a sign and a word, never a color alone.
_SIGNS = {
    "good": "\N{CHECK MARK}",
    "bad": "\N{MULTIPLICATION X}",
    "warn": "!",
    "none": "\N{EN DASH}",
}
# Longer tables behind a plot are folded away; a reader opens them.
_SHORT = 8


@dataclass(frozen=True, slots=True)
class Mark:
    """A word with a status, e.g. Mark("good", "met"), and small print below it."""

    status: Status
    text: str
    below: str = ""

    @property
    def sign(self) -> str:
        """The sign that says the same as the color."""
        return _SIGNS[self.status]


@dataclass(frozen=True, slots=True)
class Cell:
    """A cell with small print below its text: a sentence, or pieces within which no line is broken."""

    text: str
    below: str | tuple[str, ...] = ""

    @property
    def pieces(self) -> tuple[str, ...]:
        """The small print's unbroken pieces; none if it is a sentence."""
        return () if isinstance(self.below, str) else self.below


@dataclass(frozen=True, slots=True)
class Table:
    """A table.

    Attributes:
        head: the columns' names.
        rows: cells: texts, `Mark`s or `Cell`s, as many as there are names.
        align: a letter a column: "l" for words, "r" for figures, "c" for identifiers that are set in one width.
        caption: what it shows; "" for none.
    """

    head: tuple[str, ...]
    rows: tuple[tuple[str | Mark | Cell, ...], ...]
    align: str = ""
    caption: str = ""

    @classmethod
    def of(cls, head: Sequence[str], rows: Iterable[Sequence[Any]], align: str = "", caption: str = "") -> Table:
        """A table from any cells; by default words in the first column and figures in the others.

        Raises:
            ValueError: a row is longer or shorter than the head, or an alignment is none.
        """
        kept = tuple(tuple(_cleaned(c) for c in row) for row in rows)
        letters = align or "l" + "r" * (len(head) - 1)
        if any(len(row) != len(head) for row in kept) or len(letters) != len(head) or set(letters) - set("lrc"):
            raise ValueError("every row of a table has a cell for each name in its head, and each column an alignment")
        return cls(tuple(clean(h) for h in head), kept, letters, clean(caption))


def _cleaned(cell: object) -> str | Mark | Cell:
    if isinstance(cell, Mark):
        return Mark(cell.status, clean(cell.text), clean(cell.below))
    if isinstance(cell, Cell):
        return Cell(clean(cell.text), _small_print(cell.below))
    return clean(cell)


def _small_print(text: str | tuple[str, ...]) -> str | tuple[str, ...]:
    return clean(text) if isinstance(text, str) else tuple(clean(piece) for piece in text)


@dataclass(slots=True)
class _Section:
    title: str
    lead: str
    blocks: list[dict[str, Any]] = field(default_factory=list)


class Page:
    """A page in the making; every step returns the page, so that steps can be chained.

    Args:
        title: its heading and the browser's title.
        subtitle: one line below it.
        kind: a word or two above the heading, e.g. "Evaluation".
    """

    def __init__(self, title: str, subtitle: str = "", kind: str = "") -> None:
        self._title = clean(title)
        self._subtitle = clean(subtitle)
        self._kind = clean(kind)
        self._sections: list[_Section] = []
        self._verdict: dict[str, Any] | None = None
        self._footer: list[str] = []

    def verdict(self, status: Status, text: str, lines: Iterable[str] = ()) -> Page:
        """The answer, above everything else: a status, a sentence, and what it rests on."""
        self._verdict = {"mark": Mark(status, clean(text)), "lines": [clean(line) for line in lines]}
        return self

    def section(self, title: str, lead: str = "") -> Page:
        """Begin a section; what follows belongs to it."""
        self._sections.append(_Section(clean(title), clean(lead)))
        return self

    def text(self, paragraph: str) -> Page:
        """A paragraph."""
        return self._add("text", text=clean(paragraph))

    def note(self, status: Status, text: str) -> Page:
        """A remark that stands out: a warning, a limit of the data."""
        return self._add("note", mark=Mark(status, clean(text)))

    def missing(self, what: str, why: str) -> Page:
        """Say that something is not here, and why; nothing is left out silently."""
        return self._add("missing", text=clean(what), why=clean(why))

    def figures(self, cells: Iterable[tuple[str, str, str | tuple[str, ...]]]) -> Page:
        """Key figures in a row: (name, figure, what belongs to it, e.g. the interval: a text or unbroken pieces)."""
        return self._add("figures", cells=[(clean(n), clean(f), _small_print(more)) for n, f, more in cells])

    def facts(self, pairs: Iterable[tuple[str, object]]) -> Page:
        """Names with values, e.g. what was measured on; a `Mark` may be a value."""
        return self._add("facts", pairs=[(clean(name), _cleaned(value)) for name, value in pairs])

    def table(self, table: Table) -> Page:
        """A table in the text."""
        return self._add("table", table=table)

    def plot(self, plot: Plot, caption: str = "", data: Table | None = None) -> Page:
        """A picture with its caption and, for who cannot see it or wants to go on counting, the figures behind it."""
        self._add("plot", plot=plot, caption=clean(caption), data=data)
        return self

    def footer(self, *lines: str) -> Page:
        """Small print at the end."""
        self._footer += [clean(line) for line in lines]
        return self

    def _add(self, kind: str, **values: Any) -> Page:
        if not self._sections:
            self._sections.append(_Section("", ""))
        self._sections[-1].blocks.append({"kind": kind, **values})
        return self

    def to_html(self) -> str:
        """The page; the same steps give the same text."""
        from markupsafe import Markup  # noqa: PLC0415 - with the template engine

        plots = 0
        sections = []
        for at, section in enumerate(self._sections, 1):
            blocks = []
            for block in section.blocks:
                if block["kind"] == "plot":
                    plots += 1
                    # Drawn by this package, from escaped text: the one thing that is not escaped again.
                    svg = Markup(named(block["plot"].svg, f"p{plots}"))  # noqa: S704
                    data = block["data"]
                    shown = {"svg": svg, "number": plots, "folded": data is not None and len(data.rows) > _SHORT}
                    blocks.append(block | shown)
                else:
                    blocks.append(block)
            sections.append({"id": f"s{at}", "title": section.title, "lead": section.lead, "blocks": blocks})
        return _template().render(
            title=self._title,
            subtitle=self._subtitle,
            kind=self._kind,
            verdict=self._verdict,
            sections=sections,
            footer=self._footer,
            css=Markup(_read("page.css")),  # noqa: S704 - our own file
        )


def _read(name: str) -> str:
    return files(__package__).joinpath(name).read_text(encoding="utf-8")


@cache
def _template() -> Template:
    from jinja2 import Environment, StrictUndefined  # noqa: PLC0415 - nothing is imported before it is used

    made = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    return made.from_string(_read("page.html"))
