"""Refusing what no picture can be made from, before anything is drawn."""

from __future__ import annotations

from numbers import Integral
from typing import TYPE_CHECKING

from facegate.errors import FrameError

if TYPE_CHECKING:
    from collections.abc import Sequence


def check_range(name: str, value: float, low: float, high: float) -> None:
    """Refuse a value outside low..high, and what is no number: FrameError."""
    if not low <= value <= high:
        raise FrameError(f"{name} is {value:g}", hint=f"give a number from {low:g} to {high:g}")


def check_choice(name: str, value: str, choices: Sequence[str]) -> None:
    """Refuse what is none of the choices: FrameError."""
    if value not in choices:
        raise FrameError(f"{name} is {value!r}", hint=f"one of {', '.join(repr(choice) for choice in choices)}")


def check_seed(name: str, value: int) -> None:
    """Refuse what nothing can be drawn from, as a negative number: FrameError."""
    if not isinstance(value, Integral) or value < 0:
        raise FrameError(f"{name} is {value!r}", hint="give a whole number of 0 or more")


def check_size(name: str, value: int, high: int) -> None:
    """Refuse what is no number of pixels from 1 on: FrameError."""
    if not isinstance(value, Integral) or not 1 <= value <= high:
        raise FrameError(f"{name} is {value!r}", hint=f"give a whole number of pixels from 1 to {high}")
