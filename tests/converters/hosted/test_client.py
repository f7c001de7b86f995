"""The client against servers that behave, and servers that do not, over real sockets."""

# ruff: noqa: SIM117 - a server and what is done with it are two things

from __future__ import annotations

import json
import threading
import time

import numpy as np
import pytest

from facegate_convert import FeatureClient
from facegate_convert._hosted import _http
from facegate_convert._hosted._address import endpoint_url, read_token
from facegate_convert._hosted._form import boundary_of, parse_form
from facegate_convert.errors import (
    CropError,
    EndpointError,
    EndpointRefusedError,
    EndpointSetupError,
    EndpointTrustError,
    FeatureError,
)

from ...sdk.webhook_server import Authority, Server, answer  # noqa: TID252
from .hosting import png

SECRET = "s3cret-of-the-url"  # noqa: S105 - a made-up one
UNIT = [0.6, 0.0, -0.8]


def said(feature=UNIT, name="cloud", **more) -> bytes:
    """An answer of the protocol."""
    return json.dumps({"model_name": name, "feature": feature, **more}).encode()


def url_of(server) -> str:
    """The server's address with a secret in it."""
    return server.url.replace("/decisions", f"/v1/{SECRET}?key={SECRET}")


def ask(behave, *, image=None, attempts=1, **options):
    """One crop to a server that behaves so; the answer, the server, and how long the client would have waited."""
    waits: list[float] = []
    with (
        Server(behave) as server,
        FeatureClient(url_of(server), "cloud", attempts=attempts, wait=waits.append, **options) as client,
    ):
        return client.features(image or png()), server, waits


def in_turn(*bodies):
    """A server's behavior: each request on a connection gets the next of these complete answers."""
    left = list(bodies)

    def behave(server, connection):
        while (request := server.read(connection)) is not None:
            server.requests.append(request)
            connection.sendall(left.pop(0) if len(left) > 1 else left[0])

    return behave


def reply(status=200, body=b"", headers="") -> bytes:
    """One answer."""
    return f"HTTP/1.1 {status} X\r\nContent-Length: {len(body)}\r\n{headers}\r\n".encode() + body


def test_a_crop_is_sent_as_the_protocol_says():
    """POST, multipart/form-data, `image` as PNG and `model_name`; the feature comes back as float32."""
    image = png()
    feature, server, _ = ask(answer(200, body=said()), image=image, token="t-123")  # noqa: S106 - a made-up one
    assert feature.dtype == np.float32
    assert np.array_equal(feature, np.array(UNIT, np.float32))
    (request,) = server.requests
    assert request.line == f"POST /v1/{SECRET}?key={SECRET} HTTP/1.1"
    fields = parse_form(request.body, boundary_of(request.headers["content-type"]))
    assert fields == {"model_name": b"cloud", "image": image}
    assert b"Content-Type: image/png" in request.body
    assert request.headers["authorization"] == "Bearer t-123"
    assert request.headers["accept-encoding"] == "identity"


def test_an_empty_feature_is_no_face():
    """`"feature": []` says that the endpoint found no face."""
    assert ask(answer(200, body=said([])))[0] is None


def test_without_a_token_none_is_sent():
    """An endpoint that wants no token sees no such header."""
    assert "authorization" not in ask(answer(200, body=said()))[1].requests[0].headers


@pytest.mark.parametrize("image", [b"", b"\xff\xd8\xff\xe0 JPEG", b"BM", png(257, 3)])
def test_nothing_but_a_crop_is_ever_sent(image):
    """JPEG, other files and larger crops are refused before a connection is made."""
    with Server(answer(200, body=said())) as server, FeatureClient(server.url, "cloud") as client:
        with pytest.raises(CropError) as caught:
            client.features(image)
        assert caught.value.hint
        assert server.connections == 0


def test_nothing_of_the_file_but_its_pixels_is_sent():
    """A comment in the PNG stays here."""
    from .hosting import SIGNATURE, chunk  # noqa: PLC0415

    whole = png()
    place = len(SIGNATURE) + 25
    marked = whole[:place] + chunk(b"tEXt", b"Author\0Jane Doe") + whole[place:]
    _, server, _ = ask(answer(200, body=said()), image=marked)
    assert b"Jane" not in server.requests[0].body


WRONG = {
    "no JSON": b"<html>" + SECRET.encode(),
    "nothing": b"",
    "NaN": b'{"model_name": "cloud", "feature": [NaN]}',
    "infinite": b'{"model_name": "cloud", "feature": [1e999]}',
    "a list": b"[1]",
    "no feature": b'{"model_name": "cloud"}',
    "a feature that is null": said(None),
    "text": said("AAAA"),
    "texts": said(["1", "0"]),
    "truth": said([True, False]),
    "nested": said([[0.6], [0.8]]),
    "another model": said(name="other"),
    "no model": b'{"feature": [1.0]}',
    "not normalised": said([3.0, 4.0]),
    "all zero": said([0.0, 0.0]),
    "huge": said([10**400]),
    "too long": said([0.0] * 20_000),
    "deep": b"[" * 100_000,
    "too large": b" " * (_http.MAX_ANSWER + 1),
}


@pytest.mark.parametrize("name", WRONG)
def test_an_answer_that_is_not_the_protocols_is_refused(name):
    """Answers of the wrong kind, form, length or size are refused, and the message shows nothing of them."""
    with pytest.raises(FeatureError) as caught:
        ask(answer(200, body=WRONG[name]))
    assert SECRET not in f"{caught.value} {caught.value.hint}"


def test_packed_answers_are_not_unpacked():
    """An answer that is packed although nobody asked for it could be a bomb."""
    with pytest.raises(FeatureError):
        ask(answer(200, "Content-Encoding: gzip\r\n", said()))


def test_features_of_one_model_have_one_length():
    """A feature of another length than those before cannot be of the same model."""
    with (
        Server(in_turn(reply(body=said()), reply(body=said([1.0])))) as server,
        FeatureClient(server.url, "cloud") as client,
    ):
        client.features(png())
        with pytest.raises(FeatureError, match="length"):
            client.features(png())


@pytest.mark.parametrize("status", [408, 425, 429, 500, 502, 503, 504])
def test_what_passes_is_tried_again(status):
    """A busy server is asked again after a pause, over the same connection."""
    feature, server, waits = ask(in_turn(reply(status), reply(status), reply(body=said())), attempts=5)
    assert feature is not None
    assert (len(server.requests), len(waits), server.connections) == (3, 2, 1)


def test_pauses_grow_and_are_drawn_at_random():
    """The pause before the n-th repetition is drawn between 0 and min(30 s, 0.5 s * 2^n)."""
    waits = []
    with (
        Server(in_turn(reply(503))) as server,
        FeatureClient(server.url, "cloud", attempts=10, wait=waits.append) as client,
    ):
        with pytest.raises(EndpointError, match="503"):
            client.features(png())
    assert len(waits) == 9
    assert all(0 <= wait <= min(30, 0.5 * 2**n) for n, wait in enumerate(waits))
    assert len(set(waits)) > 5


@pytest.mark.parametrize(
    ("header", "least"),
    [
        ("Retry-After: 17\r\n", 17),
        ("Date: Wed, 21 Oct 2015 07:28:00 GMT\r\nRetry-After: Wed, 21 Oct 2015 07:28:40 GMT\r\n", 40),
        ("Retry-After: soon\r\n", 0),
        ("Retry-After: -5\r\n", 0),
        ("Retry-After: Wed, 21 Oct 2015 07:28:40 GMT\r\n", 0),
    ],
)
def test_the_server_says_when_to_come_again(header, least):
    """`Retry-After`, in seconds or as a time, is never undercut; what cannot be read is no order."""
    _, _, waits = ask(in_turn(reply(429, headers=header), reply(body=said())), attempts=2)
    assert least <= waits[0] <= least + 1


@pytest.mark.parametrize("asked", ["301", "99999999999999999999"])
def test_nobody_is_silenced_for_long(asked):
    """A server that asks for more than five minutes is given up at once."""
    with pytest.raises(EndpointError):
        ask(in_turn(reply(429, headers=f"Retry-After: {asked}\r\n"), reply(body=said())), attempts=3)


@pytest.mark.parametrize("status", [204, 301, 302, 307, 400, 401, 403, 404, 413, 415, 422, 501])
def test_what_does_not_pass_is_not_tried_again(status):
    """A refusal ends it: one request, a message with the status and a hint, and no redirect is followed."""
    with Server(in_turn(reply(status, headers="Location: https://example.com/\r\n"))) as server:
        with FeatureClient(url_of(server), "cloud", wait=pytest.fail) as client:
            with pytest.raises(EndpointRefusedError, match=str(status)) as caught:
                client.features(png())
        assert len(server.requests) == 1
    assert caught.value.hint
    assert SECRET not in f"{caught.value} {caught.value.hint} {client!r} {client.name}"


def test_a_server_that_goes_away_is_asked_again():
    """A connection that breaks off before an answer is made anew."""

    def behave(server, connection):
        server.requests.append(server.read(connection))
        if len(server.requests) > 2:
            connection.sendall(reply(body=said()))

    feature, _, waits = ask(behave, attempts=5)
    assert feature is not None
    assert len(waits) == 2


def test_an_answer_that_is_cut_off_is_asked_for_again():
    """An answer shorter than it said is none."""

    def behave(server, connection):
        server.requests.append(server.read(connection))
        whole = reply(body=said())
        connection.sendall(whole if len(server.requests) > 1 else whole[:-5])

    feature, server, _ = ask(behave, attempts=3)
    assert feature is not None
    assert len(server.requests) == 2


def test_a_chunked_answer_is_read():
    """An answer in chunks is an answer."""
    body = said()
    pieces = b"".join(b"%x\r\n%s\r\n" % (len(part), part) for part in (body[:9], body[9:]))
    whole = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + pieces + b"0\r\n\r\n"
    assert ask(in_turn(whole))[0] is not None


def test_an_endless_line_of_a_chunk_is_not_gathered():
    """A chunk whose length has no end is no HTTP, and is given up after some kilobytes."""

    def behave(server, connection):
        server.read(connection)
        connection.sendall(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
        while not server.over.is_set():
            connection.sendall(b"1" * 65536)

    with pytest.raises(EndpointError):
        ask(behave, timeout=20)


def test_a_client_can_be_stopped_while_it_asks_or_waits():
    """Another thread ends a request that is not answered, and the pause before the next."""
    for behave in (lambda server, connection: server.read(connection) and server.over.wait(30), answer(503)):
        with Server(behave) as server, FeatureClient(server.url, "cloud", timeout=60) as client:
            stopper = threading.Timer(0.3, client.stop)
            stopper.start()
            with pytest.raises(EndpointError):
                client.features(png())
            with pytest.raises(EndpointError, match="any more"):
                client.features(png())


def test_nobody_there_is_an_error_of_its_own():
    """A port without a server: an error that names host and port and nothing else of the address."""
    with Server() as server:
        pass
    with FeatureClient(url_of(server), "cloud", attempts=3, wait=lambda _: None) as client:
        with pytest.raises(EndpointError, match="cannot be reached") as caught:
            client.features(png())
    assert SECRET not in f"{caught.value} {caught.value.hint}"
    assert caught.value.__context__ is None or caught.value.__suppress_context__


@pytest.mark.parametrize("start", [b"", b"HTTP/1.1 200 OK\r\n", b"HTTP/1.1 200 OK\r\nContent-Length: 9999\r\n\r\n"])
def test_a_server_that_trickles_holds_nobody(start):
    """A byte now and then, in headers or body, ends when the time for all of the request is over."""

    def behave(server, connection):
        server.read(connection)
        connection.sendall(start)
        while not server.over.is_set():
            connection.sendall(b"x: y\r\n")
            time.sleep(0.05)

    with pytest.raises(EndpointError):
        ask(behave, timeout=0.5)


@pytest.mark.parametrize(
    "url",
    [
        "", "cloud", "ftp://a/", "http://example.com/", "http://192.0.2.1/", "http://127.0.0.1.evil.example/",
        "https://", "https://user:pass@example.com/", "https://example.com:0/", "https://example.com:99999/",
        "https://example.com/#x", "https://exa mple.com/", "https://example.com/\r\nX: 1", "https://[::1/",
        "https://example.com/\u00e9",
    ],
)  # fmt: skip
def test_addresses_that_cannot_be_used_are_refused(url):
    """Anything but https, or http on this machine, and anything that could smuggle a header, is refused unseen."""
    with pytest.raises(EndpointSetupError) as caught:
        FeatureClient(url, "cloud")
    assert "user:pass" not in f"{caught.value} {caught.value.hint}"


@pytest.mark.parametrize("name", ["", "a\nb", "x" * 200])
def test_names_that_no_model_has_are_refused(name):
    """A model's name is a short printable text."""
    with pytest.raises(EndpointSetupError):
        FeatureClient("https://example.com/", name)


@pytest.mark.parametrize("token", ["", "two words", "line\r\nX: 1", "\u00e9", "x" * 2000])
def test_tokens_cannot_carry_headers(token):
    """A token is one word of printable ASCII."""
    with pytest.raises(EndpointSetupError):
        FeatureClient("https://example.com/", "cloud", token=token)


def test_a_model_name_cannot_forge_a_part():
    """Whatever characters are in the model's name, the form has two parts."""
    name = 'a"; filename="x'
    with Server(answer(200, body=said(name=name))) as server, FeatureClient(server.url, name) as client:
        assert client.features(png()) is not None
        request = server.requests[0]
    assert parse_form(request.body, boundary_of(request.headers["content-type"]))["model_name"].decode() == name


def test_tls_is_verified(tmp_path):
    """A certificate of the named authority is accepted; of another, of another host, or none, it is not."""
    ours, other = Authority(tmp_path, "ours"), Authority(tmp_path, "other")
    with Server(answer(200, body=said()), ours.server_context()) as server:
        with FeatureClient(server.url, "cloud", ca=ours.path) as client:
            assert client.features(png()) is not None
        for ca in (other.path, None):
            with FeatureClient(server.url, "cloud", ca=ca, wait=pytest.fail) as client:
                with pytest.raises(EndpointTrustError):
                    client.features(png())
    with Server(answer(200, body=said()), ours.server_context("elsewhere", hosts=("example.com",))) as server:
        with FeatureClient(server.url, "cloud", ca=ours.path, wait=pytest.fail) as client:
            with pytest.raises(EndpointTrustError):
                client.features(png())
        assert not server.requests


def test_secrets_come_from_the_environment_or_private_files(tmp_path, monkeypatch):
    """The address from the option or the environment, the token from the environment or a file of mode 0600."""
    monkeypatch.delenv("FACEGATE_ENDPOINT", raising=False)
    monkeypatch.delenv("FACEGATE_ENDPOINT_TOKEN", raising=False)
    with pytest.raises(EndpointSetupError):
        endpoint_url(None)
    assert read_token(None) is None
    monkeypatch.setenv("FACEGATE_ENDPOINT", "https://a/")
    monkeypatch.setenv("FACEGATE_ENDPOINT_TOKEN", "env")
    assert (endpoint_url(None), endpoint_url("https://b/"), read_token(None)) == ("https://a/", "https://b/", "env")
    path = tmp_path / "token"
    path.write_text("from-a-file\n")
    path.chmod(0o600)
    assert read_token(path) == "from-a-file"
    path.chmod(0o640)
    with pytest.raises(EndpointSetupError, match="other users"):
        read_token(path)
