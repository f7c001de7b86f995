"""The server answers the protocol, and nothing else: every attack that we could think of, over real sockets."""

# ruff: noqa: SIM117 - a server and what is done with it are two things

from __future__ import annotations

import contextlib
import gc
import os
import socket
import sys
import threading
import time
import tracemalloc
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

import httpx
import numpy as np
import pytest

from facegate_convert import FeatureClient
from facegate_convert._hosted import _server
from facegate_convert._hosted._accounts import Account, Failures, _digest
from facegate_convert._hosted._service import MAX_BODY
from facegate_convert._hosted._window import Window, parse_until
from facegate_edge.errors import FrameError

from ...sdk.webhook_server import Authority  # noqa: TID252
from .hosting import SIGNATURE, Hosting, Pretender, chunk, form, header, png, quick, read_reply

MARK = b"AN-IMAGE-OF-SOMEBODY"


@pytest.fixture(scope="module")
def shared_server():
    """A server without accounts, for requests that leave nothing behind."""
    with Hosting(per_minute=1_000_000, limits=quick()) as hosting:
        yield hosting


@pytest.fixture
def server(shared_server):
    """The same, with its calls forgotten."""
    shared_server.embedder.calls.clear()
    return shared_server


def account(name="tester", *, models=("door",), per_minute=1_000_000, token=None) -> Account:
    """An account whose token is its name and -token."""
    return Account(name, _digest(token or f"{name}-token"), frozenset(models), per_minute)


def with_token(token: str) -> str:
    """The header."""
    return f"Authorization: Bearer {token}\r\n"


# What is right.


def test_a_crop_gets_its_feature(server):
    """200, JSON, exactly `model_name` and `feature`; not to be kept by anybody on the way."""
    reply = server.post(form(png(40)))
    assert reply.status == 200
    assert set(reply.json()) == {"model_name", "feature"}
    assert reply.json()["model_name"] == "door"
    feature = np.array(reply.json()["feature"], np.float32)
    assert np.array_equal(feature, Pretender().embed("door", png(40)))  # to the last bit
    assert reply.headers["content-type"] == "application/json"
    assert reply.headers["cache-control"] == "no-store"
    assert "server" not in reply.headers


def test_a_crop_without_a_face_gets_an_empty_feature(server):
    """No face is an answer like others: 200 and an empty list."""
    assert server.post(form(png(7))).json() == {"model_name": "door", "feature": []}


def test_a_chunked_body_is_a_body(server):
    """Clients that do not say how long their body is are answered too."""
    body = form(png())
    pieces = b"".join(b"%x\r\n%s\r\n" % (len(part), part) for part in (body[:100], body[100:]))
    head = b"POST /features HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nTransfer-Encoding: chunked\r\n"
    reply = server.say(head + b"Content-Type: multipart/form-data; boundary=XX\r\n\r\n" + pieces + b"0\r\n\r\n")
    assert reply.status == 200


def test_many_requests_share_a_connection(server):
    """A connection is kept open for more requests, also after a refusal."""
    with httpx.Client() as client:
        for image, status in [(png(), 200), (b"GIF89a", 415), (png(), 200), (b"", 415), (png(7), 200)]:
            reply = client.post(server.url, files={"image": image}, data={"model_name": "door"})
            assert reply.status_code == status
        (connection,) = client._transport._pool.connections
        assert not connection.is_closed()


def test_requests_one_behind_the_other_are_answered_in_order(server):
    """A few requests that are sent without waiting get their answers one after the other."""
    data = b""
    for width in (20, 7, 30):
        body = form(png(width, 9))
        data += (
            b"POST /features HTTP/1.1\r\nHost: localhost\r\nContent-Type: multipart/form-data; boundary=XX\r\n"
            b"%sContent-Length: %d\r\n\r\n%s" % (b"Connection: close\r\n" if width == 30 else b"", len(body), body)
        )
    raw = server.say(data).raw
    assert raw.count(b"HTTP/1.1 200 OK") == 3
    assert raw.split(b"HTTP/1.1")[2].endswith(b'"feature":[]}')


def test_requests_at_the_same_time_get_their_own_answers():
    """Sixteen clients at once: nobody gets the feature of somebody else's crop."""
    with Hosting(per_minute=1_000_000) as hosting:

        def many(number):
            with FeatureClient(hosting.url, "door") as client:
                return [float(client.features(png(20 + number * 10 + n, 9))[0]) for n in range(10)]

        with ThreadPoolExecutor(16) as pool:
            found = list(pool.map(many, range(16)))
    expected = [[float(Pretender().embed("", png(20 + i * 10 + n, 9))[0]) for n in range(10)] for i in range(16)]
    assert found == expected


# Images.


@pytest.mark.parametrize(
    ("image", "status", "why"),
    [
        (b"\xff\xd8\xff\xe0 JPEG", 415, "JPEG"),
        (b"GIF89a" + bytes(99), 415, "no PNG"),
        (b"", 415, "no PNG"),
        (b"<svg onload=alert(1)>", 415, "no PNG"),
        (png(257, 3), 422, "256"),
        (png()[:-9], 422, "truncated"),
        (SIGNATURE + header(2**31 - 1, 2**31 - 1) + chunk(b"IEND", b""), 422, "256"),
        (png() + b"PK\3\4", 422, "follows"),
    ],
)
def test_what_is_no_crop_is_refused_with_the_reason(server, image, status, why):
    """JPEG and other types 415, a PNG that is damaged or too large 422; no model sees it."""
    reply = server.post(form(image))
    assert reply.status == status
    assert why in reply.json()["error"]
    assert not server.embedder.calls


def test_what_the_decoder_refuses_is_refused():
    """A PNG that passes the checks and cannot be decoded is the client's fault, not the server's."""

    class Picky(Pretender):
        def embed(self, _name, _data):
            raise FrameError("damaged at byte 77 of secret.png")

    with Hosting(Picky()) as hosting:
        reply = hosting.post(form())
    assert (reply.status, reply.json()) == (422, {"error": "the crop cannot be decoded"})


# Names of models.


@pytest.mark.parametrize(
    "name",
    [
        b"", b"DOOR", b"door ", b" door", b"door\0", b"door\n", b"do\xc3\xb6r", b"\xff\xfe", b"../../etc/passwd",
        b"./door", b"door/../door", b"/srv/door.fgb", b"file:///etc/passwd", b"http://127.0.0.1:1/", b"{{7*7}}",
        b"%64oor", b"door;ls", b"__class__", b"*", b"x" * 100_000,
    ],
)  # fmt: skip
def test_a_model_name_is_looked_up_and_nothing_else(server, name):
    """Whatever stands in `model_name`: it is one of the list, byte by byte, or refused, and never shown again."""
    reply = server.post(form(model_name=name))
    assert reply.status == 403
    assert len(name) < 3 or name not in reply.raw
    assert not server.embedder.calls


# Forms.


@pytest.mark.parametrize(
    ("body", "content_type", "status"),
    [
        (form(), "application/json", 415),
        (form(), "application/x-www-form-urlencoded", 415),
        (form(), "", 415),
        (form(), "multipart/form-data", 400),
        (form(), "multipart/form-data; boundary=YY", 400),
        (form(), "multipart/form-data; boundary=XX\r\nContent-Type: multipart/form-data; boundary=XX", 415),
        (b"", "multipart/form-data; boundary=XX", 400),
        (form()[:-10], "multipart/form-data; boundary=XX", 400),
        (form() + form(), "multipart/form-data; boundary=XX", 400),
        (form().replace(b'"model_name"', b'"image"'), "multipart/form-data; boundary=XX", 400),
        (form().replace(b'"model_name"', b'"other"'), "multipart/form-data; boundary=XX", 400),
        (form().replace(b'"image"', b'"Image"'), "multipart/form-data; boundary=XX", 400),
        (b"--XX\r\n" * 100_000, "multipart/form-data; boundary=XX", 400),
    ],
)
def test_what_is_no_form_is_refused(server, body, content_type, status):
    """Other types of bodies 415, forms that are broken, ambiguous or lack a field 400."""
    reply = server.post(body, content_type=content_type)
    assert reply.status == status
    assert set(reply.json()) == {"error"}
    assert not server.embedder.calls


def test_packed_bodies_are_not_unpacked(server):
    """`Content-Encoding: gzip` could be a bomb."""
    assert server.post(form(), "Content-Encoding: gzip\r\n").status == 415


# Methods, paths, HTTP itself.


@pytest.mark.parametrize("method", ["GET", "HEAD", "PUT", "DELETE", "OPTIONS", "PATCH", "TRACE", "BREW"])
def test_only_post_is_answered(server, method):
    """Every other method is refused."""
    reply = httpx.request(method, server.url)
    assert reply.status_code == 405
    assert reply.headers["allow"] == "POST"


@pytest.mark.parametrize(
    "path",
    ["/", "/features/", "/feature", "/features/x", "//features", "/features/..", "/docs", "/features%00", "/a" * 900],
)
def test_only_one_path_is_answered(server, path):
    """Other paths are not found, and nothing is redirected."""
    assert server.post(form(), path=path).status == 404


@pytest.mark.parametrize(
    "request_",
    [
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",  # TLS to a plain port
        b"hello\r\n\r\n",
        b"POST /features HTTP/1.1\r\n\r\n",  # no Host
        b"POST /features HTTP/1.1\r\nHost: localhost\r\nHost: localhost\r\nContent-Length: 0\r\n\r\n",
        b"POST /features HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n12",
        b"POST /features HTTP/1.1\r\nHost: localhost\r\nContent-Length: -1\r\n\r\n",
        b"POST /features HTTP/1.1\r\nHost: localhost\r\nContent-Length: +1\r\n\r\n1",
        b"POST /features HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: gzip\r\n\r\n",
        b"POST /features HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\nZZ\r\n",
        b"POST /features HTTP/1.1\r\nHost: localhost\r\nX y: 1\r\n\r\n",
        b"POST /features HTTP/1.1\r\nHost: localhost\r\nX: " + b"a" * 100_000,
        b"POST /" + b"a" * 100_000,
    ],
)
def test_what_is_no_request_is_refused(server, request_):
    """Malformed and ambiguous requests are told so, end the connection, and reach no model."""
    reply = server.say(request_)
    assert 400 <= reply.status < 500
    assert not server.embedder.calls


def test_a_second_request_cannot_hide_in_a_body(server):
    """With a length and chunks both said, nobody knows where the body ends: the connection ends there."""
    hidden = b"POST /features HTTP/1.1\r\nHost: localhost\r\n\r\n"
    head = b"POST /features HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\nContent-Length: %d\r\n\r\n"
    reply = server.say(head % (5 + len(hidden)) + b"0\r\n\r\n" + hidden)
    assert reply.status == 400
    assert reply.raw.count(b"HTTP/1.1 ") == 1
    assert not server.embedder.calls


def test_a_websocket_is_not_opened(server):
    """An upgrade is not part of the protocol."""
    reply = server.say(
        b"GET /features HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade, close\r\nUpgrade: websocket\r\n"
        b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n"
    )
    assert reply.status == 405


def test_nothing_of_a_request_gets_into_the_headers_of_its_answer():
    """Line ends in the path, encoded, forge no header."""
    with Hosting(accounts=[account()]) as hosting:
        reply = hosting.post(form(model_name=b"door\r\nX-Forged: 1"), path="/features/tester-token%0d%0aX-Forged:%201")
        assert reply.status == 401
        reply = hosting.post(form(model_name=b"door\r\nX-Forged: 1"), with_token("tester-token"))
        assert reply.status == 403
    assert b"X-Forged" not in reply.raw


# Size and time.


def test_a_long_body_is_refused_before_it_is_read(server):
    """A Content-Length beyond the limit is refused; a client that waits to be told to go on is not told."""
    head = "POST /features HTTP/1.1\r\nHost: localhost\r\nContent-Length: {}\r\nExpect: 100-continue\r\n\r\n"
    for length, status in ((MAX_BODY + 1, 413), (10**15, 413), (10**400, 400)):
        reply = server.say(head.format(length).encode())
        assert reply.status == status
        assert reply.headers["connection"] == "close"
        assert b"100 Continue" not in reply.raw


def test_a_client_that_waits_is_told_to_go_on(server):
    """`Expect: 100-continue` of a request that may come is answered before its body is there."""
    body = form()
    with server.connect() as connection:
        connection.sendall(
            b"POST /features HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nExpect: 100-continue\r\n"
            b"Content-Type: multipart/form-data; boundary=XX\r\nContent-Length: %d\r\n\r\n" % len(body)
        )
        assert connection.recv(4096).startswith(b"HTTP/1.1 100 ")
        connection.sendall(body)
        assert read_reply(connection).status == 200


def test_an_endless_body_ends(server):
    """A body in chunks without end is refused at the limit, and the connection is closed."""
    head = b"POST /features HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n"
    head += b"Content-Type: multipart/form-data; boundary=XX\r\n\r\n"
    sent = 0
    with server.connect() as connection:
        connection.sendall(head)
        with contextlib.suppress(ConnectionError, TimeoutError):
            while sent < 64 * MAX_BODY:
                connection.sendall(b"10000\r\n" + bytes(65536) + b"\r\n")
                sent += 65536
    assert sent < 32 * MAX_BODY  # what was on its way in buffers is more than the limit, and far from endless
    assert server.post(form()).status == 200


def test_a_refusal_is_read_by_clients_that_send_first(server):
    """A client that sends its whole body before it listens still gets the reason, not a broken connection."""
    reply = server.post(bytes(MAX_BODY - 1), content_type="application/json")
    assert (reply.status, reply.json()["error"][:4]) == (415, "send")


def test_a_slow_body_is_given_up():
    """A body that trickles is refused when its time is over, however busily it trickles."""
    with Hosting(limits=quick(body=0.4)) as hosting, hosting.connect() as connection:
        connection.sendall(
            b"POST /features HTTP/1.1\r\nHost: localhost\r\nContent-Length: 100000\r\n"
            b"Content-Type: multipart/form-data; boundary=XX\r\n\r\n"
        )
        with contextlib.suppress(ConnectionError):
            for _ in range(400):
                connection.sendall(b"-")
                time.sleep(0.005)
        assert read_reply(connection).status in (0, 408)  # 0: cut while we were still writing
        assert hosting.service.counts["408"] == 1


@pytest.mark.parametrize("start", [b"", b"POST", b"POST /features HTTP/1.1\r\nHost: localhost\r\nX: "])
def test_a_slow_head_is_cut(monkeypatch, start):
    """A connection that says nothing, or trickles headers, is cut when their time is over."""
    monkeypatch.setattr(_server, "HEAD_SECONDS", 0.3)
    with Hosting() as hosting, hosting.connect() as connection:
        connection.sendall(start)
        with contextlib.suppress(ConnectionError):
            while hosting.server.server_state.connections:
                if start:
                    connection.sendall(b"a")
                time.sleep(0.005)
            assert connection.recv(100) == b""


def test_a_client_that_runs_ahead_is_cut():
    """Requests without end by a client that waits for no answer are not gathered in memory: the connection is cut."""
    body = form()
    head = b"POST /features HTTP/1.1\r\nHost: localhost\r\nContent-Length: %d\r\n" % len(body)
    one = head + b"Content-Type: multipart/form-data; boundary=XX\r\n\r\n" + body
    with Hosting(Pretender(length=4096), per_minute=1_000_000) as hosting:
        greedy = socket.socket()
        greedy.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        greedy.settimeout(10)
        greedy.connect(("127.0.0.1", hosting.port))
        with greedy, contextlib.suppress(ConnectionError):
            for _ in range(3000):
                greedy.sendall(one)
            pytest.fail("the server took everything")
        assert hosting.post(form()).status == 200
        assert len(hosting.embedder.calls) < 100


def test_a_client_that_never_reads_its_answers_is_cut_in_time(monkeypatch):
    """Answers that pile up because nobody takes them end with the time of the request they belong to."""
    monkeypatch.setattr(_server, "MAX_AHEAD", 1 << 40)
    monkeypatch.setattr(_server, "REQUEST_SECONDS", 0.4)
    monkeypatch.setattr(_server, "IDLE_SECONDS", 0)
    monkeypatch.setattr(_server, "HEAD_SECONDS", 0.4)
    body = form()
    head = b"POST /features HTTP/1.1\r\nHost: localhost\r\nContent-Length: %d\r\n" % len(body)
    one = head + b"Content-Type: multipart/form-data; boundary=XX\r\n\r\n" + body
    with Hosting(Pretender(length=16384), per_minute=1_000_000) as hosting:
        greedy = socket.socket()
        greedy.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        greedy.settimeout(10)
        greedy.connect(("127.0.0.1", hosting.port))
        with greedy, contextlib.suppress(ConnectionError):
            for _ in range(6000):
                greedy.sendall(one)
            greedy.recv(1 << 20, socket.MSG_WAITALL)
        while hosting.server.server_state.connections:
            time.sleep(0.05)
        assert hosting.post(form()).status == 200


def test_connections_have_a_number(monkeypatch):
    """More connections than the server holds are cut at once; those that are there go on."""
    monkeypatch.setattr(_server, "MAX_CONNECTIONS", 5)
    with Hosting() as hosting, contextlib.ExitStack() as stack:
        first = [stack.enter_context(hosting.connect()) for _ in range(5)]
        more = [stack.enter_context(hosting.connect()) for _ in range(5)]
        for connection in more:
            with contextlib.suppress(ConnectionError):
                assert connection.recv(10) == b""
        body = form()
        for connection in first:
            connection.sendall(
                b"POST /features HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nContent-Length: %d\r\n"
                b"Content-Type: multipart/form-data; boundary=XX\r\n\r\n%s" % (len(body), body)
            )
            assert read_reply(connection).status == 200


# Who may ask.


@pytest.mark.parametrize(
    "headers",
    [
        "Origin: http://evil.example\r\n",
        "Origin: null\r\n",
        "Sec-Fetch-Site: cross-site\r\n",
        "X-Forwarded-For: 192.0.2.1\r\n",
        "Forwarded: for=192.0.2.1\r\n",
        "Via: 1.1 proxy\r\n",
    ],
)
def test_without_accounts_no_browser_and_no_proxy_may_ask(server, headers):
    """A page that the evaluator looks at, or a proxy on this machine, cannot use the server that trusts the machine."""
    assert server.post(form(), headers).status == 421
    assert not server.embedder.calls


@pytest.mark.parametrize(
    ("host", "status"),
    [
        ("127.0.0.1:1", 200), ("localhost", 200), ("LOCALHOST:80", 200), ("[::1]:8750", 200), ("127.9.9.9", 200),
        ("evil.example", 421), ("127.0.0.1.evil.example", 421), ("localhost.evil.example", 421), ("192.0.2.1", 421),
        ("0", 421), ("", 421), ("[::2]", 421), ("[localhost", 421),
    ],
)  # fmt: skip
def test_without_accounts_the_host_must_be_this_machine(server, host, status):
    """A name that was made to point here (DNS rebinding) is not this machine's name."""
    body = form()
    head = f"POST /features HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\nContent-Length: {len(body)}\r\n"
    reply = server.say(head.encode() + b"Content-Type: multipart/form-data; boundary=XX\r\n\r\n" + body)
    assert reply.status == status


def test_with_accounts_a_token_is_needed():
    """No token, an unknown one, another scheme, two headers: 401. The right one, in header or path: 200."""
    with Hosting(accounts=[account("a"), account("b")]) as hosting:
        assert hosting.post(form()).status == 401
        assert hosting.post(form()).headers["www-authenticate"] == "Bearer"
        assert hosting.post(form(), with_token("a-toke")).status == 401
        assert hosting.post(form(), with_token("a-token ") + with_token("b-token")).status == 401
        assert hosting.post(form(), "Authorization: Basic YS10b2tlbg==\r\n").status == 401
        assert hosting.post(form(), "Authorization: Bearer\r\n").status == 401
        assert hosting.post(form(), with_token("\xff\xfe")).status == 401
        assert hosting.post(form(), path="/features/").status == 404
        assert not hosting.embedder.calls
        assert hosting.post(form(), with_token("a-token")).status == 200
        assert hosting.post(form(), "authorization: bearer b-token\r\n").status == 200
        assert hosting.post(form(), path="/features/a-token").status == 200
        # With a token it is of no importance who passes the request on.
        assert hosting.post(form(), with_token("a-token") + "Via: 1.1 proxy\r\n").status == 200


def test_guessing_tokens_is_ended():
    """After ten wrong tokens an address has to wait, and while it does even the right one is not looked at."""
    now = [0.0]
    with Hosting(accounts=[account()], clock=lambda: now[0]) as hosting:
        statuses = [hosting.post(form(), with_token(f"guess-{n}")).status for n in range(12)]
        assert statuses == [401] * 10 + [429] * 2
        reply = hosting.post(form(), with_token("tester-token"))
        assert reply.status == 429
        assert reply.headers["retry-after"] == "6"
        # Another address is not affected.
        body = form()
        with socket.create_connection(("127.0.0.1", hosting.port), 15, source_address=("127.0.0.9", 0)) as connection:
            connection.sendall(
                b"POST /features HTTP/1.1\r\nHost: x\r\nConnection: close\r\nAuthorization: Bearer tester-token\r\n"
                b"Content-Type: multipart/form-data; boundary=XX\r\nContent-Length: %d\r\n\r\n%s" % (len(body), body)
            )
            assert read_reply(connection).status == 200
        now[0] += 6
        assert hosting.post(form(), with_token("tester-token")).status == 200


def test_every_token_is_compared_in_constant_time(monkeypatch):
    """Digests are compared with `hmac.compare_digest`, each of them, whether or not one before it was right."""
    import hmac  # noqa: PLC0415

    from facegate_convert._hosted import _accounts  # noqa: PLC0415

    seen = []
    monkeypatch.setattr(_accounts.hmac, "compare_digest", lambda a, b: seen.append(b) or a == b)
    accounts = _accounts.Accounts([account(name) for name in "abc"])
    assert accounts.find("a-token").name == "a"
    assert accounts.find("none") is None
    assert len(seen) == 6
    assert hmac is _accounts.hmac


def test_remembered_addresses_have_a_number():
    """An attacker with a network of 2^64 addresses is one; one with many networks fills no memory."""
    now = [0.0]
    failures = Failures(clock=lambda: now[0])
    for n in range(10):
        failures.add(f"2001:db8::{n:x}")
    assert failures.wait("2001:db8::ffff")
    assert not failures.wait("2001:db8:1::1")
    now[0] += 6
    assert not failures.wait("2001:db8::1")
    for n in range(5000):
        failures.add(f"10.1.{n // 256}.{n % 256}")
    assert len(failures._buckets) == 1024


def test_an_account_has_its_own_models():
    """A model that is served to somebody else is refused like one that is not there."""
    accounts = [account("a", models=["door"]), account("b", models=["gate"])]
    with Hosting(accounts=accounts, models=("door", "gate")) as hosting:
        refused = [hosting.post(form(model_name=name), with_token("a-token")) for name in (b"gate", b"nothing")]
        assert [reply.status for reply in refused] == [403, 403]
        assert refused[0].body == refused[1].body
        assert hosting.post(form(model_name=b"gate"), with_token("b-token")).status == 200


def test_an_account_has_its_own_rate():
    """Above its rate an account is told when to come again; others are not affected; waiting helps."""
    accounts = [account("a", per_minute=30), account("b")]
    now, waits = [0.0], []

    def wait(seconds):
        waits.append(seconds)
        now[0] += seconds

    with Hosting(accounts=accounts, clock=lambda: now[0]) as hosting:
        replies = [hosting.post(form(), with_token("a-token")) for _ in range(7)]
        assert [reply.status for reply in replies] == [200] * 5 + [429] * 2
        assert {reply.headers["retry-after"] for reply in replies[5:]} == {"2"}
        assert hosting.post(form(), with_token("b-token")).status == 200
        with FeatureClient(hosting.url, "door", token="a-token", wait=wait) as client:  # noqa: S106 - made up
            assert client.features(png()) is not None
    assert len(waits) == 1
    assert waits[0] >= 2


def test_one_account_cannot_take_all_places():
    """An account has so many requests in memory at a time; more wait, then are refused; other accounts go on."""
    embedder = Pretender()
    embedder.block = threading.Event()
    with Hosting(embedder, accounts=[account("a"), account("b")], limits=quick(at_once=1, turn=0.2)) as hosting:
        with ThreadPoolExecutor(4) as pool:
            first = pool.submit(hosting.post, form(), with_token("a-token"))
            while not embedder.calls:
                time.sleep(0.01)
            reply = hosting.post(form(), with_token("a-token"))
            assert reply.status == 503
            assert reply.headers["retry-after"]
            other = pool.submit(hosting.post, form(), with_token("b-token"))
            while len(embedder.calls) < 2:
                time.sleep(0.01)
            embedder.block.set()
            assert (first.result().status, other.result().status) == (200, 200)


# When.


def test_after_the_evaluation_everything_is_refused():
    """The window's end refuses all, also what came before it and is answered after it."""
    embedder = Pretender()
    with Hosting(embedder, seconds=60) as hosting:
        assert hosting.post(form()).status == 200
        embedder.block = threading.Event()
        with ThreadPoolExecutor(1) as pool:
            late = pool.submit(hosting.post, form())
            while len(embedder.calls) < 2:
                time.sleep(0.01)
            hosting.now += timedelta(seconds=60)
            embedder.block.set()
            assert late.result().status == 403
        reply = hosting.post(form())
        assert (reply.status, reply.json()) == (403, {"error": "the evaluation is over"})
        assert len(embedder.calls) == 2


def test_setting_the_clock_back_does_not_prolong_an_evaluation():
    """The window is over when its time has passed, whatever the wall clock says."""
    import datetime as dt  # noqa: PLC0415

    now, steady = [dt.datetime(2027, 1, 1, tzinfo=dt.timezone.utc)], [100.0]
    window = Window(now[0] + timedelta(hours=1), clock=lambda: now[0], steady=lambda: steady[0])
    assert not window.is_over
    now[0] -= timedelta(days=9)
    steady[0] += 3599
    assert not window.is_over
    steady[0] += 1
    assert window.is_over


@pytest.mark.parametrize(
    ("text", "hours"),
    [("8h", 8), ("90m", 1.5), ("31d", 744), ("2027-01-01T10:00:00Z", 10), ("2027-01-01T10:00+02:00", 8)],
)
def test_the_end_is_a_duration_or_a_time(text, hours):
    """What `--until` takes."""
    import datetime as dt  # noqa: PLC0415

    now = dt.datetime(2027, 1, 1, tzinfo=dt.timezone.utc)
    assert parse_until(text, now) == now + timedelta(hours=hours)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "8",
        "-8h",
        "0h",
        "32d",
        "99999d",
        "tomorrow",
        "2027-01-01T10:00:00",
        "2026-12-31T10:00:00Z",
        "2099-01-01T00:00Z",
    ],
)
def test_no_end_no_evaluation(text):
    """An end that cannot be read, lies in the past or more than 31 days away is refused."""
    import datetime as dt  # noqa: PLC0415

    with pytest.raises(ValueError):  # noqa: PT011 - whatever is wrong
        parse_until(text, dt.datetime(2027, 1, 1, tzinfo=dt.timezone.utc))


def test_a_server_that_is_stopped_answers_what_is_there():
    """Stopping waits for requests that are being worked on, and takes no new ones."""
    embedder = Pretender()
    embedder.block = threading.Event()
    with ThreadPoolExecutor(1) as pool:
        with Hosting(embedder) as hosting:
            pending = pool.submit(hosting.post, form())
            while not embedder.calls:
                time.sleep(0.01)
            hosting.server.stop()
            threading.Timer(0.3, embedder.block.set).start()
        assert pending.result().status == 200
        with pytest.raises(OSError, match="refused"):
            hosting.connect()


def test_a_client_that_holds_on_does_not_keep_a_server_from_stopping():
    """Half a request on an open connection delays the end by the time of grace, no more."""
    with Hosting() as hosting:
        connection = hosting.connect()
        connection.sendall(b"POST /features HTTP/1.1\r\nHost: localhost\r\nContent-Length: 100\r\n\r\nabc")
        time.sleep(0.1)
    connection.close()  # leaving the block has waited for the thread of the server to end


# What stays.


def test_a_bug_is_told_without_saying_anything():
    """If the models fail, the client gets 500 and a sentence, and the next request is answered."""

    class Broken(Pretender):
        def embed(self, name, data):
            super().embed(name, data)
            if len(self.calls) == 1:
                raise RuntimeError(f"secret: {data!r}")

    with Hosting(Broken()) as hosting:
        reply = hosting.post(form())
        assert reply.status == 500
        assert b"secret" not in reply.raw
        assert b"Traceback" not in reply.raw
        assert hosting.post(form()).status == 200


RECORDED: list[str] = []


def _record(event: str, arguments: tuple) -> None:
    if RECORDED and event == "open" and arguments[2] & (os.O_WRONLY | os.O_RDWR | os.O_CREAT):
        RECORDED.append(str(arguments[0]))


def test_nothing_is_written_and_nothing_is_logged(capfd, caplog, tmp_path, monkeypatch):
    """Requests of all kinds, right, wrong and broken off: no file is opened for writing, no line is said or logged."""
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    sys.addaudithook(_record)
    caplog.set_level(0)
    RECORDED.append("on")
    try:
        with Hosting(accounts=[account()], limits=quick()) as hosting:
            ask = with_token("tester-token")
            for image in (png(), png(200, 256), png() + MARK, MARK, b"\xff\xd8\xff" + MARK * 1000, MARK * 50_000):
                hosting.post(form(image), ask)
            hosting.post(form(model_name=MARK), ask)
            hosting.post(MARK * 60_000, ask)
            hosting.post(form(), with_token(MARK.decode()))
            hosting.post(form(), path="/features/" + MARK.decode())
            hosting.say(MARK + b"\r\n\r\n")
            hosting.say(
                b"POST /features HTTP/1.1\r\nHost: localhost\r\n" + ask.encode() + b"Content-Length: 999\r\n\r\n" + MARK
            )
            embed, hosting.embedder.embed = hosting.embedder.embed, None  # a bug
            assert hosting.post(form(), ask).status == 500
            hosting.embedder.embed = embed
    finally:
        written = RECORDED[1:]
        RECORDED.clear()
    assert not [name for name in written if "pytest" not in name]
    assert not list(tmp_path.iterdir())
    said = capfd.readouterr()
    assert (said.out, said.err, caplog.text) == ("", "", "")


def test_memory_stays_flat():
    """After hundreds of requests, right and wrong ones, no more memory is held than after the first hundred."""
    images = (png(250, 250), png() + bytes(50_000), b"\xff\xd8\xff")
    with Hosting(per_minute=1_000_000, limits=quick()) as hosting, httpx.Client() as client:

        def some() -> int:
            for number in range(80):
                client.post(
                    hosting.url, files={"image": images[number % 3]}, data={"model_name": ("door", "no")[number % 2]}
                )
                if number % 50 == 0:
                    hosting.say(
                        b"POST /features HTTP/1.1\r\nHost: localhost\r\nContent-Length: 9\r\n\r\n", half_close=True
                    )
            hosting.embedder.calls.clear()
            gc.collect()
            return tracemalloc.get_traced_memory()[0]

        tracemalloc.start()
        some()
        held = [some() for _ in range(3)]
        tracemalloc.stop()
    assert held[-1] - held[0] < 30_000, held  # three crops would be twenty times that


# TLS.


@pytest.mark.filterwarnings("ignore:ssl.TLSVersion")
def test_tls_with_a_token(tmp_path):
    """The client and the server over TLS, with a token; plain HTTP and old TLS get nothing."""
    import ssl  # noqa: PLC0415

    authority = Authority(tmp_path)
    context = _server.server_context(*authority.issue("server"))
    with Hosting(accounts=[account()], context=context) as hosting:
        with FeatureClient(hosting.url, "door", token="tester-token", ca=authority.path) as client:  # noqa: S106
            assert client.features(png()) is not None
        assert hosting.post(form(), with_token("tester-token")).status == 0
        old = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        old.check_hostname, old.verify_mode = False, ssl.CERT_NONE
        old.minimum_version = ssl.TLSVersion.MINIMUM_SUPPORTED
        old.maximum_version = ssl.TLSVersion.TLSv1_1
        with hosting.connect() as connection, pytest.raises(OSError):  # noqa: PT011 - whatever TLS says
            old.wrap_socket(connection)


def test_a_slow_handshake_is_cut(tmp_path, monkeypatch):
    """A connection that begins TLS and goes no further is cut."""
    monkeypatch.setattr(_server, "HANDSHAKE_SECONDS", 0.3)
    context = _server.server_context(*Authority(tmp_path).issue("server"))
    with Hosting(accounts=[account()], context=context) as hosting, hosting.connect() as connection:
        connection.sendall(b"\x16\x03\x01")
        assert read_reply(connection).status == 0


def test_counts_are_all_that_is_known_afterwards(server):
    """The operator learns how often what was answered, and nothing of whom or what."""
    server.service.counts.clear()
    server.post(form())
    server.post(form(png(7)))
    server.post(form(b"GIF"))
    assert dict(server.service.counts) == {"feature": 1, "no face": 1, "415": 1}
