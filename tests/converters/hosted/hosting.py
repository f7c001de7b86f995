"""A hosted server in a thread, over real sockets of the loopback, and ways to speak to it."""

from __future__ import annotations

import io
import json
import socket
import ssl
import struct
import threading
import time
import zlib
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timedelta, timezone

import numpy as np
from PIL import Image

from facegate_convert._hosted._server import Server, bind
from facegate_convert._hosted._service import Limits, Service
from facegate_convert._hosted._window import Window

SIGNATURE = b"\x89PNG\r\n\x1a\n"


def png(width=40, height=50, *, seed=0) -> bytes:
    """A small picture of nothing, as PNG."""
    pixels = np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, format="PNG")
    return buffer.getvalue()


def chunk(kind: bytes, content: bytes) -> bytes:
    """One chunk of a PNG file."""
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))


def header(width, height, depth=8, color=2, interlace=0) -> bytes:
    """The chunk IHDR."""
    return chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, depth, color, 0, 0, interlace))


class Pretender:
    """Stands for models: a feature that tells by its first value how wide the crop is.

    Attributes:
        calls: names and crops that came.
        block: if set, nothing is answered until it is.
    """

    def __init__(self, length=4) -> None:
        self.calls: list[tuple[str, int]] = []
        self.block: threading.Event | None = None
        self.at_once = self.most = 0
        self._length = length
        self._lock = threading.Lock()

    def embed(self, name, data):
        """See `Embedder`."""
        with self._lock:
            self.at_once += 1
            self.most = max(self.most, self.at_once)
        try:
            self.calls.append((name, len(data)))
            if self.block is not None:
                self.block.wait(20)
            with Image.open(io.BytesIO(data)) as image:
                width = image.size[0]
            if width == 7:
                return None
            values = np.ones(self._length)
            values[0] = width
            return (values / np.linalg.norm(values)).astype(np.float32)
        finally:
            with self._lock:
                self.at_once -= 1


class Hosting:
    """A server in a thread, from the beginning of a `with` to its end."""

    def __init__(self, embedder=None, *, models=("door",), context=None, seconds=600.0, host="127.0.0.1", **options):
        self.embedder = embedder or Pretender()
        self._executor = ThreadPoolExecutor(2)
        self.now = datetime.now(timezone.utc)
        window = Window(self.now + timedelta(seconds=seconds), clock=lambda: self.now)
        self.service = Service(self.embedder, models, window, self._executor, **options)
        self._listener = bind(host, 0)
        self.port = self._listener.getsockname()[1]
        self._context = context
        self.url = f"http{'s' if context else ''}://127.0.0.1:{self.port}/features"

    def __enter__(self):
        self.server = Server(self.service.app("/features"), self._listener, self._context, grace=1)
        self._thread = threading.Thread(target=self.server.serve_forever)
        self._thread.start()
        while not self.server.started:
            time.sleep(0.005)
        return self

    def __exit__(self, *_):
        self.server.stop()
        self._thread.join(20)
        assert not self._thread.is_alive()
        self._executor.shutdown()

    def connect(self) -> socket.socket:
        """A plain connection."""
        return socket.create_connection(("127.0.0.1", self.port), timeout=15)

    def say(self, data: bytes, *, half_close=False) -> Reply:
        """Send bytes on a connection of their own, and read what comes until the server ends it."""
        with self.connect() as connection:
            connection.sendall(data)
            if half_close:
                connection.shutdown(socket.SHUT_WR)
            return read_reply(connection)

    def post(self, body: bytes, headers="", *, content_type='multipart/form-data; boundary="XX"', path="/features"):
        """One POST, with `Connection: close`."""
        head = (
            f"POST {path} HTTP/1.1\r\nHost: 127.0.0.1:{self.port}\r\nConnection: close\r\n"
            f"Content-Type: {content_type}\r\nContent-Length: {len(body)}\r\n{headers}\r\n"
        )
        return self.say(head.encode("latin-1") + body)


class Reply:
    """What the server said: status, headers in lower case, body; status 0 if it said nothing."""

    def __init__(self, raw: bytes) -> None:
        self.raw = raw
        head, _, self.body = raw.partition(b"\r\n\r\n")
        lines = head.decode("latin-1").split("\r\n")
        self.status = int(lines[0].split()[1]) if raw else 0
        self.headers = {n.lower(): v.strip() for n, _, v in (line.partition(":") for line in lines[1:])}

    def json(self):
        """The body."""
        return json.loads(self.body)


def read_reply(connection: socket.socket) -> Reply:
    """All that comes until the other side closes, or cuts."""
    data = b""
    try:
        while more := connection.recv(65536):
            data += more
    except (ConnectionResetError, ssl.SSLError):
        pass
    return Reply(data)


def form(image=None, model_name=b"door", *, boundary=b"XX") -> bytes:
    """A form as the protocol wants it."""
    parts = [
        b'Content-Disposition: form-data; name="model_name"\r\n\r\n' + model_name,
        b'Content-Disposition: form-data; name="image"; filename="a.png"\r\nContent-Type: image/png\r\n\r\n'
        + (png() if image is None else image),
    ]
    return b"".join(b"--" + boundary + b"\r\n" + part + b"\r\n" for part in parts) + b"--" + boundary + b"--\r\n"


def quick(**changes) -> Limits:
    """Limits that a test can wait for."""
    return Limits(**({"at_once": 4, "turn": 0.3, "body": 0.5, "drain": 0.3} | changes))
