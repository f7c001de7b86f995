"""Sealing: what opens where, and nowhere else."""

from __future__ import annotations

import os
import pickle

import pytest
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from facegate._store import _sealing
from facegate._store._gcm import BufferGCM
from facegate._store._sealing import OwnerKey, Sealer, new_owner_key
from facegate.errors import SealError, SealKeyError

SECRET, GATE = bytes(range(32)), "0" * 32
FACE = bytes(range(64))


@pytest.fixture
def sealer():
    """The sealer of one gate."""
    return Sealer(SECRET, GATE)


def owner(kind="person", number=7, gate=GATE, key=b"k" * 32):
    """An owner's key."""
    return OwnerKey(key, gate, kind, number)


def test_what_is_sealed_opens_again(sealer):
    """A template through its person's key, and the key through the device's secret."""
    key = new_owner_key()
    wrapped = sealer.wrap(key, "person", 7)
    sealed = OwnerKey(key, GATE, "person", 7).seal(FACE, 3, "space")
    assert sealer.unwrap(wrapped, "person", 7) == key
    assert sealer.owner_key(wrapped, "person", 7).unseal(sealed, 3, "space") == FACE
    assert FACE not in sealed
    assert key not in wrapped


def test_a_key_that_its_owner_wipes_is_still_the_key(sealer, monkeypatch):
    """Some builds of the library keep a reference to the key instead of a copy: theirs must not be the one wiped."""
    given, made = [], _sealing._Aead
    wrapped = sealer.wrap(b"k" * 32, "person", 7)
    monkeypatch.setattr(_sealing, "_Aead", lambda key: given.append(key) or made(key))
    key = bytearray(b"k" * 32)
    OwnerKey(key, GATE, "person", 7)
    sealer.owner_key(wrapped, "person", 7)
    key[:] = bytes(32)
    assert given == [b"k" * 32] * 2
    assert all(type(k) is bytes for k in given)


def test_the_same_is_sealed_differently_each_time(sealer):
    """The nonces are random: equal templates and keys cannot be seen to be equal."""
    key = new_owner_key()
    assert len({sealer.wrap(key, "person", 7) for _ in range(50)}) == 50
    assert len({owner().seal(FACE, 3, "space") for _ in range(50)}) == 50


@pytest.mark.parametrize(
    ("opener", "face", "space"),
    [
        (owner(number=8), 3, "space"),
        (owner(kind="list"), 3, "space"),
        (owner(gate="1" * 32), 3, "space"),
        (owner(key=b"x" * 32), 3, "space"),
        (owner(), 4, "space"),
        (owner(), 3, "space2"),
    ],
)
def test_a_sealed_face_opens_in_its_own_place_only(opener, face, space):
    """Neither for another person, list, gate or row, nor as of another template space, nor with another key."""
    sealed = owner().seal(FACE, 3, "space")
    with pytest.raises(SealError) as caught:
        opener.unseal(sealed, face, space)
    assert caught.value.hint


@pytest.mark.parametrize(
    ("secret", "gate", "kind", "number"),
    [
        (SECRET, GATE, "person", 8),
        (SECRET, GATE, "list", 7),
        (SECRET, "1" * 32, "person", 7),
        (bytes(32), GATE, "person", 7),
    ],
)
def test_a_wrapped_key_opens_in_its_own_place_only(sealer, secret, gate, kind, number):
    """Neither for another person or list, nor in another gate, nor with another secret."""
    wrapped = sealer.wrap(new_owner_key(), "person", 7)
    with pytest.raises(SealError):
        Sealer(secret, gate).unwrap(wrapped, kind, number)
    with pytest.raises(SealError):
        Sealer(secret, gate).owner_key(wrapped, kind, number)


@pytest.fixture(params=["the library's own", "for an old library"])
def _aead(request, monkeypatch):
    """Both ways to AES-256-GCM; the first is what this library calls for."""
    if request.param == "for an old library":
        monkeypatch.setattr(_sealing, "_Aead", BufferGCM)


@pytest.mark.usefixtures("_aead")
def test_every_flipped_byte_is_noticed():
    """Of the nonce, the ciphertext and the tag; and a value that was cut short or made longer."""
    sealer = Sealer(SECRET, GATE)
    sealed = owner().seal(FACE, 3, "space")
    wrapped = sealer.wrap(new_owner_key(), "person", 7)
    out = memoryview(bytearray(len(FACE)))
    for i in range(len(sealed)):
        broken = sealed[:i] + bytes([sealed[i] ^ 0x10]) + sealed[i + 1 :]
        with pytest.raises(SealError):
            owner().unseal(broken, 3, "space")
        with pytest.raises(SealError):
            owner().unseal_into(broken, 3, "space", out)
    for i in range(len(wrapped)):
        with pytest.raises(SealError):
            sealer.unwrap(wrapped[:i] + bytes([wrapped[i] ^ 1]) + wrapped[i + 1 :], "person", 7)
    for broken in (b"", sealed[:11], sealed[:27], sealed[:-1], sealed + b"\0"):
        with pytest.raises(SealError):
            owner().unseal(broken, 3, "space")
        with pytest.raises(SealError):
            owner().unseal_into(broken, 3, "space", out)


@pytest.mark.usefixtures("_aead")
def test_a_face_can_be_opened_into_memory_that_is_wiped():
    """With a library that can do that, and with one that cannot."""
    memory = bytearray(len(FACE))
    owner().unseal_into(owner().seal(FACE, 3, "space"), 3, "space", memoryview(memory))
    assert memory == FACE
    with pytest.raises(SealError):  # never into memory of another size
        owner().unseal_into(owner().seal(FACE, 3, "space"), 3, "space", memoryview(bytearray(len(FACE) + 1)))


@pytest.mark.parametrize("size", [0, 1, 15, 16, 17, 32, 512, 513])
def test_an_old_library_seals_the_same_bytes(size):
    """What one version sealed another opens: same nonce, data and place, same bytes, from any buffer."""
    key, nonce, place = bytes(range(32)), bytes(range(12)), b"place"
    data = bytes(i % 251 for i in range(size))
    sealed = AESGCM(key).encrypt(nonce, data, place)
    old = BufferGCM(key)
    assert {old.encrypt(nonce, kind(data), place) for kind in (bytes, bytearray, memoryview)} == {sealed}
    assert old.decrypt(nonce, sealed, place) == data
    out = bytearray(size)
    assert old.decrypt_into(nonce, sealed, place, memoryview(out)) == size
    assert out == data


def test_what_was_changed_never_reaches_the_caller_s_memory():
    """An old library gives bytes before it has checked them all: they are not passed on."""
    sealed = bytearray(BufferGCM(bytes(32)).encrypt(bytes(12), FACE, b"place"))
    sealed[-1] ^= 1
    out = bytearray(len(FACE))
    with pytest.raises(InvalidTag):
        BufferGCM(bytes(32)).decrypt_into(bytes(12), bytes(sealed), b"place", memoryview(out))
    assert out == bytes(len(FACE))


def test_a_wrong_secret_is_known_before_anything_is_opened(sealer):
    """By a sealed constant; the error names both keys by id and hints at what to do."""
    check = sealer.key_check()
    sealer.check(check, sealer.key_id)
    other = Sealer(os.urandom(32), GATE)
    for wrong, key_id in ((other, sealer.key_id), (other, other.key_id), (Sealer(SECRET, "1" * 32), sealer.key_id)):
        with pytest.raises(SealKeyError) as caught:
            wrong.check(check, key_id)
        assert key_id in str(caught.value)
        assert caught.value.hint
    with pytest.raises(SealKeyError):
        sealer.check(b"", sealer.key_id)


def test_the_keys_of_one_secret_are_independent(sealer):
    """The id, the tally's key and what wraps are derived for one use each, and for one gate."""
    other = Sealer(SECRET, "1" * 32)
    assert sealer.key_id == other.key_id  # names the secret
    assert sealer.tally.row("person", b"") != other.tally.row("person", b"")
    with pytest.raises(SealError):
        other.unseal(sealer.seal(b"rotation", "rotation"), "rotation")
    with pytest.raises(SealError):
        sealer.unseal(sealer.seal(b"rotation", "rotation"), "something else")


@pytest.mark.parametrize("length", [0, 16, 31, 33])
def test_a_secret_of_another_length_is_refused(length):
    """32 bytes, no more and no less."""
    with pytest.raises(SealKeyError):
        Sealer(bytes(length), GATE)


def test_nothing_secret_is_shown(sealer):
    """Neither a repr nor an error holds a byte of a key or a template."""
    assert repr(sealer) == f"Sealer({sealer.key_id})"
    assert repr(owner()) == "OwnerKey()"
    for secret in (sealer, owner()):
        with pytest.raises(TypeError):
            pickle.dumps(secret)
    with pytest.raises(SealError) as caught:
        owner().unseal(owner(key=b"x" * 32).seal(FACE, 3, "space"), 3, "space")
    assert caught.value.__cause__ is None
