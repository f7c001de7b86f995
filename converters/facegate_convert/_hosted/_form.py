"""A `multipart/form-data` body (RFC 7578) taken apart in memory: strict, linear in time, and with nothing on the disk.

Parsers of web frameworks write larger parts to temporary files; a face must not get there.
"""

from __future__ import annotations

import re

__all__ = ["FormError", "boundary_of", "parse_form"]

MAX_PARTS = 8
"""The protocol has two; clients that send a few more are answered, those that send thousands are not."""
MAX_HEAD = 2048
"""Bytes of the headers of one part."""

_TOKEN = r"[!#$%&'*+.^_`|~0-9A-Za-z-]+"  # noqa: S105 - RFC 9110's word for a word
# The rest of a header after its first word: `; name=value` or `; name="value"`, and white space.
_PARAMETER = re.compile(rf';[ \t]*(?:({_TOKEN})=(?:({_TOKEN}|[^\s";]+)|"((?:[^"\\\r\n]|\\[^\r\n])*)"))?[ \t]*')
_BOUNDARY = re.compile(r"[0-9A-Za-z'()+_,./:=? -]{0,69}[0-9A-Za-z'()+_,./:=?-]", re.ASCII)
_HEADER = re.compile(rf"({_TOKEN}):[ \t]*([^\r\n\0]*?)[ \t]*", re.ASCII)
_PLAIN = ("", "7bit", "8bit", "binary")


class FormError(ValueError):
    """A body that is not what its header says. The message holds nothing of it."""


def boundary_of(content_type: str) -> bytes | None:
    """The boundary that a `Content-Type` names; None if it is no multipart/form-data.

    Raises:
        FormError: it is, and names none that can be one.
    """
    kind, parameters = _split(content_type)
    if kind != "multipart/form-data":
        return None
    boundary = parameters.get("boundary", "")
    if not _BOUNDARY.fullmatch(boundary):
        raise FormError("the Content-Type names no boundary")
    return boundary.encode("ascii")


def parse_form(body: bytes, boundary: bytes) -> dict[str, bytes]:
    """The fields of a form, by name.

    Args:
        body: all of it.
        boundary: what `boundary_of` found.

    Raises:
        FormError: it is cut off or malformed, or has a field twice, or too many.
    """
    delimiter = b"\r\n--" + boundary
    # What stands before the first delimiter is nothing, or a preamble that nobody reads.
    pieces = (b"\r\n" + body).split(delimiter, MAX_PARTS + 2)
    if len(pieces) > MAX_PARTS + 2:
        raise FormError("the form has too many parts")
    fields: dict[str, bytes] = {}
    for place, piece in enumerate(pieces[1:], 2):
        if piece.startswith(b"--"):
            if place != len(pieces) or piece[2:].strip(b" \t\r\n"):
                raise FormError("something follows the end of the form")
            return fields
        name, content = _part(piece)
        if name in fields:
            raise FormError("the form has a field twice")
        fields[name] = content
    raise FormError("the form has no end")


def _part(piece: bytes) -> tuple[str, bytes]:
    """The name and the content of one part: padding, CRLF, headers, an empty line, content."""
    start = piece.find(b"\r\n")
    end = piece.find(b"\r\n\r\n", max(start, 0), start + MAX_HEAD)
    if start < 0 or end < 0 or piece[:start].strip(b" \t"):
        raise FormError("a part of the form has no headers, or too many")
    try:
        head = piece[start + 2 : end].decode("utf-8")
    except UnicodeDecodeError:
        raise FormError("a part's headers are no text") from None
    headers: dict[str, str] = {}
    for line in head.split("\r\n"):
        found = _HEADER.fullmatch(line)
        if found is None or found[1].lower() in headers:
            raise FormError("a part's headers are malformed")
        headers[found[1].lower()] = found[2]
    kind, parameters = _split(headers.get("content-disposition", ""))
    if kind != "form-data" or not parameters.get("name"):
        raise FormError("a part of the form has no name")
    if headers.get("content-transfer-encoding", "").lower() not in _PLAIN:
        raise FormError("a part is encoded; send it as it is (RFC 7578, section 4.7)")
    return parameters["name"], piece[end + 4 :]


def _split(value: str) -> tuple[str, dict[str, str]]:
    """A header's first word in lower case, and its parameters. Raises FormError."""
    first, _, _ = value.partition(";")
    place = len(first)
    parameters: dict[str, str] = {}
    while place < len(value):
        found = _PARAMETER.match(value, place)
        if found is None:
            raise FormError("a header's parameters are malformed")
        place = found.end()
        if found[1] is None:
            continue  # `;` and nothing
        name = found[1].lower()
        if name in parameters:
            raise FormError("a header has a parameter twice")
        parameters[name] = found[2] if found[3] is None else re.sub(r"\\(.)", r"\1", found[3])
    return first.strip().lower(), parameters
