"""A page as a browser reads it, for tests."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from html.parser import HTMLParser
from xml.etree import ElementTree as ET

_EMPTY = {"meta", "br", "img", "link", "input", "hr"}
SVG = "{http://www.w3.org/2000/svg}"


@dataclass
class Read(HTMLParser):
    """Tags with their attributes, text, and whether tags close in order."""

    tags: list[tuple[str, dict[str, str | None]]] = field(default_factory=list)
    words: list[str] = field(default_factory=list)
    open: list[str] = field(default_factory=list)
    crossed: list[str] = field(default_factory=list)

    def __post_init__(self):
        super().__init__(convert_charrefs=True)

    def handle_starttag(self, tag, attrs):
        """Note a tag."""
        self.tags.append((tag, dict(attrs)))
        if tag not in _EMPTY:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        """Note a tag without contents."""
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag):
        """Note a tag that closes another than the last one opened."""
        if not self.open or self.open.pop() != tag:
            self.crossed.append(tag)

    def handle_data(self, data):
        """Keep what can be read."""
        if not self.open or self.open[-1] not in {"style", "title", "desc"}:
            self.words.append(data)

    @property
    def text(self):
        """What can be read on the page, spaces put together."""
        return re.sub(r"\s+", " ", " ".join(self.words))

    def values(self, name):
        """All values of an attribute."""
        return [attrs[name] or "" for _, attrs in self.tags if name in attrs]


def read(html):
    """Read a page."""
    page = Read()
    page.feed(html)
    page.close()
    assert not page.open
    assert not page.crossed
    return page


def pictures(html):
    """The page's plots, each parsed as XML: it must be well-formed."""
    return [ET.fromstring(svg) for svg in re.findall(r"<svg.*?</svg>", html, re.DOTALL)]  # noqa: S314 - our own


def texts(svg):
    """The texts that a plot shows."""
    return ["".join(t.itertext()) for t in svg.iter(f"{SVG}text")]


def paths(svg, color):
    """The points of the lines that are drawn in a color of the style sheet, without markers and areas."""
    drawn = []
    for path in svg.iter(f"{SVG}path"):
        style = path.get("style") or ""
        if f"stroke: var(--{color}," in style and "fill: none" in style:
            numbers = [float(n) for n in re.findall(r"-?\d+\.?\d*", path.get("d") or "")]
            drawn.append(list(zip(numbers[::2], numbers[1::2], strict=True)))
    return drawn
