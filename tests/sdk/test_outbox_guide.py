"""docs/outbox.md: the receiver that it shows works, and does not take what it should not."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from facegate._sinks._webhook import WebhookSink
from facegate.errors import DecisionError

from .store.audit_log import DEVICE, STRANGER
from .store.decisions import make_signed
from .webhook_server import Server

GUIDE = Path(__file__).parents[2] / "docs" / "outbox.md"
SECRET = bytes(range(32))


@pytest.fixture(scope="module")
def receive():
    """The function in the guide, with everything but the request given."""
    text = re.search(r"```python\n(import base64.*?)```", GUIDE.read_text(encoding="utf-8"), re.DOTALL)[1]
    names = {}
    exec(compile(text, str(GUIDE), "exec"), names)  # noqa: S102 - our own guide
    return lambda request, seen, **changes: names["receive"](
        request.headers, request.body, seen=seen, **({"secret": SECRET, "device_key": DEVICE.verify_key} | changes)
    )


@pytest.fixture
def requests():
    """Two decisions as a server gets them, the second one twice."""
    with Server() as server, WebhookSink(server.url, secrets=[SECRET], allow_loopback_http=True) as sink:
        second = make_signed(2)
        for signed in (make_signed(1), second, second):
            sink.deliver(signed)
        return server.requests


def test_the_receiver_takes_each_decision_once(receive, requests):
    """The double is told by its id."""
    seen = set()
    first, second, again = (receive(request, seen) for request in requests)
    assert (first.sequence, second.sequence, again) == (1, 2, None)


def test_the_receiver_takes_nothing_of_somebody_else(receive, requests):
    """Another secret, another device's key, a changed body, an old time: refused."""
    request = requests[0]
    with pytest.raises(ValueError, match="secret"):
        receive(request, set(), secret=bytes(32))
    with pytest.raises(DecisionError):
        receive(request, set(), device_key=STRANGER.verify_key)
    changed = type(request)(request.line, request.headers, request.body.replace(b"no_match", b"match___") + b" ")
    with pytest.raises(ValueError, match="secret"):
        receive(changed, set())
    old = type(request)(request.line, request.headers | {"webhook-timestamp": "1000000000"}, request.body)
    with pytest.raises(ValueError, match="old"):
        receive(old, set())
