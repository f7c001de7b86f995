"""`facegate evaluate serve`, `features` and `account`, as somebody runs them."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from importlib.util import find_spec
from pathlib import Path

import httpx
import numpy as np
import pytest
from PIL import Image

from facegate.cli import main
from facegate_convert._hosted._accounts import add_account

from ... import material as materials  # noqa: TID252
from ...sdk.webhook_server import Authority  # noqa: TID252
from .hosting import png

BUNDLE = Path(find_spec("facegate").origin).parent / "reference.fgb"
MODEL = f"door={BUNDLE}"


class Served:
    """`facegate evaluate serve` in a process of its own."""

    def __init__(self, *arguments, env=None) -> None:
        command = [sys.executable, "-m", "facegate", "evaluate", "serve", "--model", MODEL, "--port", "0", "--json"]
        self.process = subprocess.Popen(  # noqa: S603 - our own interpreter
            [*command, "--workers", "1", *map(str, arguments)],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env={**os.environ, **(env or {})},
            cwd="/",  # not the source's folder, whose metadata can be older than what is installed
        )

    def __enter__(self):
        self.told = json.loads(self.process.stdout.readline())
        return self

    def __exit__(self, *_):
        if self.process.poll() is None:
            self.process.kill()
        self.process.communicate()

    def end(self, number: int) -> tuple[int, str, str]:
        """Send a signal; the exit code and what was said after the first line."""
        self.process.send_signal(number)
        out, err = self.process.communicate(timeout=30)
        return self.process.returncode, out, err


def run(capsys, *arguments) -> tuple[int, dict]:
    """A command with `--json` in this process: exit code and what it said."""
    code = main(["evaluate", *map(str, arguments), "--json"])
    out = capsys.readouterr().out
    return code, json.loads(out) if out else {}


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_the_server_runs_until_it_is_told_to_stop(number, tmp_path):
    """It says where it is, answers, ends with 0 on SIGTERM and Ctrl-C, and leaves nothing anywhere."""
    with Served(env={"TMPDIR": str(tmp_path)}) as served:
        url = served.told["url"]
        assert url.startswith("http://127.0.0.1:")
        assert served.told["models"] == {"door": 128}
        assert served.told["accounts"] == ["local"]
        face = materials.terminal(materials.FIRST).frame.data
        buffer = np.ascontiguousarray(np.asarray(face)[:256, 100:356])
        from facegate_convert import encode_png  # noqa: PLC0415

        for image, size in ((encode_png(buffer), 128), (png(), 0)):
            answer = httpx.post(url, files={"image": image}, data={"model_name": "door"}, timeout=30)
            assert (answer.status_code, len(answer.json()["feature"])) == (200, size)
        assert httpx.post(url, files={"image": b"\xff\xd8\xff"}, data={"model_name": "door"}).status_code == 415
        limits = Path(f"/proc/{served.process.pid}/limits").read_text().splitlines()
        assert next(line for line in limits if line.startswith("Max core file size")).split()[4] == "0"
        code, out, err = served.end(number)
    assert (code, out, err) == (0, "", "")
    assert not list(tmp_path.iterdir())


def test_the_server_refuses_after_its_window():
    """`--until` ends the evaluation, and the process stays to say so."""
    with Served("--until", "3s") as served:
        deadline = time.monotonic() + 30
        while time.monotonic() < deadline:
            answer = httpx.post(served.told["url"], files={"image": png()}, data={"model_name": "door"}, timeout=30)
            if answer.status_code == 403:
                break
            assert answer.status_code == 200
            time.sleep(0.1)
        assert answer.json() == {"error": "the evaluation is over"}
        assert served.end(signal.SIGTERM)[0] == 0


def test_tls_and_accounts_over_the_commands(tmp_path, monkeypatch, capsys):
    """An account is made, a server started with TLS, and `features` asks it with the token from the environment."""
    authority = Authority(tmp_path)
    certificate, key = authority.issue("server")
    accounts = tmp_path / "accounts.json"
    code, made = run(capsys, "account", "tester", "--accounts", accounts, "--model", "door")
    assert (code, made["models"], made["per_minute"]) == (0, ["door"], 600)
    (tmp_path / "in").mkdir()
    Image.fromarray(np.asarray(materials.terminal(materials.FIRST).frame.data)).save(tmp_path / "in" / "a.png")
    ask = ("features", tmp_path / "in", "-o", tmp_path / "out", "--model-name", "door", "--detector", BUNDLE)
    ask = (*ask, "--lawful-basis", "rendered people", "--ca", authority.path)
    with Served("--accounts", accounts, "--certificate", certificate, "--private-key", key) as served:
        assert served.told["accounts"] == ["tester"]
        monkeypatch.setenv("FACEGATE_ENDPOINT", served.told["url"])
        code, told = run(capsys, *ask)
        assert (code, told["error"]["type"]) == (3, "EndpointRefusedError")
        assert served.told["url"] not in json.dumps(told)
        code, told = run(capsys, *ask[:-2])  # without --ca
        assert (code, told["error"]["type"]) == (4, "EndpointTrustError")
        monkeypatch.setenv("FACEGATE_ENDPOINT_TOKEN", made["token"])
        code, told = run(capsys, *ask)
        assert (code, told["images"], told["features"], told["length"]) == (0, 1, 1, 128)
        code, out, err = served.end(signal.SIGTERM)
    assert (code, err) == (0, "")
    assert made["token"] not in out
    assert np.load(tmp_path / "out" / "a.npy").shape == (128,)


def test_no_face_anywhere_is_a_no(tmp_path, capsys):
    """If not one feature came back, the command ends with 1."""
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "a.png").write_bytes(png(100, 100))
    ask = ("--model-name", "door", "--detector", BUNDLE, "--lawful-basis", "b", "--endpoint", "http://127.0.0.1:1/")
    code, told = run(capsys, "features", tmp_path / "in", "-o", tmp_path / "out", *ask)
    assert (code, told["no_face_here"]) == (1, 1)


def test_an_account_is_made_and_removed(tmp_path, capsys):
    """Removing says whether there was one: 0, then 1."""
    path = tmp_path / "accounts.json"
    assert main(["evaluate", "account", "a", "--accounts", str(path), "--model", "x", "--model", "y"]) == 0
    assert len(capsys.readouterr().out.split()) == 1  # the token alone, to be piped
    assert run(capsys, "account", "a", "--accounts", path, "--remove") == (0, {"account": "a", "removed": True})
    assert run(capsys, "account", "a", "--accounts", path, "--remove")[0] == 1


@pytest.mark.parametrize(
    ("arguments", "code", "kind", "why"),
    [
        ((), 2, "UsageError", "--model"),
        (("--model", "door"), 2, "UsageError", "NAME=FILE"),
        (("--model", MODEL, "--model", MODEL), 2, "UsageError", "twice"),
        (("--model", f"a/b={BUNDLE}"), 2, "UsageError", "NAME=FILE"),
        (("--model", MODEL, "--until", "yesterday"), 2, "UsageError", "duration"),
        (("--model", MODEL, "--path", "features"), 2, "UsageError", "path"),
        (("--model", MODEL, "--path", "/{x}"), 2, "UsageError", "path"),
        (("--model", MODEL, "--certificate", "x"), 2, "UsageError", "--private-key"),
        (("--model", MODEL, "--port", "65536"), 2, "UsageError", "65536"),
        (("--model", "door=/nowhere.fgb", "--port", "0"), 3, "ModelFileError", "/nowhere.fgb"),
        (("--model", MODEL, "--accounts", "/nowhere.json"), 3, "EndpointSetupError", "/nowhere.json"),
        (("--model", MODEL, "--certificate", "/a", "--private-key", "/b"), 3, "EndpointSetupError", "/b"),
        (("--model", MODEL, "--host", "0.0.0.0", "--port", "0"), 5, "ServeError", "TLS and accounts"),  # noqa: S104
        (("--model", MODEL, "--host", "::", "--port", "0"), 5, "ServeError", ""),
        (("--model", MODEL, "--host", "no.such.host.invalid"), 5, "ServeError", "no address"),
    ],
)
def test_wrong_commands_are_told(capsys, arguments, code, kind, why):
    """What cannot be served is refused at once, with a reason, a hint and the right exit code."""
    found, told = run(capsys, "serve", *arguments)
    assert (found, told["error"]["type"]) == (code, kind)
    assert why in told["error"]["message"]
    assert told["error"]["hint"]


def test_beyond_this_machine_both_are_needed(tmp_path, capsys):
    """TLS without accounts, and accounts without TLS, are refused as soon as the address is not the loopback's."""
    certificate, key = Authority(tmp_path).issue("server")
    add_account(tmp_path / "accounts.json", "a", ["door"], 1)
    serve = ("serve", "--model", MODEL, "--host", "0.0.0.0", "--port", "0")  # noqa: S104 - that is the point
    for more in (("--certificate", certificate, "--private-key", key), ("--accounts", tmp_path / "accounts.json")):
        code, told = run(capsys, *serve, *more)
        assert (code, told["error"]["type"]) == (5, "ServeError")


def test_a_port_that_is_taken_is_told(capsys):
    """Where another server listens there is no place for this one."""
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        code, told = run(capsys, "serve", "--model", MODEL, "--port", port)
    assert (code, told["error"]["type"]) == (5, "ServeError")
    assert str(port) in told["error"]["message"]


@pytest.mark.parametrize(
    ("arguments", "code", "kind"),
    [
        ((), 2, "UsageError"),
        (("--detector", BUNDLE, "--cropped"), 2, "UsageError"),
        (("--cropped", "--lawful-basis", " "), 2, "UsageError"),
        (("--cropped", "--endpoint", "http://example.com/"), 3, "EndpointSetupError"),
        (("--cropped", "--endpoint", ""), 3, "EndpointSetupError"),
        (("--cropped", "--token-file", "/nowhere"), 3, "EndpointSetupError"),
        (("--cropped", "--ca", "/nowhere", "--endpoint", "https://127.0.0.1:1/"), 3, "EndpointSetupError"),
        (("--cropped",), 3, "DatasetError"),
    ],
)
def test_wrong_requests_are_told(tmp_path, capsys, monkeypatch, arguments, code, kind):
    """What cannot be asked is refused before anything is read or sent."""
    monkeypatch.delenv("FACEGATE_ENDPOINT", raising=False)
    given = {"--endpoint": "http://127.0.0.1:1/", "--lawful-basis": "b"}
    more = [part for option, value in given.items() if option not in arguments for part in (option, value)]
    found, told = run(
        capsys, "features", tmp_path / "none", "-o", tmp_path / "out", "--model-name", "x", *arguments, *more
    )
    assert (found, told["error"]["type"]) == (code, kind)
    assert told["error"]["hint"]
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("arguments", "missing", "extra"),
    [
        (["serve", "--model", MODEL], "uvicorn", "facegate[serve]"),
        (
            [
                "features",
                "in",
                "-o",
                "out",
                "--model-name",
                "x",
                "--cropped",
                "--lawful-basis",
                "b",
                "--endpoint",
                "https://x/",
            ],
            "urllib3",
            "facegate[convert]",
        ),
    ],
)
def test_what_is_missing_is_told(arguments, missing, extra):
    """Without its packages a command ends with 5 and says what to install: a device has no server."""
    code = f"""
import sys
sys.modules[{missing!r}] = None
from facegate.cli import main
sys.exit(main(["evaluate", *{arguments!r}, "--json"]))
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, cwd="/")  # noqa: S603
    told = json.loads(done.stdout)["error"]
    assert (done.returncode, told["type"]) == (5, "CommandUnavailableError")
    assert missing in told["message"]
    assert extra in told["hint"]
