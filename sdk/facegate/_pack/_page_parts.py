"""Parts that all sections of a review pack's page are made of."""

from __future__ import annotations

from typing import TYPE_CHECKING

from facegate._pack._html import Html, tag

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

__all__ = ["SIGNS", "code", "facts", "mark", "shown", "table"]

SIGNS = {
    "in force": ("good", "\u2713"),
    "partly": ("warn", "\u25d0"),
    "not in force": ("bad", "\u2717"),
    "not needed": ("none", "\u2013"),
    "not known": ("none", "?"),
}


def mark(state: str) -> Html:
    kind, sign = SIGNS[state]
    return tag("span", tag("span", sign, class_="sign", aria_hidden="true"), " ", state, class_=f"mark {kind}")


def table(head: Sequence[str], rows: Iterable[Sequence[object]], *, kind: str | None = None) -> Html:
    lines = [tag("tr", *(tag("td", shown(cell)) for cell in row)) for row in rows]
    return tag(
        "div",
        tag("table", tag("thead", tag("tr", *(tag("th", name, scope="col") for name in head))), tag("tbody", *lines)),
        class_=f"scroll {kind or ''}".strip(),
    )


def shown(value: object) -> object:
    if value is None or value in ("", [], ()):
        return "\u2013"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int):
        return f"{value:,}"
    if isinstance(value, float):
        return f"{value:g}"
    return ", ".join(map(str, value)) if isinstance(value, (list, tuple)) else value


def facts(*pairs: tuple[str, object]) -> Html:
    return tag("dl", *(tag("div", tag("dt", name), tag("dd", shown(value))) for name, value in pairs), class_="facts")


def code(text: object) -> Html:
    return tag("code", text)
