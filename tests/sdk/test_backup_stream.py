"""A backup's file: what goes in comes out, for the right key only, and no change to it goes unseen."""

from __future__ import annotations

import io
import json
import pickle

import pytest

from facegate import SigningKey
from facegate._backup_stream import CHUNK, MAGIC, BackupReader, BackupWriter, read_header
from facegate._recovery import Passphrase, RecoveryKey, RecoveryPublicKey
from facegate.errors import (
    BackupFormatError,
    BackupKeyError,
    BackupTamperedError,
    BackupWriteError,
    KeyExistsError,
    KeyFileError,
    KeyPassphraseError,
    KeyPermissionError,
    KeyTypeError,
)

DEVICE = SigningKey.from_seed(bytes(range(32, 64)))
RECOVERY = RecoveryKey.generate()
WORDS = "correct horse battery"
SECRET = b"a device's secret, 32 bytes long"


def written(entries, recipient=RECOVERY.public, signer=DEVICE):
    """A backup with these entries."""
    stream = io.BytesIO()
    writer = BackupWriter(
        stream, recipient=recipient, signer=signer, created="2026-03-01T12:00:00.000Z", device="door-1", version="1"
    )
    for name, pieces in entries:
        writer.entry(name, pieces)
    writer.finish()
    return stream.getvalue()


def read(data, opener=RECOVERY, **kwargs):
    """What a backup holds."""
    return {name: b"".join(pieces) for name, pieces in BackupReader(io.BytesIO(data), opener, **kwargs).entries()}


SMALL = [("seal.key", [SECRET]), ("store/person", [b"one", b"", b"two"])]


@pytest.mark.parametrize(
    "entries",
    [
        [],
        [("empty", [])],
        SMALL,
        *(
            [("one", [bytes(size)])]
            for size in (1, CHUNK - 100, CHUNK - 79, CHUNK, 2 * CHUNK - 9, 2 * CHUNK, 3_000_000)
        ),
        [(f"e{i}", [bytes([i]) * 7000] * 9) for i in range(20)],
    ],
)
def test_what_goes_in_comes_out(entries):
    """Entries of any size come back, in their order, whatever their pieces were."""
    expected = {name: b"".join(pieces) for name, pieces in entries}
    found = read(written(entries))
    assert found == expected
    assert list(found) == list(expected)


def test_every_length_of_the_payload_around_a_chunk():
    """The end of a backup is found wherever in a chunk it falls, also exactly at its edge."""
    overhead = 2 + 1 + 4 + 4 + 2 + 64  # name, piece, ends, signature
    for total in range(CHUNK - 2, CHUNK + 3):
        data = bytes(total - overhead)
        assert read(written([("x", [data])])) == {"x": data}


def test_entries_that_are_not_read_are_skipped():
    """Who wants only names need not take the contents; the signature is checked all the same."""
    reader = BackupReader(io.BytesIO(written(SMALL)), RECOVERY)
    assert [name for name, _ in reader.entries()] == ["seal.key", "store/person"]


def test_a_passphrase_locks_and_opens():
    """Whoever knows the passphrase opens the backup; another passphrase does not (exit 4)."""
    data = written(SMALL, Passphrase(WORDS))
    assert read(data, Passphrase(WORDS))["seal.key"] == SECRET
    with pytest.raises(BackupKeyError) as caught:
        read(data, Passphrase("incorrect horse battery"))
    assert caught.value.exit_code == 4


def test_another_recovery_key_opens_nothing():
    """A backup opens for the key that it was made for, and says so to others before anything is tried."""
    data = written(SMALL)
    with pytest.raises(BackupKeyError, match="another recovery key"):
        read(data, RecoveryKey.generate())
    with pytest.raises(BackupKeyError, match="recovery key"):
        read(data, Passphrase(WORDS))
    with pytest.raises(BackupKeyError, match="passphrase"):
        read(written(SMALL, Passphrase(WORDS)), RECOVERY)


def test_no_secret_is_readable_in_the_file():
    """Neither contents nor names of entries are in the file; the header says when, of which device, for which key."""
    data = written(SMALL)
    for hidden in (SECRET, b"store/person", b"one"):
        assert hidden not in data
    header = read_header(io.BytesIO(data))
    assert (header.device, header.kind, header.maker) == ("door-1", "recovery_key", DEVICE.verify_key)
    assert header.recipient["key_id"] == RECOVERY.key_id


def test_two_backups_of_the_same_share_nothing():
    """Each has a file key of its own: equal contents are not seen to be equal."""
    one, two = written(SMALL), written(SMALL)
    end = one.index(b"}}") + 2
    assert one[end : end + 64] != two[two.index(b"}}") + 2 :][:64]
    assert read_header(io.BytesIO(one)).id != read_header(io.BytesIO(two)).id


@pytest.mark.parametrize("recipient", [RECOVERY.public, Passphrase(WORDS)], ids=["key", "passphrase"])
def test_attack_any_byte_is_changed(recipient):
    """Flipping a bit of any byte, in header or payload, is found."""
    opener = RECOVERY if isinstance(recipient, RecoveryPublicKey) else recipient
    data = written(SMALL, recipient)
    # Each try with a passphrase takes its 0.2 s of stretching.
    places = range(len(data)) if opener is RECOVERY else range(30, len(data), len(data) // 12)
    for place in places:
        changed = bytearray(data)
        changed[place] ^= 1 << (place % 8)
        if changed[: len(MAGIC)] == MAGIC and opener is not RECOVERY and b'"n":65536' not in changed:
            continue  # a cost of its own: refused or wrong, but for a price
        with pytest.raises((BackupFormatError, BackupTamperedError, BackupKeyError)):
            read(bytes(changed), opener)


def test_attack_the_file_is_cut():
    """A backup that ends anywhere too early does not pass for a whole one."""
    data = written([("a", [bytes(CHUNK)]), ("b", [bytes(2 * CHUNK)])])
    start = data.index(b"}}") + 2
    edges = {start + (CHUNK + 16) * i + d for i in range(4) for d in (-1, 0, 1)}
    for end in sorted({0, 5, len(MAGIC), len(MAGIC) + 2, 60, start, *edges, len(data) - 1}):
        if end < len(data):
            with pytest.raises((BackupFormatError, BackupTamperedError)):
                read(data[:end])


def test_attack_chunks_are_moved():
    """Chunks cannot be exchanged, repeated, dropped or brought over from another backup."""
    data = written([("a", [bytes(5 * CHUNK)])])
    other = written([("a", [bytes(5 * CHUNK)])])
    start, size = data.index(b"}}") + 2, CHUNK + 16
    head, chunks = data[:start], [data[i : i + size] for i in range(start, len(data), size)]
    foreign = other[other.index(b"}}") + 2 :][size : 2 * size]
    for order in ([1, 0, 2, 3, 4, 5], [0, 0, 1, 2, 3, 4, 5], [0, 2, 3, 4, 5], [0, 1, 2, 3, 4], [0, 1, 2, 3, 4, 5, 5]):
        with pytest.raises(BackupTamperedError):
            read(head + b"".join(chunks[i] for i in order))
    with pytest.raises(BackupTamperedError):
        read(head + chunks[0] + foreign + b"".join(chunks[2:]))
    with pytest.raises((BackupTamperedError, BackupFormatError)):
        read(data + b"x")


def test_attack_a_stranger_makes_a_backup():
    """With a recovery key's public half anybody can lock a backup; who expects their own device is not taken in."""
    stranger = SigningKey.generate()
    forged = written(SMALL, signer=stranger)
    assert read(forged, maker=stranger.verify_key)
    with pytest.raises(BackupTamperedError, match=DEVICE.key_id):
        read(forged, maker=DEVICE.verify_key)


def test_attack_a_stranger_signs_in_anothers_name():
    """The header names the device, and its signature over the whole must fit."""

    class Liar:
        verify_key = DEVICE.verify_key

        def sign(self, data):
            return SigningKey.generate().sign(data)

    with pytest.raises(BackupTamperedError, match="signature"):
        read(written(SMALL, signer=Liar()), maker=DEVICE.verify_key)


def header_of(data, **changes):
    """The backup with another header."""
    length = int.from_bytes(data[len(MAGIC) : len(MAGIC) + 4], "big")
    fields = json.loads(data[len(MAGIC) + 4 : len(MAGIC) + 4 + length]) | changes
    fields = {name: value for name, value in fields.items() if value is not None}
    document = json.dumps(fields).encode()
    return MAGIC + len(document).to_bytes(4, "big") + document + data[len(MAGIC) + 4 + length :]


@pytest.mark.parametrize(
    "cost",
    [
        {"n": 2**21},
        {"n": 2**19},
        {"r": 33},
        {"p": 9},
        {"n": 65535},
        {"n": 0},
        {"n": 1},
        {"n": -2},
        {"n": True},
        {"r": 99},
        {"p": "1"},
    ],
)
def test_attack_costs_that_exhaust_the_machine(cost):
    """A header asks for no more than 256 MiB of stretching: other costs are refused before anything is computed."""
    data = written(SMALL, Passphrase(WORDS))
    recipient = dict(read_header(io.BytesIO(data)).recipient)
    recipient["scrypt"] = recipient["scrypt"] | cost
    with pytest.raises(BackupFormatError, match="scrypt"):
        read(header_of(data, recipient=recipient), Passphrase(WORDS))


@pytest.mark.parametrize(
    "changes",
    [
        {"format": 2},
        {"format": "1"},
        {"id": "../x"},
        {"id": None},
        {"device": "a b"},
        {"device_key": "AAAA"},
        {"device_key": 7},
        {"created": 7},
        {"created": "2026-13-41T25:61:00.000Z"},
        {"more": 1},
        {"recipient": []},
        {"recipient": {"kind": "nobody"}},
        {"recipient": {"kind": "recovery_key", "key_id": RECOVERY.key_id}},
        {"recipient": {"kind": "recovery_key", "key_id": RECOVERY.key_id, "ephemeral": "AA", "wrapped": "AA"}},
        {"recipient": {"kind": "recovery_key", "key_id": RECOVERY.key_id, "ephemeral": 5, "wrapped": None}},
        {
            "recipient": {
                "kind": "recovery_key",
                "key_id": RECOVERY.key_id,
                "ephemeral": "A" * 43,  # the point of order one: everybody knows the secret that comes out
                "wrapped": "A" * 64,
            }
        },
    ],
)
def test_headers_that_none_has(changes):
    """A header with wrong, missing or additional fields is refused, without a traceback."""
    with pytest.raises(BackupFormatError):
        read(header_of(written(SMALL), **changes))


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"hello",
        b"PK\3\4" + bytes(100),
        MAGIC,
        MAGIC + b"\0\0\0\2{}",
        MAGIC + b"\0\0\0\0",
        MAGIC + b"\xff\xff\xff\xff" + bytes(100),
        MAGIC + b"\0\0\0\2[]",
        MAGIC + b"\0\0\0\4\xff\xff\xff\xff",
        MAGIC + (9000).to_bytes(4, "big") + b"[" * 9000,
    ],
)
def test_files_that_are_no_backup(data):
    """Something else is told as what it is."""
    with pytest.raises(BackupFormatError):
        read(data)


def test_a_newer_format_asks_for_an_update():
    """The reader of a newer backup is told to update facegate, not that it is damaged."""
    with pytest.raises(BackupFormatError, match="newer") as caught:
        read(b"facegate-backup 7\nwhatever")
    assert "update" in caught.value.hint


@pytest.mark.parametrize("name", ["", "../x", "a/b/c", "/etc", "A", "a" * 200, ".x", "a//b"])
def test_entries_have_tame_names(name):
    """No name leads out of the folder that a backup is restored to."""
    writer = BackupWriter(
        io.BytesIO(),
        recipient=RECOVERY.public,
        signer=DEVICE,
        created="2026-03-01T12:00:00.000Z",
        device="door-1",
        version="1",
    )
    with pytest.raises(ValueError, match="name"):
        writer.entry(name, [])


def test_a_full_disk():
    """Where there is no room the writer says so (exit 5)."""

    class Full(io.BytesIO):
        def write(self, _):
            raise OSError(28, "No space left on device")

    with pytest.raises(BackupWriteError, match="No space") as caught:
        BackupWriter(
            Full(),
            recipient=RECOVERY.public,
            signer=DEVICE,
            created="2026-03-01T12:00:00.000Z",
            device="door-1",
            version="1",
        )
    assert caught.value.exit_code == 5


# --- recovery keys -------------------------------------------------------------------------------------------------


def test_a_recovery_key_as_files(tmp_path):
    """Both halves are saved and loaded again; the private one for its owner only, and behind a passphrase if wanted."""
    path = tmp_path / "recovery.key"
    RECOVERY.save(path, WORDS)
    RECOVERY.public.save(tmp_path / "recovery.key.pub")
    assert path.stat().st_mode & 0o777 == 0o600
    assert RecoveryKey.load(path, WORDS).public == RECOVERY.public
    assert RecoveryPublicKey.load(tmp_path / "recovery.key.pub") == RECOVERY.public
    for passphrase in (None, "wrong words here"):
        with pytest.raises(KeyPassphraseError):
            RecoveryKey.load(path, passphrase)
    with pytest.raises(KeyExistsError):
        RECOVERY.save(path)
    path.chmod(0o644)
    with pytest.raises(KeyPermissionError):
        RecoveryKey.load(path, WORDS)


def test_keys_of_another_kind(tmp_path):
    """A device's key, the wrong half or no key at all makes no backup and opens none."""
    DEVICE.save(tmp_path / "device.key")
    DEVICE.verify_key.save(tmp_path / "device.pub")
    RECOVERY.save(tmp_path / "recovery.key")
    RECOVERY.public.save(tmp_path / "recovery.pub")
    (tmp_path / "none").write_text("none")
    (tmp_path / "none").chmod(0o600)
    for name, load, error in (
        ("device.pub", RecoveryPublicKey, KeyTypeError),
        ("recovery.key", RecoveryPublicKey, KeyTypeError),
        ("none", RecoveryPublicKey, KeyFileError),
        ("device.key", RecoveryKey, KeyTypeError),
        ("none", RecoveryKey, KeyFileError),
    ):
        with pytest.raises(error):
            load.load(tmp_path / name)
    (tmp_path / "recovery.pub").chmod(0o666)
    with pytest.raises(KeyPermissionError):
        RecoveryPublicKey.load(tmp_path / "recovery.pub")
    with pytest.raises(KeyTypeError):
        RecoveryPublicKey(b"short")
    with pytest.raises(KeyTypeError, match="X25519"):
        RecoveryPublicKey(bytes(32)).wrap(bytes(32))


def test_secrets_stay_where_they_are():
    """Neither repr nor pickle shows a private key or a passphrase."""
    for secret in (RECOVERY, Passphrase(WORDS)):
        assert "horse" not in repr(secret)
        with pytest.raises(TypeError):
            pickle.dumps(secret)


def test_a_short_passphrase_locks_nothing():
    """A backup can be attacked for as long as it exists: fewer than 12 characters are refused."""
    with pytest.raises(KeyPassphraseError, match="12"):
        written(SMALL, Passphrase("short"))
