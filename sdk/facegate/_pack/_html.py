"""HTML that is escaped by construction: only an `Html` goes into a page as it is, and only functions here make one."""

from __future__ import annotations

import html
import unicodedata

__all__ = ["Html", "clean", "join", "style", "tag"]

_VOID = ("meta", "br")
# They turn the direction of what follows: a reader would see another text than the one that is there.
_TURNING = frozenset("\u061c\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")


class Html(str):
    """Text that is HTML already."""

    __slots__ = ()


def clean(text: str) -> str:
    """Foreign text for people: what cannot be seen, or turns the direction of writing, becomes U+FFFD."""
    return "".join(" " if c in "\t\n\r" else "\ufffd" if _hidden(c) else c for c in text)


def _hidden(letter: str) -> bool:
    return letter in _TURNING or unicodedata.category(letter) in ("Cc", "Cs")


def _child(value: object) -> str:
    return value if isinstance(value, Html) else html.escape(clean(str(value)), quote=True)


def tag(name: str, /, *children: object, **attributes: object) -> Html:
    """An element. A trailing underscore of an attribute's name is dropped, others become dashes; None leaves it out."""
    given = "".join(
        f' {key.rstrip("_").replace("_", "-")}="{html.escape(clean(str(value)), quote=True)}"'
        for key, value in attributes.items()
        if value is not None
    )
    if name in _VOID:
        return Html(f"<{name}{given}>")
    return Html(f"<{name}{given}>{''.join(map(_child, children))}</{name}>")


def join(*parts: object) -> Html:
    """Parts one after the other, escaped unless they are HTML."""
    return Html("".join(map(_child, parts)))


def style(text: str) -> Html:
    """A style sheet of ours, as it is. Raises ValueError if it could end before its end."""
    if "</" in text:
        raise ValueError("a style sheet that holds an end tag")
    return Html(f"<style>{text}</style>")
