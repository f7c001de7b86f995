"""Forms taken apart: what clients of all kinds send, and what attackers do."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from facegate_convert._hosted._form import FormError, boundary_of, parse_form

from .hosting import form

END = b"\r\n--XX--\r\n"
NAME = b'Content-Disposition: form-data; name="a"'


def part(head: bytes, content: bytes = b"1") -> bytes:
    """The beginning of a form with one part."""
    return b"--XX\r\n" + head + b"\r\n\r\n" + content


@pytest.mark.parametrize(
    ("text", "boundary"),
    [
        ("multipart/form-data; boundary=abc", b"abc"),
        ('Multipart/Form-Data; boundary="a b:c"', b"a b:c"),
        ("multipart/form-data;boundary=----WebKitFormBoundaryX;charset=utf-8", b"----WebKitFormBoundaryX"),
        ("multipart/form-data ; charset=utf-8 ; BOUNDARY=x ;", b"x"),
        ("multipart/mixed; boundary=abc", None),
        ("application/json", None),
        ("", None),
    ],
)
def test_the_boundary_is_found(text, boundary):
    """The boundary of a Content-Type, quoted or not, among other parameters; None for other types."""
    assert boundary_of(text) == boundary


@pytest.mark.parametrize(
    "parameters",
    [
        "", "; boundary=", '; boundary=""', "; boundary=a; boundary=b", "; boundary=" + "a" * 71, '; boundary="a',
        '; boundary="ends with "', "; boundary=\xe4", '; boundary="a\\\\b"', "; boundary", "boundary=a; x",
    ],
)  # fmt: skip
def test_what_is_no_boundary_is_refused(parameters):
    """A boundary that is missing, there twice, too long, or of other characters is refused."""
    with pytest.raises(FormError):
        boundary_of(f"multipart/form-data{parameters}")


FORMS = {
    "requests": (form(b"PIXELS"), {"model_name": b"door", "image": b"PIXELS"}),
    "with a preamble": (b"hello\r\n" + form(b"PIXELS"), {"model_name": b"door", "image": b"PIXELS"}),
    ".NET: no quotes, two names": (
        part(b"Content-Type: image/png\r\nContent-Disposition: form-data; name=a; filename=x; filename*=utf-8''x")
        + END,
        {"a": b"1"},
    ),
    "OkHttp: a length": (part(NAME + b"\r\nContent-Length: 1\r\nContent-Transfer-Encoding: binary") + END, {"a": b"1"}),
    "aiohttp: a type": (part(b"Content-Type: text/plain; charset=utf-8\r\n" + NAME) + END, {"a": b"1"}),
    "quoted quotes": (part(b'content-disposition: FORM-DATA; name="a\\"b"') + END, {'a"b': b"1"}),
    "a name of a file with a semicolon": (part(NAME + b'; filename="a;name=b"') + END, {"a": b"1"}),
    "padding behind the boundary": (b"--XX \t\r\n" + NAME + b"\r\n\r\n1\r\n--XX-- \r\n", {"a": b"1"}),
    "no line end behind the end": (part(NAME) + b"\r\n--XX--", {"a": b"1"}),
    "empty content": (part(NAME, b"") + END, {"a": b""}),
    "content with line ends and dashes": (part(NAME, b"\r\n--X\r\n--\r\n\r\n") + END, {"a": b"\r\n--X\r\n--\r\n\r\n"}),
}


@pytest.mark.parametrize("name", FORMS)
def test_forms_of_all_clients_are_read(name):
    """What RFC 7578 allows, and what the usual clients send."""
    body, fields = FORMS[name]
    assert parse_form(body, b"XX") == fields


BROKEN = {
    "nothing": b"",
    "no end": part(NAME),
    "another boundary": form(b"x", boundary=b"YY"),
    "line feeds alone": form(b"x").replace(b"\r\n", b"\n"),
    "a field twice": part(NAME) + b"\r\n" + part(NAME) + END,
    "a header twice": part(NAME + b"\r\n" + NAME) + END,
    "a parameter twice": part(NAME + b'; name="b"') + END,
    "no name": part(b"Content-Disposition: form-data") + END,
    "an empty name": part(b'Content-Disposition: form-data; name=""') + END,
    "no disposition": part(b"Content-Type: text/plain") + END,
    "an attachment": part(b'Content-Disposition: attachment; name="a"') + END,
    "no headers": b"--XX\r\n\r\n1" + END,
    "no empty line": b"--XX\r\n" + NAME + END,
    "a folded header": part(b'Content-Disposition: form-data;\r\n name="a"') + END,
    "a header without a colon": part(NAME + b"\r\nhello") + END,
    "a lone carriage return in a header": part(NAME + b"\rX: 1") + END,
    "a zero byte in a header": part(NAME + b"\0") + END,
    "a name that is no text": part(b'Content-Disposition: form-data; name="\xff"') + END,
    "base64": part(NAME + b"\r\nContent-Transfer-Encoding: base64") + END,
    "too many headers": part(NAME + b"".join(b"\r\nX-%d: 1" % n for n in range(500))) + END,
    "too many parts": b"\r\n".join(part(b'Content-Disposition: form-data; name="%d"' % n) for n in range(20)) + END,
    "something behind the end": form(b"x") + b"GET / HTTP/1.1\r\n",
    "a part behind the end": form(b"x") + part(NAME) + END,
    "text behind a boundary": b"--XXhello\r\n" + NAME + b"\r\n\r\n1" + END,
    "an open quote": part(b'Content-Disposition: form-data; name="a') + END,
}


@pytest.mark.parametrize("name", BROKEN)
def test_what_can_be_read_in_two_ways_is_refused(name):
    """A form that is cut off, ambiguous or too large is refused, and the message holds nothing of it."""
    with pytest.raises(FormError) as caught:
        parse_form(BROKEN[name], b"XX")
    assert "XX" not in str(caught.value)
    assert "hello" not in str(caught.value)


@pytest.mark.parametrize(
    "body",
    [
        b"\r\n--X" * 250_000,
        b"--XX\r\n" * 180_000,
        part(NAME + b"; x=1" * 200_000) + END,
        part(b"Content-Disposition: form-data" + b"; " * 1000 + b'"' * 40) + END,
        part(b'Content-Disposition: form-data; name="' + b"\\" * 1999) + END,
    ],
    ids=["almost boundaries", "boundaries", "a long header", "semicolons", "backslashes"],
)
def test_no_body_takes_long(body):
    """A megabyte that is made to be slow is refused; a parser of quadratic time would still be at it tomorrow."""
    with pytest.raises(FormError):
        parse_form(body, b"XX")


@given(st.binary(max_size=200), st.binary(min_size=1, max_size=30))
def test_any_bytes_raise_nothing_else(content, cut):
    """Whatever stands in a body: fields, or FormError."""
    for body in (content, part(NAME, content) + END, form(b"x").replace(cut[:2], cut)):
        try:
            fields = parse_form(body, b"XX")
        except FormError:
            continue
        assert all(type(name) is str and type(value) is bytes for name, value in fields.items())


@given(st.binary(max_size=300))
def test_content_comes_back_as_it_was_sent(content):
    """What has no boundary in it is the same afterwards."""
    if b"\r\n--XX" not in content:
        assert parse_form(part(NAME, content) + END, b"XX") == {"a": content}
