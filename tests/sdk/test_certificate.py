"""The erasure certificate: signed, about one person, naming nobody."""

from __future__ import annotations

import dataclasses
import json

import pytest

from facegate import SigningKey, errors
from facegate import _jws as jws
from facegate._certificate import (
    CERTIFICATE_TYPE,
    ErasureCertificate,
    hash_reference,
    new_salt,
    sign_certificate,
    verify_certificate,
)
from facegate._decision import DECISION_TYPE
from facegate_edge._keys import TrustStore

KEY = SigningKey.from_seed(bytes(range(32)))
OTHER = SigningKey.from_seed(bytes(range(1, 33)))
SALT = "00112233445566778899aabbccddeeff"
CERTIFICATE = ErasureCertificate(
    id="01a1fd4d-ce11-74c7-8895-b4e70eb0a9b1",
    gate="0" * 32,
    device="door-1",
    time="2026-03-01T12:00:00.123Z",
    clock_suspect=False,
    reason="erasure",
    salt=SALT,
    subject=hash_reference(SALT, "p-4711"),
    faces=3,
    consents=1,
    groups=2,
)


@pytest.mark.parametrize("keys", [KEY.verify_key, [OTHER.verify_key, KEY.verify_key], TrustStore([KEY.verify_key])])
def test_a_certificate_is_verified_with_the_devices_public_key(keys):
    """What was signed is what is read, with one key, several, or a trust store; and it is about that person."""
    signed = sign_certificate(CERTIFICATE, KEY)
    assert verify_certificate(signed.jws, keys, reference="p-4711") == signed.certificate == CERTIFICATE


def test_a_certificate_names_nobody():
    """The reference is not in it, and two certificates of one person share neither salt nor hash."""
    assert "p-4711" not in CERTIFICATE.to_json()
    salts = {new_salt() for _ in range(10)}
    assert len({hash_reference(salt, "p-4711") for salt in salts}) == 10


def test_a_certificate_about_somebody_else_is_refused():
    """The reference must be the one that was erased."""
    signed = sign_certificate(CERTIFICATE, KEY)
    assert not any(CERTIFICATE.is_about(other) for other in ("p-4712", "", "\udcff", None, 4711))
    with pytest.raises(errors.CertificateError, match="somebody else"):
        verify_certificate(signed.jws, KEY.verify_key, reference="p-4712")


def test_attack_another_devices_signature():
    """A certificate that another key signed is none of this device."""
    with pytest.raises(errors.CertificateError):
        verify_certificate(sign_certificate(CERTIFICATE, OTHER).jws, KEY.verify_key)


def test_attack_a_decision_is_taken_for_a_certificate():
    """The same key signs decisions: their type is another."""
    text = jws.sign(CERTIFICATE.to_json().encode(), KEY, typ=DECISION_TYPE)
    with pytest.raises(errors.CertificateError):
        verify_certificate(text, KEY.verify_key)


@pytest.mark.parametrize("position", range(3))
def test_attack_a_changed_letter(position):
    """A change in the header, the payload or the signature is seen."""
    parts = sign_certificate(CERTIFICATE, KEY).jws.split(".")
    letter = "A" if parts[position][10] != "A" else "B"
    parts[position] = parts[position][:10] + letter + parts[position][11:]
    with pytest.raises(errors.CertificateError):
        verify_certificate(".".join(parts), KEY.verify_key)


@pytest.mark.parametrize("text", ["", "x", "a.b.c", None, 5, "é.é.é"])
def test_what_is_no_certificate_at_all(text):
    """Anything else is refused with an error of ours."""
    with pytest.raises(errors.CertificateError):
        verify_certificate(text, KEY.verify_key)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("id", "1"),
        ("gate", "door"),
        ("device", "a name"),
        ("time", "yesterday"),
        ("clock_suspect", 0),
        ("reason", "because"),
        ("salt", "00"),
        ("subject", "p-4711"),
        ("faces", -1),
        ("consents", True),
        ("groups", "2"),
        ("key_destroyed", False),
        ("kept", ("templates",)),
        ("kept", ["audit"]),
        ("schema", 2),
    ],
)
def test_a_field_that_cannot_be(field, value):
    """Each field is checked; the message names the field and not the value."""
    with pytest.raises(errors.CertificateError, match=field) as caught:
        dataclasses.replace(CERTIFICATE, **{field: value})
    assert "p-4711" not in str(caught.value)


@pytest.mark.parametrize(
    "change",
    [
        lambda text: text + " ",
        lambda text: text.replace('"faces":3', '"faces": 3'),
        lambda text: text.replace('"kept":["audit"', '"kept":["audit",1'),
        lambda text: text.replace('"kept":[', '"kept":[["x"],'),
        lambda text: json.dumps({**json.loads(text), "name": "Alice"}, sort_keys=True, separators=(",", ":")),
        lambda _: "[]",
        lambda _: "{",
        lambda _: "[" * 100_000,
    ],
)
def test_another_spelling_is_refused_though_signed(change):
    """A certificate has one spelling, and no field more."""
    text = jws.sign(change(CERTIFICATE.to_json()).encode()[:6000], KEY, typ=CERTIFICATE_TYPE)
    with pytest.raises(errors.CertificateError):
        verify_certificate(text, KEY.verify_key)
