"""Fetching models from loopback servers, good and hostile, through a proxy, and from a folder."""

from __future__ import annotations

import contextlib
import dataclasses
import fcntl
import hashlib
import os
import re
import stat
import threading
from importlib import resources

import pytest

from facegate_convert._catalogue import _https, _pull, catalogue, pull
from facegate_convert._families import recognize
from facegate_convert._graph import load_graph
from facegate_convert.errors import (
    LicenceError,
    ModelHashError,
    OutputFileError,
    PullBusyError,
    PullError,
    PullRefusedError,
    PullTrustError,
)

from ...sdk.webhook_server import Authority, Server  # noqa: TID252

DATA = bytes(range(256)) * 1200  # 307,200 bytes: several blocks


@pytest.fixture(scope="module")
def authority(tmp_path_factory):
    """A certificate authority of the tests."""
    return Authority(tmp_path_factory.mktemp("authority"))


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    """No proxy of the machine, no waiting between attempts, short timeouts."""
    for name in ("HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy", "HTTP_PROXY", "http_proxy"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(_pull.time, "sleep", lambda _: None)
    monkeypatch.setattr(_https, "_READ", 2.0)
    monkeypatch.setattr(_https, "_CONNECT", 0.5)


def entry_at(url, data=DATA, file="net.onnx"):
    """A catalogue's entry for some bytes at an address."""
    return dataclasses.replace(
        catalogue()["yunet-n-320"],
        name="net",
        file=file,
        url=url,
        size=len(data),
        sha256=hashlib.sha256(data).hexdigest(),
    )


def reply(connection, status, body=b"", **headers):
    """One answer of a server."""
    lines = {"Content-Length": len(body), **{k.replace("_", "-"): v for k, v in headers.items()}}
    head = "".join(f"{name}: {value}\r\n" for name, value in lines.items() if value is not None)
    connection.sendall(f"HTTP/1.1 {status} Because\r\n{head}\r\n".encode() + body)


def serving(data=DATA, *, breaks=(), ranges=True):
    """A server of a file; it ends the first connections after as many bytes as `breaks` says."""
    left = list(breaks)

    def behave(server, connection):
        while (request := server.read(connection)) is not None:
            server.requests.append(request)
            wanted = re.fullmatch(r"bytes=(\d+)-", request.headers.get("range", ""))
            start = int(wanted[1]) if wanted and ranges else 0
            part = data[start:]
            headers = {"Content_Range": f"bytes {start}-{len(data) - 1}/{len(data)}"} if start else {}
            if left:
                reply(connection, 206 if start else 200, part[: left.pop(0)], Content_Length=len(part), **headers)
                return
            reply(connection, 206 if start else 200, part, **headers)

    return behave


def saying(*answers):
    """A server that gives these answers, one to each request, the last again and again; callables talk themselves."""
    left = list(answers)

    def behave(server, connection):
        while (request := server.read(connection)) is not None:
            server.requests.append(request)
            (left.pop(0) if len(left) > 1 else left[0])(connection)

    return behave


def get(entry, folder, authority, **options):
    """Pull with everything accepted."""
    return pull(entry, folder, accepted={entry.licence.id}, ca=authority.path, **options)


def left_in(folder):
    """What is in a folder, hidden files included."""
    return sorted(path.name for path in folder.iterdir()) if folder.is_dir() else []


def test_a_model_is_fetched(tmp_path, authority):
    """The file has the bytes, a mode that everybody may read, and the progress has run to its end."""
    told = []
    with Server(serving(), authority.server_context()) as server:
        got = get(entry_at(server.url), tmp_path / "new" / "models", authority, progress=lambda *a: told.append(a))
    assert got.path.read_bytes() == DATA
    assert (got.fetched, got.resumed) == (len(DATA), 0)
    assert stat.S_IMODE(got.path.stat().st_mode) == 0o644
    assert told[-1] == (len(DATA), len(DATA))
    assert left_in(tmp_path / "new" / "models") == ["net.onnx"]
    assert server.requests[0].headers["user-agent"].startswith("facegate/")


def test_it_is_not_fetched_twice(tmp_path, authority):
    """A file that is there and right is left alone; no connection is made."""
    with Server(serving(), authority.server_context()) as server:
        get(entry_at(server.url), tmp_path, authority)
        connections = server.connections
        assert get(entry_at(server.url), tmp_path, authority).fetched == 0
        assert server.connections == connections


def test_another_file_of_that_name_is_not_overwritten(tmp_path, authority):
    """What somebody has put there stays, and they are told."""
    (tmp_path / "net.onnx").write_bytes(b"mine")
    with pytest.raises(ModelHashError):
        get(entry_at("https://127.0.0.1:9/"), tmp_path, authority)
    assert (tmp_path / "net.onnx").read_bytes() == b"mine"


def test_a_licence_that_was_not_accepted_is_refused(tmp_path):
    """Nothing is fetched, and the error says what to read and what to say."""
    entry = catalogue()["scrfd-500m"]
    for accepted in ((), ("mit",), ("INSIGHTFACE-RESEARCH ",)):
        with pytest.raises(LicenceError) as caught:
            pull(entry, tmp_path, accepted=accepted)
        assert "--accept-licence insightface-research" in caught.value.hint
        assert entry.licence.url in caught.value.hint
    assert left_in(tmp_path) == []


@pytest.mark.parametrize("breaks", [(100_000,), (0,), (1, 1, 1), (300_000, 7_000)])
def test_a_broken_transfer_is_taken_up_where_it_ended(tmp_path, authority, breaks):
    """The same command goes on with a Range request; no byte comes twice."""
    with Server(serving(breaks=breaks), authority.server_context()) as server:
        got = get(entry_at(server.url), tmp_path, authority)
    assert got.path.read_bytes() == DATA
    starts = [int(r.headers.get("range", "bytes=0-")[6:-1]) for r in server.requests]
    assert starts == [sum(breaks[:i]) for i in range(len(breaks) + 1)]


def test_another_run_takes_it_up_too(tmp_path, authority):
    """What a run that failed has left is used by the next, and is read by nobody else meanwhile."""
    with Server(serving(breaks=(90_000, 1, 1, 1)), authority.server_context()) as server:
        with pytest.raises(PullError):
            get(entry_at(server.url), tmp_path, authority)
        (part,) = tmp_path.iterdir()
        assert stat.S_IMODE(part.stat().st_mode) == 0o600
        got = get(entry_at(server.url), tmp_path, authority)
    assert (got.resumed, got.fetched) == (90_003, len(DATA) - 90_003)
    assert got.path.read_bytes() == DATA


def test_a_wrong_remainder_of_an_earlier_run_is_thrown_away(tmp_path, authority):
    """A part of another file: the whole is fetched again, once."""
    (tmp_path / ".net.onnx.part").write_bytes(b"x" * 1000)
    with Server(serving(), authority.server_context()) as server:
        got = get(entry_at(server.url), tmp_path, authority)
    assert got.path.read_bytes() == DATA
    assert len(server.requests) == 2


def test_a_remainder_that_is_too_long_is_thrown_away(tmp_path, authority):
    """More bytes than the model has."""
    (tmp_path / ".net.onnx.part").write_bytes(DATA + b"x")
    with Server(serving(), authority.server_context()) as server:
        assert get(entry_at(server.url), tmp_path, authority).path.read_bytes() == DATA


def test_a_server_without_ranges_sends_the_whole(tmp_path, authority):
    """An answer of 200 to a Range request starts anew."""
    (tmp_path / ".net.onnx.part").write_bytes(DATA[:1000])
    with Server(serving(ranges=False), authority.server_context()) as server:
        got = get(entry_at(server.url), tmp_path, authority)
    assert got.path.read_bytes() == DATA
    assert got.resumed == 0


@pytest.mark.parametrize(
    "content_range", ["bytes 0-307199/307200", "bytes 1000-307199/999999", "bytes 1000-2000/307200", "items 1-2/3", ""]
)
def test_another_part_than_was_asked_for_is_not_believed(tmp_path, authority, content_range):
    """A Content-Range that does not fit is an error, and what was there is not trusted any more."""
    (tmp_path / ".net.onnx.part").write_bytes(DATA[:1000])

    def part(connection):
        reply(connection, 206, DATA[1000:], Content_Range=content_range)

    with Server(saying(part), authority.server_context()) as server, pytest.raises(PullError):
        get(entry_at(server.url), tmp_path, authority)
    assert "net.onnx" not in left_in(tmp_path)


def test_corruption_is_found_and_nothing_of_it_kept(tmp_path, authority):
    """One bit of the right length: no file, no remainder, exit code 4."""
    wrong = bytearray(DATA)
    wrong[200_000] ^= 1
    with Server(serving(bytes(wrong)), authority.server_context()) as server, pytest.raises(ModelHashError) as caught:
        get(entry_at(server.url), tmp_path, authority)
    assert caught.value.exit_code == 4
    assert left_in(tmp_path) == []


@pytest.mark.parametrize("data", [DATA[:-1], DATA + b"x", b"", b"version https://git-lfs.github.com/spec/v1\n"])
def test_a_file_of_another_size_is_refused_before_it_comes(tmp_path, authority, data):
    """The declared length gives it away, e.g. of a Git LFS pointer in the place of a model."""
    with Server(serving(data), authority.server_context()) as server, pytest.raises(PullRefusedError):
        get(entry_at(server.url), tmp_path, authority)
    assert len(server.requests) == 1
    assert left_in(tmp_path) == []


def test_a_server_that_never_ends_is_cut_off(tmp_path, authority):
    """Without a declared length, what is too much is noticed by its first byte, and thrown away."""

    def endless(connection):
        reply(connection, 200, Content_Length=None, Connection="close")
        while True:
            connection.sendall(b"x" * 65536)

    with Server(saying(endless), authority.server_context()) as server, pytest.raises(PullRefusedError):
        get(entry_at(server.url), tmp_path, authority)
    assert left_in(tmp_path) == []


def test_a_server_that_drips_is_given_up(tmp_path, authority, monkeypatch):
    """Less than a kilobyte a second, for long: an error, and what came is kept."""
    monkeypatch.setattr(_pull, "_PATIENCE", 0.2)

    def drip(connection):
        reply(connection, 200, Content_Length=len(DATA))
        for byte in DATA:
            connection.sendall(bytes([byte]))
            time_to_wait.wait(0.01)

    time_to_wait = threading.Event()
    with Server(saying(drip), authority.server_context()) as server, pytest.raises(PullError) as caught:
        get(entry_at(server.url), tmp_path, authority)
    assert caught.value.exit_code == 5
    assert left_in(tmp_path) == [".net.onnx.part"]


def test_a_server_that_falls_silent_is_given_up(tmp_path, authority, monkeypatch):
    """No byte for the read timeout."""
    monkeypatch.setattr(_https, "_READ", 0.1)
    silent = threading.Event()

    def talk(connection):
        reply(connection, 200, DATA[:10], Content_Length=len(DATA))
        silent.wait(1)

    with Server(saying(talk), authority.server_context()) as server, pytest.raises(PullError):
        get(entry_at(server.url), tmp_path, authority)


def test_redirects_are_followed(tmp_path, authority):
    """As hosts of repositories do it: from one address to another, in the end to the file."""
    with Server(serving(), authority.server_context()) as target:
        steps = [lambda c, s=s: reply(c, s, Location=target.url if s == 308 else "/next") for s in (301, 302, 307, 308)]
        with Server(saying(*steps), authority.server_context()) as server:
            assert get(entry_at(server.url), tmp_path, authority).path.read_bytes() == DATA
    assert len(server.requests) == 4


@pytest.mark.parametrize(
    "where",
    ["http://127.0.0.1:9/x", "file:///etc/passwd", "ftp://127.0.0.1/", "https://user:pw@127.0.0.1/"],
)
def test_redirects_to_an_open_line_are_not_followed(tmp_path, authority, where):
    """Only https, to a host, without credentials."""
    with (
        Server(saying(lambda c: reply(c, 302, Location=where)), authority.server_context()) as server,
        pytest.raises(PullTrustError) as caught,
    ):
        get(entry_at(server.url), tmp_path, authority)
    assert caught.value.exit_code == 4


def test_redirects_without_end_are_refused(tmp_path, authority):
    """A circle."""
    with (
        Server(saying(lambda c: reply(c, 302, Location="/again")), authority.server_context()) as server,
        pytest.raises(PullRefusedError),
    ):
        get(entry_at(server.url), tmp_path, authority)
    assert len(server.requests) == 6


def test_a_server_of_another_authority_is_not_trusted(tmp_path, authority):
    """A certificate by somebody else, or for another name; nothing is sent to it."""
    other = Authority(tmp_path, "other")
    for context in (other.server_context(), authority.server_context("elsewhere", hosts=("example.org",))):
        with Server(serving(), context) as server, pytest.raises(PullTrustError):
            get(entry_at(server.url), tmp_path / "models", authority)
        assert not server.requests


def test_a_server_without_tls_is_not_trusted(tmp_path, authority):
    """Plain HTTP on the port."""
    with Server(serving()) as server, pytest.raises(PullError):
        get(entry_at(server.url.replace("http:", "https:")), tmp_path, authority)
    assert not server.requests


@pytest.mark.parametrize(("status", "again"), [(404, 1), (403, 1), (410, 1), (204, 1), (500, 4), (503, 4), (429, 4)])
def test_statuses(tmp_path, authority, status, again):
    """A file that is not there is asked for once; a server that is busy, four times."""
    with Server(saying(lambda c: reply(c, status)), authority.server_context()) as server:
        with pytest.raises(PullRefusedError if again == 1 else PullError):
            get(entry_at(server.url), tmp_path, authority)
        assert len(server.requests) == again


def test_a_packed_answer_is_refused(tmp_path, authority):
    """Nobody asked for gzip, so nothing is unpacked that could be a bomb."""
    with (
        Server(
            saying(lambda c: reply(c, 200, b"x" * len(DATA), Content_Encoding="gzip")), authority.server_context()
        ) as server,
        pytest.raises(PullRefusedError),
    ):
        get(entry_at(server.url), tmp_path, authority)


def test_a_mirror(tmp_path, authority):
    """--from https://...: the file under its name, the same hash."""
    with Server(serving(), authority.server_context()) as server:
        entry = entry_at("https://127.0.0.1:9/gone")
        got = get(entry, tmp_path, authority, source=server.url.replace("/decisions", "/mirror/"))
        assert server.requests[0].line == "GET /mirror/net.onnx HTTP/1.1"
    assert got.path.read_bytes() == DATA


def test_a_folder(tmp_path, authority):
    """--from FOLDER: for sites without a network; a file itself may be named too."""
    (tmp_path / "stick").mkdir()
    (tmp_path / "stick" / "net.onnx").write_bytes(DATA)
    entry = entry_at("https://127.0.0.1:9/gone")
    for number, source in enumerate((tmp_path / "stick", tmp_path / "stick" / "net.onnx")):
        got = get(entry, tmp_path / str(number), authority, source=str(source))
        assert got.path.read_bytes() == DATA


def test_a_folder_with_another_file(tmp_path, authority):
    """The hash counts there as well; a folder without the file, or an open line, is refused."""
    (tmp_path / "net.onnx").write_bytes(DATA[:-1] + b"x")
    entry = entry_at("https://127.0.0.1:9/gone")
    with pytest.raises(ModelHashError):
        get(entry, tmp_path / "models", authority, source=str(tmp_path))
    for source in (str(tmp_path / "models"), "http://127.0.0.1/mirror", "ftp://127.0.0.1/"):
        with pytest.raises(PullRefusedError):
            get(entry, tmp_path / "models", authority, source=source)
    assert left_in(tmp_path / "models") == []


def test_a_proxy_is_used(tmp_path, authority, monkeypatch):
    """HTTPS_PROXY is asked to connect, with its user's name; NO_PROXY goes around it."""
    with Server(serving(), authority.server_context()) as target:

        def proxy(server, connection):
            import socket  # noqa: PLC0415

            server.requests.append(server.read(connection))
            connection.sendall(b"HTTP/1.1 200 Connected\r\n\r\n")
            with socket.create_connection(("127.0.0.1", target.port)) as onward:

                def carry(source, sink):
                    with contextlib.suppress(OSError):  # one side may close before the other has read
                        while data := source.recv(65536):
                            sink.sendall(data)

                back = threading.Thread(target=carry, args=(onward, connection), daemon=True)
                back.start()
                carry(connection, onward)
                with contextlib.suppress(OSError):  # the other side may have closed it
                    onward.shutdown(socket.SHUT_RDWR)
                back.join()

        with Server(proxy) as server:
            monkeypatch.setenv("HTTPS_PROXY", f"http://user:secret@127.0.0.1:{server.port}")
            assert get(entry_at(target.url), tmp_path / "a", authority).path.read_bytes() == DATA
            assert server.requests[0].line.startswith(f"CONNECT 127.0.0.1:{target.port} ")
            assert server.requests[0].headers["proxy-authorization"].startswith("Basic ")
            monkeypatch.setenv("NO_PROXY", "127.0.0.1")
            get(entry_at(target.url), tmp_path / "b", authority)
            assert len(server.requests) == 1


def test_a_proxy_that_is_not_there(tmp_path, authority, monkeypatch):
    """An error that names no secret."""
    monkeypatch.setenv("HTTPS_PROXY", "http://user:secret@127.0.0.1:9")
    with pytest.raises(PullError) as caught:
        get(entry_at("https://127.0.0.1:9/x"), tmp_path, authority)
    assert "secret" not in f"{caught.value} {caught.value.hint}"


def test_two_commands_at_once(tmp_path, authority):
    """The second one is told to wait, and destroys nothing."""
    part = tmp_path / ".net.onnx.part"
    part.write_bytes(DATA[:500])
    with part.open("rb") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        with pytest.raises(PullBusyError):
            get(entry_at("https://127.0.0.1:9/x"), tmp_path, authority)
    assert part.read_bytes() == DATA[:500]


def test_somebody_elses_link_is_not_followed(tmp_path, authority):
    """A symbolic link in the place of the remainder does not lead a write elsewhere."""
    victim = tmp_path / "victim"
    victim.write_bytes(b"mine")
    (tmp_path / ".net.onnx.part").symlink_to(victim)
    with pytest.raises(OutputFileError):
        get(entry_at("https://127.0.0.1:9/x"), tmp_path, authority)
    assert victim.read_bytes() == b"mine"


def test_no_room(tmp_path, authority, monkeypatch):
    """It is said before anything is fetched."""
    monkeypatch.setattr(_pull.shutil, "disk_usage", lambda _: os.statvfs_result and type("U", (), {"free": 1000}))
    with pytest.raises(OutputFileError, match="no room"):
        get(entry_at("https://127.0.0.1:9/x"), tmp_path, authority)


def test_a_disk_that_is_full_keeps_what_came(tmp_path, authority):
    """The write that fails is an error of ours; what came before is taken up the next time."""
    import resource  # noqa: PLC0415
    import signal  # noqa: PLC0415

    old = resource.getrlimit(resource.RLIMIT_FSIZE)
    before = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    try:
        with Server(serving(), authority.server_context()) as server:
            resource.setrlimit(resource.RLIMIT_FSIZE, (150_000, old[1]))
            with pytest.raises(OutputFileError):
                get(entry_at(server.url), tmp_path, authority)
            resource.setrlimit(resource.RLIMIT_FSIZE, old)
            got = get(entry_at(server.url), tmp_path, authority)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, old)
        signal.signal(signal.SIGXFSZ, before)
    assert got.path.read_bytes() == DATA
    assert got.resumed > 0


def test_an_authority_that_is_no_certificate(tmp_path):
    """--ca with another file."""
    wrong = tmp_path / "ca.pem"
    entry = entry_at("https://127.0.0.1:9/x")
    for text in (None, "no certificate"):
        if text:
            wrong.write_text(text)
        with pytest.raises(PullTrustError):
            pull(entry, tmp_path, accepted={entry.licence.id}, ca=wrong)


@pytest.mark.parametrize("role", ["detector", "recognizer", "liveness"])
def test_a_real_model_arrives_and_is_one(tmp_path, authority, role):
    """A reference model's file over TLS, broken off on the way: what arrives is read and recognized."""
    data = resources.files("facegate_convert").joinpath("reference", f"{role}.onnx").read_bytes()
    with Server(serving(data, breaks=(100_000,)), authority.server_context()) as server:
        got = get(entry_at(server.url, data, f"{role}.onnx"), tmp_path, authority)
    assert recognize(load_graph(got.path)).role == role


@pytest.mark.parametrize(
    ("name", "file"),
    [
        ("scrfd-500m", "scrfd-500m/det_500m.onnx"),
        ("scrfd-2.5g-320", "scrfd-2.5g/scrfd_2.5g_bnkps_shape320x320.onnx"),
        ("yunet-n-320", "yunet/yunet_n_320_320.onnx"),
    ],
)
def test_entries_of_the_catalogue_arrive_as_they_are_described(tmp_path, authority, shared, name, file):
    """The catalogue's own entries, served by a mirror: their hash, size, role and family are those of the file."""
    data = (shared / "models" / file).read_bytes()
    entry = catalogue()[name]
    with Server(serving(data, breaks=(200_000,)), authority.server_context()) as server:
        got = get(entry, tmp_path, authority, source=server.url)
    match = recognize(load_graph(got.path, input_size=(320, 320) if entry.input == "open" else None))
    assert (match.role, match.family) == (entry.role, entry.family)
