"""`facegate outbox`: what waits, and delivering it, once or as a service."""

from __future__ import annotations

import base64
import json
import os
import signal
import sqlite3
import subprocess
import sys
import threading

import pytest

from facegate import VerifyKey, verify_decision

from .webhook_server import Server, answer

SECRET = "whsec_" + base64.b64encode(bytes(range(32))).decode()
DONE = 30  # seconds that a test waits for what takes milliseconds


@pytest.fixture
def run(gate_commands):
    """The command line on a gate that has decided three times."""
    gate_commands.enroll("alice", 10)
    for name, identity in (("a.png", 10), ("b.png", 99), ("c.png", 10)):
        gate_commands("identify", gate_commands.picture(name, identity))
    return gate_commands


@pytest.fixture
def secret(run):
    """A webhook's secret in a file."""
    path = run.room / "webhook.secret"
    path.write_text(SECRET + "\n")
    path.chmod(0o600)
    return path


def lines(path) -> list[dict]:
    """What a file of JSON lines holds."""
    return [json.loads(line) for line in path.read_text().splitlines()]


def start(run, *args) -> subprocess.Popen:
    """The command in a process of its own."""
    return subprocess.Popen(  # noqa: S603 - our own interpreter
        [sys.executable, "-m", "facegate", "outbox", "deliver", *map(str, args)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=run.room,
        env=os.environ,
    )


def wait_for(condition) -> None:
    """Look again and again; a condition that never comes fails the test."""
    pause = threading.Event()
    for _ in range(DONE * 20):
        if condition():
            return
        pause.wait(0.05)
    raise AssertionError("it never came")


def test_status_tells_counts_without_a_credential(run, monkeypatch):
    """How many wait and since when; nothing about anybody."""
    monkeypatch.delenv("FACEGATE_CREDENTIALS")
    found = run.json("outbox", "status")
    assert (found["waiting"], found["delivered"], found["next_sequence"]) == (3, 0, 1)
    assert found["oldest"].endswith("Z")
    code, out, _ = run("outbox", "status")
    assert code == 0
    assert "3, the oldest from" in out
    assert "alice" not in out


def test_the_privacy_officer_lists_what_is_kept(run, monkeypatch):
    """All, what waits, what was delivered."""
    run.json("outbox", "deliver", "--to", "out.jsonl", "--limit", 1)
    found = run.json("outbox", "list")["decisions"]
    assert [queued["decision"]["sequence"] for queued in found] == [1, 2, 3]
    assert [queued["delivered"] is None for queued in found] == [False, True, True]
    assert len(run.json("outbox", "list", "--waiting")["decisions"]) == 2
    assert len(run.json("outbox", "list", "--delivered")["decisions"]) == 1
    code, out, _ = run("outbox", "list", "--limit", 1)
    assert code == 0
    assert "alice" in out
    monkeypatch.delenv("FACEGATE_CREDENTIALS")
    assert run("outbox", "list")[0] == 4


def test_decisions_are_delivered_to_a_file(run, monkeypatch):
    """In order, to be verified with the device's public key; neither credential nor sealing key is needed."""
    monkeypatch.delenv("FACEGATE_CREDENTIALS")
    (run.folder / "seal.key").rename(run.room / "seal.key")
    assert run("outbox", "deliver", "--to", "out.jsonl")[:2] == (0, "3 delivered to out.jsonl, 0 wait\n")
    key = VerifyKey.load(run.folder / "device.key.pub")
    decisions = [verify_decision(line["jws"], key) for line in lines(run.room / "out.jsonl")]
    assert [(d.sequence, d.outcome) for d in decisions] == [(1, "match"), (2, "no_match"), (3, "match")]
    assert run.json("outbox", "deliver", "--to", "out.jsonl") == {"delivered": 0, "waiting": 0, "sink": "out.jsonl"}
    assert run.json("outbox", "status")["last_sequence"] == 3


def test_decisions_are_delivered_to_standard_output(run):
    """For a pipe: nothing but the lines."""
    code, out, err = run("outbox", "deliver", "--to", "-")
    assert (code, err) == (0, "")
    assert [json.loads(line)["decision"]["sequence"] for line in out.splitlines()] == [1, 2, 3]


def test_decisions_are_posted_to_a_webhook(run, secret):
    """Signed with the secret of a file."""
    with Server() as server:
        args = ("outbox", "deliver", "--to", server.url, "--secret-file", secret, "--allow-loopback-http")
        assert run.json(*args)["delivered"] == 3
        assert [json.loads(r.body)["decision"]["sequence"] for r in server.requests] == [1, 2, 3]
        assert all(request.headers["webhook-signature"].startswith("v1,") for request in server.requests)


def test_the_secret_comes_from_the_environment_and_leaves_it(run, monkeypatch):
    """So that what the process starts does not have it."""
    monkeypatch.setenv("FACEGATE_WEBHOOK_SECRET", SECRET)
    with Server() as server:
        assert run.json("outbox", "deliver", "--to", server.url, "--allow-loopback-http")["delivered"] == 3
    assert "FACEGATE_WEBHOOK_SECRET" not in os.environ


def test_a_receiver_that_fails_once_is_asked_again(run, secret, monkeypatch):
    """Within one run, so many times; every decision arrives, in order."""
    monkeypatch.setattr("facegate.cli._outbox.time.sleep", lambda _: None)
    statuses = iter([503, 503, 500])

    def behave(server, connection):
        while (request := server.read(connection)) is not None:
            server.requests.append(request)
            head = f"HTTP/1.1 {next(statuses, 204)} Because\r\nContent-Length: 0\r\n\r\n"
            connection.sendall(head.encode())

    with Server(behave) as server:
        args = ("--to", server.url, "--secret-file", secret, "--allow-loopback-http")
        code, _, err = run("outbox", "deliver", *args, "--attempts", 1)
        assert code == 5
        assert "503" in err
        assert "0 delivered, 3 wait" in err
        assert run.json("outbox", "deliver", *args, "--attempts", 3)["delivered"] == 3
        assert [json.loads(r.body)["decision"]["sequence"] for r in server.requests] == [1, 1, 1, 1, 2, 3]


def test_a_receiver_that_refuses_is_an_error_and_nothing_is_lost(run, secret):
    """The exit code says so, and the decisions wait."""
    with Server(answer(403)) as server:
        args = ("--to", server.url, "--secret-file", secret, "--allow-loopback-http", "--attempts", 1)
        code, out, err = run("outbox", "deliver", *args)
    assert (code, out) == (5, "")
    assert "status 403" in err
    assert "/decisions" not in err
    assert run.json("outbox", "status")["waiting"] == 3


def test_a_decision_that_was_changed_in_the_file_is_not_delivered(run):
    """Nor one after it; exit code 4."""
    connection = sqlite3.connect(run.folder / "gate.db")
    connection.execute("UPDATE decision SET jws = 'x' || jws WHERE sequence = 2")
    connection.commit()
    connection.close()
    code, _, err = run("outbox", "deliver", "--to", "out.jsonl")
    assert code == 4
    assert "decision 2 " in err
    assert len(lines(run.room / "out.jsonl")) == 1


@pytest.mark.parametrize(
    ("args", "code"),
    [
        ((), 2),
        (("--to", "-", "--json"), 2),
        (("--to", "out", "--follow", "--limit", "1"), 2),
        (("--to", "out", "--ca", "ca.pem"), 2),
        (("--to", "out", "--allow-loopback-http"), 2),
        (("--to", "none/out"), 3),
        (("--to", "https://example.com/"), 3),
        (("--to", "http://example.com/"), 3),
        (("--to", "https://example.com/", "--client-key", "key"), 2),
        (("--to", "https://example.com/", "--secret-file", "none"), 3),
        (("--to", "out", "--gate", "none"), 3),
        (("--to", "out", "--limit", "0"), 2),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, tuple) else None,
)
def test_what_cannot_be_meant_is_an_error(run, args, code):
    """With its exit code; nothing is delivered."""
    assert run("outbox", "deliver", *args)[0] == code
    assert run.json("outbox", "status")["waiting"] == 3


# --- as a service ----------------------------------------------------------------------------------------------------


def test_a_service_delivers_what_comes_and_ends_when_it_is_told_to(run, secret):
    """Beside a process that has the gate open; SIGTERM ends it cleanly, whatever it is doing."""
    with Server() as server:
        args = ("--to", server.url, "--secret-file", secret, "--allow-loopback-http", "--follow", "--poll", "0.05")
        service = start(run, *args)
        wait_for(lambda: len(server.requests) == 3)
        run("identify", run.picture("d.png", 10))  # which opens the gate, and has it alone
        wait_for(lambda: len(server.requests) == 4)
        wait_for(lambda: run.json("outbox", "status")["waiting"] == 0)
        service.send_signal(signal.SIGTERM)
        out, err = service.communicate(timeout=DONE)
    assert (service.returncode, out) == (0, "4 delivered\n")
    assert "delivering to 127.0.0.1" in err
    assert run.json("audit", "verify")["ok"]
    assert run("people", "list")[0] == 0


def test_a_service_waits_for_a_receiver_that_comes_back(run):
    """A full disk, a folder that is missing for a while: it goes on when it can."""
    target = run.room / "out.jsonl"
    service = start(run, "--to", target, "--follow", "--poll", "0.05")
    wait_for(lambda: target.exists() and len(lines(target)) == 3)
    target.rename(run.room / "old.jsonl")
    target.mkdir()
    run("identify", run.picture("d.png", 10))
    assert service.stderr.readline().startswith("delivering")
    assert "cannot be opened" in service.stderr.readline()
    target.rmdir()
    wait_for(lambda: target.is_file() and len(lines(target)) == 1)
    service.send_signal(signal.SIGINT)
    assert service.wait(DONE) == 0
    service.communicate()


def test_a_service_ends_although_its_receiver_is_silent(run, secret):
    """What hangs is given up when its time is over; the decision waits for the next one."""

    def silent(server, connection):
        server.read(connection)
        server.over.wait(DONE)

    with Server(silent) as server:
        args = ("--to", server.url, "--secret-file", secret, "--allow-loopback-http", "--follow", "--timeout", "2")
        service = start(run, *args)
        wait_for(lambda: server.connections)
        service.terminate()
        out, _ = service.communicate(timeout=DONE)
    assert (service.returncode, out) == (0, "0 delivered\n")
    assert run.json("outbox", "status")["waiting"] == 3


def test_two_services_do_not_overtake_each_other(run):
    """The second one says so and ends."""
    first = start(run, "--to", "out.jsonl", "--follow", "--poll", "0.05")
    wait_for(lambda: (run.room / "out.jsonl").exists() and len(lines(run.room / "out.jsonl")) == 3)

    def silent(server, connection):
        server.read(connection)
        server.over.wait(DONE)

    first.terminate()
    assert first.wait(DONE) == 0
    first.communicate()
    run("identify", run.picture("d.png", 10))
    secret = run.room / "webhook.secret"
    secret.write_text(SECRET)
    secret.chmod(0o600)
    with Server(silent) as server:
        busy = start(run, "--to", server.url, "--secret-file", secret, "--allow-loopback-http", "--timeout", DONE)
        wait_for(lambda: server.connections)
        code, _, err = run("outbox", "deliver", "--to", "other.jsonl")
        busy.kill()
        busy.communicate()
    assert code == 3
    assert "being delivered already" in err
    assert not (run.room / "other.jsonl").read_text()


def test_a_service_whose_reader_has_gone_ends(run):
    """With the exit code that a shell knows."""
    service = start(run, "--to", "-", "--follow", "--poll", "0.05")
    assert [json.loads(service.stdout.readline())["decision"]["sequence"] for _ in range(3)] == [1, 2, 3]
    wait_for(lambda: run.json("outbox", "status")["waiting"] == 0)
    service.stdout.close()
    run("identify", run.picture("d.png", 10))
    assert service.wait(DONE) == 141
    service.stderr.close()


def test_a_service_that_is_killed_loses_nothing(run):
    """SIGKILL, and the next one goes on: doubles have the same id."""
    for _ in range(3):
        service = start(run, "--to", "out.jsonl", "--follow", "--poll", "0.05")
        service.stderr.readline()
        service.kill()
        service.communicate()
    assert run("outbox", "deliver", "--to", "out.jsonl")[0] == 0
    sequences = [line["decision"]["sequence"] for line in lines(run.room / "out.jsonl")]
    assert sequences == sorted(sequences)
    assert set(sequences) == {1, 2, 3}
