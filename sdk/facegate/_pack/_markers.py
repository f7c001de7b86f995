"""Conditions of requirements ("; python_version < '3.11'"), as far as a list of what is installed needs them (PEP 508).

`packaging` reads them better, and is not on a device.
"""

from __future__ import annotations

import os
import platform
import re
import sys

__all__ = ["applies", "environment", "parse_requirement"]

_TOKEN = re.compile(
    r"\s*(\(|\)|and\b|or\b|not\s+in\b|in\b|===?|~=|!=|<=|>=|<|>|'[^']*'|\"[^\"]*\"|[A-Za-z_][A-Za-z0-9_.]*)"
)
_REQUIREMENT = re.compile(r"\s*([A-Za-z0-9][A-Za-z0-9._-]*)\s*(?:\[([^\]]*)\])?[^;]*(?:;(.*))?", re.DOTALL)


def parse_requirement(text: str) -> tuple[str, tuple[str, ...], str]:
    """The distribution, its extras and the condition of a requirement. Raises ValueError."""
    found = _REQUIREMENT.fullmatch(text)
    if found is None:
        raise ValueError("no requirement")
    name, extras, marker = found.groups()
    return name, tuple(e.strip() for e in (extras or "").split(",") if e.strip()), (marker or "").strip()


def environment() -> dict[str, str]:
    """What conditions can ask for, of this interpreter."""
    return {
        "implementation_name": sys.implementation.name,
        "implementation_version": platform.python_version(),
        "os_name": os.name,
        "platform_machine": platform.machine(),
        "platform_python_implementation": platform.python_implementation(),
        "platform_release": platform.release(),
        "platform_system": platform.system(),
        "platform_version": platform.version(),
        "python_full_version": platform.python_version(),
        "python_version": ".".join(platform.python_version_tuple()[:2]),
        "sys_platform": sys.platform,
    }


def applies(marker: str, extra: str = "") -> bool:
    """Whether a condition is true here. One that cannot be read counts as true: better a package too many is named.

    Args:
        marker: the condition, "" for none.
        extra: the extra that is asked for.
    """
    if not marker:
        return True
    try:
        tokens = _tokens(marker)
        value = _or(tokens, environment() | {"extra": extra})
    except (ValueError, IndexError, KeyError, RecursionError):
        return True
    return value or bool(tokens)  # something is left: it was not understood


def _tokens(text: str) -> list[str]:
    """The tokens, the last one first."""
    found, at, text = [], 0, text.strip()
    while at < len(text):
        match = _TOKEN.match(text, at)
        if match is None:
            raise ValueError("no token")
        found.append(match.group(1))
        at = match.end()
    return found[::-1]


def _or(tokens: list[str], values: dict[str, str]) -> bool:
    value = _and(tokens, values)
    while tokens and tokens[-1] == "or":
        tokens.pop()
        value = _and(tokens, values) or value
    return value


def _and(tokens: list[str], values: dict[str, str]) -> bool:
    value = _comparison(tokens, values)
    while tokens and tokens[-1] == "and":
        tokens.pop()
        value = _comparison(tokens, values) and value
    return value


def _comparison(tokens: list[str], values: dict[str, str]) -> bool:
    if tokens[-1] == "(":
        tokens.pop()
        value = _or(tokens, values)
        if tokens.pop() != ")":
            raise ValueError("a parenthesis is open")
        return value
    left, operator, right = tokens.pop(), " ".join(tokens.pop().split()), tokens.pop()
    versions = any("version" in side for side in (left, right) if side[0] not in "'\"")
    return _compare(_operand(left, values), operator, _operand(right, values), versions=versions)


def _operand(token: str, values: dict[str, str]) -> str:
    return token[1:-1] if token[0] in "'\"" else values[token]


def _compare(left: str, operator: str, right: str, *, versions: bool) -> bool:
    if operator in ("in", "not in"):
        return (left in right) == (operator == "in")
    if operator in ("==", "===", "!=") and not (versions and right.endswith(".*")):
        same = _version(left) == _version(right) if versions else left == right
        return same == (operator != "!=")
    if not versions:
        raise ValueError("texts have no order")
    a, b = _version(left), _version(right.removesuffix(".*"))
    if operator in ("==", "!="):
        return (a[: len(b)] == b) == (operator == "==")
    if operator == "~=":
        return a >= b and a[: len(b) - 1] == b[:-1]
    return {"<": a < b, "<=": a <= b, ">": a > b, ">=": a >= b}[operator]


def _version(text: str) -> tuple[int, ...]:
    """The release of a version; what comes after it is left out."""
    found = re.match(r"\d+(\.\d+)*", text)
    if found is None:
        raise ValueError("no version")
    numbers = [int(part) for part in found.group().split(".")]
    while len(numbers) > 1 and numbers[-1] == 0:
        numbers.pop()
    return tuple(numbers)
