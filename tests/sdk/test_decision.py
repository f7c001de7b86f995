"""The decision: what can be in it, what cannot, and how its signature resists the known attacks on JWS."""

from __future__ import annotations

import copy
import dataclasses
import hashlib
import hmac
import json
import pickle
from datetime import datetime, timedelta, timezone
from importlib.resources import files
from pathlib import Path

import jsonschema
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from facegate import Decision, SigningKey, TrustStore, _jws, sign_decision, verify_decision
from facegate._decision import DECISION_TYPE, format_time
from facegate.errors import DecisionSchemaError, DecisionSignatureError
from facegate_edge._keys import b64url_decode, b64url_encode

KEY = SigningKey.from_seed(bytes(range(32)))
OTHER = SigningKey.from_seed(bytes(range(1, 33)))
SCHEMA = json.loads((files("facegate") / "decision.schema.json").read_text())
VALIDATOR = jsonschema.Draft202012Validator(SCHEMA, format_checker=jsonschema.FormatChecker())

MATCH = {
    "schema": 1,
    "id": "017f22e2-79b0-7cc3-98c4-dc0c0c07398f",
    "device": "door-1",
    "sequence": 7,
    "time": "2026-03-01T12:00:00.123Z",
    "kind": "identify",
    "outcome": "match",
    "subject": "p-4711",
    "reasons": (),
    "liveness": "live",
    "bundle": "a" * 64,
    "policy": "b" * 64,
    "declaration": "c" * 64,
    "marks": (),
}
FIRST = "017f22e2-0000-7cc3-98c4-dc0c0c07398f"
VERDICT = {"kind": "review", "refers_to": FIRST, "liveness": "not_checked"}
REASONS = sorted(SCHEMA["properties"]["reasons"]["items"]["enum"])


def decision(**changes) -> Decision:
    """A match, or what the changes make of it."""
    return Decision(**(MATCH | changes))


HEX = "0123456789abcdef"
references = st.text("abcXYZ019._-", min_size=1, max_size=64)  # some start with a dot or a dash: not valid
hashes = st.text(HEX, min_size=64, max_size=64)
ids = st.builds(
    lambda a, b, c, v: f"{a[:8]}-{a[8:]}-7{b}-{v}{c[:3]}-{c[3:]}",
    st.text(HEX, min_size=12, max_size=12),
    st.text(HEX, min_size=3, max_size=3),
    st.text(HEX, min_size=15, max_size=15),
    st.sampled_from("89ab"),
)
anything = (
    st.none()
    | st.booleans()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.integers()
    | st.text(max_size=8)
    | st.lists(st.integers() | st.sampled_from(REASONS), max_size=3)
    | st.just({"a": 1})
)
FINDINGS = [
    ("match", [], "live"),
    ("match", [], "not_checked"),
    ("no_match", ["below_threshold"], "live"),
    ("no_match", ["below_threshold", "liveness_uncertain"], "uncertain"),
    ("review", ["liveness_uncertain"], "uncertain"),
    ("review", ["objection"], "live"),
    ("review", ["liveness_uncertain", "objection"], "uncertain"),
    ("rejected", ["liveness_spoof"], "spoof"),
    ("rejected", ["low_quality", "several_faces"], "not_checked"),
    ("rejected", ["locked_out"], "not_checked"),
    ("rejected", ["outdated", "rate_limited", "restricted"], "not_checked"),
]
VERDICTS = [("match", [], "not_checked"), ("no_match", ["reviewer"], "not_checked")]
findings = st.sampled_from([*FINDINGS, *VERDICTS])
cases = st.sampled_from([(kind, f) for kind in ("verify", "identify") for f in FINDINGS]) | st.sampled_from(
    [("review", f) for f in VERDICTS]
)


@st.composite
def documents(draw):
    """JSON values of a decision; of most, some fields are replaced by others, added or taken away."""
    kind, (outcome, reasons, liveness) = draw(cases)
    document = {
        "schema": 1,
        "id": draw(ids),
        "device": draw(references),
        "sequence": draw(st.integers(1, 2**53 - 1)),
        "time": format_time(draw(st.datetimes(timezones=st.just(timezone.utc)))),
        "kind": kind,
        "outcome": outcome,
        "reasons": reasons,
        "liveness": liveness,
        "bundle": draw(hashes),
        "policy": draw(hashes),
        "declaration": draw(hashes),
        "marks": draw(st.sampled_from([[], ["clock"], ["development"], ["demonstration", "development"]])),
    }
    if kind == "review":
        document["refers_to"] = draw(ids)
    if outcome == "match":
        document["subject"] = draw(references)
    single = ["finding", "kind", "refers_to", "subject", "anything", "foreign", "missing"]
    change = draw(st.just("nothing") | st.sampled_from(single))
    if change == "finding":
        name, value = draw(st.sampled_from(["outcome", "reasons", "liveness"])), draw(findings)
        document[name] = dict(zip(["outcome", "reasons", "liveness"], value, strict=True))[name]
    elif change == "kind":
        document["kind"] = draw(st.sampled_from(["verify", "identify", "review"]))
    elif change == "refers_to":
        document["refers_to"] = draw(ids)
    elif change == "subject":
        document["subject"] = draw(references)
    elif change == "anything":
        document[draw(st.sampled_from(sorted(MATCH)))] = draw(anything)
    elif change == "foreign":
        document[draw(st.sampled_from(["similarity", "score", "box", "embedding"]))] = draw(anything)
    elif change == "missing":
        del document[draw(st.sampled_from(sorted(document)))]
    return document


def spelled(document) -> str:
    """A document in the one spelling of a decision, as far as it has its fields."""
    ordered = {name: document[name] for name in SCHEMA["properties"] if name in document}
    return json.dumps(ordered | document, separators=(",", ":"))


# --- what can be in it ---------------------------------------------------------------------------------------------


@given(documents())
def test_the_code_and_the_schema_agree(document):
    """What the class accepts the published schema accepts, and the reverse, over generated documents."""
    try:
        found = Decision.from_json(spelled(document))
    except DecisionSchemaError:
        assert not VALIDATOR.is_valid(document)
    else:
        VALIDATOR.validate(document)
        assert found.to_dict() == document
        assert found.to_json() == spelled(document)


def test_the_generated_documents_are_of_both_kinds():
    """The property above is not empty: valid and invalid documents occur, with every outcome."""
    seen: set[tuple[str, bool]] = set()

    @settings(max_examples=600)
    @given(documents())
    def collect(document):
        if isinstance(document.get("outcome"), str):
            seen.add((document["outcome"], VALIDATOR.is_valid(document)))
        if document.get("kind") == "review":
            seen.add(("verdict", VALIDATOR.is_valid(document)))

    collect()
    assert {(o, v) for o in ("match", "no_match", "review", "rejected") for v in (True, False)} <= seen
    assert {("verdict", v) for v in (True, False)} <= seen


def test_the_schema_is_itself_valid_and_closed():
    """The schema is draft 2020-12, closed, and names exactly the fields of the class."""
    jsonschema.Draft202012Validator.check_schema(SCHEMA)
    assert SCHEMA["additionalProperties"] is False
    assert set(SCHEMA["properties"]) == {field.name for field in dataclasses.fields(Decision)}
    assert not {"number"} & {p.get("type") for p in SCHEMA["properties"].values()}


@given(documents())
def test_only_the_schemas_fields_are_ever_written(document):
    """Whatever made the decision, its JSON has the schema's fields, and only whole numbers, short strings and lists."""
    document.pop("score", None)
    try:
        made = Decision(**{"subject": None} | {k: tuple(v) if isinstance(v, list) else v for k, v in document.items()})
    except (DecisionSchemaError, TypeError):
        return
    written = json.loads(made.to_json())
    assert set(written) <= set(SCHEMA["properties"])
    assert all(type(v) in (int, str, list) for v in written.values())
    VALIDATOR.validate(written)


FOREIGN = [
    0.93,
    np.float32(0.93),
    b"bytes",
    bytearray(2),
    np.zeros(3),
    [1.0],
    {"score": 1},
    None,
    True,
    object(),
    type("Str", (str,), {"extra": 0.93})("match"),
    type("Int", (int,), {"extra": 0.93})(1),
    datetime(2026, 1, 1, tzinfo=timezone.utc),
]


@pytest.mark.parametrize("name", [name for name in MATCH if name != "subject"])
def test_no_field_takes_a_foreign_value(name):
    """Floats, arrays, bytes, subclasses of str and int, objects: no field takes them."""
    for value in FOREIGN:
        with pytest.raises(DecisionSchemaError) as caught:
            decision(**{name: value})
        assert "0.93" not in str(caught.value)


@pytest.mark.parametrize("value", [v for v in FOREIGN if v is not None])
def test_the_subject_takes_no_foreign_value(value):
    """A subject is a plain string of the form of a reference."""
    with pytest.raises(DecisionSchemaError):
        decision(subject=value)
    with pytest.raises(DecisionSchemaError):
        decision(reasons=(value,), outcome="rejected", subject=None)
    with pytest.raises(DecisionSchemaError):
        decision(marks=(value,))
    with pytest.raises(DecisionSchemaError):
        decision(**(VERDICT | {"refers_to": value}))


def test_nothing_can_be_attached():
    """No attribute can be added or changed; what is forced past that is refused when it is written."""
    made = decision()
    for name in ("similarity", "outcome", "score"):
        with pytest.raises((AttributeError, TypeError)):
            setattr(made, name, 0.93)
    with pytest.raises(AttributeError):
        object.__setattr__(made, "similarity", 0.93)
    assert not hasattr(made, "__dict__")
    object.__setattr__(made, "subject", 0.93)
    for write in (made.to_dict, made.to_json, lambda: sign_decision(made, KEY)):
        with pytest.raises(DecisionSchemaError, match="subject"):
            write()


def test_there_are_no_subclasses_and_no_impostors():
    """A subclass cannot be made, and nothing else is signed in a decision's place."""
    with pytest.raises(TypeError):
        type("Talkative", (Decision,), {"similarity": 0.93})

    class Impostor:
        def to_json(self):
            return '{"score":0.93}'

    for value in (Impostor(), MATCH, decision().to_json(), None):
        with pytest.raises(DecisionSchemaError):
            sign_decision(value, KEY)


def test_copies_are_checked_as_well():
    """copy, pickle and replace give decisions that are checked when they are written."""
    made = decision()
    for twin in (copy.copy(made), copy.deepcopy(made), pickle.loads(pickle.dumps(made))):  # noqa: S301 - our own bytes
        assert twin == made
        assert twin.to_json() == made.to_json()
    with pytest.raises(DecisionSchemaError):
        dataclasses.replace(made, outcome="no_match")


@pytest.mark.parametrize(
    ("changes", "valid"),
    [
        ({}, True),
        ({"liveness": "not_checked"}, True),
        ({"subject": None}, False),
        ({"reasons": ("no_face",)}, False),
        ({"liveness": "spoof"}, False),
        ({"liveness": "uncertain"}, False),
        ({"outcome": "no_match"}, False),
        ({"outcome": "no_match", "subject": None}, False),
        ({"outcome": "no_match", "subject": None, "reasons": ("below_threshold",)}, True),
        ({"outcome": "no_match", "reasons": ("below_threshold",)}, False),
        ({"outcome": "no_match", "subject": None, "reasons": ("no_face",)}, False),
        ({"outcome": "rejected", "subject": None, "reasons": ("below_threshold",)}, False),
        ({"outcome": "rejected", "subject": None, "reasons": ("no_face",)}, True),
        ({"outcome": "rejected", "subject": None, "reasons": ("no_face", "low_quality")}, False),  # not sorted
        ({"outcome": "rejected", "subject": None, "reasons": ("low_quality", "no_face")}, True),
        ({"outcome": "rejected", "subject": None, "reasons": ("no_face", "no_face")}, False),
        ({"outcome": "rejected", "subject": None, "reasons": ("liveness_spoof",)}, False),
        ({"outcome": "rejected", "subject": None, "reasons": ("liveness_spoof",), "liveness": "spoof"}, True),
        ({"outcome": "review", "subject": None, "reasons": ("liveness_uncertain",), "liveness": "uncertain"}, True),
        ({"outcome": "review", "subject": None, "reasons": ("liveness_uncertain",)}, False),
        ({"outcome": "review", "subject": None, "reasons": ("objection",)}, True),
        ({"outcome": "review", "subject": None, "reasons": ("objection",), "liveness": "uncertain"}, False),
        ({"reasons": ("objection",)}, False),
        ({"outcome": "rejected", "subject": None, "reasons": ("objection",)}, False),
        ({"outcome": "rejected", "subject": None, "reasons": ("restricted",), "liveness": "not_checked"}, True),
        ({"outcome": "rejected", "subject": None, "reasons": ("rate_limited",), "liveness": "not_checked"}, True),
        ({"outcome": "no_match", "subject": None, "reasons": ("rate_limited",)}, False),
        (VERDICT, True),
        (VERDICT | {"outcome": "no_match", "subject": None, "reasons": ("reviewer",)}, True),
        (VERDICT | {"outcome": "no_match", "subject": None, "reasons": ("below_threshold",)}, False),
        (VERDICT | {"outcome": "no_match", "subject": None, "reasons": ("below_threshold", "reviewer")}, False),
        ({"outcome": "no_match", "subject": None, "reasons": ("reviewer",)}, False),
        ({"outcome": "no_match", "subject": None, "reasons": ("below_threshold", "reviewer")}, False),
        (VERDICT | {"outcome": "review", "subject": None, "reasons": ("objection",)}, False),
        (VERDICT | {"outcome": "rejected", "subject": None, "reasons": ("no_face",)}, False),
        (VERDICT | {"liveness": "live"}, False),
        (VERDICT | {"refers_to": None}, False),
        (VERDICT | {"refers_to": "the first one"}, False),
        (VERDICT | {"kind": "verify"}, False),
        ({"refers_to": FIRST}, False),
        ({"marks": ("clock",)}, True),
        ({"marks": ("clock", "demonstration")}, True),
        ({"declaration": "c" * 63}, False),
        ({"marks": ("demonstration", "development")}, True),
        ({"marks": ("development", "demonstration")}, False),
        ({"marks": ("production",)}, False),
        ({"id": "017f22e2-79b0-4cc3-98c4-dc0c0c07398f"}, False),
        ({"id": "017F22E2-79B0-7CC3-98C4-DC0C0C07398F"}, False),
        ({"sequence": 0}, False),
        ({"sequence": 2**53}, False),
        ({"time": "2026-03-01T12:00:00Z"}, False),
        ({"time": "2026-02-30T12:00:00.000Z"}, False),
        ({"time": "2026-03-01T12:00:00.123+01:00"}, False),
        ({"subject": "a b"}, False),
        ({"subject": "a\n"}, False),
        ({"bundle": "a" * 63}, False),
        ({"schema": 2}, False),
    ],
)
def test_what_goes_together(changes, valid):
    """A subject comes with a match only, reasons with everything else, and liveness agrees with the reasons."""
    if valid:
        VALIDATOR.validate(decision(**changes).to_dict())
    else:
        with pytest.raises(DecisionSchemaError):
            decision(**changes)


def test_times_are_utc_with_milliseconds():
    """Any time zone becomes UTC, fractions are cut, not rounded; a naive time is refused."""
    moment = datetime(2026, 1, 1, 0, 30, 0, 999_999, tzinfo=timezone(timedelta(hours=1)))
    assert format_time(moment) == "2025-12-31T23:30:00.999Z"
    with pytest.raises(DecisionSchemaError):
        format_time(moment.replace(tzinfo=None))


# --- the signature -------------------------------------------------------------------------------------------------


def test_the_known_answer_of_rfc_8037():
    """The JWS of RFC 8037, appendix A, comes out bit for bit."""
    vector = json.loads((Path(__file__).parents[1] / "vectors" / "jws.json").read_text())
    key = SigningKey.from_seed(b64url_decode(vector["seed"]))
    assert b64url_encode(key.verify_key.raw) == vector["public"]
    assert _jws.sign_parts(vector["header"].encode(), vector["payload"].encode(), key) == vector["jws"]


VECTORS = json.loads((Path(__file__).parents[1] / "vectors" / "decision.json").read_text())


@pytest.mark.parametrize("vector", VECTORS["decisions"], ids=lambda vector: vector["comment"])
def test_known_decisions(vector):
    """Known decisions are spelled and signed bit for bit, for receivers in other languages: each kind of them."""
    key = SigningKey.from_seed(b64url_decode(VECTORS["seed"]))
    assert b64url_encode(key.verify_key.raw) == VECTORS["public"]
    made = Decision.from_json(vector["json"])
    assert made.to_json() == vector["json"]
    assert sign_decision(made, key) == vector["jws"]
    assert verify_decision(vector["jws"], key.verify_key) == made
    VALIDATOR.validate(json.loads(vector["json"]))


def test_a_signed_decision_is_verified():
    """With one key, several keys or a trust store, in any number of other keys."""
    made = decision()
    jws = sign_decision(made, KEY)
    for keys in (KEY.verify_key, [OTHER.verify_key, KEY.verify_key], TrustStore([KEY.verify_key])):
        assert verify_decision(jws, keys) == made
    header = json.loads(b64url_decode(jws.split(".")[0]))
    assert header == {"alg": "EdDSA", "kid": KEY.key_id, "typ": DECISION_TYPE}
    assert len(jws) < 1000


def token(header: bytes | dict, payload: bytes | None = None, key: SigningKey = KEY) -> str:
    """A JWS of any header and payload, properly signed."""
    raw = header if isinstance(header, bytes) else json.dumps(header, separators=(",", ":")).encode()
    return _jws.sign_parts(raw, decision().to_json().encode() if payload is None else payload, key)


GOOD = {"alg": "EdDSA", "kid": KEY.key_id, "typ": DECISION_TYPE}


def test_the_good_header_is_accepted():
    """The attacks below differ from a good token in what they name, and in nothing else."""
    assert verify_decision(token(GOOD), KEY.verify_key) == decision()


@pytest.mark.parametrize(
    "header",
    [
        GOOD | {"alg": "none"},
        GOOD | {"alg": "None"},
        GOOD | {"alg": "HS256"},
        GOOD | {"alg": "ES256"},
        GOOD | {"alg": "eddsa"},
        GOOD | {"alg": None},
        GOOD | {"alg": ["EdDSA"]},
        {"kid": KEY.key_id, "typ": DECISION_TYPE},
        GOOD | {"typ": "JWT"},
        {"alg": "EdDSA", "kid": KEY.key_id},
        {"alg": "EdDSA", "typ": DECISION_TYPE},
        GOOD | {"kid": OTHER.key_id},
        GOOD | {"kid": ""},
        GOOD | {"kid": "../../etc/passwd"},
        GOOD | {"kid": KEY.key_id.upper()},
        GOOD | {"kid": 7},
        GOOD | {"crit": ["exp"], "exp": 1},
        GOOD | {"crit": []},
        GOOD | {"jwk": {"kty": "OKP", "crv": "Ed25519", "x": b64url_encode(KEY.verify_key.raw)}},
        GOOD | {"jku": "https://evil.example/keys"},
        GOOD | {"x5u": "https://evil.example/cert"},
        GOOD | {"b64": False, "crit": ["b64"]},
        GOOD | {"zip": "DEF"},
        {"typ": DECISION_TYPE, "alg": "EdDSA", "kid": KEY.key_id},  # another order
        json.dumps(GOOD).encode(),  # spaces
        b'{"alg":"none","alg":"EdDSA","kid":"%s","typ":"%s"}' % (KEY.key_id.encode(), DECISION_TYPE.encode()),
        b'{"alg":"Ed\\u0044SA","kid":"%s","typ":"%s"}' % (KEY.key_id.encode(), DECISION_TYPE.encode()),
        b"[]",
        b"null",
        b"",
        b"{",
        b"\xff",
        b"[" * 3000,
    ],
)
def test_attack_headers(header):
    """Algorithm confusion, embedded and remote keys, critical extensions, other spellings: all refused, well signed."""
    with pytest.raises(DecisionSignatureError) as caught:
        verify_decision(token(header), KEY.verify_key)
    assert caught.value.exit_code == 4
    assert caught.value.hint


def test_attack_public_key_as_hmac_secret():
    """A token whose HMAC is made with the public key, the classic confusion, is refused."""
    header = GOOD | {"alg": "HS256"}
    message = f"{b64url_encode(json.dumps(header).encode())}.{b64url_encode(decision().to_json().encode())}"
    for secret in (KEY.verify_key.raw, KEY.verify_key.to_pem()):
        mac = hmac.new(secret, message.encode(), hashlib.sha256).digest()
        with pytest.raises(DecisionSignatureError):
            verify_decision(f"{message}.{b64url_encode(mac)}", KEY.verify_key)


def test_attack_signature_removed_or_replaced():
    """Without a signature, with another's, or with one over another decision."""
    jws = sign_decision(decision(), KEY)
    head, body, _ = jws.split(".")
    other_body = sign_decision(decision(subject="mallory"), KEY).split(".")[1]
    signature = jws.split(".")[2]
    for forged in (
        f"{head}.{body}.",
        f"{head}.{body}.{'A' * 86}",
        f"{head}.{other_body}.{signature}",
        f"{head}.{body}.{sign_decision(decision(), OTHER).split('.')[2]}",
    ):
        with pytest.raises(DecisionSignatureError):
            verify_decision(forged, [KEY.verify_key, OTHER.verify_key])


@pytest.mark.parametrize(
    "change",
    [
        lambda _: "",
        lambda _: "a.b",
        lambda t: t + ".x",
        lambda t: t + "=",
        lambda t: t + "\n",
        lambda t: " " + t,
        lambda t: t.replace(".", "..", 1),
        lambda t: t[:-1],
        lambda t: t[:-1] + ("B" if t[-1] == "A" else chr(ord(t[-1]) + 1)),
        lambda t: t.replace("_", "/").replace("-", "+") + "+",
        lambda t: t + "é",
        lambda t: t.encode(),
        lambda _: None,
        lambda _: "." * 9000,
        lambda t: json.dumps({"payload": t.split(".")[1], "signatures": []}),
    ],
)
def test_attack_other_serialisations(change):
    """Padding, other alphabets, spare bits, white space, missing or further parts, the JSON serialisation: refused."""
    with pytest.raises(DecisionSignatureError):
        verify_decision(change(sign_decision(decision(), KEY)), KEY.verify_key)


def test_attack_every_character_changed():
    """Whichever character of a signed decision changes, it is refused."""
    jws = sign_decision(decision(), KEY)
    for position, character in enumerate(jws):
        for other in ("A", "x", "."):
            if other != character:
                with pytest.raises(DecisionSignatureError):
                    verify_decision(jws[:position] + other + jws[position + 1 :], KEY.verify_key)


@pytest.mark.parametrize(
    "payload",
    [
        b"",
        b"{}",
        b"null",
        b"[]",
        b"\xff",
        b"[" * 3000,
        decision().to_json().encode() + b" ",
        decision().to_json().encode() + b"{}",
        json.dumps(decision().to_dict()).encode(),
        decision().to_json().replace('"p-4711"', '"p-\\u0034711"').encode(),
        decision().to_json().replace('"schema":1', '"schema":1.0').encode(),
        decision().to_json().replace('"schema":1', '"schema":true').encode(),
        decision().to_json().replace('"schema":1,', '"schema":1,"similarity":0.93,').encode(),
        decision().to_json().replace('"outcome":"match",', '"outcome":"rejected","outcome":"match",').encode(),
        decision().to_json().replace('"p-4711"', "null").encode(),
        decision().to_json().replace('"kind":"identify",', '"kind":"identify","refers_to":null,').encode(),
        decision().to_json().replace('"sequence":7', '"sequence":NaN').encode(),
    ],
)
def test_attack_well_signed_and_not_a_decision(payload):
    """A device's signature does not make a decision of what the schema does not know, or spells it in another way."""
    with pytest.raises(DecisionSchemaError):
        verify_decision(token(GOOD, payload), KEY.verify_key)


def test_attack_a_bundles_signature_as_a_decision():
    """What is signed for a bundle, a manifest, can never be what is signed for a decision: they begin differently."""
    assert sign_decision(decision(), KEY).startswith("ey")  # a manifest starts with "{", which no base64url does
