"""What is accepted as a package: exactly what its list names, and nothing of what is made to deceive a reader."""

from __future__ import annotations

import hashlib
import io
import struct
import zipfile
import zlib
from typing import TYPE_CHECKING

import pytest

from facegate_edge._bundle import signature_document

from .packages import KEY, OTHER, Recipe, archive, here, public, run

if TYPE_CHECKING:
    from pathlib import Path


def refused(path: Path, code: int, *words: str, command: str = "verify") -> None:
    """Assert that a package is refused, in words and as JSON."""
    answer = here(command, path, "--json", check=code)
    assert answer.error["exit_code"] == code
    assert answer.error["hint"]
    for word in words:
        assert word in answer.error["message"], answer.error


def test_a_package_verifies_itself(packages: dict[str, Path]) -> None:
    """Each file is as the list says, and the signer is believed only if their key is given."""
    told = run(packages["1"], "verify", "--json", check=0).data
    assert told["files"] > 20
    assert not told["trusted"]
    assert run(packages["1"], "verify", "--trust", packages["key"], "--json", check=0).data["trusted"]


def test_a_package_shows_what_is_in_it(packages: dict[str, Path]) -> None:
    """Name, version, machine, files, without unpacking anything."""
    told = run(packages["1"], "show", "--json", check=0).data
    assert (told["name"], told["version"]) == ("door", "1.0.0")
    assert {"installer", "wheel", "unit", "app"} == {each["role"] for each in told["files"]}
    assert "door 1.0.0 for rpi4" in run(packages["1"], "show", check=0).out


def test_a_truncated_package_is_refused(tmp_path: Path) -> None:
    """Whatever is missing at its end."""
    whole = Recipe().bytes()
    path = tmp_path / "door.pyz"
    for kept in (0, 10, len(whole) // 2, len(whole) - 1):
        path.write_bytes(whole[:kept])
        refused(path, 3)


def test_a_flipped_byte_is_refused(tmp_path: Path) -> None:
    """In a file, in the list, in the signature, in the directory, in the padding: wherever it is."""
    whole = bytearray(Recipe().bytes())
    path = tmp_path / "door.pyz"
    key = public(tmp_path)
    step = len(whole) // 40
    for place in [*range(25, len(whole), step), len(whole) - 30, len(whole) - 5]:
        whole[place] ^= 0x20
        path.write_bytes(whole)
        answer = here("verify", path, "--trust", key, "--json")
        assert answer.code in (3, 4), (place, answer)
        whole[place] ^= 0x20


def test_a_file_that_is_not_listed_is_refused(tmp_path: Path) -> None:
    """Also a module that Python would import before another."""
    path = Recipe(unlisted={"json.py": b"raise SystemExit"}).write(tmp_path / "door.pyz")
    refused(path, 3, "json.py")


def test_a_missing_file_is_refused(tmp_path: Path) -> None:
    """The list is of what is there."""
    recipe = Recipe()
    members = {path: data for path, (_, data) in recipe.files().items() if not path.startswith("wheels/")}
    path = tmp_path / "door.pyz"
    path.write_bytes(archive({"package.json": recipe.list()} | members))
    refused(path, 3, "lacks")


def test_a_file_of_another_content_is_refused(tmp_path: Path) -> None:
    """Same size, same name, other bytes: exit code 4."""
    recipe = Recipe()
    members = {path: data for path, (_, data) in recipe.files().items()}
    name = "app/facegate_terminal/__main__.py"
    members[name] = members[name].replace(b"alpha", b"ALPHA")
    path = tmp_path / "door.pyz"
    path.write_bytes(archive({"package.json": recipe.list()} | members))
    refused(path, 4, name)


def test_bytes_between_or_after_the_members_are_refused(tmp_path: Path) -> None:
    """Nothing can be hidden where only some readers look."""
    path = tmp_path / "door.pyz"
    whole = Recipe().bytes()
    path.write_bytes(b"#!/bin/sh\nrm -rf /\n" + whole)
    refused(path, 3, "no member")
    path.write_bytes(whole + b"\0" * 8)
    refused(path, 3)
    commented = bytearray(whole)
    commented[-2:] = struct.pack("<H", 4)
    path.write_bytes(commented + b"more")
    refused(path, 3, "no member")


def _rewritten(whole: bytes, name: str, more: bytes, *, deflated: bool, inside: bool) -> bytes:
    """A package one of whose members holds more than the directory says: in its data, or (deflated) behind them."""
    out, directory = bytearray(b"#!/usr/bin/env python3\n"), b""
    with zipfile.ZipFile(io.BytesIO(whole)) as read:
        infos = read.infolist()
        for info in infos:
            data = payload = read.read(info)
            method = 0
            if info.filename == name:
                payload = data + more if inside else data
                if deflated:
                    method, packer = 8, zlib.compressobj(9, zlib.DEFLATED, -15)
                    payload = packer.compress(payload) + packer.flush()
                payload += b"" if inside else more
            path = info.filename.encode()
            fields = (method, 0, 0x21, zlib.crc32(data), len(payload), len(data), len(path))
            about = (3 << 8 | 20, 20, 0, *fields, 0, 0, 0, 0, 0o100644 << 16, len(out))
            directory += struct.pack("<4sHHHHHHIIIHHHHHII", b"PK\1\2", *about) + path
            out += struct.pack("<4sHHHHHIIIHH", b"PK\3\4", 20, 0, *fields, 0) + path + payload
    end = struct.pack("<4sHHHHIIH", b"PK\5\6", 0, 0, len(infos), len(infos), len(directory), len(out), 0)
    return bytes(out) + directory + end


@pytest.mark.parametrize(("deflated", "inside"), [(False, True), (True, True), (True, False)])
def test_code_smuggled_behind_a_members_length_is_refused(tmp_path: Path, deflated: bool, inside: bool) -> None:
    """Python's zipfile stops at the size that is listed, signed and hashed; zipimport would run all that is there."""
    code = b"\nimport sys\nsys.exit(77)\n"
    whole = _rewritten(Recipe().bytes(), "facegate_installer/__init__.py", code, deflated=deflated, inside=inside)
    path = tmp_path / "door.pyz"
    path.write_bytes(whole)
    if inside:
        assert run(path, "show").code == 77  # it is run: only another's check can notice
    answer = here("verify", path, "--trust", public(tmp_path), "--json", check=3)
    assert "_init__.py" in answer.error["message"]


def test_a_member_whose_name_goes_on_behind_a_nul_is_refused(tmp_path: Path) -> None:
    """Python's zipfile cuts names there, other readers do not."""
    recipe = Recipe(more={"licenses/x": ("license", b"x")})
    members = {name.replace("s/x", "s/x_y"): data for name, (_, data) in recipe.files().items()}
    path = tmp_path / "door.pyz"
    path.write_bytes(archive({"package.json": recipe.list()} | members).replace(b"s/x_y", b"s/x\0y"))
    refused(path, 3, "a member that none has")


def test_members_of_all_sizes_are_read_whole(tmp_path: Path) -> None:
    """Also an empty one, and those that end where a piece does, stored and deflated."""
    more = {f"licenses/{size}": ("license", bytes(size)) for size in (0, 1, 2**20 - 1, 2**20, 2**20 + 1, 3 * 2**20)}
    more["licenses/noise"] = ("license", b"".join(hashlib.sha512(b"%d" % i).digest() for i in range(40_000)))
    recipe = Recipe(more=more)
    path = recipe.write(tmp_path / "door.pyz")
    here("verify", path, "--trust", public(tmp_path), check=0)
    members = {"package.json": recipe.list()} | {name: data for name, (_, data) in recipe.files().items()}
    path.write_bytes(archive(members, compression=zipfile.ZIP_STORED))
    here("verify", path, check=0)


def test_two_members_of_one_name_are_refused(tmp_path: Path) -> None:
    """Readers disagree about which of them counts."""
    file = io.BytesIO(Recipe().bytes())
    with zipfile.ZipFile(file, "a") as made, pytest.warns(UserWarning, match="Duplicate"):
        made.writestr("package.json", b"{}")
    path = tmp_path / "door.pyz"
    path.write_bytes(file.getvalue())
    refused(path, 3, "package.json")


def test_a_link_in_the_archive_is_refused(tmp_path: Path) -> None:
    """Only plain files are unpacked."""
    file = io.BytesIO(Recipe().bytes())
    with zipfile.ZipFile(file, "a") as made:
        info = zipfile.ZipInfo("app/link", (1980, 1, 1, 0, 0, 0))
        info.external_attr = 0o120777 << 16
        made.writestr(info, b"/etc/shadow")
    path = tmp_path / "door.pyz"
    path.write_bytes(file.getvalue())
    refused(path, 3, "app/link")


def test_an_archive_that_claims_too_much_is_refused(tmp_path: Path) -> None:
    """A bomb: 513 MB of zeros in 500 kB, refused by what its directory says."""
    path = tmp_path / "door.pyz"
    with (
        zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as made,
        made.open("package.json", "w") as member,
    ):
        for _ in range(513):
            member.write(bytes(1024**2))
    refused(path, 3, "package.json")


def test_a_member_that_is_larger_than_it_claims_is_refused(tmp_path: Path) -> None:
    """A bomb that lies about its size is read no further than that, and its checksum is wrong."""
    data = bytes(50_000_000)
    whole = bytearray(archive({"package.json": data}))
    place = whole.rindex(b"PK\x01\x02")
    whole[place + 24 : place + 28] = struct.pack("<I", 100)
    path = tmp_path / "door.pyz"
    path.write_bytes(whole)
    refused(path, 3)


@pytest.mark.parametrize(
    ("change", "word"),
    [
        ({"format": 2}, "format 2"),
        ({"format": "1"}, "format"),
        ({"name": "../door"}, "name"),
        ({"version": "latest"}, "version"),
        ({"version": "\u0661.\u0660"}, "version"),
        ({"version": "1\n"}, "version"),
        ({"pythons": []}, "pythons"),
        ({"machine": None}, "machine"),
        ({"files": []}, "files"),
        ({"needs": {"glibc": "new"}}, "glibc"),
        ({"leave_out": ["/"]}, "leave_out"),
    ],
)
def test_a_list_that_makes_no_sense_is_refused(tmp_path: Path, change: dict[str, object], word: str) -> None:
    """By the field's name."""
    refused(Recipe(document=change).write(tmp_path / "door.pyz"), 3, word)


def test_a_package_of_a_later_format_is_not_recommended_to_be_run(tmp_path: Path) -> None:
    """Anybody can write "format 2": a hint to run it as root without looking would undo every check."""
    path = Recipe(document={"format": 2}, key=None).write(tmp_path / "door.pyz")
    hint = here("verify", path, "--json", check=3).error["hint"]
    assert "compare its sha256" in hint.partition("only then run")[0]


@pytest.mark.parametrize(
    ("path", "role"),
    [
        ("app/../../etc/cron.d/x", "app"),
        ("/etc/passwd", "app"),
        ("app/.hidden", "app"),
        ("app/a b", "app"),
        ("json.py", "installer"),
        ("units/x.service", "app"),
        ("units/facegate.mount", "unit"),
        ("units/../x.service", "unit"),
        ("bin/facegate", "license"),
        ("wheels/x.whl", "anything"),
    ],
)
def test_a_path_that_its_role_does_not_have_is_refused(tmp_path: Path, path: str, role: str) -> None:
    """No file can be taken for one of another kind, or leave its folder."""
    if role == "license":
        path = "app/LICENSE"
    refused(Recipe(more={path: (role, b"x")}).write(tmp_path / "door.pyz"), 3, "what it cannot")


def test_a_malformed_signature_is_refused(tmp_path: Path) -> None:
    """Exit code 4, whatever is wrong with it."""
    recipe = Recipe(key=None)
    for signature in (b"", b"{}", b"\xff", b'{"algorithm":"none","key_id":"0000000000000000","signature":""}'):
        path = tmp_path / "door.pyz"
        members = {name: data for name, (_, data) in recipe.files().items()}
        path.write_bytes(archive({"package.json": recipe.list(), "package.sig": signature} | members))
        refused(path, 4, "package.sig")


def test_another_signer_and_a_forged_signature_are_refused(tmp_path: Path) -> None:
    """The key that is named must be the one that is given, and must have signed."""
    path = Recipe(key=OTHER).write(tmp_path / "door.pyz")
    answer = run(path, "verify", "--trust", public(tmp_path), "--json", check=4)
    assert answer.error["type"] == "PackageUntrustedError"
    recipe = Recipe()
    signature = OTHER.sign(recipe.list())
    members = {name: data for name, (_, data) in recipe.files().items()}
    path.write_bytes(
        archive({"package.json": recipe.list(), "package.sig": signature_document(KEY.key_id, signature)} | members)
    )
    answer = run(path, "verify", "--trust", public(tmp_path), "--json", check=4)
    assert answer.error["type"] == "PackageSignatureError"


def test_an_unsigned_package_does_not_verify_where_somebody_is_trusted(tmp_path: Path) -> None:
    """On a device that has a signer's key, `verify` says no: with exit code 4, not in a line of text."""
    path = Recipe(key=None).write(tmp_path / "door.pyz")
    root = tmp_path / "root"
    (root / "etc/facegate/trust").mkdir(parents=True)
    here("verify", path, "--root", root, check=0)
    (root / f"etc/facegate/trust/{KEY.key_id}.pub").write_bytes(KEY.verify_key.to_pem())
    assert here("verify", path, "--root", root, "--json", check=4).error["type"] == "PackageUnsignedError"


def test_what_is_no_key_is_not_trusted(packages: dict[str, Path], tmp_path: Path) -> None:
    """A private key, garbage, a key of another kind, a file that everybody may replace: usage errors."""
    private = tmp_path / "private.key"
    private.write_text("-----BEGIN PRIVATE KEY-----\nxx\n-----END PRIVATE KEY-----\n")
    garbage = tmp_path / "garbage.pub"
    garbage.write_bytes(b"-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----\n")
    shared = public(tmp_path)
    shared.chmod(0o666)
    for path in (private, garbage, shared, tmp_path / "none.pub"):
        here("verify", packages["1"], "--trust", path, "--json", check=2)


def test_damaged_wheels_are_no_surprise(tmp_path: Path) -> None:
    """A file that is listed and signed, and is no wheel: refused before anything is in use."""
    path = Recipe(wheels={"x-1-py3-none-any.whl": b"no zip"}).write(tmp_path / "door.pyz")
    key = public(tmp_path)
    (tmp_path / "root").mkdir()
    answer = here("install", path, "--root", tmp_path / "root", "--trust", key, "--json", check=3)
    assert "no wheel" in answer.error["message"]
