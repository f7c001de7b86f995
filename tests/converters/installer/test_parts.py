"""The parts that stand on a bare device in for libraries: Ed25519, wheels, Debian packages."""

from __future__ import annotations

import hashlib
import io
import lzma
import tarfile
from typing import TYPE_CHECKING

import pytest
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from facegate_edge._keys import SigningKey

from .packages import KEY, PYTHON, Recipe, here, public, random_key, wheel

if TYPE_CHECKING:
    from pathlib import Path
    from types import ModuleType

# RFC 8032, section 7.1: TEST 1 to 3.
VECTORS = [
    (
        "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a",
        "",
        (
            "e5564300c360ac729086e2cc806e828a84877f1eb8e5d974d873e06522490155"
            "5fb8821590a33bacc61e39701cf9b46bd25bf5f0595bbe24655141438e7a100b"
        ),
    ),
    (
        "3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c",
        "72",
        (
            "92a009a9f0d4cab8720e820b5f642540a2b27b5416503f8fb3762223ebdb69da"
            "085ac1e43e15996e458f3613d0f11d8c387b2eaeb4302aeeb00d291612bb0c00"
        ),
    ),
    (
        "fc51cd8e6218a1a38da47ed00230f0580816ed13ba3303ac5deb911548908025",
        "af82",
        (
            "6291d657deec24024827e69c3abe01a30ce548a284743a445e3680d7db5ac3ac"
            "18ff9b538d16f290ae67f760984dc6594a7c15e9716ed28dc027beceea1ec40a"
        ),
    ),
]
ORDER = 2**252 + 27742317777372353535851937790883648493


@pytest.fixture
def ed25519() -> ModuleType:
    """The installer's own."""
    here("show", "none")
    from facegate_installer import _ed25519  # noqa: PLC0415 - on the path from here on

    return _ed25519


@pytest.mark.parametrize(("key", "message", "signature"), VECTORS)
def test_signatures_of_the_standard_verify(ed25519: ModuleType, key: str, message: str, signature: str) -> None:
    """And with any bit of them changed, none does."""
    raw, text, made = bytes.fromhex(key), bytes.fromhex(message), bytes.fromhex(signature)
    assert ed25519.verify(raw, made, text)
    for place in range(0, 512, 37):
        bent = bytearray(made)
        bent[place // 8] ^= 1 << place % 8
        assert not ed25519.verify(raw, bytes(bent), text)
    assert not ed25519.verify(raw, made, text + b"x")


def test_signatures_of_the_library_verify(ed25519: ModuleType) -> None:
    """Random keys and messages, signed by pyca/cryptography; another key's does not."""
    for size in (0, 1, 100, 5000):
        key, other, message = SigningKey(random_key()), SigningKey(random_key()), bytes(size)
        signature = key.sign(message)
        assert ed25519.verify(key.verify_key.raw, signature, message)
        assert not ed25519.verify(other.verify_key.raw, signature, message)


def test_second_spellings_of_a_signature_are_refused(ed25519: ModuleType) -> None:
    """S + L verifies with the equation and is no signature (RFC 8032, 8.4); nor are keys of small order keys."""
    message = b"message"
    signature = KEY.sign(message)
    again = int.from_bytes(signature[32:], "little") + ORDER
    assert not ed25519.verify(KEY.verify_key.raw, signature[:32] + again.to_bytes(32, "little"), message)
    identity = (1).to_bytes(32, "little")
    assert not ed25519.verify(identity, identity + bytes(32), message)
    assert not ed25519.verify(b"\xff" * 32, signature, message)
    assert not ed25519.verify(KEY.verify_key.raw[:31], signature, message)
    assert not ed25519.verify(KEY.verify_key.raw, signature[:63], message)


# The eight points of small order, in all their spellings (RFC 8032's curve; y and y + p, both signs).
SMALL = [
    "0000000000000000000000000000000000000000000000000000000000000000",
    "0000000000000000000000000000000000000000000000000000000000000080",
    "0100000000000000000000000000000000000000000000000000000000000000",
    "0100000000000000000000000000000000000000000000000000000000000080",
    "26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05",
    "26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc85",
    "c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a",
    "c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac03fa",
    "ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
    "ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff",
    "edffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
    "edffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff",
    "eeffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
    "eeffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff",
]


@pytest.mark.parametrize("key", SMALL)
def test_keys_of_small_order_verify_nothing(ed25519: ModuleType, key: str) -> None:
    """With such a key one signature is good for many messages; pyca/cryptography takes some of them."""
    for point in SMALL:
        assert not ed25519.verify(bytes.fromhex(key), bytes.fromhex(point) + bytes(32), b"message")


def test_keys_with_a_small_part_are_judged_as_the_library_judges_them(ed25519: ModuleType) -> None:
    """A + T, T of order 8: only where the cofactor does not matter do signatures hold, here and there alike."""
    torsion = ed25519._decode(bytes.fromhex(SMALL[6]))
    agreed = set()
    for number in range(24):
        scalar, nonce = 1 << 254 | number << 3, 12345 + number
        key = ed25519._encode(ed25519._add(ed25519._multiply(scalar, ed25519._BASE), torsion))
        point = ed25519._encode(ed25519._multiply(nonce, ed25519._BASE))
        digest = hashlib.sha512(point + key + b"message").digest()
        s = (nonce + int.from_bytes(digest, "little") * scalar) % ORDER
        signature = point + s.to_bytes(32, "little")
        try:
            Ed25519PublicKey.from_public_bytes(key).verify(signature, b"message")
            expected = True
        except InvalidSignature:
            expected = False
        assert ed25519.verify(key, signature, b"message") is expected
        agreed.add(expected)
    assert agreed == {True, False}


@pytest.mark.parametrize(
    "files",
    [
        {"../evil.py": b""},
        {"/etc/evil": b""},
        {"a/../../evil.py": b""},
        {"a\\..\\evil.py": b""},
        {"a//b.py": b""},
    ],
)
def test_a_wheel_that_leads_out_of_its_folder_is_refused(root: Path, tmp_path: Path, files: dict[str, bytes]) -> None:
    """Although its package is signed: a packager can be deceived as well."""
    _refused(root, tmp_path, wheel("x", "1", files), "leads out")
    assert not list(tmp_path.rglob("evil*"))


def test_a_wheel_that_is_not_as_it_records_is_refused(root: Path, tmp_path: Path) -> None:
    """Another hash in RECORD, a file that is not in it."""
    _refused(root, tmp_path, wheel("x", "1", {"x.py": b"1"}, record={"x.py": "A" * 43}), "records")
    import zipfile  # noqa: PLC0415

    file = io.BytesIO(wheel("x", "1", {"x.py": b"1"}))
    with zipfile.ZipFile(file, "a") as made:
        made.writestr("y.py", b"2")
    _refused(root, tmp_path, file.getvalue(), "y.py")


def test_a_wheel_that_claims_too_much_is_refused(root: Path, tmp_path: Path) -> None:
    """600 MB of zeros, by what its directory says."""
    import zipfile  # noqa: PLC0415

    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as made, made.open("x", "w") as member:
        for _ in range(513):
            member.write(bytes(1024**2))
    _refused(root, tmp_path, file.getvalue(), "more than any wheel")


def test_two_wheels_with_one_file_are_refused(root: Path, tmp_path: Path) -> None:
    """Which of them counts would be chance."""
    wheels = {f"{name}-1-py3-none-any.whl": wheel(name, "1", {"same.py": b""}) for name in "ab"}
    _install(root, tmp_path, Recipe(wheels=wheels), 3, "same.py")


def deb(members: dict[str, bytes | str], *, name: str = "data.tar.xz") -> bytes:
    """A Debian package with these files; text is a link's target."""
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w") as tar:
        for path, content in members.items():
            info = tarfile.TarInfo(path)
            if isinstance(content, str):
                info.type, info.linkname = tarfile.SYMTYPE, content
                tar.addfile(info)
            else:
                info.size = len(content)
                tar.addfile(info, io.BytesIO(content))
    data = lzma.compress(file.getvalue()) if name.endswith(".xz") else file.getvalue()
    parts = [("debian-binary", b"2.0\n"), ("control.tar.xz", b"x"), (name, data)]
    made = b"!<arch>\n"
    for part, content in parts:
        made += f"{part:<16}{0:<12}{0:<6}{0:<6}{100644:<8}{len(content):<10}`\n".encode() + content
        made += b"\n" if len(content) % 2 else b""
    return made


def test_debian_packages_are_unpacked_into_the_version(root: Path, tmp_path: Path) -> None:
    """Modules and libraries, with links among them; nothing of it goes into the system."""
    first = {
        "./usr/lib/python3/dist-packages/beta/__init__.py": b"SAYS = 'beta'\n",
        "./usr/lib/arm-linux-gnueabihf/libbeta.so.3.1": b"elf",
        "./usr/lib/arm-linux-gnueabihf/libbeta.so.3": "libbeta.so.3.1",
        "./usr/lib/arm-linux-gnueabihf/blas/libblas.so.3": b"elf",
        "./usr/lib/arm-linux-gnueabihf/libaway.so": "/etc/alternatives/libaway.so",
        "./usr/bin/beta": b"#!/bin/sh\n",
        "./etc/beta.conf": b"",
        "./usr/share/doc/beta/copyright": b"free",
    }
    recipe = Recipe(more={"debs/beta_1_armhf.deb": ("deb", deb(first))})
    _install(root, tmp_path, recipe, 0)
    folder = root / "opt/facegate/current/deb"
    libraries = folder / "usr/lib/arm-linux-gnueabihf"
    assert (libraries / "libbeta.so.3").read_bytes() == b"elf"
    assert not (libraries / "libaway.so").exists()
    assert not (folder / "usr/bin").exists()
    assert not (folder / "etc").exists()
    assert (folder / "usr/share/doc/beta/copyright").is_file()
    script = (root / "opt/facegate/current/bin/facegate-terminal").read_text()
    assert "usr/lib/arm-linux-gnueabihf:" in script
    assert "arm-linux-gnueabihf/blas" in script
    assert "deb/usr/lib/python3/dist-packages" in (root / "opt/facegate/current/bin/run.py").read_text()


@pytest.mark.parametrize(
    ("members", "name", "word"),
    [
        ({"./usr/lib/../../evil": b""}, "data.tar.xz", "leads out"),
        ({"./usr/lib/a": b"1", "usr/lib/a": b"2"}, "data.tar.xz", "two Debian packages"),
        ({"./usr/lib/a": b"1"}, "data.tar.zst", "zst"),
    ],
)
def test_a_debian_package_that_is_not_as_it_should_be_is_refused(
    root: Path, tmp_path: Path, members: dict[str, bytes | str], name: str, word: str
) -> None:
    """Paths that lead out, files twice, a compression that Debian 12 does not use."""
    _install(root, tmp_path, Recipe(more={"debs/x_1_armhf.deb": ("deb", deb(members, name=name))}), 3, word)


def test_a_link_in_a_debian_package_is_not_written_through(root: Path, tmp_path: Path) -> None:
    """A link to elsewhere and a file below it: the folder is a real one, and the link is never made."""
    target = tmp_path / "target"
    target.mkdir()
    members: dict[str, bytes | str] = {"./usr/lib/way": str(target), "./usr/lib/way/evil": b"x"}
    _install(root, tmp_path, Recipe(more={"debs/x_1_armhf.deb": ("deb", deb(members))}), 0)
    assert not list(target.iterdir())
    assert not (root / "opt/facegate/current/deb/usr/lib/way").is_symlink()


def test_what_is_no_debian_package_is_refused(root: Path, tmp_path: Path) -> None:
    """Garbage, and one that ends too early."""
    whole = deb({"./usr/lib/a": bytes(100_000)})
    for data in (b"garbage", whole[:-200], whole[:70]):
        _install(root, tmp_path, Recipe(more={"debs/x_1_armhf.deb": ("deb", data)}), 3)


def _refused(root: Path, folder: Path, data: bytes, word: str) -> None:
    _install(root, folder, Recipe(wheels={"x-1-py3-none-any.whl": data}), 3, word)


def _install(root: Path, folder: Path, recipe: Recipe, code: int, word: str = "") -> None:
    """Install, and assert that what is refused left nothing behind."""
    path = recipe.write(folder / "door.pyz")
    answer = here("install", path, "--root", root, "--trust", public(folder), "--json", check=code)
    assert PYTHON
    if code:
        assert word in answer.error["message"], answer.error
        assert not list((root / "opt").glob("facegate/versions/*"))
