"""The page toolkit: one file, safe against its contents, for everybody, and always the same."""

from __future__ import annotations

import re

import matplotlib as mpl
import pytest

from facegate_convert._pages import Cell, Mark, Page, Plot, Table
from facegate_convert._pages._distributions import Series, histogram
from facegate_convert._pages._text import clean

from .reading import SVG, pictures, read, texts

HOSTILE = [
    "<script>alert(1)</script>",
    '"><img src=x onerror=alert(1)>',
    "</style><script>alert(1)</script>",
    "</svg></title></desc><script>alert(1)</script>",
    "{{ 7 * 7 }}{% raw %}",
    "javascript:alert(1)",
    "--><!--",
    "]]>",
    "&lt;script&gt;",
    '#010101 url(#a) id="t" href="#t"',
    "$\\frac{1}{$",
    "' onload='x",
    "\x00\x1b[31m\ud800\u202e",
]  # fmt: skip


def full(text):
    """A page with the text in every place that takes one."""
    series = Series(text, [0.0, 0.5, 1.0], [1, 2])
    plot = histogram([series], [(text, 0.4)], title=text, axis=text)
    assert plot is not None
    table = Table.of(
        (text, text), [(text, Mark("good", text, text)), (Cell(text, text), Cell(text, (text, text)))], caption=text
    )
    return (
        Page(text, text, text)
        .verdict("warn", text, [text])
        .section(text, text)
        .text(text)
        .note("bad", text)
        .missing(text, text)
        .figures([(text, text, text), (text, text, (text, text))])
        .facts([(text, text), (text, Mark("none", text))])
        .table(table)
        .plot(plot, text, table)
        .footer(text)
    )


HARMLESS = read(full("name").to_html())


@pytest.mark.parametrize("text", HOSTILE)
def test_a_text_is_shown_as_it_is_and_never_becomes_markup(text):
    """Whatever a file or a person is called: the same tags as with a harmless name, and the name where it belongs."""
    html = full(text).to_html()
    html.encode()
    page = read(html)
    assert [tag for tag, _ in page.tags if tag != "path"] == [tag for tag, _ in HARMLESS.tags if tag != "path"]
    assert not [name for _, attrs in page.tags for name in attrs if name.startswith("on")]
    shown = clean(text)
    assert page.words.count(shown) > 20
    (svg,) = pictures(html)
    assert svg.find(f"{SVG}title").text == shown
    assert any(shown[:20] in label for label in texts(svg))


def test_a_page_needs_nothing_but_itself():
    """No script, no link to a file, nothing fetched; and a policy that forbids a browser to try."""
    html = full("name").to_html()
    page = read(html)
    assert not {tag for tag, _ in page.tags} & {"script", "link", "img", "iframe", "object", "embed", "base", "form"}
    assert all(value.startswith("#") for value in page.values("href"))
    assert not page.values("src")
    policy = next(a["content"] for tag, a in page.tags if tag == "meta" and "http-equiv" in a)
    assert policy == "default-src 'none'; style-src 'unsafe-inline'; img-src data:"
    assert not re.search(r"@import|https?://(?!www\.w3\.org/2000/svg)|url\((?!#)", html)


def test_names_on_a_page_are_unique_and_lead_somewhere():
    """Several plots on a page share no identifier, and every reference finds what it names."""
    plot = histogram([Series("a", [0.0, 0.5, 1.0], [1, 2])], [("t", 0.3)], title="Same", axis="x")
    html = Page("Two").section("One").plot(plot).section("Two").plot(plot).to_html()
    page = read(html)
    ids = page.values("id")
    assert len(ids) == len(set(ids))
    named = [name for value in page.values("aria-labelledby") for name in value.split()]
    named += [value[1:] for value in page.values("href")]
    named += re.findall(r"url\(#([^)]+)\)", html)
    assert len(named) > 6
    assert set(named) <= set(ids)


def test_a_page_speaks_to_readers_who_do_not_see_it():
    """Language, headings, table heads and a title and a description for every plot are there."""
    html = full("name").to_html()
    page = read(html)
    assert ("html", {"lang": "en"}) in page.tags
    assert [tag for tag, _ in page.tags if tag in {"h1", "h2"}] == ["h1", "h2"]
    assert {a["scope"] for tag, a in page.tags if tag == "th"} == {"col", "row"}
    for svg in pictures(html):
        assert svg.get("role") == "img"
        assert all(svg.find(f"{{http://www.w3.org/2000/svg}}{name}").text for name in ("title", "desc"))


def test_a_status_is_more_than_a_color():
    """Good, bad and uncertain differ by their signs: the page can be printed in black."""
    html = Page("x").facts([(s, Mark(s, "word")) for s in ("good", "bad", "warn", "none")]).to_html()
    signs = re.findall(r'class="sign" aria-hidden="true">(.)<', html)
    assert len(set(signs)) == 4


def test_the_same_steps_give_the_same_bytes():
    """Nothing of the moment, the machine or the process is in a page."""
    assert full("name").to_html() == full("name").to_html()


def test_a_readers_settings_do_not_change_a_plot(monkeypatch):
    """What somebody set for the drawing library elsewhere in the process stays elsewhere."""
    before = full("name").to_html()
    for key, value in {
        "font.size": 30,
        "axes.facecolor": "red",
        "svg.fonttype": "path",
        "text.parse_math": True,
    }.items():
        monkeypatch.setitem(mpl.rcParams, key, value)
    assert full("name").to_html() == before
    assert mpl.rcParams["font.size"] == 30


def test_what_is_missing_is_said():
    """A part that could not be shown stands on the page with its reason."""
    assert (
        "Open set. It was not asked for."
        in read(Page("x").missing("Open set.", "It was not asked for.").to_html()).text
    )


def test_short_tables_behind_plots_are_open_and_long_ones_folded():
    """The figures behind a plot are always there; where they are many, a reader unfolds them."""
    plot = Plot("<svg viewBox='0 0 1 1' role='img' aria-labelledby='t d'></svg>", "t", "d")
    for rows, folded in ((1, False), (8, False), (9, True), (200, True)):
        data = Table.of(("a", "b"), [(str(i), "1") for i in range(rows)])
        html = Page("x").plot(plot, "", data).to_html()
        assert ("<details>" in html) is folded
        assert html.count("<tr>") == rows + 1


@pytest.mark.parametrize(
    ("head", "rows", "align"),
    [(("a", "b"), [("1",)], ""), (("a",), [("1", "2")], ""), (("a", "b"), [], "lrr"), (("a", "b"), [], "lx")],
)
def test_a_table_with_ragged_rows_is_refused(head, rows, align):
    """A cell too few would put every figure under the wrong name."""
    with pytest.raises(ValueError, match="cell for each name"):
        Table.of(head, rows, align)


def test_a_page_without_sections_is_a_page():
    """The empty page has its heading and nothing else."""
    page = read(Page("Nothing").to_html())
    assert "Nothing" in page.text
    assert not [tag for tag, _ in page.tags if tag in {"nav", "section", "table"}]
