"""Sinks: what leaves the device, how the receiver knows it, and what a hostile receiver can do about it: nothing."""

from __future__ import annotations

import base64
import contextlib
import errno
import hashlib
import hmac
import io
import json
import os
import socket
import struct
import sys
import time
from datetime import datetime, timedelta, timezone

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import BestAvailableEncryption, Encoding, PrivateFormat

from facegate import SignedDecision, verify_decision
from facegate._sinks import _webhook
from facegate._sinks._json_lines import JsonLinesSink
from facegate._sinks._webhook import (
    ClientCertificate,
    WebhookSink,
    load_webhook_secrets,
    parse_webhook_secrets,
    sign_request,
)
from facegate.errors import (
    CommandUnavailableError,
    DecisionSchemaError,
    SinkClosedError,
    SinkError,
    SinkRefusedError,
    SinkSetupError,
)

from .store.audit_log import DEVICE
from .store.decisions import make_signed
from .webhook_server import Authority, Server, answer

SECRET = bytes(range(32))
TEXT = "whsec_" + base64.b64encode(SECRET).decode()


# --- JSON lines ------------------------------------------------------------------------------------------------------


def test_a_file_gets_one_line_for_each_decision(tmp_path):
    """JSON with the decision to read and its signed text to verify; only the owner can read the file."""
    path = tmp_path / "decisions.jsonl"
    signed = [make_signed(1), make_signed(2)]
    with JsonLinesSink(path) as sink:
        for one in signed:
            sink.deliver(one)
    lines = [json.loads(line) for line in path.read_text(encoding="ascii").splitlines()]
    assert [verify_decision(line["jws"], DEVICE.verify_key) for line in lines] == [one.decision for one in signed]
    assert [line["decision"] for line in lines] == [one.decision.to_dict() for one in signed]
    assert path.stat().st_mode & 0o777 == 0o600
    assert sink.name == str(path)


def test_a_file_that_is_there_is_continued(tmp_path):
    """Appended to, never overwritten."""
    path = tmp_path / "decisions.jsonl"
    for number in (1, 2):
        with JsonLinesSink(path) as sink:
            sink.deliver(make_signed(number))
    assert [json.loads(line)["decision"]["sequence"] for line in path.read_text().splitlines()] == [1, 2]


def test_a_line_that_a_power_loss_cut_off_is_ended(tmp_path):
    """A reader skips that one line, not the next as well."""
    path = tmp_path / "decisions.jsonl"
    path.touch(0o600)
    path.write_text('{"decision":{"sch')
    with JsonLinesSink(path) as sink:
        sink.deliver(make_signed(1))
        sink.deliver(make_signed(2))
    torn, *lines = path.read_text().splitlines()
    assert torn == '{"decision":{"sch'
    assert [json.loads(line)["decision"]["sequence"] for line in lines] == [1, 2]


@pytest.mark.parametrize("call", ["write", "fsync"])
def test_a_line_that_cannot_be_written_is_taken_back(tmp_path, monkeypatch, call):
    """No space, an I/O error: nothing half-written stays, and the next attempt writes it once."""
    path = tmp_path / "decisions.jsonl"
    with JsonLinesSink(path) as sink:
        sink.deliver(make_signed(1))
        before = path.read_bytes()
        write = os.write

        def fail(descriptor, data=b""):
            if data:
                write(descriptor, data[:10])
            raise OSError(errno.ENOSPC, "No space left on device")

        with monkeypatch.context() as patch:
            patch.setattr(os, call, fail)
            with pytest.raises(SinkError, match="No space left"):
                sink.deliver(make_signed(2))
        assert path.read_bytes() == before
        sink.deliver(make_signed(2))
    assert path.read_text().count("\n") == 2


def test_a_line_that_can_neither_be_written_nor_taken_back_swallows_no_other(tmp_path, monkeypatch):
    """A failing medium: the next decision does not continue the broken line, where no reader would find it."""
    path = tmp_path / "decisions.jsonl"
    with JsonLinesSink(path) as sink:
        sink.deliver(make_signed(1))
        write = os.write

        def fail(descriptor, data):
            if not isinstance(data, int):
                write(descriptor, data[:10])
            raise OSError(errno.EIO, "Input/output error")

        with monkeypatch.context() as patch:
            patch.setattr(os, "write", fail)
            patch.setattr(os, "ftruncate", fail)
            with pytest.raises(SinkError, match="Input/output error"):
                sink.deliver(make_signed(2))
        sink.deliver(make_signed(2))
        sink.deliver(make_signed(3))
    first, broken, *others = path.read_text().splitlines()
    assert len(broken) == 10
    assert [json.loads(line)["decision"]["sequence"] for line in (first, *others)] == [1, 2, 3]


def test_a_file_that_was_moved_away_is_begun_anew(tmp_path):
    """As logrotate does it."""
    path = tmp_path / "decisions.jsonl"
    with JsonLinesSink(path) as sink:
        sink.deliver(make_signed(1))
        path.rename(tmp_path / "old.jsonl")
        sink.deliver(make_signed(2))
        path.unlink()
        sink.deliver(make_signed(3))
    assert [json.loads(line)["decision"]["sequence"] for line in path.read_text().splitlines()] == [3]
    assert (tmp_path / "old.jsonl").read_text().count("\n") == 1


def test_a_file_that_was_exchanged_for_a_link_is_not_followed(tmp_path):
    """Also in the middle of its life."""
    path = tmp_path / "decisions.jsonl"
    with JsonLinesSink(path) as sink:
        path.unlink()
        path.symlink_to(tmp_path / "elsewhere")
        with pytest.raises(SinkError):
            sink.deliver(make_signed(1))
    assert not (tmp_path / "elsewhere").exists()


@pytest.mark.parametrize(
    "make",
    [
        pytest.param(lambda p: p.mkdir(), id="a folder"),
        pytest.param(os.mkfifo, id="a named pipe"),
        pytest.param(lambda p: p.symlink_to(p.with_name("other")), id="a link"),
        pytest.param(lambda p: (p.touch(), p.chmod(0o644)), id="a file that everybody may read"),
        pytest.param(lambda p: (p.touch(), p.chmod(0o620)), id="a file that a group may change"),
    ],
)
def test_a_file_that_others_share_or_that_is_none_is_refused(tmp_path, make):
    """When the sink is made, with what to do about it."""
    path = tmp_path / "decisions.jsonl"
    make(path)
    with pytest.raises(SinkSetupError) as caught:
        JsonLinesSink(path)
    assert caught.value.hint


def test_a_file_that_somebody_else_laid_ready_is_refused(tmp_path, monkeypatch):
    """In a folder like /tmp another user could make the file first, and read what the gate writes."""
    path = tmp_path / "decisions.jsonl"
    path.touch(0o600)
    monkeypatch.setattr(os, "geteuid", lambda: path.stat().st_uid + 1)
    with pytest.raises(SinkSetupError, match="belongs to another user"):
        JsonLinesSink(path)
    path.unlink()
    JsonLinesSink(path).close()


def test_a_missing_folder_is_refused(tmp_path):
    """Nothing is made on the way."""
    with pytest.raises(SinkSetupError):
        JsonLinesSink(tmp_path / "none" / "decisions.jsonl")


def test_two_processes_do_not_write_to_one_file(tmp_path):
    """Their lines would mix."""
    path = tmp_path / "decisions.jsonl"
    with JsonLinesSink(path), pytest.raises(SinkSetupError, match="another process"):
        JsonLinesSink(path)
    JsonLinesSink(path).close()


def test_a_stream_gets_lines_at_once():
    """Text or bytes; it stays open."""
    for stream in (io.StringIO(), io.BytesIO()):
        with JsonLinesSink(stream) as sink:
            sink.deliver(make_signed(1))
        assert json.loads(stream.getvalue())["decision"]["sequence"] == 1
        assert not stream.closed
        assert sink.name == "stream"


def test_a_reader_that_has_gone_is_told_apart():
    """It will not come back: waiting would be in vain."""
    reading, writing = os.pipe()
    os.close(reading)
    with open(writing, "wb", buffering=0) as stream, pytest.raises(SinkClosedError) as caught:  # noqa: PTH123
        JsonLinesSink(stream).deliver(make_signed(1))
    assert caught.value.exit_code == 141
    with pytest.raises(SinkClosedError):
        JsonLinesSink(stream).deliver(make_signed(1))


def test_a_stream_without_room_is_an_error():
    """The device of that name always is."""
    with open("/dev/full", "wb", buffering=0) as stream, pytest.raises(SinkError, match="No space"):  # noqa: PTH123
        JsonLinesSink(stream).deliver(make_signed(1))


# --- what a sink takes -----------------------------------------------------------------------------------------------


class Wider(SignedDecision):
    """Could carry more out."""


@pytest.fixture(params=["stream", "file", "webhook"])
def any_sink(request, tmp_path):
    """Each kind of sink, and a function that says what has left the device by it."""
    if request.param == "stream":
        stream = io.StringIO()
        yield JsonLinesSink(stream), stream.getvalue
    elif request.param == "file":
        path = tmp_path / "out.jsonl"
        with JsonLinesSink(path) as sink:
            yield sink, path.read_text
    else:
        with Server() as server, plain(server) as sink:
            yield sink, lambda: "".join(request.body.decode() for request in server.requests)


@pytest.mark.parametrize(
    "thing",
    [
        None,
        "text",
        make_signed().decision,
        make_signed().jws,
        {"decision": make_signed().decision.to_dict(), "jws": make_signed().jws},
        Wider(make_signed().decision, make_signed().jws),
    ],
    ids=lambda thing: type(thing).__name__,
)
def test_a_sink_takes_exactly_a_signed_decision(any_sink, thing):
    """Anything else is a TypeError, and nothing leaves."""
    sink, left = any_sink
    with pytest.raises(TypeError):
        sink.deliver(thing)
    assert left() == ""


def test_a_sink_takes_no_decision_that_holds_something_else(any_sink):
    """Halves that differ, another payload, a field that was changed in the frozen object: nothing leaves."""
    sink, left = any_sink
    changed = make_signed(3)
    object.__setattr__(changed.decision, "subject", "0.83")
    header, payload, signature = make_signed(1).jws.split(".")
    for decision, jws in (
        (make_signed(1).decision, make_signed(2).jws),
        (changed.decision, changed.jws),
        ({"similarity": 0.83}, make_signed(1).jws),
        (make_signed(1).decision, f'{header}.{payload}."{signature}'),
        (make_signed(1).decision, f"{header}.{payload}.{signature}.more"),
    ):
        with pytest.raises(DecisionSchemaError):
            sink.deliver(SignedDecision(decision, jws))
    assert left() == ""


# --- the webhook, friendly -------------------------------------------------------------------------------------------


def plain(server, **options) -> WebhookSink:
    """A webhook over plain HTTP to a server of this machine."""
    return WebhookSink(server.url, **({"secrets": [SECRET], "allow_loopback_http": True, "timeout": 10.0} | options))


@pytest.fixture(scope="session")
def authority(tmp_path_factory) -> Authority:
    """Whom the device trusts."""
    return Authority(tmp_path_factory.mktemp("authority"))


@pytest.fixture(scope="session")
def stranger(tmp_path_factory) -> Authority:
    """Whom it does not."""
    return Authority(tmp_path_factory.mktemp("stranger"), "stranger")


def test_a_decision_is_posted_and_signed(clock, authority):
    """Over TLS, with the id for deduplication, a time and an HMAC; the receiver needs nothing else to check it."""
    signed = make_signed(7)
    with Server(context=authority.server_context()) as server:
        sink = WebhookSink(server.url + "?a=b", secrets=[SECRET], ca=authority.path, clock=clock)
        with sink:
            sink.deliver(signed)
        request = server.requests[0]
    assert request.line == "POST /decisions?a=b HTTP/1.1"
    assert request.headers["webhook-id"] == signed.decision.id
    assert request.headers["webhook-timestamp"] == str(int(clock.now().timestamp()))
    assert request.headers["content-type"] == "application/json"
    content = f"{signed.decision.id}.{request.headers['webhook-timestamp']}.".encode() + request.body
    mac = hmac.new(SECRET, content, hashlib.sha256).digest()
    assert request.headers["webhook-signature"] == "v1," + base64.b64encode(mac).decode()
    body = json.loads(request.body)
    assert body.keys() == {"decision", "jws"}
    assert verify_decision(body["jws"], DEVICE.verify_key) == signed.decision
    assert sink.name == f"127.0.0.1:{server.port}"


def test_the_signature_is_that_of_the_specification():
    """The example of the Standard Webhooks specification."""
    secrets = parse_webhook_secrets("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")
    header = sign_request(secrets, "msg_p5jXN8AQM9LWM0D4loKWxJek", 1614265330, b'{"test": 2432232314}')
    assert header == "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="


def test_while_a_secret_is_replaced_both_sign():
    """A receiver that knows either one accepts."""
    with Server() as server, plain(server, secrets=[SECRET, SECRET[::-1]]) as sink:
        sink.deliver(make_signed(1))
        one, other = server.requests[0].headers["webhook-signature"].split()
    assert one != other
    assert all(part.startswith("v1,") for part in (one, other))


def test_one_connection_serves_many_decisions():
    """A handshake for each would cost more than all the rest; one that the server has ended is replaced."""
    with Server() as server, plain(server) as sink:
        for number in range(1, 6):
            sink.deliver(make_signed(number))
        assert (len(server.requests), server.connections) == (5, 1)

    def once(server, connection):
        server.requests.append(server.read(connection))
        connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok")

    with Server(once) as server, plain(server) as sink:
        for number in range(1, 4):
            sink.deliver(make_signed(number))
        assert (len(server.requests), server.connections) == (3, 3)


@pytest.mark.parametrize("status", [200, 201, 202, 204, 299])
def test_any_success_is_a_receipt(status):
    """2xx, as HTTP says."""
    with Server(answer(status)) as server, plain(server) as sink:
        sink.deliver(make_signed(1))


def test_a_device_shows_its_certificate(authority):
    """Mutual TLS: with it no secret is needed; without it a server that asks for one is not served."""
    certificate, key = authority.issue("device", client=True)
    context = authority.server_context("mutual", clients=authority)
    with Server(context=context) as server:
        with WebhookSink(server.url, client=ClientCertificate(certificate, key), ca=authority.path) as sink:
            sink.deliver(make_signed(1))
        assert server.requests[0].client == "device"
        assert "webhook-signature" not in server.requests[0].headers
        with (
            WebhookSink(server.url, secrets=[SECRET], ca=authority.path, timeout=10) as sink,
            pytest.raises(SinkError),
        ):
            sink.deliver(make_signed(1))
        assert len(server.requests) == 1


# --- the webhook, hostile --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("hosts", [("example.com",), ("127.0.0.2",)])
def test_a_certificate_for_another_host_is_not_trusted(authority, hosts):
    """However good it is otherwise: the request is never sent."""
    with Server(context=authority.server_context("other", hosts=hosts)) as server:
        with WebhookSink(server.url, secrets=[SECRET], ca=authority.path) as sink, pytest.raises(SinkRefusedError):
            sink.deliver(make_signed(1))
        assert server.requests == []


def test_a_certificate_of_a_stranger_is_not_trusted(authority, stranger):
    """Neither with an authority of one's own, nor with those of the system."""
    with Server(context=stranger.server_context()) as server:
        for ca in (authority.path, None):
            with (
                WebhookSink(server.url, secrets=[SECRET], ca=ca) as sink,
                pytest.raises(SinkRefusedError, match="not trusted") as caught,
            ):
                sink.deliver(make_signed(1))
            assert "--ca" in caught.value.hint
        assert server.requests == []


@pytest.mark.parametrize("days", [(-10, -1), (1, 10)])
def test_a_certificate_that_does_not_count_today_is_not_trusted(authority, days):
    """Expired, or not valid yet."""
    with Server(context=authority.server_context("dated", days=days)) as server:
        with WebhookSink(server.url, secrets=[SECRET], ca=authority.path) as sink, pytest.raises(SinkRefusedError):
            sink.deliver(make_signed(1))
        assert server.requests == []


def test_a_server_without_tls_gets_nothing(authority):
    """Nor one that speaks an old version of it."""
    with Server() as server:
        with (
            WebhookSink(
                server.url.replace("http:", "https:"), secrets=[SECRET], ca=authority.path, timeout=1.0
            ) as sink,
            pytest.raises(SinkError),
        ):
            sink.deliver(make_signed(1))
        assert server.requests == []


def test_an_https_server_that_is_spoken_to_in_plain_gets_no_decision_taken(authority):
    """A wrong scheme is an error, not a success."""
    with (
        Server(context=authority.server_context()) as server,
        WebhookSink(server.url.replace("https:", "http:"), secrets=[SECRET], allow_loopback_http=True) as sink,
        pytest.raises(SinkError),
    ):
        sink.deliver(make_signed(1))


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_no_redirect_is_followed(status):
    """A decision goes where the operator sent it, and nowhere else."""
    with Server() as other, Server(answer(status, f"Location: {other.url}\r\n")) as server:
        with plain(server) as sink, pytest.raises(SinkRefusedError, match="redirect"):
            sink.deliver(make_signed(1))
        assert (len(server.requests), other.requests) == (1, [])


@pytest.mark.parametrize("status", [400, 401, 403, 404, 409, 410, 413, 422])
def test_a_receiver_that_does_not_want_it_is_told_apart(status):
    """Somebody must change something; the decision waits all the same."""
    with Server(answer(status)) as server, plain(server) as sink:
        with pytest.raises(SinkRefusedError, match=str(status)) as caught:
            sink.deliver(make_signed(1))
        assert caught.value.hint


@pytest.mark.parametrize("status", [408, 425, 429, 500, 502, 503, 504, 599])
def test_a_receiver_that_cannot_now_is_asked_again(status):
    """It is no refusal, and says how long to wait."""
    with Server(answer(status, "Retry-After: 17\r\n")) as server, plain(server) as sink:
        with pytest.raises(SinkError, match=str(status)) as caught:
            sink.deliver(make_signed(1))
        assert type(caught.value) is SinkError
        assert caught.value.retry_after == 17


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("0", 0),
        ("120", 120),
        (" 120 ", 120),
        ("9" * 400, float("inf")),
        ("-5", None),
        ("1.5", None),
        ("soon", None),
        ("\xb2", None),
        ("", None),
        ("Sun, 01 Mar 2026 12:01:30 GMT", 89),
        ("Sun, 01 Mar 2020 12:00:00 GMT", 0),
        ("Sun, 99 Mar 2026 12:00:00 GMT", None),
        ("Sun, 01 Mar 99999 12:00:00 GMT", None),
    ],
)
def test_how_long_to_wait_is_understood_in_both_forms(clock, text, seconds):
    """Seconds or a date; what is neither is no wish, and no crash."""
    with Server(answer(503, f"Retry-After: {text}\r\n")) as server, plain(server, clock=clock) as sink:
        with pytest.raises(SinkError) as caught:
            sink.deliver(make_signed(1))
        found = caught.value.retry_after
    assert found is None if seconds is None else found in (seconds, pytest.approx(seconds, abs=1))


def test_a_date_to_wait_for_is_read_by_the_server_s_own_clock(clock):
    """The device's may be years off."""
    now = datetime(2031, 5, 4, 3, 2, 1, tzinfo=timezone.utc)
    form = "%a, %d %b %Y %H:%M:%S GMT"
    headers = f"Date: {now:{form}}\r\nRetry-After: {now + timedelta(seconds=40):{form}}\r\n"
    with Server(answer(503, headers)) as server, plain(server, clock=clock) as sink:
        with pytest.raises(SinkError) as caught:
            sink.deliver(make_signed(1))
        assert caught.value.retry_after == 40


def reset(server, connection):
    """Answers with a reset."""
    server.read(connection)
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


def hang_up(server, connection):
    """Reads and goes."""
    server.read(connection)


def silent(server, connection):
    """Reads and says nothing."""
    server.read(connection)
    server.over.wait(60)


def drip(*pieces: bytes):
    """Says something without end, a piece at a time."""

    def behave(server, connection):
        server.read(connection)
        connection.sendall(pieces[0])
        while not server.over.wait(0.02):
            connection.sendall(pieces[1])

    return behave


def flood(*pieces: bytes):
    """Says something without end, as fast as it can."""

    def behave(server, connection):
        server.read(connection)
        connection.sendall(pieces[0])
        while not server.over.is_set():
            connection.sendall(pieces[1] * 1000)

    return behave


def says(data: bytes):
    """Says just that."""

    def behave(server, connection):
        server.read(connection)
        connection.sendall(data)

    return behave


@pytest.mark.parametrize(
    "behave",
    [
        pytest.param(reset, id="a reset"),
        pytest.param(hang_up, id="no answer"),
        pytest.param(silent, id="silence"),
        pytest.param(drip(b"", b"H"), id="a status line without end, slowly"),
        pytest.param(drip(b"HTTP/1.1 200 OK\r\n", b"a: b\r\n"), id="headers without end, slowly"),
        pytest.param(drip(b"HTTP/1.1 200 OK\r\nx: ", b"y"), id="a header without end, slowly"),
        pytest.param(drip(b"", b"HTTP/1.1 100 Continue\r\n\r\n"), id="100 Continue without end, slowly"),
        pytest.param(flood(b"", b"HTTP/1.1 100 Continue\r\n\r\n"), id="100 Continue without end"),
        pytest.param(flood(b"", b"x"), id="a status line without end"),
        pytest.param(flood(b"HTTP/1.1 200 OK\r\n", b"a: b\r\n"), id="headers without end"),
        pytest.param(flood(b"HTTP/1.1 200 OK\r\nx: ", b"y"), id="a header without end"),
        pytest.param(says(b"HTTP/1.1"), id="half a status line"),
        pytest.param(says(b"SSH-2.0-OpenSSH\r\n"), id="another protocol"),
        pytest.param(says(b"HTTP/1.1 two hundred OK\r\n\r\n"), id="a status that is no number"),
        pytest.param(says(b"HTTP/1.1 99999 OK\r\n\r\n"), id="a status that is none"),
        pytest.param(says(bytes(range(256))), id="bytes"),
    ],
)
def test_a_server_that_does_not_answer_properly_is_an_error(behave):
    """None of them holds the device for longer than the timeout, and none counts as a receipt."""
    with Server(behave) as server, plain(server, timeout=0.7) as sink:
        with pytest.raises(SinkError) as caught:
            sink.deliver(make_signed(1))
        assert not isinstance(caught.value, SinkRefusedError)


@pytest.mark.parametrize(
    "behave",
    [
        pytest.param(flood(b"HTTP/1.1 200 OK\r\nContent-Length: 999999999999\r\n\r\n", b"x"), id="a huge answer"),
        pytest.param(flood(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", b"1\r\nx\r\n"), id="chunks"),
        pytest.param(flood(b"HTTP/1.1 200 OK\r\n\r\n", b"x"), id="an answer without end"),
        pytest.param(drip(b"HTTP/1.1 200 OK\r\nContent-Length: 9999\r\n\r\n", b"x"), id="a slow answer"),
        pytest.param(says(b"HTTP/1.1 200 OK\r\nContent-Length: 9999\r\n\r\nx"), id="half an answer"),
        pytest.param(
            says(b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: 3\r\n\r\n\x1f\x8b\x08"), id="bad gzip"
        ),
        pytest.param(says(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzzzz\r\n"), id="chunks that are none"),
    ],
)
def test_what_follows_a_receipt_does_not_matter(behave):
    """The status is the receipt; of the rest at most 64 KiB is read, nothing is unpacked, and the next one works."""
    with Server(behave) as server, plain(server, timeout=0.7) as sink:
        sink.deliver(make_signed(1))
        server.behave = answer()
        sink.deliver(make_signed(2))
        assert len(server.requests) == 1


def test_a_kept_connection_that_the_server_ends_is_no_failure():
    """It closes it when the next request is under way: that one goes over a new connection, once."""

    def forgetful(server, connection):
        server.read(connection)
        connection.sendall(b"HTTP/1.1 204 Done\r\n\r\n")
        server.read(connection)  # and no answer to this one

    with Server(forgetful) as server, plain(server) as sink:
        for number in (1, 2, 3):
            sink.deliver(make_signed(number))
        assert server.connections == 3
        server.behave = hang_up
        with pytest.raises(SinkError):
            sink.deliver(make_signed(4))
        assert server.connections == 4


def test_a_handshake_without_end_is_an_error(authority):
    """A server that accepts and says nothing of TLS, or says it byte by byte."""

    def handshake(server, connection):
        connection.sendall(b"\x16\x03\x03\x40\x00")
        while not server.over.wait(0.02):
            connection.sendall(b"\x00")

    for behave in (silent, handshake):
        with (
            Server(behave) as server,
            WebhookSink(
                server.url.replace("http:", "https:"),
                secrets=[SECRET],
                ca=authority.path,
                timeout=0.7,
                connect_timeout=0.7,
            ) as sink,
            pytest.raises(SinkError),
        ):
            sink.deliver(make_signed(1))


def test_a_server_that_is_not_there_is_an_error(authority):
    """Nobody listens; or there is no such host."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    for host in ("127.0.0.1", "no-such-host.invalid"):
        with (
            WebhookSink(f"https://{host}:{port}/", secrets=[SECRET], ca=authority.path) as sink,
            pytest.raises(SinkError, match="cannot be reached"),
        ):
            sink.deliver(make_signed(1))


def test_a_proxy_in_the_environment_is_not_used(monkeypatch):
    """Decisions go to the receiver, and to nobody in between."""
    with Server() as proxy, Server() as server:
        for name in ("HTTP_PROXY", "http_proxy", "HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy"):
            monkeypatch.setenv(name, f"http://127.0.0.1:{proxy.port}")
        with plain(server) as sink:
            sink.deliver(make_signed(1))
        assert (len(server.requests), proxy.requests) == (1, [])


def test_the_session_s_keys_are_written_nowhere(authority, tmp_path, monkeypatch):
    """SSLKEYLOGFILE is for debugging browsers."""
    monkeypatch.setenv("SSLKEYLOGFILE", str(tmp_path / "keys"))
    with Server(context=authority.server_context()) as server:
        with WebhookSink(server.url, secrets=[SECRET], ca=authority.path) as sink:
            sink.deliver(make_signed(1))
        assert len(server.requests) == 1
    assert not (tmp_path / "keys").exists()


def test_no_error_shows_the_address_or_the_secret():
    """The path or the query of a webhook can be a secret itself; a log is not the place for it."""
    hidden = "hidden-path"
    for behave in (reset, silent, answer(404), answer(302), answer(503), says(b"x")):
        with Server(behave) as server:
            sink = plain(server, timeout=0.5)
            sink = WebhookSink(
                f"http://127.0.0.1:{server.port}/{hidden}", secrets=[SECRET], allow_loopback_http=True, timeout=0.5
            )
            with sink, pytest.raises(SinkError) as caught:
                sink.deliver(make_signed(1))
            shown = [str(caught.value), caught.value.hint, repr(sink), sink.name]
            chain = caught.value
            while chain is not None and not chain.__suppress_context__:
                shown.append(repr(chain))
                chain = chain.__context__
            assert hidden not in " ".join(shown)
            assert TEXT not in " ".join(shown)


# --- how a webhook is set up -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "url",
    [
        "",
        "decisions",
        "ftp://example.com/",
        "http://example.com/hook",
        "http://192.0.2.1/hook",
        "https:///hook",
        "https://user@example.com/",
        "https://user:hidden@example.com/",
        "https://example.com/#part",
        "https://example.com:0/",
        "https://example.com:99999/",
        "https://example.com:port/",
        "https://exa mple.com/",
        "https://example.com/a b",
        "https://example.com/\u00e4",
        "https://ex\u00e4mple.com/",
        "https://example.com/\r\nHost: other",
        "https://[::1/",
        "https://example.com/" + "x" * 3000,
        "file:///etc/passwd",
    ],
)
def test_an_address_that_cannot_be_meant_is_refused(url):
    """Only https, with nothing in it that an address of a webhook has not; the error does not repeat it."""
    with pytest.raises(SinkSetupError) as caught:
        WebhookSink(url, secrets=[SECRET], allow_loopback_http=True)
    assert "hidden" not in str(caught.value)
    assert caught.value.hint


@pytest.mark.parametrize("host", ["127.0.0.1", "127.8.8.8", "localhost", "[::1]"])
def test_plain_http_is_for_this_machine_and_must_be_asked_for(host):
    """A receiver beside the gate may do without TLS, if the operator says so."""
    WebhookSink(f"http://{host}:8080/", secrets=[SECRET], allow_loopback_http=True).close()
    with pytest.raises(SinkSetupError, match="http"):
        WebhookSink(f"http://{host}:8080/", secrets=[SECRET])


def test_a_name_that_was_bent_to_another_machine_gets_nothing_in_plain(monkeypatch):
    """`localhost` is what the resolver says it is: the address that was reached counts, not the name."""

    class Bent(socket.socket):
        def getpeername(self):
            return ("192.0.2.7", 80)

    with Server(answer(200)) as server:
        monkeypatch.setattr(socket, "socket", Bent)
        url = server.url.replace("127.0.0.1", "localhost")
        with (
            WebhookSink(url, secrets=[SECRET], allow_loopback_http=True) as sink,
            pytest.raises(SinkRefusedError, match="not on this machine"),
        ):
            sink.deliver(make_signed(1))
        assert not server.requests


def test_a_receiver_must_be_able_to_tell_who_sends():
    """Neither secret nor certificate is no way to set up a webhook; nor is a certificate without TLS."""
    with pytest.raises(SinkSetupError, match="secret or a client certificate"):
        WebhookSink("https://example.com/")
    with pytest.raises(SinkSetupError, match="https"):
        WebhookSink("http://localhost/", client=ClientCertificate("a", "b"), allow_loopback_http=True)


@pytest.mark.parametrize("secret", [b"", bytes(23), bytes(65), "text", None])
def test_a_secret_of_another_size_is_refused(secret):
    """24 to 64 bytes, as the specification says."""
    with pytest.raises(SinkSetupError):
        WebhookSink("https://example.com/", secrets=[secret])


def test_a_secret_as_systemd_gives_it(tmp_path, monkeypatch):
    """With User= it is root's, mode 0440, and the user has an ACL (systemd 254): read, in systemd's folder only."""
    path = tmp_path / "webhook.secret"
    path.write_text(f"{TEXT}\n")
    path.chmod(0o440)
    with pytest.raises(SinkSetupError, match="other users"):
        load_webhook_secrets(path)
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(tmp_path))
    assert load_webhook_secrets(path) == (SECRET,)
    path.chmod(0o444)
    with pytest.raises(SinkSetupError, match="other users"):
        load_webhook_secrets(path)


def test_secrets_are_read_from_a_private_file(tmp_path):
    """One a line, up to four; a file that others may read is refused."""
    path = tmp_path / "webhook.secret"
    path.write_text(f"{TEXT}\n")
    path.chmod(0o600)
    assert load_webhook_secrets(path) == (SECRET,)
    path.write_text(f"{TEXT}\n{TEXT}\n")
    assert load_webhook_secrets(path) == (SECRET, SECRET)
    path.chmod(0o640)
    with pytest.raises(SinkSetupError, match="other users"):
        load_webhook_secrets(path)


@pytest.mark.parametrize(
    "text",
    [
        *("", "whsec_", "whsec_!!!", TEXT.removeprefix("whsec_"), "whsec_AAAA", f"{TEXT} " * 5),
        *("no-secret-of-a-webhook", "whsec_\u00e4", "x" * 5000),
    ],
)
def test_what_is_no_secret_is_refused_without_showing_it(tmp_path, text):
    """Whoever mistypes a secret does not find it in a log."""
    path = tmp_path / "webhook.secret"
    path.write_text(text)
    path.chmod(0o600)
    with pytest.raises(SinkSetupError) as caught:
        load_webhook_secrets(path)
    assert text in ("", "whsec_") or text not in str(caught.value) + caught.value.hint


@pytest.mark.parametrize("make", [lambda _: None, lambda p: p.mkdir(), os.mkfifo])
def test_a_secret_s_file_that_is_none_is_refused(tmp_path, make):
    """Missing, a folder, a pipe that nobody writes to."""
    make(tmp_path / "secret")
    with pytest.raises(SinkSetupError):
        load_webhook_secrets(tmp_path / "secret")


def test_certificates_that_cannot_be_used_are_refused(authority, tmp_path):
    """Missing, swapped, another's, readable by others, locked: when the sink is made, and nobody is asked."""
    certificate, key = authority.issue("client", client=True)
    other = authority.issue("another", client=True)[1]
    locked = tmp_path / "locked.key"
    locked.write_bytes(
        ec.generate_private_key(ec.SECP256R1()).private_bytes(
            Encoding.PEM, PrivateFormat.PKCS8, BestAvailableEncryption(b"passphrase")
        )
    )
    locked.chmod(0o600)
    shared = tmp_path / "shared.key"
    shared.write_bytes(key.read_bytes())
    shared.chmod(0o644)
    for pair in (
        (tmp_path / "none", key),
        (certificate, tmp_path / "none"),
        (key, certificate),
        (certificate, other),
        (certificate, locked),
        (certificate, shared),
    ):
        with pytest.raises(SinkSetupError) as caught:
            WebhookSink("https://example.com/", client=ClientCertificate(*pair), ca=authority.path)
        assert caught.value.hint
    (tmp_path / "empty.pem").touch()
    for ca in (tmp_path / "none", tmp_path / "empty.pem", tmp_path):
        with pytest.raises(SinkSetupError):
            WebhookSink("https://example.com/", secrets=[SECRET], ca=ca)


def test_without_its_library_a_webhook_says_what_to_install(monkeypatch):
    """The SDK itself needs no HTTP client."""
    monkeypatch.setitem(sys.modules, "urllib3", None)
    monkeypatch.delitem(sys.modules, "facegate._sinks._http", raising=False)
    with pytest.raises(CommandUnavailableError) as caught:
        WebhookSink("https://example.com/", secrets=[SECRET])
    assert "facegate[webhook]" in caught.value.hint


def test_a_sink_that_was_closed_can_be_used_again():
    """It makes a new connection; no descriptor stays open."""
    with Server() as server:
        sink = plain(server)
        sink.deliver(make_signed(1))
        sink.close()
        before = len(os.listdir("/proc/self/fd"))  # noqa: PTH208
        for number in range(2, 12):
            with contextlib.suppress(SinkError):
                sink.deliver(make_signed(number))
            sink.close()
        for _ in range(100):
            if len(os.listdir("/proc/self/fd")) <= before + 2:  # noqa: PTH208
                break
            time.sleep(0.05)  # the server's ends close in threads of their own
        assert len(os.listdir("/proc/self/fd")) <= before + 2  # noqa: PTH208
    assert _webhook.WebhookSink is WebhookSink
