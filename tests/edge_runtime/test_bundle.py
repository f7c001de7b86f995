"""Bundles: what is written is read back, deterministically, and everything else is refused."""

from __future__ import annotations

import dataclasses
import errno
import gc
import hashlib
import os
import struct
import subprocess
import sys
import zipfile
import zlib
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from facegate_convert._bundle_writer import sign_bundle, write_bundle
from facegate_convert.errors import OutputFileError
from facegate_edge import _archive
from facegate_edge._bundle import open_bundle
from facegate_edge._keys import SigningKey, TrustStore
from facegate_edge.errors import (
    BundleClosedError,
    BundleError,
    BundleFormatError,
    BundleHashError,
    BundleMemberError,
    BundleReadError,
    BundleSignatureError,
    BundleTooLargeError,
    BundleTruncatedError,
    BundleUnsignedError,
    FacegateError,
    ManifestError,
    MissingModelError,
    UntrustedKeyError,
)

KEY = SigningKey.from_seed(bytes(range(32)))
OTHER = SigningKey.from_seed(bytes(range(1, 33)))
TRUST = TrustStore([KEY.verify_key])


@pytest.fixture
def write(tmp_path, make_manifest, model_bytes):
    """Writes a bundle of the given roles and returns its path."""

    def make(*roles, key=KEY, name="test.fgb", **changes):
        manifest = make_manifest(*roles, **changes)
        path = tmp_path / name
        write_bundle(path, manifest, {m.role: model_bytes[m.role] for m in manifest.models}, key)
        return path

    return make


def test_what_is_written_is_read_back(write, make_manifest, model_bytes):
    """A bundle gives back its manifest, its models' bytes and who signed it."""
    with open_bundle(write(), trust=TRUST) as bundle:
        assert bundle.manifest == make_manifest()
        assert {r: bytes(bundle.model_bytes(r)) for r in ("detector", "recognizer")} == {
            r: model_bytes[r] for r in ("detector", "recognizer")
        }
        assert (bundle.key_id, bundle.trusted, bundle.development) == (KEY.key_id, True, False)
        assert len(bundle.id) == 64
        assert bundle.id.startswith(bundle.short_id)


def test_equal_contents_give_equal_bytes(write):
    """The same manifest, models and key give the same file, byte for byte."""
    assert write(name="a.fgb").read_bytes() == write(name="b.fgb").read_bytes()


def test_models_are_aligned_and_read_only(write):
    """A model's bytes start on a 64-byte boundary in memory and cannot be written to."""
    with open_bundle(write(), trust=TRUST) as bundle:
        for role in ("detector", "recognizer"):
            view = bundle.model_bytes(role)
            assert view.readonly
            assert np.frombuffer(view, np.uint8).ctypes.data % 64 == 0


def test_any_unzip_opens_a_bundle(write, model_bytes):
    """A bundle is an ordinary ZIP for everybody who wants to look into it."""
    with zipfile.ZipFile(write()) as archive:
        assert archive.testzip() is None
        assert archive.namelist() == [
            "manifest.json",
            "manifest.sig",
            "models/detector.tflite",
            "models/recognizer.tflite",
        ]
        assert archive.read("models/detector.tflite") == model_bytes["detector"]


def test_models_may_be_given_as_files(tmp_path, make_manifest, model_bytes):
    """A model can be given as bytes or as the path of its file."""
    model = tmp_path / "r.tflite"
    model.write_bytes(model_bytes["recognizer"])
    write_bundle(tmp_path / "a.fgb", make_manifest("recognizer"), {"recognizer": model}, KEY)
    write_bundle(tmp_path / "b.fgb", make_manifest("recognizer"), {"recognizer": model_bytes["recognizer"]}, KEY)
    assert (tmp_path / "a.fgb").read_bytes() == (tmp_path / "b.fgb").read_bytes()


def test_signing_later_gives_the_same_file(write, tmp_path):
    """Building unsigned and signing afterwards gives the file that building signed gives."""
    unsigned, signed = write(key=None, name="u.fgb"), write(name="s.fgb")
    sign_bundle(unsigned, KEY, tmp_path / "later.fgb")
    assert (tmp_path / "later.fgb").read_bytes() == signed.read_bytes()
    sign_bundle(unsigned, OTHER)
    sign_bundle(unsigned, KEY)
    assert unsigned.read_bytes() == signed.read_bytes()


# --- who signed it --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("key", "trust", "error"),
    [
        (None, TRUST, BundleUnsignedError),
        (None, None, BundleUnsignedError),
        (OTHER, TRUST, UntrustedKeyError),
        (KEY, None, UntrustedKeyError),
        (KEY, TrustStore(), UntrustedKeyError),
    ],
)
def test_nobody_signed_whom_the_device_trusts(write, key, trust, error):
    """An unsigned bundle, and one of an unknown key, open in development mode only, and that marks the bundle."""
    path = write(key=key)
    with pytest.raises(error) as caught:
        open_bundle(path, trust=trust)
    assert caught.value.exit_code == 4
    assert caught.value.hint
    with open_bundle(path, trust=trust, development=True) as bundle:
        assert bundle.development
        assert not bundle.trusted


def test_development_mode_marks_a_trusted_bundle_too(write):
    """Whoever asks for development mode gets it, whatever the signature says."""
    with open_bundle(write(), trust=TRUST, development=True) as bundle:
        assert (bundle.development, bundle.trusted) == (True, True)


@pytest.mark.parametrize("development", [False, True])
def test_a_trusted_keys_wrong_signature_is_refused_in_every_mode(write, development):
    """A signature that names a trusted key and does not fit is forgery, not development."""
    path, other = write(), write(name="other.fgb", version="9.9.9")
    swapped = replace_signature(path, signature_of(other))
    with pytest.raises(BundleSignatureError):
        open_bundle(swapped, trust=TRUST, development=development)


# --- attacks, each named --------------------------------------------------------------------------


def build(path: Path, members: list[tuple[str, bytes]], *, edit=None) -> Path:
    """An archive of any members in the layout of a bundle; `edit` changes its bytes."""
    layout, tail = _archive.layout([_archive.Member(n, len(d), zlib.crc32(d)) for n, d in members])
    data = bytearray(b"".join(h + d for (_, h), (_, d) in zip(layout, members, strict=True)) + tail)
    if edit:
        edit(data)
    path.write_bytes(data)
    return path


def parts(path: Path) -> dict[str, bytes]:
    """The members of a bundle."""
    with zipfile.ZipFile(path) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def signature_of(path: Path) -> bytes:
    """manifest.sig of a bundle."""
    return parts(path)["manifest.sig"]


def replace_signature(path: Path, signature: bytes) -> Path:
    """The bundle with another manifest.sig."""
    return build(path, list((parts(path) | {"manifest.sig": signature}).items()))


def refused(path: Path, error: type[FacegateError], match: str | None = None, *, trust=TRUST) -> None:
    """Assert that the file is refused with this very error, in development mode as well."""
    for development in (False, True):
        with pytest.raises(error, match=match) as caught:
            open_bundle(path, trust=trust, development=development)
        assert type(caught.value) is error


def test_attack_model_swapped_for_one_of_equal_size(write):
    """Another model under the signed manifest is found by its sha256."""
    path = write()
    members = parts(path)
    members["models/recognizer.tflite"] = bytes(len(members["models/recognizer.tflite"]))
    refused(build(path, list(members.items())), BundleHashError, "sha256")


def test_attack_model_of_another_size(write):
    """A model with bytes appended is found by its size."""
    path = write()
    members = parts(path)
    members["models/recognizer.tflite"] += b"!"
    refused(build(path, list(members.items())), BundleHashError, "bytes")


def test_attack_manifest_edited_after_signing(write):
    """A manifest that is changed in one value no longer fits its signature, and is not even parsed."""
    path = write()
    members = parts(path)
    members["manifest.json"] = members["manifest.json"].replace(b'"1.2.3"', b'"1.2.4"')
    refused(build(path, list(members.items())), BundleSignatureError)


def test_attack_signature_replayed_from_another_bundle(write):
    """A genuine signature of another bundle does not count."""
    refused(replace_signature(write(), signature_of(write(name="o.fgb", version="2.0.0"))), BundleSignatureError)


def test_attack_signature_stripped(write):
    """A bundle without its signature is unsigned, not trusted."""
    path = write()
    members = parts(path)
    del members["manifest.sig"]
    build(path, list(members.items()))
    with pytest.raises(BundleUnsignedError):
        open_bundle(path, trust=TRUST)


@pytest.mark.parametrize(
    "document",
    [
        b"",
        b"{}",
        b"not json",
        b'{"algorithm":"none","key_id":"KEY","signature":"SIG"}\n',
        b'{"algorithm":"Ed25519","key_id":"KEY","signature":""}\n',
        b'{"algorithm":"Ed25519","key_id":"KEY","signature":"SIG","extra":1}\n',
        b'{"algorithm":"Ed25519","key_id":"KEY","signature":"SIG"}',
        b'{"algorithm": "Ed25519","key_id":"KEY","signature":"SIG"}\n',
        b'{"algorithm":"Ed25519","key_id":"KEY","key_id":"KEY","signature":"SIG"}\n',
        b'{"algorithm":"Ed25519","key_id":"KEYKEY","signature":"SIG"}\n',
    ],
)
def test_attack_signature_file_malformed(write, document):
    """manifest.sig has one spelling; algorithm "none", extra fields and other forms are refused."""
    path = write()
    genuine = signature_of(path).decode()
    key_id, signature = genuine.split('"')[7], genuine.split('"')[11]
    document = document.replace(b"KEY", key_id.encode()).replace(b"SIG", signature.encode())
    refused(replace_signature(path, document), BundleSignatureError, "malformed")


def test_attack_signature_with_spare_bits_set(write):
    """The last character of the signature has two spare bits; setting them gives no second valid signature."""
    path = write()
    document = signature_of(path)
    last = document[-4:-3]
    alphabet = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
    twin = alphabet[alphabet.index(last) | 1 : (alphabet.index(last) | 1) + 1]
    assert twin != last
    refused(replace_signature(path, document[:-4] + twin + document[-3:]), BundleSignatureError, "malformed")


@pytest.mark.parametrize(
    "name",
    [
        "../evil.tflite",
        "models/../../etc/passwd",
        "/etc/passwd",
        "models\\evil.tflite",
        "C:\\evil.tflite",
        "models/",
        "models/.hidden.tflite",
        "models/sub/evil.tflite",
        "models/EVIL.tflite",
        "models/e\x00vil.tflite",
        "models/evil.tflite\n",
        "models/evil.so",
        "README",
        "MANIFEST.JSON",
    ],
)
def test_attack_path_traversal_and_foreign_names(write, name):
    """A member that is not manifest.json, manifest.sig or models/NAME.tflite is refused by name."""
    path = write()
    build(path, [*parts(path).items(), (name, b"evil")])
    refused(path, BundleMemberError, "no bundle has")


def test_attack_non_ascii_name(write):
    """A member's name in another encoding is refused, not guessed."""
    path = write()

    def edit(data: bytearray) -> None:
        for at in range(len(data)):
            if data[at : at + 22] == b"models/detector.tflite":
                data[at + 7] = 0xE4

    refused(build(path, list(parts(path).items()), edit=edit), BundleMemberError)


@pytest.mark.parametrize("name", ["manifest.json", "manifest.sig", "models/detector.tflite"])
def test_attack_duplicate_member(write, name):
    """A name that stands twice in the archive, of which readers might see different ones, is refused."""
    path = write()
    members = list(parts(path).items())
    refused(build(path, [*members, (name, b"twin")]), BundleMemberError, "twice")


def test_attack_extra_member(write):
    """A model that the manifest does not name is refused even under an allowed name."""
    path = write()
    refused(
        build(path, [*parts(path).items(), ("models/extra.tflite", b"evil")]), BundleMemberError, "the manifest names"
    )


def test_attack_missing_member(write):
    """A bundle without a model that its manifest names is refused."""
    path = write()
    refused(build(path, list(parts(path).items())[:-1]), BundleMemberError, "the manifest names")


def test_attack_members_in_another_order(write):
    """The manifest comes first, its signature second, models in the manifest's order."""
    path = write()
    members = list(parts(path).items())
    for order in ([1, 0, 2, 3], [0, 2, 1, 3], [0, 1, 3, 2], [2, 0, 1, 3]):
        refused(build(path, [members[i] for i in order]), BundleMemberError)


@pytest.mark.parametrize("method", [zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_attack_compressed_member(write, method):
    """Compressed members are refused before anything is unpacked: there are no decompression bombs."""
    path = write()
    members = parts(path)
    with zipfile.ZipFile(path, "w", method) as archive:
        for name, data in members.items():
            archive.writestr(name, data)
    refused(path, BundleMemberError, "compressed")


def test_attack_encrypted_member(write):
    """A member with the encryption flag is refused."""
    path = write()

    def edit(data: bytearray) -> None:
        at = data.index(b"PK\x01\x02")
        data[at + 8] |= 1

    refused(build(path, list(parts(path).items()), edit=edit), BundleMemberError, "encrypted")


def test_attack_stored_by_another_tool(write):
    """The same members stored by another ZIP writer are refused: a bundle has one byte layout."""
    path = write()
    members = parts(path)
    with zipfile.ZipFile(path, "w", zipfile.ZIP_STORED) as archive:
        for name, data in members.items():
            archive.writestr(name, data)
    with pytest.raises(BundleError):
        open_bundle(path, trust=TRUST)


def directory_entry(data: bytearray, index: int) -> int:
    """Where the central directory's entry of a member starts."""
    at = struct.unpack_from("<I", data, len(data) - 6)[0]
    for _ in range(index):
        name, extra, comment = struct.unpack_from("<3H", data, at + 28)
        at += 46 + name + extra + comment
    return at


@pytest.mark.parametrize(
    ("what", "edit"),
    [
        ("local and central name differ", lambda d: d.__setitem__(slice(30, 43), b"manifest.JSON")),
        ("local and central size differ", lambda d: struct.pack_into("<I", d, 22, 1)),
        ("local and central checksum differ", lambda d: struct.pack_into("<I", d, 14, 1)),
        ("two members share one place", lambda d: struct.pack_into("<I", d, directory_entry(d, 2) + 42, 0)),
        ("a member beyond the end", lambda d: struct.pack_into("<I", d, directory_entry(d, 2) + 42, 0xFFFFFFFF)),
        (
            "zip64 marker in the size",
            lambda d: struct.pack_into("<2I", d, directory_entry(d, 2) + 20, 2**32 - 1, 2**32 - 1),
        ),
        ("zip64 marker in the count", lambda d: struct.pack_into("<2H", d, len(d) - 14, 0xFFFF, 0xFFFF)),
        ("zip64 marker in the offset", lambda d: struct.pack_into("<I", d, len(d) - 6, 0xFFFFFFFF)),
        ("a count of zero", lambda d: struct.pack_into("<2H", d, len(d) - 14, 0, 0)),
        ("a second disk", lambda d: struct.pack_into("<H", d, len(d) - 18, 1)),
        ("data descriptor flag", lambda d: struct.pack_into("<H", d, directory_entry(d, 0) + 8, 8)),
        ("a symbolic link", lambda d: struct.pack_into("<I", d, directory_entry(d, 2) + 38, 0o120777 << 16)),
        ("data in the padding", lambda d: d.__setitem__(60, 0x41)),
        ("a comment's length", lambda d: struct.pack_into("<H", d, len(d) - 2, 1)),
    ],
)
def test_attack_inconsistent_archive(write, what, edit):  # noqa: ARG001 - the name of the case
    """Local headers, directory and end record that do not say the same thing are refused."""
    path = write()
    data = bytearray(path.read_bytes())
    before = bytes(data)
    edit(data)
    assert bytes(data) != before
    path.write_bytes(data)
    with pytest.raises(BundleError):
        open_bundle(path, trust=TRUST, development=True)


@pytest.mark.parametrize(
    "surround",
    [
        lambda d: b"#!/bin/sh\n" + d,
        lambda d: d + b"\n",
        lambda d: d + b"PK\x05\x06" + bytes(18),
        lambda d: d + d,
        lambda d: d[:-22] + b"hidden" + d[-22:],
    ],
)
def test_attack_data_around_the_archive(write, surround):
    """Nothing may stand before, behind or between the members."""
    path = write()
    path.write_bytes(surround(path.read_bytes()))
    with pytest.raises(BundleError):
        open_bundle(path, trust=TRUST, development=True)


def test_attack_truncation_at_every_length(write):
    """A bundle that was cut anywhere is refused."""
    path = write("recognizer")
    data = path.read_bytes()
    for length in reversed(range(len(data))):
        os.truncate(path, length)
        with pytest.raises(BundleError):
            open_bundle(path, trust=TRUST, development=True)
    path.write_bytes(data[: len(data) // 2])
    with pytest.raises(BundleTruncatedError, match="too early"):
        open_bundle(path, trust=TRUST)


def test_attack_every_byte_flipped(write):
    """Whichever byte of header, manifest, signature, model or directory changes, the bundle is refused as a bundle."""
    path = write("recognizer")
    data = bytearray(path.read_bytes())
    descriptor = os.open(path, os.O_WRONLY)
    for position, original in enumerate(data):
        for mask in (0x01, 0x80):
            os.pwrite(descriptor, bytes([original ^ mask]), position)
            with pytest.raises(BundleError):
                open_bundle(path, trust=TRUST)
        os.pwrite(descriptor, bytes([original]), position)
    os.close(descriptor)
    open_bundle(path, trust=TRUST).close()


def test_attack_bytes_of_a_larger_model_flipped(tmp_path, make_manifest):
    """A flipped bit anywhere in a model of real size is found."""
    manifest = make_manifest("recognizer")
    model = os.urandom(300_000)
    info = dataclasses.replace(manifest.models[0], size=len(model), sha256=hashlib.sha256(model).hexdigest())
    path = tmp_path / "large.fgb"
    write_bundle(path, dataclasses.replace(manifest, models=(info,)), {"recognizer": model}, KEY)
    data = bytearray(path.read_bytes())
    for position in range(len(data) - 200_000, len(data) - 1000, 9973):
        data[position] ^= 0x10
        path.write_bytes(data)
        with pytest.raises(BundleHashError):
            open_bundle(path, trust=TRUST)
        data[position] ^= 0x10


@pytest.mark.parametrize(("name", "limit"), [("manifest.json", 1 << 20), ("manifest.sig", 1 << 10)])
def test_attack_oversized_member(write, name, limit):
    """A member that is larger than allowed is refused before it is parsed."""
    path = write()
    members = parts(path)
    members[name] += b" " * limit
    refused(build(path, list(members.items())), BundleTooLargeError)


def test_attack_oversized_file(tmp_path):
    """A file larger than any bundle is refused by its length, without being read."""
    path = tmp_path / "huge.fgb"
    with path.open("wb") as file:
        file.truncate(_archive.MAX_BUNDLE + 1)
    refused(path, BundleTooLargeError)


def test_attack_model_size_beyond_the_limit(write):
    """A directory entry that claims more than a device accepts is refused by the claim."""
    path = write()

    def edit(data: bytearray) -> None:
        struct.pack_into("<2I", data, directory_entry(data, 2) + 20, _archive.MAX_MODEL + 1, _archive.MAX_MODEL + 1)

    refused(build(path, list(parts(path).items()), edit=edit), BundleTooLargeError)


def test_attack_file_changed_after_the_check(write, model_bytes):
    """Whatever happens to the file once the bundle is open, the checked bytes are the ones that run."""
    path = write()
    with open_bundle(path, trust=TRUST) as bundle:
        view = bundle.model_bytes("recognizer")
        with path.open("r+b") as file:
            file.write(bytes(path.stat().st_size))
        assert bytes(view) == model_bytes["recognizer"]
        with path.open("r+b") as file:
            file.truncate(0)  # a mapping of the file would die of SIGBUS here
        assert bytes(view) == model_bytes["recognizer"]


@pytest.mark.parametrize("chunk", [1, 64, 1 << 20])
@pytest.mark.parametrize("change", [-1, 1])
def test_attack_file_changes_its_length_while_it_is_read(write, monkeypatch, chunk, change):
    """A file that is longer or shorter than it said is refused, however the reading is divided."""
    path = write("recognizer")
    genuine = os.fstat

    class Other:
        def __init__(self, status):
            self.st_mode, self.st_size = status.st_mode, status.st_size + change

    monkeypatch.setattr("facegate_edge._bundle._CHUNK", chunk)
    monkeypatch.setattr("facegate_edge._bundle.os.fstat", lambda fd: Other(genuine(fd)))
    with pytest.raises(BundleTruncatedError, match="changed"):
        open_bundle(path, trust=TRUST)


def test_verified_memory_is_sealed(write, monkeypatch):
    """The bytes that were checked cannot be written: neither through the bundle nor through the memory's own file."""
    genuine, descriptors = os.memfd_create, []

    def create(*args):
        descriptor = genuine(*args)
        descriptors.append(os.dup(descriptor))
        return descriptor

    monkeypatch.setattr("facegate_edge._bundle.os.memfd_create", create)
    with open_bundle(write(), trust=TRUST) as bundle:
        with pytest.raises(TypeError):
            bundle.model_bytes("recognizer")[0] = 0
        with pytest.raises(TypeError):
            bundle._map[0] = 0
        (descriptor,) = descriptors
        with pytest.raises(PermissionError):
            os.pwrite(descriptor, b"!", 0)
        with pytest.raises(PermissionError):
            os.ftruncate(descriptor, 0)
        os.close(descriptor)


def test_without_memfd_the_bytes_are_still_out_of_the_files_reach(write, model_bytes, monkeypatch):
    """Where the kernel has no memfd, private memory takes its place."""

    def refuse(*_):
        raise OSError(errno.ENOSYS, "no memfd")

    monkeypatch.setattr("facegate_edge._bundle.os.memfd_create", refuse)
    path = write()
    with open_bundle(path, trust=TRUST) as bundle:
        path.write_bytes(b"")
        assert bytes(bundle.model_bytes("recognizer")) == model_bytes["recognizer"]
        assert bundle.model_bytes("recognizer").readonly


def test_attack_data_between_the_last_member_and_the_directory(write):
    """Bytes in the gap before the directory are refused even if the end record accounts for them."""
    path = write()
    data = bytearray(path.read_bytes())
    start = struct.unpack_from("<I", data, len(data) - 6)[0]
    data[start:start] = b"hidden"
    struct.pack_into("<I", data, len(data) - 6, start + 6)
    path.write_bytes(data)
    refused(path, BundleFormatError, "belong to no member")


@given(
    st.lists(
        st.tuples(
            st.sampled_from(["manifest.json", "manifest.sig", "models/a.tflite", "models/recognizer.tflite", "x"]),
            st.binary(max_size=40),
        ),
        min_size=1,
        max_size=5,
    )
)
def test_arbitrary_archives_are_refused(tmp_path_factory, members):
    """Whatever members an archive has in the right layout, what is no bundle is refused as such."""
    path = build(tmp_path_factory.getbasetemp() / "arbitrary.fgb", members)
    with pytest.raises(BundleError):
        open_bundle(path, trust=TRUST, development=True)


@given(st.data())
def test_arbitrary_edits_are_refused(tmp_path_factory, make_manifest, model_bytes, data):
    """Several bytes overwritten anywhere: refused as a bundle, or the bytes are the same."""
    path = tmp_path_factory.getbasetemp() / "edited.fgb"
    write_bundle(path, make_manifest("recognizer"), {"recognizer": model_bytes["recognizer"]}, KEY)
    original = path.read_bytes()
    edited = bytearray(original)
    # Mostly where the structure is: the first header, and the directory with the end record.
    places = (
        st.integers(0, 63) | st.integers(len(original) - 260, len(original) - 1) | st.integers(0, len(original) - 1)
    )
    for position, value in data.draw(st.lists(st.tuples(places, st.integers(0, 255)), min_size=1, max_size=6)):
        edited[position] = value
    path.write_bytes(edited)
    if edited == original:
        open_bundle(path, trust=TRUST).close()
        return
    with pytest.raises(BundleError):
        open_bundle(path, trust=TRUST)


# --- files and use --------------------------------------------------------------------------------


def test_a_bundle_that_is_not_there(tmp_path):
    """A missing file, a folder and a named pipe are refused at once."""
    os.mkfifo(tmp_path / "pipe")
    for path in (tmp_path / "none.fgb", tmp_path, tmp_path / "pipe", Path("nul\0byte")):
        with pytest.raises(BundleReadError) as caught:
            open_bundle(path)
        assert caught.value.exit_code == 3


@pytest.mark.parametrize(
    "content", [b"", b"PK", b"hello", b"x" * 1000, b"PK\x05\x06" + bytes(18), b"PK\x03\x04" + bytes(26)]
)
def test_a_file_that_is_no_bundle(tmp_path, content):
    """Any other file is refused as no bundle."""
    path = tmp_path / "other.fgb"
    path.write_bytes(content)
    with pytest.raises(BundleError):
        open_bundle(path, development=True)


def test_views_outlive_the_bundle(write, model_bytes):
    """Closing a bundle ends its use, and takes no memory away from a model that still runs."""
    bundle = open_bundle(write(), trust=TRUST)
    view = bundle.model_bytes("detector")
    bundle.close()
    bundle.close()
    assert bytes(view) == model_bytes["detector"]
    with pytest.raises(BundleClosedError):
        bundle.model_bytes("detector")
    with pytest.raises(BundleClosedError):
        bundle.file_bytes()


def test_a_copy_is_made_of_what_was_checked(write):
    """The bytes of the whole file are those that were verified, read-only, whatever became of the file."""
    path = write()
    data = path.read_bytes()
    with open_bundle(path, trust=TRUST) as bundle:
        path.write_bytes(b"something else")
        assert bytes(bundle.file_bytes()) == data
        assert bundle.file_bytes().readonly


def test_a_role_that_the_bundle_does_not_have(write):
    """Asking for a model that is not there has its own error."""
    with open_bundle(write("recognizer"), trust=TRUST) as bundle, pytest.raises(MissingModelError):
        bundle.model_bytes("liveness")


def test_opening_leaves_no_descriptor_open(write):
    """Neither success nor refusal leaks a file descriptor."""
    good, bad = write(), write(key=None, name="bad.fgb")
    gc.collect()  # other tests' bundles, which would go in between
    before = len(list(Path("/proc/self/fd").iterdir()))
    for _ in range(3):
        open_bundle(good, trust=TRUST).close()
        with pytest.raises(BundleUnsignedError):
            open_bundle(bad, trust=TRUST)
    assert len(list(Path("/proc/self/fd").iterdir())) == before


# --- writing --------------------------------------------------------------------------------------


def test_a_bundle_is_readable_by_all_whatever_the_umask(write):
    """A bundle holds no secret: mode 0644."""
    before = os.umask(0o077)
    try:
        assert write().stat().st_mode & 0o777 == 0o644
    finally:
        os.umask(before)


def test_what_a_device_would_refuse_is_not_written(tmp_path, make_manifest, model_bytes):
    """A manifest that is not valid, a missing, extra or wrong model: nothing is written."""
    manifest = make_manifest("recognizer")
    good = {"recognizer": model_bytes["recognizer"]}
    cases = [
        (make_manifest("recognizer", name="Not A Name"), good, ManifestError),
        (manifest, {}, MissingModelError),
        (manifest, good | {"detector": b"x"}, BundleMemberError),
        (manifest, {"recognizer": b"other"}, BundleHashError),
        (manifest, {"recognizer": tmp_path / "none.tflite"}, BundleReadError),
    ]
    for case, models, error in cases:
        with pytest.raises(error):
            write_bundle(tmp_path / "x.fgb", case, models, KEY)
    assert list(tmp_path.iterdir()) == []


def test_a_full_disk_leaves_the_old_bundle_and_no_half_file(write, monkeypatch, tmp_path):
    """When the disk is full the error says so, the old file stays, and nothing else is left."""
    path = write()
    old = path.read_bytes()

    def full(_):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr("facegate_convert._files.os.fsync", full)
    with pytest.raises(OutputFileError, match="No space left") as caught:
        write(version="2.0.0")
    assert caught.value.exit_code == 5
    assert path.read_bytes() == old
    assert list(tmp_path.iterdir()) == [path]


def test_a_really_full_disk(write, tmp_path):
    """The kernel's own refusal to write more is told the same way."""
    code = (
        "import os, resource, signal, sys\n"
        "from facegate_convert._bundle_writer import sign_bundle\n"
        "from facegate_edge._keys import SigningKey\n"
        "from facegate_convert.errors import OutputFileError\n"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        "size = os.path.getsize(sys.argv[1])\n"  # enough for the unsigned bundle, too little for the signed one
        "resource.setrlimit(resource.RLIMIT_FSIZE, (size, size))\n"
        "try:\n    sign_bundle(sys.argv[1], SigningKey.generate(), sys.argv[2])\n"
        "except OutputFileError as error:\n    print('refused:', error)\n"
    )
    path = write(key=None)
    done = subprocess.run(  # noqa: S603 - our own interpreter
        [sys.executable, "-c", code, path, tmp_path / "out.fgb"], capture_output=True, text=True, check=True
    )
    assert done.stdout.startswith("refused:")
    assert list(tmp_path.iterdir()) == [path]


def test_a_folder_that_is_not_there(make_manifest, model_bytes, tmp_path):
    """Writing into a missing folder is refused."""
    with pytest.raises(OutputFileError):
        write_bundle(
            tmp_path / "none" / "x.fgb", make_manifest("recognizer"), {"recognizer": model_bytes["recognizer"]}, KEY
        )
