"""HTML pages of one file, with plots: what was measured, for people who read, print and file it.

Nothing here knows what an evaluation or a conversion is made of beyond the plain values that it is given, so that a
page can be made again from a result's JSON, years later, on another machine.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from facegate_convert._pages._conversion import conversion_page
    from facegate_convert._pages._evaluation import evaluation_page
    from facegate_convert._pages._page import Cell, Mark, Page, Table
    from facegate_convert._pages._svg import Plot

__all__ = ["Cell", "Mark", "Page", "Plot", "Table", "conversion_page", "evaluation_page"]

# Where each public name lives; nothing is imported before it is used.
_MODULES = {
    "_conversion": ("conversion_page",),
    "_evaluation": ("evaluation_page",),
    "_page": ("Cell", "Mark", "Page", "Table"),
    "_svg": ("Plot",),
}
_HOMES = {name: f"facegate_convert._pages.{module}" for module, names in _MODULES.items() for name in names}


def __getattr__(name: str) -> Any:
    """Import a public name on first use (PEP 562)."""
    from importlib import import_module  # noqa: PLC0415 - nothing is imported before it is used

    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(_HOMES[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
