"""The hosted server over real sockets: requests a second, latency, and its memory over thousands of requests.

    python tests/benchmarks/bench_hosted.py [--requests 10000] [--clients 2] [--workers 2]

The server is `facegate evaluate serve` in a process of its own, with the reference bundle; crops of rendered faces. Of
ten requests one is JPEG, one is for a model that is not there, and one is no form.
"""

from __future__ import annotations

import argparse
import io
import json
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from importlib.util import find_spec
from pathlib import Path

import httpx
import numpy as np
from PIL import Image

from facegate.simulation import Identity, draw_portrait, render
from facegate_convert import encode_png
from facegate_convert._hosted._crop import shrink

BUNDLE = Path(find_spec("facegate").origin).parent / "reference.fgb"


def crops() -> list[bytes]:
    """Ten portraits as crops."""
    pictures = (
        render(draw_portrait(Identity.draw(3_000_000 + n), np.random.default_rng([7, n]), size=200)) for n in range(10)
    )
    return [encode_png(shrink(np.asarray(picture.frame.data))) for picture in pictures]


def status(process: int, field: str) -> int:
    """A figure of /proc/PID/status, in kB."""
    lines = Path(f"/proc/{process}/status").read_text().splitlines()
    return int(next(line for line in lines if line.startswith(field)).split()[1])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--requests", type=int, default=10_000)
    parser.add_argument("--clients", type=int, default=2)
    parser.add_argument("--workers", type=int, default=2)
    given = parser.parse_args()
    pngs = crops()
    buffer = io.BytesIO()
    Image.open(io.BytesIO(pngs[0])).save(buffer, format="JPEG")
    command = [sys.executable, "-m", "facegate", "evaluate", "serve", "--model", f"door={BUNDLE}", "--port", "0"]
    command += ["--json", "--per-minute", "1000000", "--workers", str(given.workers)]
    server = subprocess.Popen(  # noqa: S603 - our own interpreter
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd="/"
    )
    url = json.loads(server.stdout.readline())["url"]

    def one(client: httpx.Client, number: int) -> float:
        start = time.perf_counter()
        kind = number % 10
        if kind == 7:
            answer = client.post(url, files={"image": buffer.getvalue()}, data={"model_name": "door"})
        elif kind == 8:
            answer = client.post(url, files={"image": pngs[0]}, data={"model_name": "../../door"})
        elif kind == 9:
            answer = client.post(url, content=pngs[0])
        else:
            answer = client.post(url, files={"image": pngs[number % 10]}, data={"model_name": "door"})
        assert answer.status_code == {7: 415, 8: 403, 9: 415}.get(kind, 200), answer.text
        return time.perf_counter() - start if kind < 7 else 0.0

    def some(first: int, count: int) -> list[float]:
        with httpx.Client(timeout=60) as client:
            return [one(client, first + n) for n in range(count)]

    step = max(1, given.requests // 10)
    took: list[float] = []
    start = time.perf_counter()
    with ThreadPoolExecutor(given.clients) as pool:
        for done in range(0, given.requests, step):
            each = step // given.clients
            for found in pool.map(lambda n: some(n * each, each), range(given.clients)):  # noqa: B023 - used at once
                took += found
            descriptors = len(list(Path(f"/proc/{server.pid}/fd").iterdir()))
            print(f"{done + step:6d} requests: {status(server.pid, 'VmRSS')} kB resident, {descriptors} descriptors")
    seconds = time.perf_counter() - start
    features = np.array([t for t in took if t]) * 1000
    print(
        f"{len(took) / seconds:.0f} requests a second with {given.clients} clients; a feature takes "
        f"{np.median(features):.1f} ms (median), {np.percentile(features, 99):.1f} ms (99 %)"
    )
    server.send_signal(signal.SIGTERM)
    out, err = server.communicate(timeout=30)
    print(f"ended with {server.returncode}, said {out!r} {err!r}")


if __name__ == "__main__":
    main()
