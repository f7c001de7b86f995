"""One process that makes templates; `_workers` starts it, and nothing else.

It speaks through its standard input and output (see `_frames`). It ends when its input does, so that none outlives a
run that was killed.
"""

from __future__ import annotations

import io
import json
import os
import signal
import sys
from hashlib import sha256
from pathlib import Path
from typing import IO, Any

from facegate_convert._evaluate._frames import ERROR, LENGTH, READY, RESULT, read_frame


def main() -> int:
    """Make templates until the input ends."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the whole group; the run decides when this one ends
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    stdin = sys.stdin.buffer
    out = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # whatever a library prints goes elsewhere

    def answer(kind: bytes, data: bytes) -> None:
        out.write(kind + LENGTH.pack(len(data)) + data)
        out.flush()

    from facegate_edge.errors import FacegateError  # noqa: PLC0415 - see the module

    head = read_frame(stdin)
    if head is None:
        return 1
    try:
        maker = _maker(json.loads(head), stdin)
        answer(READY, b"")
        while (job := read_frame(stdin)) is not None:
            answer(RESULT, _make(maker, bytes.fromhex(job[:64].decode()), Path(os.fsdecode(job[64:]))))
    except FacegateError as error:
        error_data = {"type": type(error).__name__, "message": str(error), "hint": error.hint}
        answer(ERROR, json.dumps(error_data).encode())
        return 1
    except BrokenPipeError:
        return 1
    return 0


def _maker(config: dict[str, Any], stdin: IO[bytes]) -> Any:
    from facegate_convert._evaluate._makers import FilesMaker, HostedMaker, LocalMaker  # noqa: PLC0415 - loads the engine
    from facegate_convert.errors import WorkerError  # noqa: PLC0415

    models = {}
    for role in config["models"]:
        data = read_frame(stdin)
        if data is None:
            raise WorkerError("the input ended before the models")
        models[role] = data
    if config["kind"] == "files":
        return FilesMaker()
    if config["kind"] == "hosted":
        return HostedMaker(config, models)
    return LocalMaker(config, models)


def _make(maker: Any, digest: bytes, path: Path) -> bytes:
    """The record's head and the template's bytes."""
    import numpy as np  # noqa: PLC0415 - see the module

    from facegate_convert._evaluate._cache import OK, STATUSES, record_type  # noqa: PLC0415
    from facegate_convert._evaluate._look import look  # noqa: PLC0415
    from facegate_convert._evaluate._makers import choose  # noqa: PLC0415
    from facegate_convert.errors import DatasetChangedError  # noqa: PLC0415
    from facegate_edge import load_image  # noqa: PLC0415
    from facegate_edge.errors import FrameError, KernelError, ModelError  # noqa: PLC0415

    row = np.zeros((), record_type(0, "i1"))
    row["sha256"] = np.frombuffer(digest, np.uint8)
    row["quality"], row["live"] = np.nan, np.nan
    try:
        data = path.read_bytes()
    except OSError:
        data = b""
    if sha256(data).digest() != digest:
        raise DatasetChangedError(
            f"{path} changed while the photographs were looked at", hint="run again when nothing changes them"
        )
    values = b""
    try:
        frame = load_image(io.BytesIO(data))
        row["width"], row["height"] = frame.size
        row["look"] = look(frame)
        if not maker.policy:
            return row.tobytes()
        faces = maker.detect(frame)
        row["faces"] = min(len(faces), 0xFFFF)
        face = choose(faces, frame, maker.policy)
        if face is None:
            row["status"] = STATUSES.index("several_faces" if faces else "no_face")
        else:
            status, values, row["quality"], row["live"] = maker.look_at(frame, face)
            row["status"] = STATUSES.index(status)
    except FrameError:
        row["status"] = STATUSES.index("unreadable")
    except (KernelError, ModelError):  # a face that cannot be aligned, an embedding without direction
        row["status"] = STATUSES.index("not_alignable")
    if row["status"] != OK:
        values = b""
    return row.tobytes() + values
