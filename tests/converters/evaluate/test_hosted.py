"""A hosted model as a source: what goes out, what is kept, what is noticed."""

from __future__ import annotations

import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import numpy as np
import pytest

from facegate_convert import _evaluate as room
from facegate_convert.cli._evaluate import run as evaluate_run
from facegate_convert.errors import CacheError, EndpointRefusedError, EndpointSetupError

BASIS = ("--lawful-basis", "people who do not exist", "--replicates", 0, "--jobs", 1)


class Endpoint(ThreadingHTTPServer):
    """A model behind the protocol: a feature that follows from the crop's average colours."""

    def __init__(self):
        super().__init__(("127.0.0.1", 0), Handler)
        self.asked, self.turned, self.refuse_after = 0, False, 10**6
        threading.Thread(target=self.serve_forever, daemon=True).start()

    @property
    def url(self):
        """Where it is."""
        return f"http://127.0.0.1:{self.server_address[1]}/secret-path"


class Handler(BaseHTTPRequestHandler):
    """Answers one request."""

    def do_POST(self):
        """A unit feature of the PNG in the form, or 403."""
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.server.asked += 1
        if self.server.asked > self.server.refuse_after:
            self.send_response(403)
            self.end_headers()
            return
        picture = body[body.index(b"\x89PNG") : body.index(b"IEND")]
        seed = sum(picture) + self.server.turned
        vector = np.random.default_rng(seed).normal(size=8)
        vector /= np.linalg.norm(vector)
        data = json.dumps({"model_name": "vendor", "feature": [float(v) for v in vector]}).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, *_):
        """Say nothing."""


@pytest.fixture
def endpoint(monkeypatch):
    """A running endpoint, named in the environment."""
    server = Endpoint()
    monkeypatch.setenv("FACEGATE_ENDPOINT", server.url)
    yield server
    server.shutdown()
    server.server_close()


def test_a_hosted_model_is_evaluated_and_its_address_is_nowhere(run, endpoint, bundle, rendered_people, tmp_path):
    """Each face is asked for once; neither address, nor path, nor port is in any file or in what is printed."""
    arguments = ("hosted:vendor", rendered_people, "-o", tmp_path / "r", *BASIS, "--detector", bundle)
    found = run(evaluate_run, *arguments)
    evaluation = room.load_evaluation(tmp_path / "r")
    asked = endpoint.asked
    assert asked == 24 - evaluation.failures["reasons"].get("no_face", 0)
    assert (evaluation.source["kind"], evaluation.source["model_name"]) == ("hosted", "vendor")
    assert [m["role"] for m in evaluation.source["models"]] == ["detector"]
    port = str(endpoint.server_address[1])
    texts = [p.read_bytes() for p in (tmp_path / "r").rglob("*") if p.is_file()]
    for text in (*texts, found.text.encode(), json.dumps(found.data).encode(), " ".join(found.steps).encode()):
        for secret in (b"127.0.0.1", b"secret-path", b"localhost", f":{port}".encode()):
            assert secret not in text
    run(evaluate_run, *arguments)
    assert endpoint.asked == asked  # all of it was kept


def test_a_refusal_in_the_middle_keeps_what_was_paid_for(run, endpoint, bundle, rendered_people, tmp_path):
    """An endpoint that refuses ends the run with its reason; the next run asks for the rest only."""
    arguments = ("hosted:vendor", rendered_people, "-o", tmp_path / "r", *BASIS, "--detector", bundle)
    endpoint.refuse_after = 10
    with pytest.raises(EndpointRefusedError):
        run(evaluate_run, *arguments)
    endpoint.asked, endpoint.refuse_after = 0, 10**6
    run(evaluate_run, *arguments)
    assert endpoint.asked <= 24 - 10 + 1  # one photograph is asked for again, to know the model


def test_a_model_that_changed_behind_its_name_is_noticed(run, endpoint, bundle, rendered_people, tmp_path):
    """Features of two models are never mixed: a photograph that gives another feature than before ends the run."""
    arguments = ("hosted:vendor", rendered_people, "-o", tmp_path / "r", *BASIS, "--detector", bundle)
    endpoint.refuse_after = 10
    with pytest.raises(EndpointRefusedError):
        run(evaluate_run, *arguments)
    endpoint.refuse_after, endpoint.turned = 10**6, True
    with pytest.raises(CacheError, match="another feature") as caught:
        run(evaluate_run, *arguments)
    assert "--cache" in caught.value.hint


def test_without_an_endpoint_nothing_is_sent(run, bundle, rendered_people, tmp_path, monkeypatch):
    """No address, or one that is neither https nor this machine: refused before a photograph is opened."""
    arguments = ("hosted:vendor", rendered_people, "-o", tmp_path / "r", *BASIS, "--detector", bundle)
    monkeypatch.delenv("FACEGATE_ENDPOINT", raising=False)
    with pytest.raises(EndpointSetupError):
        run(evaluate_run, *arguments)
    with pytest.raises(EndpointSetupError):
        run(evaluate_run, *arguments, "--endpoint", "http://vendor.example/features")
