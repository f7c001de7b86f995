"""Figures and foreign text, as a reader gets them.

Digits are chosen by what is known: a rate is given to the place where its interval begins to vary, never further.
"""

from __future__ import annotations

import math
import unicodedata
from collections.abc import Mapping
from typing import Any

# What can rearrange the text around it without being seen (Trojan Source), and halves of characters that no file
# can be written with.
_HIDDEN = frozenset([chr(c) for c in (*range(0x202A, 0x202F), *range(0x2066, 0x206A), 0x200E, 0x200F, 0x061C, 0xFEFF)])
_SUPERSCRIPTS = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")
_DASH = "\N{EN DASH}"
_SPACE = "\N{NO-BREAK SPACE}"
_THIN = "\N{NARROW NO-BREAK SPACE}"
UNKNOWN = "\N{EM DASH}"
# Longest foreign text on a page, in characters: an identifier is shorter, and a page of it helps nobody.
_LONGEST = 2000
_MOST_DECIMALS = 4


def clean(text: object, longest: int = _LONGEST) -> str:
    """Foreign text that can be shown: one line, without control, direction-changing or broken characters.

    Args:
        text: anything; what is not a string is shown as `str` has it.
        longest: characters after which it is cut, with an ellipsis.

    Returns:
        What is to be escaped and shown; what cannot be shown became U+FFFD, so that a reader sees that it was there.
    """
    whole = text if isinstance(text, str) else str(text)
    shown = "".join(
        " " if c in "\t\n\r" else "\N{REPLACEMENT CHARACTER}" if _unfit(c) else c for c in whole[: longest + 1]
    )
    return shown if len(shown) <= longest else shown[: longest - 1] + "\N{HORIZONTAL ELLIPSIS}"


def _unfit(character: str) -> bool:
    return character in _HIDDEN or unicodedata.category(character) in {"Cc", "Cs", "Cn", "Co"}


def number(value: object) -> float | None:
    """A finite number, or None for anything else (a missing value, NaN, infinity, text)."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    try:
        return float(value) if math.isfinite(value) else None
    except OverflowError:  # an integer of hundreds of digits
        return None


def count(value: object) -> str:
    """A whole number with separators: "12,345"."""
    found = number(value)
    return UNKNOWN if found is None else f"{found:,.0f}"


def plural(value: object, one: str, many: str = "") -> str:
    """A count with its word: "1 person", "2 people"."""
    return f"{count(value)}{_SPACE}{one if number(value) == 1 else many or one + 's'}"


def significant(value: object, digits: int = 3) -> str:
    """A number with so many significant digits and no exponent for everyday sizes: "0.00123", "12.3", "1,230"."""
    found = number(value)
    if found is None:
        return UNKNOWN
    if found == 0:
        return "0"
    power = math.floor(math.log10(abs(found)))
    if not -5 <= power <= 8:  # noqa: PLR2004 - beyond it, zeros have to be counted
        return powers(found, digits)
    return f"{round(found, digits - 1 - power):,.{max(0, digits - 1 - power)}f}"


def powers(value: object, digits: int = 2) -> str:
    """A number as a power of ten: "10⁻⁴", 2.5 times it; numbers from 0.1 to 1,000 as they are."""
    found = number(value)
    if found is None:
        return UNKNOWN
    if found == 0 or 0.1 <= abs(found) < 1000:  # noqa: PLR2004 - read faster without
        return f"{found:.{digits}g}"
    mantissa, _, exponent = f"{found:.{digits - 1}e}".partition("e")
    ten = "10" + str(int(exponent)).translate(_SUPERSCRIPTS)
    trimmed = mantissa.rstrip("0").rstrip(".") if "." in mantissa else mantissa
    return {"1": ten, "-1": f"-{ten}"}.get(trimmed, f"{trimmed}{_THIN}\N{MULTIPLICATION SIGN}{_THIN}{ten}")


def asked(value: object) -> str:
    """A rate that was asked for: "10⁻³" for 0.001, also "10⁻¹"."""
    found = number(value)
    if found is None or found <= 0:
        return UNKNOWN
    exponent = round(math.log10(found))
    exact = math.isclose(found, 10.0**exponent)
    return "10" + str(exponent).translate(_SUPERSCRIPTS) if exact else powers(found)


def score(value: object) -> str:
    """A similarity or a threshold, with the four decimals that thresholds have."""
    found = number(value)
    return UNKNOWN if found is None else f"{found:.4f}"


def small(value: object) -> str:
    """A number that may be small, with two digits: "0.031", "3.1 x 10^-6"."""
    found = number(value)
    return powers(found) if found is not None and abs(found) < 0.0005 else significant(found, 2)  # noqa: PLR2004


def percent(value: object, low: object = None, high: object = None) -> str:
    """A rate in percent, to the place where its interval begins to vary.

    Args:
        value: 0..1.
        low: where its interval begins; without one, three significant digits.
        high: where it ends.

    Returns:
        E.g. "1.23 %".
    """
    found = number(value)
    if found is None:
        return UNKNOWN
    return f"{100 * found:.{_decimals(found, number(low), number(high))}f}{_SPACE}%"


def tick(value: float) -> str:
    """A rate beside an axis, in percent with no digit too many: "0.1 %", "20 %"; small ones as powers of ten."""
    return f"{100 * value:.4g}{_SPACE}%" if value >= 1e-4 or value == 0 else powers(value)  # noqa: PLR2004 - 0.01 %


def between(low: object, high: object) -> str:
    """An interval of a rate in percent: "0.81-1.62 %"."""
    first, last = number(low), number(high)
    if first is None or last is None:
        return UNKNOWN
    places = _decimals((first + last) / 2, first, last)
    return f"{100 * first:.{places}f}{_DASH}{100 * last:.{places}f}{_SPACE}%"


def _decimals(value: float, low: float | None, high: float | None) -> int:
    """Decimals of a percentage: two digits of half the interval, or three of the value without one."""
    half = 100 * (high - low) / 2 if low is not None and high is not None else 0.0
    size_ = math.floor(math.log10(abs(100 * value))) if value else 2
    # A rate that is not zero is not shown as zero, however little is known about it.
    places = max(1 - math.floor(math.log10(half)), -size_) if half > 0 else 2 - size_
    return min(_MOST_DECIMALS, max(0, places))


def share(found: object) -> dict[str, Any]:
    """A measured rate if it is one: 0..1, with the ends of its interval only if these are; else an empty mapping."""
    if not isinstance(found, Mapping):
        return {}
    value = number(found.get("value"))
    if value is None or not 0 <= value <= 1:
        return {}
    ends = {k: e for k in ("low", "high") if (e := number(found.get(k))) is not None and 0 <= e <= 1}
    return {k: v for k, v in found.items() if k not in {"low", "high"}} | ends


def rate(found: object) -> str:
    """A measured rate: "1.23 %"; without an error "below 0.30 %", which is what it proves; without a trial a dash.

    Args:
        found: {"errors", "trials", "value", "low", "high"}.
    """
    known = share(found)
    if not known or number(known.get("trials")) == 0:
        return UNKNOWN
    if known["value"] == 0 and known.get("high"):
        return f"below{_SPACE}{percent(known['high'], 0, known['high'])}"
    return percent(known["value"], known.get("low"), known.get("high"))


def interval(found: object) -> str:
    """The interval of a measured rate: "0.81-1.62 %"."""
    known = share(found)
    return between(known.get("low"), known.get("high"))


def errors(found: object) -> str:
    """How many of how many: "12 of 3,456"."""
    if not isinstance(found, Mapping) or number(found.get("trials")) is None:
        return UNKNOWN
    # A resampled or weighted figure has trials but no errors of its own.
    if number(found.get("errors")) is None:
        return f"of{_SPACE}{count(found['trials'])}"
    return f"{count(found['errors'])}{_SPACE}of{_SPACE}{count(found['trials'])}"


def factor(value: object) -> str:
    """A factor, of which beyond a thousand nothing is known but that it is large."""
    found = number(value)
    return "any" if found is None or found > 1000 else significant(found)  # noqa: PLR2004


def size(value: object) -> str:
    """Bytes in the unit that gives at most four digits: "812 kB", "4.9 MB"."""
    found = number(value)
    if found is None:
        return UNKNOWN
    for unit, factor in (("MB", 1e6), ("kB", 1e3)):
        if abs(found) >= factor:
            return f"{significant(found / factor, 3)}{_SPACE}{unit}"
    return f"{found:.0f}{_SPACE}bytes"


def milliseconds(value: object) -> str:
    """A time: "1.23 ms", "4.5 µs"."""
    found = number(value)
    if found is not None and 0 < abs(found) < 0.1:  # noqa: PLR2004 - zeros would have to be counted
        return f"{significant(1000 * found, 2)}{_SPACE}µs"
    return UNKNOWN if found is None else f"{significant(found, 3)}{_SPACE}ms"


def mapping(value: Any) -> Mapping[str, Any]:
    """The value if it is a mapping, else an empty one: what is not there has no parts."""
    return value if isinstance(value, Mapping) else {}


def rows(value: Any) -> list[Mapping[str, Any]]:
    """The mappings of a list; what is something else has none."""
    return [r for r in value if isinstance(r, Mapping)] if isinstance(value, list | tuple) else []


def numbers(value: Any) -> list[float]:
    """A list of numbers with NaN in the place of what is none."""
    if not isinstance(value, list | tuple):
        return []
    return [math.nan if (n := number(v)) is None else n for v in value]
