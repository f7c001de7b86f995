"""Wheels as they are read: what they say of themselves, and what is refused."""

from __future__ import annotations

import io
import zipfile
import zlib

import pytest

from facegate_convert._package._wheels import glibc_of, read_wheel
from facegate_convert._package._zip import moved, stored, zip_pieces
from facegate_convert.errors import WheelError

from .wheels import make_wheel

NAME = "click-8.5.1-py3-none-any.whl"


def test_what_a_wheel_says_of_itself():
    """Its name, version, platforms, licence, and what it takes up."""
    wheel = read_wheel(NAME, make_wheel(NAME, {"click/__init__.py": bytes(1000), "click/a.txt": bytes(500)}))
    assert (wheel.distribution, wheel.version, wheel.platforms, wheel.license) == ("click", "8.5.1", ("any",), "MIT")
    assert [info.filename for info in wheel.licences()] == ["click-8.5.1.dist-info/licenses/LICENSE"]
    assert wheel.size > 1500
    assert wheel.size - wheel.size_without(("click/",)) == 1500


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ("License-Expression: MIT AND BSD-3-Clause\nLicense: other\n", "MIT AND BSD-3-Clause"),
        ("License: Apache 2.0\nClassifier: License :: OSI Approved :: MIT License\n", "Apache 2.0"),
        (f"License: {'the whole text ' * 20}\nClassifier: License :: OSI Approved :: MIT License\n", "MIT License"),
        ("License: UNKNOWN\n", ""),
        ("", ""),
    ],
)
def test_a_licence_is_an_expression_or_in_few_words(fields, expected):
    """The expression first; a whole text in the place of a name is no name."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("click-8.5.1.dist-info/METADATA", f"Name: click\nVersion: 8.5.1\n{fields}\n")
    assert read_wheel(NAME, buffer.getvalue(), pinned=True).license == expected


@pytest.mark.parametrize("name", ["../outside.py", "/etc/passwd", "click/../../x", "click\\x"])
@pytest.mark.parametrize("pinned", [True, False])
def test_a_wheel_that_reaches_outside_is_refused(name, pinned):
    """Pinned or not: no file of it may land anywhere else."""
    data = make_wheel(NAME, {name: b"x"})
    with pytest.raises(WheelError, match="outside"):
        read_wheel(NAME, data, pinned=pinned)


@pytest.mark.parametrize("name", ["click.whl", "click-8.5.1.tar.gz", f"{NAME}.json", "../a-1-b-c-d.txt"])
def test_another_name_is_no_wheels(name):
    """The name says what a wheel is for."""
    with pytest.raises(WheelError, match="no wheel's name"):
        read_wheel(name, b"")


def test_a_wheel_of_another_version_inside_is_refused():
    """Name and METADATA have to agree."""
    with pytest.raises(WheelError, match=r"8\.5\.2"):
        read_wheel(NAME, make_wheel(NAME, {}, version="8.5.2"))


@pytest.mark.parametrize(
    ("platforms", "expected"),
    [
        (("any",), (0, 0)),
        (("manylinux2014_aarch64", "manylinux_2_17_aarch64", "manylinux_2_28_aarch64"), (2, 17)),
        (("manylinux_2_34_armv7l",), (2, 34)),
    ],
)
def test_the_c_library_that_a_wheel_needs(platforms, expected):
    """The oldest of its tags: it promises to run with each."""
    assert glibc_of(platforms) == expected


def test_members_are_moved_as_they_are_compressed():
    """The very bytes of the other archive, whatever this machine's zlib would make of them."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("a", b"a" * 5000, zipfile.ZIP_DEFLATED, compresslevel=1)
        archive.writestr("b", b"b" * 50, zipfile.ZIP_STORED)
        archive.writestr("c", b"c" * 5000, zipfile.ZIP_LZMA)
    raw = buffer.getvalue()
    with zipfile.ZipFile(io.BytesIO(raw)) as archive:
        members = [moved(f"x/{info.filename}", archive, raw, info) for info in archive.infolist()]
    assert members[0].payload in raw
    assert (members[0].method, members[1].method) == (zipfile.ZIP_DEFLATED, zipfile.ZIP_STORED)
    assert members[2] == stored("x/c", b"c" * 5000)  # a method that not every reader has is unpacked
    with zipfile.ZipFile(io.BytesIO(b"".join(zip_pieces(b"#!x\n", members)))) as made:
        assert made.testzip() is None
        assert [made.read(f"x/{name}") for name in "abc"] == [b"a" * 5000, b"b" * 50, b"c" * 5000]
        assert {info.date_time for info in made.infolist()} == {(1980, 1, 1, 0, 0, 0)}


@pytest.mark.parametrize("method", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
def test_what_is_hidden_behind_a_members_length_is_not_moved(method):
    """Python's zipfile reads no further than the size in the directory, zipimport to the end of the data."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("a.py", b"seen" + b"hidden" * 1000, method)
    raw = bytearray(buffer.getvalue())
    crc = zlib.crc32(b"seen").to_bytes(4, "little")
    place = raw.index(b"PK\1\2")
    raw[place + 16 : place + 20], raw[place + 24 : place + 28] = crc, (4).to_bytes(4, "little")
    raw[14:18] = crc
    with zipfile.ZipFile(io.BytesIO(raw)) as archive:
        assert moved("a.py", archive, bytes(raw), archive.infolist()[0]) == stored("a.py", b"seen")


def test_a_name_comes_once_and_is_ascii():
    """A reader would take either of two; names beyond ASCII are read differently from system to system."""
    with pytest.raises(ValueError, match="twice"):
        list(zip_pieces(b"", [stored("a", b""), stored("a", b"x")]))
    with pytest.raises(ValueError, match="ascii"):
        list(zip_pieces(b"", [stored("ä", b"")]))
